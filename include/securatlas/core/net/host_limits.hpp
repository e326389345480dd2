// Decides which host may get another request now, so that no host takes all slots, none gets more
// requests than allowed, and one that is down is not bothered.
//
// Slots: a host may start another request while it has fewer in flight than max_per_host, and fewer
// than there are free slots in all (the dynamic threshold of Choudhury and Hahne, "Dynamic queue
// length thresholds for shared-memory packet switches", 1998). So some slots stay free for hosts
// that come later: one busy host uses half of the slots, two use a third each, and n use n/(n+1) of
// them together. A host that has none gets one as long as any is free.
//
// Rate: GCRA (ITU-T I.371), requests spaced 1/requests_per_second apart, with a burst of what is
// due in 100 ms, but at least of one.
//
// It only decides: time and randomness are arguments, and nothing waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "securatlas/core/net/breaker.hpp"
#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

struct HostLimitsOptions {
    std::size_t max_total = 256;    // 0 counts as 1
    std::size_t max_per_host = 32;  // 0 counts as 1
    // To each host; 0: no limit. Rates below one per hour count as that.
    double requests_per_second = 0.0;
};

// The request counts as in flight from now on; ended() or given_up() must follow, with the same
// is_probe.
struct StartNow {
    bool is_probe = false;
};

// `until`: when to ask again (monotonic). nullopt: when something has ended.
struct WaitFor {
    std::optional<Duration> until;
};

// The host is down: a probe has failed since the request began to wait. This counts as a failed
// attempt of the request, although nothing was sent. `error` is the probe's error.
struct HostIsDown {
    std::string error;
};

using HostDecision = std::variant<StartNow, WaitFor, HostIsDown>;

struct HostStatistics {
    std::string host;
    std::size_t in_flight = 0;
    std::int64_t requests = 0;    // that have ended
    std::int64_t failures = 0;    // those of them that were unsent, timed out or broken
    std::optional<Duration> p50;  // of the last 128 that ended
    std::optional<Duration> p95;
    std::string last_error;  // of the last failure; empty if there was none
    BreakerState breaker = BreakerState::closed;
    // Earliest start by rate and breaker, if in the future (monotonic).
    std::optional<Duration> try_at;
};

// A host is identified by any text, such as core::Url::origin(). All times are monotonic, and never
// go back. `random` is in [0, 1).
class HostLimits {
  public:
    // How many hosts are remembered. Beyond that, hosts that have had nothing in flight for the
    // longest time are forgotten, except those whose breaker is open.
    static constexpr std::size_t kMaxHosts = 10'000;

    explicit HostLimits(HostLimitsOptions options) { configure(options); }

    // May be called at any time. Requests in flight are not affected; for those that wait decide()
    // has to be called again.
    void configure(HostLimitsOptions options);

    // Decides about a request to `host` that has waited since `waiting_since`.
    HostDecision decide(const std::string& host, Duration waiting_since, Duration now);

    // A request has ended. An outcome of `invalid` says nothing about the host, and does not count
    // for or against it.
    void ended(const std::string& host, bool is_probe, Outcome outcome, Duration duration,
               std::string_view error, Duration now, double random);

    // A request was aborted without an outcome. If it was the probe, the next request may be one.
    void given_up(const std::string& host, bool is_probe, Duration now);

    std::size_t in_flight() const { return in_flight_; }

    // Up to `most` of the remembered hosts, beginning with those that have requests in flight or
    // whose breaker is not closed. May be called often: figures that have not changed are cached.
    std::vector<HostStatistics> statistics(Duration now, std::size_t most = kMaxHosts) const;

  private:
    using Nanoseconds = std::chrono::nanoseconds;

    struct Host {
        std::size_t in_flight = 0;
        Breaker breaker;
        // GCRA's theoretical arrival time: when the next request would be due if all were evenly
        // spaced.
        Nanoseconds due_at{Nanoseconds::min()};
        Nanoseconds started_at{Nanoseconds::min()};  // the last one
        std::int64_t requests = 0;
        std::int64_t failures = 0;
        std::vector<Duration> durations;  // a ring of kMaxDurations
        mutable std::optional<Duration> p50, p95;
        mutable bool are_percentiles_known = false;  // p50 and p95 are up to date
        std::string last_error;
        std::optional<std::list<std::string>::iterator> idle;  // its place in idle_
    };

    using Entry = std::pair<const std::string, Host>;

    HostStatistics statistics_of(const Entry& entry, Duration now) const;
    Host* find(const std::string& host);
    const Host* find(const std::string& host) const;
    bool has_slot(std::size_t in_flight) const;
    Nanoseconds rate_allows_at(const Host& host) const;
    std::optional<Duration> try_at(const Host& host, Duration now) const;
    StartNow start(const std::string& name, Duration now);
    void leave(const std::string& name, Host& host, Duration now);
    void forget_idle(Duration now);

    HostLimitsOptions options_;
    Nanoseconds spacing_{0};    // 0: no limit
    Nanoseconds tolerance_{0};  // how much earlier than due a request may start
    std::unordered_map<std::string, Host> hosts_;
    std::list<std::string> idle_;  // with nothing in flight, longest idle first
    std::size_t in_flight_ = 0;
};

}  // namespace securatlas::core
