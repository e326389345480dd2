#include "securatlas/http/engine.hpp"

#include <cassert>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "curl_handles.hpp"
#include "engine_state.hpp"
#include "kept_memory.hpp"
#include "signal_block.hpp"
#include "transfer.hpp"

namespace securatlas::http {

namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

class CurlEngine : public Engine {
  public:
    explicit CurlEngine(EngineOptions options);
    ~CurlEngine() override;
    CurlEngine(const CurlEngine&) = delete;
    CurlEngine& operator=(const CurlEngine&) = delete;

    void configure(EngineOptions options) override;
    void start(std::vector<Request> requests) override;
    bool drive() override;
    bool cancel(core::RequestId id) override;
    std::vector<Completed> take_completed() override { return std::exchange(completed_, {}); }
    void release(std::size_t bytes) override;

    int wait_fd() const override { return state_.epoll.fd(); }
    std::optional<Clock::time_point> deadline() const override {
        const bool now = !completed_.empty() || !state_.resting.empty();
        return now ? Clock::time_point() : deadline_;
    }
    std::size_t in_flight() const override { return active_.size(); }
    std::size_t buffered_bytes() const override { return state_.budget.used(); }

  private:
    template <class Value>
    void set(CURLMoption option, Value value);
    void start_one(Request request);
    std::unique_ptr<Transfer> idle_transfer();
    void keep(std::unique_ptr<Transfer> transfer);
    CURLcode add(Transfer& transfer);
    void end(Transfer& transfer, CURLcode code);
    void resume_paused();
    bool resume_resting();
    void resume(Transfer& transfer);
    bool handle_sockets();
    bool handle_timeout();
    void collect();
    void conclude(Transfer& transfer, CURLcode code);

    static int on_socket(CURL* easy, curl_socket_t socket, int what, void* engine,
                         void* known) noexcept;
    static int on_timer(CURLM* multi, long milliseconds, void* engine) noexcept;

