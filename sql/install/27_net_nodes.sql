-- ==== schema net: all nodes of a cluster =====================================================

-- The answer of a query, one jsonb, of each node of Citus, or of this server.
CREATE FUNCTION net._on_all_nodes(query text, OUT node text, OUT answer jsonb) RETURNS SETOF record
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
COMMENT ON FUNCTION net._on_all_nodes(text) IS 'What a query, which returns one jsonb, answers on each node of Citus; without Citus on this server, whose node is NULL. A node that does not answer is left out, with a warning.';

CREATE FUNCTION net.requests_of_all_nodes(
    newest int DEFAULT 1000, OUT node text, OUT id bigint, OUT state text, OUT method text, OUT url text,
    OUT host text, OUT created timestamptz, OUT ready_at timestamptz, OUT attempts int, OUT max_attempts int,
    OUT status_code int, OUT error text, OUT duration_ms float8, OUT finished_at timestamptz, OUT runid bigint,
    OUT created_by regrole, OUT idempotency_key text, OUT callback_state text, OUT reason text
) RETURNS SETOF record LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
BEGIN
    IF newest IS NULL OR newest < 0 THEN
        RAISE EXCEPTION 'newest must not be negative' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A role may not exist by the same oid elsewhere: so it comes as its name.
    RETURN QUERY
    SELECT n.node, q.id, q.state, q.method, q.url, q.host, q.created, q.ready_at, q.attempts, q.max_attempts,
           q.status_code, q.error, q.duration_ms, q.finished_at, q.runid, q.created_by, q.idempotency_key,
           q.callback_state, q.reason
      FROM net._on_all_nodes(format(
               $q$SELECT coalesce(jsonb_agg(q ORDER BY q.id DESC), '[]')
                    FROM (SELECT * FROM net.requests ORDER BY id DESC LIMIT %s) AS q$q$, newest)) AS n
     CROSS JOIN jsonb_populate_recordset(NULL::net.requests, n.answer) AS q;
END
$fn$;
COMMENT ON FUNCTION net.requests_of_all_nodes(int) IS 'The rows of net.requests on all nodes of Citus, which each makes and sends its own; node is host:port. Without Citus there are those of this server, whose node is NULL. A node that does not answer is left out, with a warning.
newest: how many of each node, those with the highest ids.
Errors:
22023: newest is negative or NULL.';
