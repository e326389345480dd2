// How long to wait before another attempt. `random` is in [0, 1) and comes from the caller, so that
// the same arguments give the same wait. Numbers out of range count as the nearest end of it.
#pragma once

#include "securatlas/core/time.hpp"

namespace securatlas::core {

// The wait before jitter doubles with each attempt up to here.
inline constexpr Duration kMaxRetryDelay = std::chrono::hours(1);

// For runs of a job, after attempt number `attempt` (1 is the first) has failed:
// period x 2^(attempt - 1), an hour at the most, times a factor of 0.75 to 1.25. Thus between 0 and
// 75 minutes.
Duration retry_delay(Duration period, int attempt, double random);

// The wait after the first attempt of a request is below this.
inline constexpr Duration kFirstRequestDelay = std::chrono::seconds(1);

// For requests, after attempt number `attempt` has failed: somewhere between zero and
// kFirstRequestDelay x 2^(attempt - 1), an hour at the most. Jitter over the whole of the range
// keeps requests that failed together from coming back together.
Duration request_retry_delay(int attempt, double random);

}  // namespace securatlas::core
