// The scheduler's side of the catalog of runs but for new rows, and that of SQL functions.
#include "securatlas/pg/cron/runs.hpp"

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "cron/read_run_rows.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/cron/alerts.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
}

// Statements about runs by their ids ask for the status in a way that no index has. The index of
// unfinished rows has few rows most of the time, and PostgreSQL would expect that it always has:
// with a hundred thousand waiting runs each statement would read all of them.
namespace securatlas::pg::runs {
bool try_lock_history() {
    return call([] {
        const Oid schema = get_namespace_oid("cron", true);
        const Oid history =
            OidIsValid(schema) ? get_relname_relid("job_run_details", schema) : InvalidOid;
        if (!OidIsValid(history)) {
            ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                            errmsg("relation \"cron.job_run_details\" does not exist")));
        }
        return ConditionalLockRelationOid(history, RowExclusiveLock);
    });
}

void explain_waits(const std::vector<std::int64_t>& runs, const std::vector<std::string>& reasons) {
    static Statement statement(R"(
UPDATE cron.job_run_details SET reason = ($2)[array_position($1, runid)]
 WHERE runid = ANY (ARRAY(SELECT l.runid FROM cron.job_run_details l WHERE l.runid = ANY ($1)
                             FOR UPDATE SKIP LOCKED))
   AND COALESCE(status, '') = 'starting')",
                               Plan::by_keys);
    Spi spi;
    statement.execute({Parameter::of(runs), Parameter::of(reasons)});
}

std::vector<std::int64_t> skip_waiting(const std::vector<std::int64_t>& runs,
                                       const std::vector<std::string>& reasons) {
    static Statement statement(R"(
UPDATE cron.job_run_details
   SET status = 'skipped', reason = ($2)[array_position($1, runid)], start_time = t.now,
       end_time = t.now
  FROM clock_timestamp() AS t(now)
 WHERE runid = ANY (ARRAY(SELECT l.runid FROM cron.job_run_details l WHERE l.runid = ANY ($1)
                             FOR UPDATE SKIP LOCKED))
   AND COALESCE(status, '') = 'starting')",
                               Plan::by_keys);
    static Statement left(R"(
SELECT runid FROM cron.job_run_details
 WHERE runid = ANY ($1) AND COALESCE(status, '') = 'starting')",
                          Plan::by_keys);
    Spi spi;
    statement.execute({Parameter::of(runs), Parameter::of(reasons)});
    left.execute({Parameter::of(runs)});
    return Statement::ids();
}

void show_running(const std::vector<StartedRun>& started) {
    static Statement statement(R"(
UPDATE cron.job_run_details
   SET status = 'running', job_pid = ($2)[array_position($1, runid)],
       start_time = ($3)[array_position($1, runid)], reason = NULL
 WHERE runid = ANY (ARRAY(SELECT l.runid FROM cron.job_run_details l WHERE l.runid = ANY ($1)
                             FOR UPDATE SKIP LOCKED))
   AND COALESCE(status, '') = 'starting')",
                               Plan::by_keys);
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> pids;
    std::vector<core::Instant> times;
    for (const StartedRun& run : started) {
        ids.push_back(static_cast<std::int64_t>(run.run));
        pids.push_back(run.pid);
        times.push_back(run.started_at);
    }
    Spi spi;
    statement.execute({Parameter::of(ids), Parameter::of(pids), Parameter::of(times)});
}

namespace {

// Its worker may be of a database with another encoding, or have died with half a character.
std::string message_of(const RunReport& report) {
    const std::string_view text(report.message.data());
    const int encoding = report.encoding < 0 ? GetDatabaseEncoding() : report.encoding;
    const auto converted = to_database_text(text, pg_encoding_to_char(encoding), true);
    return converted ? *converted : valid_text(text);
}

}  // namespace

