#include <algorithm>
#include <bit>
#include <chrono>

#include "cron/civil_time.hpp"
#include "securatlas/core/cron/schedule.hpp"

namespace securatlas::core {

namespace {

using std::chrono::days;
using std::chrono::minutes;
using std::chrono::months;

// The smallest member of `set` that is at least `from`, or 64.
int next_member(std::uint64_t set, int from) {
    return from >= 64 ? 64 : std::countr_zero(set >> from << from);
}

// The first matching time of day that is not before `from`.
std::optional<minutes> next_time_of_day(const CronFields& fields, minutes from) {
    const int hour = static_cast<int>(from.count() / 60);
    if ((fields.hours >> hour & 1) != 0) {
        const int minute = next_member(fields.minutes, static_cast<int>(from.count() % 60));
        if (minute < 60) return std::chrono::hours(hour) + minutes(minute);
    }
    const int next_hour = next_member(fields.hours, hour + 1);
    if (next_hour >= 24) return std::nullopt;
    return std::chrono::hours(next_hour) + minutes(next_member(fields.minutes, 0));
}

// The first matching local time that is not before `from`; nullopt if it is in a month that begins
// at `limit` or later.
std::optional<LocalTime> next_match(const CronFields& fields, LocalTime from, LocalTime limit) {
    const auto start = std::chrono::ceil<minutes>(from);
    const auto today = std::chrono::floor<days>(start);
    const std::chrono::year_month_day date(today);
    const auto day = static_cast<unsigned>(date.day());

    std::chrono::year_month month = date.year() / date.month();
    std::uint32_t matching = matching_days(fields, month) >> day << day;
    if ((matching >> day & 1) != 0) {
        if (const auto time = next_time_of_day(fields, start - today)) return today + *time;
        matching &= ~(std::uint32_t{1} << day);
    }
    while (matching == 0) {
        month += months(1);
        if (std::chrono::local_days(month / 1) >= limit) return std::nullopt;
        matching = matching_days(fields, month);
    }
    const auto next_day = static_cast<unsigned>(std::countr_zero(matching));
    return std::chrono::local_days(month / std::chrono::day(next_day)) +
           *next_time_of_day(fields, minutes(0));
}

// Goes through the spans of constant offset. A match fires when the wall clock first reaches it:
// times that it shows again when clocks go back do not fire twice, and times that it skips when
// clocks go forward fire at the end of the gap.
std::optional<Instant> next_in_fields(const CronFields& fields, const Zone& zone, Instant after) {
    const bool follows_elapsed_time = fields.hours == kAllHours;
    Instant begin = after + Duration(1);
    LocalTime reached = follows_elapsed_time ? LocalTime() : first_not_reached(zone, after);
    while (begin < kOccurrencesEnd) {
        const ZoneSpan span = zone.span_at(begin);
        const Instant end = std::min(span.end, kOccurrencesEnd);
        const LocalTime local_end = to_local(end, span.offset);
        const LocalTime from = follows_elapsed_time ? to_local(begin, span.offset) : reached;
        const auto match = next_match(fields, from, local_end);
        if (match && *match < local_end) return std::max(to_instant(*match, span.offset), begin);
        reached = std::max(reached, local_end);
        begin = end;
    }
    return std::nullopt;
}

// An interval of time only.
std::optional<Instant> next_multiple(Duration interval, Instant anchor, Instant after) {
    const Instant last = after < anchor ? anchor : after - (after - anchor) % interval;
    if (interval >= kOccurrencesEnd - last) return std::nullopt;
    return last + interval;
}

// An interval with months or days: each occurrence is computed from the anchor, so that a day that
// one month lacks is not lost to the later ones.
std::optional<Instant> next_by_calendar(const Interval& interval, const Zone& zone, Instant anchor,
                                        Instant after) {
    constexpr std::chrono::seconds kMeanMonth{months(1)};
    // An upper bound for the distance of the k-th occurrence from anchor + k * (mean length of the
    // interval).
    constexpr std::chrono::seconds kSlack = days(15);
    constexpr auto kAllYears =
        std::chrono::floor<std::chrono::seconds>(kOccurrencesEnd - kFirstOccurrence);

    const std::chrono::seconds mean = kMeanMonth * interval.months +
                                      std::chrono::seconds(days(1)) * interval.days +
                                      std::chrono::floor<std::chrono::seconds>(interval.time);
    // In seconds, because the longest intervals overflow in microseconds.
    if (mean >= kAllYears) return std::nullopt;

    const LocalTime local_anchor = to_local(anchor, zone.span_at(anchor).offset);
    const auto to_skip = std::chrono::floor<std::chrono::seconds>(after - anchor) - kSlack;
    for (std::int64_t k = std::max<std::int64_t>(1, to_skip / mean);; ++k) {
        const LocalTime local =
            add_calendar(local_anchor, months(k * interval.months), days(k * interval.days));
        if (local >= to_local(kOccurrencesEnd, kLargestOffset)) return std::nullopt;
        const Instant occurrence = first_reached(zone, local) + interval.time * k;
        if (occurrence >= kOccurrencesEnd) return std::nullopt;
        if (occurrence > after) return occurrence;
    }
}

std::optional<Instant> next_of_every(const Schedule::Every& every, const Zone& zone, Instant anchor,
                                     Instant after) {
    const Interval& interval = every.interval;
    if (every.from_epoch) {
        // A multiple of the interval before all occurrences.
        const Duration before = kFirstOccurrence.time_since_epoch() / interval.time * interval.time;
        return next_multiple(interval.time, Instant(before - interval.time), after);
    }
    if (interval.months != 0 || interval.days != 0) {
        return next_by_calendar(interval, zone, anchor, after);
    }
    return next_multiple(interval.time, anchor, after);
}

}  // namespace

std::optional<Instant> next_occurrence(const Schedule& schedule, const Zone& zone, Instant anchor,
                                       Instant after) {
    const auto& body = schedule.body();
    if (const auto* at = std::get_if<Schedule::At>(&body)) {
        return at->instant > after ? std::optional(at->instant) : std::nullopt;
    }
    if (std::holds_alternative<Schedule::Reboot>(body) || after >= kOccurrencesEnd) {
        return std::nullopt;
    }
    after = std::max(after, kFirstOccurrence - Duration(1));
    if (const auto* fields = std::get_if<CronFields>(&body)) {
        return next_in_fields(*fields, zone, after);
    }
    anchor = std::max(anchor, kFirstOccurrence - Duration(1));
    if (anchor >= kOccurrencesEnd) return std::nullopt;
    return next_of_every(std::get<Schedule::Every>(body), zone, anchor, after);
}

}  // namespace securatlas::core
