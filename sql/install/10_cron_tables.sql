-- ==== schema cron: tables ====================================================================

--- only when installed
CREATE SEQUENCE cron.jobid_seq;
CREATE SEQUENCE cron.runid_seq;
--- also when updated
COMMENT ON SEQUENCE cron.jobid_seq IS 'Source of jobid.';
COMMENT ON SEQUENCE cron.runid_seq IS 'Source of runid.';

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
    priority        int NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    UNIQUE (jobname, roleid)
);
--- also when updated
COMMENT ON TABLE cron.job IS 'One row for each job. Change it with cron.schedule() and the other functions of this schema.';
COMMENT ON COLUMN cron.job.jobid IS 'Id of the job.';
COMMENT ON COLUMN cron.job.schedule IS 'When the job runs; see cron.explain_schedule().';
COMMENT ON COLUMN cron.job.command IS 'The SQL that each run executes.';
COMMENT ON COLUMN cron.job.nodename IS 'Kept for compatibility; jobs run inside this server.';
COMMENT ON COLUMN cron.job.nodeport IS 'Kept for compatibility; jobs run inside this server.';
COMMENT ON COLUMN cron.job.database IS 'Database that the command runs in.';
COMMENT ON COLUMN cron.job.username IS 'Name of the role that the command runs as; updated when the role is renamed.';
COMMENT ON COLUMN cron.job.active IS 'False: the schedule is paused.';
COMMENT ON COLUMN cron.job.jobname IS 'Name of the job, unique for its role.';
COMMENT ON COLUMN cron.job.timezone IS 'Time zone of the schedule; NULL: cron.timezone.';
COMMENT ON COLUMN cron.job.max_runtime IS 'A run that takes longer is cancelled.';
COMMENT ON COLUMN cron.job.max_retries IS 'How often a failed run is tried again.';
COMMENT ON COLUMN cron.job.retry_period IS 'Delay before the first retry; it doubles with each further retry.';
COMMENT ON COLUMN cron.job.overlap_policy IS 'What happens when a run is due before the previous one has finished: buffer_one, buffer_all, skip, cancel_other, allow.';
COMMENT ON COLUMN cron.job.missed IS 'Which missed runs are made up for: skip (none), once (the last), all.';
COMMENT ON COLUMN cron.job.catchup_window IS 'Missed runs older than this are not made up for; NULL: cron.catchup_window.';
COMMENT ON COLUMN cron.job.jitter IS 'Each run is delayed by a random time up to this one.';
COMMENT ON COLUMN cron.job.max_failures IS 'Number of consecutive failures after which the job is paused; NULL: never.';
COMMENT ON COLUMN cron.job.log_runs IS 'Which runs are recorded: all, failures, none.';
COMMENT ON COLUMN cron.job.note IS 'Why the job is paused, or any remark.';
COMMENT ON COLUMN cron.job.planned_from IS 'The job has no occurrences at or before this instant, from which "@every" counts.';
COMMENT ON COLUMN cron.job.roleid IS 'Oid of the role that username names and that the command runs as; NULL: there is none. Looked up by name when the row is written, because a dump may be restored where the role has another oid.';
COMMENT ON COLUMN cron.job.replicated IS 'True: the row was replicated from another server, and the job does not run here until cron.take_over().';
COMMENT ON COLUMN cron.job.priority IS '-100 to 100. Of the runs of a role that wait, those of jobs with a higher one start first; each point outweighs ten seconds of waiting.';

