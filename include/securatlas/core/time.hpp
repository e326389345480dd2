// Instants and durations. The core never reads a clock: the caller passes `now`.
#pragma once

#include <chrono>

namespace securatlas::core {

// Microseconds, the resolution of PostgreSQL's timestamptz.
using Duration = std::chrono::microseconds;

// A point in UTC: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
using Instant = std::chrono::sys_time<Duration>;

// Later than every real instant: "never".
inline constexpr Instant kNever = (Instant::max)();

// Earlier than every real instant: "has not happened".
inline constexpr Instant kLongAgo = (Instant::min)();

}  // namespace securatlas::core
