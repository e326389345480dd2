#include "securatlas/http/engine.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "curl_handles.hpp"
#include "signal_block.hpp"
#include "transfer.hpp"

namespace securatlas::http {

namespace {

using Clock = std::chrono::steady_clock;

class Epoll {
  public:
    Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
        if (fd_ < 0) throw std::runtime_error("could not create an epoll descriptor");
    }
    ~Epoll() { close(fd_); }
    Epoll(const Epoll&) = delete;
    Epoll& operator=(const Epoll&) = delete;

    int fd() const { return fd_; }

    // False: the kernel refused.
    bool watch(int socket, std::uint32_t events, bool is_known) {
        epoll_event event{};
        event.events = events;
        event.data.fd = socket;
        if (epoll_ctl(fd_, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event) == 0) {
            return true;
        }
        // A socket that was closed is forgotten, and its number comes back.
        if (errno == ENOENT) return epoll_ctl(fd_, EPOLL_CTL_ADD, socket, &event) == 0;
        if (errno == EEXIST) return epoll_ctl(fd_, EPOLL_CTL_MOD, socket, &event) == 0;
        return false;
    }

    void forget(int socket) { epoll_ctl(fd_, EPOLL_CTL_DEL, socket, nullptr); }

  private:
    int fd_;
};

std::uint32_t to_epoll(int what) {
    return ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0U) |
           ((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0U);
}

// An error or a hang-up is found by reading or writing, which tells more about it than
// CURL_CSELECT_ERR would.
int to_curl(std::uint32_t events) {
    const bool is_broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    return (is_broken || (events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
           (is_broken || (events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0);
}

}  // namespace

class Engine::Impl {
  public:
    explicit Impl(EngineOptions options);
    ~Impl();
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void start(Request request);
    void drive();
    bool cancel(core::RequestId id);
    std::vector<Completed> take_completed() { return std::exchange(completed_, {}); }

    int wait_fd() const { return epoll_.fd(); }
    std::optional<Clock::time_point> deadline() const {
        return completed_.empty() ? deadline_ : Clock::time_point();
    }
    std::size_t in_flight() const { return active_.size(); }

  private:
    template <class Value>
    void set(CURLMoption option, Value value);
    std::unique_ptr<Transfer> idle_transfer();
    void keep(std::unique_ptr<Transfer> transfer);
    void handle_sockets();
    void handle_timeout();
    void collect();

    static int on_socket(CURL* easy, curl_socket_t socket, int what, void* engine,
                         void* known) noexcept;
    static int on_timer(CURLM* multi, long milliseconds, void* engine) noexcept;

    const EngineOptions options_;
    std::optional<Clock::time_point> deadline_;
    Epoll epoll_;
    MultiHandle multi_;
    std::unordered_map<core::RequestId, std::unique_ptr<Transfer>> active_;
    std::vector<std::unique_ptr<Transfer>> idle_;
    std::vector<Completed> completed_;
};

Engine::Impl::Impl(EngineOptions options)
    : options_(std::move(options)), multi_(curl_multi_init()) {
    if (!multi_) throw std::bad_alloc();
    set(CURLMOPT_SOCKETFUNCTION, &Impl::on_socket);
    set(CURLMOPT_SOCKETDATA, static_cast<void*>(this));
    set(CURLMOPT_TIMERFUNCTION, &Impl::on_timer);
    set(CURLMOPT_TIMERDATA, static_cast<void*>(this));
    set(CURLMOPT_MAXCONNECTS, static_cast<long>(options_.max_idle_connections));
}

// libcurl wants the easy handles out of the multi handle before either goes.
Engine::Impl::~Impl() {
    const SignalBlock signals;
    for (const auto& [id, transfer] : active_) {
        curl_multi_remove_handle(multi_.get(), transfer->easy());
    }
    active_.clear();
    idle_.clear();
    multi_.reset();
}

template <class Value>
void Engine::Impl::set(CURLMoption option, Value value) {
    const CURLMcode code = curl_multi_setopt(multi_.get(), option, value);
    if (code != CURLM_OK) throw std::runtime_error(curl_multi_strerror(code));
}

std::unique_ptr<Transfer> Engine::Impl::idle_transfer() {
    if (idle_.empty()) return std::make_unique<Transfer>(options_.user_agent);
    std::unique_ptr<Transfer> transfer = std::move(idle_.back());
    idle_.pop_back();
    return transfer;
}

void Engine::Impl::keep(std::unique_ptr<Transfer> transfer) {
    if (idle_.size() < static_cast<std::size_t>(options_.max_idle_connections)) {
        idle_.push_back(std::move(transfer));
    }
}

void Engine::Impl::start(Request request) {
    const SignalBlock signals;
    std::unique_ptr<Transfer> transfer = idle_transfer();
    CURLcode code = transfer->prepare(std::move(request));
    if (code == CURLE_OK) {
        const auto [place, is_new] = active_.try_emplace(transfer->id());
        assert(is_new);
        if (curl_multi_add_handle(multi_.get(), transfer->easy()) == CURLM_OK) {
            place->second = std::move(transfer);
            return;
        }
        active_.erase(place);
        code = CURLE_OUT_OF_MEMORY;
    }
    completed_.push_back(transfer->finish(code));
    keep(std::move(transfer));
}

bool Engine::Impl::cancel(core::RequestId id) {
    const SignalBlock signals;
    auto found = active_.extract(id);
    if (found.empty()) return false;
    curl_multi_remove_handle(multi_.get(), found.mapped()->easy());
    found.mapped()->drop();
    keep(std::move(found.mapped()));
    return true;
}

void Engine::Impl::drive() {
    const SignalBlock signals;
    handle_sockets();
    handle_timeout();
    collect();
}

// What does not fit into the array stays ready for the next call.
void Engine::Impl::handle_sockets() {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_.fd(), events.data(), static_cast<int>(events.size()), 0);
    int running = 0;
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        curl_multi_socket_action(multi_.get(), event.data.fd, to_curl(event.events), &running);
    }
}

void Engine::Impl::handle_timeout() {
    if (!deadline_ || Clock::now() < *deadline_) return;
    // libcurl sets the next one in on_timer.
    deadline_.reset();
    int running = 0;
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
}

void Engine::Impl::collect() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        // The message is gone once its handle is removed.
        const CURLcode code = message->data.result;
        CURL* easy = message->easy_handle;
        Transfer* transfer = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        curl_multi_remove_handle(multi_.get(), easy);
        auto found = active_.extract(transfer->id());
        completed_.push_back(found.mapped()->finish(code));
        keep(std::move(found.mapped()));
    }
}

