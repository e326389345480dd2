-- ==== schema securatlas: install and uninstall ===============================================

CREATE FUNCTION securatlas._functions(OUT ordinal int, OUT signature text, OUT result text)
    RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
    (1, 'fn_recompute_all_tenant_risk_scores()', 'bigint'),
    (2, 'fn_recompute_tenant_risk_score(uuid)', 'integer'),
    (3, 'fn_store_risk_snapshots(uuid, text)', 'record'),
    (4, 'fn_warn_of_bad_rows(uuid, bigint, bigint)', 'void'),
    (5, 'fn_trigger_nightly_sync()', 'void'),
    (6, 'fn_trigger_frequent_sync()', 'void'),
    (7, 'fn_queue_sync(boolean)', 'void'),
    (8, 'fn_on_sync_response(net._http_response)', 'void'),
    (9, 'fn_refresh_expiring_tokens(interval)', 'void'),
    (10, 'fn_refreshes_under_way()', 'SETOF uuid'),
    (11, 'fn_request_tokens(uuid, integer, uuid)', 'text'),
    (12, 'fn_on_token_response(net._http_response)', 'void'),
    (13, 'fn_compute_risk_scores(uuid, uuid[])', 'TABLE(tenant_id uuid, score integer, breakdown jsonb, loss numeric, bad_controls bigint, bad_findings bigint)'),
    (14, 'fn_request_sync(uuid, uuid, text, jsonb)', 'bigint')
$fn$;
COMMENT ON FUNCTION securatlas._functions() IS 'The functions that install() creates in the target schema.';

CREATE FUNCTION securatlas._views(OUT name text, OUT columns text[]) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
    ('v_framework_readiness', '{tenant_id,framework_id,readiness}'::text[]),
    ('v_risk_trend', '{tenant_id,risk_score_1_100,level,change,change_7_days,change_30_days,computed_at,snapshot_type}')
$fn$;
COMMENT ON FUNCTION securatlas._views() IS 'The views that install() creates in the target schema.';

-- In schema public, which is in everybody's search_path, the commands are not qualified: they are
-- known in that form.
CREATE FUNCTION securatlas._jobs(
    target_schema regnamespace, OUT name text, OUT schedule text, OUT command text,
    OUT optional boolean
) RETURNS SETOF record LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT j.name, j.schedule,
           format('SELECT %s%s()',
                  CASE WHEN target_schema::text <> 'public' THEN target_schema || '.' END,
                  j.function),
           j.optional
      FROM (VALUES
        ('nightly_risk_recompute', '0 2 * * *', 'fn_recompute_all_tenant_risk_scores', false),
        ('securatlas_nightly_integration_sync', '0 3 * * *', 'fn_trigger_nightly_sync', false),
        ('token_refresh_cron', '0 */6 * * *', 'fn_refresh_expiring_tokens', false),
        ('frequent_integration_sync', '0 */6 * * *', 'fn_trigger_nightly_sync', true)
      ) AS j (name, schedule, function, optional)
$fn$;
COMMENT ON FUNCTION securatlas._jobs(regnamespace) IS 'The SecurAtlas jobs for a schema; install() schedules those that are not optional.';

-- Up to 13.2 Citus cannot set privileges of functions in a schema whose name needs quotation marks. There
-- Citus is kept out of it, and _copy_functions() brings the functions to the other nodes.
CREATE FUNCTION securatlas._copies_functions(target_schema regnamespace) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT target_schema::text LIKE '"%' AND to_regproc('pg_catalog.run_command_on_workers') IS NOT NULL
$fn$;
COMMENT ON FUNCTION securatlas._copies_functions(regnamespace) IS 'True if Citus is installed and cannot create the functions in this schema on all nodes.';

