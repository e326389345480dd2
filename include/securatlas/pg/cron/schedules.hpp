// Schedules and zones as PostgreSQL reads them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "securatlas/core/cron/schedule.hpp"
#include "securatlas/core/cron/zone.hpp"
#include "securatlas/pg/border/error.hpp"

namespace securatlas::pg {

// A zone of PostgreSQL's zone database (pg_timezone_names), or null. Names take any case.
std::shared_ptr<const core::Zone> find_zone(std::string_view name);

// A schedule with the zone that its occurrences are computed in.
struct ZonedSchedule {
    std::shared_ptr<const core::Schedule> schedule;
    std::shared_ptr<const core::Zone> zone;
    std::string zone_name;
};

// Reads a schedule. Its zone is the one that its text names, else `timezone`, else cron.timezone.
// Throws Error 22023 for what is not a schedule or a zone.
ZonedSchedule read_schedule(std::string_view text, std::string_view timezone);

// Whether read_schedule() threw it because of what it was given, and not for want of memory, a file
// or time.
bool is_no_schedule(const Error& error);

// Such an error as a sentence or two for the note of a job.
std::string schedule_problem(const Error& error);

// As timestamptz prints it in UTC, with all six digits: for the text of an "@at" schedule.
std::string format_utc(core::Instant instant);

// Throws Error 22023 unless `timezone` names a zone.
void require_zone(std::string_view timezone);

}  // namespace securatlas::pg
