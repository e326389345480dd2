// Converts instants and durations between the core and PostgreSQL.
#pragma once

#include "securatlas/core/time.hpp"
#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace securatlas::pg {

// PostgreSQL counts from 2000-01-01, the core from 1970-01-01.
inline constexpr core::Duration kEpochDifference =
    std::chrono::days(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);

// The infinities become kNever and kLongAgo.
constexpr core::Instant to_instant(TimestampTz time) {
    if (time == DT_NOEND) return core::kNever;
    if (time == DT_NOBEGIN) return core::kLongAgo;
    // PostgreSQL's last year is a little later than the core's.
    constexpr core::Instant kLast = core::kNever - core::Duration(1);
    if (core::Duration(time) >= kLast.time_since_epoch() - kEpochDifference) return kLast;
    return core::Instant(core::Duration(time) + kEpochDifference);
}

constexpr TimestampTz to_timestamp(core::Instant instant) {
    if (instant == core::kNever) return DT_NOEND;
    if (instant == core::kLongAgo) return DT_NOBEGIN;
    return (instant.time_since_epoch() - kEpochDifference).count();
}

// As elapsed time: a day counts as 24 hours, a month as 30 days.
constexpr core::Duration to_duration(const Interval& interval) {
    return core::Duration(interval.time) + std::chrono::days(interval.day) +
           std::chrono::days(30) * interval.month;
}

}  // namespace securatlas::pg
