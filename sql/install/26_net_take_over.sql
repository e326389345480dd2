-- ==== requests replicated from another server ================================================

CREATE FUNCTION net.take_over() RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    requests bigint;
BEGIN
    -- Numbers are not replicated: the next ones must not be those of rows that have come.
    PERFORM setval('net.http_request_queue_id_seq', m.id)
       FROM (SELECT greatest((SELECT max(q.id) FROM net.http_request_queue q),
                             (SELECT max(r.id) FROM net._http_response r))) m(id)
      WHERE m.id > (SELECT s.last_value FROM net.http_request_queue_id_seq s);
    UPDATE net.http_request_queue q SET ready_at = q.replicated_ready_at, replicated_ready_at = NULL
     WHERE q.replicated_ready_at IS NOT NULL;
    GET DIAGNOSTICS requests = ROW_COUNT;
    RETURN requests;
END $$;
COMMENT ON FUNCTION net.take_over() IS 'Makes this server send the requests that were replicated from another one; returns their number. cron.take_over() does it too.';
REVOKE ALL ON FUNCTION net.take_over() FROM PUBLIC;

-- The last statement of the net part: who starts the http worker is there when this commits.
CREATE FUNCTION net._start_scheduler() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_start_scheduler';
COMMENT ON FUNCTION net._start_scheduler() IS 'Starts the scheduler of this database, which starts the http worker, when the transaction commits.';
REVOKE ALL ON FUNCTION net._start_scheduler() FROM PUBLIC;
--- only when installed
SELECT net._start_scheduler();
--- also when updated
