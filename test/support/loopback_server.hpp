// An HTTP/1.1 server on 127.0.0.1 inside the test process: one thread for each connection, and a
// handler that writes the answers byte by byte, right or wrong.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace securatlas::test {

struct ReceivedRequest {
    std::string method;
    std::string target;
    std::string head;  // request line and headers, each with its line end
    std::string body;  // by Content-Length

    bool has_line(std::string_view line) const {
        return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
    }
};

// A TCP socket on 127.0.0.1 with a free port. Without listen() it refuses connections.
class LoopbackSocket {
  public:
    LoopbackSocket() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (fd_ < 0 || bind(fd_, generic, size) != 0 || getsockname(fd_, generic, &size) != 0) {
            throw std::runtime_error("could not bind to 127.0.0.1");
        }
        port_ = ntohs(address.sin_port);
    }
    ~LoopbackSocket() { close(fd_); }
    LoopbackSocket(const LoopbackSocket&) = delete;
    LoopbackSocket& operator=(const LoopbackSocket&) = delete;

    int fd() const { return fd_; }
    std::string url(std::string_view path, std::string_view scheme = "http") const {
        return std::string(scheme) + "://127.0.0.1:" + std::to_string(port_) + std::string(path);
    }

  private:
    int fd_;
    std::uint16_t port_ = 0;
};

class Connection {
  public:
    explicit Connection(int fd) : fd_(fd) {}
    ~Connection() { close(fd_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    int fd() const { return fd_; }

    void send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }

    // 200 with this body and these further header lines, each with its line end.
    void answer(std::string_view body, std::string_view headers = {}) {
        send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
             std::string(headers) + "\r\n" + std::string(body));
    }

    // Makes the close that follows a reset.
    void reset_on_close() {
        const linger immediately{1, 0};
        setsockopt(fd_, SOL_SOCKET, SO_LINGER, &immediately, sizeof immediately);
    }

    // Returns when the client has closed.
    void wait_for_close() {
        while (receive()) {
        }
    }

    // False: the connection ended before a whole request was read.
    bool read(ReceivedRequest& request) {
        std::size_t end = 0;
        while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
            if (!receive()) return false;
        }
        request.head = received_.substr(0, end + 2);
        received_.erase(0, end + 4);
        request.method = request.head.substr(0, request.head.find(' '));
        const std::size_t target = request.method.size() + 1;
        request.target = request.head.substr(target, request.head.find(' ', target) - target);
        const std::size_t length = content_length(request.head);
        while (received_.size() < length) {
            if (!receive()) return false;
        }
        request.body = received_.substr(0, length);
        received_.erase(0, length);
        return true;
    }

  private:
    static std::size_t content_length(const std::string& head) {
        constexpr std::string_view kName = "\r\nContent-Length: ";
        const std::size_t found = head.find(kName);
        return found == std::string::npos ? 0 : std::stoul(head.substr(found + kName.size()));
    }

    bool receive() {
        char buffer[16 * 1024];
        const ssize_t size = recv(fd_, buffer, sizeof buffer, 0);
        if (size <= 0) return false;
        received_.append(buffer, static_cast<std::size_t>(size));
        return true;
    }

    int fd_;
    std::string received_;
};

class LoopbackServer {
  public:
    // Answers one request. True: another one may follow on the connection. Runs in the
    // connection's thread.
    using Handler = std::function<bool(Connection&, const ReceivedRequest&)>;

    explicit LoopbackServer(Handler handler) : handler_(std::move(handler)) {
        if (listen(socket_.fd(), SOMAXCONN) != 0) throw std::runtime_error("could not listen");
        acceptor_ = std::thread([this] { accept_connections(); });
    }

    ~LoopbackServer() {
        shutdown(socket_.fd(), SHUT_RDWR);
        acceptor_.join();
        {
            const std::lock_guard lock(mutex_);
            for (const int fd : open_) shutdown(fd, SHUT_RDWR);
        }
        for (std::thread& thread : threads_) thread.join();
    }

    std::string url(std::string_view path, std::string_view scheme = "http") const {
        return socket_.url(path, scheme);
    }

    // Accepted so far.
    std::size_t connections() const {
        const std::lock_guard lock(mutex_);
        return connections_;
    }

  private:
    void accept_connections() {
        for (;;) {
            const int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            const int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            const std::lock_guard lock(mutex_);
            ++connections_;
            open_.push_back(fd);
            threads_.emplace_back([this, fd] { serve(fd); });
        }
    }

    void serve(int fd) {
        Connection connection(fd);
        ReceivedRequest request;
        while (connection.read(request) && handler_(connection, request)) {
        }
        const std::lock_guard lock(mutex_);
        open_.remove(fd);
    }

    Handler handler_;
    LoopbackSocket socket_;
    mutable std::mutex mutex_;
    std::size_t connections_ = 0;
    std::list<int> open_;
    std::list<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace securatlas::test
