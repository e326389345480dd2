-- ==== schema cron: functions =================================================================

CREATE FUNCTION cron.schedule(schedule text, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule';
COMMENT ON FUNCTION cron.schedule(text, text) IS 'Creates a job without a name; returns its id.
schedule: when it runs; cron.explain_schedule() says what it means.
command: the SQL that each run executes, at most 10,000,000 bytes.
Error 22023: the schedule or the name is not valid; the detail says why.
Error 22004: an argument is NULL.
Error 42501: the role may not connect to the database, or it is a superuser and cron.enable_superuser_jobs is off.
Error 54000: the command is too long.';
CREATE FUNCTION cron.schedule(job_name text, schedule text, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_named';
COMMENT ON FUNCTION cron.schedule(text, text, text) IS 'Creates a job, or gives the caller''s job of this name another schedule and command and activates it; returns its id.
job_name: 1 to 1,000 bytes; unique among the jobs of a role.
schedule: when it runs; cron.explain_schedule() says what it means.
command: the SQL that each run executes, at most 10,000,000 bytes.
Error 22023: the schedule or the name is not valid; the detail says why.
Error 22004: an argument is NULL.
Error 42501: the role may not connect to the database, or it is a superuser and cron.enable_superuser_jobs is off.
Error 54000: the command is too long.';
CREATE FUNCTION cron.schedule_in_database(
        job_name text,
        schedule text,
        command text,
        database text,
        username text DEFAULT NULL,
        active boolean DEFAULT true)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_in_database';
COMMENT ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) IS 'Creates or changes a job that runs in another database or as another role; returns its id.
job_name: 1 to 1,000 bytes; unique among the jobs of a role.
schedule: when it runs; cron.explain_schedule() says what it means.
command: the SQL that each run executes, at most 10,000,000 bytes.
database: where it runs.
username: role that it runs as, to which the caller may SET ROLE; NULL: the caller.
active: false: it is created paused.
Error 22023: the schedule or the name is not valid; the detail says why.
Error 22004: an argument is NULL.
Error 42501: the role may not connect to the database, or it is a superuser and cron.enable_superuser_jobs is off.
Error 54000: the command is too long.
Error 3D000: there is no such database.
Error 42501: the caller may not SET ROLE to the role, or there is none of this name.';
CREATE FUNCTION cron.alter_job(
        job_id bigint,
        schedule text DEFAULT NULL,
        command text DEFAULT NULL,
        database text DEFAULT NULL,
        username text DEFAULT NULL,
        active boolean DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_alter_job';
COMMENT ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) IS 'Changes a job; arguments that are NULL leave their column as it is.
job_id: id of the job.
schedule: when it runs; cron.explain_schedule() says what it means.
command: the SQL that each run executes, at most 10,000,000 bytes.
database: where it runs.
username: role that it runs as, to which the caller may SET ROLE.
active: false: pauses it; true: goes on with its schedule.
Error 22023: all arguments but the id are NULL, or the schedule is not valid.
Error 42704: there is no such job, or the caller may not manage it.
Error 42501: the caller may not SET ROLE to the role, or the role may not connect to the database.
Error 3D000: there is no such database.';
CREATE FUNCTION cron.unschedule(job_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_unschedule';
COMMENT ON FUNCTION cron.unschedule(bigint) IS 'Deletes a job; its history stays. Returns true.
job_id: id of the job.
Error 42501: there is no such job, or the caller may not manage it; for superusers 42704.';
CREATE FUNCTION cron.unschedule(job_name text)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_unschedule_named';
COMMENT ON FUNCTION cron.unschedule(text) IS 'Deletes a job; its history stays. Returns true.
job_name: name of the job. It means the caller''s own job of this name, or else the only one that the caller may manage.
Error 42704: there is no such job, or the caller may not manage it.
Error 42725: several roles have a job of this name, and none of them is the caller.';
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
        log_runs text DEFAULT NULL,
        on_failure text DEFAULT NULL,
        on_success text DEFAULT NULL,
        priority int DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_configure_job';
COMMENT ON FUNCTION cron.configure_job(bigint, text, interval, int, interval, text, text, interval, interval, int, text, text, text, int) IS 'Sets the rules of a job; what is NULL stays as it is.
job_id: id of the job.
timezone: time zone of the schedule.
max_runtime: a run that takes longer is cancelled; positive.
max_retries: how often a failed run is tried again, 0 to 1,000.
retry_period: delay before the first retry; it doubles with each further one.
overlap_policy: what happens to a run that is due while the previous one has not finished: buffer_one, buffer_all, skip, cancel_other, allow.
missed: which missed runs are made up for: skip (none), once (the last), all.
catchup_window: missed runs that are older are not made up for.
jitter: each run is delayed by a random time up to this one.
max_failures: number of failures in a row after which the job is paused.
log_runs: which runs are recorded: all, failures, none.
on_failure: what is told when a run has failed and no retry follows: a function of one jsonb, as note(jsonb), that is called as the role of the job; a URL that is posted to; or NOTIFY and a channel. Empty: nothing.
on_success: the same of each run that succeeds.
priority: -100 to 100; of the runs of a role that wait, those of jobs with a higher one start first; each point outweighs ten seconds of waiting.
Error 22023: a rule is out of range or not a word of the list; the hint has it. Or on_failure or on_success is none of these.
Error 42704: there is no such job, or the caller may not manage it.
Error 42883, 42P13, 42P16: there is no such function, or it cannot be called.
Error 42501: the role of the job may not execute the function, or nothing may be sent to the host.
Error 54000: the role of the job has 1,000 alerts.';
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
        log_runs text DEFAULT NULL,
        on_failure text DEFAULT NULL,
        on_success text DEFAULT NULL,
        priority int DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_configure_job_named';
COMMENT ON FUNCTION cron.configure_job(text, text, interval, int, interval, text, text, interval, interval, int, text, text, text, int) IS 'Sets the rules of a job; what is NULL stays as it is.
job_name: name of the job: the caller''s own, or else the only one of this name that the caller may manage.
timezone: time zone of the schedule.
max_runtime: a run that takes longer is cancelled; positive.
max_retries: how often a failed run is tried again, 0 to 1,000.
retry_period: delay before the first retry; it doubles with each further one.
overlap_policy: what happens to a run that is due while the previous one has not finished: buffer_one, buffer_all, skip, cancel_other, allow.
missed: which missed runs are made up for: skip (none), once (the last), all.
catchup_window: missed runs that are older are not made up for.
jitter: each run is delayed by a random time up to this one.
max_failures: number of failures in a row after which the job is paused.
log_runs: which runs are recorded: all, failures, none.
on_failure: what is told when a run has failed and no retry follows: a function of one jsonb, as note(jsonb), that is called as the role of the job; a URL that is posted to; or NOTIFY and a channel. Empty: nothing.
on_success: the same of each run that succeeds.
priority: -100 to 100; of the runs of a role that wait, those of jobs with a higher one start first; each point outweighs ten seconds of waiting.
Error 22023: a rule is out of range or not a word of the list; the hint has it. Or on_failure or on_success is none of these.
Error 42704: there is no such job, or the caller may not manage it.
Error 42883, 42P13, 42P16: there is no such function, or it cannot be called.
Error 42501: the role of the job may not execute the function, or nothing may be sent to the host.
Error 54000: the role of the job has 1,000 alerts.';
CREATE FUNCTION cron.reset_job_rules(job_id bigint, VARIADIC rules text[])
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_reset_job_rules';
COMMENT ON FUNCTION cron.reset_job_rules(bigint, text[]) IS 'Gives the rules of these names, as cron.configure_job() calls them, the values that a new job has.
job_id: id of the job.
rules: names of the rules: the arguments of cron.configure_job().
Error 22023: there is no rule of this name.
Error 42704: there is no such job, or the caller may not manage it.';
CREATE FUNCTION cron.reset_job_rules(job_name text, VARIADIC rules text[])
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_reset_job_rules_named';
COMMENT ON FUNCTION cron.reset_job_rules(text, text[]) IS 'Gives the rules of these names, as cron.configure_job() calls them, the values that a new job has.
job_name: name of the job: the caller''s own, or else the only one of this name that the caller may manage.
rules: names of the rules: the arguments of cron.configure_job().
Error 22023: there is no rule of this name.
Error 42704: there is no such job, or the caller may not manage it.';
CREATE FUNCTION cron.schedule_once(job_name text, run_at timestamptz, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_once';
COMMENT ON FUNCTION cron.schedule_once(text, timestamptz, text) IS 'Creates a job that runs once and is deleted when it has succeeded; its history stays. Returns its id.
job_name: 1 to 1,000 bytes; unique among the jobs of a role.
run_at: when it runs; a time that has passed: as the rule "missed" of the job says.
command: the SQL that each run executes, at most 10,000,000 bytes.
Error 22023: run_at is infinite, or the name is not valid.
Error 22004: an argument is NULL.
Error 42501: the role may not connect to the database, or it is a superuser and cron.enable_superuser_jobs is off.
Error 54000: the command is too long.';
CREATE FUNCTION cron.run_job(job_id bigint)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_job';
COMMENT ON FUNCTION cron.run_job(bigint) IS 'Starts a run when the transaction commits, of a paused job too; returns the id of the run.
job_id: id of the job.
Error 42704: there is no such job, or the caller may not manage it.
Error 55000: the job was replicated from another server; cron.take_over() makes this one run it.';
CREATE FUNCTION cron.run_job(job_name text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_job_named';
COMMENT ON FUNCTION cron.run_job(text) IS 'Starts a run when the transaction commits, of a paused job too; returns the id of the run.
job_name: name of the job. It means the caller''s own job of this name, or else the only one that the caller may manage.
Error 42704: there is no such job, or the caller may not manage it.
Error 42725: several roles have a job of this name, and none of them is the caller.
Error 55000: the job was replicated from another server; cron.take_over() makes this one run it.';
CREATE FUNCTION cron.cancel_run(run_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_cancel_run';
COMMENT ON FUNCTION cron.cancel_run(bigint) IS 'Cancels a run that waits or is in progress, at once and not at commit. True: it will end as failed, reason cancelled, even if its command catches the cancellation. False: it has ended, or is committing its end.
run_id: id of the run.
Error 42704: there is no such run, or the caller may not manage its job.
Error 22004: an argument that is needed is NULL.';
CREATE FUNCTION cron.pause(job_id bigint, note text DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_pause';
COMMENT ON FUNCTION cron.pause(bigint, text) IS 'Stops the schedule of a job until cron.resume(). Runs that wait are skipped; one that is in progress goes on.
job_id: id of the job.
note: why; shown in cron.job and cron.jobs.
Error 42704: there is no such job, or the caller may not manage it.';
CREATE FUNCTION cron.pause(job_name text, note text DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_pause_named';
COMMENT ON FUNCTION cron.pause(text, text) IS 'Stops the schedule of a job until cron.resume(). Runs that wait are skipped; one that is in progress goes on.
job_name: name of the job. It means the caller''s own job of this name, or else the only one that the caller may manage.
note: why; shown in cron.job and cron.jobs.
Error 42704: there is no such job, or the caller may not manage it.
Error 42725: several roles have a job of this name, and none of them is the caller.';
CREATE FUNCTION cron.resume(job_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_resume';
COMMENT ON FUNCTION cron.resume(bigint) IS 'Goes on with the schedule of a job from now on; what fell into the pause was not missed.
job_id: id of the job.
Error 42704: there is no such job, or the caller may not manage it.
Error 22023: the schedule or the time zone of the job is not valid.';
CREATE FUNCTION cron.resume(job_name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_resume_named';
COMMENT ON FUNCTION cron.resume(text) IS 'Goes on with the schedule of a job from now on; what fell into the pause was not missed.
job_name: name of the job. It means the caller''s own job of this name, or else the only one that the caller may manage.
Error 42704: there is no such job, or the caller may not manage it.
Error 42725: several roles have a job of this name, and none of them is the caller.
Error 22023: the schedule or the time zone of the job is not valid.';
CREATE FUNCTION cron.run_after(job_name text, after_job_name text, condition text DEFAULT 'finished')
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_after';
COMMENT ON FUNCTION cron.run_after(text, text, text) IS 'Makes the runs of a job wait for runs of another job that are due at the same time or earlier.
job_name: the job that waits.
after_job_name: the job that it waits for.
condition: how that must have ended: finished (in whatever way), or succeeded (otherwise the run is skipped).
Error 22023: the condition is none of these, or the jobs would wait for each other.
Error 42704: there is no such job, or the caller may not manage it.
Error 42725: several roles have a job of this name, and none of them is the caller.';
CREATE FUNCTION cron.remove_run_after(job_name text, after_job_name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_remove_run_after';
COMMENT ON FUNCTION cron.remove_run_after(text, text) IS 'Undoes cron.run_after().
job_name: the job that waits.
after_job_name: the job that it waits for.
Error 42704: there is no such job, or the one does not wait for the other.
Error 42725: several roles have a job of this name, and none of them is the caller.';
CREATE FUNCTION cron._next_runs(
        schedule text,
        count int,
        after timestamptz,
        timezone text,
        planned_from timestamptz)
    RETURNS timestamptz[] LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_next_runs';
COMMENT ON FUNCTION cron._next_runs(text, int, timestamptz, text, timestamptz) IS 'The next instants at which a schedule fires; "@every" counts from planned_from.';
CREATE FUNCTION cron._try_next_runs(schedule text, count int, after timestamptz, timezone text, planned_from timestamptz)
    RETURNS timestamptz[] LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_try_next_runs';
COMMENT ON FUNCTION cron._try_next_runs(text, int, timestamptz, text, timestamptz) IS 'Like _next_runs(), but after NULL is after the present, and an invalid schedule yields NULL instead of an error, so that one bad row does not make a view fail.';
CREATE FUNCTION cron.explain_schedule(schedule text, timezone text DEFAULT NULL)
    RETURNS text LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_explain_schedule';
COMMENT ON FUNCTION cron.explain_schedule(text, text) IS 'Explains a schedule in one English sentence.
schedule: five fields, seconds ("30 seconds"), "@every", "@at" and more.
timezone: its time zone; NULL: cron.timezone.
Error 22023: the schedule or the time zone is not valid; the detail says where.
Error 22004: schedule is NULL.';
CREATE FUNCTION cron._begin_work(work text, phase text, total bigint) RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_begin_work';
COMMENT ON FUNCTION cron._begin_work(text, text, bigint) IS 'Shows in cron_stat.progress what the transaction does, until it ends; NULL: total is not known. Returns true.';
CREATE FUNCTION cron._work_done() RETURNS boolean
    LANGUAGE C VOLATILE COST 10 AS 'MODULE_PATHNAME', 'securatlas_work_done';
COMMENT ON FUNCTION cron._work_done() IS 'Counts one more as done; returns true, so that a condition can count rows.';
CREATE FUNCTION cron.purge_history(older_than interval DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    age interval := COALESCE(older_than, current_setting('cron.history_retention', true)::interval);
    removed bigint;
BEGIN
    IF age IS NULL THEN
        PERFORM cron._scheduler_status();  -- fails, and says why the setting is missing
    END IF;
    IF age < interval '0' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'older_than must not be negative';
    END IF;
    IF older_than IS NULL AND age = interval '0' THEN
        RETURN 0;
    END IF;
    PERFORM cron._begin_work('purge', 'removing old history', NULL);
    DELETE FROM cron.job_run_details d
     WHERE d.start_time < clock_timestamp() - age AND d.status NOT IN ('starting', 'running')
       AND cron._work_done();
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
COMMENT ON FUNCTION cron.purge_history(interval) IS 'Deletes ended runs of the caller''s jobs; returns their number.
older_than: those that started longer ago; NULL: cron.history_retention, of which 0 keeps all.
Error 22023: older_than is negative.';
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
COMMENT ON FUNCTION cron._scheduler_status() IS 'Behind cron.scheduler_status: what the scheduler of this database publishes about itself.';

CREATE FUNCTION cron.next_runs(schedule text, count int DEFAULT 5, after timestamptz DEFAULT pg_catalog.now(),
        timezone text DEFAULT NULL)
    RETURNS SETOF timestamptz LANGUAGE sql STABLE PARALLEL SAFE ROWS 5
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT unnest(cron._next_runs(schedule, count, after, timezone, after)) $$;
COMMENT ON FUNCTION cron.next_runs(text, int, timestamptz, text) IS 'The next instants at which a schedule fires; "@every" counts from the instant after.
schedule: see cron.explain_schedule().
count: how many, 0 to 10,000.
after: the first is later than this.
timezone: time zone of the schedule; NULL: cron.timezone.
Error 22023: the schedule, the time zone or the count is not valid.
Error 22004: an argument but timezone is NULL.';

--- only when installed
REVOKE ALL ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) FROM PUBLIC;
--- also when updated

-- The last statement of the cron part. The scheduler of this database starts when it commits.
CREATE FUNCTION cron._start_scheduler() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_start_scheduler';
COMMENT ON FUNCTION cron._start_scheduler() IS 'Starts the scheduler of this database at commit, unless it is running.';
--- only when installed
REVOKE ALL ON FUNCTION cron._start_scheduler() FROM PUBLIC;
SELECT cron._start_scheduler();
--- also when updated
