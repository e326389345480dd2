-- ==== schema securatlas: the integration sync that install() creates =========================

-- The service role key is sent to the URL that is configured: a value that a session sets for
-- itself must not count.
CREATE FUNCTION securatlas._lasting_setting(name text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT substr(entry, length(name) + 2)
      FROM pg_db_role_setting s
     CROSS JOIN unnest(s.setconfig) AS entry
     WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database d
                                  WHERE d.datname = current_database()))
       AND s.setrole IN (0, quote_ident(current_user)::regrole)
       AND lower(split_part(entry, '=', 1)) = lower(name)
     ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC
     LIMIT 1
$fn$;
COMMENT ON FUNCTION securatlas._lasting_setting(text) IS 'The value that ALTER DATABASE or ALTER ROLE has set for this database and the current role. A value set by the session does not count.';

-- The id of a sync job begins with the number by which Citus finds the shard of its tenant: so the callback
-- looks into one shard of its own node, and neither into all of them nor into those of other nodes. Without
-- SET clauses, so that the planner can inline it.
CREATE FUNCTION securatlas._sync_job_id(tenant_id uuid, connection_id uuid, occasion text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $fn$
    SELECT pg_catalog.overlay(securatlas._snapshot_id(connection_id, occasion)::text,
                              pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.uuid_hash(tenant_id)), 8, '0'),
                              1)::pg_catalog.uuid
$fn$;
COMMENT ON FUNCTION securatlas._sync_job_id(uuid, uuid, text) IS 'The id of the sync job of a connection and an occasion, in a distributed table.';

CREATE FUNCTION securatlas._tenant_of(relation regclass, id uuid) RETURNS uuid LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    place CONSTANT int := ('x' || left(id::text, 8))::bit(32)::int;
    shard text;
    tenant uuid;
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname || '_' || s.shardid) INTO shard
      FROM pg_catalog.pg_dist_shard s
      JOIN pg_catalog.pg_dist_placement p USING (shardid)
      JOIN pg_catalog.pg_dist_local_group g USING (groupid)
      JOIN pg_class c ON c.oid = s.logicalrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE s.logicalrelid = relation AND place BETWEEN s.shardminvalue::int AND s.shardmaxvalue::int;
    IF to_regclass(shard) IS NOT NULL THEN
        EXECUTE format('SELECT x.tenant_id FROM %s x WHERE x.id = $1', shard) INTO tenant USING id;
    END IF;
    IF tenant IS NULL THEN
        -- A shard that was moved meanwhile, or a row that was made in another way: all nodes are asked.
        EXECUTE format('SELECT x.tenant_id FROM %s x WHERE x.id = $1', relation) INTO tenant USING id;
    END IF;
    RETURN tenant;
END
$fn$;
COMMENT ON FUNCTION securatlas._tenant_of(regclass, uuid) IS 'The tenant of the row with this id in a table that is distributed by tenant_id. It is found at once if this node has it and _sync_job_id() made the id.';

CREATE FUNCTION securatlas._create_sync() RETURNS void LANGUAGE plpgsql
AS $install$
DECLARE
    due CONSTANT text := $query$
            SELECT c.tenant_id, c.id AS connection_id
              FROM integration_connections c
             WHERE c.status::text = 'active'
               AND c.tenant_id IN (SELECT s.tenant_id FROM tenant_subscriptions s
                                    WHERE s.status::text IN ('active', 'trialing')
                                      AND (s.plan::text = 'premium' OR NOT premium_only))
               AND NOT EXISTS (SELECT FROM integration_sync_jobs j
                                WHERE /*integration_sync_jobs: j.tenant_id = c.tenant_id AND*/ j.connection_id = c.id
                                  AND j.status::text IN ('queued', 'dispatched')
                                  AND j.created_at > now() - interval '6 hours') $query$;
    request CONSTANT text := $call$net.http_request(
                   method => 'POST',
                   url => rtrim(url, '/') || '/trigger-sync',
                   headers => headers,
                   body => convert_to(format('{"connection_id": "%s", "sync_job_id": "%s"}',
                                             due.connection_id, due.sync_job_id), 'UTF8'),
                   timeout_milliseconds => 10000,
                   max_attempts => 5,
                   retry => 'idempotent',
                   idempotency_key => due.sync_job_id::text,
                   on_response => 'fn_on_sync_response(net._http_response)'::regprocedure,
                   store_response => 'status')$call$;
    changes CONSTANT text := $part$
            IF response.status_code BETWEEN 200 AND 299 THEN
                UPDATE integration_sync_jobs j
                   SET status = 'dispatched', dispatched_at = response.created,
                       attempts = response.attempts, error = NULL
                 WHERE j.id = response.idempotency_key::uuid AND j.status::text = 'queued';
            ELSE
                UPDATE integration_sync_jobs j
                   SET status = 'failed', attempts = response.attempts,
                       error = coalesce(response.error_msg, 'HTTP status ' || response.status_code,
                                        response.state)
                 WHERE j.id = response.idempotency_key::uuid AND j.status::text = 'queued';
            END IF; $part$;