--- only when installed
CREATE TABLE cron.job_run_details (
    jobid           bigint,
    runid           bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.runid_seq'),
    job_pid         int,
    database        text,
    username        text,
    command         text,
    status          text CHECK (status IN ('starting', 'running', 'succeeded', 'failed', 'skipped',
                                      'sending', 'connecting')),
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
    roleid          oid,
    UNIQUE (jobid, scheduled_at, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX job_run_details_start_time_idx ON cron.job_run_details (start_time);
-- The newest runs of a job.
CREATE INDEX job_run_details_jobid_start_time_idx ON cron.job_run_details (jobid, start_time);
-- The runs that a role may see, if they are few: see cron._may_see_support().
CREATE INDEX job_run_details_roleid_idx ON cron.job_run_details (roleid);
CREATE INDEX job_run_details_unfinished_idx ON cron.job_run_details (jobid)
    WHERE status IN ('starting', 'running');
--- also when updated
COMMENT ON TABLE cron.job_run_details IS 'One row for each run. The outcome commits together with the effects of the run.';
COMMENT ON COLUMN cron.job_run_details.jobid IS 'Id of the job.';
COMMENT ON COLUMN cron.job_run_details.runid IS 'Id of the run.';
COMMENT ON COLUMN cron.job_run_details.job_pid IS 'Process id of the worker that executes it.';
COMMENT ON COLUMN cron.job_run_details.database IS 'Database that it runs in.';
COMMENT ON COLUMN cron.job_run_details.username IS 'Role that it runs as.';
COMMENT ON COLUMN cron.job_run_details.command IS 'The SQL that it executes.';
COMMENT ON COLUMN cron.job_run_details.status IS 'starting, running, succeeded, failed or skipped; sending and connecting are of rows that pg_cron wrote.';
COMMENT ON COLUMN cron.job_run_details.return_message IS 'Command tag of the last statement, or the error.';
COMMENT ON COLUMN cron.job_run_details.start_time IS 'When the command started.';
COMMENT ON COLUMN cron.job_run_details.end_time IS 'When it ended.';
COMMENT ON COLUMN cron.job_run_details.jobname IS 'Name of the job.';
COMMENT ON COLUMN cron.job_run_details.scheduled_at IS 'The occurrence of the schedule that it runs for.';
COMMENT ON COLUMN cron.job_run_details.attempt IS '1 for the first attempt, and one more for each retry.';
COMMENT ON COLUMN cron.job_run_details.trigger IS 'Why it was started: schedule, manual, catchup, retry or once.';
COMMENT ON COLUMN cron.job_run_details.reason IS 'Why it waits, was skipped, or was ended before its command had.';
COMMENT ON COLUMN cron.job_run_details.sqlstate IS 'SQLSTATE that it ended with; 00000 for success.';
COMMENT ON COLUMN cron.job_run_details.transactional IS 'True: its effects and its outcome are in one transaction.';
COMMENT ON COLUMN cron.job_run_details.roleid IS 'Oid of the role that had this name when the row was made. The run is visible to that role, not to a later one of the same name.';

--- only when installed
CREATE TABLE cron.job_dependency (
    jobid           bigint NOT NULL,
    after_jobid     bigint NOT NULL CHECK (after_jobid <> jobid),
    condition       text NOT NULL DEFAULT 'finished' CHECK (condition IN ('finished', 'succeeded')),
    PRIMARY KEY (jobid, after_jobid)
);
--- also when updated
COMMENT ON TABLE cron.job_dependency IS 'Jobs that wait for other jobs; see cron.run_after().';
COMMENT ON COLUMN cron.job_dependency.jobid IS 'The job that waits.';
COMMENT ON COLUMN cron.job_dependency.after_jobid IS 'The job that it waits for.';
COMMENT ON COLUMN cron.job_dependency.condition IS 'How the other job''s run must have ended: finished (in whatever way), or succeeded.';

-- Without a primary key, because a restored dump adds the row of the original database to the row
-- that the scheduler of this database has inserted already.
--- only when installed
CREATE TABLE cron.scheduler_state (
    planned_until       timestamptz NOT NULL,
    database_oid        oid NOT NULL,
    database_name       text NOT NULL,
    system_identifier   bigint NOT NULL
) WITH (fillfactor = 10);
--- also when updated
-- Without a replica identity, a publication FOR ALL TABLES would make the scheduler's updates fail.
ALTER TABLE cron.scheduler_state REPLICA IDENTITY FULL;
COMMENT ON TABLE cron.scheduler_state IS 'One row: how far the scheduler of this database has planned.';
COMMENT ON COLUMN cron.scheduler_state.planned_until IS 'Occurrences up to this instant have been claimed or skipped.';
COMMENT ON COLUMN cron.scheduler_state.database_oid IS 'Oid of the database that the row was written in; it differs in a copy and in a restored dump.';
COMMENT ON COLUMN cron.scheduler_state.database_name IS 'Name of that database when the row was written.';
COMMENT ON COLUMN cron.scheduler_state.system_identifier IS 'System identifier of the cluster that the row was written in.';

SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
SELECT pg_catalog.pg_extension_config_dump('cron.jobid_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cron.job_dependency', '');
SELECT pg_catalog.pg_extension_config_dump('cron.scheduler_state', '');

-- ==== who may see and change what ============================================================

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
-- For pg_dump, which reads them.
GRANT SELECT ON SEQUENCE cron.jobid_seq, cron.runid_seq TO PUBLIC;
--- also when updated

-- ==== changes reach the scheduler at commit ==================================================

CREATE FUNCTION cron._job_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_job_check';
COMMENT ON FUNCTION cron._job_check() IS 'Rejects a job whose schedule or time zone is not valid, and looks up its role. A row that is restored or replicated is paused with a note instead.';
CREATE FUNCTION cron._job_changed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_job_changed';
COMMENT ON FUNCTION cron._job_changed() IS 'Notifies the scheduler, at commit, of the jobs that have changed.';
CREATE FUNCTION cron._state_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_state_check';
COMMENT ON FUNCTION cron._state_check() IS 'Rejects writes by anybody but the owner of the extension, and drops rows that are replicated from another server.';
CREATE FUNCTION cron._run_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_run_check';
COMMENT ON FUNCTION cron._run_check() IS 'Ends unfinished runs that are copied from another server, because no process executes them here.';

CREATE FUNCTION cron._run_role() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_run_role';
COMMENT ON FUNCTION cron._run_role() IS 'Looks up the role of a run by its name when the row is inserted, whatever that says, and keeps it: the row may come from another server.';

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
-- Not fired by the scheduler's claims.
CREATE TRIGGER run_check BEFORE INSERT ON cron.job_run_details
    FOR EACH ROW WHEN (NEW.status IN ('starting', 'running'))
    EXECUTE FUNCTION cron._run_check();
CREATE TRIGGER run_role BEFORE INSERT OR UPDATE OF roleid ON cron.job_run_details
    FOR EACH ROW EXECUTE FUNCTION cron._run_role();
CREATE TRIGGER state_check BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON cron.scheduler_state
    FOR EACH STATEMENT EXECUTE FUNCTION cron._state_check();
CREATE TRIGGER state_replicated BEFORE INSERT ON cron.scheduler_state
    FOR EACH ROW EXECUTE FUNCTION cron._state_check();
-- For a dump that is restored, which has the row of the original database. Does not fire for the
-- row that the scheduler writes (session_replication_role = replica).
CREATE TRIGGER state_restored AFTER INSERT ON cron.scheduler_state
    FOR EACH STATEMENT EXECUTE FUNCTION cron._job_changed();

-- All triggers but run_check and state_restored fire for every writer, also for replication workers and for
-- sessions with session_replication_role = replica (ENABLE ALWAYS). ALTER TABLE ... ENABLE TRIGGER,
-- with which pg_restore --disable-triggers ends, resets them to fire for ordinary sessions only;
-- the extension then calls this function.
CREATE FUNCTION cron._arm_triggers(of_table regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name;
BEGIN
    FOR name IN
        SELECT t.tgname FROM pg_trigger t
         WHERE t.tgrelid = of_table AND t.tgenabled IN ('O', 'R')
           AND t.tgname IN ('job_check', 'job_changed', 'job_truncated', 'dependency_changed',
                            'dependency_truncated', 'run_role', 'state_check', 'state_replicated',
                            'alert_check', 'alert_event_check', 'alert_incident_check')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', of_table, name);
    END LOOP;
END $$;
COMMENT ON FUNCTION cron._arm_triggers(regclass) IS 'Makes the enabled triggers of a table of this schema fire for every writer (ENABLE ALWAYS).';
REVOKE ALL ON FUNCTION cron._arm_triggers(regclass) FROM PUBLIC;
SELECT cron._arm_triggers('cron.job');
SELECT cron._arm_triggers('cron.job_dependency');
SELECT cron._arm_triggers('cron.job_run_details');
SELECT cron._arm_triggers('cron.scheduler_state');