std::optional<core::RunOutcome> record_outcome(const RunReport& report) {
    const std::string message = message_of(report);
    static Statement statement(R"(
UPDATE cron.job_run_details
   SET status = $2, return_message = $3, sqlstate = $4, reason = $5, job_pid = COALESCE($6, job_pid),
       start_time = COALESCE($7, start_time, $8), end_time = $8,
       transactional = transactional AND $9
 WHERE runid = $1 AND COALESCE(status, '') IN ('starting', 'running'))");
    static Statement lock(
        "SELECT status FROM cron.job_run_details WHERE runid = $1 FOR UPDATE SKIP LOCKED");
    static Statement look("SELECT FROM cron.job_run_details WHERE runid = $1");
    const bool started = report.started_at != core::kLongAgo;
    const std::string reason(report.reason.data());
    const Parameter run = Parameter::of(static_cast<std::int64_t>(report.order.run));
    Spi spi;
    if (lock.execute({run}) == 0) {
        // The row is locked, or was deleted.
        return look.execute({run}) > 0 ? std::nullopt : std::optional(report.outcome);
    }
    std::string status;
    Statement::each_row([&status](const Row& row) { status = row.as_text(1); });
    if (status == "succeeded") return core::RunOutcome::succeeded;
    statement.execute(
        {run, Parameter::of(outcome_text(report.outcome)), Parameter::of(std::string_view(message)),
         Parameter::of(std::string_view(report.sqlstate.data())),
         reason.empty() ? Parameter::null(TEXTOID) : Parameter::of(std::string_view(reason)),
         report.pid == 0 ? Parameter::null(INT4OID) : Parameter::of(std::int32_t{report.pid}),
         started ? Parameter::of(report.started_at) : Parameter::null(TIMESTAMPTZOID),
         Parameter::of(report.ended_at), Parameter::of(report.transactional)});
    alerts::tell_end(report, message);
    return report.outcome;
}

std::vector<RunRow> read_waiting(const std::vector<std::int64_t>& ids) {
    static Statement query(R"(
SELECT runid, jobid, scheduled_at, attempt, trigger, database, username, roleid
  FROM cron.job_run_details
 WHERE runid = ANY ($1) AND COALESCE(status, '') = 'starting' ORDER BY runid)");
    Spi spi;
    query.execute({Parameter::of(ids)});
    std::vector<RunRow> rows;
    append_rows(rows, true);
    return rows;
}

std::vector<RunRow> read_all_waiting_manual(core::Instant server_start) {
    static Statement query(R"(
SELECT runid, jobid, scheduled_at, attempt, trigger, database, username, roleid
  FROM cron.job_run_details d
 WHERE status = 'starting' AND trigger = 'manual' AND scheduled_at >= $1
   AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = d.jobid AND j.replicated)
 ORDER BY runid)");
    Spi spi;
    query.execute({Parameter::of(server_start)});
    std::vector<RunRow> rows;
    append_rows(rows, true);
    return rows;
}

std::optional<Task> mark_for_elsewhere(const RunRow& row) {
    static Statement mark(R"(
UPDATE cron.job_run_details SET transactional = false
 WHERE runid = $1 AND COALESCE(status, '') = 'starting'
   AND runid IN (SELECT runid FROM cron.job_run_details WHERE runid = $1 FOR UPDATE SKIP LOCKED))");
    static Statement look(R"(
SELECT FROM cron.job_run_details WHERE runid = $1 AND COALESCE(status, '') = 'starting')");
    const Parameter run = Parameter::of(static_cast<std::int64_t>(row.run));
    Spi spi;
    if (row.logged && mark.execute({run}) == 0) {
        if (look.execute({run}) > 0) return std::nullopt;
        return Task{};
    }
    static Statement query(R"(
SELECT COALESCE(r.command, j.command), COALESCE(r.jobname, j.jobname), j.max_runtime
  FROM (SELECT) one
  LEFT JOIN cron.job_run_details r ON r.runid = $1
  LEFT JOIN cron.job j ON j.jobid = $2)");
    query.execute({Parameter::of(static_cast<std::int64_t>(row.run)),
                   Parameter::of(static_cast<std::int64_t>(row.occurrence.job))});
    Task task;
    Statement::each_row([&](const Row& found) {
        task = {.wanted = !found.is_null(1),
                .command = found.as_text(1),
                .job_name = found.as_text(2),
                .database = row.database,
                .username = row.username,
                .max_runtime = found.as_interval(3)};
    });
    return task;
}

