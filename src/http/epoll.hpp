// All of libcurl's sockets behind one epoll descriptor. The only file that uses epoll.
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <stdexcept>

namespace securatlas::http {

class Epoll {
  public:
    Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
        if (fd_ < 0) throw std::runtime_error("could not create an epoll descriptor");
    }
    ~Epoll() { close(fd_); }
    Epoll(const Epoll&) = delete;
    Epoll& operator=(const Epoll&) = delete;

    int fd() const { return fd_; }

    // Watches a socket for CURL_POLL_IN, OUT or INOUT. False: the kernel refused.
    bool watch(int socket, int what, bool is_known) {
        epoll_event event{};
        event.events = to_epoll(what);
        event.data.fd = socket;
        if (epoll_ctl(fd_, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event) == 0) {
            return true;
        }
        // epoll forgets a socket that was closed, and its number may be reused.
        if (errno == ENOENT) return epoll_ctl(fd_, EPOLL_CTL_ADD, socket, &event) == 0;
        if (errno == EEXIST) return epoll_ctl(fd_, EPOLL_CTL_MOD, socket, &event) == 0;
        return false;
    }

    void forget(int socket) { epoll_ctl(fd_, EPOLL_CTL_DEL, socket, nullptr); }

    // Calls handle(socket, CURL_CSELECT_...) for the sockets that are ready now; returns whether
    // there were any. Events that do not fit into the array are returned by the next call.
    template <class Handler>
    bool each_ready(Handler handle) {
        std::array<epoll_event, 256> events;
        const int count = epoll_wait(fd_, events.data(), static_cast<int>(events.size()), 0);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            handle(event.data.fd, to_curl(event.events));
        }
        return count > 0;
    }

  private:
    static std::uint32_t to_epoll(int what) {
        return ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0U) |
               ((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0U);
    }

    // libcurl is told to read and write after an error or hang-up, which gives a better error
    // message than CURL_CSELECT_ERR.
    static int to_curl(std::uint32_t events) {
        const bool is_broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
        return (is_broken || (events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
               (is_broken || (events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0);
    }

    int fd_;
};

}  // namespace securatlas::http
