#include <bit>
#include <cstdio>
#include <vector>

#include "securatlas/core/cron/schedule.hpp"

namespace securatlas::core {

namespace {

using Phrases = std::vector<std::string>;
using Namer = std::string (*)(int);

constexpr const char* kMonthNames[] = {"January",   "February", "March",    "April",
                                       "May",       "June",     "July",     "August",
                                       "September", "October",  "November", "December"};
constexpr const char* kWeekdayNames[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday"};
constexpr const char* kOrdinals[] = {"first", "second", "third", "fourth", "fifth"};

std::string number_name(int number) { return std::to_string(number); }
std::string month_name(int month) { return kMonthNames[month - 1]; }
std::string weekday_name(int weekday) { return kWeekdayNames[weekday % 7]; }

bool contains(std::uint64_t set, int member) { return (set >> member & 1) != 0; }
bool is_single(std::uint64_t set) { return std::has_single_bit(set); }

template <class... Values>
std::string format(const char* pattern, Values... values) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, pattern, values...);
    return buffer;
}

// "a", "a and b", "a, b and c"
std::string join(const Phrases& phrases) {
    std::string text;
    for (std::size_t i = 0; i < phrases.size(); ++i) {
        if (i > 0) text += i + 1 == phrases.size() ? " and " : ", ";
        text += phrases[i];
    }
    return text;
}

// The members' names; three or more in a row become "first to last".
Phrases names_of(std::uint64_t set, Namer name) {
    Phrases phrases;
    for (int member = 0; member < 64; ++member) {
        if (!contains(set, member)) continue;
        int last = member;
        while (last < 63 && contains(set, last + 1)) ++last;
        if (last - member >= 2) {
            phrases.push_back(name(member) + " to " + name(last));
            member = last;
        } else {
            phrases.push_back(name(member));
        }
    }
    return phrases;
}

std::string numbers(const char* noun, std::uint64_t set) {
    return noun + std::string(is_single(set) ? " " : "s ") + join(names_of(set, number_name));
}

// n if the minutes are 0, n, 2n... and n divides 60, so that the distance is the same across hours;
// otherwise 0.
int even_step(std::uint64_t minutes) {
    const int count = std::popcount(minutes);
    if (count < 2 || 60 % count != 0) return 0;
    const int step = 60 / count;
    for (int minute = 0; minute < 60; minute += step) {
        if (!contains(minutes, minute)) return 0;
    }
    return step;
}

Phrases times_of_day(const CronFields& fields) {
    Phrases times;
    for (int hour = 0; hour < 24; ++hour) {
        if (!contains(fields.hours, hour)) continue;
        for (int minute = 0; minute < 60; ++minute) {
            if (contains(fields.minutes, minute))
                times.push_back(format("%02d:%02d", hour, minute));
        }
    }
    return times;
}

std::string time_phrase(const CronFields& fields) {
    constexpr int kMaxTimes = 4;
    const bool all_hours = fields.hours == kAllHours;
    if (!all_hours && std::popcount(fields.minutes) * std::popcount(fields.hours) <= kMaxTimes) {
        return "at " + join(times_of_day(fields));
    }
    const std::string of_hours = all_hours ? "" : " of " + numbers("hour", fields.hours);
    if (fields.minutes == kAllMinutes) return "every minute" + of_hours;
    if (const int step = even_step(fields.minutes); step != 0) {
        return "every " + std::to_string(step) + " minutes" + of_hours;
    }
    return "at " + numbers("minute", fields.minutes) + (all_hours ? " of every hour" : of_hours);
}

std::string date_phrase(const CronFields& fields, const std::string& month) {
    Phrases phrases;
    if (fields.days != 0) phrases.push_back(numbers("day", fields.days));
    for (int n = 0; n <= 30; ++n) {
        if (!contains(fields.days_before_last, n)) continue;
        phrases.push_back(n == 0   ? "the last day"
                          : n == 1 ? "the day before the last"
                                   : "the day " + std::to_string(n) + " days before the last");
    }
    for (int day = 1; day <= 31; ++day) {
        if (!contains(fields.nearest_weekdays, day)) continue;
        phrases.push_back("the weekday nearest to day " + std::to_string(day));
    }
    if (contains(fields.nearest_weekdays, 0)) phrases.emplace_back("the last weekday");
    return "on " + join(phrases) + " of " + month;
}

std::string weekday_phrase(const CronFields& fields, const std::string& month,
                           const std::string& in_months) {
    // Sunday last, so that Saturday and Sunday are consecutive.
    const std::uint64_t from_monday = (fields.weekdays & 0x7EU) | (fields.weekdays & 1U) << 7;
    Phrases phrases = names_of(from_monday, weekday_name);
    if (!phrases.empty()) phrases = {join(phrases) + in_months};
    const auto add = [&](const char* which, std::uint8_t weekdays) {
        for (int weekday = 1; weekday <= 7; ++weekday) {
            if (!contains(weekdays, weekday % 7)) continue;
            phrases.push_back(std::string("the ") + which + " " + weekday_name(weekday) + " of " +
                              month);
        }
    };
    for (std::size_t n = 0; n < fields.nth_weekdays.size(); ++n) {
        add(kOrdinals[n], fields.nth_weekdays[n]);
    }
    add("last", fields.last_weekdays);
    return "on " + join(phrases);
}

// Empty if every day of the year matches.
std::string day_phrase(const CronFields& fields) {
    const bool all_months = fields.months == kAllMonths;
    const std::string month = all_months ? "the month" : join(names_of(fields.months, month_name));
    const std::string in_months = all_months ? "" : " in " + month;
    const bool any_date = fields.days == kAllDays;
    const bool any_weekday = fields.weekdays == kAllWeekdays;
    if (any_date || any_weekday) {
        if (!fields.both_days || (any_date && any_weekday)) {
            return all_months ? "" : "every day" + in_months;
        }
        return any_date ? weekday_phrase(fields, month, in_months) : date_phrase(fields, month);
    }
    if (fields.both_days) {
        return date_phrase(fields, month) + ", only if also " + weekday_phrase(fields, month, "");
    }
    return date_phrase(fields, month) + " or " + weekday_phrase(fields, month, in_months);
}

std::string explain_fields(const CronFields& fields, std::string_view zone_name) {
    std::string text = time_phrase(fields);
    const std::string days = day_phrase(fields);
    if (!days.empty()) {
        text += " " + days;
    } else if (fields.hours != kAllHours) {
        text += " every day";
    }
    return text.append(", in ").append(zone_name);
}

void add_amount(Phrases& phrases, std::int64_t amount, const char* unit) {
    if (amount == 0) return;
    phrases.push_back(std::to_string(amount) + " " + unit + (amount == 1 ? "" : "s"));
}

Phrases interval_phrases(const Interval& interval) {
    Phrases phrases;
    add_amount(phrases, interval.months / 12, "year");
    add_amount(phrases, interval.months % 12, "month");
    add_amount(phrases, interval.days, "day");
    const std::chrono::hh_mm_ss time(interval.time);
    add_amount(phrases, time.hours().count(), "hour");
    add_amount(phrases, time.minutes().count(), "minute");
    if (time.subseconds().count() == 0) {
        add_amount(phrases, time.seconds().count(), "second");
    } else {
        phrases.push_back(format("%d.%06d seconds", static_cast<int>(time.seconds().count()),
                                 static_cast<int>(time.subseconds().count())));
    }
    return phrases;
}

std::string explain_every(const Schedule::Every& every, std::string_view zone_name) {
    std::string text = "every " + join(interval_phrases(every.interval));
    if (every.from_epoch) return text;
    text += ", counted from when the job was made";
    if (every.interval.months == 0 && every.interval.days == 0) return text;
    return text.append(", in ").append(zone_name);
}

std::string explain_at(Instant instant) {
    const auto midnight = std::chrono::floor<std::chrono::days>(instant);
    const std::chrono::year_month_day date(midnight);
    const std::chrono::hh_mm_ss time(instant - midnight);
    std::string text =
        format("once, at %04d-%02u-%02u %02d:%02d:%02d", static_cast<int>(date.year()),
               static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
               static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
               static_cast<int>(time.seconds().count()));
    if (time.subseconds().count() != 0) {
        text += format(".%06d", static_cast<int>(time.subseconds().count()));
    }
    return text + " UTC";
}

}  // namespace

std::string explain_schedule(const Schedule& schedule, std::string_view zone_name) {
    const auto& body = schedule.body();
    switch (schedule.kind()) {
        case ScheduleKind::fields:
            return explain_fields(std::get<CronFields>(body), zone_name);
        case ScheduleKind::every:
            return explain_every(std::get<Schedule::Every>(body), zone_name);
        case ScheduleKind::at:
            return explain_at(std::get<Schedule::At>(body).instant);
        case ScheduleKind::reboot:
            return "once after each start of the server";
    }
    __builtin_unreachable();
}

}  // namespace securatlas::core
