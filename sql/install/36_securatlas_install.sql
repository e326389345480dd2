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
    (11, 'fn_request_tokens(uuid, integer)', 'text'),
    (12, 'fn_on_token_response(net._http_response)', 'void'),
    (13, 'fn_compute_risk_scores(uuid)', 'TABLE(tenant_id uuid, score integer, breakdown jsonb, loss numeric, bad_controls bigint, bad_findings bigint)'),
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

CREATE FUNCTION securatlas.install(
    target_schema regnamespace DEFAULT 'public', schedule_jobs boolean DEFAULT true
) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $fn$
DECLARE
    before oid[];
    made record;
BEGIN
    PERFORM securatlas._check_schema(target_schema);
    before := ARRAY(SELECT p.oid FROM pg_proc p WHERE p.pronamespace = target_schema);
    -- A regnamespace prints as a quoted identifier. The previous search_path is restored when this
    -- function ends.
    PERFORM set_config('search_path', target_schema || ', pg_temp', true);
    PERFORM securatlas._create_tables(target_schema);
    PERFORM securatlas._create_risk_views();
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
END
$fn$;
COMMENT ON FUNCTION securatlas.uninstall(regnamespace) IS 'Drops the jobs and functions that install() made in a schema; tables and views stay.
target_schema: where the tables, views and functions are.';
