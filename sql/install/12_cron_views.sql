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
COMMENT ON COLUMN cron.jobs.jobid IS 'Id of the job.';
COMMENT ON COLUMN cron.jobs.jobname IS 'Name of the job; NULL: it has none.';
COMMENT ON COLUMN cron.jobs.schedule IS 'When the job runs; see cron.explain_schedule().';
COMMENT ON COLUMN cron.jobs.command IS 'The SQL that each run executes.';
COMMENT ON COLUMN cron.jobs.database IS 'Database that the command runs in.';
COMMENT ON COLUMN cron.jobs.username IS 'Role that the command runs as.';
COMMENT ON COLUMN cron.jobs.active IS 'False: the schedule is paused.';
COMMENT ON COLUMN cron.jobs.timezone IS 'Time zone of the schedule: the job''s own, or cron.timezone.';
COMMENT ON COLUMN cron.jobs.next_run_at IS 'Next time that the schedule fires; NULL: it does not run.';
COMMENT ON COLUMN cron.jobs.running IS 'Number of runs that wait or are in progress.';
COMMENT ON COLUMN cron.jobs.last_run_at IS 'When the last run that has ended started, by the time that it was due.';
COMMENT ON COLUMN cron.jobs.last_status IS 'How it ended: succeeded or failed.';
COMMENT ON COLUMN cron.jobs.last_message IS 'Its command tag or error.';
COMMENT ON COLUMN cron.jobs.last_duration IS 'How long it took.';
COMMENT ON COLUMN cron.jobs.consecutive_failures IS 'Number of occurrences of the schedule that have failed since the last that succeeded; a retry of one is not counted again.';
COMMENT ON COLUMN cron.jobs.runs_last_day IS 'Number of runs of the last 24 hours that have ended.';
COMMENT ON COLUMN cron.jobs.failures_last_day IS 'How many of them failed.';
COMMENT ON COLUMN cron.jobs.average_duration IS 'Mean duration of these runs.';
COMMENT ON COLUMN cron.jobs.p95_duration IS '95th percentile of the durations of these runs.';
COMMENT ON COLUMN cron.jobs.note IS 'Why the job is paused, or any remark.';
COMMENT ON COLUMN cron.jobs.held IS 'Why the job does not run although it is active; NULL: it does.';

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
COMMENT ON COLUMN cron.upcoming_runs.run_at IS 'When the run is due.';
COMMENT ON COLUMN cron.upcoming_runs.jobid IS 'Id of the job.';
COMMENT ON COLUMN cron.upcoming_runs.jobname IS 'Name of the job; NULL: it has none.';
COMMENT ON COLUMN cron.upcoming_runs.schedule IS 'When the job runs.';
COMMENT ON COLUMN cron.upcoming_runs.timezone IS 'Time zone of the schedule.';
COMMENT ON COLUMN cron.upcoming_runs.database IS 'Database that the command runs in.';
COMMENT ON COLUMN cron.upcoming_runs.username IS 'Role that the command runs as.';

CREATE VIEW cron.scheduler_status WITH (security_invoker = true) AS
SELECT pid, started, planned_until, jobs, workers_busy, workers_idle, workers_limit, waiting,
       oldest_wait, last_clock_step, last_error, cron._held(false) AS held
  FROM cron._scheduler_status();
COMMENT ON VIEW cron.scheduler_status IS 'One row: the scheduler of this database.';
COMMENT ON COLUMN cron.scheduler_status.pid IS 'Process id of the scheduler; NULL: it is not running.';
COMMENT ON COLUMN cron.scheduler_status.started IS 'When it started.';
COMMENT ON COLUMN cron.scheduler_status.planned_until IS 'Occurrences up to this time have been claimed or skipped.';
COMMENT ON COLUMN cron.scheduler_status.jobs IS 'Number of jobs that it knows, paused ones included.';
COMMENT ON COLUMN cron.scheduler_status.workers_busy IS 'Number of job workers of this database that execute something.';
COMMENT ON COLUMN cron.scheduler_status.workers_idle IS 'Number of job workers of this database that wait for work.';
COMMENT ON COLUMN cron.scheduler_status.workers_limit IS 'Number of job workers that all databases may have together: cron.max_running_jobs.';
COMMENT ON COLUMN cron.scheduler_status.waiting IS 'Number of runs that are due and have not started.';
COMMENT ON COLUMN cron.scheduler_status.oldest_wait IS 'When the one that waits longest was due.';
COMMENT ON COLUMN cron.scheduler_status.last_clock_step IS 'When the scheduler last saw the clock jump.';
COMMENT ON COLUMN cron.scheduler_status.last_error IS 'Error of the scheduler''s last failed step.';
COMMENT ON COLUMN cron.scheduler_status.held IS 'Why no job runs although some are active; NULL: they do.';
--- only when installed
GRANT SELECT ON cron.jobs, cron.upcoming_runs, cron.scheduler_status TO PUBLIC;
--- also when updated
