#include "securatlas/core/cron/cron_fields.hpp"

namespace securatlas::core {

namespace {

using DaySet = std::uint32_t;

// Days 1, 8, 15, 22 and 29.
constexpr DaySet kEverySeventhDay = 0x20408102U;

// What determines the matching days of a month, besides its number.
struct MonthShape {
    unsigned length;         // 28-31
    unsigned first_weekday;  // of day 1; 0 is Sunday

    DaySet all() const { return (DaySet{2} << length) - 2; }
    unsigned weekday(unsigned day) const { return (first_weekday + day - 1) % 7; }
    // The first day of the month that is this weekday, 1 to 7.
    unsigned first_day(unsigned weekday) const { return (weekday + 7 - first_weekday) % 7 + 1; }
};

constexpr DaySet bit(unsigned day) { return DaySet{1} << day; }
constexpr bool contains(std::uint32_t set, unsigned member) { return (set >> member & 1) != 0; }

MonthShape shape_of(std::chrono::year_month month) {
    const std::chrono::weekday first{std::chrono::sys_days(month / 1)};
    const auto last = (month / std::chrono::last).day();
    return {static_cast<unsigned>(last), first.c_encoding()};
}

DaySet nearest_weekday(const MonthShape& month, unsigned day) {
    switch (month.weekday(day)) {
        case 0:
            return bit(day < month.length ? day + 1 : day - 2);
        case 6:
            return bit(day > 1 ? day - 1 : day + 2);
        default:
            return bit(day);
    }
}

DaySet last_weekday(const MonthShape& month) {
    const unsigned weekday = month.weekday(month.length);
    return bit(weekday == 0 ? month.length - 2 : weekday == 6 ? month.length - 1 : month.length);
}

DaySet days_of_month(const CronFields& fields, const MonthShape& month) {
    DaySet days = fields.days;
    for (unsigned n = 0; fields.days_before_last >> n != 0 && n < month.length; ++n) {
        if (contains(fields.days_before_last, n)) days |= bit(month.length - n);
    }
    if (fields.nearest_weekdays != 0) {
        if (contains(fields.nearest_weekdays, 0)) days |= last_weekday(month);
        for (unsigned day = 1; day <= month.length; ++day) {
            if (contains(fields.nearest_weekdays, day)) days |= nearest_weekday(month, day);
        }
    }
    return days & month.all();
}

DaySet days_of_week(const CronFields& fields, const MonthShape& month) {
    DaySet days = 0;
    for (unsigned weekday = 0; weekday < 7; ++weekday) {
        const unsigned first = month.first_day(weekday);
        if (contains(fields.weekdays, weekday)) days |= kEverySeventhDay << (first - 1);
        if (contains(fields.last_weekdays, weekday)) {
            days |= bit(first + (month.length - first) / 7 * 7);
        }
        for (unsigned n = 0; n < fields.nth_weekdays.size(); ++n) {
            if (contains(fields.nth_weekdays[n], weekday) && first + 7 * n <= month.length) {
                days |= bit(first + 7 * n);
            }
        }
    }
    return days & month.all();
}

}  // namespace

std::uint32_t matching_days(const CronFields& fields, std::chrono::year_month month) {
    if (!contains(fields.months, static_cast<unsigned>(month.month()))) return 0;
    const MonthShape shape = shape_of(month);
    const DaySet by_date = days_of_month(fields, shape);
    const DaySet by_weekday = days_of_week(fields, shape);
    return fields.both_days ? by_date & by_weekday : by_date | by_weekday;
}

bool ever_matches(const CronFields& fields) {
    // Any 28 consecutive years without a skipped leap year contain all 14 kinds of years.
    for (std::chrono::year_month month = std::chrono::year(2000) / 1;
         month < std::chrono::year(2028) / 1; month += std::chrono::months(1)) {
        if (matching_days(fields, month) != 0) return true;
    }
    return false;
}

}  // namespace securatlas::core
