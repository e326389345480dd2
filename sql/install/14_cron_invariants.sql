-- ==== schema cron: what should never be ======================================================

-- In PL/pgSQL, which looks up the tables of schema net only when it comes to them: a database may
-- have schema cron without it.
CREATE FUNCTION cron.check_invariants(
        patience interval DEFAULT '1 minute',
        OUT invariant text, OUT jobid bigint, OUT runid bigint, OUT request_id bigint,
        OUT detail text)
    RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    late timestamptz := clock_timestamp() - patience;
    -- The scheduler of this database has nothing in hand: what still waits, it does not know of.
    idle boolean := (SELECT s.pid IS NOT NULL AND s.waiting = 0 AND s.workers_busy = 0
                       FROM cron._scheduler_status() s);
BEGIN
    -- Every occurrence since the job's latest row has one, unless it is not due yet. If there is no
    -- row, because the history is purged or is not kept, those since planned_until.
    RETURN QUERY
    SELECT 'every occurrence is claimed or skipped', j.jobid, NULL::bigint, NULL::bigint,
           'nothing is recorded for ' || due.at
      FROM cron.job j
     CROSS JOIN LATERAL (
           SELECT GREATEST(j.planned_from, COALESCE(
                    (SELECT max(d.scheduled_at) FROM cron.job_run_details d
                      WHERE d.jobid = j.jobid AND d.trigger <> 'manual' AND j.log_runs = 'all'),
                    (SELECT max(s.planned_until) FROM cron.scheduler_state s))) AS at) planned
     CROSS JOIN LATERAL (
           SELECT (cron._try_next_runs(j.schedule, 1, planned.at, j.timezone, j.planned_from))[1] AS at) due
     WHERE j.active AND j.roleid IS NOT NULL AND cron._held(j.replicated) IS NULL AND due.at < late;

    RETURN QUERY
    SELECT 'an occurrence succeeds once', d.jobid, max(d.runid), NULL::bigint,
           count(*) || ' runs succeeded for ' || d.scheduled_at
      FROM cron.job_run_details d
     WHERE d.status = 'succeeded' AND d.trigger <> 'manual'
     GROUP BY d.jobid, d.scheduled_at HAVING count(*) > 1;

    RETURN QUERY
    SELECT 'an occurrence has one run at a time', d.jobid, max(d.runid), NULL::bigint,
           count(*) || ' unfinished runs for ' || d.scheduled_at
      FROM cron.job_run_details d
     WHERE d.status IN ('starting', 'running') AND d.trigger <> 'manual'
     GROUP BY d.jobid, d.scheduled_at HAVING count(*) > 1;

    -- Rows that pg_cron wrote have no scheduled_at.
    RETURN QUERY
    SELECT 'a run has an end if it has ended', d.jobid, d.runid, NULL::bigint,
           'status ' || d.status || ', end_time ' || COALESCE(d.end_time::text, 'NULL')
      FROM cron.job_run_details d
     WHERE d.scheduled_at IS NOT NULL
       AND CASE WHEN d.status IN ('succeeded', 'failed') THEN d.end_time IS NULL
                WHEN d.status IN ('starting', 'running') THEN d.end_time IS NOT NULL END;

    RETURN QUERY
    SELECT 'a running run has a process', d.jobid, d.runid, NULL::bigint,
           'process ' || COALESCE(d.job_pid::text, 'NULL') || ' does not exist'
      FROM cron.job_run_details d
     WHERE d.status = 'running' AND d.start_time < late
       AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = d.jobid AND j.replicated)
       AND NOT EXISTS (SELECT FROM pg_stat_get_activity(d.job_pid));

    RETURN QUERY
    SELECT 'a waiting run has a reason', d.jobid, d.runid, NULL::bigint,
           'claimed for ' || d.scheduled_at || ', and the scheduler has nothing to hand out'
      FROM cron.job_run_details d
     WHERE idle AND d.status = 'starting' AND d.reason IS NULL AND d.scheduled_at < late
       AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = d.jobid AND j.replicated);

    -- The first event about something; the others about it wait for it.
    RETURN QUERY
    SELECT 'an event is told', NULLIF(e.jobid, 0), e.runid, e.request_id,
           'alert "' || a.name || '", event ' || e.event || ', due since ' || e.due_at
      FROM cron.alert_event e JOIN cron.alert a USING (alertid)
     WHERE idle AND e.due_at < late AND a.roleid IS NOT NULL
       AND NOT EXISTS (SELECT FROM cron.alert_event f
                        WHERE (f.alertid, f.jobid, f.host) = (e.alertid, e.jobid, e.host) AND f.id < e.id);

    IF to_regnamespace('net') IS NULL THEN
        RETURN;
    ELSIF NOT has_schema_privilege('net', 'USAGE') THEN
        RETURN;
    ELSIF to_regclass('net.http_request_queue') IS NULL THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 'a ready request is sent', NULL::bigint, q.runid, q.id,
           'ready since ' || q.ready_at
           || CASE WHEN w.pid IS NULL THEN ', and there is no http worker' ELSE ', and nothing is in flight' END
      FROM net._worker_status() w
      JOIN net.http_request_queue q
        ON net._wait_reason(q.host, q.ready_at, q.attempts)
           IN ('waiting for a slot', 'the http worker is not running')
     WHERE w.sends AND (w.pid IS NULL OR w.in_flight = 0)
       AND q.ready_at < late AND q.replicated_ready_at IS NULL;

    RETURN QUERY
    SELECT 'a request is queued or answered', NULL::bigint, r.runid, r.id,
           'the queue has the request, and there is a response: ' || COALESCE(r.state, 'NULL')
      FROM net._http_response r JOIN net.http_request_queue q USING (id);

    RETURN QUERY
    SELECT 'a due callback is called', NULL::bigint, r.runid, r.id, 'due since ' || r.callback_at
      FROM net._http_response r
     WHERE idle AND r.callback_state = 'waiting' AND r.created_by IS NOT NULL AND r.callback_at < late;
END $$;
COMMENT ON FUNCTION cron.check_invariants(interval) IS 'What should never be, among the jobs, runs and requests that the caller may see: no rows if all is well. It reads the whole history. What is late by less than patience is not reported; a row that is gone when the function is called again was in the middle of a change.
patience: what is late by less is not reported.';
