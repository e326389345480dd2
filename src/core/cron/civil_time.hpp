// Local times, and the instants at which a zone's clock shows them.
#pragma once

#include <chrono>

#include "securatlas/core/cron/zone.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

using LocalTime = std::chrono::local_time<Duration>;

// Occurrences that are computed lie in [kFirstOccurrence, kOccurrencesEnd): inside the years for
// which a Zone is defined, with room to look a few days back and ahead.
inline constexpr Instant kFirstOccurrence = std::chrono::sys_days{std::chrono::year(1901) / 1 / 1};
inline constexpr Instant kOccurrencesEnd = std::chrono::sys_days{std::chrono::year(2500) / 1 / 1};

// Of local time to UTC, in either direction.
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

// The same time of day that many months, then days later. A day that the month reached does not
// have becomes its last.
LocalTime add_calendar(LocalTime local, std::chrono::months months, std::chrono::days days);

}  // namespace securatlas::core
