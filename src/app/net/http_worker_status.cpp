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
    if (!state_.figures_changed) return;
    const core::Duration monotonic = pg::monotonic_now();
    if (!at_once && monotonic < published_at_ + kPauseBetweenPublishing) return;
    published_at_ = monotonic;
    state_.figures_changed = false;
    http::SenderStatistics figures = sender_->statistics(monotonic, pg::kMaxHosts);
    pg::HttpStatus shown;
    shown.waiting = static_cast<std::int64_t>(figures.waiting);
    shown.sent = figures.sent;
    shown.failed = figures.failed;
    shown.last_error = std::move(figures.last_error);
    const bool has_slots = figures.in_flight.size() < slots_;
    shown.in_flight = std::move(figures.in_flight);
    const core::Instant now = pg::now();
    for (http::SenderStatistics::Host& host : figures.hosts) {
        pg::HostStatus& status =
            shown.hosts.emplace_back(host_status(std::move(host.is), monotonic, now));
        // If all slots are in use, the host itself is not limited.
        const bool could_start = has_slots || status.next_try != core::kNever;
        status.limited =
            status.breaker == core::BreakerState::closed && could_start && host.waited_for;
    }
    pg::HttpTable::publish(shown);
}

}  // namespace securatlas::app
