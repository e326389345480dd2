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
