#include "securatlas/pg/cron/recovery.hpp"

#include "border/spi.hpp"
#include "cron/run_texts.hpp"

namespace securatlas::pg::runs {

std::vector<Interrupted> find_interrupted(const std::vector<std::int64_t>& alive,
                                          core::Instant server_start) {
    // In rows copied from another server, trigger may be NULL.
    static Statement query(R"(
SELECT d.runid, d.jobid, d.scheduled_at, d.attempt, d.trigger, d.transactional,
       NOT EXISTS (SELECT FROM cron.job_run_details l
                    WHERE l.jobid = d.jobid AND l.scheduled_at = d.scheduled_at
                      AND l.attempt > d.attempt)
  FROM cron.job_run_details d
 WHERE d.status IN ('starting', 'running') AND d.runid <> ALL ($1)
   AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = d.jobid AND j.replicated)
   AND (d.status = 'starting' AND d.trigger = 'manual' AND d.scheduled_at >= $2) IS NOT TRUE
 ORDER BY d.runid)");
    Spi spi;
    query.execute({Parameter::of(alive), Parameter::of(server_start)});
    std::vector<Interrupted> interrupted;
    interrupted.reserve(SPI_processed);
    Statement::each_row([&interrupted](const Row& row) {
        // An invalid row is ended, and is not run again.
        const bool whole = !row.is_null(2) && !row.is_null(3);
        interrupted.push_back({.run = row.as_int64(1),
                               .occurrence = {.job = core::JobId{row.as_int64(2)},
                                              .scheduled_at = row.as_instant(3),
                                              .attempt = row.as_int32(4),
                                              .trigger = trigger_of(row.as_text(5))},
                               .transactional = row.as_bool(6),
                               .is_latest = whole && row.as_bool(7)});
    });
    return interrupted;
}

std::vector<std::int64_t> end_interrupted(const std::vector<std::int64_t>& runs) {
    static Statement statement(R"(
UPDATE cron.job_run_details d
   SET status = 'failed', return_message = 'server restarted', reason = 'server restarted',
       sqlstate = '57P02', start_time = COALESCE(start_time, clock_timestamp()),
       end_time = clock_timestamp()
 WHERE d.runid = ANY (ARRAY(SELECT l.runid FROM cron.job_run_details l WHERE l.runid = ANY ($1)
                               FOR UPDATE SKIP LOCKED))
   AND COALESCE(d.status, '') IN ('starting', 'running'))",
                               Plan::by_keys);
    static Statement left(R"(
SELECT runid FROM cron.job_run_details
 WHERE runid = ANY ($1) AND COALESCE(status, '') IN ('starting', 'running'))",
                          Plan::by_keys);
    Spi spi;
    statement.execute({Parameter::of(runs)});
    left.execute({Parameter::of(runs)});
    return Statement::ids();
}

std::vector<Failed> find_failed(core::Instant since, const std::vector<std::int64_t>& alive) {
    // Cancelled runs have no retry, nor have runs of another server.
    static Statement query(R"(
SELECT d.jobid, d.scheduled_at, d.attempt, d.trigger, d.end_time, d.sqlstate
  FROM cron.job j, LATERAL (SELECT * FROM cron.job_run_details r WHERE r.jobid = j.jobid
                             ORDER BY r.scheduled_at DESC, r.attempt DESC LIMIT 10) d
 WHERE j.active AND j.max_retries > 0 AND NOT j.replicated
   AND d.status = 'failed' AND COALESCE(d.reason, '') NOT IN ('cancelled', 'copied', 'taken over')
   AND d.attempt <= j.max_retries AND d.end_time >= $1 AND d.runid <> ALL ($2)
   AND NOT EXISTS (SELECT FROM cron.job_run_details l
                    WHERE l.jobid = d.jobid AND l.scheduled_at = d.scheduled_at
                      AND l.attempt > d.attempt))");
    Spi spi;
    query.execute({Parameter::of(since), Parameter::of(alive)});
    std::vector<Failed> failed;
    Statement::each_row([&failed](const Row& row) {
        failed.push_back({.occurrence = {.job = core::JobId{row.as_int64(1)},
                                         .scheduled_at = row.as_instant(2),
                                         .attempt = row.as_int32(3),
                                         .trigger = trigger_of(row.as_text(4))},
                          .ended_at = row.as_instant(5),
                          .sqlstate = row.as_text(6)});
    });
    return failed;
}

}  // namespace securatlas::pg::runs
