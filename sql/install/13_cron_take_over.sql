-- ==== jobs replicated from another server ====================================================

-- Schema net may not be there: what concerns it is its own function.
CREATE FUNCTION cron.take_over(OUT jobs bigint, OUT requests bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Sequences are not replicated: continue behind the ids of the replicated rows.
    PERFORM setval('cron.jobid_seq', m.id) FROM (SELECT max(j.jobid) FROM cron.job j) m(id)
      WHERE m.id > (SELECT s.last_value FROM cron.jobid_seq s);
    PERFORM setval('cron.runid_seq', m.id) FROM (SELECT max(d.runid) FROM cron.job_run_details d) m(id)
      WHERE m.id > (SELECT s.last_value FROM cron.runid_seq s);
    UPDATE cron.job_run_details d
       SET status = 'failed', reason = 'taken over', sqlstate = '57P02',
           return_message = 'another server was executing it when this one took over',
           start_time = COALESCE(d.start_time, clock_timestamp()), end_time = clock_timestamp()
     WHERE d.status IN ('starting', 'running')
       AND EXISTS (SELECT FROM cron.job j WHERE j.jobid = d.jobid AND j.replicated);
    PERFORM setval('cron.alertid_seq', m.id) FROM (SELECT max(a.alertid) FROM cron.alert a) m(id)
      WHERE m.id > (SELECT s.last_value FROM cron.alertid_seq s);
    UPDATE cron.alert a SET roleid = cron._role_named(a.username) WHERE a.roleid IS NULL;
    UPDATE cron.job j SET replicated = false WHERE j.replicated;
    GET DIAGNOSTICS jobs = ROW_COUNT;
    requests := 0;
    IF to_regprocedure('net.take_over()') IS NOT NULL THEN
        requests := net.take_over();
    END IF;
END $$;
COMMENT ON FUNCTION cron.take_over() IS 'Makes this server run the jobs and send the requests that were replicated from another one; returns their numbers. Call it when the publisher no longer runs and sends them.';
REVOKE ALL ON FUNCTION cron.take_over() FROM PUBLIC;
