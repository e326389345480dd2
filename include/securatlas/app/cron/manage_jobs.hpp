// The SQL functions of schema cron. Each throws pg::Error with the text that users see. A job may
// be managed by its role, by members of that role, and by superusers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/cron/jobs.hpp"

namespace securatlas::app {

using OptionalText = std::optional<std::string>;

// A NULL argument is nullopt; where NULL is not allowed, that is an Error.
struct ScheduleRequest {
    OptionalText name;
    OptionalText schedule;
    OptionalText command;
    OptionalText database;  // nullopt: this database
    OptionalText username;  // nullopt: the caller
    std::optional<bool> active;
    bool named = true;         // the called function has a name argument
    bool in_database = false;  // ... and a database argument
};
std::int64_t schedule_job(const ScheduleRequest& request);
std::int64_t schedule_job_once(const OptionalText& name, std::optional<core::Instant> run_at,
                               const OptionalText& command);

struct Alteration {
    std::optional<std::int64_t> job;
    OptionalText schedule, command, database, username;
    std::optional<bool> active;
};
void alter_job(const Alteration& alteration);

// A job as an argument refers to it: by id or by name.
using JobName = std::variant<std::optional<std::int64_t>, OptionalText>;

struct JobAlerts {
    OptionalText on_failure, on_success;  // as set_job_alert() takes them; nullopt: as they are
};
void configure_job(const JobName& job, const pg::jobs::Changes& changes, const JobAlerts& alerts);
// nullopt: NULL, as an element or in place of the array.
using Rules = std::optional<std::vector<OptionalText>>;
void reset_job_rules(const JobName& job, const Rules& rules);
void unschedule_job(const JobName& job);
void pause_job(const JobName& job, const OptionalText& note);
void resume_job(const JobName& job);
std::int64_t run_job(const JobName& job);
bool cancel_run(std::optional<std::int64_t> run);
void run_after(const OptionalText& job, const OptionalText& after, const OptionalText& condition);
void remove_run_after(const OptionalText& job, const OptionalText& after);

}  // namespace securatlas::app
