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

// A row as the scheduler needs it. Texts are unchecked.
struct PlanRow {
    std::int64_t id;
    RoleOid role;            // 0: it does not exist
    bool differs_from_role;  // follow_roles() would change the row
    std::string name;        // empty: none
    std::string schedule;
    std::string timezone;
    core::Instant planned_from;
    bool active;
    bool replicated;  // it was replicated from another server, and does not run here
    std::string overlap;
    std::string missed;
    std::optional<core::Duration> catchup_window;
    core::Duration jitter;
    int max_retries;
    core::Duration retry_period;
    int max_failures;
    int priority;
    int consecutive_failures;
    std::vector<std::pair<std::int64_t, std::string>> after;  // job, condition
    core::Instant
        last_occurrence;  // of the last run that ended; only for jobs that others wait for
    bool last_failed;
};

// Reads all rows, in pages of up to `page_size`, in no particular order.
void read_all(int page_size, const std::function<void(const std::vector<PlanRow>&)>& consume);

// The rows with these ids, as far as they exist.
std::vector<PlanRow> read(const std::vector<std::int64_t>& ids);

// Sets a job inactive, with a note; deletes a job. Both return false if the row is locked.
bool pause_with_note(std::int64_t id, std::string_view note);
bool remove(std::int64_t id);

// Follows changes of roles: updates the username of jobs whose role was renamed, and pauses jobs
// whose role was dropped, with a note. False: some of the rows are locked.
bool follow_roles();

// True within follow_roles(). What it writes is correct, even if the caches of this process do not
// know of the change yet.
bool is_following_roles();

// The two functions below do not change locked jobs, and return them.

// Corrects the roleid of jobs whose roleid and username do not match, if a role of that name
// exists: rows loaded with the triggers disabled have the oids of the cluster that they come from.
std::vector<std::int64_t> bind_roles_by_name();

// Changes the database of jobs from `from` to `to`; with a `note`, also pauses them.
std::vector<std::int64_t> move_database(std::string_view from, std::string_view to,
                                        std::string_view note);

// Deletes one-off jobs that have succeeded; returns their number.
std::uint64_t remove_finished_one_offs();

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -----------------

struct Definition {
    std::optional<std::string> name;
    std::string schedule;
    std::string command;
    std::string database;
    std::string username;
    RoleOid role;  // the one that username names
    bool active = true;
};

// Inserts a job, or updates the one of this name and role. Returns its id.
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

// Whether a row that is found is locked until the transaction ends.
enum class Lock { none, update };

// The job with this id, if there is one.
std::optional<Found> find(std::int64_t id, Lock lock);
// The jobs of this name, of all roles.
std::vector<Found> find_named(std::string_view name);

// An interval as text, because the table keeps months and days as the user wrote them; `length`
// counts a month as 30 days.
struct IntervalValue {
    std::string text;
    core::Duration length;
};

struct Changes {
    std::optional<std::string> schedule, command, database, username, timezone, overlap, missed,
        log_runs;
    std::optional<RoleOid> role;  // goes with username
    std::optional<bool> active;
    std::optional<int> max_retries, max_failures, priority;
    std::optional<IntervalValue> max_runtime, retry_period, catchup_window, jitter;
    std::optional<std::string> note;
    bool clear_note = false;
};

// The effect of DROP OWNED and REASSIGN OWNED on jobs. Throws Error if the new role already has a
// job of the same name.
void remove_of_roles(const std::vector<RoleOid>& roles);
void give_to_role(const std::vector<RoleOid>& roles, RoleOid to);

// To be called after a user has enabled triggers of a table of schema cron: see
// cron._arm_triggers().
void triggers_enabled(std::uint32_t table);

void change(std::int64_t id, const Changes& changes);
// The columns that configure() sets.
inline constexpr std::array<const char*, 11> kRules = {
    "timezone",       "max_runtime", "max_retries",  "retry_period", "overlap_policy", "missed",
    "catchup_window", "jitter",      "max_failures", "log_runs",     "priority"};

// Sets a rule to the default of its column.
void reset_rule(std::int64_t id, std::string_view rule);

void remove_as_owner(std::int64_t id);
void add_dependency(std::int64_t job, std::int64_t after, std::string_view condition);
bool remove_dependency(std::int64_t job, std::int64_t after);
void remove_dependencies_of(std::int64_t job);

// True if `job` waits for `other`, directly or through others.
bool depends_on(std::int64_t job, std::int64_t other);

}  // namespace securatlas::pg::jobs
