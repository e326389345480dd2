\echo Use "CREATE EXTENSION securatlas_sched" to load this file. \quit

-- ==== schema cron: tables ====================================================================

CREATE SCHEMA cron;
COMMENT ON SCHEMA cron IS 'Jobs that run on a schedule, and the history of their runs. USAGE is the right to use it.';

CREATE SEQUENCE cron.jobid_seq;
CREATE SEQUENCE cron.runid_seq;
COMMENT ON SEQUENCE cron.jobid_seq IS 'Numbers of jobs.';
COMMENT ON SEQUENCE cron.runid_seq IS 'Numbers of runs.';

CREATE TABLE cron.job (
    jobid           bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.jobid_seq'),
    schedule        text NOT NULL,
    command         text NOT NULL,
    nodename        text NOT NULL DEFAULT 'localhost',
    nodeport        int NOT NULL DEFAULT pg_catalog.current_setting('port')::int,
    database        text NOT NULL DEFAULT pg_catalog.current_database(),
    username        text NOT NULL DEFAULT CURRENT_USER,
    active          boolean NOT NULL DEFAULT true,
    jobname         text,
    timezone        text CHECK (timezone <> ''),
    max_runtime     interval CHECK (max_runtime > '0'),
    max_retries     int NOT NULL DEFAULT 0 CHECK (max_retries BETWEEN 0 AND 1000),
    retry_period    interval NOT NULL DEFAULT '1 minute' CHECK (retry_period > '0'),
    overlap_policy  text NOT NULL DEFAULT 'buffer_one'
                    CHECK (overlap_policy IN ('buffer_one', 'buffer_all', 'skip', 'cancel_other', 'allow')),
    missed          text NOT NULL DEFAULT 'once' CHECK (missed IN ('skip', 'once', 'all')),
    catchup_window  interval CHECK (catchup_window >= '0'),
    jitter          interval CHECK (jitter >= '0'),
    max_failures    int CHECK (max_failures > 0),
    log_runs        text NOT NULL DEFAULT 'all' CHECK (log_runs IN ('all', 'failures', 'none')),
    note            text,
    planned_from    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    UNIQUE (jobname, username)
);
COMMENT ON TABLE cron.job IS 'One row a job. Use cron.schedule() and the functions beside it to change it.';
COMMENT ON COLUMN cron.job.jobid IS 'Number of the job.';
COMMENT ON COLUMN cron.job.schedule IS 'When the job runs; see cron.explain_schedule().';
COMMENT ON COLUMN cron.job.command IS 'SQL that each run executes.';
COMMENT ON COLUMN cron.job.nodename IS 'Kept for compatibility; jobs run inside this server.';
COMMENT ON COLUMN cron.job.nodeport IS 'Kept for compatibility; jobs run inside this server.';
COMMENT ON COLUMN cron.job.database IS 'Database that the command runs in.';
COMMENT ON COLUMN cron.job.username IS 'Role that the command runs as.';
COMMENT ON COLUMN cron.job.active IS 'False: the schedule is paused.';
COMMENT ON COLUMN cron.job.jobname IS 'Name of the job, unique for its role.';
COMMENT ON COLUMN cron.job.timezone IS 'Time zone of the schedule; NULL: cron.timezone.';
COMMENT ON COLUMN cron.job.max_runtime IS 'A run that takes longer is cancelled.';
COMMENT ON COLUMN cron.job.max_retries IS 'Attempts beyond the first, when a run failed.';
COMMENT ON COLUMN cron.job.retry_period IS 'Wait before the first retry; it doubles with each further one.';
COMMENT ON COLUMN cron.job.overlap_policy IS 'What happens when a run is due while the last one is not finished: buffer_one, buffer_all, skip, cancel_other, allow.';
COMMENT ON COLUMN cron.job.missed IS 'What happens to runs that were missed: skip, once, all.';
COMMENT ON COLUMN cron.job.catchup_window IS 'Age up to which a missed run may still run; NULL: cron.catchup_window.';
COMMENT ON COLUMN cron.job.jitter IS 'A run starts up to this much later than scheduled, at random.';
COMMENT ON COLUMN cron.job.max_failures IS 'Failures in a row after which the job is paused; NULL: never.';
COMMENT ON COLUMN cron.job.log_runs IS 'Which runs are recorded: all, failures, none.';
COMMENT ON COLUMN cron.job.note IS 'Why the job is paused, or a remark.';
COMMENT ON COLUMN cron.job.planned_from IS 'Occurrences up to this instant are not this job''s; the anchor of "@every".';

