// The thread of a sender: its turns, and the attempts that it starts and collects.
#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "kept_memory.hpp"
#include "thread_sender.hpp"

namespace securatlas::http {

using core::Duration;
using core::Instant;
using core::RequestId;

namespace {

// A host that cannot start anything for longer than this has no rows in memory.
constexpr Duration kWorthWaiting = std::chrono::milliseconds(500);
// Statistics are told of at most that often.
constexpr Duration kBetweenStatistics = std::chrono::milliseconds(50);

Instant wall_clock() {
    return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

}  // namespace

// ---- turns -------------------------------------------------------------------------------

void ThreadSender::run() noexcept {
    const KeptMemory kept;
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
    const bool starving = queues_.empty();
    const bool reading = std::exchange(has_moved_, false) &&
                         (!told_.reading || (starving && !told_.starving)) &&
                         queues_.wants_to_read(now);
    const bool closed = std::exchange(has_closed_, false);
    const bool figures = figures_changed_ && now >= figures_at_ + kBetweenStatistics;
    if (figures) figures_at_ = now;
    told_.results |= results;
    told_.group |= group;
    told_.reading |= reading;
    told_.starving |= reading && starving;
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
        add_result(expired_response(row.id, row.attempts), {.host = row.host});
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
    if (!row.problem.empty()) {
        limits_.given_up(row.host, is_probe, monotonic());
        queues_.ended(row.host, row.body.size());
        add_result(unsendable_response(row), {.host = std::move(row.host)});
        return;
    }
    const RequestId id = row.id;
    auto [attempt, request] = prepare_attempt(std::move(row), max_response_bytes_);
    attempt.is_probe = is_probe;
    attempts_.emplace(id, std::move(attempt));
    starting.push_back(std::move(request));
    has_moved_ = figures_changed_ = true;
}

// The host is down: the attempt counts, but is not made.
void ThreadSender::end_unsent(core::QueuedRequest row, const std::string& error) {
    queues_.ended(row.host, row.body.size());
    if (!row.problem.empty()) {
        add_result(unsendable_response(row), {.host = std::move(row.host)});
        return;
    }
    const RequestId id = row.id;
    Attempt attempt = prepare_attempt(std::move(row), 0).attempt;
    Verdict verdict = judge(not_sent(id, error), attempt, wall_clock(), random());
    add_result(std::move(verdict), {.host = std::move(attempt.host)});
}

void ThreadSender::collect(std::vector<Completed> completed) {
    const Duration now = monotonic();
    for (Completed& one : completed) {
        const std::size_t bytes = one.body.size();
        auto node = attempts_.extract(one.id);
        if (node.empty()) {  // cancelled meanwhile
            released_ += bytes;
            continue;
        }
        Attempt& attempt = node.mapped();
        limits_.ended(attempt.host, attempt.is_probe, one.outcome, one.duration, one.error, now,
                      random());
        queues_.ended(attempt.host, attempt.bytes);
        ++figures_.sent;
        if (!one.error.empty()) {
            ++figures_.failed;
            figures_.last_error = attempt.host + ": " + one.error;
        }
        may_start_ = figures_changed_ = true;
        const Duration duration = one.duration;
        Verdict verdict = judge(std::move(one), attempt, wall_clock(), random());
        const bool keeps_body = std::holds_alternative<core::EndedRequest>(verdict);
        (keeps_body ? result_bytes_ : released_) += bytes;
        add_result(std::move(verdict), {.host = std::move(attempt.host),
                                        .duration = duration,
                                        .bytes_out = attempt.bytes,
                                        .bytes_in = bytes});
    }
}

void ThreadSender::add_result(Verdict verdict, core::AttemptFigures figures) {
    std::visit([&figures](auto& result) { result.figures = std::move(figures); }, verdict);
    if (count_results() == 0) first_result_at_ = monotonic();
    has_moved_ = true;
    if (auto* ended = std::get_if<core::EndedRequest>(&verdict)) {
        results_.ended.push_back(std::move(*ended));
    } else {
        results_.retried.push_back(std::move(std::get<core::RetriedRequest>(verdict)));
    }
}

}  // namespace securatlas::http