    EngineState state_;
    std::optional<Clock::time_point> deadline_;
    MultiHandle multi_;
    std::unordered_map<core::RequestId, std::unique_ptr<Transfer>> active_;
    std::vector<std::unique_ptr<Transfer>> idle_;
    std::vector<Completed> completed_;
};

CurlEngine::CurlEngine(EngineOptions options)
    : state_(std::move(options)), multi_(curl_multi_init()) {
    if (!multi_ || !state_.share) throw std::bad_alloc();
    curl_share_setopt(state_.share.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    set(CURLMOPT_SOCKETFUNCTION, &CurlEngine::on_socket);
    set(CURLMOPT_SOCKETDATA, static_cast<void*>(this));
    set(CURLMOPT_TIMERFUNCTION, &CurlEngine::on_timer);
    set(CURLMOPT_TIMERDATA, static_cast<void*>(this));
    set(CURLMOPT_MAXCONNECTS, static_cast<long>(state_.options.max_idle_connections));
}

void CurlEngine::configure(EngineOptions options) {
    state_.budget.resize(options.max_buffered_bytes);
    set(CURLMOPT_MAXCONNECTS, static_cast<long>(options.max_idle_connections));
    state_.options = std::move(options);
    std::erase_if(idle_, [](const auto& transfer) { return !transfer->is_reusable(); });
    const SignalBlock signals;
    resume_paused();
}

// libcurl requires that easy handles are removed from the multi handle before either is freed.
CurlEngine::~CurlEngine() {
    const SignalBlock signals;
    for (const auto& [id, transfer] : active_) {
        curl_multi_remove_handle(multi_.get(), transfer->easy());
    }
    active_.clear();
    idle_.clear();
    multi_.reset();
}

template <class Value>
void CurlEngine::set(CURLMoption option, Value value) {
    const CURLMcode code = curl_multi_setopt(multi_.get(), option, value);
    if (code != CURLM_OK) throw std::runtime_error(curl_multi_strerror(code));
}

std::unique_ptr<Transfer> CurlEngine::idle_transfer() {
    if (idle_.empty()) return std::make_unique<Transfer>(state_);
    std::unique_ptr<Transfer> transfer = std::move(idle_.back());
    idle_.pop_back();
    return transfer;
}

void CurlEngine::keep(std::unique_ptr<Transfer> transfer) {
    const auto max = static_cast<std::size_t>(state_.options.max_idle_connections);
    if (idle_.size() < max && transfer->is_reusable()) idle_.push_back(std::move(transfer));
}

void CurlEngine::start(std::vector<Request> requests) {
    const SignalBlock signals;
    for (Request& request : requests) start_one(std::move(request));
}

void CurlEngine::start_one(Request request) {
    std::unique_ptr<Transfer> transfer = idle_transfer();
    Transfer& started = *transfer;
    CURLcode code = started.prepare(std::move(request));
    [[maybe_unused]] const bool is_new =
        active_.try_emplace(started.id(), std::move(transfer)).second;
    assert(is_new);
    if (code == CURLE_OK) code = add(started);
    if (code != CURLE_OK) end(started, code);
}

CURLcode CurlEngine::add(Transfer& transfer) {
    const CURLMcode code = curl_multi_add_handle(multi_.get(), transfer.easy());
    return code == CURLM_OK ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

// The transfer is not in the multi handle any more.
void CurlEngine::end(Transfer& transfer, CURLcode code) {
    auto found = active_.extract(transfer.id());
    completed_.push_back(transfer.finish(code));
    keep(std::move(found.mapped()));
}

bool CurlEngine::cancel(core::RequestId id) {
    const SignalBlock signals;
    auto found = active_.extract(id);
    if (found.empty()) return false;
    curl_multi_remove_handle(multi_.get(), found.mapped()->easy());
    found.mapped()->drop();
    keep(std::move(found.mapped()));
    resume_paused();
    return true;
}

void CurlEngine::release(std::size_t bytes) {
    state_.budget.hand_out(bytes);
    const SignalBlock signals;
    resume_paused();
}

// A resumed transfer immediately receives the data that libcurl has buffered for it, and may pause
// again.
void CurlEngine::resume_paused() {
    auto& paused = state_.paused;
    for (auto next = paused.begin(); next != paused.end();) {
        const auto [ticket, transfer] = *next;
        if (!state_.budget.may_take(ticket, CURL_MAX_WRITE_SIZE)) {
            ++next;
            continue;
        }
        next = paused.erase(next);
        resume(*transfer);
    }
}

// Resumes the transfers that have received their share of the previous turn. False: there were
// none.
bool CurlEngine::resume_resting() {
    const auto resting = std::exchange(state_.resting, {});
    for (const auto& [ticket, transfer] : resting) resume(*transfer);
    return !resting.empty();
}

void CurlEngine::resume(Transfer& transfer) {
    const CURLcode code = curl_easy_pause(transfer.easy(), CURLPAUSE_CONT);
    if (code == CURLE_OK) return;
    curl_multi_remove_handle(multi_.get(), transfer.easy());
    conclude(transfer, code);
}

bool CurlEngine::drive() {
    const SignalBlock signals;
    ++state_.turn;
    const bool had_resting = resume_resting();
    const bool had_sockets = handle_sockets();
    const bool had_timeout = handle_timeout();
    collect();
    resume_paused();
    return had_resting || had_sockets || had_timeout;
}

bool CurlEngine::handle_sockets() {
    return state_.epoll.each_ready([this](int socket, int events) {
        int running = 0;
        curl_multi_socket_action(multi_.get(), socket, events, &running);
    });
}

bool CurlEngine::handle_timeout() {
    if (!deadline_ || Clock::now() < *deadline_) return false;
    // libcurl sets the next deadline in on_timer.
    deadline_.reset();
    int running = 0;
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    return true;
}

void CurlEngine::collect() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        // Copied, because the message is freed when its handle is removed.
        const CURLcode code = message->data.result;
        CURL* easy = message->easy_handle;
        Transfer* transfer = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        curl_multi_remove_handle(multi_.get(), easy);
        conclude(*transfer, code);
    }
}

// The transfer has ended, and was removed from the multi handle.
void CurlEngine::conclude(Transfer& transfer, CURLcode code) {
    if (transfer.is_answered(code) && transfer.redirect()) {
        code = transfer.prepare_hop();
        if (code == CURLE_OK) code = add(transfer);
        if (code == CURLE_OK) return;
    }
    end(transfer, code);
}

// Never fails, because libcurl would abort all transfers. If the kernel refuses to watch a socket,
// only its transfer is affected, which then times out.
int CurlEngine::on_socket(CURL*, curl_socket_t socket, int what, void* engine,
                          void* known) noexcept {
    auto& self = *static_cast<CurlEngine*>(engine);
    if (what == CURL_POLL_REMOVE) {
        self.state_.epoll.forget(socket);
    } else if (self.state_.epoll.watch(socket, what, known != nullptr)) {
        curl_multi_assign(self.multi_.get(), socket, engine);
    }
    return 0;
}

int CurlEngine::on_timer(CURLM*, long milliseconds, void* engine) noexcept {
    auto& self = *static_cast<CurlEngine*>(engine);
    if (milliseconds < 0) {
        self.deadline_.reset();
    } else {
        self.deadline_ = Clock::now() + std::chrono::milliseconds(milliseconds);
    }
    return 0;
}

std::unique_ptr<Engine> make_engine(EngineOptions options) {
    initialize_curl();
    return std::make_unique<CurlEngine>(std::move(options));
}

}  // namespace securatlas::http
