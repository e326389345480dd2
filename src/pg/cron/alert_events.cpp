// Writing what alerts have to tell, in the transaction of whoever records it.
#include "border/spi.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

extern "C" {
#include "access/table.h"
#include "catalog/namespace.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
}

namespace securatlas::pg::alerts {
namespace {

// C world. InvalidOid: there is none.
Oid table_named(const char* name) {
    const Oid schema = get_namespace_oid("cron", true);
    return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

// The statements return the roles whose alerts have something to tell.
void notify_roles() {
    Statement::each_row([](const Row& row) {
        at_commit::notify(Notice::Kind::alert_waiting, std::int64_t{row.as_oid(1)});
    });
}

void require_lock() {
    if (try_lock()) return;
    throw Error(kExtensionIsLocked, "the tables of alerts are locked by another session");
}

}  // namespace

// A table without alerts has no pages: looking at its size needs no query. Vacuum gives the pages
// back after the last alert was dropped.
bool any() {
    return call([] {
        const Oid table = table_named("alert");
        if (!OidIsValid(table)) return false;
        if (!ConditionalLockRelationOid(table, AccessShareLock)) return true;
        Relation relation = try_table_open(table, NoLock);
        if (relation == nullptr) return false;
        const bool has_pages = RelationGetNumberOfBlocks(relation) > 0;
        table_close(relation, NoLock);
        return has_pages;
    });
}

bool try_lock() {
    if (!any()) return true;
    return call([] {
        for (const char* name : {"alert", "alert_event", "alert_incident"}) {
            const Oid table = table_named(name);
            if (!OidIsValid(table)) return false;
            if (!ConditionalLockRelationOid(table, RowExclusiveLock)) return false;
        }
        return true;
    });
}

void tell_end(const RunReport& report, std::string_view message) {
    // A failure counts when no retry follows, or when it may not: a retry that would start after
    // the next occurrence is not made, and its delay is random by a quarter.
    static Statement statement(R"(
WITH wanted AS (
    INSERT INTO cron.alert_event (alertid, event, jobid, subject, at, runid, scheduled_at, sqlstate,
                                  detail)
    SELECT a.alertid, e.event, j.jobid, COALESCE(j.jobname, j.jobid::text), e.at, $2, $3, $7, $8
      FROM cron.job j
      JOIN cron.alert a ON a.active AND a.roleid IS NOT NULL
                       AND COALESCE(j.jobname, j.jobid::text) LIKE a.jobs
                       AND COALESCE(a.jobid, j.jobid) = j.jobid
                       AND cron._alert_sees(a.roleid, j.roleid)
     CROSS JOIN LATERAL (
           SELECT $12 AND $4 = 1
                  AND $5 - $3 - a.late_after > COALESCE(j.jitter, '0')) late(is_late)
     CROSS JOIN LATERAL (
           SELECT 'failed', $6
            WHERE $9 AND a.events && '{failed,recovered}'
              AND NOT ($10 AND $4 <= j.max_retries AND
                       $6 + 1.25 * LEAST(LEAST(j.retry_period, '1 hour') * power(2, LEAST($4 - 1, 20)), '1 hour')
                       < COALESCE((cron._try_next_runs(j.schedule, 1, $6, j.timezone,
                                                       j.planned_from))[1], 'infinity'))
           UNION ALL
           SELECT 'overran', $6 WHERE $9 AND $11 AND 'overran' = ANY (a.events)
           UNION ALL
           SELECT 'late', $5
            WHERE late.is_late AND 'late' = ANY (a.events)
              AND $3 + a.late_after + COALESCE(j.jitter, '0') >= $13
           UNION ALL
           SELECT 'succeeded', $6 WHERE NOT $9 AND 'succeeded' = ANY (a.events)
           UNION ALL
           SELECT 'recovered', $6
            WHERE NOT $9 AND NOT (late.is_late AND 'late' = ANY (a.events))
              AND (EXISTS (SELECT FROM cron.alert_incident i
                            WHERE i.jobid = j.jobid AND i.host = '' AND i.alertid = a.alertid)
                   OR EXISTS (SELECT FROM cron.alert_event o
                               WHERE o.alertid = a.alertid AND o.jobid = j.jobid AND o.host = ''
                                 AND o.event <> 'succeeded')))
           e(event, at)
     WHERE j.jobid = $1 AND NOT j.replicated
    RETURNING alertid)
SELECT DISTINCT a.roleid FROM wanted w JOIN cron.alert a USING (alertid))");
    const core::Occurrence& occurrence = report.order.occurrence;
    // Runs that were asked for, and those that somebody cancelled, say nothing about the schedule.
    if (occurrence.trigger == core::RunTrigger::manual) return;
    if (report.outcome == core::RunOutcome::cancelled || !any()) return;
    require_lock();
    const bool started = report.started_at != core::kLongAgo;
    const bool failed = report.outcome == core::RunOutcome::failed;
    const bool by_schedule = occurrence.trigger == core::RunTrigger::schedule;
    const std::string_view sqlstate(report.sqlstate.data());
    statement.execute_on_latest(
        {Parameter::of(static_cast<std::int64_t>(occurrence.job)),
         Parameter::of(static_cast<std::int64_t>(report.order.run)),
         Parameter::of(occurrence.scheduled_at), Parameter::of(std::int32_t{occurrence.attempt}),
         Parameter::of(started ? report.started_at : report.ended_at),
         Parameter::of(report.ended_at),
         failed ? Parameter::of(sqlstate) : Parameter::null(TEXTOID),
         failed ? Parameter::of(message) : Parameter::null(TEXTOID), Parameter::of(failed),
         Parameter::of(core::is_retryable(sqlstate)),
         Parameter::of(std::string_view(report.reason.data()) == core::reasons::kMaxRuntime),
         Parameter::of(by_schedule && started), Parameter::of(report.order.late_is_told_until)});
    notify_roles();
}

std::optional<core::Duration> shortest_late() {
    static Statement query(
        "SELECT min(late_after) FROM cron.alert WHERE active AND roleid IS NOT NULL AND 'late' = "
        "ANY (events)");
    if (!any()) return std::nullopt;
    Spi spi;
    query.execute({});
    std::optional<core::Duration> shortest;
    Statement::each_row([&shortest](const Row& row) { shortest = row.as_interval(1); });
    return shortest;
}

std::vector<std::pair<core::RunId, core::Instant>> tell_late(const std::vector<RunOrder>& runs,
                                                             core::Instant now) {
    static Statement statement(R"(
WITH late AS MATERIALIZED (
    SELECT a.alertid, j.jobid, COALESCE(j.jobname, j.jobid::text) AS subject, r.runid, r.scheduled_at,
           r.scheduled_at + a.late_after + COALESCE(j.jitter, '0') AS late_at, r.told_until
      FROM unnest($1, $2, $3, $4) AS r(runid, jobid, scheduled_at, told_until)
      JOIN cron.job j USING (jobid)
      JOIN cron.alert a ON a.active AND a.roleid IS NOT NULL AND 'late' = ANY (a.events)
                       AND COALESCE(j.jobname, j.jobid::text) LIKE a.jobs
                       AND COALESCE(a.jobid, j.jobid) = j.jobid
                       AND cron._alert_sees(a.roleid, j.roleid)
     WHERE NOT j.replicated
), told AS (
    INSERT INTO cron.alert_event (alertid, event, jobid, subject, at, runid, scheduled_at, detail)
    SELECT l.alertid, 'late', l.jobid, l.subject, $5, l.runid, l.scheduled_at,
           COALESCE((SELECT NULLIF(d.reason, '') FROM cron.job_run_details d WHERE d.runid = l.runid),
                    'it waits')
      FROM late l WHERE l.late_at >= l.told_until AND l.late_at < $5
     ORDER BY l.scheduled_at, l.runid
    RETURNING alertid)
SELECT DISTINCT a.roleid, NULL::bigint, NULL::timestamptz FROM told t JOIN cron.alert a USING (alertid)
 UNION ALL
SELECT NULL, runid, min(late_at) FROM late WHERE late_at >= $5 GROUP BY runid)");
    std::vector<std::pair<core::RunId, core::Instant>> next;
    if (runs.empty()) return next;
    std::vector<std::int64_t> ids;
    std::vector<std::int64_t> jobs;
    std::vector<core::Instant> scheduled;
    std::vector<core::Instant> told;
    for (const RunOrder& run : runs) {
        ids.push_back(static_cast<std::int64_t>(run.run));
        jobs.push_back(static_cast<std::int64_t>(run.occurrence.job));
        scheduled.push_back(run.occurrence.scheduled_at);
        told.push_back(run.late_is_told_until);
    }
    Spi spi;
    statement.execute({Parameter::of(ids), Parameter::of(jobs), Parameter::of(scheduled),
                       Parameter::of(told), Parameter::of(now)});
    Statement::each_row([&next](const Row& row) {
        if (!row.is_null(1)) {
            at_commit::notify(Notice::Kind::alert_waiting, std::int64_t{row.as_oid(1)});
        } else {
            next.emplace_back(core::RunId{row.as_int64(2)}, row.as_instant(3));
        }
    });
    return next;
}

void tell_interrupted(const std::vector<std::int64_t>& runs) {
    static Statement statement(R"(
WITH wanted AS (
    INSERT INTO cron.alert_event (alertid, event, jobid, subject, runid, scheduled_at, sqlstate, detail)
    SELECT a.alertid, 'failed', j.jobid, COALESCE(j.jobname, j.jobid::text), d.runid, d.scheduled_at,
           d.sqlstate, d.return_message
      FROM cron.job_run_details d
      JOIN cron.job j USING (jobid)
      JOIN cron.alert a ON a.active AND a.roleid IS NOT NULL AND a.events && '{failed,recovered}'
                       AND COALESCE(j.jobname, j.jobid::text) LIKE a.jobs
                       AND COALESCE(a.jobid, j.jobid) = j.jobid
                       AND cron._alert_sees(a.roleid, j.roleid)
     WHERE d.runid = ANY ($1) AND d.status = 'failed' AND d.trigger <> 'manual' AND NOT j.replicated
     ORDER BY d.runid
    RETURNING alertid)
SELECT DISTINCT a.roleid FROM wanted w JOIN cron.alert a USING (alertid))");
    if (runs.empty() || !any()) return;
    require_lock();
    Spi spi;
    statement.execute({Parameter::of(runs)});
    notify_roles();
}

void tell_missed(const std::vector<std::int64_t>& jobs, const std::vector<std::int64_t>& counts,
                 const std::vector<core::Instant>& scheduled_at,
                 const std::vector<std::string>& reasons) {
    static Statement statement(R"(
WITH wanted AS (
    INSERT INTO cron.alert_event (alertid, event, jobid, subject, count, at, scheduled_at, detail)
    SELECT a.alertid, 'missed', j.jobid, COALESCE(j.jobname, j.jobid::text), m.count, m.scheduled_at,
           m.scheduled_at, m.reason
      FROM (SELECT u.jobid, sum(u.count)::bigint, max(u.scheduled_at), max(u.reason)
              FROM unnest($1, $2, $3, $4) AS u(jobid, count, scheduled_at, reason) GROUP BY u.jobid)
           AS m(jobid, count, scheduled_at, reason)
      JOIN cron.job j USING (jobid)
      JOIN cron.alert a ON a.active AND a.roleid IS NOT NULL AND 'missed' = ANY (a.events)
                       AND COALESCE(j.jobname, j.jobid::text) LIKE a.jobs
                       AND COALESCE(a.jobid, j.jobid) = j.jobid
                       AND cron._alert_sees(a.roleid, j.roleid)
    RETURNING alertid)
SELECT DISTINCT a.roleid FROM wanted w JOIN cron.alert a USING (alertid))");
    if (jobs.empty() || !any()) return;
    require_lock();
    Spi spi;
    statement.execute({Parameter::of(jobs), Parameter::of(counts), Parameter::of(scheduled_at),
                       Parameter::of(reasons)});
    notify_roles();
}

void tell_paused(std::int64_t job, std::string_view note) {
    static Statement statement(R"(
WITH wanted AS (
    INSERT INTO cron.alert_event (alertid, event, jobid, subject, detail)
    SELECT a.alertid, 'paused', j.jobid, COALESCE(j.jobname, j.jobid::text), $2
      FROM cron.job j
      JOIN cron.alert a ON a.active AND a.roleid IS NOT NULL AND 'paused' = ANY (a.events)
                       AND COALESCE(j.jobname, j.jobid::text) LIKE a.jobs
                       AND COALESCE(a.jobid, j.jobid) = j.jobid
                       AND cron._alert_sees(a.roleid, j.roleid)
     WHERE j.jobid = $1
    RETURNING alertid)
SELECT DISTINCT a.roleid FROM wanted w JOIN cron.alert a USING (alertid))");
    if (!any()) return;
    require_lock();
    Spi spi;
    statement.execute({Parameter::of(job), Parameter::of(note)});
    notify_roles();
}

// Who may see a request is decided as for its row. An alert does not tell a host of its own
// failures.
void tell_requests(const std::vector<std::int64_t>& ids) {
    static Statement statement(R"(
WITH wanted AS (
    INSERT INTO cron.alert_event (alertid, event, host, subject, count, at, request_id, runid, detail)
    SELECT a.alertid, e.event, h.host, h.host, GREATEST(h.failed, 1), h.at, h.id, h.runid, h.detail
      FROM cron.alert a
     CROSS JOIN LATERAL (
           SELECT r.host, count(*) FILTER (WHERE r.state <> 'succeeded') AS failed,
                  max(r.created) AS at,
                  (array_agg(r.id ORDER BY r.state = 'succeeded', r.id DESC))[1] AS id,
                  (array_agg(r.runid ORDER BY r.state = 'succeeded', r.id DESC))[1] AS runid,
                  (array_agg(COALESCE(r.error_msg, 'HTTP status ' || r.status_code)
                             ORDER BY r.state = 'succeeded', r.id DESC))[1] AS detail
             FROM net._http_response r
            WHERE r.id = ANY ($1) AND r.state IN ('succeeded', 'failed', 'expired')
              AND pg_has_role(a.roleid, r.created_by, 'USAGE')
              AND r.host IS DISTINCT FROM net._origin(a.url)
              AND (a.jobs = '%' OR EXISTS (
                   SELECT FROM cron.job_run_details d
                    WHERE d.runid = r.runid AND COALESCE(d.jobname, d.jobid::text) LIKE a.jobs))
            GROUP BY r.host) h
     CROSS JOIN LATERAL (
           SELECT 'request_failed' WHERE h.failed > 0
           UNION ALL
           SELECT 'recovered'
            WHERE h.failed = 0
              AND (EXISTS (SELECT FROM cron.alert_incident i
                            WHERE i.jobid = 0 AND i.host = h.host AND i.alertid = a.alertid)
                   OR EXISTS (SELECT FROM cron.alert_event o
                               WHERE o.alertid = a.alertid AND o.jobid = 0 AND o.host = h.host)))
           e(event)
     WHERE a.active AND a.roleid IS NOT NULL AND 'request_failed' = ANY (a.events) AND h.host IS NOT NULL
    RETURNING alertid)
SELECT DISTINCT a.roleid FROM wanted w JOIN cron.alert a USING (alertid))");
    if (ids.empty() || !any()) return;
    require_lock();
    Spi spi;
    statement.execute({Parameter::of(ids)});
    notify_roles();
}

void tell_restart(std::string_view why) {
    static Statement statement(R"(
WITH wanted AS (
    INSERT INTO cron.alert_event (alertid, event, subject, detail)
    SELECT a.alertid, 'scheduler_restarted', current_database(), $1
      FROM cron.alert a
     WHERE a.active AND a.roleid IS NOT NULL AND 'scheduler_restarted' = ANY (a.events)
    RETURNING alertid)
SELECT DISTINCT a.roleid FROM wanted w JOIN cron.alert a USING (alertid))");
    if (!any()) return;
    require_lock();
    Spi spi;
    statement.execute({Parameter::of(why)});
    notify_roles();
}

}  // namespace securatlas::pg::alerts