CREATE FUNCTION securatlas._on_other_nodes(plpgsql text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    failed record;
BEGIN
    -- A transaction of its own on each node, which might wait for this one.
    SELECT r.* INTO failed
      FROM run_command_on_workers('DO ' || quote_literal($node$
DECLARE
    made record;
BEGIN
    PERFORM set_config('citus.enable_ddl_propagation', 'off', true), set_config('check_function_bodies', 'off', true),
            set_config('lock_timeout', '10s', true);
    $node$ || plpgsql || 'END')) AS r
     WHERE NOT r.success LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the functions of the SecurAtlas jobs cannot be changed on node %:%', failed.nodename, failed.nodeport
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = failed.result;
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas._on_other_nodes(text) IS 'Executes the body of a block of PL/pgSQL on each node of Citus but the coordinator, where it is not passed on to others.';

-- Of a function Citus gives a new node what was granted, but does not take from it what PUBLIC has from the
-- start.
CREATE FUNCTION securatlas._copy_functions(target_schema regnamespace) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    block text := '';
    f record;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure::text AS function, p.oid,
               coalesce(p.proacl, acldefault('f', p.proowner)) AS privileges, p.proowner AS owner
          FROM securatlas._functions() AS own
          JOIN pg_proc p ON p.oid = to_regprocedure(format('%s.%s', target_schema, own.signature))
         ORDER BY own.ordinal
    LOOP
        IF securatlas._copies_functions(target_schema) THEN
            block := block || format(E'EXECUTE %L;\n', pg_get_functiondef(f.oid));
        END IF;
        block := block || format($node$
    FOR made IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role
          FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
         WHERE p.oid = to_regprocedure(%1$L) AND a.grantee <> p.proowner
           AND CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END <> ALL (%2$L)
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %%s FROM %%s', %1$L, made.role);
    END LOOP; $node$, f.function,
            ARRAY(SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
                    FROM aclexplode(f.privileges) AS a WHERE a.grantee <> f.owner));
        IF securatlas._copies_functions(target_schema) THEN
            block := block || coalesce((
                SELECT string_agg(format(E'GRANT EXECUTE ON FUNCTION %s TO %s%s;\n', f.function,
                           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
                           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), '')
                  FROM aclexplode(f.privileges) AS a WHERE a.grantee <> f.owner), '');
        END IF;
    END LOOP;
    PERFORM securatlas._on_other_nodes(block);
END
$fn$;
COMMENT ON FUNCTION securatlas._copy_functions(regnamespace) IS 'Takes privileges that roles do not have here on the functions of install() from them on the other nodes; where Citus cannot, creates the functions there, with the privileges that roles have here.';

CREATE FUNCTION securatlas.install(
    target_schema regnamespace DEFAULT 'public', schedule_jobs boolean DEFAULT true
) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $fn$
DECLARE
    copies_functions CONSTANT boolean := securatlas._copies_functions(target_schema);
    propagation CONSTANT text := current_setting('citus.enable_ddl_propagation', true);
    before oid[];
    made record;
BEGIN
    PERFORM securatlas._check_schema(target_schema);
    before := ARRAY(SELECT p.oid FROM pg_proc p WHERE p.pronamespace = target_schema);
    -- A regnamespace prints as a quoted identifier. The previous search_path is restored when this
    -- function ends.
    PERFORM set_config('search_path', target_schema || ', pg_temp', true);
    PERFORM securatlas._create_tables(target_schema);
    -- Citus would warn that the views are on this node only, which distribute() changes.
    IF propagation = 'on' AND NOT securatlas._is_distributed('tenants') THEN
        PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    END IF;
    PERFORM securatlas._create_risk_views();
    IF propagation IS NOT NULL THEN
        PERFORM set_config('citus.enable_ddl_propagation',
                           CASE WHEN copies_functions THEN 'off' ELSE propagation END, true);
    END IF;
    PERFORM securatlas._create_bad_row_check();
    PERFORM securatlas._create_recompute();
    PERFORM securatlas._create_sync();
    PERFORM securatlas._create_token_request();
    PERFORM securatlas._create_token_response();
    -- Default privileges may grant EXECUTE to others than PUBLIC. Grants made since an earlier
    -- install() stay.
    FOR made IN
        SELECT p.oid::regprocedure AS function,
               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role
          FROM securatlas._functions() AS f
          JOIN pg_proc p ON p.oid = to_regprocedure(format('%s.%s', target_schema, f.signature))
         CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
         WHERE p.oid <> ALL (before) AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', made.function, made.role);
    END LOOP;
    IF copies_functions THEN
        PERFORM set_config('citus.enable_ddl_propagation', propagation, true);
        IF securatlas._is_distributed('tenants') THEN
            PERFORM securatlas._copy_functions(target_schema);
        END IF;
    END IF;
    IF schedule_jobs THEN
        PERFORM cron.schedule(j.name, j.schedule, j.command)
           FROM securatlas._jobs(target_schema) AS j WHERE NOT j.optional;
        PERFORM cron.configure_job(job_name => j.name, timezone => 'UTC')
           FROM securatlas._jobs(target_schema) AS j WHERE NOT j.optional;
        PERFORM cron.run_after('securatlas_nightly_integration_sync', 'nightly_risk_recompute');
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas.install(regnamespace, boolean) IS 'Creates the missing tables, and the views and functions, of the SecurAtlas jobs in a schema, owned by the caller, and schedules the jobs. May be run again.
target_schema: where the tables, views and functions are.
schedule_jobs: false: no job is scheduled.';

CREATE FUNCTION securatlas.uninstall(target_schema regnamespace DEFAULT 'public') RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $fn$
DECLARE
    signature text;
BEGIN
    -- Keeps a job that calls the functions of another schema: a later install() there has scheduled
    -- it.
    PERFORM cron.unschedule(j.jobid)
       FROM cron.job j
      WHERE j.username = current_user
        AND j.jobname IN (SELECT own.name FROM securatlas._jobs(target_schema) AS own)
        AND NOT EXISTS (SELECT FROM pg_namespace n, securatlas._jobs(n.oid::regnamespace) AS other
                         WHERE n.oid <> target_schema AND other.command = j.command);
    FOR signature IN SELECT f.signature FROM securatlas._functions() AS f ORDER BY f.ordinal LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %s.%s', target_schema, signature);
    END LOOP;
    IF securatlas._copies_functions(target_schema) THEN
        PERFORM securatlas._on_other_nodes(
            string_agg(format(E'DROP FUNCTION IF EXISTS %s.%s;\n', target_schema, f.signature), '' ORDER BY f.ordinal))
           FROM securatlas._functions() AS f;
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas.uninstall(regnamespace) IS 'Drops the jobs and functions that install() made in a schema; tables and views stay.
target_schema: where the tables, views and functions are.';
