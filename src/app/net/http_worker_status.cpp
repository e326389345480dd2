// What the http worker publishes about itself.
#include <utility>

#include "net/http_worker.hpp"
#include "securatlas/pg/border/process.hpp"

namespace securatlas::app {
namespace {

pg::HostStatus host_status(core::HostStatistics host, core::Duration monotonic, core::Instant now) {
    pg::HostStatus status;
    status.host = std::move(host.host);
    status.in_flight = static_cast<int>(host.in_flight);
    status.requests = host.requests;
    status.failures = host.failures;
    status.breaker = host.breaker;
    if (host.try_at) status.next_try = now + (*host.try_at - monotonic);
    status.p50 = host.p50;
    status.p95 = host.p95;
    status.last_error = std::move(host.last_error);
    return status;
}

}  // namespace

void HttpWorker::publish(bool at_once) {
    if (is_shown_) return;
    const core::Duration monotonic = pg::monotonic_now();
    if (!at_once && monotonic < published_at_ + kPauseBetweenPublishing) return;
    published_at_ = monotonic;
    is_shown_ = true;
    shown_.waiting = static_cast<std::int64_t>(queues_.waiting());
    shown_.in_flight = ids_in_flight();
    shown_.hosts.clear();
    const core::Instant now = pg::now();
    for (core::HostStatistics& host : limits_.statistics(monotonic, pg::kMaxHosts)) {
        pg::HostStatus& status =
            shown_.hosts.emplace_back(host_status(std::move(host), monotonic, now));
        // If all slots are in use, the host itself is not limited.
        const bool could_start = attempts_.size() < slots_ || status.next_try != core::kNever;
        status.limited = status.breaker == core::BreakerState::closed && could_start &&
                         queues_.is_waited_for(status.host, monotonic);
    }
    pg::HttpTable::publish(shown_);
}

}  // namespace securatlas::app
