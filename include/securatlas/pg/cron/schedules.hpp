// Parses schedules and looks up time zones as PostgreSQL does.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "securatlas/core/cron/schedule.hpp"
#include "securatlas/core/cron/zone.hpp"
#include "securatlas/pg/border/error.hpp"

namespace securatlas::pg {

// A zone of PostgreSQL's zone database (pg_timezone_names), or null. Case does not matter.
std::shared_ptr<const core::Zone> find_zone(std::string_view name);

// A schedule with the zone that its occurrences are computed in.
struct ZonedSchedule {
    std::shared_ptr<const core::Schedule> schedule;
    std::shared_ptr<const core::Zone> zone;
    std::string zone_name;
};

// Parses a schedule. Its zone is the one in its text, else `timezone`, else cron.timezone. Throws
// Error 22023 if the schedule or the zone is not valid.
ZonedSchedule read_schedule(std::string_view text, std::string_view timezone);

// True if read_schedule() threw the error because of its arguments, false if because of a lack of
// memory or file descriptors, or an interrupt.
bool is_no_schedule(const Error& error);

// Such an error as one or two sentences for the note of a job.
std::string schedule_problem(const Error& error);

// The instant as timestamptz output in UTC with six digits, for the text of an "@at" schedule.
std::string format_utc(core::Instant instant);

// Throws Error 22023 unless `timezone` names a zone.
void require_zone(std::string_view timezone);

}  // namespace securatlas::pg