BEGIN
    -- On distributed tables each node makes the requests of its tenants in the statement that inserts
    -- their sync jobs. Citus executes only functions on the shards that are not volatile: so this one
    -- says that it is stable, though it makes a request each time it is called. It is called once a
    -- row, in the list of columns of an INSERT ... SELECT, and nowhere else.
    EXECUTE replace($create$
    CREATE OR REPLACE FUNCTION fn_request_sync(connection_id uuid, sync_job_id uuid, url text, headers jsonb)
        RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
    <<due>>
    DECLARE
        connection_id CONSTANT uuid := $1;
        sync_job_id CONSTANT uuid := $2;
    BEGIN
        RETURN <request>;
    END
    $fn$ $create$, '<request>', request);
    COMMENT ON FUNCTION fn_request_sync(uuid, uuid, text, jsonb) IS 'Requests the sync of a connection on the node that has it; of fn_queue_sync().';

    EXECUTE securatlas._with_tenant(replace(replace($create$
    CREATE OR REPLACE FUNCTION fn_queue_sync(premium_only boolean) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        url CONSTANT text := securatlas._lasting_setting('app.settings.edge_function_url');
        key CONSTANT text := coalesce(
            nullif(securatlas._lasting_setting('app.settings.service_role_key'), ''),
            (SELECT '{{secret:service_role_key}}' FROM net.secrets s
              WHERE s.name = 'service_role_key'));
        missing CONSTANT text := concat_ws(', ',
            CASE WHEN coalesce(url, '') = '' THEN 'app.settings.edge_function_url' END,
            CASE WHEN key IS NULL THEN 'app.settings.service_role_key' END);
        occasion CONSTANT text := gen_random_uuid();
        headers CONSTANT jsonb := jsonb_build_object('Content-Type', 'application/json',
                                                     'Authorization', 'Bearer ' || key);
    BEGIN
        IF missing <> '' THEN
            RAISE EXCEPTION 'the integration sync is not configured'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = format('These settings are missing: %s.', missing),
                      HINT = 'Set them with ALTER DATABASE ... SET; SET in a session does not count. The key may be a secret instead: net.set_secret(''service_role_key'', ...).';
        END IF;
        -- Two calls at the same time would not see each other's sync jobs.
        PERFORM pg_advisory_xact_lock('integration_sync_jobs'::regclass::oid::bigint);
        IF securatlas._is_distributed('integration_sync_jobs') THEN
            INSERT INTO integration_sync_jobs
                   (/*integration_sync_jobs: tenant_id,*/ id, connection_id, status, request_id, attempts, created_at)
            SELECT /*integration_sync_jobs: due.tenant_id,*/ due.sync_job_id, due.connection_id, 'queued',
                   fn_request_sync(due.connection_id, due.sync_job_id, url, headers), 0, now()
              FROM (SELECT d.*, securatlas._sync_job_id(d.tenant_id, d.connection_id, occasion)
                             AS sync_job_id
                      FROM (<due>) AS d) AS due;
            RETURN;
        END IF;
        WITH due AS MATERIALIZED (
            SELECT d.*, gen_random_uuid() AS sync_job_id
              FROM (<due>) AS d
             -- In index order: neighbouring entries are then written at the same time.
             ORDER BY d.connection_id
        )
        INSERT INTO integration_sync_jobs
               (/*integration_sync_jobs: tenant_id,*/ id, connection_id, status, request_id, attempts, created_at)
        SELECT /*integration_sync_jobs: due.tenant_id,*/ due.sync_job_id, due.connection_id, 'queued',
               <request>,
               0, now()
          FROM due;
    END
    $fn$ $create$, '<due>', due), '<request>', request));
    COMMENT ON FUNCTION fn_queue_sync(boolean) IS 'Asks the edge function to sync each active connection of the active tenants, or of those whose plan is premium.';

    -- Changes queued jobs only: the edge function may have reported the completion before.
    EXECUTE replace(replace($create$
    CREATE OR REPLACE FUNCTION fn_on_sync_response(response net._http_response) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    DECLARE
        tenant uuid;
    BEGIN
        IF securatlas._is_distributed('integration_sync_jobs') THEN
            tenant := securatlas._tenant_of('integration_sync_jobs', response.idempotency_key::uuid);
        END IF;
        IF tenant IS NOT NULL THEN
            -- Of a generic plan Citus would keep a plan of the shard for each execution, as long as the
            -- session lives.
            PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
            <changes>
        ELSE
            <other changes>
        END IF;
    END
    $fn$ $create$, '<changes>', replace(changes, 'WHERE', 'WHERE j.tenant_id = tenant AND')), '<other changes>', changes);
    COMMENT ON FUNCTION fn_on_sync_response(net._http_response) IS 'Callback with the response of the edge function: marks the sync job as dispatched or failed.';

    CREATE OR REPLACE FUNCTION fn_trigger_nightly_sync() RETURNS void
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$ SELECT fn_queue_sync(premium_only => false) $fn$;
    COMMENT ON FUNCTION fn_trigger_nightly_sync() IS 'Asks for a sync of each active connection of the active tenants.';

    CREATE OR REPLACE FUNCTION fn_trigger_frequent_sync() RETURNS void
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$ SELECT fn_queue_sync(premium_only => true) $fn$;
    COMMENT ON FUNCTION fn_trigger_frequent_sync() IS 'Asks for a sync of each active connection of the active tenants whose plan is premium.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_sync() IS 'The part of install() that creates the sync functions, in the first schema of search_path.';
