// The catalog of runs, as used by job workers.
#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "cron/parcel.hpp"
#include "cron/run_rows.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::pg::runs {
namespace {

constexpr core::Duration kLongestWait = std::chrono::seconds(1);
constexpr core::Duration kLookAgain = std::chrono::milliseconds(5);

// Called at the end of a run, whose transaction may have locked anything: waiting for a lock that
// DROP EXTENSION has could deadlock, so this tries repeatedly instead.
// Returns whether there are alerts, whose tables it has locked, too.
bool keep_extension() {
    const core::Duration until = monotonic_now() + kLongestWait;
    while (true) {
        if (try_keep_extension(Tables::cron)) {
            const bool has_alerts = alerts::any();
            if (!has_alerts || alerts::try_lock()) return has_alerts;
        }
        if (monotonic_now() > until) {
            throw Error(kExtensionIsLocked,
                        "the outcome could not be recorded: another session has locked the tables "
                        "of extension \"securatlas_sched\"");
        }
        nap(Wait::worker_lock, kLookAgain);
    }
}

Error ended_by_somebody_else() {
    return Error("57014", "the run was ended by another session while it was executed");
}

bool has_row(std::int64_t run) {
    static Statement query("SELECT FROM cron.job_run_details WHERE runid = $1");
    return query.execute_on_latest({Parameter::of(run)}) > 0;
}

// Inserts the row again if it was deleted while the run was executed.
void insert_end(const RunReport& report, const Task& task, const Parameter& reason) {
    static Statement insert(R"(
INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status,
    return_message, start_time, end_time, jobname, scheduled_at, attempt, trigger, reason, sqlstate,
    transactional)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT DO NOTHING)");
    const core::Occurrence& occurrence = report.order.occurrence;
    const std::uint64_t inserted = insert.execute_on_latest(
        {Parameter::of(static_cast<std::int64_t>(occurrence.job)),
         Parameter::of(static_cast<std::int64_t>(report.order.run)),
         Parameter::of(std::int32_t{report.pid}), Parameter::of(std::string_view(task.database)),
         Parameter::of(std::string_view(task.username)),
         Parameter::of(std::string_view(task.command)), Parameter::of(outcome_text(report.outcome)),
         Parameter::of(std::string_view(report.message.data())), Parameter::of(report.started_at),
         Parameter::of(report.ended_at),
         task.job_name.empty() ? Parameter::null(TEXTOID)
                               : Parameter::of(std::string_view(task.job_name)),
         Parameter::of(occurrence.scheduled_at), Parameter::of(std::int32_t{occurrence.attempt}),
         Parameter::of(trigger_text(occurrence.trigger)), reason,
         Parameter::of(std::string_view(report.sqlstate.data())),
         Parameter::of(report.transactional)});
    if (inserted == 0) throw ended_by_somebody_else();
}

void update_or_insert_end(const RunReport& report, const Task& task) {
    static Statement update(R"(
UPDATE cron.job_run_details
   SET status = $2, return_message = $3, sqlstate = $4, reason = $5, job_pid = $6,
       start_time = $7, end_time = $8, transactional = transactional AND $9
 WHERE runid = $1 AND COALESCE(status, '') IN ('starting', 'running'))");
    const std::string_view reason_text(report.reason.data());
    const Parameter reason =
        reason_text.empty() ? Parameter::null(TEXTOID) : Parameter::of(reason_text);
    const std::uint64_t updated = update.execute_on_latest(
        {Parameter::of(static_cast<std::int64_t>(report.order.run)),
         Parameter::of(outcome_text(report.outcome)),
         Parameter::of(std::string_view(report.message.data())),
         Parameter::of(std::string_view(report.sqlstate.data())), reason,
         Parameter::of(std::int32_t{report.pid}), Parameter::of(report.started_at),
         Parameter::of(report.ended_at), Parameter::of(report.transactional)});
    if (updated == 0) insert_end(report, task, reason);
}

void remove_row(std::int64_t run) {
    static Statement remove(R"(
DELETE FROM cron.job_run_details
 WHERE runid = $1 AND COALESCE(status, '') IN ('starting', 'running'))");
    if (remove.execute_on_latest({Parameter::of(run)}) == 0 && has_row(run)) {
        throw ended_by_somebody_else();
    }
}

}  // namespace

Task receive_task(std::uint32_t parcel) { return read_parcel(parcel); }

void record_end(const RunReport& report, const Task& task) {
    const bool stays = report.outcome != core::RunOutcome::succeeded || task.keep_success;
    const bool has_alerts = keep_extension();
    const bool is_written = stays && write_end(report, task.place);
    if (is_written && !has_alerts) return;
    OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    if (!stays) {
        remove_row(static_cast<std::int64_t>(report.order.run));
    } else if (!is_written) {
        update_or_insert_end(report, task);
    }
    if (has_alerts) alerts::tell_end(report, report.message.data());
}

void mark_not_transactional(const RunOrder& order, Pid pid, core::Instant started_at) {
    static Statement update(R"(
UPDATE cron.job_run_details
   SET transactional = false, status = 'running', job_pid = $2, start_time = $3, reason = NULL
 WHERE runid = $1 AND COALESCE(status, '') IN ('starting', 'running'))");
    OwnerScope owner(OwnerScope::Mode::force_writable);
    (void)keep_extension();
    Spi spi;
    const std::uint64_t updated =
        update.execute_on_latest({Parameter::of(static_cast<std::int64_t>(order.run)),
                                  Parameter::of(std::int32_t{pid}), Parameter::of(started_at)});
    if (updated == 0 && has_row(static_cast<std::int64_t>(order.run))) {
        throw ended_by_somebody_else();
    }
}

}  // namespace securatlas::pg::runs
