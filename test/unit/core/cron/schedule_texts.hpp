// What the schedule tests share: reading schedules, and instants as text.
#pragma once

#include <ctime>
#include <iomanip>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "securatlas/core/cron/schedule.hpp"

namespace securatlas::core::test {

// "2026-11-23T02:00:00Z"
inline std::string iso(Instant instant) {
    const std::time_t time =
        std::chrono::floor<std::chrono::seconds>(instant).time_since_epoch().count();
    std::tm fields{};
    gmtime_r(&time, &fields);
    std::ostringstream text;
    text << std::put_time(&fields, "%Y-%m-%dT%H:%M:%SZ");
    return text.str();
}

inline std::string iso(std::optional<Instant> instant) { return instant ? iso(*instant) : "none"; }

inline Instant from_iso(const std::string& text) {
    std::tm fields{};
    std::istringstream stream(text);
    stream >> std::get_time(&fields, "%Y-%m-%dT%H:%M:%SZ");
    if (stream.fail()) throw std::invalid_argument("not an instant: " + text);
    return Instant(std::chrono::seconds(timegm(&fields)));
}

// Pairs of a number and a unit ("1 month -2 days"), and instants like "2026-11-23T02:00:00Z".
inline LiteralParsers test_literals() {
    const auto interval = [](std::string_view text) -> Result<Interval, std::string> {
        Interval parts{0, 0, Duration(0)};
        std::istringstream stream{std::string(text)};
        int amount = 0;
        std::string unit;
        while (stream >> amount >> unit) {
            if (unit.starts_with("month"))
                parts.months += amount;
            else if (unit.starts_with("day"))
                parts.days += amount;
            else if (unit.starts_with("hour"))
                parts.time += std::chrono::hours(amount);
            else if (unit.starts_with("second"))
                parts.time += std::chrono::seconds(amount);
            else if (unit.starts_with("millisecond"))
                parts.time += std::chrono::milliseconds(amount);
            else
                return Failure{"no unit \"" + unit + "\""};
        }
        return parts;
    };
    const auto timestamp = [](std::string_view text) -> Result<Instant, std::string> {
        if (text == "infinity") return kNever;
        try {
            return from_iso(std::string(text));
        } catch (const std::invalid_argument& error) {
            return Failure{std::string(error.what())};
        }
    };
    return {interval, timestamp};
}

inline Schedule read_schedule(std::string_view text) {
    auto parsed = parse_schedule(text, test_literals());
    if (!parsed) throw std::invalid_argument(parsed.error().message + ": " + parsed.error().detail);
    return *parsed;
}

}  // namespace securatlas::core::test
