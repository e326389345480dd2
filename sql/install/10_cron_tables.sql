-- ==== schema cron: tables ====================================================================

--- only when installed
CREATE SEQUENCE cron.jobid_seq;
CREATE SEQUENCE cron.runid_seq;
--- also when updated
COMMENT ON SEQUENCE cron.jobid_seq IS 'Numbers of jobs.';
COMMENT ON SEQUENCE cron.runid_seq IS 'Numbers of runs.';

--- only when installed
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
    roleid          oid,
    replicated      boolean NOT NULL DEFAULT false,
    UNIQUE (jobname, roleid)
);
--- also when updated
COMMENT ON TABLE cron.job IS 'One row a job. Use cron.schedule() and the functions beside it to change it.';
COMMENT ON COLUMN cron.job.jobid IS 'Number of the job.';
COMMENT ON COLUMN cron.job.schedule IS 'When the job runs; see cron.explain_schedule().';
COMMENT ON COLUMN cron.job.command IS 'SQL that each run executes.';
COMMENT ON COLUMN cron.job.nodename IS 'Kept for compatibility; jobs run inside this server.';
COMMENT ON COLUMN cron.job.nodeport IS 'Kept for compatibility; jobs run inside this server.';
COMMENT ON COLUMN cron.job.database IS 'Database that the command runs in.';
COMMENT ON COLUMN cron.job.username IS 'Name of the role that the command runs as; it follows the role when that is renamed.';
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
COMMENT ON COLUMN cron.job.roleid IS 'The role that the command runs as, which username names; NULL: there is none. Found by the name when the row is written, so that a dump can be restored where the role has another number.';
COMMENT ON COLUMN cron.job.replicated IS 'True: the row came by replication, and the job does not run here before cron.take_over().';

--- only when installed
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
    roleid          oid GENERATED ALWAYS AS (cron._role_named(username)) STORED,
    UNIQUE (jobid, scheduled_at, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX job_run_details_start_time_idx ON cron.job_run_details (start_time);
CREATE INDEX job_run_details_unfinished_idx ON cron.job_run_details (runid)
    WHERE status IN ('starting', 'running');
--- also when updated
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
COMMENT ON COLUMN cron.job_run_details.roleid IS 'The role that was named so when the row was made: it, and not a later one of that name, sees the run.';

--- only when installed
CREATE TABLE cron.job_dependency (
    jobid           bigint NOT NULL,
    after_jobid     bigint NOT NULL CHECK (after_jobid <> jobid),
    condition       text NOT NULL DEFAULT 'finished' CHECK (condition IN ('finished', 'succeeded')),
    PRIMARY KEY (jobid, after_jobid)
);
--- also when updated
COMMENT ON TABLE cron.job_dependency IS 'Order between jobs; see cron.run_after().';
COMMENT ON COLUMN cron.job_dependency.jobid IS 'The job that waits.';
COMMENT ON COLUMN cron.job_dependency.after_jobid IS 'The job that it waits for.';
COMMENT ON COLUMN cron.job_dependency.condition IS 'finished, or succeeded.';

-- No key: a dump that is restored brings the row of the database it was made of, beside the row
-- that the scheduler has made here already.
--- only when installed
CREATE TABLE cron.scheduler_state (
    planned_until       timestamptz NOT NULL,
    database_oid        oid NOT NULL,
    database_name       text NOT NULL,
    system_identifier   bigint NOT NULL
) WITH (fillfactor = 10);
--- also when updated
-- So that a publication for all tables does not refuse the scheduler's updates.
ALTER TABLE cron.scheduler_state REPLICA IDENTITY FULL;
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

ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_see ON cron.job FOR SELECT USING (cron._may_see(roleid));
CREATE POLICY job_insert ON cron.job FOR INSERT WITH CHECK (cron._may_manage(roleid));
CREATE POLICY job_update ON cron.job FOR UPDATE USING (cron._may_manage(roleid));
CREATE POLICY job_delete ON cron.job FOR DELETE USING (cron._may_manage(roleid));
ALTER TABLE cron.job_run_details ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_see ON cron.job_run_details FOR SELECT USING (cron._may_see(roleid));
CREATE POLICY run_delete ON cron.job_run_details FOR DELETE USING (cron._may_manage(roleid));
--- only when installed
ALTER TABLE cron.job_dependency ENABLE ROW LEVEL SECURITY;
CREATE POLICY dependency_see ON cron.job_dependency FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid = job_dependency.jobid));
GRANT SELECT ON cron.job TO PUBLIC;
GRANT SELECT, DELETE ON cron.job_run_details TO PUBLIC;
GRANT SELECT ON cron.job_dependency, cron.scheduler_state TO PUBLIC;
-- pg_dump reads them.
GRANT SELECT ON SEQUENCE cron.jobid_seq, cron.runid_seq TO PUBLIC;
--- also when updated

-- ==== changes reach the scheduler at commit ==================================================

CREATE FUNCTION cron._job_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_job_check';
COMMENT ON FUNCTION cron._job_check() IS 'Refuses a job whose schedule or time zone is not valid, and finds its role; what is restored or replicated is paused with a note instead.';
CREATE FUNCTION cron._job_changed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_job_changed';
COMMENT ON FUNCTION cron._job_changed() IS 'Tells the scheduler, at commit, which jobs have changed.';
CREATE FUNCTION cron._state_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_state_check';
COMMENT ON FUNCTION cron._state_check() IS 'Lets nobody but the owner of the extension write, and keeps out what another server has planned.';

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
CREATE TRIGGER state_check BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON cron.scheduler_state
    FOR EACH STATEMENT EXECUTE FUNCTION cron._state_check();
CREATE TRIGGER state_replicated BEFORE INSERT ON cron.scheduler_state
    FOR EACH ROW EXECUTE FUNCTION cron._state_check();
-- A dump that is restored brings the row of its origin. Not fired by the scheduler's own row.
CREATE TRIGGER state_restored AFTER INSERT ON cron.scheduler_state
    FOR EACH STATEMENT EXECUTE FUNCTION cron._job_changed();

-- All but the last one fire for whoever writes: replication, and sessions that restore or replicate
-- with session_replication_role = replica. ALTER TABLE ... ENABLE TRIGGER, which
-- pg_restore --disable-triggers ends with, takes that from them, and is followed by this function.
CREATE FUNCTION cron._arm_triggers(of_table regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name;
BEGIN
    FOR name IN
        SELECT t.tgname FROM pg_trigger t
         WHERE t.tgrelid = of_table AND t.tgenabled IN ('O', 'R')
           AND t.tgname IN ('job_check', 'job_changed', 'job_truncated', 'dependency_changed',
                            'dependency_truncated', 'state_check', 'state_replicated',
                            'request_replicated', 'response_replicated')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', of_table, name);
    END LOOP;
END $$;
COMMENT ON FUNCTION cron._arm_triggers(regclass) IS 'Makes the triggers of a table of the extension fire whoever writes, where they are enabled.';
REVOKE ALL ON FUNCTION cron._arm_triggers(regclass) FROM PUBLIC;
SELECT cron._arm_triggers('cron.job');
SELECT cron._arm_triggers('cron.job_dependency');
SELECT cron._arm_triggers('cron.scheduler_state');