// Never fails: to libcurl that would be the end of all transfers. If the kernel refuses to watch a
// socket, its transfer alone suffers, and times out.
int Engine::Impl::on_socket(CURL*, curl_socket_t socket, int what, void* engine,
                            void* known) noexcept {
    auto& self = *static_cast<Impl*>(engine);
    if (what == CURL_POLL_REMOVE) {
        self.epoll_.forget(socket);
    } else if (self.epoll_.watch(socket, to_epoll(what), known != nullptr)) {
        curl_multi_assign(self.multi_.get(), socket, engine);
    }
    return 0;
}

int Engine::Impl::on_timer(CURLM*, long milliseconds, void* engine) noexcept {
    auto& self = *static_cast<Impl*>(engine);
    if (milliseconds < 0) {
        self.deadline_.reset();
    } else {
        self.deadline_ = Clock::now() + std::chrono::milliseconds(milliseconds);
    }
    return 0;
}

Engine::Engine(EngineOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Engine::~Engine() = default;

int Engine::wait_fd() const { return impl_->wait_fd(); }
std::optional<Clock::time_point> Engine::deadline() const { return impl_->deadline(); }
void Engine::start(Request request) { impl_->start(std::move(request)); }
void Engine::drive() { impl_->drive(); }
std::vector<Completed> Engine::take_completed() { return impl_->take_completed(); }
std::size_t Engine::in_flight() const { return impl_->in_flight(); }
bool Engine::cancel(core::RequestId id) { return impl_->cancel(id); }

}  // namespace securatlas::http