CREATE TABLE cron.job_run_details (
    jobid           bigint,
    runid           bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.runid_seq'),
    job_pid         int,
    database        text,
    username        text,
    command         text,
    status          text CHECK (status IN ('starting', 'running', 'succeeded', 'failed', 'skipped')),
    return_message  text,
    start_time      timestamptz,
    end_time        timestamptz,
    jobname         text,
    scheduled_at    timestamptz,
    attempt         int NOT NULL DEFAULT 1,
    trigger         text,
    reason          text,
    sqlstate        text,
    transactional   boolean NOT NULL DEFAULT true,
    UNIQUE (jobid, scheduled_at, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX job_run_details_start_time_idx ON cron.job_run_details (start_time);
CREATE INDEX job_run_details_unfinished_idx ON cron.job_run_details (runid)
    WHERE status IN ('starting', 'running');
COMMENT ON TABLE cron.job_run_details IS 'One row a run. The outcome commits together with the run''s effects.';
COMMENT ON COLUMN cron.job_run_details.jobid IS 'The job.';
COMMENT ON COLUMN cron.job_run_details.runid IS 'Number of the run.';
COMMENT ON COLUMN cron.job_run_details.job_pid IS 'Process that executed it.';
COMMENT ON COLUMN cron.job_run_details.database IS 'Database that it ran in.';
COMMENT ON COLUMN cron.job_run_details.username IS 'Role that it ran as.';
COMMENT ON COLUMN cron.job_run_details.command IS 'SQL that it executed.';
COMMENT ON COLUMN cron.job_run_details.status IS 'starting, running, succeeded, failed or skipped.';
COMMENT ON COLUMN cron.job_run_details.return_message IS 'Command tag, or the error.';
COMMENT ON COLUMN cron.job_run_details.start_time IS 'When its command started.';
COMMENT ON COLUMN cron.job_run_details.end_time IS 'When it ended.';
COMMENT ON COLUMN cron.job_run_details.jobname IS 'Name of the job.';
COMMENT ON COLUMN cron.job_run_details.scheduled_at IS 'The instant that it ran for.';
COMMENT ON COLUMN cron.job_run_details.attempt IS '1, and one more with each retry.';
COMMENT ON COLUMN cron.job_run_details.trigger IS 'schedule, manual, catchup, retry or once.';
COMMENT ON COLUMN cron.job_run_details.reason IS 'Why it waits, was skipped or was ended.';
COMMENT ON COLUMN cron.job_run_details.sqlstate IS 'SQLSTATE of its end.';
COMMENT ON COLUMN cron.job_run_details.transactional IS 'True: its effects and its outcome are one transaction.';

CREATE TABLE cron.job_dependency (
    jobid           bigint NOT NULL,
    after_jobid     bigint NOT NULL CHECK (after_jobid <> jobid),
    condition       text NOT NULL DEFAULT 'finished' CHECK (condition IN ('finished', 'succeeded')),
    PRIMARY KEY (jobid, after_jobid)
);
COMMENT ON TABLE cron.job_dependency IS 'Order between jobs; see cron.run_after().';
COMMENT ON COLUMN cron.job_dependency.jobid IS 'The job that waits.';
COMMENT ON COLUMN cron.job_dependency.after_jobid IS 'The job that it waits for.';
COMMENT ON COLUMN cron.job_dependency.condition IS 'finished, or succeeded.';

-- No key: a dump that is restored brings the row of the database it was made of, beside the row
-- that the scheduler has made here already.
CREATE TABLE cron.scheduler_state (
    planned_until       timestamptz NOT NULL,
    database_oid        oid NOT NULL,
    database_name       text NOT NULL,
    system_identifier   bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE cron.scheduler_state IS 'Up to when the scheduler of this database has planned.';
COMMENT ON COLUMN cron.scheduler_state.planned_until IS 'Occurrences up to this instant have been claimed or skipped.';
COMMENT ON COLUMN cron.scheduler_state.database_oid IS 'Database that the row speaks of: a copy or restored dump is another one.';
COMMENT ON COLUMN cron.scheduler_state.database_name IS 'Its name at that time.';
COMMENT ON COLUMN cron.scheduler_state.system_identifier IS 'Its cluster.';

SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
SELECT pg_catalog.pg_extension_config_dump('cron.jobid_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cron.job_dependency', '');
SELECT pg_catalog.pg_extension_config_dump('cron.scheduler_state', '');

-- ==== who sees and changes what ==============================================================

CREATE FUNCTION cron._may_manage(username text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_may_manage';
COMMENT ON FUNCTION cron._may_manage(text) IS 'True if the current role is this one or a member of it. False for a role that does not exist.';
CREATE FUNCTION cron._may_see(username text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_may_see';
COMMENT ON FUNCTION cron._may_see(text) IS 'As _may_manage, and true for members of pg_read_all_data and pg_monitor.';

ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_see ON cron.job FOR SELECT USING (cron._may_see(username));
CREATE POLICY job_insert ON cron.job FOR INSERT WITH CHECK (cron._may_manage(username));
CREATE POLICY job_update ON cron.job FOR UPDATE USING (cron._may_manage(username));
CREATE POLICY job_delete ON cron.job FOR DELETE USING (cron._may_manage(username));
ALTER TABLE cron.job_run_details ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_see ON cron.job_run_details FOR SELECT USING (cron._may_see(username));
CREATE POLICY run_delete ON cron.job_run_details FOR DELETE USING (cron._may_manage(username));
ALTER TABLE cron.job_dependency ENABLE ROW LEVEL SECURITY;
CREATE POLICY dependency_see ON cron.job_dependency FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid = job_dependency.jobid));
GRANT SELECT ON cron.job TO PUBLIC;
GRANT SELECT, DELETE ON cron.job_run_details TO PUBLIC;
GRANT SELECT ON cron.job_dependency, cron.scheduler_state TO PUBLIC;

-- ==== changes reach the scheduler at commit ==================================================

CREATE FUNCTION cron._job_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_job_check';
COMMENT ON FUNCTION cron._job_check() IS 'Refuses a job whose schedule or time zone is not valid.';
CREATE FUNCTION cron._job_changed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_job_changed';
COMMENT ON FUNCTION cron._job_changed() IS 'Tells the scheduler, at commit, which jobs have changed.';

CREATE TRIGGER job_check BEFORE INSERT OR UPDATE ON cron.job
    FOR EACH ROW EXECUTE FUNCTION cron._job_check();
CREATE TRIGGER job_changed AFTER INSERT OR UPDATE OR DELETE ON cron.job
    FOR EACH ROW EXECUTE FUNCTION cron._job_changed();
CREATE TRIGGER job_truncated AFTER TRUNCATE ON cron.job
    FOR EACH STATEMENT EXECUTE FUNCTION cron._job_changed();
CREATE TRIGGER dependency_changed AFTER INSERT OR UPDATE OR DELETE ON cron.job_dependency
    FOR EACH ROW EXECUTE FUNCTION cron._job_changed();
CREATE TRIGGER dependency_truncated AFTER TRUNCATE ON cron.job_dependency
    FOR EACH STATEMENT EXECUTE FUNCTION cron._job_changed();
-- A dump that is restored brings the row of its origin. Not fired by the scheduler's own row.
CREATE TRIGGER state_restored AFTER INSERT ON cron.scheduler_state
    FOR EACH STATEMENT EXECUTE FUNCTION cron._job_changed();
-- A restore or a replicated change counts too.
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_check;
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_changed;
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_truncated;
ALTER TABLE cron.job_dependency ENABLE ALWAYS TRIGGER dependency_changed;
ALTER TABLE cron.job_dependency ENABLE ALWAYS TRIGGER dependency_truncated;
-- ==== schema cron: functions =================================================================

CREATE FUNCTION cron.schedule(schedule text, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule';
COMMENT ON FUNCTION cron.schedule(text, text) IS 'Makes a job without a name; returns its id.';
CREATE FUNCTION cron.schedule(job_name text, schedule text, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_named';
COMMENT ON FUNCTION cron.schedule(text, text, text) IS 'Makes a job, or changes the one of this name; returns its id.';
CREATE FUNCTION cron.schedule_in_database(
        job_name text,
        schedule text,
        command text,
        database text,
        username text DEFAULT NULL,
        active boolean DEFAULT true)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_in_database';
COMMENT ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) IS 'Makes or changes a job that runs in another database, or as another role; returns its id.';
CREATE FUNCTION cron.alter_job(
        job_id bigint,
        schedule text DEFAULT NULL,
        command text DEFAULT NULL,
        database text DEFAULT NULL,
        username text DEFAULT NULL,
        active boolean DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_alter_job';
COMMENT ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) IS 'Changes what is not NULL.';
CREATE FUNCTION cron.unschedule(job_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_unschedule';
COMMENT ON FUNCTION cron.unschedule(bigint) IS 'Deletes a job; its history stays.';
CREATE FUNCTION cron.unschedule(job_name text)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_unschedule_named';
COMMENT ON FUNCTION cron.unschedule(text) IS 'Deletes a job; its history stays.';
CREATE FUNCTION cron.configure_job(
        job_id bigint,
        timezone text DEFAULT NULL,
        max_runtime interval DEFAULT NULL,
        max_retries int DEFAULT NULL,
        retry_period interval DEFAULT NULL,
        overlap_policy text DEFAULT NULL,
        missed text DEFAULT NULL,
        catchup_window interval DEFAULT NULL,
        jitter interval DEFAULT NULL,
        max_failures int DEFAULT NULL,
        log_runs text DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_configure_job';
COMMENT ON FUNCTION cron.configure_job(bigint, text, interval, int, interval, text, text, interval, interval, int, text) IS 'Sets the rules of a job; what is NULL stays as it is.';
CREATE FUNCTION cron.configure_job(
        job_name text,
        timezone text DEFAULT NULL,
        max_runtime interval DEFAULT NULL,
        max_retries int DEFAULT NULL,
        retry_period interval DEFAULT NULL,
        overlap_policy text DEFAULT NULL,
        missed text DEFAULT NULL,
        catchup_window interval DEFAULT NULL,
        jitter interval DEFAULT NULL,
        max_failures int DEFAULT NULL,
        log_runs text DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_configure_job_named';
COMMENT ON FUNCTION cron.configure_job(text, text, interval, int, interval, text, text, interval, interval, int, text) IS 'Sets the rules of a job; what is NULL stays as it is.';
CREATE FUNCTION cron.schedule_once(job_name text, run_at timestamptz, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_once';
COMMENT ON FUNCTION cron.schedule_once(text, timestamptz, text) IS 'Makes a job that runs once and goes when it has succeeded; returns its id.';
CREATE FUNCTION cron.run_job(job_id bigint)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_job';
COMMENT ON FUNCTION cron.run_job(bigint) IS 'Starts a run at commit; returns its id.';
CREATE FUNCTION cron.run_job(job_name text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_job_named';
COMMENT ON FUNCTION cron.run_job(text) IS 'Starts a run at commit; returns its id.';
CREATE FUNCTION cron.cancel_run(run_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_cancel_run';
COMMENT ON FUNCTION cron.cancel_run(bigint) IS 'Cancels a run that waits or is in progress; false if it has ended.';
CREATE FUNCTION cron.pause(job_id bigint, note text DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_pause';
COMMENT ON FUNCTION cron.pause(bigint, text) IS 'Stops the schedule of a job until cron.resume().';
CREATE FUNCTION cron.pause(job_name text, note text DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_pause_named';
COMMENT ON FUNCTION cron.pause(text, text) IS 'Stops the schedule of a job until cron.resume().';
CREATE FUNCTION cron.resume(job_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_resume';
COMMENT ON FUNCTION cron.resume(bigint) IS 'Goes on with the schedule of a job; what fell into the pause was not missed.';
CREATE FUNCTION cron.resume(job_name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_resume_named';
COMMENT ON FUNCTION cron.resume(text) IS 'Goes on with the schedule of a job; what fell into the pause was not missed.';
CREATE FUNCTION cron.run_after(job_name text, after_job_name text, condition text DEFAULT 'finished')
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_after';
COMMENT ON FUNCTION cron.run_after(text, text, text) IS 'Makes the runs of a job wait for those of another that are due at the same time or before.';
CREATE FUNCTION cron.remove_run_after(job_name text, after_job_name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_remove_run_after';
COMMENT ON FUNCTION cron.remove_run_after(text, text) IS 'Takes back cron.run_after().';
CREATE FUNCTION cron._next_runs(
        schedule text,
        count int,
        after timestamptz,
        timezone text,
        planned_from timestamptz)
    RETURNS timestamptz[] LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_next_runs';
COMMENT ON FUNCTION cron._next_runs(text, int, timestamptz, text, timestamptz) IS 'The next instants of a schedule; planned_from is the anchor of "@every".';
CREATE FUNCTION cron._try_next_runs(schedule text, count int, after timestamptz, timezone text, planned_from timestamptz)
    RETURNS timestamptz[] LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_try_next_runs';
COMMENT ON FUNCTION cron._try_next_runs(text, int, timestamptz, text, timestamptz) IS 'As _next_runs; NULL for what is not a schedule, so that one bad row does not hide the others.';
CREATE FUNCTION cron.explain_schedule(schedule text, timezone text DEFAULT NULL)
    RETURNS text LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_explain_schedule';
COMMENT ON FUNCTION cron.explain_schedule(text, text) IS 'A schedule in one English sentence.';
CREATE FUNCTION cron.purge_history(older_than interval DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    age interval := COALESCE(older_than, current_setting('cron.history_retention')::interval);
    removed bigint;
BEGIN
    IF age < interval '0' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'older_than must not be negative';
    END IF;
    IF older_than IS NULL AND age = interval '0' THEN
        RETURN 0;
    END IF;
    DELETE FROM cron.job_run_details d
     WHERE d.start_time < clock_timestamp() - age AND d.status IN ('succeeded', 'failed', 'skipped');
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
COMMENT ON FUNCTION cron.purge_history(interval) IS 'Removes ended runs of the caller''s jobs that are older; NULL: cron.history_retention. Returns their number.';
CREATE FUNCTION cron._scheduler_status(
        OUT pid int,
        OUT started timestamptz,
        OUT planned_until timestamptz,
        OUT jobs bigint,
        OUT workers_busy int,
        OUT workers_idle int,
        OUT workers_limit int,
        OUT waiting bigint,
        OUT oldest_wait timestamptz,
        OUT last_clock_step timestamptz,
        OUT last_error text)
    RETURNS record LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_scheduler_status';
COMMENT ON FUNCTION cron._scheduler_status() IS 'What the scheduler of this database says of itself.';

CREATE FUNCTION cron.next_runs(schedule text, count int DEFAULT 5, after timestamptz DEFAULT pg_catalog.now(),
        timezone text DEFAULT NULL)
    RETURNS SETOF timestamptz LANGUAGE sql STABLE PARALLEL SAFE ROWS 5
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT unnest(cron._next_runs(schedule, count, after, timezone, after)) $$;
COMMENT ON FUNCTION cron.next_runs(text, int, timestamptz, text) IS 'The next instants at which a schedule fires; "@every" counts from the instant after.';

REVOKE ALL ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) FROM PUBLIC;

-- The last statement of the cron part: the scheduler of this database starts when this commits.
CREATE FUNCTION cron._start_scheduler() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_start_scheduler';
COMMENT ON FUNCTION cron._start_scheduler() IS 'Starts the scheduler of this database at commit, if it is not there.';
REVOKE ALL ON FUNCTION cron._start_scheduler() FROM PUBLIC;
SELECT cron._start_scheduler();
-- ==== schema cron: views =====================================================================
-- They show what the caller may see in the tables: security_invoker.

CREATE VIEW cron.jobs WITH (security_invoker = true) AS
SELECT j.jobid, j.jobname, j.schedule, j.command, j.database, j.username, j.active,
       COALESCE(j.timezone, pg_catalog.current_setting('cron.timezone')) AS timezone,
       CASE WHEN j.active THEN
           (cron._try_next_runs(j.schedule, 1, pg_catalog.clock_timestamp(), j.timezone, j.planned_from))[1]
       END AS next_run_at,
       (SELECT pg_catalog.count(*) FROM cron.job_run_details d
         WHERE d.jobid = j.jobid AND d.status IN ('starting', 'running')) AS running,
       last.start_time AS last_run_at, last.status AS last_status,
       last.return_message AS last_message, last.end_time - last.start_time AS last_duration,
       (SELECT pg_catalog.count(DISTINCT d.scheduled_at) FROM cron.job_run_details d
         WHERE d.jobid = j.jobid AND d.status = 'failed' AND d.trigger <> 'manual'
           AND d.reason IS DISTINCT FROM 'cancelled' AND d.scheduled_at >
               COALESCE((SELECT pg_catalog.max(s.scheduled_at) FROM cron.job_run_details s
                          WHERE s.jobid = j.jobid AND s.status = 'succeeded'
                            AND s.trigger <> 'manual'), '-infinity'))
           AS consecutive_failures,
       day.runs AS runs_last_day, day.failures AS failures_last_day,
       day.average AS average_duration, day.p95 AS p95_duration,
       j.note
  FROM cron.job j
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
COMMENT ON VIEW cron.jobs IS 'Every job that the caller may see, with its next run and what its runs came to.';

CREATE VIEW cron.upcoming_runs WITH (security_invoker = true) AS
SELECT r.run_at, j.jobid, j.jobname, j.schedule,
       COALESCE(j.timezone, pg_catalog.current_setting('cron.timezone')) AS timezone,
       j.database, j.username
  FROM cron.job j,
       LATERAL pg_catalog.unnest(cron._try_next_runs(j.schedule, 5, pg_catalog.clock_timestamp(),
                                                 j.timezone, j.planned_from)) AS r(run_at)
 WHERE j.active
 ORDER BY r.run_at, j.jobid;
COMMENT ON VIEW cron.upcoming_runs IS 'The next five runs of each active job, in order.';

CREATE VIEW cron.scheduler_status WITH (security_invoker = true) AS
SELECT pid, started, planned_until, jobs, workers_busy, workers_idle, workers_limit, waiting,
       oldest_wait, last_clock_step, last_error
  FROM cron._scheduler_status();
COMMENT ON VIEW cron.scheduler_status IS 'One row: the scheduler of this database.';
GRANT SELECT ON cron.jobs, cron.upcoming_runs, cron.scheduler_status TO PUBLIC;
-- ==== schema net: tables =====================================================================

CREATE SCHEMA net;
COMMENT ON SCHEMA net IS 'HTTP requests that are sent when their transaction commits, and the responses. USAGE is the right to use it.';

CREATE SEQUENCE net.http_request_queue_id_seq;
COMMENT ON SEQUENCE net.http_request_queue_id_seq IS 'Numbers of requests.';

CREATE FUNCTION net._origin(url text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_origin';
COMMENT ON FUNCTION net._origin(text) IS 'Scheme, host and port of a URL; "invalid" if it is none that can be requested.';

-- The functions of this schema insert into it past the executor: no trigger sees these rows, and
-- constraints are what the functions check. Later columns are to be added at the end.
CREATE TABLE net.http_request_queue (
    id                      bigint PRIMARY KEY DEFAULT pg_catalog.nextval('net.http_request_queue_id_seq'),
    method                  text NOT NULL,
    url                     text NOT NULL,
    headers                 jsonb NOT NULL DEFAULT '{}',
    body                    bytea,
    timeout_milliseconds    int NOT NULL DEFAULT 5000,
    sealed_headers          bytea,
    created                 timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by              oid,
    runid                   bigint,
    attempts                int NOT NULL DEFAULT 0,
    max_attempts            int NOT NULL DEFAULT pg_catalog.current_setting('net.max_attempts')::int,
    retry                   text NOT NULL DEFAULT 'unsent',
    ready_at                timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at              timestamptz,
    idempotency_key         text DEFAULT pg_catalog.gen_random_uuid()::text,
    on_response             text,
    store_response          text NOT NULL DEFAULT 'full',
    last_error              text,
    host                    text COLLATE "C" GENERATED ALWAYS AS (net._origin(url)) STORED,
    own_key                 boolean NOT NULL DEFAULT false,
    header_secrets          text[],
    form_secrets            text[]
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
        autovacuum_analyze_threshold = 10000);
CREATE INDEX http_request_queue_host_idx ON net.http_request_queue (host, ready_at, id);
COMMENT ON TABLE net.http_request_queue IS 'Requests that wait or are being sent. A row goes when its response is recorded.';
COMMENT ON COLUMN net.http_request_queue.id IS 'Number of the request; its response has the same.';
COMMENT ON COLUMN net.http_request_queue.method IS 'GET, POST, DELETE, ....';
COMMENT ON COLUMN net.http_request_queue.url IS 'Where it is sent to, query included.';
COMMENT ON COLUMN net.http_request_queue.headers IS 'Its headers, one member each.';
COMMENT ON COLUMN net.http_request_queue.body IS 'Its body; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.timeout_milliseconds IS 'Time that an attempt may take, 1 to 3600000.';
COMMENT ON COLUMN net.http_request_queue.sealed_headers IS 'Headers whose values are secret, encrypted; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.created IS 'When it was made.';
COMMENT ON COLUMN net.http_request_queue.created_by IS 'Role that made it.';
COMMENT ON COLUMN net.http_request_queue.runid IS 'Run of a job that made it; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.attempts IS 'Attempts that have ended.';
COMMENT ON COLUMN net.http_request_queue.max_attempts IS 'Attempts that are made at most.';
COMMENT ON COLUMN net.http_request_queue.retry IS 'Which attempts are followed by another: never, unsent, idempotent, always.';
COMMENT ON COLUMN net.http_request_queue.ready_at IS 'It is not sent before.';
COMMENT ON COLUMN net.http_request_queue.expires_at IS 'It is not sent after.';
COMMENT ON COLUMN net.http_request_queue.idempotency_key IS 'Sent as Idempotency-Key with every attempt.';
COMMENT ON COLUMN net.http_request_queue.on_response IS 'Function to be called with the response, as regprocedure prints it: a column of that type would keep pg_upgrade from working.';
COMMENT ON COLUMN net.http_request_queue.store_response IS 'What is recorded of the response: full, headers (no body), status (neither), sealed (the body encrypted).';
COMMENT ON COLUMN net.http_request_queue.last_error IS 'Why the last attempt failed.';
COMMENT ON COLUMN net.http_request_queue.host IS 'Scheme, host and port of the URL: what limits for each host go by.';
COMMENT ON COLUMN net.http_request_queue.own_key IS 'The idempotency key was given by the caller, who knows that the receiver heeds it.';
COMMENT ON COLUMN net.http_request_queue.header_secrets IS 'Secrets that are put into its headers when it is sent; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.form_secrets IS 'Secrets that are put into its form when it is sent; NULL: none.';

CREATE TABLE net._http_response (
    id              bigint PRIMARY KEY,
    status_code     int,
    content_type    text,
    headers         jsonb,
    content         text,
    timed_out       boolean,
    error_msg       text,
    created         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    content_bytes   bytea,
    truncated       boolean,
    attempts        int,
    duration_ms     double precision,
    method          text,
    url             text,
    runid           bigint,
    created_by      oid,
    callback_state  text,
    callback_error  text,
    state           text,
    idempotency_key text,
    sealed          boolean NOT NULL DEFAULT false,
    on_response     text,
    callback_attempts int NOT NULL DEFAULT 0,
    callback_at     timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX _http_response_created_idx ON net._http_response (created);
CREATE INDEX _http_response_callback_idx ON net._http_response (created_by, callback_at, id)
    WHERE callback_state = 'waiting';
CREATE INDEX _http_response_runid_idx ON net._http_response (runid) WHERE runid IS NOT NULL;
COMMENT ON TABLE net._http_response IS 'How requests ended. Rows older than net.ttl are removed.';
COMMENT ON COLUMN net._http_response.id IS 'Number of the request.';
COMMENT ON COLUMN net._http_response.status_code IS 'HTTP status; NULL: there was no response.';
COMMENT ON COLUMN net._http_response.content_type IS 'Content-Type of the response.';
COMMENT ON COLUMN net._http_response.headers IS 'Headers of the response; those that came more than once are arrays.';
COMMENT ON COLUMN net._http_response.content IS 'Body of the response, if it is text in the encoding of the database.';
COMMENT ON COLUMN net._http_response.timed_out IS 'The time was up.';
COMMENT ON COLUMN net._http_response.error_msg IS 'Why there was no response; NULL: there was one.';
COMMENT ON COLUMN net._http_response.created IS 'When it was recorded.';
COMMENT ON COLUMN net._http_response.content_bytes IS 'Body of the response, if it is not text.';
COMMENT ON COLUMN net._http_response.truncated IS 'The body was longer than net.max_response_bytes; the rest is missing.';
COMMENT ON COLUMN net._http_response.attempts IS 'Attempts that were made.';
COMMENT ON COLUMN net._http_response.duration_ms IS 'Time that the last attempt took.';
COMMENT ON COLUMN net._http_response.method IS 'Method of the request.';
COMMENT ON COLUMN net._http_response.url IS 'URL of the request.';
COMMENT ON COLUMN net._http_response.runid IS 'Run of a job that made the request; NULL: none.';
COMMENT ON COLUMN net._http_response.created_by IS 'Role that made the request.';
COMMENT ON COLUMN net._http_response.callback_state IS 'State of the call of on_response: waiting, done, failed; NULL: there is none to call.';
COMMENT ON COLUMN net._http_response.callback_error IS 'Why the last call of on_response failed.';
COMMENT ON COLUMN net._http_response.state IS 'How the request ended: succeeded (a status below 400), failed, expired, cancelled.';
COMMENT ON COLUMN net._http_response.idempotency_key IS 'Idempotency-Key of the request.';
COMMENT ON COLUMN net._http_response.sealed IS 'content_bytes is the body encrypted, which on_response alone gets to see.';
COMMENT ON COLUMN net._http_response.on_response IS 'Function that is called with the response.';
COMMENT ON COLUMN net._http_response.callback_attempts IS 'Calls of on_response that have failed.';
COMMENT ON COLUMN net._http_response.callback_at IS 'on_response is not called before.';

-- Neither table is dumped: a restored database would send again what the original has sent.

-- Values are encrypted with the key in net.secret_key_file: dumped, and of use where that file is.
CREATE TABLE net.secret (
    name            text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_.:/-]{1,200}$'),
    sealed          bytea NOT NULL,
    owner           regrole NOT NULL,
    created         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE net.secret IS 'Texts that are put into requests when they are sent, encrypted.';
COMMENT ON COLUMN net.secret.name IS 'What {{secret:name}} calls it.';
COMMENT ON COLUMN net.secret.sealed IS 'Its value, encrypted.';
COMMENT ON COLUMN net.secret.owner IS 'Role that made it: it and its members may use, replace and drop it, and grant its use.';
COMMENT ON COLUMN net.secret.created IS 'When it was made.';
COMMENT ON COLUMN net.secret.updated IS 'When it was given its value.';

CREATE TABLE net.secret_grant (
    name            text COLLATE "C" NOT NULL REFERENCES net.secret ON DELETE CASCADE,
    role            regrole NOT NULL,
    PRIMARY KEY (name, role)
);
COMMENT ON TABLE net.secret_grant IS 'Roles that may use a secret beside its owner.';
COMMENT ON COLUMN net.secret_grant.name IS 'The secret.';
COMMENT ON COLUMN net.secret_grant.role IS 'Role that may use it, and its members.';
SELECT pg_catalog.pg_extension_config_dump('net.secret', '');
SELECT pg_catalog.pg_extension_config_dump('net.secret_grant', '');

-- ==== who sees what ==========================================================================
-- USAGE on the schema is the gate. Behind it everybody may read, and sees what he, or a role that
-- he is a member of, has made: bodies and headers are not for pg_monitor. Nobody but a superuser
-- writes the tables; the functions check and insert.

ALTER TABLE net.http_request_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY request_see ON net.http_request_queue FOR SELECT
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
ALTER TABLE net._http_response ENABLE ROW LEVEL SECURITY;
CREATE POLICY response_see ON net._http_response FOR SELECT
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
GRANT SELECT ON net.http_request_queue, net._http_response TO PUBLIC;

CREATE FUNCTION net._request_inserted() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_request_inserted';
COMMENT ON FUNCTION net._request_inserted() IS 'Wakes the http worker at commit, for rows that a superuser writes himself.';
CREATE TRIGGER request_inserted AFTER INSERT OR UPDATE ON net.http_request_queue
    FOR EACH STATEMENT EXECUTE FUNCTION net._request_inserted();
-- ==== schema net: functions ==================================================================

CREATE FUNCTION net.http_get(
        url text,
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_get';
COMMENT ON FUNCTION net.http_get(text, jsonb, jsonb, int) IS 'Makes a GET request, which is sent when the transaction commits; returns its id.';
CREATE FUNCTION net.http_post(
        url text,
        body jsonb DEFAULT '{}',
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{"Content-Type": "application/json"}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_post';
COMMENT ON FUNCTION net.http_post(text, jsonb, jsonb, jsonb, int) IS 'Makes a POST request, which is sent when the transaction commits; returns its id.';
CREATE FUNCTION net.http_delete(
        url text,
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{}',
        timeout_milliseconds int DEFAULT 5000,
        body jsonb DEFAULT NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_delete';
COMMENT ON FUNCTION net.http_delete(text, jsonb, jsonb, int, jsonb) IS 'Makes a DELETE request, which is sent when the transaction commits; returns its id.';

CREATE FUNCTION net.http_put(
        url text,
        body jsonb DEFAULT '{}',
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{"Content-Type": "application/json"}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_put';
COMMENT ON FUNCTION net.http_put(text, jsonb, jsonb, jsonb, int) IS 'Makes a PUT request, which is sent when the transaction commits; returns its id.';
CREATE FUNCTION net.http_patch(
        url text,
        body jsonb DEFAULT '{}',
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{"Content-Type": "application/json"}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_patch';
COMMENT ON FUNCTION net.http_patch(text, jsonb, jsonb, jsonb, int) IS 'Makes a PATCH request, which is sent when the transaction commits; returns its id.';
CREATE FUNCTION net.http_post_form(
        url text,
        form jsonb,
        headers jsonb DEFAULT '{}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_post_form';
COMMENT ON FUNCTION net.http_post_form(text, jsonb, jsonb, int) IS 'Makes a POST request whose body is a form, which is sent when the transaction commits; returns its id. {{secret:name}} in a value is put in when it is sent.';
CREATE FUNCTION net.http_post_form(
        url text,
        form jsonb,
        headers jsonb,
        timeout_milliseconds int,
        max_attempts int,
        retry text DEFAULT NULL,
        idempotency_key text DEFAULT NULL,
        not_before timestamptz DEFAULT NULL,
        expires_in interval DEFAULT NULL,
        on_response regprocedure DEFAULT NULL,
        store_response text DEFAULT 'full')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_post_form';
COMMENT ON FUNCTION net.http_post_form(text, jsonb, jsonb, int, int, text, text, timestamptz, interval, regprocedure, text) IS 'Makes a POST request whose body is a form, with all that net.http_request() can say.';
CREATE FUNCTION net.http_request(
        method text,
        url text,
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{}',
        body bytea DEFAULT NULL,
        timeout_milliseconds int DEFAULT 5000,
        max_attempts int DEFAULT NULL,
        retry text DEFAULT NULL,
        idempotency_key text DEFAULT NULL,
        not_before timestamptz DEFAULT NULL,
        expires_in interval DEFAULT NULL,
        on_response regprocedure DEFAULT NULL,
        store_response text DEFAULT 'full')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_request';
COMMENT ON FUNCTION net.http_request(text, text, jsonb, jsonb, bytea, int, int, text, text, timestamptz, interval, regprocedure, text) IS 'Makes a request of any method, which is sent when the transaction commits; returns its id.';

-- ==== secrets ================================================================================

CREATE FUNCTION net.set_secret(name text, value text) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_set_secret';
COMMENT ON FUNCTION net.set_secret(text, text) IS 'Makes a secret of the current role, or gives it a new value. {{secret:name}} in a header or form stands for it.';
CREATE FUNCTION net.drop_secret(name text) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_drop_secret';
COMMENT ON FUNCTION net.drop_secret(text) IS 'Removes a secret. False: there is none.';
CREATE FUNCTION net.grant_secret(name text, role regrole) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_grant_secret';
COMMENT ON FUNCTION net.grant_secret(text, regrole) IS 'Lets a role, and its members, use a secret. Nobody can read one.';
CREATE FUNCTION net.revoke_secret(name text, role regrole) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_revoke_secret';
COMMENT ON FUNCTION net.revoke_secret(text, regrole) IS 'Takes the use of a secret from a role. False: it was not granted.';

CREATE VIEW net.secrets WITH (security_barrier) AS
SELECT s.name, s.owner, s.created, s.updated,
       ARRAY(SELECT g.role FROM net.secret_grant g WHERE g.name = s.name ORDER BY g.role::oid) AS granted_to
  FROM net.secret s
 WHERE pg_catalog.pg_has_role(s.owner, 'USAGE')
    OR EXISTS (SELECT FROM net.secret_grant g
                WHERE g.name = s.name AND pg_catalog.pg_has_role(g.role, 'USAGE'));
COMMENT ON VIEW net.secrets IS 'Secrets that the current role may use. Their values cannot be read.';
GRANT SELECT ON net.secrets TO PUBLIC;

-- ==== the response to a request ==============================================================

CREATE TYPE net.request_status AS ENUM ('PENDING', 'SUCCESS', 'ERROR');
COMMENT ON TYPE net.request_status IS 'What has become of a request.';
CREATE TYPE net.http_response AS (status_code int, headers jsonb, body text);
COMMENT ON TYPE net.http_response IS 'A response.';
CREATE TYPE net.http_response_result AS (status net.request_status, message text, response net.http_response);
COMMENT ON TYPE net.http_response_result IS 'A response, or why there is none.';

CREATE FUNCTION net._await_response(request_id bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What this transaction has made is sent after it; what its snapshot cannot see never comes.
    IF EXISTS (SELECT FROM net.http_request_queue q
                WHERE q.id = request_id AND q.xmin = pg_current_xact_id_if_assigned()::xid) THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = format('cannot wait for request %s in the transaction that made it', request_id),
                  DETAIL = 'A request is sent when its transaction commits.',
                  HINT = 'Wait for it in another transaction.';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = 'cannot wait for a response in a ' || current_setting('transaction_isolation') || ' transaction',
                  HINT = 'Use READ COMMITTED.';
    END IF;
    WHILE NOT EXISTS (SELECT FROM net._http_response r WHERE r.id = request_id) LOOP
        PERFORM pg_sleep(0.05);
    END LOOP;
    RETURN true;
END $$;
COMMENT ON FUNCTION net._await_response(bigint) IS 'Waits until the response to a request is recorded.';

CREATE FUNCTION net._http_collect_response(request_id bigint, async boolean DEFAULT true)
    RETURNS net.http_response_result
    LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_response net._http_response;
    is_queued boolean;
BEGIN
    is_queued := EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = request_id);
    IF is_queued AND NOT async THEN
        PERFORM net._await_response(request_id);
    END IF;
    SELECT r.* INTO found_response FROM net._http_response r WHERE r.id = request_id;
    IF found_response.id IS NULL AND is_queued THEN
        RETURN ('PENDING', 'request is pending', NULL)::net.http_response_result;
    END IF;
    IF found_response.id IS NULL OR found_response.error_msg IS NOT NULL THEN
        RETURN ('ERROR', coalesce(found_response.error_msg, 'request matching request_id not found'),
                NULL)::net.http_response_result;
    END IF;
    RETURN ('SUCCESS', 'ok', (found_response.status_code, found_response.headers,
                              found_response.content)::net.http_response)::net.http_response_result;
END $$;
COMMENT ON FUNCTION net._http_collect_response(bigint, boolean) IS 'The response to a request; with async => false, waits for it.';
CREATE FUNCTION net.http_collect_response(request_id bigint, async boolean DEFAULT true)
    RETURNS net.http_response_result
    LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT net._http_collect_response(request_id, async) $$;
COMMENT ON FUNCTION net.http_collect_response(bigint, boolean) IS 'The response to a request; with async => false, waits for it.';

-- ==== the http worker ========================================================================

CREATE FUNCTION net.wake() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_net_wake';
COMMENT ON FUNCTION net.wake() IS 'Makes the http worker look for requests when the transaction commits. Requests made by functions need no wake.';
CREATE FUNCTION net.worker_restart() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_net_worker_restart';
COMMENT ON FUNCTION net.worker_restart() IS 'Ends the http worker of this database and starts a new one; what was in flight is sent again. False: there was none.';
REVOKE ALL ON FUNCTION net.worker_restart() FROM PUBLIC;
CREATE FUNCTION net._worker_is_up() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_net_worker_is_up';
COMMENT ON FUNCTION net._worker_is_up() IS 'True if the http worker of this database is there, or the scheduler, which starts it when there are requests.';
CREATE FUNCTION net.wait_until_running() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WHILE NOT net._worker_is_up() LOOP
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
COMMENT ON FUNCTION net.wait_until_running() IS 'Waits until requests of this database can be sent.';
CREATE FUNCTION net.check_worker_is_up() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT net._worker_is_up() THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = 'the http worker of this database is not up',
                  DETAIL = 'Neither it nor the scheduler that starts it is running.',
                  HINT = 'See the server log.';
    END IF;
END $$;
COMMENT ON FUNCTION net.check_worker_is_up() IS 'An error if requests of this database cannot be sent now.';

-- ==== URLs ===================================================================================

CREATE FUNCTION net._urlencode_string(string varchar) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_urlencode_string';
COMMENT ON FUNCTION net._urlencode_string(varchar) IS 'Percent-encodes all but letters, digits and "-._~".';
CREATE FUNCTION net._encode_url_with_params_array(url text, params_array text[]) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'securatlas_encode_url_with_params_array';
COMMENT ON FUNCTION net._encode_url_with_params_array(text, text[]) IS 'A URL with parameters, "name=value" each and encoded already, after those it has.';
-- ==== schema net: cancelling requests, and what is to be seen of them ========================

CREATE FUNCTION net.cancel_request(request_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_cancel_request';
COMMENT ON FUNCTION net.cancel_request(bigint) IS 'Takes a request out of the queue, and records that it was cancelled; an attempt in flight is given up at commit. False: it is not in the queue (any more), or is not the caller''s.';

CREATE FUNCTION net._requests_in_flight() RETURNS bigint[]
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_requests_in_flight';
COMMENT ON FUNCTION net._requests_in_flight() IS 'Numbers of the requests that the http worker has in flight: up to 1024, as of the last 50 milliseconds.';
CREATE FUNCTION net._wait_reason(host text, ready_at timestamptz, attempts int) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'securatlas_wait_reason';
COMMENT ON FUNCTION net._wait_reason(text, timestamptz, int) IS 'Why a request that is not in flight waits.';
CREATE FUNCTION net._worker_status(
        OUT pid int, OUT started timestamptz, OUT in_flight bigint, OUT waiting bigint,
        OUT sent bigint, OUT failed bigint, OUT last_error text, OUT updated timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_http_worker_status';
COMMENT ON FUNCTION net._worker_status() IS 'Behind net.worker_status.';
CREATE FUNCTION net._host_status(
        OUT host text, OUT in_flight int, OUT requests bigint, OUT failures bigint,
        OUT limited boolean, OUT breaker text, OUT next_try timestamptz,
        OUT p50_ms double precision, OUT p95_ms double precision, OUT last_error text,
        OUT updated timestamptz)
    RETURNS SETOF record
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_host_status';
COMMENT ON FUNCTION net._host_status() IS 'Behind net.host_status: checks what the caller may see.';

ALTER TABLE net._http_response ADD CONSTRAINT _http_response_state_check
    CHECK (state IN ('succeeded', 'failed', 'expired', 'cancelled'));

-- The parts have constant or constrained states: a condition on the state leaves out those that
-- cannot meet it, and an order by id merges their indexes. All run with the caller's rights.
CREATE VIEW net.requests WITH (security_invoker = true) AS
SELECT q.id, 'in_flight' AS state, q.method, q.url, q.host::text AS host, q.created, q.ready_at,
       q.attempts, q.max_attempts, NULL::int AS status_code, q.last_error AS error,
       NULL::double precision AS duration_ms, NULL::timestamptz AS finished_at, q.runid,
       q.created_by::regrole AS created_by, q.idempotency_key, NULL::text AS callback_state,
       NULL::text AS reason
  FROM net.http_request_queue q
 WHERE q.id = ANY (net._requests_in_flight())
UNION ALL
SELECT q.id, 'waiting', q.method, q.url, q.host::text, q.created, q.ready_at, q.attempts,
       q.max_attempts, NULL, q.last_error, NULL, NULL, q.runid, q.created_by::regrole,
       q.idempotency_key, NULL, net._wait_reason(q.host, q.ready_at, q.attempts)
  FROM net.http_request_queue q
 WHERE q.attempts = 0 AND q.id NOT IN (SELECT pg_catalog.unnest(net._requests_in_flight()))
UNION ALL
SELECT q.id, 'retrying', q.method, q.url, q.host::text, q.created, q.ready_at, q.attempts,
       q.max_attempts, NULL, q.last_error, NULL, NULL, q.runid, q.created_by::regrole,
       q.idempotency_key, NULL, net._wait_reason(q.host, q.ready_at, q.attempts)
  FROM net.http_request_queue q
 WHERE q.attempts > 0 AND q.id NOT IN (SELECT pg_catalog.unnest(net._requests_in_flight()))
UNION ALL
SELECT r.id, r.state, r.method, r.url, net._origin(r.url), NULL, NULL, r.attempts, NULL,
       r.status_code, r.error_msg, r.duration_ms, r.created, r.runid, r.created_by::regrole,
       r.idempotency_key, r.callback_state, NULL
  FROM net._http_response r;
COMMENT ON VIEW net.requests IS 'Every request that the caller may see, waiting or ended.';
COMMENT ON COLUMN net.requests.id IS 'Number of the request.';
COMMENT ON COLUMN net.requests.state IS 'waiting, in_flight, retrying (between two attempts), succeeded, failed, expired or cancelled.';
COMMENT ON COLUMN net.requests.method IS 'GET, POST, DELETE, ....';
COMMENT ON COLUMN net.requests.url IS 'Where it is sent to, query included.';
COMMENT ON COLUMN net.requests.host IS 'Scheme, host and port of the URL.';
COMMENT ON COLUMN net.requests.created IS 'When it was made; NULL once it has ended.';
COMMENT ON COLUMN net.requests.ready_at IS 'It is not sent before; NULL once it has ended.';
COMMENT ON COLUMN net.requests.attempts IS 'Attempts that have ended.';
COMMENT ON COLUMN net.requests.max_attempts IS 'Attempts that are made at most; NULL once it has ended.';
COMMENT ON COLUMN net.requests.status_code IS 'HTTP status; NULL: there is no response.';
COMMENT ON COLUMN net.requests.error IS 'Why the last attempt failed; NULL: it did not, or had a response.';
COMMENT ON COLUMN net.requests.duration_ms IS 'Time that the last attempt took.';
COMMENT ON COLUMN net.requests.finished_at IS 'When its end was recorded.';
COMMENT ON COLUMN net.requests.runid IS 'Run of a job that made it; NULL: none.';
COMMENT ON COLUMN net.requests.created_by IS 'Role that made it.';
COMMENT ON COLUMN net.requests.idempotency_key IS 'Sent as Idempotency-Key with every attempt.';
COMMENT ON COLUMN net.requests.callback_state IS 'State of the call of on_response: waiting, done, failed; NULL: there is none to call.';
COMMENT ON COLUMN net.requests.reason IS 'Why it waits, as far as it is known now.';

CREATE VIEW net.worker_status WITH (security_invoker = true) AS
SELECT pid, started, in_flight, waiting, sent, failed, last_error, updated
  FROM net._worker_status();
COMMENT ON VIEW net.worker_status IS 'One row: the http worker of this database.';
COMMENT ON COLUMN net.worker_status.pid IS 'Its process; NULL: there is none now, as when there is nothing to send.';
COMMENT ON COLUMN net.worker_status.started IS 'When it started.';
COMMENT ON COLUMN net.worker_status.in_flight IS 'Requests in flight.';
COMMENT ON COLUMN net.worker_status.waiting IS 'Requests that it has read and that are not in flight.';
COMMENT ON COLUMN net.worker_status.sent IS 'Attempts that have ended since the server started.';
COMMENT ON COLUMN net.worker_status.failed IS 'Those of them that failed.';
COMMENT ON COLUMN net.worker_status.last_error IS 'Why the last attempt that failed did; for members of pg_read_all_stats.';
COMMENT ON COLUMN net.worker_status.updated IS 'When this was told.';

CREATE VIEW net.host_status WITH (security_invoker = true) AS
SELECT host, in_flight, requests, failures, limited, breaker, next_try, p50_ms, p95_ms, last_error,
       updated
  FROM net._host_status();
COMMENT ON VIEW net.host_status IS 'Hosts that requests of this database were sent to lately. Members of pg_read_all_stats, as pg_monitor is, see all of them; others those that a request which they may see waits for.';
COMMENT ON COLUMN net.host_status.host IS 'Scheme, host and port.';
COMMENT ON COLUMN net.host_status.in_flight IS 'Requests in flight.';
COMMENT ON COLUMN net.host_status.requests IS 'Attempts that have ended since the http worker started.';
COMMENT ON COLUMN net.host_status.failures IS 'Those of them that failed.';
COMMENT ON COLUMN net.host_status.limited IS 'Requests wait for one of its connections, or for its rate.';
COMMENT ON COLUMN net.host_status.breaker IS 'closed: requests are sent. open: the host has failed too often, and gets none. half_open: one is under way to see whether it is well again.';
COMMENT ON COLUMN net.host_status.next_try IS 'When an open breaker lets a request through.';
COMMENT ON COLUMN net.host_status.p50_ms IS 'Half of the last attempts took no longer.';
COMMENT ON COLUMN net.host_status.p95_ms IS 'Of 100 of the last attempts 95 took no longer.';
COMMENT ON COLUMN net.host_status.last_error IS 'Why the last attempt that failed did; for members of pg_read_all_stats.';
COMMENT ON COLUMN net.host_status.updated IS 'When this was told.';
GRANT SELECT ON net.requests, net.worker_status, net.host_status TO PUBLIC;
-- ==== runs and the requests that they made ===================================================
-- Who may see a run may see what its requests came to, whoever they were made by (a function with
-- the rights of its owner, a webhook). Therefore the view has the rights of its owner, and checks
-- for itself. A run is looked up in both tables by an index. The order is for the planner, which
-- would not look for it inside a security barrier: the last 20 runs are found without the others.

CREATE INDEX http_request_queue_runid_idx ON net.http_request_queue (runid) WHERE runid IS NOT NULL;

CREATE VIEW cron.run_requests WITH (security_barrier) AS
SELECT d.runid, d.jobid, d.jobname, d.scheduled_at, d.status,
       queued.count + ended.count AS requests, queued.count AS waiting, ended.succeeded,
       ended.failed, ended.expired, ended.cancelled,
       (SELECT COALESCE(r.error_msg, 'HTTP status ' || r.status_code)
          FROM net._http_response r WHERE r.id = ended.first_failure) AS first_error,
       ended.last_finished_at
  FROM cron.job_run_details d
  CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS count
        FROM net.http_request_queue q WHERE q.runid = d.runid) queued
  CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS count,
             pg_catalog.count(*) FILTER (WHERE r.state = 'succeeded') AS succeeded,
             pg_catalog.count(*) FILTER (WHERE r.state = 'failed') AS failed,
             pg_catalog.count(*) FILTER (WHERE r.state = 'expired') AS expired,
             pg_catalog.count(*) FILTER (WHERE r.state = 'cancelled') AS cancelled,
             pg_catalog.min(r.id) FILTER (WHERE r.state IN ('failed', 'expired')) AS first_failure,
             pg_catalog.max(r.created) AS last_finished_at
        FROM net._http_response r WHERE r.runid = d.runid) ended
 WHERE queued.count + ended.count > 0 AND cron._may_see(d.username)
 ORDER BY d.runid DESC;
COMMENT ON VIEW cron.run_requests IS 'What the HTTP requests of each run came to, for runs that the caller may see and that made some: one row a run.';
COMMENT ON COLUMN cron.run_requests.runid IS 'Number of the run.';
COMMENT ON COLUMN cron.run_requests.jobid IS 'The job.';
COMMENT ON COLUMN cron.run_requests.jobname IS 'Name of the job.';
COMMENT ON COLUMN cron.run_requests.scheduled_at IS 'The instant that it ran for.';
COMMENT ON COLUMN cron.run_requests.status IS 'Status of the run itself.';
COMMENT ON COLUMN cron.run_requests.requests IS 'Requests that it made and whose end is not forgotten (net.ttl).';
COMMENT ON COLUMN cron.run_requests.waiting IS 'Those that have not ended, in flight included.';
COMMENT ON COLUMN cron.run_requests.succeeded IS 'Those that were answered with a status below 400.';
COMMENT ON COLUMN cron.run_requests.failed IS 'Those that failed.';
COMMENT ON COLUMN cron.run_requests.expired IS 'Those that were not sent in time.';
COMMENT ON COLUMN cron.run_requests.cancelled IS 'Those that were cancelled.';
COMMENT ON COLUMN cron.run_requests.first_error IS 'Why the first of those that failed or expired did.';
COMMENT ON COLUMN cron.run_requests.last_finished_at IS 'When the last end was recorded.';
GRANT SELECT ON cron.run_requests TO PUBLIC;
-- ==== schema net: requests made by triggers ==================================================

CREATE FUNCTION net.http_webhook() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_http_webhook';
COMMENT ON FUNCTION net.http_webhook() IS 'For triggers: posts {"type", "table", "schema", "record", "old_record"} to a URL when the transaction commits, in the name of the table''s owner. Arguments: URL [, headers as JSON [, timeout in milliseconds [, parameters as JSON]]].';
-- ==== schema net: callbacks ==================================================================

CREATE FUNCTION net.repeat_callback(request_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_repeat_callback';
COMMENT ON FUNCTION net.repeat_callback(bigint) IS 'Has on_response called again with the response to a request, after its call has failed for good. False: it has not failed, or the response is not the caller''s.';
-- ==== schema securatlas: the scoring rule ====================================================

CREATE SCHEMA securatlas;
COMMENT ON SCHEMA securatlas IS 'The SecurAtlas jobs: risk recompute, integration sync, token refresh. USAGE is the right to use it.';

CREATE TABLE securatlas.risk_rule (
    kind   text NOT NULL,
    name   text NOT NULL,
    value  numeric NOT NULL CHECK (value >= 0 AND value < 'Infinity'),
    PRIMARY KEY (kind, name),
    CONSTRAINT risk_rule_names CHECK (
        (kind = 'weight' AND name IN ('control_maturity', 'evidence_coverage',
                                      'framework_compliance', 'integration_findings'))
        OR (kind = 'penalty' AND name IN ('critical', 'high', 'medium', 'low')))
);
COMMENT ON TABLE securatlas.risk_rule IS 'Weights of the four categories and penalties of open findings. All eight rows exist at commit, and the weights sum to 1.';
COMMENT ON COLUMN securatlas.risk_rule.kind IS 'weight or penalty.';
COMMENT ON COLUMN securatlas.risk_rule.name IS 'The category that is weighed, or the severity that is penalised.';
COMMENT ON COLUMN securatlas.risk_rule.value IS 'The share of the score, or the points one open finding takes away.';
GRANT SELECT ON securatlas.risk_rule TO PUBLIC;

INSERT INTO securatlas.risk_rule (kind, name, value) VALUES
    ('weight', 'control_maturity', 0.35),
    ('weight', 'evidence_coverage', 0.25),
    ('weight', 'framework_compliance', 0.25),
    ('weight', 'integration_findings', 0.15),
    ('penalty', 'critical', 10),
    ('penalty', 'high', 5),
    ('penalty', 'medium', 2),
    ('penalty', 'low', 0.5);

-- A restored dump brings its rows to a table that CREATE EXTENSION has filled.
CREATE FUNCTION securatlas._replace_risk_rule() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    DELETE FROM securatlas.risk_rule r WHERE r.kind = NEW.kind AND r.name = NEW.name;
    RETURN NEW;
END
$fn$;
COMMENT ON FUNCTION securatlas._replace_risk_rule() IS 'Makes an insert into risk_rule replace the row of that name.';

CREATE FUNCTION securatlas._check_risk_rule() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    total numeric;
    entries bigint;
BEGIN
    SELECT count(*), sum(r.value) FILTER (WHERE r.kind = 'weight')
      INTO entries, total FROM securatlas.risk_rule r;
    IF entries <> 8 THEN
        RAISE EXCEPTION 'risk_rule must keep its four weights and four penalties'
            USING ERRCODE = 'check_violation',
                  DETAIL = format('It would have %s rows.', entries);
    ELSIF total <> 1 THEN
        RAISE EXCEPTION 'the weights in risk_rule must sum to 1'
            USING ERRCODE = 'check_violation',
                  DETAIL = format('They would sum to %s.', total),
                  HINT = 'Change all weights in one transaction.';
    END IF;
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION securatlas._check_risk_rule() IS 'Refuses, at commit, a rule that is not complete or whose weights do not sum to 1.';

CREATE TRIGGER risk_rule_replace BEFORE INSERT ON securatlas.risk_rule
    FOR EACH ROW EXECUTE FUNCTION securatlas._replace_risk_rule();
CREATE CONSTRAINT TRIGGER risk_rule_check AFTER INSERT OR UPDATE OR DELETE ON securatlas.risk_rule
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION securatlas._check_risk_rule();
CREATE TRIGGER risk_rule_truncate AFTER TRUNCATE ON securatlas.risk_rule
    FOR EACH STATEMENT EXECUTE FUNCTION securatlas._check_risk_rule();
COMMENT ON TRIGGER risk_rule_replace ON securatlas.risk_rule IS 'Lets a dump be restored over the default rows.';
COMMENT ON TRIGGER risk_rule_check ON securatlas.risk_rule IS 'Keeps the rule complete and its weights at a sum of 1.';
COMMENT ON TRIGGER risk_rule_truncate ON securatlas.risk_rule IS 'Keeps the rule complete.';

SELECT pg_catalog.pg_extension_config_dump('securatlas.risk_rule', '');

CREATE FUNCTION securatlas.risk_weights() RETURNS float8[] LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY[max(value) FILTER (WHERE name = 'control_maturity'),
                 max(value) FILTER (WHERE name = 'evidence_coverage'),
                 max(value) FILTER (WHERE name = 'framework_compliance'),
                 max(value) FILTER (WHERE name = 'integration_findings')]::float8[]
      FROM securatlas.risk_rule WHERE kind = 'weight'
$fn$;
COMMENT ON FUNCTION securatlas.risk_weights() IS 'The weights of control_maturity, evidence_coverage, framework_compliance and integration_findings.';

CREATE FUNCTION securatlas.risk_penalties() RETURNS float8[] LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY[max(value) FILTER (WHERE name = 'critical'),
                 max(value) FILTER (WHERE name = 'high'),
                 max(value) FILTER (WHERE name = 'medium'),
                 max(value) FILTER (WHERE name = 'low')]::float8[]
      FROM securatlas.risk_rule WHERE kind = 'penalty'
$fn$;
COMMENT ON FUNCTION securatlas.risk_penalties() IS 'The penalties of one open finding: critical, high, medium, low.';

-- A NULL input stands for "no data"; the rule is in include/securatlas/core/risk_score.hpp.
CREATE FUNCTION securatlas.risk_score(
    average_maturity float8,
    evidence_share float8,
    framework_readiness float8,
    critical bigint,
    high bigint,
    medium bigint,
    low bigint,
    breach_cost float8,
    annual_revenue float8,
    weights float8[],
    penalties float8[],
    OUT score int,
    OUT control_maturity int,
    OUT evidence_coverage int,
    OUT framework_compliance int,
    OUT integration_findings int,
    OUT annualized_loss_expectancy float8
) LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_risk_score';
COMMENT ON FUNCTION securatlas.risk_score(float8, float8, float8, bigint, bigint, bigint, bigint, float8, float8, float8[], float8[]) IS 'The score of one tenant, the rounded values of its categories, and its annualized loss expectancy.';

CREATE FUNCTION securatlas._snake_case(title text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT lower(trim(BOTH '_' FROM regexp_replace(
               regexp_replace(title, '([[:lower:][:digit:]])([[:upper:]])', '\1_\2', 'g'),
               '[^[:alnum:]]+', '_', 'g')))
$fn$;
COMMENT ON FUNCTION securatlas._snake_case(text) IS 'Access Control becomes access_control.';
-- ==== schema securatlas: the tables that install() makes =====================================

CREATE FUNCTION securatlas._tables(
    OUT ordinal int, OUT name text, OUT tenant_data boolean, OUT required text[],
    OUT definition text, OUT remark text
) RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
(1, 'tenants', true,
 '{id uuid,name text,industry text,annual_revenue number,created_at time}'::text[], $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    industry text,
    annual_revenue numeric,
    created_at timestamptz NOT NULL DEFAULT now()
)$$, 'One row a tenant.'),
(2, 'tenant_subscriptions', true,
 '{tenant_id uuid,plan text,status text}', $$(
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    plan text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'trialing', 'past_due', 'canceled'))
)$$, 'A tenant is active while one of its subscriptions is active or trialing.'),
(3, 'unified_controls', false,
 '{id any,control_key text,title text,category text,severity any}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    control_key text NOT NULL UNIQUE,
    title text NOT NULL,
    category text NOT NULL,
    severity int NOT NULL CHECK (severity BETWEEN 1 AND 5)
)$$, 'The catalogue of controls, the same for all tenants.'),
(4, 'tenant_controls', true,
 '{tenant_id uuid,control_id any,status text,maturity number}', $$(
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    control_id uuid NOT NULL REFERENCES unified_controls (id),
    status text NOT NULL DEFAULT 'not_started'
        CHECK (status IN ('not_started', 'in_progress', 'implemented', 'not_applicable')),
    maturity int NOT NULL DEFAULT 0 CHECK (maturity BETWEEN 0 AND 5),
    PRIMARY KEY (tenant_id, control_id)
)$$, 'How far a tenant is with a control.'),
(5, 'tenant_evidence_items', true,
 '{id any,tenant_id uuid,status text,expires_at time}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'accepted', 'rejected')),
    expires_at timestamptz
)$$, 'What a tenant has handed in to prove its controls.'),
(6, 'control_evidence_links', true,
 '{evidence_item_id any,control_id any}', $$(
    evidence_item_id uuid NOT NULL REFERENCES tenant_evidence_items (id) ON DELETE CASCADE,
    control_id uuid NOT NULL REFERENCES unified_controls (id),
    PRIMARY KEY (evidence_item_id, control_id)
)$$, 'The controls that an evidence item proves.'),
(7, 'compliance_frameworks', false,
 '{id any}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE,
    name text NOT NULL
)$$, 'The frameworks that a tenant may select.'),
(8, 'framework_requirements', false,
 '{id any,framework_id any}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    framework_id uuid NOT NULL REFERENCES compliance_frameworks (id) ON DELETE CASCADE,
    requirement_key text NOT NULL,
    UNIQUE (framework_id, requirement_key)
)$$, 'The requirements of a framework.'),
(9, 'control_framework_map', false,
 '{control_id any,requirement_id any}', $$(
    control_id uuid NOT NULL REFERENCES unified_controls (id),
    requirement_id uuid NOT NULL REFERENCES framework_requirements (id) ON DELETE CASCADE,
    PRIMARY KEY (requirement_id, control_id)
)$$, 'The controls that a requirement asks for.'),
(10, 'tenant_framework_selections', true,
 '{tenant_id uuid,framework_id any,weight number}', $$(
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    framework_id uuid NOT NULL REFERENCES compliance_frameworks (id),
    weight numeric NOT NULL DEFAULT 1 CHECK (weight >= 0 AND weight < 'Infinity'),
    PRIMARY KEY (tenant_id, framework_id)
)$$, 'The frameworks that a tenant is measured by.'),
(11, 'integration_providers', false,
 '{id any,key text,token_endpoint text,client_id text,client_secret_name text}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE,
    token_endpoint text,
    client_id text,
    client_secret_name text
)$$, 'The providers that can be connected. client_secret_name is the name of a secret.'),
(12, 'integration_connections', true,
 '{id uuid,tenant_id uuid,provider_id any,status text,auth_type text,access_token_name text,refresh_token_name text,token_expires_at time,last_synced_at time,last_error text}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    provider_id uuid NOT NULL REFERENCES integration_providers (id),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'active', 'error', 'reauth_required', 'disabled')),
    auth_type text NOT NULL CHECK (auth_type IN ('oauth', 'api_key')),
    access_token_name text,
    refresh_token_name text,
    token_expires_at timestamptz,
    last_synced_at timestamptz,
    last_error text
)$$, 'What a tenant has connected. The token columns hold names of secrets, never tokens.'),
(13, 'integration_findings', true,
 '{id any,connection_id uuid,tenant_id uuid,severity text,status text}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    connection_id uuid NOT NULL REFERENCES integration_connections (id) ON DELETE CASCADE,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    severity text NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'resolved', 'suppressed')),
    PRIMARY KEY (tenant_id, id)
)$$, 'What a sync has found at a provider.'),
(14, 'integration_sync_jobs', true,
 '{id uuid,connection_id uuid,status text,request_id number,attempts number,error text,created_at time,dispatched_at time,completed_at time}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    connection_id uuid NOT NULL REFERENCES integration_connections (id) ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'dispatched', 'failed', 'completed')),
    request_id bigint,
    attempts int NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    dispatched_at timestamptz,
    completed_at timestamptz
)$$, 'One row for each sync that was asked for. request_id is the request that asks for it.'),
(15, 'tenant_risk_snapshots', true,
 '{id uuid,tenant_id uuid,risk_score_1_100 number,category_breakdown json,annualized_loss_expectancy number,computed_at time,snapshot_type text}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    risk_score_1_100 int NOT NULL CHECK (risk_score_1_100 BETWEEN 0 AND 100),
    category_breakdown jsonb NOT NULL,
    annualized_loss_expectancy numeric,
    computed_at timestamptz NOT NULL DEFAULT now(),
    snapshot_type text NOT NULL CHECK (snapshot_type IN ('nightly', 'manual', 'event')),
    PRIMARY KEY (tenant_id, id)
)$$, 'The risk scores over time. 0 is the worst posture, 100 the best.'),
(16, 'industry_breach_costs', false,
 '{industry text,avg_breach_cost number}', $$(
    industry text PRIMARY KEY,
    avg_breach_cost numeric NOT NULL CHECK (avg_breach_cost >= 0 AND avg_breach_cost < 'Infinity')
)$$, 'What a breach costs on average. The row "default" is for tenants of any other industry.')
$fn$;
COMMENT ON FUNCTION securatlas._tables() IS 'The tables of the SecurAtlas jobs: the columns they must have with their kinds of type, and how install() makes them.';

CREATE FUNCTION securatlas._indexes(OUT table_name text, OUT definition text)
    RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
    ('tenant_subscriptions', '(tenant_id)'),
    ('tenant_evidence_items', '(tenant_id)'),
    ('integration_connections', '(tenant_id)'),
    ('integration_findings', $$(tenant_id) WHERE status = 'open'$$),
    ('integration_findings', '(connection_id)'),
    ('integration_sync_jobs', '(connection_id, created_at)'),
    ('tenant_risk_snapshots', '(tenant_id, computed_at DESC)')
$fn$;
COMMENT ON FUNCTION securatlas._indexes() IS 'The indexes that install() adds to the tables it makes.';

CREATE FUNCTION securatlas._create_tables(target_schema regnamespace) RETURNS void
    LANGUAGE plpgsql
AS $fn$
DECLARE
    made text[] := '{}';
    unprotected text;
    t record;
BEGIN
    FOR t IN
        SELECT d.* FROM securatlas._tables() AS d
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                            WHERE c.relname = d.name AND c.relnamespace = target_schema)
         ORDER BY d.ordinal
    LOOP
        EXECUTE format('CREATE TABLE %I %s', t.name, t.definition);
        EXECUTE format('COMMENT ON TABLE %I IS %L', t.name, t.remark);
        IF t.tenant_data THEN
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t.name);
        END IF;
        made := made || t.name;
    END LOOP;
    FOR t IN SELECT i.* FROM securatlas._indexes() AS i WHERE i.table_name = ANY (made) LOOP
        EXECUTE format('CREATE INDEX ON %I %s', t.table_name, t.definition);
    END LOOP;
    IF 'industry_breach_costs' = ANY (made) THEN
        INSERT INTO industry_breach_costs (industry, avg_breach_cost) VALUES
            ('default', 4880000), ('healthcare', 9770000), ('financial_services', 6080000),
            ('technology', 5450000), ('energy', 5290000), ('manufacturing', 5560000),
            ('retail', 3480000), ('education', 3500000), ('public_sector', 2550000);
    END IF;
    SELECT string_agg(d.name, ', ' ORDER BY d.ordinal) INTO unprotected
      FROM securatlas._tables() AS d
      JOIN pg_catalog.pg_class c ON c.relname = d.name AND c.relnamespace = target_schema
     WHERE d.tenant_data AND NOT c.relrowsecurity;
    IF unprotected IS NOT NULL THEN
        RAISE WARNING 'row level security is not enabled on: %', unprotected
            USING HINT = 'These tables existed and were left as they are; enable it for every table with a tenant.';
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas._create_tables(regnamespace) IS 'The part of install() that makes the tables that do not exist, in the first schema of search_path.';
-- ==== schema securatlas: what keeps install() from a schema ==================================

-- Each of these functions returns lines of one error. They only look.

CREATE FUNCTION securatlas._is_kind(type oid, kind text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE kind
               WHEN 'any' THEN true
               WHEN 'uuid' THEN base.oid = 'uuid'::regtype
               WHEN 'json' THEN base.oid IN ('json'::regtype, 'jsonb'::regtype)
               WHEN 'number' THEN base.typcategory = 'N'
               WHEN 'time' THEN base.typcategory = 'D'
               WHEN 'text' THEN base.typcategory IN ('S', 'E')
           END
      FROM pg_type t
      JOIN pg_type base ON base.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
     WHERE t.oid = type
$fn$;
COMMENT ON FUNCTION securatlas._is_kind(oid, text) IS 'True if values of a type can stand in a column of that kind; text may be an enumeration.';

CREATE FUNCTION securatlas._has_unique_key(relation oid, column_name name) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT EXISTS (SELECT FROM pg_index i
                     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid
                      AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = 1
                      AND a.attname = column_name)
$fn$;
COMMENT ON FUNCTION securatlas._has_unique_key(oid, name) IS 'True if a foreign key can refer to the column.';

CREATE FUNCTION securatlas._column_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    WITH existing AS (
        SELECT t.*, c.oid, c.relkind, format('%s.%I', target_schema, t.name) AS title
          FROM securatlas._tables() AS t
          JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
    ), wanted AS (
        SELECT e.ordinal, e.title, w.position, split_part(w.entry, ' ', 1) AS column_name,
               split_part(w.entry, ' ', 2) AS kind, a.attnum, a.atttypid
          FROM existing e
         CROSS JOIN unnest(e.required) WITH ORDINALITY AS w (entry, position)
          LEFT JOIN pg_attribute a ON a.attrelid = e.oid AND NOT a.attisdropped AND a.attnum > 0
                AND a.attname = split_part(w.entry, ' ', 1)
         WHERE e.relkind IN ('r', 'p', 'f')
    ), problem AS (
        SELECT e.ordinal, 1 AS part, format('%s is not a table.', e.title) AS line
          FROM existing e WHERE e.relkind NOT IN ('r', 'p', 'f')
        UNION ALL
        SELECT w.ordinal, 2, format('Table %s lacks %s.', w.title,
                                    string_agg(w.column_name, ', ' ORDER BY w.position))
          FROM wanted w WHERE w.attnum IS NULL GROUP BY w.ordinal, w.title
        UNION ALL
        SELECT w.ordinal, 3, format('Table %s: %s.', w.title, string_agg(
                   format('%s is %s, not %s', w.column_name, format_type(w.atttypid, NULL), w.kind),
                   ', ' ORDER BY w.position))
          FROM wanted w WHERE NOT securatlas._is_kind(w.atttypid, w.kind) GROUP BY w.ordinal, w.title
        UNION ALL
        -- Rows of these two are made by the jobs, which do not know other columns.
        SELECT e.ordinal, 4, format('Table %s needs values without a default: %s.', e.title,
                                    string_agg(a.attname, ', ' ORDER BY a.attnum))
          FROM existing e
          JOIN pg_attribute a ON a.attrelid = e.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE e.name IN ('integration_sync_jobs', 'tenant_risk_snapshots')
           AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
           AND a.attname <> ALL (ARRAY(SELECT split_part(r, ' ', 1) FROM unnest(e.required) AS r))
         GROUP BY e.ordinal, e.title
        UNION ALL
        SELECT e.ordinal, 5, format('Table %s has no unique key on id alone.', e.title)
          FROM existing e
         WHERE e.relkind <> 'f' AND NOT securatlas._has_unique_key(e.oid, 'id')
           AND EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = e.oid AND a.attname = 'id' AND NOT a.attisdropped)
           AND (e.name = 'tenants' OR EXISTS (SELECT FROM securatlas._referring(target_schema) AS r
                                               WHERE r.target = e.name))
        UNION ALL
        SELECT w.ordinal, 6, format('Table %s: id is %s, and tables that refer to it would be made with uuid.',
                                    w.title, format_type(w.atttypid, NULL))
          FROM wanted w
          JOIN existing e ON e.ordinal = w.ordinal
         WHERE w.column_name = 'id' AND w.kind = 'any' AND w.atttypid <> 'uuid'::regtype
           AND EXISTS (SELECT FROM securatlas._referring(target_schema) AS r WHERE r.target = e.name)
    )
    SELECT p.line FROM problem p ORDER BY p.ordinal, p.part
$fn$;
COMMENT ON FUNCTION securatlas._column_problems(regnamespace) IS 'What existing tables of a schema lack.';

CREATE FUNCTION securatlas._referring(target_schema regnamespace, OUT name text, OUT target text)
    RETURNS SETOF record LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT t.name, r[1]
      FROM securatlas._tables() AS t
     CROSS JOIN regexp_matches(t.definition, 'REFERENCES (\w+) \(id\)', 'g') AS r
     WHERE NOT EXISTS (SELECT FROM pg_class c
                        WHERE c.relname = t.name AND c.relnamespace = target_schema)
$fn$;
COMMENT ON FUNCTION securatlas._referring(regnamespace) IS 'The foreign keys of the tables that install() would make.';

CREATE FUNCTION securatlas._privilege_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('Role %I must not create objects in schema %s.', current_user, target_schema)
     WHERE NOT has_schema_privilege(current_user, target_schema, 'CREATE')
    UNION ALL
    SELECT format('Role %I must not use schema %s.', current_user, s.name)
      FROM (VALUES ('cron'), ('net')) AS s (name)
     WHERE NOT has_schema_privilege(current_user, s.name, 'USAGE')
    UNION ALL
    SELECT * FROM (
        SELECT format('Role %I must not %s table %s.%I.', current_user,
                      string_agg(p.name, ', ' ORDER BY p.place), target_schema, t.name)
          FROM securatlas._tables() AS t
          JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
         CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'),
                            (5, 'REFERENCES')) AS p (place, name)
         WHERE c.relkind IN ('r', 'p', 'f')
           AND (p.name = 'SELECT'
                OR p.name = 'INSERT' AND t.name IN ('integration_sync_jobs', 'tenant_risk_snapshots')
                OR p.name = 'UPDATE' AND t.name IN ('integration_sync_jobs', 'integration_connections')
                OR p.name = 'DELETE' AND t.name = 'tenant_risk_snapshots'
                OR p.name = 'REFERENCES' AND EXISTS (
                       SELECT FROM securatlas._referring(target_schema) AS r WHERE r.target = t.name))
           AND NOT has_table_privilege(current_user, c.oid, p.name)
         GROUP BY t.ordinal, t.name ORDER BY t.ordinal) AS refused
    UNION ALL
    SELECT * FROM (
        SELECT format('Row level security of table %s.%I may hide rows from role %I.',
                      target_schema, t.name, current_user)
          FROM securatlas._tables() AS t
          JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
         WHERE c.relkind IN ('r', 'p', 'f') AND row_security_active(c.oid)
         ORDER BY t.ordinal) AS hidden
$fn$;
COMMENT ON FUNCTION securatlas._privilege_problems(regnamespace) IS 'What the current role must not do, and the jobs need.';

CREATE FUNCTION securatlas._name_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('%s.%I exists and is not a view of role %I with the columns %s.', target_schema,
                  v.name, current_user, array_to_string(v.columns, ', '))
      FROM securatlas._views() AS v
      JOIN pg_class c ON c.relname = v.name AND c.relnamespace = target_schema
     WHERE c.relkind <> 'v' OR NOT pg_has_role(c.relowner, 'USAGE')
        OR ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) <> v.columns
    UNION ALL
    SELECT format('Function %s.%s exists and is not one of role %I that returns %s.', target_schema,
                  f.signature, current_user, f.result)
      FROM securatlas._functions() AS f
      JOIN pg_proc p ON p.oid = CASE WHEN has_schema_privilege('net', 'USAGE') THEN
               to_regprocedure(format('%s.%s', target_schema, f.signature)) END
     WHERE p.prokind <> 'f' OR NOT pg_has_role(p.proowner, 'USAGE')
        OR pg_get_function_result(p.oid) <> f.result
$fn$;
COMMENT ON FUNCTION securatlas._name_problems(regnamespace) IS 'Views and functions that have the name of one that install() makes.';

CREATE FUNCTION securatlas._check_schema(target_schema regnamespace) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    problems text[] := ARRAY(
        SELECT securatlas._column_problems(target_schema)
        UNION ALL SELECT securatlas._name_problems(target_schema)
        UNION ALL SELECT securatlas._privilege_problems(target_schema));
BEGIN
    IF problems <> '{}' THEN
        RAISE EXCEPTION 'schema % does not fit the SecurAtlas jobs', target_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = array_to_string(problems, E'\n'),
                  HINT = 'Nothing was changed. Change what is named, or install into another schema.';
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas._check_schema(regnamespace) IS 'Refuses a schema into which install() cannot install; one error lists all reasons.';
-- ==== schema securatlas: the risk views and functions that install() makes ===================

-- These functions run with install()'s search_path: the target schema, pg_temp last. SET
-- search_path FROM CURRENT pins what they make to it. row_security = off makes a row security
-- policy that would hide rows from the jobs an error, where it would give wrong scores silently.
--
-- Tables that existed before install() may have other types (enumerations, domains) and none of our
-- constraints: texts are compared as text, and what makes no sense is left out.

CREATE FUNCTION securatlas._create_risk_views() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- A set of controls is a string of bits, a place each: comparing two of them costs nothing,
    -- where joining them would cost more than all the rest of the recompute.
    CREATE OR REPLACE VIEW v_framework_readiness WITH (security_invoker = true) AS
    WITH place AS MATERIALIZED (
        SELECT mapped.control_id, (row_number() OVER () - 1)::int AS bit,
               repeat('0', (count(*) OVER ())::int)::varbit AS none
          FROM (SELECT DISTINCT m.control_id FROM control_framework_map m
                 WHERE m.control_id IS NOT NULL) AS mapped
    ), requirement AS MATERIALIZED (
        SELECT r.framework_id, r.id, bit_or(set_bit(p.none, p.bit, 1)) AS controls
          FROM framework_requirements r
          LEFT JOIN control_framework_map m ON m.requirement_id = r.id
          LEFT JOIN place p ON p.control_id = m.control_id
         GROUP BY r.framework_id, r.id
    ), met AS (
        SELECT c.tenant_id, bit_or(set_bit(p.none, p.bit, 1)) AS controls
          FROM tenant_controls c
          JOIN place p ON p.control_id = c.control_id
         WHERE c.status::text IN ('implemented', 'not_applicable')
         GROUP BY c.tenant_id
    )
    SELECT s.tenant_id,
           s.framework_id,
           coalesce(100.0 * count(*) FILTER (WHERE met.controls & r.controls = r.controls)
                    / nullif(count(r.id), 0), 0) AS readiness
      FROM tenant_framework_selections s
      LEFT JOIN requirement r ON r.framework_id = s.framework_id
      LEFT JOIN met ON met.tenant_id = s.tenant_id
     GROUP BY s.tenant_id, s.framework_id;
    COMMENT ON VIEW v_framework_readiness IS 'Share of the requirements of a selected framework, 0 to 100, of which every mapped control is implemented or not applicable. A requirement without mapped controls is not met.';

    CREATE OR REPLACE VIEW v_risk_trend WITH (security_invoker = true) AS
    SELECT t.id AS tenant_id,
           latest.risk_score_1_100,
           CASE WHEN latest.risk_score_1_100 <= 20 THEN 'critical'
                WHEN latest.risk_score_1_100 <= 40 THEN 'high'
                WHEN latest.risk_score_1_100 <= 60 THEN 'medium'
                WHEN latest.risk_score_1_100 <= 80 THEN 'moderate'
                WHEN latest.risk_score_1_100 <= 100 THEN 'low' END AS level,
           latest.risk_score_1_100 - previous.risk_score_1_100 AS change,
           latest.risk_score_1_100 - week.risk_score_1_100 AS change_7_days,
           latest.risk_score_1_100 - month.risk_score_1_100 AS change_30_days,
           latest.computed_at,
           latest.snapshot_type::text AS snapshot_type
      FROM tenants t
     CROSS JOIN LATERAL (
           SELECT s.risk_score_1_100, s.computed_at, s.snapshot_type
             FROM tenant_risk_snapshots s WHERE s.tenant_id = t.id
            ORDER BY s.computed_at DESC, s.id LIMIT 1) AS latest
      LEFT JOIN LATERAL (
           SELECT s.risk_score_1_100 FROM tenant_risk_snapshots s WHERE s.tenant_id = t.id
            ORDER BY s.computed_at DESC, s.id LIMIT 1 OFFSET 1) AS previous ON true
      LEFT JOIN LATERAL (
           SELECT s.risk_score_1_100 FROM tenant_risk_snapshots s
            WHERE s.tenant_id = t.id AND s.computed_at <= now() - interval '7 days'
            ORDER BY s.computed_at DESC, s.id LIMIT 1) AS week ON true
      LEFT JOIN LATERAL (
           SELECT s.risk_score_1_100 FROM tenant_risk_snapshots s
            WHERE s.tenant_id = t.id AND s.computed_at <= now() - interval '30 days'
            ORDER BY s.computed_at DESC, s.id LIMIT 1) AS month ON true;
    COMMENT ON VIEW v_risk_trend IS 'The latest score of each tenant that has one, its level, and its change since the snapshot before and since those that were the latest 7 and 30 days ago.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_risk_views() IS 'The part of install() that makes the risk views, in the first schema of search_path.';

CREATE FUNCTION securatlas._create_bad_row_check() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    CREATE OR REPLACE FUNCTION fn_warn_of_bad_rows(only_tenant uuid) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        known CONSTANT boolean := EXISTS (
            SELECT FROM pg_constraint f
              JOIN pg_attribute a ON a.attrelid = f.conrelid AND f.conkey = ARRAY[a.attnum]
             WHERE f.contype = 'f' AND f.convalidated AND a.attnotnull
               AND f.conrelid = 'tenant_controls'::regclass AND a.attname = 'control_id'
               AND f.confrelid = 'unified_controls'::regclass);
        controls bigint;
        findings bigint;
        selections bigint;
        costs bigint;
    BEGIN
        SELECT count(*) INTO controls
          FROM tenant_controls c
         WHERE (only_tenant IS NULL OR c.tenant_id = only_tenant)
           AND (c.status::text = 'not_applicable'
                OR c.status::text IN ('not_started', 'in_progress', 'implemented')
                   AND c.maturity BETWEEN 0 AND 5
                   AND (known OR EXISTS (SELECT FROM unified_controls u WHERE u.id = c.control_id))
               ) IS NOT TRUE;
        SELECT count(*) INTO findings
          FROM integration_findings f
         WHERE f.status::text = 'open' AND (only_tenant IS NULL OR f.tenant_id = only_tenant)
           AND (f.severity::text IN ('critical', 'high', 'medium', 'low')) IS NOT TRUE;
        SELECT count(*) INTO selections
          FROM tenant_framework_selections s
         WHERE (only_tenant IS NULL OR s.tenant_id = only_tenant)
           AND (s.weight >= 0 AND s.weight < 1e300) IS NOT TRUE;
        SELECT count(*) INTO costs
          FROM industry_breach_costs b
         WHERE (b.avg_breach_cost >= 0 AND b.avg_breach_cost < 1e300) IS NOT TRUE;
        IF controls + findings + selections + costs > 0 THEN
            RAISE WARNING '% rows are left out of the risk scores',
                    controls + findings + selections + costs
                USING DETAIL = concat_ws(E'\n',
                    'tenant_controls, status or maturity out of range or control unknown: '
                        || nullif(controls, 0) || '.',
                    'integration_findings, severity unknown: ' || nullif(findings, 0) || '.',
                    'tenant_framework_selections, weight out of range: '
                        || nullif(selections, 0) || '.',
                    'industry_breach_costs, cost out of range: ' || nullif(costs, 0) || '.');
        END IF;
    END
    $fn$;
    COMMENT ON FUNCTION fn_warn_of_bad_rows(uuid) IS 'Counts, in one warning, the rows that the risk scores leave out: of one tenant, or of all (NULL).';
END
$install$;
COMMENT ON FUNCTION securatlas._create_bad_row_check() IS 'The part of install() that makes the check for rows that make no sense, in the first schema of search_path.';

CREATE FUNCTION securatlas._create_recompute() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- A tenant's snapshot of a night has an id that is made of the two. So the table's own key keeps
    -- it from having two, whichever run, retry or operator computes that night again. Memory: a
    -- hundred bytes a tenant in a few hash tables. JIT would take longer than it saves.
    CREATE OR REPLACE FUNCTION fn_write_risk_snapshots(only_tenant uuid, snapshot_type text)
        RETURNS SETOF int LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
        SET jit = off
        SET work_mem = '256MB'
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        weights CONSTANT float8[] := securatlas.risk_weights();
        penalties CONSTANT float8[] := securatlas.risk_penalties();
        midnight timestamptz;
        night text;
    BEGIN
        PERFORM fn_warn_of_bad_rows(only_tenant);
        IF snapshot_type = 'nightly' THEN
            midnight := date_trunc('day', coalesce(
                nullif(current_setting('cron.scheduled_at', true), '')::timestamptz, now()), 'UTC');
            night := to_char(midnight AT TIME ZONE 'UTC', '/YYYY-MM-DD');
            -- Two at a time would each not see the snapshots of the other.
            PERFORM pg_advisory_xact_lock('tenant_risk_snapshots'::regclass::oid::bigint);
            DELETE FROM tenant_risk_snapshots s
             WHERE s.computed_at >= midnight AND s.id = md5(s.tenant_id || night)::uuid
               AND (only_tenant IS NULL OR s.tenant_id = only_tenant);
        END IF;
        RETURN QUERY
        WITH active AS (
            SELECT DISTINCT s.tenant_id FROM tenant_subscriptions s
             WHERE s.status::text IN ('active', 'trialing') AND only_tenant IS NULL
        ), catalogue AS MATERIALIZED (
            SELECT u.id,
                   coalesce(nullif(securatlas._snake_case(u.category::text), ''), 'uncategorized')
                       AS category,
                   set_bit(repeat('0', (count(*) OVER ())::int)::varbit,
                           (row_number() OVER () - 1)::int, 1) AS bit
              FROM unified_controls u
        ), proven AS (
            SELECT e.tenant_id, bit_or(k.bit) AS controls
              FROM tenant_evidence_items e
              JOIN control_evidence_links l ON l.evidence_item_id = e.id
              JOIN catalogue k ON k.id = l.control_id
             WHERE e.status::text = 'accepted' AND (e.expires_at IS NULL OR e.expires_at > now())
               AND (only_tenant IS NULL OR e.tenant_id = only_tenant)
             GROUP BY e.tenant_id
        ), part AS (
            SELECT c.tenant_id, k.category, count(*) AS entries, sum(c.maturity) AS maturity,
                   bit_or(k.bit) AS controls
              FROM tenant_controls c
              JOIN catalogue k ON k.id = c.control_id
             WHERE c.status::text IN ('not_started', 'in_progress', 'implemented')
               AND c.maturity BETWEEN 0 AND 5
               AND (only_tenant IS NULL OR c.tenant_id = only_tenant)
             GROUP BY c.tenant_id, k.category
        ), control AS (
            SELECT p.tenant_id, sum(p.entries)::float8 AS entries,
                   sum(p.maturity)::float8 / sum(p.entries)::float8 AS average_maturity,
                   bit_or(p.controls) AS controls,
                   jsonb_object_agg(p.category,
                                    round((p.maturity * 20.0 / p.entries)::numeric)) AS breakdown
              FROM part p
             GROUP BY p.tenant_id
        ), framework AS (
            SELECT s.tenant_id,
                   (sum(r.readiness * s.weight) / nullif(sum(s.weight), 0))::float8 AS readiness
              FROM tenant_framework_selections s
              JOIN v_framework_readiness r
                ON r.tenant_id = s.tenant_id AND r.framework_id = s.framework_id
             WHERE s.weight >= 0 AND s.weight < 1e300
               AND (only_tenant IS NULL OR s.tenant_id = only_tenant)
             GROUP BY s.tenant_id
        ), finding AS (
            SELECT f.tenant_id,
                   count(*) FILTER (WHERE f.severity::text = 'critical') AS critical,
                   count(*) FILTER (WHERE f.severity::text = 'high') AS high,
                   count(*) FILTER (WHERE f.severity::text = 'medium') AS medium,
                   count(*) FILTER (WHERE f.severity::text = 'low') AS low
              FROM integration_findings f
             WHERE f.status::text = 'open' AND (only_tenant IS NULL OR f.tenant_id = only_tenant)
             GROUP BY f.tenant_id
        ), cost AS MATERIALIZED (
            SELECT b.industry::text AS industry, max(b.avg_breach_cost)::float8 AS breach
              FROM industry_breach_costs b
             WHERE b.avg_breach_cost >= 0 AND b.avg_breach_cost < 1e300
             GROUP BY b.industry::text
        )
        INSERT INTO tenant_risk_snapshots AS stored
               (id, tenant_id, risk_score_1_100, category_breakdown, annualized_loss_expectancy,
                computed_at, snapshot_type)
        SELECT coalesce(md5(t.id || night)::uuid, gen_random_uuid()), t.id, result.score,
               jsonb_build_object(
                   'control_maturity', result.control_maturity,
                   'evidence_coverage', result.evidence_coverage,
                   'framework_compliance', result.framework_compliance,
                   'integration_findings', result.integration_findings,
                   'subcategories', coalesce(control.breakdown, '{}'::jsonb)),
               result.annualized_loss_expectancy::numeric,
               now(), snapshot_type
          FROM tenants t
          LEFT JOIN active ON active.tenant_id = t.id
          LEFT JOIN control ON control.tenant_id = t.id
          LEFT JOIN proven ON proven.tenant_id = t.id
          LEFT JOIN framework ON framework.tenant_id = t.id
          LEFT JOIN finding ON finding.tenant_id = t.id
          LEFT JOIN cost own ON own.industry = t.industry::text
          LEFT JOIN cost other ON other.industry = 'default'
         CROSS JOIN LATERAL securatlas.risk_score(
                   control.average_maturity,
                   bit_count(proven.controls & control.controls) / control.entries,
                   framework.readiness,
                   finding.critical, finding.high, finding.medium, finding.low,
                   coalesce(own.breach, other.breach),
                   CASE WHEN t.annual_revenue > 0 THEN least(t.annual_revenue, 1e300) END::float8,
                   weights, penalties) AS result
         WHERE t.id = only_tenant OR active.tenant_id IS NOT NULL
        RETURNING stored.risk_score_1_100::int;
    END
    $fn$;
    COMMENT ON FUNCTION fn_write_risk_snapshots(uuid, text) IS 'Stores a snapshot for one tenant, or for each active tenant (NULL), in one statement; returns the scores. A nightly one replaces that of the same tenant and night.';

    CREATE OR REPLACE FUNCTION fn_recompute_all_tenant_risk_scores() RETURNS bigint
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
        SELECT count(*)
          FROM fn_write_risk_snapshots(NULL, CASE WHEN current_setting('cron.run_id', true) <> ''
                                                  THEN 'nightly' ELSE 'manual' END)
    $fn$;
    COMMENT ON FUNCTION fn_recompute_all_tenant_risk_scores() IS 'Stores a risk snapshot for each active tenant; returns their number.';

    CREATE OR REPLACE FUNCTION fn_recompute_tenant_risk_score(tenant_id uuid) RETURNS int
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        score int;
    BEGIN
        SELECT written INTO score
          FROM fn_write_risk_snapshots(tenant_id, 'event') AS written WHERE tenant_id IS NOT NULL;
        IF score IS NULL THEN
            RAISE EXCEPTION 'tenant % does not exist', coalesce(tenant_id::text, 'NULL')
                USING ERRCODE = 'no_data_found';
        END IF;
        RETURN score;
    END
    $fn$;
    COMMENT ON FUNCTION fn_recompute_tenant_risk_score(uuid) IS 'Stores a risk snapshot for one tenant; returns its score.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_recompute() IS 'The part of install() that makes the recompute, in the first schema of search_path.';
-- ==== schema securatlas: the integration sync that install() makes ===========================

CREATE FUNCTION securatlas._create_sync() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    CREATE OR REPLACE FUNCTION fn_queue_sync(premium_only boolean) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        url CONSTANT text := current_setting('app.settings.edge_function_url', true);
        key CONSTANT text := coalesce(
            nullif(current_setting('app.settings.service_role_key', true), ''),
            (SELECT '{{secret:service_role_key}}' FROM net.secrets s
              WHERE s.name = 'service_role_key'));
        missing CONSTANT text := concat_ws(', ',
            CASE WHEN coalesce(url, '') = '' THEN 'app.settings.edge_function_url' END,
            CASE WHEN key IS NULL THEN 'app.settings.service_role_key' END);
        headers CONSTANT jsonb := jsonb_build_object('Content-Type', 'application/json',
                                                     'Authorization', 'Bearer ' || key);
    BEGIN
        IF missing <> '' THEN
            RAISE EXCEPTION 'the integration sync is not configured'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = format('Not set: %s.', missing),
                      HINT = 'Set it with ALTER DATABASE ... SET, and start a new session. The key may be a secret instead: net.set_secret(''service_role_key'', ...).';
        END IF;
        -- Two callers at the same time would each not see the jobs of the other.
        PERFORM pg_advisory_xact_lock('integration_sync_jobs'::regclass::oid::bigint);
        WITH due AS MATERIALIZED (
            SELECT c.id AS connection_id, gen_random_uuid() AS sync_job_id
              FROM integration_connections c
             WHERE c.status::text = 'active'
               AND c.tenant_id IN (SELECT s.tenant_id FROM tenant_subscriptions s
                                    WHERE s.status::text IN ('active', 'trialing')
                                      AND (s.plan::text = 'premium' OR NOT premium_only))
               AND NOT EXISTS (SELECT FROM integration_sync_jobs j
                                WHERE j.connection_id = c.id
                                  AND j.status::text IN ('queued', 'dispatched')
                                  AND j.created_at > now() - interval '6 hours')
             -- Neighbours in the index are neighbours in time.
             ORDER BY c.id
        )
        INSERT INTO integration_sync_jobs
               (id, connection_id, status, request_id, attempts, created_at)
        SELECT due.sync_job_id, due.connection_id, 'queued',
               net.http_request(
                   method => 'POST',
                   url => rtrim(url, '/') || '/trigger-sync',
                   headers => headers,
                   body => convert_to(format('{"connection_id": "%s", "sync_job_id": "%s"}',
                                             due.connection_id, due.sync_job_id), 'UTF8'),
                   timeout_milliseconds => 10000,
                   max_attempts => 5,
                   retry => 'idempotent',
                   idempotency_key => due.sync_job_id::text,
                   on_response => 'fn_on_sync_response(net._http_response)'::regprocedure,
                   store_response => 'status'),
               0, now()
          FROM due;
    END
    $fn$;
    COMMENT ON FUNCTION fn_queue_sync(boolean) IS 'Asks the edge function to sync each active connection of the active tenants, or of those whose plan is premium.';

    -- The edge function may have reported the completion before this: only a queued job changes.
    CREATE OR REPLACE FUNCTION fn_on_sync_response(response net._http_response) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    BEGIN
        IF response.status_code BETWEEN 200 AND 299 THEN
            UPDATE integration_sync_jobs j
               SET status = 'dispatched', dispatched_at = response.created,
                   attempts = response.attempts, error = NULL
             WHERE j.id = response.idempotency_key::uuid AND j.status::text = 'queued';
        ELSE
            UPDATE integration_sync_jobs j
               SET status = 'failed', attempts = response.attempts,
                   error = coalesce(response.error_msg, 'HTTP status ' || response.status_code,
                                    response.state)
             WHERE j.id = response.idempotency_key::uuid AND j.status::text = 'queued';
        END IF;
    END
    $fn$;
    COMMENT ON FUNCTION fn_on_sync_response(net._http_response) IS 'Called with the answer of the edge function: the sync job is dispatched, or has failed.';

    CREATE OR REPLACE FUNCTION fn_trigger_nightly_sync() RETURNS void
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$ SELECT fn_queue_sync(premium_only => false) $fn$;
    COMMENT ON FUNCTION fn_trigger_nightly_sync() IS 'Asks for a sync of each active connection of the active tenants.';

    CREATE OR REPLACE FUNCTION fn_trigger_frequent_sync() RETURNS void
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$ SELECT fn_queue_sync(premium_only => true) $fn$;
    COMMENT ON FUNCTION fn_trigger_frequent_sync() IS 'Asks for a sync of each active connection of the active tenants whose plan is premium.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_sync() IS 'The part of install() that makes the sync functions, in the first schema of search_path.';
-- ==== schema securatlas: the token refresh that install() makes ==============================

-- A refresh is one request. Its idempotency key, token_refresh/<connection>/<attempt>, is all that
-- the answer's function needs to know. A provider that rotates refresh tokens takes each of them
-- once: a connection must never have two refreshes under way.

CREATE FUNCTION securatlas._create_token_request() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- Not with row_security off, as the other functions: on these tables it is in order that a role
    -- sees its own requests only.
    CREATE OR REPLACE FUNCTION fn_refreshes_under_way() RETURNS SETOF uuid
        LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
        SET search_path FROM CURRENT
        SET row_security = on
    AS $fn$
        SELECT split_part(q.idempotency_key, '/', 2)::uuid FROM net.http_request_queue q
         WHERE q.created_by = quote_ident(current_user)::regrole
           AND q.idempotency_key ~ '^token_refresh/[0-9a-f-]{36}/\d+$'
        UNION ALL
        SELECT split_part(r.idempotency_key, '/', 2)::uuid FROM net._http_response r
         WHERE r.callback_state = 'waiting' AND r.created_by = quote_ident(current_user)::regrole
           AND r.idempotency_key ~ '^token_refresh/[0-9a-f-]{36}/\d+$'
    $fn$;
    COMMENT ON FUNCTION fn_refreshes_under_way() IS 'Connections with a token refresh that is to be sent, is being sent, or whose answer is to be worked on.';

    -- {{secret:name}} is replaced when the request is sent: no secret is read or stored here. What
    -- cannot be a request, such as an endpoint that is no URL, is no reason to leave out others.
    CREATE OR REPLACE FUNCTION fn_request_tokens(connection_id uuid, attempt int) RETURNS text
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        facts record;
    BEGIN
        SELECT c.refresh_token_name, p.id AS provider_id, p.key, p.token_endpoint, p.client_id,
               p.client_secret_name
          INTO facts
          FROM integration_connections c
          LEFT JOIN integration_providers p ON p.id = c.provider_id
         WHERE c.id = connection_id;
        IF facts.provider_id IS NULL THEN
            RETURN 'token refresh: the provider does not exist';
        ELSIF coalesce(facts.token_endpoint, '') = '' THEN
            RETURN format('token refresh: provider %s has no token endpoint', facts.key);
        ELSIF facts.refresh_token_name IS NULL THEN
            RETURN 'token refresh: the connection has no refresh token';
        END IF;
        PERFORM net.http_post_form(
                    url => facts.token_endpoint,
                    form => jsonb_strip_nulls(jsonb_build_object(
                        'grant_type', 'refresh_token',
                        'refresh_token', '{{secret:' || facts.refresh_token_name || '}}',
                        'client_id', facts.client_id,
                        'client_secret', '{{secret:' || facts.client_secret_name || '}}')),
                    headers => '{"Accept": "application/json"}',
                    timeout_milliseconds => 30000,
                    max_attempts => 1,
                    retry => 'never',
                    idempotency_key => format('token_refresh/%s/%s', connection_id, attempt),
                    not_before => CASE WHEN attempt > 1 THEN
                        now() + interval '1 minute' * 4 ^ (attempt - 2) END,
                    on_response => 'fn_on_token_response(net._http_response)'::regprocedure,
                    store_response => 'sealed');
        RETURN NULL;
    EXCEPTION WHEN data_exception OR undefined_object OR insufficient_privilege THEN
        RETURN 'token refresh: ' || sqlerrm;
    END
    $fn$;
    COMMENT ON FUNCTION fn_request_tokens(uuid, int) IS 'Asks the provider of a connection for new tokens; the second attempt waits a minute, each later one four times as long. Returns why it cannot be asked, or NULL.';

    CREATE OR REPLACE FUNCTION fn_refresh_expiring_tokens(within interval DEFAULT '7 hours')
        RETURNS void LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    BEGIN
        -- Two callers at the same time would each not see the requests of the other.
        PERFORM pg_advisory_xact_lock('integration_connections'::regclass::oid::bigint);
        WITH due AS MATERIALIZED (
            SELECT c.id
              FROM integration_connections c
             WHERE c.status::text = 'active' AND c.auth_type::text = 'oauth'
               AND c.token_expires_at < now() + within
               AND c.id NOT IN (SELECT other FROM fn_refreshes_under_way() AS other)
             ORDER BY c.token_expires_at
        ), asked AS MATERIALIZED (
            SELECT due.id, fn_request_tokens(due.id, 1) AS reason FROM due
        )
        UPDATE integration_connections c SET last_error = asked.reason
          FROM asked
         WHERE c.id = asked.id AND asked.reason IS NOT NULL;
    END
    $fn$;
    COMMENT ON FUNCTION fn_refresh_expiring_tokens(interval) IS 'Asks for new tokens for each active OAuth connection whose token expires within that time.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_token_request() IS 'The part of install() that makes the functions that ask for tokens, in the first schema of search_path.';

CREATE FUNCTION securatlas._token_answer(
    content text, OUT access_token text, OUT refresh_token text, OUT lifetime interval,
    OUT error text
) RETURNS record LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    answer jsonb;
    seconds numeric;
BEGIN
    BEGIN
        answer := content::jsonb;
    EXCEPTION WHEN data_exception OR statement_too_complex OR program_limit_exceeded THEN
        answer := NULL;
    END;
    IF jsonb_typeof(answer) IS DISTINCT FROM 'object' THEN
        error := 'no JSON object';
        RETURN;
    END IF;
    -- A token may stand where the error is meant to be: only known words are repeated.
    error := CASE WHEN answer ->> 'error' IN (
        'invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client',
        'unsupported_grant_type', 'invalid_scope', 'access_denied', 'server_error',
        'temporarily_unavailable', 'slow_down', 'interaction_required', 'login_required',
        'consent_required') THEN answer ->> 'error'
        WHEN answer ? 'error' THEN 'an unknown error' END;
    IF jsonb_typeof(answer -> 'access_token') = 'string' THEN
        access_token := nullif(answer ->> 'access_token', '');
    END IF;
    IF jsonb_typeof(answer -> 'refresh_token') = 'string' THEN
        refresh_token := nullif(answer ->> 'refresh_token', '');
    END IF;
    -- Some providers send it as a string. Ten years are as good as for ever.
    IF answer ->> 'expires_in' ~ '^\d{1,18}(\.\d{1,9})?$' THEN
        seconds := least((answer ->> 'expires_in')::numeric, 315360000);
    END IF;
    lifetime := make_interval(secs => coalesce(nullif(seconds, 0), 3600)::float8);
    IF access_token IS NULL AND error IS NULL THEN
        error := 'no access token';
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas._token_answer(text) IS 'What a token endpoint has answered. Without expires_in a token lives an hour. The error holds no part of the answer but well-known words.';

CREATE FUNCTION securatlas._create_token_response() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- Called again after a crash, it does the same once more: the response is the record of it.
    CREATE OR REPLACE FUNCTION fn_on_token_response(response net._http_response) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    DECLARE
        max_attempts CONSTANT int := 5;
        connection integration_connections;
        attempt CONSTANT int := split_part(response.idempotency_key, '/', 3)::int;
        answer record;
        reason text;
    BEGIN
        SELECT c.* INTO connection FROM integration_connections c
         WHERE c.id = split_part(response.idempotency_key, '/', 2)::uuid FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        answer := securatlas._token_answer(response.content);
        IF response.status_code = 200 AND answer.access_token IS NOT NULL THEN
            PERFORM net.set_secret(
                coalesce(connection.access_token_name,
                         format('connection/%s/access_token', connection.id)),
                answer.access_token);
            IF answer.refresh_token IS NOT NULL THEN
                PERFORM net.set_secret(connection.refresh_token_name, answer.refresh_token);
            END IF;
            UPDATE integration_connections c
               SET token_expires_at = response.created + answer.lifetime, last_error = NULL,
                   access_token_name = coalesce(c.access_token_name,
                                                format('connection/%s/access_token', c.id))
             WHERE c.id = connection.id;
            RETURN;
        END IF;
        IF answer.error = 'invalid_grant' AND response.status_code BETWEEN 400 AND 499 THEN
            UPDATE integration_connections c
               SET status = 'reauth_required',
                   last_error = 'token refresh: the provider does not accept the refresh token any more (invalid_grant)'
             WHERE c.id = connection.id AND c.status::text IN ('active', 'error');
            RETURN;
        END IF;
        reason := coalesce(
            response.error_msg,
            format('the provider answered %s, %s', response.status_code,
                   coalesce(answer.error, 'no error')),
            response.state);
        UPDATE integration_connections c
           SET last_error = format('token refresh, attempt %s of %s: %s', attempt, max_attempts, reason)
         WHERE c.id = connection.id;
        IF attempt < max_attempts AND connection.status::text = 'active' THEN
            reason := fn_request_tokens(connection.id, attempt + 1);
            UPDATE integration_connections c SET last_error = reason
             WHERE c.id = connection.id AND reason IS NOT NULL;
        END IF;
    END
    $fn$;
    COMMENT ON FUNCTION fn_on_token_response(net._http_response) IS 'Called with the answer of a token endpoint: stores the tokens as secrets, or why there are none, and asks again if that may help.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_token_response() IS 'The part of install() that makes the function that takes the tokens, in the first schema of search_path.';
-- ==== schema securatlas: install and uninstall ===============================================

CREATE FUNCTION securatlas._functions(OUT ordinal int, OUT signature text, OUT result text)
    RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
    (1, 'fn_recompute_all_tenant_risk_scores()', 'bigint'),
    (2, 'fn_recompute_tenant_risk_score(uuid)', 'integer'),
    (3, 'fn_write_risk_snapshots(uuid, text)', 'SETOF integer'),
    (4, 'fn_warn_of_bad_rows(uuid)', 'void'),
    (5, 'fn_trigger_nightly_sync()', 'void'),
    (6, 'fn_trigger_frequent_sync()', 'void'),
    (7, 'fn_queue_sync(boolean)', 'void'),
    (8, 'fn_on_sync_response(net._http_response)', 'void'),
    (9, 'fn_refresh_expiring_tokens(interval)', 'void'),
    (10, 'fn_refreshes_under_way()', 'SETOF uuid'),
    (11, 'fn_request_tokens(uuid, integer)', 'text'),
    (12, 'fn_on_token_response(net._http_response)', 'void')
$fn$;
COMMENT ON FUNCTION securatlas._functions() IS 'The functions that install() makes in the target schema.';

CREATE FUNCTION securatlas._views(OUT name text, OUT columns text[]) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
    ('v_framework_readiness', '{tenant_id,framework_id,readiness}'::text[]),
    ('v_risk_trend', '{tenant_id,risk_score_1_100,level,change,change_7_days,change_30_days,computed_at,snapshot_type}')
$fn$;
COMMENT ON FUNCTION securatlas._views() IS 'The views that install() makes in the target schema.';

-- In schema public, which is in everybody's search_path, the commands stay as short as they are
-- known.
CREATE FUNCTION securatlas._jobs(
    target_schema regnamespace, OUT name text, OUT schedule text, OUT command text,
    OUT optional boolean
) RETURNS SETOF record LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT j.name, j.schedule,
           format('SELECT %s%s()',
                  CASE WHEN target_schema::text <> 'public' THEN target_schema || '.' END,
                  j.function),
           j.optional
      FROM (VALUES
        ('nightly_risk_recompute', '0 2 * * *', 'fn_recompute_all_tenant_risk_scores', false),
        ('securatlas_nightly_integration_sync', '0 3 * * *', 'fn_trigger_nightly_sync', false),
        ('token_refresh_cron', '0 */6 * * *', 'fn_refresh_expiring_tokens', false),
        ('frequent_integration_sync', '0 */6 * * *', 'fn_trigger_nightly_sync', true)
      ) AS j (name, schedule, function, optional)
$fn$;
COMMENT ON FUNCTION securatlas._jobs(regnamespace) IS 'The jobs for a schema; install() schedules those that are not optional.';

CREATE FUNCTION securatlas.install(
    target_schema regnamespace DEFAULT 'public', schedule_jobs boolean DEFAULT true
) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $fn$
DECLARE
    before oid[];
    made record;
BEGIN
    PERFORM securatlas._check_schema(target_schema);
    before := ARRAY(SELECT p.oid FROM pg_proc p WHERE p.pronamespace = target_schema);
    -- A regnamespace prints as a quoted identifier. The old path is back when this function ends.
    PERFORM set_config('search_path', target_schema || ', pg_temp', true);
    PERFORM securatlas._create_tables(target_schema);
    PERFORM securatlas._create_risk_views();
    PERFORM securatlas._create_bad_row_check();
    PERFORM securatlas._create_recompute();
    PERFORM securatlas._create_sync();
    PERFORM securatlas._create_token_request();
    PERFORM securatlas._create_token_response();
    -- Default privileges may grant more than what PUBLIC gets. What was granted since an earlier
    -- install() stays.
    FOR made IN
        SELECT p.oid::regprocedure AS function,
               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role
          FROM securatlas._functions() AS f
          JOIN pg_proc p ON p.oid = to_regprocedure(format('%s.%s', target_schema, f.signature))
         CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
         WHERE p.oid <> ALL (before) AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', made.function, made.role);
    END LOOP;
    IF schedule_jobs THEN
        PERFORM cron.schedule(j.name, j.schedule, j.command)
           FROM securatlas._jobs(target_schema) AS j WHERE NOT j.optional;
        PERFORM cron.configure_job(job_name => j.name, timezone => 'UTC')
           FROM securatlas._jobs(target_schema) AS j WHERE NOT j.optional;
        PERFORM cron.run_after('securatlas_nightly_integration_sync', 'nightly_risk_recompute');
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas.install(regnamespace, boolean) IS 'Makes the tables, view and functions of the SecurAtlas jobs in a schema, owned by the caller, and schedules the jobs. May be run again.';

CREATE FUNCTION securatlas.uninstall(target_schema regnamespace DEFAULT 'public') RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $fn$
DECLARE
    signature text;
BEGIN
    -- A job that calls the functions of another schema was scheduled by a later install() there.
    PERFORM cron.unschedule(j.jobid)
       FROM cron.job j
      WHERE j.username = current_user
        AND j.jobname IN (SELECT own.name FROM securatlas._jobs(target_schema) AS own)
        AND NOT EXISTS (SELECT FROM pg_namespace n, securatlas._jobs(n.oid::regnamespace) AS other
                         WHERE n.oid <> target_schema AND other.command = j.command);
    FOR signature IN SELECT f.signature FROM securatlas._functions() AS f ORDER BY f.ordinal LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %s.%s', target_schema, signature);
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION securatlas.uninstall(regnamespace) IS 'Removes the jobs and functions that install() made in a schema, never a table.';
-- ==== schema securatlas: demo data ===========================================================

-- Every value of the demo is a function of the seed and of the row's place in it, never of the
-- order in which a plan visits rows.
CREATE FUNCTION securatlas._demo_id(seed int, kind text, item text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.md5(seed::text || '/' || kind || '/' || item)::uuid;
COMMENT ON FUNCTION securatlas._demo_id(int, text, text) IS 'The id of a row of the demo.';

CREATE FUNCTION securatlas._demo_draw(seed int, kind text, item text) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || pg_catalog.substr(pg_catalog.md5(seed::text || '/' || kind || '/' || item), 1, 8))
       ::bit(32)::bigint / 4294967296.0::float8;
COMMENT ON FUNCTION securatlas._demo_draw(int, text, text) IS 'A number of the demo, from 0 to below 1.';

CREATE FUNCTION securatlas._demo_tenants(
    tenants int, seed int, OUT index int, OUT id uuid, OUT quality float8
) RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT i, securatlas._demo_id(seed, 'tenant', i::text),
           securatlas._demo_draw(seed, 'quality', i::text)
      FROM generate_series(1, tenants) AS i
$fn$;
COMMENT ON FUNCTION securatlas._demo_tenants(int, int) IS 'The tenants of the demo; quality says how good their posture tends to be, 0 to 1.';

CREATE FUNCTION securatlas._load_demo_catalogue() RETURNS void LANGUAGE plpgsql
AS $fn$
BEGIN
    INSERT INTO unified_controls (id, control_key, title, category, severity)
    SELECT securatlas._demo_id(0, 'control', c.key), c.key, c.title, c.category,
           1 + floor(5 * securatlas._demo_draw(0, 'severity', c.key))::int
      FROM (SELECT g.prefix || '-' || t.n AS key, t.title, g.category
              FROM (VALUES
                ('AC', 'Access Control', ARRAY['Account management', 'Least privilege',
                    'Multi-factor authentication', 'Session lock', 'Remote access']),
                ('DP', 'Data Protection', ARRAY['Encryption at rest', 'Encryption in transit',
                    'Data classification', 'Key management', 'Retention and disposal']),
                ('IR', 'Incident Response', ARRAY['Response plan', 'Incident reporting',
                    'Response exercises', 'Forensic readiness', 'Lessons learned']),
                ('AU', 'Audit & Logging', ARRAY['Event logging', 'Log protection', 'Log review',
                    'Time synchronisation', 'Log retention']),
                ('CM', 'Change Management', ARRAY['Baseline configuration', 'Change approval',
                    'Release separation', 'Code review', 'Asset inventory']),
                ('NS', 'Network Security', ARRAY['Segmentation', 'Boundary protection',
                    'Intrusion detection', 'Wireless security', 'Name service protection']),
                ('BC', 'Business Continuity', ARRAY['Backups', 'Restore tests', 'Recovery plan',
                    'Redundancy', 'Crisis communication']),
                ('VM', 'Vendor Management', ARRAY['Vendor inventory', 'Vendor assessment',
                    'Contract clauses', 'Vendor monitoring', 'Vendor exit'])
              ) AS g (prefix, category, titles)
             CROSS JOIN unnest(g.titles) WITH ORDINALITY AS t (title, n)) AS c
    ON CONFLICT DO NOTHING;
    INSERT INTO compliance_frameworks (id, key, name)
    SELECT securatlas._demo_id(0, 'framework', f.key), f.key, f.name
      FROM (VALUES ('soc2', 'SOC 2'), ('iso27001', 'ISO/IEC 27001'), ('nist_csf', 'NIST CSF'),
                   ('hipaa', 'HIPAA'), ('pci_dss', 'PCI DSS')) AS f (key, name)
    ON CONFLICT DO NOTHING;
    INSERT INTO framework_requirements (id, framework_id, requirement_key)
    SELECT securatlas._demo_id(0, 'requirement', f.key || n), f.id, 'R-' || n
      FROM compliance_frameworks f CROSS JOIN generate_series(1, 20) AS n
     WHERE f.id = securatlas._demo_id(0, 'framework', f.key)
    ON CONFLICT DO NOTHING;
    INSERT INTO control_framework_map (control_id, requirement_id)
    SELECT pick.control_id, pick.requirement_id
      FROM (SELECT u.id AS control_id, r.id AS requirement_id,
                   row_number() OVER (PARTITION BY r.id ORDER BY
                       securatlas._demo_draw(0, 'map', r.id || u.control_key), u.id) AS position
              FROM framework_requirements r
              JOIN compliance_frameworks f
                ON f.id = r.framework_id AND f.id = securatlas._demo_id(0, 'framework', f.key)
             CROSS JOIN unified_controls u
             WHERE u.id = securatlas._demo_id(0, 'control', u.control_key)) AS pick
     WHERE pick.position
           <= 1 + floor(3 * securatlas._demo_draw(0, 'breadth', pick.requirement_id::text))
    ON CONFLICT DO NOTHING;
    -- Hosts below .invalid do not exist: no demo connection ever reaches a provider.
    INSERT INTO integration_providers (id, key, token_endpoint, client_id, client_secret_name)
    SELECT securatlas._demo_id(0, 'provider', p.key), p.key,
           CASE WHEN p.oauth THEN 'https://' || replace(p.key, '_', '-') || '.invalid/token' END,
           CASE WHEN p.oauth THEN 'demo-client' END,
           CASE WHEN p.oauth THEN 'demo_' || p.key || '_client_secret' END
      FROM (VALUES ('azure_ad', true), ('google_workspace', true), ('okta', true),
                   ('github', true), ('aws', false)) AS p (key, oauth)
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_catalogue() IS 'The part of load_demo() that is the same for all tenants.';

CREATE FUNCTION securatlas._load_demo_tenants(demo_tenants int, demo_seed int) RETURNS void
    LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
BEGIN
    INSERT INTO tenants (id, name, industry, annual_revenue, created_at)
    SELECT d.id,
           format('%s %s %s',
                  ('{Alder,Birch,Cedar,Dogwood,Elm,Fir,Hazel,Juniper,Larch,Maple}'::text[])
                      [1 + d.index % 10],
                  ('{Analytics,Bank,Care,Freight,Labs,Energy,Works}'::text[])
                      [1 + floor(7 * securatlas._demo_draw(demo_seed, 'name', d.index::text))::int],
                  d.index),
           ('{healthcare,financial_services,technology,energy,manufacturing,retail,education,public_sector,agriculture,NULL}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'industry', d.index::text))::int],
           CASE WHEN securatlas._demo_draw(demo_seed, 'private', d.index::text) >= 0.1 THEN
               round((1e6 * 1000 ^ securatlas._demo_draw(demo_seed, 'revenue', d.index::text))::numeric, -3)
           END,
           date_trunc('day', now()) - interval '1 day'
               * floor(30 + 1000 * securatlas._demo_draw(demo_seed, 'age', d.index::text))
      FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
    ON CONFLICT DO NOTHING;
    INSERT INTO tenant_subscriptions (tenant_id, plan, status)
    SELECT d.id,
           ('{starter,business,premium}'::text[])
               [1 + floor(3 * securatlas._demo_draw(demo_seed, 'plan', d.index::text))::int],
           ('{active,active,active,active,active,active,active,trialing,past_due,canceled}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'paid', d.index::text))::int]
      FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
     WHERE NOT EXISTS (SELECT FROM tenant_subscriptions s WHERE s.tenant_id = d.id);
    INSERT INTO tenant_framework_selections (tenant_id, framework_id, weight)
    SELECT d.id, f.id,
           1 + floor(3 * securatlas._demo_draw(demo_seed, 'weight', d.index || f.key))
      FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
     CROSS JOIN compliance_frameworks f
     WHERE f.id = securatlas._demo_id(0, 'framework', f.key)
       AND securatlas._demo_draw(demo_seed, 'select', d.index || f.key) < 0.5
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_tenants(int, int) IS 'The part of load_demo() that makes tenants, their subscriptions and frameworks.';

CREATE FUNCTION securatlas._load_demo_posture(demo_tenants int, demo_seed int) RETURNS void
    LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
BEGIN
    INSERT INTO tenant_controls (tenant_id, control_id, status, maturity)
    SELECT c.tenant_id, c.control_id,
           CASE WHEN c.luck >= 0.93 THEN 'not_applicable'
                WHEN c.maturity = 0 THEN 'not_started'
                WHEN c.maturity <= 2 THEN 'in_progress'
                ELSE 'implemented' END,
           c.maturity
      FROM (SELECT d.id AS tenant_id, u.id AS control_id, draw.luck,
                   floor(greatest(0, least(5, 4.5 * d.quality + 3.5 * draw.luck - 0.5)))::int
                       AS maturity
              FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
             CROSS JOIN unified_controls u
             CROSS JOIN LATERAL (SELECT securatlas._demo_draw(
                                    demo_seed, 'control', d.index || u.control_key) AS luck
                                 OFFSET 0) AS draw
             WHERE u.id = securatlas._demo_id(0, 'control', u.control_key)) AS c
    ON CONFLICT DO NOTHING;

    WITH evidence AS MATERIALIZED (
        SELECT securatlas._demo_id(demo_seed, 'evidence', place.item) AS id,
               d.id AS tenant_id, u.id AS control_id, place.item
          FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
         CROSS JOIN unified_controls u
         CROSS JOIN generate_series(1, 2) AS n
         CROSS JOIN LATERAL (SELECT d.index || u.control_key || '/' || n AS item) AS place
         WHERE u.id = securatlas._demo_id(0, 'control', u.control_key)
           AND securatlas._demo_draw(demo_seed, 'proof', place.item) < 0.1 + 0.5 * d.quality
    ), item AS (
        INSERT INTO tenant_evidence_items (id, tenant_id, status, expires_at)
        SELECT e.id, e.tenant_id,
               ('{accepted,accepted,accepted,accepted,accepted,accepted,accepted,pending,pending,rejected}'::text[])
                   [1 + floor(10 * securatlas._demo_draw(demo_seed, 'review', e.item))::int],
               CASE WHEN securatlas._demo_draw(demo_seed, 'forever', e.item) >= 0.2 THEN
                   date_trunc('day', now()) + interval '1 day'
                       * (1.5 + floor(300 * securatlas._demo_draw(demo_seed, 'expiry', e.item) - 50))
               END
          FROM evidence e
        ON CONFLICT DO NOTHING
    )
    INSERT INTO control_evidence_links (evidence_item_id, control_id)
    SELECT e.id, e.control_id FROM evidence e
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_posture(int, int) IS 'The part of load_demo() that makes the state of the controls, and evidence.';

CREATE FUNCTION securatlas._load_demo_integrations(demo_tenants int, demo_seed int) RETURNS void
    LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
BEGIN
    INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type,
                                         access_token_name, refresh_token_name, token_expires_at)
    SELECT c.id, c.tenant_id, c.provider_id,
           ('{active,active,active,active,active,active,pending,error,reauth_required,disabled}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'state', c.item))::int],
           CASE WHEN c.oauth THEN 'oauth' ELSE 'api_key' END,
           'demo_access_' || c.id,
           CASE WHEN c.oauth THEN 'demo_refresh_' || c.id END,
           CASE WHEN c.oauth THEN date_trunc('hour', now()) + interval '1 hour'
               * (1 + floor(72 * securatlas._demo_draw(demo_seed, 'token', c.item))) END
      FROM (SELECT securatlas._demo_id(demo_seed, 'connection', d.index || p.key) AS id,
                   d.id AS tenant_id, p.id AS provider_id, d.index || p.key AS item,
                   p.token_endpoint IS NOT NULL AS oauth
              FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
             CROSS JOIN integration_providers p
             WHERE p.id = securatlas._demo_id(0, 'provider', p.key)
               AND securatlas._demo_draw(demo_seed, 'connect', d.index || p.key) < 0.5) AS c
    ON CONFLICT DO NOTHING;

    INSERT INTO integration_findings (id, connection_id, tenant_id, severity, status)
    SELECT securatlas._demo_id(demo_seed, 'finding', f.item), f.connection_id, f.tenant_id,
           ('{critical,high,high,medium,medium,medium,low,low,low,low}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'severity', f.item))::int],
           ('{open,open,open,resolved,suppressed}'::text[])
               [1 + floor(5 * securatlas._demo_draw(demo_seed, 'fixed', f.item))::int]
      FROM (SELECT c.id AS connection_id, c.tenant_id, c.id || '/' || n AS item
              FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
              JOIN integration_connections c ON c.tenant_id = d.id
             CROSS JOIN LATERAL generate_series(1, floor(12 * (1 - d.quality)
                 * securatlas._demo_draw(demo_seed, 'findings', c.id::text))::int) AS n) AS f
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_integrations(int, int) IS 'The part of load_demo() that makes connections and findings.';

CREATE FUNCTION securatlas.load_demo(
    tenants int DEFAULT 100, seed int DEFAULT 1, target_schema regnamespace DEFAULT 'public'
) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    absent text;
BEGIN
    IF tenants IS NULL OR tenants < 1 OR seed IS NULL THEN
        RAISE EXCEPTION 'load_demo() needs a positive number of tenants and a seed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT string_agg(t.name, ', ' ORDER BY t.ordinal) INTO absent
      FROM securatlas._tables() AS t
     WHERE NOT EXISTS (SELECT FROM pg_class c
                        WHERE c.relname = t.name AND c.relnamespace = target_schema);
    IF absent IS NOT NULL THEN
        RAISE EXCEPTION 'schema % lacks tables of the SecurAtlas jobs', target_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('Tables: %s.', absent),
                  HINT = 'Run securatlas.install() first.';
    END IF;
    PERFORM set_config('search_path', target_schema || ', pg_temp', true);
    PERFORM securatlas._load_demo_catalogue();
    PERFORM securatlas._load_demo_tenants(tenants, seed);
    PERFORM securatlas._load_demo_posture(tenants, seed);
    PERFORM securatlas._load_demo_integrations(tenants, seed);
END
$fn$;
COMMENT ON FUNCTION securatlas.load_demo(int, int, regnamespace) IS 'Fills the tables with plausible tenants, the same for the same seed; times are relative to the day of the call.';
