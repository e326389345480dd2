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

// The smallest of them that `percent` of them do not exceed.
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
    wakeups_.clear();
}

HostDecision HostLimits::decide(const std::string& name, Duration waiting_since, Duration now) {
    const Host* host = find(name);
    if (host == nullptr) {
        if (slots_for(0) == 0) return WaitFor{};
        return start(name, now);
    }
    if (host->breaker.probe_failed_at() > waiting_since) return HostIsDown{host->last_error};
    if (const auto until = try_at(*host, now)) {
        wakeups_.insert(*until);
        return WaitFor{until};
    }
    if (room(name, now) == 0) return WaitFor{};
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

// A breaker keeps its host from being forgotten for kMaxPause x 1.25 at most.
void HostLimits::forget_idle(Duration now) {
    while (hosts_.size() > kMaxHosts && !idle_.empty()) {
        const auto oldest = hosts_.find(idle_.front());
        const Breaker& breaker = oldest->second.breaker;
        if (breaker.state() != BreakerState::closed && !breaker.may_probe(now)) return;
        hosts_.erase(oldest);
        idle_.pop_front();
    }
}

std::size_t HostLimits::room(const std::string& name, Duration now) const {
    const Host* host = find(name);
    if (host == nullptr) {
        const std::size_t burst =
            spacing_.count() == 0 ? SIZE_MAX : static_cast<std::size_t>(tolerance_ / spacing_) + 1;
        return std::min(slots_for(0), burst);
    }
    const std::size_t room = std::min(slots_for(host->in_flight), rate_room(*host, now));
    switch (host->breaker.state()) {
        case BreakerState::closed:
            return room;
        case BreakerState::open:
            return host->breaker.may_probe(now) ? std::min<std::size_t>(room, 1) : 0;
        case BreakerState::half_open:
            return 0;
    }
    return 0;
}

std::size_t HostLimits::free_slots() const {
    return options_.max_total > in_flight_ ? options_.max_total - in_flight_ : 0;
}

// How many more one with so many in flight could start: each takes a slot, and lowers the threshold
// by one.
std::size_t HostLimits::slots_for(std::size_t in_flight) const {
    const std::size_t free = free_slots();
    if (in_flight >= free || in_flight >= options_.max_per_host) return 0;
    return std::min((free - in_flight + 1) / 2, options_.max_per_host - in_flight);
}

// Without changes of the spacing, the second is never the earlier one; with them, it keeps what was
// due at a lower rate from holding back what is allowed at a higher one.
HostLimits::Nanoseconds HostLimits::rate_allows_at(const Host& host) const {
    return std::min(host.due_at - tolerance_, host.started_at + spacing_);
}

std::size_t HostLimits::rate_room(const Host& host, Duration now) const {
    if (spacing_.count() == 0) return SIZE_MAX;
    if (rate_allows_at(host) > now) return 0;
    const Nanoseconds early = now + tolerance_ - std::max<Nanoseconds>(host.due_at, now);
    return static_cast<std::size_t>(std::max(early, Nanoseconds(0)) / spacing_) + 1;
}

std::optional<Duration> HostLimits::try_at(const Host& host, Duration now) const {
    Duration at{0};
    if (spacing_.count() != 0) at = std::chrono::ceil<Duration>(rate_allows_at(host));
    if (host.breaker.state() == BreakerState::open) at = std::max(at, host.breaker.probe_at());
    return at > now ? std::optional(at) : std::nullopt;
}

std::optional<Duration> HostLimits::next_change(Duration now) {
    wakeups_.erase(wakeups_.begin(), wakeups_.upper_bound(now));
    return wakeups_.empty() ? std::nullopt : std::optional(*wakeups_.begin());
}

std::vector<HostStatistics> HostLimits::statistics(Duration now) const {
    std::vector<HostStatistics> all;
    all.reserve(hosts_.size());
    for (const auto& [name, host] : hosts_) {
        all.push_back({.host = name,
                       .in_flight = host.in_flight,
                       .requests = host.requests,
                       .failures = host.failures,
                       .p50 = percentile(host.durations, 50),
                       .p95 = percentile(host.durations, 95),
                       .last_error = host.last_error,
                       .breaker = host.breaker.state(),
                       .try_at = try_at(host, now)});
    }
    return all;
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
