#include "securatlas/core/net/breaker.hpp"

#include <algorithm>
#include <cassert>

namespace securatlas::core {

// Requests that were sent before it opened may end later. An answer to one of them closes it, like
// an answer to a probe; a failure of one of them says nothing new, and must not extend the pause.
void Breaker::apply(BreakerEvent event, Duration now, double random) {
    switch (event) {
        case BreakerEvent::answered:
        case BreakerEvent::probe_answered:
            close();
            return;
        case BreakerEvent::failed:
            if (state_ == BreakerState::closed && ++failures_ >= kFailuresToOpen) open(now, random);
            return;
        case BreakerEvent::probe_started:
            assert(may_probe(now));
            state_ = BreakerState::half_open;
            return;
        case BreakerEvent::probe_failed:
            if (state_ != BreakerState::half_open) {
                apply(BreakerEvent::failed, now, random);
                return;
            }
            probe_failed_at_ = now;
            open(now, random);
            return;
        case BreakerEvent::probe_given_up:
            if (state_ != BreakerState::half_open) return;
            state_ = BreakerState::open;
            probe_at_ = now;
            return;
    }
}

void Breaker::close() {
    state_ = BreakerState::closed;
    failures_ = 0;
    next_pause_ = kFirstPause;
    probe_failed_at_.reset();
}

void Breaker::open(Duration now, double random) {
    state_ = BreakerState::open;
    const double factor = 0.75 + 0.5 * std::clamp(random, 0.0, 1.0);
    probe_at_ = now + std::chrono::duration_cast<Duration>(next_pause_ * factor);
    next_pause_ = std::min(2 * next_pause_, kMaxPause);
}

}  // namespace securatlas::core
