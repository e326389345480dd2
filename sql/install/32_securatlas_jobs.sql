-- ==== schema securatlas: the view and the functions that install() makes =====================

-- The two functions below run with install()'s search_path: the target schema, pg_temp last.
-- SET search_path FROM CURRENT pins what they make to it. row_security = off makes a row security
-- policy that would hide rows from the jobs an error, where it would give wrong scores silently.

CREATE FUNCTION securatlas._create_risk_objects() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    CREATE OR REPLACE VIEW v_framework_readiness WITH (security_invoker = true) AS
    SELECT requirement.tenant_id,
           requirement.framework_id,
           coalesce(100.0 * count(*) FILTER (WHERE requirement.met)
                    / nullif(count(requirement.id), 0), 0) AS readiness
      FROM (SELECT s.tenant_id, s.framework_id, r.id,
                   count(m.control_id) > 0
                       AND bool_and(coalesce(c.status IN ('implemented', 'not_applicable'), false))
                       AS met
              FROM tenant_framework_selections s
              LEFT JOIN framework_requirements r ON r.framework_id = s.framework_id
              LEFT JOIN control_framework_map m ON m.requirement_id = r.id
              LEFT JOIN tenant_controls c
                ON c.tenant_id = s.tenant_id AND c.control_id = m.control_id
             GROUP BY s.tenant_id, s.framework_id, r.id) AS requirement
     GROUP BY requirement.tenant_id, requirement.framework_id;
    COMMENT ON VIEW v_framework_readiness IS 'Share of the requirements of a selected framework, 0 to 100, of which every mapped control is implemented or not applicable. A requirement without mapped controls is not met.';

    CREATE OR REPLACE FUNCTION fn_write_risk_snapshots(only_tenant uuid, snapshot_type text)
        RETURNS SETOF int LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        weights CONSTANT float8[] := securatlas.risk_weights();
        penalties CONSTANT float8[] := securatlas.risk_penalties();
    BEGIN
        RETURN QUERY
        WITH active AS (
            SELECT DISTINCT s.tenant_id FROM tenant_subscriptions s
             WHERE s.status IN ('active', 'trialing') AND only_tenant IS NULL
        ), proven AS (
            SELECT DISTINCT e.tenant_id, l.control_id
              FROM tenant_evidence_items e
              JOIN control_evidence_links l ON l.evidence_item_id = e.id
             WHERE e.status = 'accepted' AND (e.expires_at IS NULL OR e.expires_at > now())
               AND (only_tenant IS NULL OR e.tenant_id = only_tenant)
        ), control AS (
            SELECT c.tenant_id,
                   avg(c.maturity)::float8 AS average_maturity,
                   avg((p.control_id IS NOT NULL)::int)::float8 AS evidence_share
              FROM tenant_controls c
              LEFT JOIN proven p ON p.tenant_id = c.tenant_id AND p.control_id = c.control_id
             WHERE c.status <> 'not_applicable'
               AND (only_tenant IS NULL OR c.tenant_id = only_tenant)
             GROUP BY c.tenant_id
        ), category AS MATERIALIZED (
            SELECT u.id, securatlas._snake_case(u.category) AS key FROM unified_controls u
        ), subcategory AS (
            SELECT v.tenant_id, jsonb_object_agg(v.key, v.value) AS breakdown
              FROM (SELECT c.tenant_id, k.key, round((avg(c.maturity) * 20)::numeric) AS value
                      FROM tenant_controls c
                      JOIN category k ON k.id = c.control_id
                     WHERE c.status <> 'not_applicable' AND k.key IS NOT NULL
                       AND (only_tenant IS NULL OR c.tenant_id = only_tenant)
                     GROUP BY c.tenant_id, k.key) AS v
             GROUP BY v.tenant_id
        ), framework AS (
            SELECT s.tenant_id,
                   (sum(r.readiness * s.weight) / nullif(sum(s.weight), 0))::float8 AS readiness
              FROM tenant_framework_selections s
              JOIN v_framework_readiness r
                ON r.tenant_id = s.tenant_id AND r.framework_id = s.framework_id
             WHERE only_tenant IS NULL OR s.tenant_id = only_tenant
             GROUP BY s.tenant_id
        ), finding AS (
            SELECT f.tenant_id,
                   count(*) FILTER (WHERE f.severity = 'critical') AS critical,
                   count(*) FILTER (WHERE f.severity = 'high') AS high,
                   count(*) FILTER (WHERE f.severity = 'medium') AS medium,
                   count(*) FILTER (WHERE f.severity = 'low') AS low
              FROM integration_findings f
             WHERE f.status = 'open' AND (only_tenant IS NULL OR f.tenant_id = only_tenant)
             GROUP BY f.tenant_id
        )
        INSERT INTO tenant_risk_snapshots AS stored
               (tenant_id, risk_score_1_100, category_breakdown, annualized_loss_expectancy,
                computed_at, snapshot_type)
        SELECT t.id, result.score,
               jsonb_build_object(
                   'control_maturity', result.control_maturity,
                   'evidence_coverage', result.evidence_coverage,
                   'framework_compliance', result.framework_compliance,
                   'integration_findings', result.integration_findings,
                   'subcategories', coalesce(subcategory.breakdown, '{}'::jsonb)),
               result.annualized_loss_expectancy::numeric,
               now(), fn_write_risk_snapshots.snapshot_type
          FROM tenants t
          LEFT JOIN active ON active.tenant_id = t.id
          LEFT JOIN control ON control.tenant_id = t.id
          LEFT JOIN subcategory ON subcategory.tenant_id = t.id
          LEFT JOIN framework ON framework.tenant_id = t.id
          LEFT JOIN finding ON finding.tenant_id = t.id
          LEFT JOIN industry_breach_costs own ON own.industry = t.industry
          LEFT JOIN industry_breach_costs other ON other.industry = 'default'
         CROSS JOIN LATERAL securatlas.risk_score(
                   control.average_maturity, control.evidence_share, framework.readiness,
                   finding.critical, finding.high, finding.medium, finding.low,
                   coalesce(own.avg_breach_cost, other.avg_breach_cost)::float8,
                   t.annual_revenue::float8, weights, penalties) AS result
         WHERE t.id = only_tenant OR active.tenant_id IS NOT NULL
        RETURNING stored.risk_score_1_100;
    END
    $fn$;
    COMMENT ON FUNCTION fn_write_risk_snapshots(uuid, text) IS 'Stores a snapshot for one tenant, or for each active tenant (NULL), in one statement; returns the scores.';

    CREATE OR REPLACE FUNCTION fn_recompute_all_tenant_risk_scores() RETURNS bigint
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
        SELECT count(*)
          FROM fn_write_risk_snapshots(NULL, CASE WHEN current_setting('cron.run_id', true) <> ''
                                                  THEN 'nightly' ELSE 'manual' END)
    $fn$;
    COMMENT ON FUNCTION fn_recompute_all_tenant_risk_scores() IS 'Stores a risk snapshot for each active tenant; returns their number.';

    CREATE OR REPLACE FUNCTION fn_recompute_tenant_risk_score(tenant_id uuid) RETURNS int
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
    DECLARE
        score int;
    BEGIN
        SELECT s INTO score
          FROM fn_write_risk_snapshots(fn_recompute_tenant_risk_score.tenant_id, 'event') AS s
         WHERE fn_recompute_tenant_risk_score.tenant_id IS NOT NULL;
        IF score IS NULL THEN
            RAISE EXCEPTION 'tenant % does not exist',
                coalesce(fn_recompute_tenant_risk_score.tenant_id::text, 'NULL')
                USING ERRCODE = 'no_data_found';
        END IF;
        RETURN score;
    END
    $fn$;
    COMMENT ON FUNCTION fn_recompute_tenant_risk_score(uuid) IS 'Stores a risk snapshot for one tenant; returns its score.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_risk_objects() IS 'The part of install() that makes the risk view and functions, in the first schema of search_path.';

