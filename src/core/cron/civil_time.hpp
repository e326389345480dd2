// Local times, and the instants at which a zone's clock shows them.
#pragma once

#include <chrono>

#include "securatlas/core/cron/zone.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

using LocalTime = std::chrono::local_time<Duration>;

// Computed occurrences lie in [kFirstOccurrence, kOccurrencesEnd): within the years for which a
// Zone is defined, with a margin for looking a few days back and ahead.
inline constexpr Instant kFirstOccurrence = std::chrono::sys_days{std::chrono::year(1901) / 1 / 1};
inline constexpr Instant kOccurrencesEnd = std::chrono::sys_days{std::chrono::year(2500) / 1 / 1};

// Between local time and UTC, in either direction.
inline constexpr std::chrono::seconds kLargestOffset = std::chrono::hours(26);

constexpr LocalTime to_local(Instant instant, std::chrono::seconds offset) {
    return LocalTime(instant.time_since_epoch() + offset);
}
constexpr Instant to_instant(LocalTime local, std::chrono::seconds offset) {
    return Instant(local.time_since_epoch() - offset);
}

// The first instant at which the zone's clock has reached `local`: the instant that shows it, the
// first of two such instants, or the end of the gap that skips it.
Instant first_reached(const Zone& zone, LocalTime local);

// The earliest local time that the zone's clock has not reached by the end of the microsecond
// `instant`. Later than what the clock shows then, if it is being shown a second time.
LocalTime first_not_reached(const Zone& zone, Instant instant);

// Adds months, then days; the time of day stays. If the resulting month is too short for the day,
// its last day is used.
LocalTime add_calendar(LocalTime local, std::chrono::months months, std::chrono::days days);

}  // namespace securatlas::core
