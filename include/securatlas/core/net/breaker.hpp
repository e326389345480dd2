// Circuit breaker: keeps requests from a host that is down. After some consecutive failures it
// opens, and nothing is sent for a while; then one request, the probe, tests the host (half-open).
//
//   closed --- kFailuresToOpen failures in a row --> open
//   open --- probe starts --> half_open
//   half_open --- probe fails --> open, for twice as long
//   half_open --- probe is aborted --> open, the next probe may start at once any --- any request
//   is answered --> closed
#pragma once

#include <optional>

#include "securatlas/core/time.hpp"

namespace securatlas::core {

enum class BreakerState { closed, open, half_open };

enum class BreakerEvent {
    answered,
    failed,
    probe_started,
    probe_answered,
    probe_failed,
    probe_given_up,
};

// Times are monotonic. `random` is in [0, 1).
class Breaker {
  public:
    static constexpr int kFailuresToOpen = 5;
    // How long it stays open the first time, and at most; both times a random factor of 0.75 to
    // 1.25.
    static constexpr Duration kFirstPause = std::chrono::seconds(1);
    static constexpr Duration kMaxPause = std::chrono::seconds(60);

    // The only function that changes the state. `probe_started` is allowed only if may_probe().
    void apply(BreakerEvent event, Duration now, double random);

    BreakerState state() const { return state_; }
    bool may_probe(Duration now) const { return state_ == BreakerState::open && probe_at_ <= now; }

    // If open: when the next probe may start.
    Duration probe_at() const { return probe_at_; }

    // When the last probe failed; nullopt: none has failed since it was last closed.
    std::optional<Duration> probe_failed_at() const { return probe_failed_at_; }

  private:
    void close();
    void open(Duration now, double random);

    BreakerState state_ = BreakerState::closed;
    int failures_ = 0;                   // in a row, while closed
    Duration next_pause_ = kFirstPause;  // if it opened now
    Duration probe_at_{0};
    std::optional<Duration> probe_failed_at_;
};

}  // namespace securatlas::core
