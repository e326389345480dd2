-- ==== schema cron: all nodes of a cluster ====================================================

-- The answer of a query, one jsonb, of each node of Citus, or of this server.
CREATE FUNCTION cron._on_all_nodes(query text, OUT node text, OUT answer jsonb) RETURNS SETOF record
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    reply record;
BEGIN
    IF to_regproc('pg_catalog.run_command_on_all_nodes') IS NULL THEN
        EXECUTE query INTO answer;
        RETURN NEXT;
        RETURN;
    END IF;
    FOR reply IN
        -- The coordinator need not be among the nodes that Citus knows.
        SELECT coalesce(n.nodename, current_setting('citus.local_hostname')) || ':'
               || coalesce(n.nodeport, current_setting('port')::int) AS name, r.success, r.result
          FROM run_command_on_all_nodes(query) AS r LEFT JOIN pg_catalog.pg_dist_node n USING (nodeid)
    LOOP
        IF reply.success THEN
            node := reply.name;
            answer := reply.result::jsonb;
            RETURN NEXT;
        ELSE
            RAISE WARNING 'node % did not answer', reply.name USING DETAIL = reply.result;
        END IF;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION cron._on_all_nodes(text) IS 'What a query, which returns one jsonb, answers on each node of Citus; without Citus on this server, whose node is NULL. A node that does not answer is left out, with a warning.';

CREATE FUNCTION cron.schedulers_of_all_nodes(
    OUT node text, OUT pid int, OUT started timestamptz, OUT planned_until timestamptz, OUT jobs bigint,
    OUT workers_busy bigint, OUT workers_idle bigint, OUT workers_limit bigint, OUT waiting bigint,
    OUT oldest_wait timestamptz, OUT last_clock_step timestamptz, OUT last_error text, OUT held text
) RETURNS SETOF record LANGUAGE sql ROWS 10
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT n.node, s.pid, s.started, s.planned_until, s.jobs, s.workers_busy, s.workers_idle, s.workers_limit,
           s.waiting, s.oldest_wait, s.last_clock_step, s.last_error, s.held
      FROM cron._on_all_nodes('SELECT to_jsonb(s) FROM cron.scheduler_status s') AS n
     CROSS JOIN jsonb_populate_record(NULL::cron.scheduler_status, n.answer) AS s
$fn$;
COMMENT ON FUNCTION cron.schedulers_of_all_nodes() IS 'The rows of cron.scheduler_status on all nodes of Citus; node is host:port. Without Citus there is the row of this server, whose node is NULL. A node that does not answer is left out, with a warning.';
