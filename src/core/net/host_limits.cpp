#include "securatlas/core/net/host_limits.hpp"

#include <algorithm>
#include <cassert>

namespace securatlas::core {

namespace {

constexpr std::size_t kMaxDurations = 128;
constexpr std::chrono::nanoseconds kBurst = std::chrono::milliseconds(100);
constexpr std::chrono::nanoseconds kMaxSpacing = std::chrono::hours(1);

bool is_failure(Outcome outcome) {
    switch (outcome) {
        case Outcome::unsent:
        case Outcome::timed_out:
        case Outcome::broken:
            return true;
        case Outcome::answered:
        case Outcome::throttled:
        case Outcome::unsettled:
        case Outcome::invalid:
            return false;
    }
    return false;
}

BreakerEvent event_of(Outcome outcome, bool is_probe) {
    if (is_failure(outcome)) return is_probe ? BreakerEvent::probe_failed : BreakerEvent::failed;
    return is_probe ? BreakerEvent::probe_answered : BreakerEvent::answered;
}

// The smallest duration that `percent` percent of them do not exceed.
std::optional<Duration> percentile(std::vector<Duration> durations, std::size_t percent) {
    if (durations.empty()) return std::nullopt;
    const std::size_t rank = (durations.size() * percent + 99) / 100;
    const auto place = durations.begin() + static_cast<std::ptrdiff_t>(rank - 1);
    std::ranges::nth_element(durations, place);
    return *place;
}

}  // namespace

void HostLimits::configure(HostLimitsOptions options) {
    options_ = options;
    options_.max_total = std::max<std::size_t>(options_.max_total, 1);
    options_.max_per_host = std::max<std::size_t>(options_.max_per_host, 1);
    spacing_ = tolerance_ = Nanoseconds(0);
    if (options_.requests_per_second > 0.0) {
        const double spacing = 1e9 / options_.requests_per_second;
        const double longest = static_cast<double>(kMaxSpacing.count());
        spacing_ = Nanoseconds(static_cast<std::int64_t>(std::clamp(spacing, 1.0, longest)));
        tolerance_ = std::max(kBurst - spacing_, Nanoseconds(0));
    }
}

HostDecision HostLimits::decide(const std::string& name, Duration waiting_since, Duration now) {
    const Host* host = find(name);
    if (host == nullptr) {
        if (!has_slot(0)) return WaitFor{};
        return start(name, now);
    }
    if (host->breaker.probe_failed_at() > waiting_since) return HostIsDown{host->last_error};
    if (const auto until = try_at(*host, now)) return WaitFor{until};
    const bool is_probed = host->breaker.state() == BreakerState::half_open;
    if (is_probed || !has_slot(host->in_flight)) return WaitFor{};
    return start(name, now);
}

StartNow HostLimits::start(const std::string& name, Duration now) {
    Host& host = hosts_[name];
    if (host.idle) idle_.erase(*host.idle);
    host.idle.reset();
    ++host.in_flight;
    ++in_flight_;
    host.started_at = now;
    host.due_at = std::max<Nanoseconds>(host.due_at, now) + spacing_;
    const bool is_probe = host.breaker.may_probe(now);
    if (is_probe) host.breaker.apply(BreakerEvent::probe_started, now, 0.0);
    return {is_probe};
}

void HostLimits::ended(const std::string& name, bool is_probe, Outcome outcome, Duration duration,
                       std::string_view error, Duration now, double random) {
    if (outcome == Outcome::invalid) {
        given_up(name, is_probe, now);
        return;
    }
    Host& host = *find(name);
    if (host.durations.size() < kMaxDurations) {
        host.durations.push_back(duration);
    } else {
        host.durations[static_cast<std::size_t>(host.requests) % kMaxDurations] = duration;
    }
    host.are_percentiles_known = false;
    ++host.requests;
    if (is_failure(outcome)) {
        ++host.failures;
        host.last_error = error;
    }
    host.breaker.apply(event_of(outcome, is_probe), now, random);
    leave(name, host, now);
}

void HostLimits::given_up(const std::string& name, bool is_probe, Duration now) {
    Host& host = *find(name);
    if (is_probe) host.breaker.apply(BreakerEvent::probe_given_up, now, 0.0);
    leave(name, host, now);
}

void HostLimits::leave(const std::string& name, Host& host, Duration now) {
    assert(host.in_flight > 0);
    --host.in_flight;
    --in_flight_;
    if (host.in_flight == 0) host.idle = idle_.insert(idle_.end(), name);
    forget_idle(now);
}

// An open breaker keeps its host from being forgotten, for at most kMaxPause x 1.25.
void HostLimits::forget_idle(Duration now) {
    while (hosts_.size() > kMaxHosts && !idle_.empty()) {
        const auto oldest = hosts_.find(idle_.front());
        const Breaker& breaker = oldest->second.breaker;
        if (breaker.state() != BreakerState::closed && !breaker.may_probe(now)) return;
        hosts_.erase(oldest);
        idle_.pop_front();
    }
}

// Whether a host with this many requests in flight may have another slot.
bool HostLimits::has_slot(std::size_t in_flight) const {
    const std::size_t free = options_.max_total - std::min(options_.max_total, in_flight_);
    return in_flight < free && in_flight < options_.max_per_host;
}

// If the rate has not changed, the first is the smaller one. If it was raised, the second keeps a
// due time that was computed with the lower rate from delaying requests.
HostLimits::Nanoseconds HostLimits::rate_allows_at(const Host& host) const {
    return std::min(host.due_at - tolerance_, host.started_at + spacing_);
}

std::optional<Duration> HostLimits::try_at(const Host& host, Duration now) const {
    Duration at{0};
    if (spacing_.count() != 0) at = std::chrono::ceil<Duration>(rate_allows_at(host));
    if (host.breaker.state() == BreakerState::open) at = std::max(at, host.breaker.probe_at());
    return at > now ? std::optional(at) : std::nullopt;
}

std::vector<HostStatistics> HostLimits::statistics(Duration now, std::size_t most) const {
    std::vector<const Entry*> order;
    order.reserve(hosts_.size());
    for (const Entry& entry : hosts_) order.push_back(&entry);
    std::partition(order.begin(), order.end(), [](const Entry* entry) {
        return entry->second.in_flight > 0 || entry->second.breaker.state() != BreakerState::closed;
    });
    order.resize(std::min(order.size(), most));
    std::vector<HostStatistics> shown;
    shown.reserve(order.size());
    for (const Entry* entry : order) shown.push_back(statistics_of(*entry, now));
    return shown;
}

HostStatistics HostLimits::statistics_of(const Entry& entry, Duration now) const {
    const Host& host = entry.second;
    if (!host.are_percentiles_known) {
        host.p50 = percentile(host.durations, 50);
        host.p95 = percentile(host.durations, 95);
        host.are_percentiles_known = true;
    }
    return {.host = entry.first,
            .in_flight = host.in_flight,
            .requests = host.requests,
            .failures = host.failures,
            .p50 = host.p50,
            .p95 = host.p95,
            .last_error = host.last_error,
            .breaker = host.breaker.state(),
            .try_at = try_at(host, now)};
}

HostLimits::Host* HostLimits::find(const std::string& name) {
    const auto found = hosts_.find(name);
    return found == hosts_.end() ? nullptr : &found->second;
}

const HostLimits::Host* HostLimits::find(const std::string& name) const {
    const auto found = hosts_.find(name);
    return found == hosts_.end() ? nullptr : &found->second;
}

}  // namespace securatlas::core
