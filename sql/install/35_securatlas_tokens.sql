-- ==== schema securatlas: the token refresh that install() creates ============================

-- Each refresh is one request. Its idempotency key, token_refresh/<connection>/<attempt>/<tenant>, tells the
-- callback all that it needs; without the tenant Citus would have to ask all nodes for the connection. A provider that rotates refresh tokens accepts each of them once, so
-- that a connection must never have two refreshes in progress.

CREATE FUNCTION securatlas._create_token_request() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- With row_security on, unlike the other functions: the role is meant to see its own requests
    -- only.
    CREATE OR REPLACE FUNCTION fn_refreshes_under_way() RETURNS SETOF uuid
        LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
        SET search_path FROM CURRENT
        SET row_security = on
    AS $fn$
        SELECT split_part(q.idempotency_key, '/', 2)::uuid FROM net.http_request_queue q
         WHERE q.created_by = quote_ident(current_user)::regrole
           AND q.idempotency_key ~ '^token_refresh/[0-9a-f-]{36}/\d+(/|$)'
        UNION ALL
        SELECT split_part(r.idempotency_key, '/', 2)::uuid FROM net._http_response r
         WHERE r.callback_state = 'waiting' AND r.created_by = quote_ident(current_user)::regrole
           AND r.idempotency_key ~ '^token_refresh/[0-9a-f-]{36}/\d+(/|$)'
    $fn$;
    COMMENT ON FUNCTION fn_refreshes_under_way() IS 'Connections with a token refresh that waits to be sent, is being sent, or whose callback waits.';

    -- {{secret:name}} is replaced when the request is sent: no secret is read or stored here. If
    -- one connection's request is invalid (its endpoint is not a URL, for example), that must not
    -- stop the others.
    DROP FUNCTION IF EXISTS fn_request_tokens(uuid, int);    -- of version 0.1
    EXECUTE securatlas._with_tenant($create$
    CREATE OR REPLACE FUNCTION fn_request_tokens(connection_id uuid, attempt int, tenant uuid) RETURNS text
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        facts record;
    BEGIN
        SELECT c.refresh_token_name, p.id AS provider_id, p.key, p.token_endpoint, p.client_id,
               p.client_secret_name
          INTO facts
          FROM integration_connections c
          LEFT JOIN integration_providers p ON p.id = c.provider_id
         WHERE /*integration_connections: c.tenant_id = tenant AND*/ c.id = connection_id;
        IF facts.provider_id IS NULL THEN
            RETURN 'token refresh: the provider does not exist';
        ELSIF coalesce(facts.token_endpoint, '') = '' THEN
            RETURN format('token refresh: provider %s has no token endpoint', facts.key);
        ELSIF facts.refresh_token_name IS NULL THEN
            RETURN 'token refresh: the connection has no refresh token';
        END IF;
        PERFORM net.http_post_form(
                    url => facts.token_endpoint,
                    form => jsonb_strip_nulls(jsonb_build_object(
                        'grant_type', 'refresh_token',
                        'refresh_token', '{{secret:' || facts.refresh_token_name || '}}',
                        'client_id', facts.client_id,
                        'client_secret', '{{secret:' || facts.client_secret_name || '}}')),
                    headers => '{"Accept": "application/json"}',
                    timeout_milliseconds => 30000,
                    max_attempts => 1,
                    retry => 'never',
                    idempotency_key => concat_ws('/', 'token_refresh', connection_id, attempt, tenant),
                    not_before => CASE WHEN attempt > 1 THEN
                        now() + interval '1 minute' * 4 ^ (attempt - 2) END,
                    on_response => 'fn_on_token_response(net._http_response)'::regprocedure,
                    store_response => 'sealed');
        RETURN NULL;
    EXCEPTION WHEN data_exception OR undefined_object OR insufficient_privilege THEN
        RETURN 'token refresh: ' || sqlerrm;
    END
    $fn$ $create$);
    COMMENT ON FUNCTION fn_request_tokens(uuid, int, uuid) IS 'Requests new tokens from the provider of a connection of that tenant. The second attempt is delayed by a minute, each later one by four times as long. Returns NULL, or the reason why no request was made.';

    EXECUTE securatlas._with_tenant($create$
    CREATE OR REPLACE FUNCTION fn_refresh_expiring_tokens(within interval DEFAULT '7 hours')
        RETURNS void LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        due record;
        reason text;
    BEGIN
        -- Two calls at the same time would not see each other's requests.
        PERFORM pg_advisory_xact_lock('integration_connections'::regclass::oid::bigint);
        FOR due IN
            SELECT c.id, c.tenant_id
              FROM integration_connections c
             WHERE c.status::text = 'active' AND c.auth_type::text = 'oauth'
               AND c.token_expires_at < now() + within
               AND c.id NOT IN (SELECT other FROM fn_refreshes_under_way() AS other)
             ORDER BY c.token_expires_at
        LOOP
            reason := fn_request_tokens(due.id, 1, due.tenant_id);
            UPDATE integration_connections c SET last_error = reason
             WHERE /*integration_connections: c.tenant_id = due.tenant_id AND*/ c.id = due.id
               AND reason IS NOT NULL;
        END LOOP;
    END
    $fn$ $create$);
    COMMENT ON FUNCTION fn_refresh_expiring_tokens(interval) IS 'Requests new tokens for each active OAuth connection whose token expires within that time.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_token_request() IS 'The part of install() that creates the functions that request tokens, in the first schema of search_path.';

