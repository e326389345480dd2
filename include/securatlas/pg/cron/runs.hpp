// The catalog of runs: cron.job_run_details and cron.scheduler_state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::runs {

// ---- for the scheduler (inside its transaction, with its rights) ------------------------------

// Locks the history for writing. False if somebody has locked it: the transaction cannot write runs
// then. Throws Error 42P01 if the table does not exist. Never waits.
bool try_lock_history();

// A run, its target as its row names it.
struct RunRow {
    core::RunId run{};
    core::Occurrence occurrence;
    std::string database;
    std::string username;
    RoleOid role = 0;  // 0: there is none any more
    bool logged = true;
    bool row_stays = true;  // false: there is none, or it goes if the run succeeds
};

// How new rows are written: past the executor, unless somebody has added something to the tables
// that this does not heed, or by a statement.
enum class Way { past_executor, by_statement };

// An occurrence has a row already, or may get one from somebody else. The transaction has to be
// rolled back, and the same written by statement, which finds out.
class MayBeTaken : public Error {
  public:
    MayBeTaken() : Error("23505", "an occurrence may have a row already") {}
};

// Inserts a row with status `starting` for each occurrence whose job exists and that has no row
// yet; returns the runs. Runs of jobs that are not logged get an id, but no row. Throws MayBeTaken,
// but not by statement.
std::vector<RunRow> claim(const std::vector<core::ClaimRun>& claims, bool log_runs, Way way);

// Inserts a row for each occurrence that was skipped, whose job exists and that has no row yet.
// Throws as claim() does.
struct RecordedSkips {
    std::vector<core::RecordSkip> logged;    // those that got one: others were recorded before
    std::vector<core::RecordSkip> unlogged;  // those of jobs that are not logged
};
RecordedSkips record_skips(const std::vector<core::RecordSkip>& skips, Way way);

// The functions below skip locked rows: the scheduler never waits for a lock.

// Sets the reason why runs wait.
void explain_waits(const std::vector<std::int64_t>& runs, const std::vector<std::string>& reasons);

// Marks waiting runs as skipped. Returns those whose rows are locked, to be tried again.
std::vector<std::int64_t> skip_waiting(const std::vector<std::int64_t>& runs,
                                       const std::vector<std::string>& reasons);

// A run that a worker executes.
struct StartedRun {
    core::RunId run{};
    Pid pid = 0;
    core::Instant started_at{};
};

// Sets the status `running`. Runs that have ended in the meantime stay as they are.
void show_running(const std::vector<StartedRun>& started);

// Writes an outcome that the worker could not write, and returns the outcome that is now in the
// row: the worker may have committed another one just before it died. nullopt: the row is locked.
std::optional<core::RunOutcome> record_outcome(const RunReport& report);

// Runs made by cron.run_job(): those of the ids that still wait.
std::vector<RunRow> read_waiting(const std::vector<std::int64_t>& ids);
// All manual runs that wait and were asked for since the server started; older ones are
// interrupted.
std::vector<RunRow> read_all_waiting_manual(core::Instant server_start);

// What cron.scheduler_state says about this database, or about the one it was copied from.
struct PlanningState {
    std::optional<core::Instant> planned_until;  // of this database itself
    std::string former_name;                     // its name, if it has been renamed; else empty
    std::optional<core::Instant> copied_planned_until;
    std::string copied_from;  // name of the database of which this one is a copy or restored dump
    bool original_exists = false;  // that database still exists in this cluster
    bool is_settled = false;       // there is one row, and it is as it should be
};
PlanningState read_planning_state();

// Replaces all rows of cron.scheduler_state by one of this database. False: somebody has locked
// one, which stays.
bool reset_planning_state(core::Instant planned_until);
// If the row of this database is locked, inserts another one; the latest counts.
void set_planned_until(core::Instant planned_until);

// Deletes up to `limit` ended runs that are older than `retention` (0: no limit) or exceed
// `rows_per_job` (0: no limit). Returns how many.
std::uint64_t purge(core::Duration retention, int rows_per_job, int limit);

// The task of a run in another database. Marks its row as not transactional, because its outcome
// cannot commit together with its effects. `wanted` is false if the run does not wait any more;
// nullopt if its row is locked.
struct Task;
std::optional<Task> mark_for_elsewhere(const RunRow& row);

// Puts a task into a segment of dynamic shared memory, for the worker in another database. It stays
// there until drop_parcel(), or until this process ends.
std::uint32_t send_parcel(const Task& task);
void drop_parcel(std::uint32_t parcel);

// ---- for the job worker (inside the run's transaction) ----------------------------------------

// Where a row of the history is stored, until it is changed.
struct Place {
    std::uint32_t block = 0;
    std::uint16_t offset = 0;  // 0: nowhere
};

// What a worker needs to know of its run.
struct Task {
    bool wanted = false;  // false: the run was cancelled, or its row and its job are gone
    std::string command;
    std::string job_name;
    std::string database;
    std::string username;
    std::optional<core::Duration> max_runtime;
    bool keep_success =
        true;       // false: the row of a successful run is deleted (log_runs = failures)
    Place place{};  // of the run's row
};
std::unordered_map<core::RunId, Task> read_tasks(const std::vector<RunOrder>& orders);
// Of a run in another database. Both in a transaction.
Task receive_task(std::uint32_t parcel);

// Writes the outcome of a run in the current transaction, with the rights of the extension's owner.
// Throws Error 57014 if somebody else has ended the run.
void record_end(const RunReport& report, const Task& task);

// Marks the run as not transactional, in a transaction that is about to commit and is not the run's
// last.
void mark_not_transactional(const RunOrder& order, Pid pid, core::Instant started_at);

// ---- for SQL functions ------------------------------------------------------------------------

// Inserts a waiting manual run of the job. Returns its id.
std::int64_t request(std::int64_t job);
// True while request() inserts its row. All other unfinished rows that a session inserts are copies
// of rows of other servers.
bool is_requesting();

struct Owner {
    RoleOid role;  // 0: there is none any more
    std::string status;
};
std::optional<Owner> find(std::int64_t run);

// Cancels a waiting run. False if it is not waiting (any more).
bool cancel_waiting(std::int64_t run);

}  // namespace securatlas::pg::runs