CREATE FUNCTION securatlas._create_integration_objects() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    CREATE OR REPLACE FUNCTION fn_queue_sync(premium_only boolean) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        url CONSTANT text := current_setting('app.settings.edge_function_url', true);
        key CONSTANT text := current_setting('app.settings.service_role_key', true);
        missing CONSTANT text := concat_ws(', ',
            CASE WHEN coalesce(url, '') = '' THEN 'app.settings.edge_function_url' END,
            CASE WHEN coalesce(key, '') = '' THEN 'app.settings.service_role_key' END);
    BEGIN
        IF missing <> '' THEN
            RAISE EXCEPTION 'the integration sync is not configured'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = format('Not set: %s.', missing),
                      HINT = 'Set it with ALTER DATABASE ... SET, and start a new session.';
        END IF;
        -- Two callers at the same time would each not see the jobs of the other.
        PERFORM pg_advisory_xact_lock('integration_sync_jobs'::regclass::oid::bigint);
        WITH due AS MATERIALIZED (
            SELECT c.id AS connection_id, gen_random_uuid() AS sync_job_id
              FROM integration_connections c
             WHERE c.status = 'active'
               AND EXISTS (SELECT FROM tenant_subscriptions s
                            WHERE s.tenant_id = c.tenant_id
                              AND s.status IN ('active', 'trialing')
                              AND (s.plan = 'premium' OR NOT premium_only))
               AND NOT EXISTS (SELECT FROM integration_sync_jobs j
                                WHERE j.connection_id = c.id
                                  AND j.status IN ('queued', 'dispatched')
                                  AND j.created_at > now() - interval '6 hours')
        )
        INSERT INTO integration_sync_jobs (id, connection_id, status, request_id, created_at)
        SELECT due.sync_job_id, due.connection_id, 'queued',
               net.http_post(
                   url := rtrim(url, '/') || '/trigger-sync',
                   body := jsonb_build_object('connection_id', due.connection_id,
                                              'sync_job_id', due.sync_job_id),
                   headers := jsonb_build_object('Content-Type', 'application/json',
                                                 'Authorization', 'Bearer ' || key),
                   timeout_milliseconds := 10000),
               now()
          FROM due;
    END
    $fn$;
    COMMENT ON FUNCTION fn_queue_sync(boolean) IS 'Asks the edge function to sync each active connection of the active tenants, or of those whose plan is premium.';

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

    CREATE OR REPLACE FUNCTION fn_refresh_expiring_tokens(within interval DEFAULT '7 hours')
        RETURNS void LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    BEGIN
        IF NOT EXISTS (SELECT FROM integration_connections c
                        WHERE c.status = 'active' AND c.auth_type = 'oauth'
                          AND c.refresh_token_name IS NOT NULL
                          AND c.token_expires_at < now() + within) THEN
            RETURN;
        END IF;
        IF to_regprocedure('net.http_post_form(text, jsonb, jsonb, integer)') IS NULL THEN
            RAISE EXCEPTION 'net.http_post_form() does not exist'
                USING ERRCODE = 'feature_not_supported',
                      DETAIL = 'Tokens are due, and the request that refreshes them is a form.',
                      HINT = 'Update the extension.';
        END IF;
        -- {{secret:name}} is replaced when the request is sent: no secret is read or stored here.
        PERFORM net.http_post_form(
                    url := p.token_endpoint,
                    form := jsonb_strip_nulls(jsonb_build_object(
                        'grant_type', 'refresh_token',
                        'refresh_token', '{{secret:' || c.refresh_token_name || '}}',
                        'client_id', p.client_id,
                        'client_secret', '{{secret:' || p.client_secret_name || '}}')),
                    headers := '{}'::jsonb,
                    timeout_milliseconds := 10000)
           FROM integration_connections c
           JOIN integration_providers p ON p.id = c.provider_id
          WHERE c.status = 'active' AND c.auth_type = 'oauth'
            AND c.refresh_token_name IS NOT NULL
            AND c.token_expires_at < now() + within;
    END
    $fn$;
    COMMENT ON FUNCTION fn_refresh_expiring_tokens(interval) IS 'Asks for new tokens for each active OAuth connection whose token expires within that time.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_integration_objects() IS 'The part of install() that makes the sync and token functions, in the first schema of search_path.';
