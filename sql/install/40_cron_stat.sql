-- ==== schema cron_stat: statistics ==============================================================
-- For whoever watches the server: USAGE is pg_monitor's, whereas USAGE on cron and net is the right to
-- act. The figures are in shared memory; reading them locks nothing that anybody waits for, and reads
-- no history.

CREATE SCHEMA cron_stat;
COMMENT ON SCHEMA cron_stat IS 'Statistics of jobs, runs and HTTP requests.';
GRANT USAGE ON SCHEMA cron_stat TO pg_monitor;

CREATE TYPE cron_stat._job_figures AS (
    succeeded bigint, failed bigint, cancelled bigint, skipped bigint, missed bigint,
    lost_by_reason jsonb, retries bigint,
    requests bigint, total_time double precision, max_time double precision,
    total_lag double precision, max_lag double precision, last_start timestamptz,
    last_success timestamptz, last_status text, consecutive_failures bigint, stats_reset timestamptz);
COMMENT ON TYPE cron_stat._job_figures IS 'What is counted of a job.';
CREATE FUNCTION cron_stat._job(jobid bigint) RETURNS cron_stat._job_figures
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_job_statistics';
COMMENT ON FUNCTION cron_stat._job(bigint) IS 'Behind cron_stat.jobs: what is counted of a job.';
-- VOLATILE, because the planner would call it too, to learn how long the array is.
CREATE FUNCTION cron_stat._top_jobs(count int) RETURNS bigint[]
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_top_jobs';
COMMENT ON FUNCTION cron_stat._top_jobs(int) IS 'So many jobs: first those that fail, then those with the most runs.';
CREATE FUNCTION cron_stat._reason_kind(reason text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_reason_kind';
COMMENT ON FUNCTION cron_stat._reason_kind(text) IS 'The kind of a text of column reason in cron.job_run_details.';
CREATE FUNCTION cron_stat._database(
        OUT restarts bigint, OUT last_error_at timestamptz, OUT made bigint, OUT sent bigint,
        OUT attempts bigint, OUT succeeded bigint, OUT failed bigint, OUT expired bigint,
        OUT cancelled bigint, OUT bytes_out bigint, OUT bytes_in bigint, OUT callbacks_failed bigint,
        OUT reasons bigint[], OUT lags bigint[], OUT durations bigint[],
        OUT total_lag double precision, OUT total_time double precision, OUT stats_reset timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_database_statistics';
COMMENT ON FUNCTION cron_stat._database() IS 'What is counted of this database as a whole.';
CREATE FUNCTION cron_stat._hosts(
        OUT host text, OUT attempts bigint, OUT succeeded bigint, OUT failed bigint,
        OUT retried bigint, OUT bytes_out bigint, OUT bytes_in bigint,
        OUT total_time double precision, OUT p50 double precision, OUT p95 double precision,
        OUT p99 double precision, OUT durations bigint[], OUT stats_reset timestamptz)
    RETURNS SETOF record
    LANGUAGE C STABLE ROWS 100 AS 'MODULE_PATHNAME', 'securatlas_host_statistics';
COMMENT ON FUNCTION cron_stat._hosts() IS 'Behind cron_stat.hosts: what is counted of each host, for members of pg_read_all_stats.';
CREATE FUNCTION cron_stat._schedulers(
        OUT datid oid, OUT pid int, OUT started timestamptz, OUT restarts bigint,
        OUT planned_until timestamptz, OUT jobs bigint, OUT waiting bigint,
        OUT oldest_wait timestamptz, OUT workers_busy int, OUT workers_idle int,
        OUT workers_limit int, OUT last_error text, OUT last_error_at timestamptz,
        OUT stats_reset timestamptz)
    RETURNS SETOF record
    LANGUAGE C STABLE ROWS 10 AS 'MODULE_PATHNAME', 'securatlas_schedulers';
COMMENT ON FUNCTION cron_stat._schedulers() IS 'Behind cron_stat.schedulers, for members of pg_read_all_stats.';
CREATE FUNCTION cron_stat._workers(
        OUT pid int, OUT datid oid, OUT roleid oid, OUT owner oid, OUT state text, OUT jobid bigint,
        OUT runid bigint, OUT started timestamptz, OUT queued int)
    RETURNS SETOF record
    LANGUAGE C STABLE ROWS 20 AS 'MODULE_PATHNAME', 'securatlas_workers';
COMMENT ON FUNCTION cron_stat._workers() IS 'Behind cron_stat.workers, for members of pg_read_all_stats.';

-- The bounds of all histograms, in seconds; the last bucket has none.
CREATE FUNCTION cron_stat._bounds() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['0.001', '0.0025', '0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1.0',
                 '2.5', '5.0', '10.0', '30.0', '60.0', '300.0', '+Inf'];
COMMENT ON FUNCTION cron_stat._bounds() IS 'The upper bounds of the buckets of all histograms, in seconds.';

-- The figures of a job are looked up for each row that a query returns. HAVING keeps the planner from
-- repeating the lookup for each column, and tells it that there is one row, so that a query without any
-- of them has no lookup. A job is overdue if an occurrence has passed that nobody has
-- claimed, or if a run waits for anything but its own time.
CREATE VIEW cron_stat.jobs WITH (security_invoker = true) AS
SELECT j.jobid, j.jobname, j.database, j.username, j.active,
       (f.s).succeeded + (f.s).failed + (f.s).cancelled AS runs,
       (f.s).succeeded AS succeeded, (f.s).failed AS failed, (f.s).cancelled AS cancelled,
       (f.s).skipped AS skipped, (f.s).missed AS missed, (f.s).lost_by_reason AS lost_by_reason,
       (f.s).retries AS retries,
       (f.s).requests AS requests, (f.s).total_time AS total_time, (f.s).max_time AS max_time,
       (f.s).total_lag AS total_lag, (f.s).max_lag AS max_lag, (f.s).last_start AS last_start,
       (f.s).last_success AS last_success, (f.s).last_status AS last_status,
       (f.s).consecutive_failures AS consecutive_failures,
       CASE WHEN j.active AND cron._held(j.replicated) IS NULL THEN
           (cron._try_next_runs(j.schedule, 1, NULL, j.timezone, j.planned_from))[1]
       END AS next_run_at,
       CASE WHEN j.active AND cron._held(j.replicated) IS NULL THEN
           (SELECT next.runs[2] - next.runs[1]
              FROM (SELECT cron._try_next_runs(j.schedule, 2, NULL, j.timezone, j.planned_from)
                    OFFSET 0) AS next(runs))
       END AS run_interval,
       CASE WHEN j.active AND cron._held(j.replicated) IS NULL THEN NULLIF(GREATEST(
           pg_catalog.now() - LEAST(
               (cron._try_next_runs(j.schedule, 1, (
                    SELECT COALESCE(NULLIF(s.planned_until, 'epoch'), (
                               SELECT pg_catalog.max(p.planned_until) FROM cron.scheduler_state p))
                      FROM cron._scheduler_status() s), j.timezone, j.planned_from))[1],
               (SELECT pg_catalog.min(d.scheduled_at) FROM cron.job_run_details d
                 WHERE d.jobid = j.jobid AND d.status = 'starting'
                   AND COALESCE(cron_stat._reason_kind(d.reason), '') NOT IN ('jitter', 'retry'))),
           interval '0'), interval '0')
       END AS overdue_by,
       (f.s).stats_reset AS stats_reset
  FROM cron.job j
  LEFT JOIN LATERAL (SELECT cron_stat._job(j.jobid) AS s HAVING true) AS f ON true;
COMMENT ON VIEW cron_stat.jobs IS 'One row for each job that the caller may see: what its runs have done since stats_reset.';
COMMENT ON COLUMN cron_stat.jobs.jobid IS 'Id of the job.';
COMMENT ON COLUMN cron_stat.jobs.jobname IS 'Name of the job.';
COMMENT ON COLUMN cron_stat.jobs.database IS 'Database that it runs in.';
COMMENT ON COLUMN cron_stat.jobs.username IS 'Role that it runs as.';
COMMENT ON COLUMN cron_stat.jobs.active IS 'False: it is paused.';
COMMENT ON COLUMN cron_stat.jobs.runs IS 'Number of runs that have ended, each attempt for itself.';
COMMENT ON COLUMN cron_stat.jobs.succeeded IS 'How many of them succeeded.';
COMMENT ON COLUMN cron_stat.jobs.failed IS 'How many failed.';
COMMENT ON COLUMN cron_stat.jobs.cancelled IS 'How many were cancelled.';
COMMENT ON COLUMN cron_stat.jobs.skipped IS 'Number of occurrences that were skipped: see cron_stat.reasons.';
COMMENT ON COLUMN cron_stat.jobs.missed IS 'Number of occurrences that were missed and not made up for.';
COMMENT ON COLUMN cron_stat.jobs.lost_by_reason IS 'Numbers of those that were skipped or missed by reason, as in cron_stat.reasons: {"overlap": 3}; NULL: none.';
COMMENT ON COLUMN cron_stat.jobs.retries IS 'How many of the runs were second or later attempts.';
COMMENT ON COLUMN cron_stat.jobs.requests IS 'Number of HTTP requests that its runs made.';
COMMENT ON COLUMN cron_stat.jobs.total_time IS 'Time that its runs took together, in seconds.';
COMMENT ON COLUMN cron_stat.jobs.max_time IS 'Time that the longest took, in seconds.';
COMMENT ON COLUMN cron_stat.jobs.total_lag IS 'How much later than scheduled its runs started, all together, in seconds; without retries and runs that were made up for.';
COMMENT ON COLUMN cron_stat.jobs.max_lag IS 'How much later the latest started, in seconds.';
COMMENT ON COLUMN cron_stat.jobs.last_start IS 'When the last run started that has ended.';
COMMENT ON COLUMN cron_stat.jobs.last_success IS 'When the last run ended that succeeded.';
COMMENT ON COLUMN cron_stat.jobs.last_status IS 'How the last run ended: succeeded, failed or cancelled.';
COMMENT ON COLUMN cron_stat.jobs.consecutive_failures IS 'Number of occurrences that failed since one succeeded; the attempts of one are one.';
COMMENT ON COLUMN cron_stat.jobs.next_run_at IS 'When it runs next; NULL: it is paused or held.';
COMMENT ON COLUMN cron_stat.jobs.run_interval IS 'Time between its next two runs; NULL: there are no two.';
COMMENT ON COLUMN cron_stat.jobs.overdue_by IS 'For how long an occurrence has been due that has not started, although it should; NULL: there is none.';
COMMENT ON COLUMN cron_stat.jobs.stats_reset IS 'Since when all this is counted; NULL: nothing was counted yet.';

-- Jobs that have not run are in no order of their own. OFFSET 0 makes the planner look up each job;
-- of a LIMIT that it does not know it expects a tenth of all rows, for which it would read all of them.
CREATE FUNCTION cron_stat.top_jobs(max_jobs int DEFAULT 100) RETURNS SETOF cron_stat.jobs
    LANGUAGE sql STABLE ROWS 100 SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
    BEGIN ATOMIC
SELECT s.*
  FROM (SELECT ids.jobid
          FROM (SELECT top.jobid, top.number
                  FROM pg_catalog.unnest(cron_stat._top_jobs(GREATEST(max_jobs, 0)))
                       WITH ORDINALITY AS top(jobid, number)
                UNION ALL
                (SELECT j.jobid, 10000000 + j.jobid FROM cron.job j ORDER BY j.jobid LIMIT GREATEST(max_jobs, 0))) ids
         GROUP BY ids.jobid ORDER BY pg_catalog.min(ids.number) OFFSET 0) w
 CROSS JOIN LATERAL (SELECT * FROM cron_stat.jobs v WHERE v.jobid = w.jobid OFFSET 0) s
 LIMIT GREATEST(max_jobs, 0);
    END;
COMMENT ON FUNCTION cron_stat.top_jobs(int) IS 'So many rows of cron_stat.jobs: first the jobs that fail, then those with the most runs, then others.
max_jobs: how many jobs are shown, those that fail and the busiest first.';

CREATE VIEW cron_stat.schedulers WITH (security_invoker = true) AS
SELECT s.datid, d.datname, s.pid, s.started, s.restarts, s.planned_until, s.jobs, s.waiting,
       s.oldest_wait, s.workers_busy, s.workers_idle, s.workers_limit, s.last_error,
       s.last_error_at, s.stats_reset
  FROM cron_stat._schedulers() s
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.datid;
COMMENT ON VIEW cron_stat.schedulers IS 'One row for each database that has, or should have, a scheduler.';
COMMENT ON COLUMN cron_stat.schedulers.datid IS 'Oid of the database.';
COMMENT ON COLUMN cron_stat.schedulers.datname IS 'Its name.';
COMMENT ON COLUMN cron_stat.schedulers.pid IS 'Process id of the scheduler; NULL: it is not running.';
COMMENT ON COLUMN cron_stat.schedulers.started IS 'When it started.';
COMMENT ON COLUMN cron_stat.schedulers.restarts IS 'How often it was started again since stats_reset, by a start of the server too.';
COMMENT ON COLUMN cron_stat.schedulers.planned_until IS 'Up to when all occurrences are decided.';
COMMENT ON COLUMN cron_stat.schedulers.jobs IS 'Number of jobs.';
COMMENT ON COLUMN cron_stat.schedulers.waiting IS 'Number of runs that wait for a worker.';
COMMENT ON COLUMN cron_stat.schedulers.oldest_wait IS 'When the one of them was due that has waited longest.';
COMMENT ON COLUMN cron_stat.schedulers.workers_busy IS 'Number of job workers of this database that execute something.';
COMMENT ON COLUMN cron_stat.schedulers.workers_idle IS 'Number of job workers of this database that wait for a run.';
COMMENT ON COLUMN cron_stat.schedulers.workers_limit IS 'Number of job workers that the server may have: cron.max_running_jobs.';
COMMENT ON COLUMN cron_stat.schedulers.last_error IS 'Error that the scheduler met last.';
COMMENT ON COLUMN cron_stat.schedulers.last_error_at IS 'When it met an error last, this process or an earlier one.';
COMMENT ON COLUMN cron_stat.schedulers.stats_reset IS 'Since when it is counted.';

CREATE VIEW cron_stat.workers WITH (security_invoker = true) AS
SELECT w.pid, w.datid, d.datname, w.roleid, r.rolname, w.owner, w.state, w.jobid, w.runid, w.started,
       w.queued
  FROM cron_stat._workers() w
  LEFT JOIN pg_catalog.pg_database d ON d.oid = w.datid
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = w.roleid;
COMMENT ON VIEW cron_stat.workers IS 'One row for each job worker of the server.';
COMMENT ON COLUMN cron_stat.workers.pid IS 'Its process id; NULL: it is being started.';
COMMENT ON COLUMN cron_stat.workers.datid IS 'Oid of the database that it is connected to.';
COMMENT ON COLUMN cron_stat.workers.datname IS 'Name of that database.';
COMMENT ON COLUMN cron_stat.workers.roleid IS 'Oid of the role that it runs as.';
COMMENT ON COLUMN cron_stat.workers.rolname IS 'Name of that role.';
COMMENT ON COLUMN cron_stat.workers.owner IS 'Oid of the database whose scheduler gives it runs; NULL: that has ended.';
COMMENT ON COLUMN cron_stat.workers.state IS 'starting, idle, busy (with a run), calling back, or leaving.';
COMMENT ON COLUMN cron_stat.workers.jobid IS 'Id of the job that it runs, in the database whose oid is owner.';
COMMENT ON COLUMN cron_stat.workers.runid IS 'Id of the run.';
COMMENT ON COLUMN cron_stat.workers.started IS 'When the run started.';
COMMENT ON COLUMN cron_stat.workers.queued IS 'Number of runs that wait for this worker to end the one that it has.';

CREATE FUNCTION cron_stat._progress(
        OUT pid int, OUT datid oid, OUT work text, OUT phase text, OUT done bigint, OUT total bigint,
        OUT started timestamptz, OUT runid bigint)
    RETURNS SETOF record
    LANGUAGE C VOLATILE ROWS 5 AS 'MODULE_PATHNAME', 'securatlas_progress';
COMMENT ON FUNCTION cron_stat._progress() IS 'Behind cron_stat.progress, for members of pg_read_all_stats.';

CREATE VIEW cron_stat.progress WITH (security_invoker = true) AS
SELECT p.pid, p.datid, d.datname, p.work, p.phase, p.done, p.total, p.started, p.runid
  FROM cron_stat._progress() p
  LEFT JOIN pg_catalog.pg_database d ON d.oid = p.datid;
COMMENT ON VIEW cron_stat.progress IS 'One row for each long work that is going on in the server, as in pg_stat_progress_vacuum and its like.';
COMMENT ON COLUMN cron_stat.progress.pid IS 'Process id of who does it; NULL: requests of a run, which the http worker sends.';
COMMENT ON COLUMN cron_stat.progress.datid IS 'Oid of the database.';
COMMENT ON COLUMN cron_stat.progress.datname IS 'Its name.';
COMMENT ON COLUMN cron_stat.progress.work IS 'What: purge (rows of the history, or responses), outbox (requests that a transaction makes), requests of a run, migration (rows of a history), recompute (tenants).';
COMMENT ON COLUMN cron_stat.progress.phase IS 'What of it.';
COMMENT ON COLUMN cron_stat.progress.done IS 'How many are done; of an outbox in steps of 1000, of a recompute those that are stored.';
COMMENT ON COLUMN cron_stat.progress.total IS 'Of how many; NULL: that is not known.';
COMMENT ON COLUMN cron_stat.progress.started IS 'When the phase started.';
COMMENT ON COLUMN cron_stat.progress.runid IS 'The run whose requests they are.';

-- By the index of unfinished runs. A bitmap scan would read it again and again with all entries of runs
-- that have ended since the last vacuum; a plain one marks them.
CREATE FUNCTION cron_stat._waiting(OUT reason text, OUT waiting bigint) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 10 SET enable_bitmapscan = off
    BEGIN ATOMIC
SELECT cron_stat._reason_kind(d.reason), pg_catalog.count(*)
  FROM cron.job_run_details d
 WHERE d.status IN ('starting', 'running') AND d.status = 'starting' AND d.reason <> ''
 GROUP BY 1;
    END;
COMMENT ON FUNCTION cron_stat._waiting() IS 'Behind cron_stat.reasons: the number of runs that wait, by kind of reason.';

CREATE VIEW cron_stat.reasons WITH (security_invoker = true) AS
SELECT k.reason,
       CASE WHEN k.missed THEN 0 ELSE c.reasons[k.number] END AS skipped,
       CASE WHEN k.missed THEN c.reasons[k.number] ELSE 0 END AS missed,
       COALESCE(w.waiting, 0) AS waiting, c.stats_reset
  FROM cron_stat._database() c
 CROSS JOIN (SELECT names.reason, names.number,
                    names.reason IN ('scheduler_away', 'clock_step') AS missed
               FROM pg_catalog.unnest(ARRAY['previous_run', 'jitter', 'row_locked', 'role_share',
                        'server_slots', 'running_jobs', 'running_jobs_of_role', 'other_job', 'retry',
                        'unscheduled', 'paused', 'overlap', 'replaced', 'other_job_failed',
                        'scheduler_away', 'clock_step', 'other'])
                    WITH ORDINALITY AS names(reason, number)) k
  LEFT JOIN cron_stat._waiting() w ON w.reason = k.reason;
COMMENT ON VIEW cron_stat.reasons IS 'One row for each kind of reason for which runs wait or do not take place.';
COMMENT ON COLUMN cron_stat.reasons.reason IS 'The kind: doc/monitoring.md says what each is.';
COMMENT ON COLUMN cron_stat.reasons.skipped IS 'Number of occurrences that were skipped for it.';
COMMENT ON COLUMN cron_stat.reasons.missed IS 'Number of occurrences that were missed by it and not made up for.';
COMMENT ON COLUMN cron_stat.reasons.waiting IS 'Number of runs that wait for it now and that the caller may see.';
COMMENT ON COLUMN cron_stat.reasons.stats_reset IS 'Since when it is counted.';

-- Who may see the figures of a database as a whole is who may use this schema.
CREATE VIEW cron_stat.requests WITH (security_invoker = true) AS
SELECT c.made, c.sent, c.attempts, c.succeeded, c.failed, c.expired, c.cancelled,
       w.waiting, w.in_flight,
       (SELECT pg_catalog.now() - pg_catalog.min(first.ready_at)
          FROM (SELECT q.ready_at FROM net.http_request_queue q
                 ORDER BY q.id LIMIT 100) first
         WHERE first.ready_at <= pg_catalog.now()) AS oldest_wait,
       c.bytes_out, c.bytes_in,
       (SELECT pg_catalog.count(*) FROM net._http_response r
         WHERE r.callback_state = 'waiting') AS callbacks_waiting,
       c.callbacks_failed, c.stats_reset
  FROM cron_stat._database() c CROSS JOIN net._worker_status() w;
COMMENT ON VIEW cron_stat.requests IS 'One row: the HTTP requests of this database since stats_reset.';
COMMENT ON COLUMN cron_stat.requests.made IS 'Number of requests that were made, without those of prepared transactions.';
COMMENT ON COLUMN cron_stat.requests.sent IS 'How many were sent, at least once.';
COMMENT ON COLUMN cron_stat.requests.attempts IS 'How often one was sent.';
COMMENT ON COLUMN cron_stat.requests.succeeded IS 'How many were answered with a status below 400.';
COMMENT ON COLUMN cron_stat.requests.failed IS 'How many failed.';
COMMENT ON COLUMN cron_stat.requests.expired IS 'How many expired before they were sent.';
COMMENT ON COLUMN cron_stat.requests.cancelled IS 'How many were cancelled by net.cancel_request().';
COMMENT ON COLUMN cron_stat.requests.waiting IS 'Number of requests that the http worker has read and that are not in flight; more may be in the queue.';
COMMENT ON COLUMN cron_stat.requests.in_flight IS 'Number of requests in flight.';
COMMENT ON COLUMN cron_stat.requests.oldest_wait IS 'For how long the one has been ready that has waited longest, of the 100 oldest requests that the caller may see.';
COMMENT ON COLUMN cron_stat.requests.bytes_out IS 'Bytes of the bodies that were sent.';
COMMENT ON COLUMN cron_stat.requests.bytes_in IS 'Bytes of the bodies that were received.';
COMMENT ON COLUMN cron_stat.requests.callbacks_waiting IS 'Number of callbacks that wait and that the caller may see.';
COMMENT ON COLUMN cron_stat.requests.callbacks_failed IS 'Number of callbacks that failed for good.';
COMMENT ON COLUMN cron_stat.requests.stats_reset IS 'Since when all this is counted.';

CREATE VIEW cron_stat.hosts WITH (security_invoker = true) AS
SELECT h.host, COALESCE(n.in_flight, 0) AS in_flight, h.attempts, h.succeeded, h.failed, h.retried,
       h.bytes_out, h.bytes_in, COALESCE(n.limited, false) AS limited,
       COALESCE(n.breaker, 'closed') AS breaker, n.next_try, h.total_time, h.p50, h.p95, h.p99,
       h.durations, h.stats_reset
  FROM cron_stat._hosts() h LEFT JOIN net._host_status() n ON n.host = h.host;
COMMENT ON VIEW cron_stat.hosts IS 'One row for each host that requests of this database were sent to since stats_reset: at most 1000, and "(others)" for all beyond.';
COMMENT ON COLUMN cron_stat.hosts.host IS 'Scheme, host and port; or (others).';
COMMENT ON COLUMN cron_stat.hosts.in_flight IS 'Number of requests in flight.';
COMMENT ON COLUMN cron_stat.hosts.attempts IS 'How often a request was sent.';
COMMENT ON COLUMN cron_stat.hosts.succeeded IS 'Number of requests that were answered with a status below 400.';
COMMENT ON COLUMN cron_stat.hosts.failed IS 'Number of requests that failed or expired.';
COMMENT ON COLUMN cron_stat.hosts.retried IS 'Number of attempts after which there was to be another one.';
COMMENT ON COLUMN cron_stat.hosts.bytes_out IS 'Bytes of the bodies that were sent.';
COMMENT ON COLUMN cron_stat.hosts.bytes_in IS 'Bytes of the bodies that were received.';
COMMENT ON COLUMN cron_stat.hosts.limited IS 'True: requests wait for a free connection to it, or for its rate limit.';
COMMENT ON COLUMN cron_stat.hosts.breaker IS 'closed, open or half_open, as in net.host_status.';
COMMENT ON COLUMN cron_stat.hosts.next_try IS 'When an open breaker lets the next request through.';
COMMENT ON COLUMN cron_stat.hosts.total_time IS 'Time that all attempts took together, in seconds.';
COMMENT ON COLUMN cron_stat.hosts.p50 IS 'Median duration of an attempt in milliseconds, as far as the histogram tells.';
COMMENT ON COLUMN cron_stat.hosts.p95 IS '95th percentile of the duration of an attempt in milliseconds.';
COMMENT ON COLUMN cron_stat.hosts.p99 IS '99th percentile of the duration of an attempt in milliseconds.';
COMMENT ON COLUMN cron_stat.hosts.durations IS 'Histogram of the durations of attempts: how many were in each bucket.';
COMMENT ON COLUMN cron_stat.hosts.stats_reset IS 'Since when all this is counted.';

CREATE VIEW cron_stat.histograms WITH (security_invoker = true) AS
SELECT h.histogram, h.host, b.bounds, c.counts, c.counts[pg_catalog.cardinality(c.counts)] AS count, h.sum
  FROM (SELECT 'start_lag' AS histogram, NULL::text AS host, d.lags AS buckets, d.total_lag AS sum
          FROM cron_stat._database() d
        UNION ALL SELECT 'duration' AS histogram, NULL::text AS host, d.durations, d.total_time FROM cron_stat._database() d
        UNION ALL SELECT 'request_duration' AS histogram, o.host, o.durations, o.total_time FROM cron_stat._hosts() o) h
 CROSS JOIN (SELECT pg_catalog.array_agg(e.bound::double precision ORDER BY e.number) AS bounds
               FROM pg_catalog.unnest(cron_stat._bounds()) WITH ORDINALITY AS e(bound, number)
              WHERE e.bound <> '+Inf') b
 CROSS JOIN LATERAL (
     SELECT pg_catalog.array_agg(s.total ORDER BY s.number) AS counts
       FROM (SELECT e.number, (pg_catalog.sum(e.count) OVER (ORDER BY e.number))::bigint AS total
               FROM pg_catalog.unnest(h.buckets) WITH ORDINALITY AS e(count, number)) s) c;
COMMENT ON VIEW cron_stat.histograms IS 'One row for each histogram: of the start lag and of the duration of runs, and of the attempts to each host.';
COMMENT ON COLUMN cron_stat.histograms.histogram IS 'start_lag, duration (of runs) or request_duration (of attempts).';
COMMENT ON COLUMN cron_stat.histograms.host IS 'The host, of request_duration.';
COMMENT ON COLUMN cron_stat.histograms.bounds IS 'Upper bounds of the buckets in seconds, without the last one''s, which has none.';
COMMENT ON COLUMN cron_stat.histograms.counts IS 'How many were at most so long; the last one is the number of all.';
COMMENT ON COLUMN cron_stat.histograms.count IS 'The number of all.';
COMMENT ON COLUMN cron_stat.histograms.sum IS 'All of them together, in seconds.';

-- By the conventions of pg_stat_reset().
CREATE FUNCTION cron_stat.reset() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_reset_statistics';
COMMENT ON FUNCTION cron_stat.reset() IS 'Sets all counters of this database to 0.';
CREATE FUNCTION cron_stat.reset_job(jobid bigint) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_reset_job_statistics';
COMMENT ON FUNCTION cron_stat.reset_job(bigint) IS 'Sets the counters of one job of this database to 0.
jobid: id of the job.';
CREATE FUNCTION cron_stat.reset_host(host text) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_reset_host_statistics';
COMMENT ON FUNCTION cron_stat.reset_host(text) IS 'Sets the counters of one host of this database to 0.
host: scheme, host and port.';
REVOKE ALL ON FUNCTION cron_stat.reset(), cron_stat.reset_job(bigint), cron_stat.reset_host(text) FROM PUBLIC;
GRANT SELECT ON cron_stat.jobs, cron_stat.schedulers, cron_stat.workers, cron_stat.progress, cron_stat.reasons,
    cron_stat.requests, cron_stat.hosts, cron_stat.histograms TO PUBLIC;
