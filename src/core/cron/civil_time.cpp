#include "cron/civil_time.hpp"

#include <algorithm>
#include <chrono>

namespace securatlas::core {

namespace {

// An upper bound for how long ago a clock can have shown a time that it shows again: more than any
// two offsets differ.
constexpr Duration kLongestRepeat = 2 * kLargestOffset + std::chrono::hours(1);

}  // namespace

Instant first_reached(const Zone& zone, LocalTime local) {
    Instant begin = to_instant(local, kLargestOffset) - std::chrono::hours(1);
    while (true) {
        const ZoneSpan span = zone.span_at(begin);
        const Instant shown = to_instant(local, span.offset);
        if (shown < span.end) return std::max(shown, begin);
        begin = span.end;
    }
}

LocalTime first_not_reached(const Zone& zone, Instant instant) {
    Instant begin = instant - kLongestRepeat;
    LocalTime reached = (LocalTime::min)();
    while (true) {
        const ZoneSpan span = zone.span_at(begin);
        const Instant end = std::min(span.end, instant + Duration(1));
        reached = std::max(reached, to_local(end, span.offset));
        if (span.end > instant) return reached;
        begin = span.end;
    }
}

LocalTime add_calendar(LocalTime local, std::chrono::months months, std::chrono::days days) {
    const auto midnight = std::chrono::floor<std::chrono::days>(local);
    std::chrono::year_month_day date = std::chrono::year_month_day(midnight) + months;
    if (!date.ok()) date = date.year() / date.month() / std::chrono::last;
    return std::chrono::local_days(date) + days + (local - midnight);
}

}  // namespace securatlas::core
