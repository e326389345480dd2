// All of libcurl's sockets behind one epoll descriptor. The only file that uses epoll.
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

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

    // A socket that is announced here, and again before it is closed, stays registered while
    // libcurl does not look at it: with each request on a connection libcurl begins and ends to
    // watch it. Others, of libcurl's resolver, it closes by itself.
    void own(int socket) noexcept {
        const auto place = static_cast<std::size_t>(socket);
        if (place < own_.size()) own_[place] = {.is_own = true};
    }
    void disown(int socket) noexcept {
        if (Own* own = find(socket)) *own = {};
    }

    // Watches a socket for CURL_POLL_IN, OUT or INOUT. False: the kernel refused.
    bool watch(int socket, int what, bool is_known) {
        const std::uint32_t events = to_epoll(what);
        Own* const own = find(socket);
        if (own == nullptr) return set(socket, events, is_known);
        own->is_watched = true;
        if (own->events == events) return true;
        if (!set(socket, events, own->events != 0)) return false;
        own->events = events;
        return true;
    }

    void forget(int socket) {
        if (Own* own = find(socket)) {
            own->is_watched = false;
        } else {
            remove(socket);
        }
    }

    // Calls handle(socket, CURL_CSELECT_...) for the sockets that are ready now; returns whether
    // there were any. Events that do not fit into the array are returned by the next call.
    template <class Handler>
    bool each_ready(Handler handle) {
        std::array<epoll_event, 256> events;
        const int count = epoll_wait(fd_, events.data(), static_cast<int>(events.size()), 0);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            if (is_idle(event.data.fd)) continue;
            handle(event.data.fd, to_curl(event.events));
        }
        return count > 0;
    }

  private:
    struct Own {
        bool is_own = false;
        bool is_watched = false;
        std::uint32_t events = 0;  // that it is registered for; 0: it is not
    };

    // nullptr: it is not our own.
    Own* find(int socket) {
        const auto place = static_cast<std::size_t>(socket);
        return place < own_.size() && own_[place].is_own ? &own_[place] : nullptr;
    }

    bool set(int socket, std::uint32_t events, bool is_known) {
        epoll_event event{};
        event.events = events;
        event.data.fd = socket;
        if (epoll_ctl(fd_, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event) == 0) {
            return true;
        }
        // epoll forgets a socket that was closed, and its number may be reused.
        if (errno == ENOENT) return epoll_ctl(fd_, EPOLL_CTL_ADD, socket, &event) == 0;
        if (errno == EEXIST) return epoll_ctl(fd_, EPOLL_CTL_MOD, socket, &event) == 0;
        return false;
    }

    void remove(int socket) { epoll_ctl(fd_, EPOLL_CTL_DEL, socket, nullptr); }

    // An event of a connection that nothing is done with: mostly it was closed by the server, which
    // libcurl notices before it uses the connection again. It must not be reported for ever.
    bool is_idle(int socket) {
        Own* const own = find(socket);
        if (own == nullptr || own->is_watched) return false;
        remove(socket);
        own->events = 0;
        return true;
    }

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
    // By number. Those that are too large are treated like the resolver's.
    std::vector<Own> own_ = std::vector<Own>(4096);
};

}  // namespace securatlas::http
