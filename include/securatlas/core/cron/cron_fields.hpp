// The five fields of a cron schedule as sets, and the days that they match.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace securatlas::core {

// Bit n of a set stands for value n. parse_schedule() guarantees that no bit outside a field's
// range is set and that no field is empty.
struct CronFields {
    std::uint64_t minutes = 0;                   // bits 0-59
    std::uint32_t hours = 0;                     // bits 0-23
    std::uint32_t days = 0;                      // bits 1-31
    std::uint32_t days_before_last = 0;          // bits 0-30: "L-n"; bit 0 is the month's last day
    std::uint32_t nearest_weekdays = 0;          // bits 1-31: "nW"; bit 0 is "LW"
    std::uint16_t months = 0;                    // bits 1-12
    std::uint8_t weekdays = 0;                   // bits 0-6, Sunday first
    std::uint8_t last_weekdays = 0;              // bits 0-6: "5L"
    std::array<std::uint8_t, 5> nth_weekdays{};  // [n - 1], bits 0-6: "5#n"
    // The text of day-of-month or of day-of-week begins with "*": a day must match both fields, not
    // just one of them.
    bool both_days = false;

    bool operator==(const CronFields&) const = default;
};

inline constexpr std::uint64_t kAllMinutes = (std::uint64_t{1} << 60) - 1;
inline constexpr std::uint32_t kAllHours = (std::uint32_t{1} << 24) - 1;
inline constexpr std::uint32_t kAllDays = 0xFFFF'FFFEU;
inline constexpr std::uint16_t kAllMonths = 0x1FFE;
inline constexpr std::uint8_t kAllWeekdays = 0x7F;

// The days of `month` that match, as bits 1-31; 0 if the month itself does not match.
std::uint32_t matching_days(const CronFields& fields, std::chrono::year_month month);

// Whether any day of any year matches.
bool ever_matches(const CronFields& fields);

}  // namespace securatlas::core
