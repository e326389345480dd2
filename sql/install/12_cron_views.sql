-- ==== schema cron: views =====================================================================
-- security_invoker: a view shows what the caller may see in the tables.

-- What costs time is computed for the rows that a query returns only, so that the first twenty of a
-- million jobs cost as much as twenty: the planner has to see into the view, which it does not if
-- there is anything volatile (clock_timestamp()) in it. Of a range without an upper end the planner
-- expects a third of all rows, and then compiles (JIT) for a second what takes milliseconds: hence the
-- comparison with infinity.

-- The two reasons for which an active job does not run. A body that is parsed now needs no SET clause,
-- with which the planner could not inline it.
CREATE FUNCTION cron._held(replicated boolean) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN replicated THEN 'came by replication: cron.take_over() makes this server run it'
        WHEN NOT pg_catalog.current_setting('cron.launch_active_jobs', true)::pg_catalog.bool
        THEN 'cron.launch_active_jobs is off' END;
COMMENT ON FUNCTION cron._held(boolean) IS 'Why an active job does not run: it was replicated, or cron.launch_active_jobs is off. NULL: it runs.';

CREATE VIEW cron.jobs WITH (security_invoker = true) AS
SELECT j.jobid, j.jobname, j.schedule, j.command, j.database, j.username, j.active,
       COALESCE(j.timezone, pg_catalog.current_setting('cron.timezone', true)) AS timezone,
       CASE WHEN j.active AND held.reason IS NULL THEN
           (cron._try_next_runs(j.schedule, 1, NULL, j.timezone, j.planned_from))[1]
       END AS next_run_at,
       (SELECT pg_catalog.count(*) FROM cron.job_run_details d
         WHERE d.jobid = j.jobid AND d.status IN ('starting', 'running')) AS running,
       last.start_time AS last_run_at, last.status AS last_status,
       last.return_message AS last_message, last.end_time - last.start_time AS last_duration,
       (SELECT pg_catalog.count(DISTINCT d.scheduled_at) FROM cron.job_run_details d
         WHERE d.jobid = j.jobid AND d.status = 'failed' AND d.trigger <> 'manual'
           AND d.reason IS DISTINCT FROM 'cancelled' AND d.scheduled_at <= 'infinity' AND d.scheduled_at >
               COALESCE((SELECT pg_catalog.max(s.scheduled_at) FROM cron.job_run_details s
                          WHERE s.jobid = j.jobid AND s.status = 'succeeded'
                            AND s.trigger <> 'manual'), '-infinity'))
           AS consecutive_failures,
       day.runs AS runs_last_day, day.failures AS failures_last_day,
       day.average AS average_duration, day.p95 AS p95_duration,
       j.note, CASE WHEN j.active THEN held.reason END AS held
  FROM cron.job j
 CROSS JOIN LATERAL cron._held(j.replicated) AS held(reason)
  LEFT JOIN LATERAL (
      SELECT d.start_time, d.end_time, d.status, d.return_message
        FROM cron.job_run_details d
       WHERE d.jobid = j.jobid AND d.status IN ('succeeded', 'failed')
       ORDER BY d.scheduled_at DESC, d.attempt DESC LIMIT 1) last ON true
  LEFT JOIN LATERAL (
      SELECT pg_catalog.count(*) AS runs,
             pg_catalog.count(*) FILTER (WHERE d.status = 'failed') AS failures,
             pg_catalog.avg(d.end_time - d.start_time) AS average,
             pg_catalog.percentile_cont(0.95) WITHIN GROUP (ORDER BY d.end_time - d.start_time) AS p95
        FROM cron.job_run_details d
       WHERE d.jobid = j.jobid AND d.status IN ('succeeded', 'failed')
         AND d.scheduled_at > pg_catalog.now() - interval '1 day') day ON true;
COMMENT ON VIEW cron.jobs IS 'Every job that the caller may see, with its next run and the results of its past runs.';

CREATE VIEW cron.upcoming_runs WITH (security_invoker = true) AS
SELECT r.run_at, j.jobid, j.jobname, j.schedule,
       COALESCE(j.timezone, pg_catalog.current_setting('cron.timezone', true)) AS timezone,
       j.database, j.username
  FROM cron.job j,
       LATERAL pg_catalog.unnest(cron._try_next_runs(j.schedule, 5, NULL, j.timezone,
                                                     j.planned_from)) AS r(run_at)
 WHERE j.active AND cron._held(j.replicated) IS NULL
 ORDER BY r.run_at, j.jobid;
COMMENT ON VIEW cron.upcoming_runs IS 'The next five runs of each active job, in order.';

CREATE VIEW cron.scheduler_status WITH (security_invoker = true) AS
SELECT pid, started, planned_until, jobs, workers_busy, workers_idle, workers_limit, waiting,
       oldest_wait, last_clock_step, last_error, cron._held(false) AS held
  FROM cron._scheduler_status();
COMMENT ON VIEW cron.scheduler_status IS 'One row: the scheduler of this database.';
--- only when installed
GRANT SELECT ON cron.jobs, cron.upcoming_runs, cron.scheduler_status TO PUBLIC;
--- also when updated
