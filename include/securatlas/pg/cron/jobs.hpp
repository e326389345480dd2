// The catalog of jobs: cron.job and cron.job_dependency.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "securatlas/core/cron/job.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::jobs {

// ---- for the scheduler (inside its transaction, with its rights) ------------------------------

// A row as the scheduler needs it; texts are as they stand in the table and may be damaged.
struct PlanRow {
    std::int64_t id;
    RoleOid role;      // 0: it is gone
    std::string name;  // empty: none
    std::string schedule;
    std::string timezone;
    core::Instant planned_from;
    bool active;
    bool replicated;  // it is another server's, and does not run here
    std::string overlap;
    std::string missed;
    std::optional<core::Duration> catchup_window;
    core::Duration jitter;
    int max_retries;
    core::Duration retry_period;
    int max_failures;
    int consecutive_failures;
    std::vector<std::pair<std::int64_t, std::string>> after;  // job, condition
    core::Instant last_occurrence;  // of the run that ended last; only of jobs that others wait for
    bool last_failed;
};

// All rows, in pages of up to `page_size`, in no order.
void read_all(int page_size, const std::function<void(const std::vector<PlanRow>&)>& consume);

// Those of the ids that exist.
std::vector<PlanRow> read(const std::vector<std::int64_t>& ids);

// Makes a job inactive, with a note. These two return false if somebody has the row locked.
bool pause_with_note(std::int64_t id, std::string_view note);
bool remove(std::int64_t id);

// What has become of the roles of jobs: a job takes the name that its role has now, and is paused
// with a note if there is none any more. False: somebody has locked some of them.
bool follow_roles();

// Whether it is under way: what it writes is right by the tables, while the caches of this process
// may not have heard of the change.
bool is_following_roles();

// Of the two below: jobs that somebody has locked stay as they are, and are returned.

// Jobs whose roleid and username do not mean one role take the one that is named so, if there is
// one: rows that were loaded past the triggers have the numbers of the cluster they come from.
std::vector<std::int64_t> bind_roles_by_name();

// Jobs that named `from` as their database name `to`; with `note`, they become inactive.
std::vector<std::int64_t> move_database(std::string_view from, std::string_view to,
                                        std::string_view note);

// One-off jobs that have succeeded. Removes them; returns their number.
std::uint64_t remove_finished_one_offs();

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -----------------

struct Definition {
    std::optional<std::string> name;
    std::string schedule;
    std::string command;
    std::string database;
    std::string username;  // of a role that exists
    bool active = true;
};

// Makes a job or, if one of this name and role exists, changes it. Returns its id.
std::int64_t upsert(const Definition& definition);

struct Found {
    std::int64_t id;
    std::string name;
    RoleOid role;  // 0: there is none
    std::string username;
    std::string database;
    bool active;
    bool replicated;
};

// Whether the rows that are found are locked until the transaction ends.
enum class Lock { none, update };

// The job with this id, if there is one.
std::optional<Found> find(std::int64_t id, Lock lock);
// Jobs of this name, of all roles.
std::vector<Found> find_named(std::string_view name);

// The table holds an interval as the user wrote it (months are not 30 days), so that it travels as
// text; `length` counts them as such.
struct IntervalValue {
    std::string text;
    core::Duration length;
};

struct Changes {
    std::optional<std::string> schedule, command, database, username, timezone, overlap, missed,
        log_runs;
    std::optional<RoleOid> role;  // goes with username
    std::optional<bool> active;
    std::optional<int> max_retries, max_failures;
    std::optional<IntervalValue> max_runtime, retry_period, catchup_window, jitter;
    std::optional<std::string> note;
    bool clear_note = false;
};

// What DROP OWNED and REASSIGN OWNED mean for jobs. Throws Error if the new role has a job of the
// same name already.
void remove_of_roles(const std::vector<RoleOid>& roles);
void give_to_role(const std::vector<RoleOid>& roles, RoleOid to);

// After triggers of one of schema cron's tables were enabled by hand: see cron._arm_triggers().
void triggers_enabled(std::uint32_t table);

void change(std::int64_t id, const Changes& changes);
// The rules that configure() sets, as their columns are called.
inline constexpr std::array<const char*, 10> kRules = {
    "timezone", "max_runtime",    "max_retries", "retry_period", "overlap_policy",
    "missed",   "catchup_window", "jitter",      "max_failures", "log_runs"};

// Gives a rule the value that a new job has.
void reset_rule(std::int64_t id, std::string_view rule);

void remove_as_owner(std::int64_t id);
void add_dependency(std::int64_t job, std::int64_t after, std::string_view condition);
bool remove_dependency(std::int64_t job, std::int64_t after);
void remove_dependencies_of(std::int64_t job);

// True if `job` waits for `other`, directly or through others.
bool depends_on(std::int64_t job, std::int64_t other);

}  // namespace securatlas::pg::jobs
