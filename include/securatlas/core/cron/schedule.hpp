// Schedules: parsing their text, computing their occurrences, and explaining them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "securatlas/core/cron/cron_fields.hpp"
#include "securatlas/core/cron/zone.hpp"
#include "securatlas/core/result.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

// PostgreSQL's interval. The three parts cannot be converted into each other: months and days vary
// in length.
struct Interval {
    std::int32_t months;
    std::int32_t days;
    Duration time;
};

// The parts of a PostgreSQL error with SQLSTATE 22023. All three are printable ASCII of bounded
// length, whatever the text of the schedule was.
struct ScheduleError {
    std::string message;
    std::string detail;
    std::string hint;
};

// Parse the literals whose syntax PostgreSQL defines. An error is a reason without a full stop.
// Each is called at most once by parse_schedule().
struct LiteralParsers {
    std::function<Result<Interval, std::string>(std::string_view)> interval;
    std::function<Result<Instant, std::string>(std::string_view)> timestamp;
};

enum class ScheduleKind { fields, every, at, reboot };

// An immutable value, made by parse_schedule().
class Schedule {
  public:
    struct Every {
        Interval interval;
        bool from_epoch;  // counted from 1970-01-01T00:00:00Z instead of the anchor; the interval
                          // has no months or days
    };
    struct At {
        Instant instant;
    };
    struct Reboot {};
    using Body = std::variant<CronFields, Every, At, Reboot>;  // in the order of ScheduleKind

    Schedule(Body body, std::string_view zone);  // an empty zone is none

    ScheduleKind kind() const { return static_cast<ScheduleKind>(body_.index()); }
    const Body& body() const { return body_; }

    // The name after CRON_TZ= or TZ=, as written. Not checked against the zone database.
    std::optional<std::string> zone() const;

  private:
    Body body_;
    std::shared_ptr<const std::string> zone_;  // rare and often long: not in the object
};

// Fails if the text is not a schedule, or if the schedule can never fire.
Result<Schedule, ScheduleError> parse_schedule(std::string_view text,
                                               const LiteralParsers& literals);

// The first occurrence strictly after `after`; nullopt if there is none (a past "@at", "@reboot",
// or none before the year 2500). Except for "@at", occurrences lie in the years 1901 to 2499; an
// `after` or `anchor` before them counts as their beginning. "@every" fires at anchor + k *
// interval, k >= 1; other schedules ignore `anchor`.
std::optional<Instant> next_occurrence(const Schedule& schedule, const Zone& zone, Instant anchor,
                                       Instant after);

// One English sentence without a full stop, such as "at 02:00 every day, in UTC". `zone_name` is
// printed where the zone matters.
std::string explain_schedule(const Schedule& schedule, std::string_view zone_name);

}  // namespace securatlas::core
