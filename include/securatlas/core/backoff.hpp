// How long to wait before another attempt. `random` is in [0, 1) and comes from the caller, so that
// the same arguments give the same wait. Arguments out of range count as the nearest end of their
// range.
#pragma once

#include "securatlas/core/time.hpp"

namespace securatlas::core {

// The wait before jitter doubles with each attempt up to here.
inline constexpr Duration kMaxRetryDelay = std::chrono::hours(1);

// For runs of a job, after attempt number `attempt` (1 is the first) has failed:
// period x 2^(attempt - 1), at most kMaxRetryDelay, times a random factor of 0.75 to 1.25.
Duration retry_delay(Duration period, int attempt, double random);

// Upper bound of the wait after the first attempt of a request.
inline constexpr Duration kFirstRequestDelay = std::chrono::seconds(1);

// For requests, after attempt number `attempt` has failed: a random time between zero and
// kFirstRequestDelay x 2^(attempt - 1), at most kMaxRetryDelay. Jitter over the whole range ("full
// jitter") keeps requests that failed together from being retried together.
Duration request_retry_delay(int attempt, double random);

}  // namespace securatlas::core