CREATE FUNCTION securatlas._token_answer(
    content text, OUT access_token text, OUT refresh_token text, OUT lifetime interval,
    OUT error text
) RETURNS record LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_token_answer';
COMMENT ON FUNCTION securatlas._token_answer(text) IS 'Reads the response of a token endpoint. Without expires_in the lifetime is an hour. The error repeats well-known words of the response only, since it might hold a token.';

CREATE FUNCTION securatlas._create_token_response() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- May be called again for the same response after a crash; it then does the same once more.
    EXECUTE securatlas._with_tenant($create$
    CREATE OR REPLACE FUNCTION fn_on_token_response(response net._http_response) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
    AS $fn$
    DECLARE
        max_attempts CONSTANT int := 5;
        connection integration_connections;
        attempt CONSTANT int := split_part(response.idempotency_key, '/', 3)::int;
        tenant uuid := nullif(split_part(response.idempotency_key, '/', 4), '');
        answer record;
        reason text;
    BEGIN
        IF tenant IS NULL THEN    -- a request of an earlier version; Citus locks rows of one tenant only
            SELECT c.tenant_id INTO tenant FROM integration_connections c
             WHERE c.id = split_part(response.idempotency_key, '/', 2)::uuid;
        END IF;
        SELECT c.* INTO connection FROM integration_connections c
         WHERE /*integration_connections: c.tenant_id = tenant AND*/
               c.id = split_part(response.idempotency_key, '/', 2)::uuid
           FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        answer := securatlas._token_answer(response.content);
        IF response.status_code = 200 AND answer.access_token IS NOT NULL THEN
            connection.access_token_name := coalesce(
                connection.access_token_name, format('connection/%s/access_token', connection.id));
            PERFORM net.set_secret(connection.access_token_name, answer.access_token);
            IF answer.refresh_token IS NOT NULL THEN
                PERFORM net.set_secret(connection.refresh_token_name, answer.refresh_token);
            END IF;
            UPDATE integration_connections c
               SET token_expires_at = response.created + answer.lifetime, last_error = NULL,
                   access_token_name = connection.access_token_name
             WHERE /*integration_connections: c.tenant_id = tenant AND*/ c.id = connection.id;
            RETURN;
        END IF;
        IF answer.error = 'invalid_grant' AND response.status_code BETWEEN 400 AND 499 THEN
            UPDATE integration_connections c
               SET status = 'reauth_required',
                   last_error = 'token refresh: the provider does not accept the refresh token any more (invalid_grant)'
             WHERE /*integration_connections: c.tenant_id = tenant AND*/ c.id = connection.id AND c.status::text IN ('active', 'error');
            RETURN;
        END IF;
        reason := coalesce(
            response.error_msg,
            format('the provider answered %s, %s', response.status_code,
                   coalesce(answer.error, 'no error')),
            response.state);
        UPDATE integration_connections c
           SET last_error = format('token refresh, attempt %s of %s: %s', attempt, max_attempts, reason)
         WHERE /*integration_connections: c.tenant_id = tenant AND*/ c.id = connection.id;
        IF attempt < max_attempts AND connection.status::text = 'active' THEN
            reason := fn_request_tokens(connection.id, attempt + 1, tenant);
            UPDATE integration_connections c SET last_error = reason
             WHERE /*integration_connections: c.tenant_id = tenant AND*/ c.id = connection.id AND reason IS NOT NULL;
        END IF;
    END
    $fn$ $create$);
    COMMENT ON FUNCTION fn_on_token_response(net._http_response) IS 'Callback with the response of a token endpoint: stores the tokens as secrets, or else the reason, and tries again if that may help.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_token_response() IS 'The part of install() that creates the callback for tokens, in the first schema of search_path.';
