-- ==== rows replicated from another server ====================================================

CREATE FUNCTION cron.take_over(OUT jobs bigint, OUT requests bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Sequences are not replicated: continue behind the ids of the replicated rows.
    PERFORM setval('cron.jobid_seq', m.id) FROM (SELECT max(j.jobid) FROM cron.job j) m(id)
      WHERE m.id > (SELECT s.last_value FROM cron.jobid_seq s);
    PERFORM setval('cron.runid_seq', m.id) FROM (SELECT max(d.runid) FROM cron.job_run_details d) m(id)
      WHERE m.id > (SELECT s.last_value FROM cron.runid_seq s);
    PERFORM setval('net.http_request_queue_id_seq', m.id)
       FROM (SELECT greatest((SELECT max(q.id) FROM net.http_request_queue q),
                             (SELECT max(r.id) FROM net._http_response r))) m(id)
      WHERE m.id > (SELECT s.last_value FROM net.http_request_queue_id_seq s);
    UPDATE cron.job_run_details d
       SET status = 'failed', reason = 'taken over', sqlstate = '57P02',
           return_message = 'another server was executing it when this one took over',
           start_time = COALESCE(d.start_time, clock_timestamp()), end_time = clock_timestamp()
     WHERE d.status IN ('starting', 'running')
       AND EXISTS (SELECT FROM cron.job j WHERE j.jobid = d.jobid AND j.replicated);
    UPDATE cron.job j SET replicated = false WHERE j.replicated;
    GET DIAGNOSTICS jobs = ROW_COUNT;
    UPDATE net.http_request_queue q SET ready_at = q.replicated_ready_at, replicated_ready_at = NULL
     WHERE q.replicated_ready_at IS NOT NULL;
    GET DIAGNOSTICS requests = ROW_COUNT;
END $$;
COMMENT ON FUNCTION cron.take_over() IS 'Makes this server run the jobs and send the requests that were replicated from another one; returns their numbers. Call it when the publisher no longer runs and sends them.';
REVOKE ALL ON FUNCTION cron.take_over() FROM PUBLIC;
