// The catalog of runs: cron.job_run_details and cron.scheduler_state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::runs {

// ---- for the scheduler (inside its transaction, with its rights) ------------------------------

// False if somebody keeps the history locked; the transaction cannot write runs then. Throws Error
// 42P01 if there is none any more. Never waits.
bool try_lock_history();

// A run as its row names it.
struct RunRow {
    core::RunId run{};
    core::Occurrence occurrence;
    std::string database;
    std::string username;
    RoleOid role = 0;  // 0: there is none any more
    bool logged = true;
};

// Makes a `starting` row for each occurrence whose job exists and that has none yet; returns the
// runs. Runs of jobs that are not logged get a number and no row.
std::vector<RunRow> claim(const std::vector<core::ClaimRun>& claims, bool log_runs);

void record_skips(const std::vector<core::RecordSkip>& skips);

// The statements below skip rows that somebody else has locked: the scheduler waits for nobody.

// Of waiting runs: a new reason to wait.
void explain_waits(const std::vector<std::int64_t>& runs, const std::vector<std::string>& reasons);

// Waiting runs that will not start. Returns those that are locked, to be tried again.
std::vector<std::int64_t> skip_waiting(const std::vector<std::int64_t>& runs,
                                       const std::vector<std::string>& reasons);

// A run that a worker executes.
struct StartedRun {
    core::RunId run{};
    Pid pid = 0;
    core::Instant started_at{};
};

// Shows runs as running. Those that have ended in the meantime stay as they are.
void show_running(const std::vector<StartedRun>& started);

// Writes an outcome that the worker could not write, and returns what the row tells from now on:
// the worker may have committed another outcome just before it died. nullopt: the row is locked.
std::optional<core::RunOutcome> record_outcome(const RunReport& report);

// Rows that a user's cron.run_job() has made; those of the ids that still wait.
std::vector<RunRow> read_waiting(const std::vector<std::int64_t>& ids);
// All manual runs that wait and were asked for since the server started; older ones are
// interrupted.
std::vector<RunRow> read_all_waiting_manual(core::Instant server_start);

// What cron.scheduler_state tells of this database, and of the one it was copied from.
struct PlanningState {
    std::optional<core::Instant> planned_until;  // of this very database
    std::string former_name;                     // its name, if it was another; empty: the same
    std::optional<core::Instant> copied_planned_until;
    std::string copied_from;       // name of the database that this one is a copy or restore of
    bool original_exists = false;  // and that one is still in this cluster
    bool is_settled = false;       // there is one row, and it is as it should be
};
PlanningState read_planning_state();

// Replaces all rows of cron.scheduler_state by one for this database. False: somebody has locked
// one, which stays.
bool reset_planning_state(core::Instant planned_until);
// If somebody has locked the row of this database, another one is made; the latest counts.
void set_planned_until(core::Instant planned_until);

// Removes up to `limit` ended runs: older than `retention` (0: none), and beyond `rows_per_job`
// (0: none). Returns how many.
std::uint64_t purge(core::Duration retention, int rows_per_job, int limit);

// The task of a run, for a worker in another database. From here on its row says that it is not
// transactional: effects and outcome cannot be one there. Not wanted if it does not wait any more;
// nullopt if somebody has locked its row.
struct Task;
std::optional<Task> mark_for_elsewhere(const RunRow& row);

// Puts a task where the worker of another database finds it. It stays there until it is dropped,
// or this process is gone.
std::uint32_t send_parcel(const Task& task);
void drop_parcel(std::uint32_t parcel);

// ---- for the job worker (inside the run's transaction) ----------------------------------------

// What a worker has to know of its run.
struct Task {
    bool wanted = false;  // false: it was cancelled, or its row and its job are gone
    std::string command;
    std::string job_name;
    std::string database;
    std::string username;
    std::optional<core::Duration> max_runtime;
    bool keep_success =
        true;  // false: the row of a successful run is removed (log_runs = failures)
};
Task read_task(const RunOrder& order);

// Writes the end of a run, with the extension owner's rights, into the current transaction. Throws
// Error 57014 if somebody else has ended the run.
void record_end(const RunReport& report, const Task& task);

// Marks that the transaction which is about to commit is not the run's last: its effects and its
// outcome will not be one.
void mark_not_transactional(const RunOrder& order, Pid pid, core::Instant started_at);

// ---- for SQL functions ------------------------------------------------------------------------

// A manual run of the job, waiting. Returns its id.
std::int64_t request(std::int64_t job);
// Whether it is under way: all other unfinished rows that a session writes are of other servers.
bool is_requesting();

struct Owner {
    RoleOid role;  // 0: there is none any more
    std::string status;
};
std::optional<Owner> find(std::int64_t run);

// Ends a run that waits. False if it does not wait (any more).
bool cancel_waiting(std::int64_t run);

}  // namespace securatlas::pg::runs
