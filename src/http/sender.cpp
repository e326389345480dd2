// One mutex guards what both threads use. It is held while rows and results are moved, never while
// libcurl works, so that the owner waits for microseconds at most.
//
// Each turn of the thread does the same: start what the hosts' limits allow, let libcurl do what it
// can, and collect what has ended; then sleep until libcurl's descriptor is ready or the owner has
// called. The owner is told of results once until it looks, and again when it should record or read
// without waiting any longer.
#include "securatlas/http/sender.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>

#include "attempt.hpp"
#include "event_fd.hpp"
#include "host_queues.hpp"
#include "signal_block.hpp"

namespace securatlas::http {
namespace {

using core::Duration;
using core::Instant;
using core::RequestId;

// A host that cannot start anything for longer than this has no rows in memory.
constexpr Duration kWorthWaiting = std::chrono::milliseconds(500);
// Statistics are told of at most that often.
constexpr Duration kBetweenStatistics = std::chrono::milliseconds(50);

Duration monotonic() {
    return std::chrono::duration_cast<Duration>(
        std::chrono::steady_clock::now().time_since_epoch());
}

Instant wall_clock() {
    return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

class ThreadSender final : public Sender {
  public:
    explicit ThreadSender(SenderOptions options);
    ~ThreadSender() override { stop(); }
    ThreadSender(const ThreadSender&) = delete;
    ThreadSender& operator=(const ThreadSender&) = delete;

    void stop() noexcept override;
    int wait_fd() const override { return to_owner_.fd(); }
    void configure(SenderOptions options) override;
    SenderState look(Duration now) override;
    void look_at_all() override;
    core::ReadPlan plan_read(Instant wall_clock, Duration now) override;
    void add(core::ReadRequests rows, const core::ReadPlan& plan, Duration now) override;
    void drop_waiting() override;
    void cancel(RequestId id) override;
    SenderResults take_results() override;
    std::vector<std::int64_t> ids_in_flight() override;
    SenderStatistics statistics(Duration now, std::size_t most_hosts) override;

  private:
    using Lock = std::lock_guard<std::mutex>;

    // What the thread has to do with the engine, decided under the lock and done without it.
    struct Orders {
        std::optional<EngineOptions> options;
        std::vector<RequestId> aborted;
        std::size_t released = 0;  // bytes of bodies
        std::vector<Request> starting;
    };

    // What the owner was told since it looked.
    struct Told {
        bool results = false;
        bool group = false;
        bool reading = false;
    };

    void run() noexcept;
    bool turn();
    bool take_orders(Orders& orders);
    bool carry_out(Orders& orders);
    void sleep();

    // Under the lock:
    void call_thread();
    void tell_owner();
    bool is_group_complete() const;
    void check_alive() const;
    std::size_t count_results() const { return results_.ended.size() + results_.retried.size(); }
    void start_waiting(std::vector<Request>& starting);
    HostQueues::Step consider(core::QueuedRequest& row, std::vector<Request>& starting);
    void start(core::QueuedRequest row, bool is_probe, std::vector<Request>& starting);
    void end_unsent(core::QueuedRequest row, const std::string& error);
    void collect(std::vector<Completed> completed);
    void add_result(Verdict verdict);
    double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

    const std::unique_ptr<Engine> engine_;  // used by the thread only
    const EventFd to_thread_;
    const EventFd to_owner_;

    std::mutex mutex_;  // guards everything below

    // A row is added to queues_, goes to the engine (attempts_) as soon as its host's limits allow,
    // and then into results_.
    HostQueues queues_;
    core::HostLimits limits_;
    std::unordered_map<RequestId, Attempt> attempts_;
    SenderResults results_;
    std::size_t result_bytes_ = 0;  // of bodies
    Duration first_result_at_{0};

    // Orders for the thread.
    std::optional<EngineOptions> options_;
    std::vector<RequestId> aborted_;
    std::size_t released_ = 0;
    std::size_t max_response_bytes_;
    bool stops_ = false;
    bool is_asleep_ = false;

    // Whether something has changed since rows were last offered a slot, and when to offer them
    // again even if nothing has.
    bool may_start_ = false;
    std::optional<Duration> start_again_at_;
    std::vector<std::pair<std::string, Duration>> to_close_;

    Told told_;
    bool has_moved_ = false;    // a row has left its queue, or memory has become free
    bool has_closed_ = false;   // a host's rows were dropped until some time
    SenderStatistics figures_;  // counts and the last error
    bool figures_changed_ = false;
    Duration figures_at_{0};
    std::exception_ptr end_;  // what ended the thread
    std::mt19937_64 random_{std::random_device{}()};

    std::thread thread_;
};

ThreadSender::ThreadSender(SenderOptions options)
    : engine_(make_engine(std::move(options.engine))),
      queues_(options.limits.max_total),
      limits_(options.limits),
      max_response_bytes_(options.max_response_bytes) {
    // Signals are for the owner: the thread, and those that libcurl starts in it, get none.
    const SignalBlock signals;
    thread_ = std::thread([this] { run(); });
}

// ---- the owner -----------------------------------------------------------------------------

void ThreadSender::stop() noexcept {
    if (!thread_.joinable()) return;
    {
        const Lock lock(mutex_);
        stops_ = true;
    }
    to_thread_.signal();
    thread_.join();
}

void ThreadSender::configure(SenderOptions options) {
    const Lock lock(mutex_);
    options_ = std::move(options.engine);
    limits_.configure(options.limits);
    queues_.set_rows(options.limits.max_total);
    max_response_bytes_ = options.max_response_bytes;
    may_start_ = true;
    call_thread();
}

SenderState ThreadSender::look(Duration now) {
    const Lock lock(mutex_);
    check_alive();
    to_owner_.clear();
    told_ = {};
    return {.waiting = queues_.waiting(),
            .in_flight = attempts_.size(),
            .results = count_results(),
            .group_is_complete = is_group_complete(),
            .first_result_at = first_result_at_,
            .wants_to_read = queues_.wants_to_read(now),
            .has_more = queues_.has_more(),
            .next_opening = queues_.next_opening(now),
            .figures_changed = figures_changed_};
}

void ThreadSender::check_alive() const {
    if (end_) std::rethrow_exception(end_);
}

void ThreadSender::look_at_all() {
    const Lock lock(mutex_);
    queues_.look_at_all();
}

core::ReadPlan ThreadSender::plan_read(Instant wall_clock, Duration now) {
    const Lock lock(mutex_);
    std::vector<std::int64_t> known;
    known.reserve(attempts_.size() + count_results() + queues_.waiting());
    for (const auto& [id, attempt] : attempts_) known.push_back(static_cast<std::int64_t>(id));
    for (const auto& one : results_.ended) known.push_back(static_cast<std::int64_t>(one.id));
    for (const auto& one : results_.retried) known.push_back(static_cast<std::int64_t>(one.id));
    return queues_.plan(wall_clock, now, std::move(known));
}

void ThreadSender::add(core::ReadRequests rows, const core::ReadPlan& plan, Duration now) {
    const Lock lock(mutex_);
    if (!rows.requests.empty()) may_start_ = figures_changed_ = true;
    queues_.add(std::move(rows), plan, now);
    if (may_start_) call_thread();
}

void ThreadSender::drop_waiting() {
    const Lock lock(mutex_);
    queues_.remove_all();
}

// A result that the engine has at this moment is dropped by collect().
void ThreadSender::cancel(RequestId id) {
    const Lock lock(mutex_);
    if (queues_.remove(id)) return;
    const auto node = attempts_.extract(id);
    if (node.empty()) return;
    aborted_.push_back(id);
    limits_.given_up(node.mapped().host, node.mapped().is_probe, monotonic());
    queues_.ended(node.mapped().host, node.mapped().bytes);
    may_start_ = figures_changed_ = true;
    call_thread();
}

SenderResults ThreadSender::take_results() {
    const Lock lock(mutex_);
    check_alive();
    released_ += std::exchange(result_bytes_, 0);
    if (released_ > 0) call_thread();
    return std::exchange(results_, {});
}

std::vector<std::int64_t> ThreadSender::ids_in_flight() {
    const Lock lock(mutex_);
    std::vector<std::int64_t> ids;
    ids.reserve(attempts_.size());
    for (const auto& [id, attempt] : attempts_) ids.push_back(static_cast<std::int64_t>(id));
    return ids;
}

SenderStatistics ThreadSender::statistics(Duration now, std::size_t most_hosts) {
    std::vector<std::int64_t> ids = ids_in_flight();
    const Lock lock(mutex_);
    SenderStatistics statistics = figures_;
    statistics.waiting = queues_.waiting();
    statistics.in_flight = std::move(ids);
    for (core::HostStatistics& host : limits_.statistics(now, most_hosts)) {
        const bool waited_for = queues_.is_waited_for(host.host, now);
        statistics.hosts.push_back({std::move(host), waited_for});
    }
    figures_changed_ = false;
    figures_at_ = now;
    return statistics;
}

// ---- the thread ----------------------------------------------------------------------------

void ThreadSender::run() noexcept {
    try {
        while (turn()) {
        }
    } catch (...) {
        const Lock lock(mutex_);
        end_ = std::current_exception();
        to_owner_.signal();
    }
}

// False: the owner wants the thread to end.
bool ThreadSender::turn() {
    Orders orders;
    if (!take_orders(orders)) return false;
    const bool was_busy = carry_out(orders);
    std::vector<Completed> completed = engine_->take_completed();
    if (!completed.empty()) {
        const Lock lock(mutex_);
        collect(std::move(completed));
    } else if (!was_busy) {
        sleep();
    }
    return true;
}

bool ThreadSender::take_orders(Orders& orders) {
    const Lock lock(mutex_);
    is_asleep_ = false;
    if (stops_) return false;
    start_waiting(orders.starting);
    std::swap(orders.options, options_);
    std::swap(orders.aborted, aborted_);
    std::swap(orders.released, released_);
    tell_owner();
    return true;
}

// Aborts before it starts: the same id may be in both.
bool ThreadSender::carry_out(Orders& orders) {
    if (orders.options) engine_->configure(std::move(*orders.options));
    for (const RequestId id : orders.aborted) engine_->cancel(id);
    if (orders.released > 0) engine_->release(orders.released);
    if (!orders.starting.empty()) engine_->start(std::move(orders.starting));
    return engine_->drive();
}

void ThreadSender::sleep() {
    Duration until = Duration::max();
    if (const auto deadline = engine_->deadline()) {
        until = std::chrono::duration_cast<Duration>(deadline->time_since_epoch());
    }
    {
        const Lock lock(mutex_);
        if (stops_ || may_start_ || options_ || !aborted_.empty() || released_ > 0) return;
        if (start_again_at_) until = std::min(until, *start_again_at_);
        if (figures_changed_) until = std::min(until, figures_at_ + kBetweenStatistics);
        is_asleep_ = true;
    }
    constexpr Duration kLongest = std::chrono::minutes(1);
    const Duration left = until - std::min(until, monotonic());
    const auto milliseconds =
        std::chrono::ceil<std::chrono::milliseconds>(std::min(left, kLongest)).count();
    std::array<pollfd, 2> waits{{{engine_->wait_fd(), POLLIN, 0}, {to_thread_.fd(), POLLIN, 0}}};
    poll(waits.data(), waits.size(), static_cast<int>(milliseconds));
    if (waits[1].revents != 0) to_thread_.clear();
}

void ThreadSender::call_thread() {
    if (std::exchange(is_asleep_, false)) to_thread_.signal();
}

bool ThreadSender::is_group_complete() const {
    const std::size_t count = count_results();
    return count > 0 &&
           (attempts_.empty() || count >= kMaxGroup || result_bytes_ >= kMaxGroupBytes);
}

void ThreadSender::tell_owner() {
    const Duration now = monotonic();
    const bool results = count_results() > 0 && !told_.results;
    const bool group = !told_.group && is_group_complete();
    const bool reading =
        std::exchange(has_moved_, false) && !told_.reading && queues_.wants_to_read(now);
    const bool closed = std::exchange(has_closed_, false);
    const bool figures = figures_changed_ && now >= figures_at_ + kBetweenStatistics;
    if (figures) figures_at_ = now;
    told_.results |= results;
    told_.group |= group;
    told_.reading |= reading;
    if (results || group || reading || closed || figures) to_owner_.signal();
}

// ---- attempts ------------------------------------------------------------------------------

void ThreadSender::start_waiting(std::vector<Request>& starting) {
    const Duration now = monotonic();
    if (!may_start_ && !(start_again_at_ && *start_again_at_ <= now)) return;
    may_start_ = false;
    start_again_at_.reset();
    to_close_.clear();
    queues_.offer([&](core::QueuedRequest& row) { return consider(row, starting); });
    for (const auto& [host, until] : to_close_) queues_.close(host, until);
    has_closed_ = has_closed_ || !to_close_.empty();
}

HostQueues::Step ThreadSender::consider(core::QueuedRequest& row, std::vector<Request>& starting) {
    const Instant now = wall_clock();
    if (row.expires_at <= now) {
        queues_.ended(row.host, row.body.size());
        add_result(expired_response(row.id, row.attempts));
        return HostQueues::Step::remove;
    }
    const Duration now_monotonic = monotonic();
    const Duration waiting_since = now_monotonic - (now - std::min(now, row.ready_at));
    const auto decision = limits_.decide(row.host, waiting_since, now_monotonic);
    if (const auto* begin = std::get_if<core::StartNow>(&decision)) {
        start(std::move(row), begin->is_probe, starting);
        return HostQueues::Step::remove;
    }
    if (const auto* down = std::get_if<core::HostIsDown>(&decision)) {
        end_unsent(std::move(row), down->error);
        return HostQueues::Step::remove_as_down;
    }
    if (const auto until = std::get<core::WaitFor>(decision).until) {
        if (*until - now_monotonic > kWorthWaiting) {
            to_close_.emplace_back(row.host, *until);
        } else if (!start_again_at_ || *until < *start_again_at_) {
            start_again_at_ = *until;
        }
    }
    return HostQueues::Step::leave;
}

void ThreadSender::start(core::QueuedRequest row, bool is_probe, std::vector<Request>& starting) {
    const RequestId id = row.id;
    const std::string host = row.host;
    const std::size_t bytes = row.body.size();
    const int ended = row.attempts;
    auto prepared = prepare_attempt(std::move(row), max_response_bytes_);
    if (!prepared) {
        limits_.given_up(host, is_probe, monotonic());
        queues_.ended(host, bytes);
        add_result(failed_response(id, ended, prepared.error()));
        return;
    }
    auto [attempt, request] = std::move(prepared).value();
    attempt.is_probe = is_probe;
    attempts_.emplace(id, std::move(attempt));
    starting.push_back(std::move(request));
    has_moved_ = figures_changed_ = true;
}

// The host is down: the attempt counts, but is not made.
void ThreadSender::end_unsent(core::QueuedRequest row, const std::string& error) {
    const RequestId id = row.id;
    const int ended = row.attempts;
    queues_.ended(row.host, row.body.size());
    auto prepared = prepare_attempt(std::move(row), 0);
    if (prepared) {
        add_result(judge(not_sent(id, error), prepared->attempt, wall_clock(), random()));
    } else {
        add_result(failed_response(id, ended, prepared.error()));
    }
}

void ThreadSender::collect(std::vector<Completed> completed) {
    const Duration now = monotonic();
    for (Completed& one : completed) {
        const std::size_t bytes = one.body.size();
        const auto node = attempts_.extract(one.id);
        if (node.empty()) {  // cancelled meanwhile
            released_ += bytes;
            continue;
        }
        const Attempt& attempt = node.mapped();
        limits_.ended(attempt.host, attempt.is_probe, one.outcome, one.duration, one.error, now,
                      random());
        queues_.ended(attempt.host, attempt.bytes);
        ++figures_.sent;
        if (!one.error.empty()) {
            ++figures_.failed;
            figures_.last_error = attempt.host + ": " + one.error;
        }
        may_start_ = figures_changed_ = true;
        Verdict verdict = judge(std::move(one), attempt, wall_clock(), random());
        const bool keeps_body = std::holds_alternative<core::EndedRequest>(verdict);
        (keeps_body ? result_bytes_ : released_) += bytes;
        add_result(std::move(verdict));
    }
}

void ThreadSender::add_result(Verdict verdict) {
    if (count_results() == 0) first_result_at_ = monotonic();
    has_moved_ = true;
    if (auto* ended = std::get_if<core::EndedRequest>(&verdict)) {
        results_.ended.push_back(std::move(*ended));
    } else {
        results_.retried.push_back(std::move(std::get<core::RetriedRequest>(verdict)));
    }
}

}  // namespace

std::unique_ptr<Sender> make_sender(SenderOptions options) {
    return std::make_unique<ThreadSender>(std::move(options));
}

}  // namespace securatlas::http
