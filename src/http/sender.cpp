// What the owner of a sender calls.
#include "securatlas/http/sender.hpp"

#include <utility>

#include "signal_block.hpp"
#include "thread_sender.hpp"

namespace securatlas::http {

using core::Duration;
using core::Instant;
using core::RequestId;

ThreadSender::ThreadSender(SenderOptions options)
    : engine_(make_engine(std::move(options.engine))),
      queues_(options.limits.max_total),
      limits_(options.limits),
      max_response_bytes_(options.max_response_bytes) {
    // Signals are for the owner: the thread, and those that libcurl starts in it, get none.
    const SignalBlock signals;
    thread_ = std::thread([this] { run(); });
}

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
    told_ = {.results = count_results() > 0,
             .group = is_group_complete(),
             .reading = queues_.wants_to_read(now),
             .starving = queues_.empty()};
    return {.waiting = queues_.waiting(),
            .in_flight = attempts_.size(),
            .results = count_results(),
            .group_is_complete = told_.group,
            .first_result_at = first_result_at_,
            .wants_to_read = told_.reading,
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
    told_.results = told_.group = false;
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

std::unique_ptr<Sender> make_sender(SenderOptions options) {
    return std::make_unique<ThreadSender>(std::move(options));
}

}  // namespace securatlas::http