std::uint64_t purge(core::Duration retention, int rows_per_job, int limit) {
    // An array of places is made once. A subquery in a join might be executed for each row of the
    // table, if its statistics are older than its rows.
    static Statement by_age(R"(
DELETE FROM cron.job_run_details WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM cron.job_run_details
     WHERE start_time < $1 AND status NOT IN ('starting', 'running')
     ORDER BY start_time LIMIT $2 FOR UPDATE SKIP LOCKED)))");
    static Statement by_number(R"(
DELETE FROM cron.job_run_details WHERE ctid = ANY (ARRAY(
    SELECT d.ctid
      FROM cron.job j, LATERAL (SELECT r.ctid, r.status FROM cron.job_run_details r
                                 WHERE r.jobid = j.jobid
                                 ORDER BY r.scheduled_at DESC, r.attempt DESC OFFSET $1) d
     WHERE d.status NOT IN ('starting', 'running') LIMIT $2)))");
    std::uint64_t removed = 0;
    Spi spi;
    if (retention > core::Duration(0)) {
        const core::Instant oldest = to_instant(GetCurrentTimestamp()) - retention;
        removed += by_age.execute({Parameter::of(oldest), Parameter::of(std::int32_t{limit})});
    }
    if (rows_per_job > 0) {
        removed += by_number.execute({Parameter::of(static_cast<std::int64_t>(rows_per_job)),
                                      Parameter::of(std::int32_t{limit})});
    }
    return removed;
}

// ---- for SQL functions ---------------------------------------------------------------------

namespace {

constinit bool requesting = false;

struct RequestScope {
    RequestScope() { requesting = true; }
    ~RequestScope() { requesting = false; }
    RequestScope(const RequestScope&) = delete;
    RequestScope& operator=(const RequestScope&) = delete;
};

}  // namespace

bool is_requesting() { return requesting; }

std::int64_t request(std::int64_t job) {
    static Statement statement(R"(
INSERT INTO cron.job_run_details (jobid, database, username, command, status, jobname,
                                  scheduled_at, trigger)
SELECT j.jobid, j.database, COALESCE(pg_get_userbyid(j.roleid), j.username), j.command, 'starting', j.jobname,
       clock_timestamp(), 'manual'
  FROM cron.job j WHERE j.jobid = $1
RETURNING runid)");
    OwnerScope owner;
    Spi spi;
    const RequestScope scope;
    statement.execute({Parameter::of(job)});
    std::int64_t run = 0;
    Statement::each_row([&run](const Row& row) { run = row.as_int64(1); });
    return run;
}

std::optional<Owner> find(std::int64_t run) {
    static Statement query("SELECT roleid, status FROM cron.job_run_details WHERE runid = $1");
    OwnerScope owner;
    Spi spi;
    query.execute({Parameter::of(run)});
    std::optional<Owner> found;
    Statement::each_row([&found](const Row& row) {
        found = {row.is_null(1) ? RoleOid{0} : row.as_oid(1), row.as_text(2)};
    });
    return found;
}

bool cancel_waiting(std::int64_t run) {
    static Statement statement(R"(
UPDATE cron.job_run_details
   SET status = 'failed', reason = 'cancelled', sqlstate = '57014',
       return_message = 'cancelled before it started', start_time = clock_timestamp(),
       end_time = clock_timestamp()
 WHERE runid = $1 AND COALESCE(status, '') = 'starting')");
    OwnerScope owner;
    Spi spi;
    return statement.execute({Parameter::of(run)}) > 0;
}

}  // namespace securatlas::pg::runs
