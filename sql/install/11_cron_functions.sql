-- ==== schema cron: functions =================================================================

CREATE FUNCTION cron.schedule(schedule text, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule';
COMMENT ON FUNCTION cron.schedule(text, text) IS 'Creates a job without a name; returns its id.';
CREATE FUNCTION cron.schedule(job_name text, schedule text, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_named';
COMMENT ON FUNCTION cron.schedule(text, text, text) IS 'Creates a job, or changes the caller''s job of this name; returns its id.';
CREATE FUNCTION cron.schedule_in_database(
        job_name text,
        schedule text,
        command text,
        database text,
        username text DEFAULT NULL,
        active boolean DEFAULT true)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_in_database';
COMMENT ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) IS 'Creates or changes a job that runs in another database or as another role; returns its id.';
CREATE FUNCTION cron.alter_job(
        job_id bigint,
        schedule text DEFAULT NULL,
        command text DEFAULT NULL,
        database text DEFAULT NULL,
        username text DEFAULT NULL,
        active boolean DEFAULT NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_alter_job';
COMMENT ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) IS 'Changes a job; arguments that are NULL leave their column as it is.';
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
CREATE FUNCTION cron.reset_job_rules(job_id bigint, VARIADIC rules text[])
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_reset_job_rules';
COMMENT ON FUNCTION cron.reset_job_rules(bigint, text[]) IS 'Gives the rules of these names, as cron.configure_job() calls them, the values that a new job has.';
CREATE FUNCTION cron.reset_job_rules(job_name text, VARIADIC rules text[])
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_reset_job_rules_named';
COMMENT ON FUNCTION cron.reset_job_rules(text, text[]) IS 'Gives the rules of these names, as cron.configure_job() calls them, the values that a new job has.';
CREATE FUNCTION cron.schedule_once(job_name text, run_at timestamptz, command text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_schedule_once';
COMMENT ON FUNCTION cron.schedule_once(text, timestamptz, text) IS 'Creates a job that runs once and is deleted when it has succeeded; returns its id.';
CREATE FUNCTION cron.run_job(job_id bigint)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_job';
COMMENT ON FUNCTION cron.run_job(bigint) IS 'Starts a run at commit; returns its id.';
CREATE FUNCTION cron.run_job(job_name text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_run_job_named';
COMMENT ON FUNCTION cron.run_job(text) IS 'Starts a run at commit; returns its id.';
CREATE FUNCTION cron.cancel_run(run_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_cancel_run';
COMMENT ON FUNCTION cron.cancel_run(bigint) IS 'Cancels a run that waits or is in progress: true if it will end as failed, reason cancelled, even if its command catches the cancellation; false if it has ended or is committing its end.';
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
COMMENT ON FUNCTION cron.run_after(text, text, text) IS 'Makes the runs of a job wait for runs of another job that are due at the same time or earlier.';
CREATE FUNCTION cron.remove_run_after(job_name text, after_job_name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_remove_run_after';
COMMENT ON FUNCTION cron.remove_run_after(text, text) IS 'Undoes cron.run_after().';
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
COMMENT ON FUNCTION cron.explain_schedule(text, text) IS 'Explains a schedule in one English sentence.';
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
    DELETE FROM cron.job_run_details d
     WHERE d.start_time < clock_timestamp() - age AND d.status NOT IN ('starting', 'running');
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
COMMENT ON FUNCTION cron.purge_history(interval) IS 'Deletes ended runs of the caller''s jobs that started longer ago than older_than (NULL: cron.history_retention); returns their number.';
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
COMMENT ON FUNCTION cron.next_runs(text, int, timestamptz, text) IS 'The next instants at which a schedule fires; "@every" counts from the instant after.';

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
