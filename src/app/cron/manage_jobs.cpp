#include "securatlas/app/cron/manage_jobs.hpp"

#include <algorithm>
#include <climits>
#include <initializer_list>

#include "securatlas/app/cron/manage_alerts.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/cron/schedules.hpp"
#include "securatlas/pg/cron/settings.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

namespace securatlas::app {
namespace {

constexpr const char* kNull = "22004";        // null_value_not_allowed
constexpr const char* kInvalid = "22023";     // invalid_parameter_value
constexpr const char* kNotThere = "42704";    // undefined_object
constexpr const char* kNotAllowed = "42501";  // insufficient_privilege

pg::Error null_argument(const char* name) {
    return pg::Error(kNull, std::string(name) + " can not be NULL");
}

const std::string& required(const OptionalText& argument, const char* name) {
    if (!argument) throw null_argument(name);
    return *argument;
}

void check_name(const std::string& name) {
    if (name.empty()) throw pg::Error(kInvalid, "job_name cannot be empty");
    if (name.size() > 1000) {
        throw pg::Error(kInvalid, "job_name is too long", "It must have at most 1000 bytes.");
    }
}

void check_schedule(const std::string& schedule, std::string_view timezone = {}) {
    (void)pg::read_schedule(schedule, timezone);
}

// The role of this name, which must be the caller or a role that the caller may SET ROLE to. For
// other callers the error does not reveal whether the role exists.
pg::RoleOid require_role(const std::string& username) {
    const pg::RoleOid role = pg::find_role(username).value_or(0);
    if (!pg::may_run_as(role)) {
        throw pg::Error(kNotAllowed, "must be superuser to alter username",
                        "You may not SET ROLE to \"" + username + "\".");
    }
    if (role == 0) throw pg::Error(kNotThere, "role \"" + username + "\" does not exist");
    return role;
}

void check_target(const std::string& database, pg::RoleOid role, const std::string& username) {
    const auto target = pg::find_database_oid(database);
    if (!target) throw pg::Error("3D000", "database \"" + database + "\" does not exist");
    if (pg::role_is_superuser(role)) {
        if (!pg::settings().enable_superuser_jobs) {
            throw pg::Error(kNotAllowed, "cannot schedule jobs as superuser", "",
                            "Set cron.enable_superuser_jobs to on, or use another role.");
        }
    } else if (!pg::may_connect(role, *target)) {
        throw pg::Error(kNotAllowed,
                        "User " + username + " does not have CONNECT privilege on " + database);
    }
}

pg::Error no_such_job(const std::string& name) {
    return pg::Error(kNotThere, "could not find valid entry for job '" + name + "'", "",
                     "See cron.job for the jobs that you may manage.");
}

using pg::jobs::Lock;

// nullopt: there is none, or it is another's.
std::optional<pg::jobs::Found> find_manageable(std::int64_t id, Lock lock) {
    auto found = pg::jobs::find(id, lock);
    if (found && !pg::may_manage(found->role)) found.reset();
    return found;
}

pg::jobs::Found find_job(std::optional<std::int64_t> id, Lock lock) {
    if (!id) throw null_argument("job_id");
    const auto found = find_manageable(*id, lock);
    if (!found) throw no_such_job(std::to_string(*id));
    return *found;
}

// The caller's own job of this name, else the only one of other roles that the caller may manage.
// Jobs that the caller may not manage are never locked.
pg::jobs::Found find_job(const OptionalText& argument, Lock lock, const char* what = "job_name") {
    const std::string& name = required(argument, what);
    std::vector<pg::jobs::Found> candidates = pg::jobs::find_named(name);
    std::erase_if(candidates, [](const auto& job) { return !pg::may_manage(job.role); });
    const auto own = std::find_if(candidates.begin(), candidates.end(),
                                  [](const auto& job) { return job.role == pg::current_role(); });
    if (own == candidates.end() && candidates.size() > 1) {
        throw pg::Error("42725", "several roles have a job \"" + name + "\"",
                        "Roles \"" + candidates[0].username + "\" and \"" + candidates[1].username +
                            "\" have one each.",
                        "Use the id of the job.");
    }
    if (candidates.empty()) throw no_such_job(name);
    std::optional<pg::jobs::Found> found = own == candidates.end() ? candidates.front() : *own;
    // It may have another owner by the time it is locked.
    if (lock == Lock::update) found = pg::jobs::find(found->id, lock);
    if (!found || found->name != name || !pg::may_manage(found->role)) throw no_such_job(name);
    return *found;
}

void check_word(const OptionalText& value, const char* name,
                std::initializer_list<const char*> words) {
    if (!value || std::find(words.begin(), words.end(), *value) != words.end()) return;
    std::string hint = "Use one of";
    for (const char* word : words) hint += std::string(word == *words.begin() ? " " : ", ") + word;
    throw pg::Error(kInvalid, "invalid " + std::string(name) + ": \"" + *value + "\"", "",
                    hint + ".");
}

void check_number(const std::optional<int>& value, const char* name, int lowest, int highest) {
    if (!value || (*value >= lowest && *value <= highest)) return;
    throw pg::Error(
        kInvalid, std::string(name) + " is out of range",
        "It must be from " + std::to_string(lowest) + " to " + std::to_string(highest) + ".");
}

void check_interval(const std::optional<pg::jobs::IntervalValue>& value, const char* name,
                    core::Duration shortest) {
    if (!value || value->length >= shortest) return;
    throw pg::Error(
        kInvalid, std::string(name) + " is out of range",
        shortest > core::Duration(0) ? "It must be positive." : "It must not be negative.");
}

void check_changes(const pg::jobs::Changes& changes) {
    if (changes.timezone) pg::require_zone(*changes.timezone);
    check_word(changes.overlap, "overlap_policy",
               {"buffer_one", "buffer_all", "skip", "cancel_other", "allow"});
    check_word(changes.missed, "missed", {"skip", "once", "all"});
    check_word(changes.log_runs, "log_runs", {"all", "failures", "none"});
    check_number(changes.max_retries, "max_retries", 0, 1000);
    check_number(changes.max_failures, "max_failures", 1, INT_MAX);
    check_number(changes.priority, "priority", -100, 100);
    check_interval(changes.max_runtime, "max_runtime", core::Duration(1));
    check_interval(changes.retry_period, "retry_period", core::Duration(1));
    check_interval(changes.catchup_window, "catchup_window", core::Duration(0));
    check_interval(changes.jitter, "jitter", core::Duration(0));
}

pg::jobs::Found find_job(const JobName& job, Lock lock = Lock::update) {
    return std::visit([lock](const auto& argument) { return find_job(argument, lock); }, job);
}

}  // namespace

std::int64_t schedule_job(const ScheduleRequest& request) {
    if (request.named) check_name(required(request.name, "job_name"));
    if (request.in_database) required(request.database, "database");
    pg::jobs::Definition definition{
        .name = request.name,
        .schedule = required(request.schedule, "schedule"),
        .command = required(request.command, "command"),
        .database = request.database.value_or(pg::current_database_name()),
        .username = request.username.value_or(pg::current_user_name()),
        .role = 0,
        .active = request.active.value_or(true),
    };
    check_schedule(definition.schedule);
    definition.role = require_role(definition.username);
    check_target(definition.database, definition.role, definition.username);
    return pg::jobs::upsert(definition);
}

std::int64_t schedule_job_once(const OptionalText& name, std::optional<core::Instant> run_at,
                               const OptionalText& command) {
    if (!run_at) throw null_argument("run_at");
    if (*run_at == core::kNever || *run_at == core::kLongAgo) {
        throw pg::Error(kInvalid, "run_at must be finite");
    }
    return schedule_job({.name = name,
                         .schedule = "@at " + pg::format_utc(*run_at),
                         .command = command,
                         .database = {},
                         .username = {},
                         .active = true});
}

void alter_job(const Alteration& alteration) {
    if (!alteration.job) throw null_argument("job_id");
    if (!alteration.schedule && !alteration.command && !alteration.database &&
        !alteration.username && !alteration.active) {
        throw pg::Error(kInvalid, "no updates specified", "",
                        "You must specify at least one job attribute to change when calling "
                        "alter_job");
    }
    const auto found = find_manageable(*alteration.job, Lock::update);
    if (!found) {
        throw pg::Error(kNotThere, "Job " + std::to_string(*alteration.job) +
                                       " does not exist or you don't own it");
    }
    if (alteration.schedule) check_schedule(*alteration.schedule);
    pg::jobs::Changes changes;
    if (alteration.username) changes.role = require_role(*alteration.username);
    if (alteration.username || alteration.database) {
        check_target(alteration.database.value_or(found->database),
                     changes.role.value_or(found->role),
                     alteration.username.value_or(found->username));
    }
    changes.schedule = alteration.schedule;
    changes.command = alteration.command;
    changes.database = alteration.database;
    changes.username = alteration.username;
    changes.active = alteration.active;
    changes.clear_note = alteration.active.value_or(false);
    pg::jobs::change(found->id, changes);
}

void configure_job(const JobName& job, const pg::jobs::Changes& changes, const JobAlerts& alerts) {
    const pg::jobs::Found found = find_job(job);
    check_changes(changes);
    pg::jobs::change(found.id, changes);
    if (alerts.on_failure) set_job_alert(found, JobAlert::on_failure, *alerts.on_failure);
    if (alerts.on_success) set_job_alert(found, JobAlert::on_success, *alerts.on_success);
}

void reset_job_rules(const JobName& job, const Rules& rules) {
    if (!rules) throw null_argument("rules");
    const pg::jobs::Found found = find_job(job);
    for (const OptionalText& rule : *rules) {
        const std::string& name = required(rule, "rule");
        if (std::find(pg::jobs::kRules.begin(), pg::jobs::kRules.end(), name) ==
            pg::jobs::kRules.end()) {
            throw pg::Error(kInvalid, "unknown rule: \"" + name + "\"", "",
                            "The rules are the arguments of cron.configure_job() with defaults.");
        }
        pg::jobs::reset_rule(found.id, name);
    }
}

void unschedule_job(const JobName& job) {
    // In the words that users of pg_cron know, and the same whether there is no such job or it is
    // another's.
    const auto* id = std::get_if<std::optional<std::int64_t>>(&job);
    if (id != nullptr && *id && !pg::current_user_is_superuser() &&
        !find_manageable(**id, Lock::update)) {
        throw pg::Error(kNotAllowed, "permission denied for table job",
                        "There is no job with this id that you may manage.",
                        "See cron.job for the jobs that you may manage.");
    }
    pg::jobs::remove_as_owner(find_job(job).id);
}

void pause_job(const JobName& job, const OptionalText& note) {
    pg::jobs::Changes changes;
    changes.active = false;
    changes.note = note;
    changes.clear_note = !note;
    pg::jobs::change(find_job(job).id, changes);
}

void resume_job(const JobName& job) {
    pg::jobs::Changes changes;
    changes.active = true;
    changes.clear_note = true;
    pg::jobs::change(find_job(job).id, changes);
}

std::int64_t run_job(const JobName& job) {
    const pg::jobs::Found found = find_job(job, Lock::none);
    if (found.replicated) {
        throw pg::Error("55000", "job \"" + found.name + "\" was replicated from another server",
                        "The other server runs it.",
                        "Call cron.take_over() to have this server run all replicated jobs.");
    }
    const std::int64_t run = pg::runs::request(found.id);
    if (run == 0) throw no_such_job(found.name);  // deleted concurrently
    pg::at_commit::notify(pg::Notice::Kind::run_requested, run);
    return run;
}

bool cancel_run(std::optional<std::int64_t> run) {
    if (!run) throw null_argument("run_id");
    const auto owner = pg::runs::find(*run);
    if (!owner || !pg::may_manage(owner->role)) {
        throw pg::Error(kNotThere,
                        "run " + std::to_string(*run) + " does not exist or you don't own it");
    }
    using Cancelled = pg::WorkerTable::Cancelled;
    switch (pg::WorkerTable::cancel(pg::current_database(), core::RunId{*run})) {
        case Cancelled::asked:
            return true;
        case Cancelled::too_late:
            return false;
        case Cancelled::no_worker_has_it:
            break;
    }
    if (!pg::runs::cancel_waiting(*run)) return false;
    pg::at_commit::notify(pg::Notice::Kind::run_cancelled, *run);
    return true;
}

void run_after(const OptionalText& job, const OptionalText& after, const OptionalText& condition) {
    const std::string& when = required(condition, "condition");
    if (when != "finished" && when != "succeeded") {
        throw pg::Error(kInvalid, "invalid condition: \"" + when + "\"", "",
                        "Use one of finished, succeeded.");
    }
    const pg::jobs::Found waiting = find_job(job, Lock::update);
    const pg::jobs::Found first = find_job(after, Lock::update, "after_job_name");
    if (waiting.id == first.id || pg::jobs::depends_on(first.id, waiting.id)) {
        throw pg::Error(
            kInvalid, "job \"" + waiting.name + "\" cannot run after \"" + first.name + "\"",
            waiting.id == first.id
                ? "A job cannot wait for itself."
                : "Job \"" + first.name + "\" already waits for \"" + waiting.name + "\".");
    }
    pg::jobs::add_dependency(waiting.id, first.id, when);
}

void remove_run_after(const OptionalText& job, const OptionalText& after) {
    const pg::jobs::Found waiting = find_job(job, Lock::update);
    const pg::jobs::Found first = find_job(after, Lock::update, "after_job_name");
    if (!pg::jobs::remove_dependency(waiting.id, first.id)) {
        throw pg::Error(kNotThere,
                        "job \"" + waiting.name + "\" does not run after \"" + first.name + "\"");
    }
}

}  // namespace securatlas::app
