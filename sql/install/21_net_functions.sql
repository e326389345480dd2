-- ==== schema net: functions ==================================================================

CREATE FUNCTION net.http_get(
        url text,
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_get';
COMMENT ON FUNCTION net.http_get(text, jsonb, jsonb, int) IS 'Makes a GET request, which is sent when the transaction commits; returns its id.
url: http or https, without user and password; at most 65,536 bytes.
params: JSON object of parameters that are added to the query of the URL; NULL: none.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
Error 22023: an argument is not valid; the message names it.
Error 23502: url or timeout_milliseconds is NULL.
Error 42501: requests to this host are not allowed (net.allowed_hosts, net.blocked_networks), or the caller may not use the secret.
Error 53400: too many requests wait (net.max_pending_requests).';
CREATE FUNCTION net.http_post(
        url text,
        body jsonb DEFAULT '{}',
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{"Content-Type": "application/json"}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_post';
COMMENT ON FUNCTION net.http_post(text, jsonb, jsonb, jsonb, int) IS 'Makes a POST request, which is sent when the transaction commits; returns its id.
url: http or https, without user and password; at most 65,536 bytes.
body: sent as JSON; NULL: no body.
params: JSON object of parameters that are added to the query of the URL; NULL: none.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
Error 22023: an argument is not valid; the message names it.
Error 23502: url or timeout_milliseconds is NULL.
Error 42501: requests to this host are not allowed (net.allowed_hosts, net.blocked_networks), or the caller may not use the secret.
Error 53400: too many requests wait (net.max_pending_requests).';
CREATE FUNCTION net.http_delete(
        url text,
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{}',
        timeout_milliseconds int DEFAULT 5000,
        body jsonb DEFAULT NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_delete';
COMMENT ON FUNCTION net.http_delete(text, jsonb, jsonb, int, jsonb) IS 'Makes a DELETE request, which is sent when the transaction commits; returns its id.
url: http or https, without user and password; at most 65,536 bytes.
params: JSON object of parameters that are added to the query of the URL; NULL: none.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
body: sent as JSON; NULL: no body.
Error 22023: an argument is not valid; the message names it.
Error 23502: url or timeout_milliseconds is NULL.
Error 42501: requests to this host are not allowed (net.allowed_hosts, net.blocked_networks), or the caller may not use the secret.
Error 53400: too many requests wait (net.max_pending_requests).';

CREATE FUNCTION net.http_put(
        url text,
        body jsonb DEFAULT '{}',
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{"Content-Type": "application/json"}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_put';
COMMENT ON FUNCTION net.http_put(text, jsonb, jsonb, jsonb, int) IS 'Makes a PUT request, which is sent when the transaction commits; returns its id.
url: http or https, without user and password; at most 65,536 bytes.
body: sent as JSON; NULL: no body.
params: JSON object of parameters that are added to the query of the URL; NULL: none.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
Error 22023: an argument is not valid; the message names it.
Error 23502: url or timeout_milliseconds is NULL.
Error 42501: requests to this host are not allowed (net.allowed_hosts, net.blocked_networks), or the caller may not use the secret.
Error 53400: too many requests wait (net.max_pending_requests).';
CREATE FUNCTION net.http_patch(
        url text,
        body jsonb DEFAULT '{}',
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{"Content-Type": "application/json"}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_patch';
COMMENT ON FUNCTION net.http_patch(text, jsonb, jsonb, jsonb, int) IS 'Makes a PATCH request, which is sent when the transaction commits; returns its id.
url: http or https, without user and password; at most 65,536 bytes.
body: sent as JSON; NULL: no body.
params: JSON object of parameters that are added to the query of the URL; NULL: none.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
Error 22023: an argument is not valid; the message names it.
Error 23502: url or timeout_milliseconds is NULL.
Error 42501: requests to this host are not allowed (net.allowed_hosts, net.blocked_networks), or the caller may not use the secret.
Error 53400: too many requests wait (net.max_pending_requests).';
CREATE FUNCTION net.http_post_form(
        url text,
        form jsonb,
        headers jsonb DEFAULT '{}',
        timeout_milliseconds int DEFAULT 5000)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_post_form';
COMMENT ON FUNCTION net.http_post_form(text, jsonb, jsonb, int) IS 'Makes a POST request whose body is a form, which is sent when the transaction commits; returns its id. {{secret:name}} in a value is replaced by the secret when it is sent.
url: http or https, without user and password; at most 65,536 bytes.
form: JSON object of the fields. {{secret:name}} in a value is replaced by the secret when the request is sent.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.';
CREATE FUNCTION net.http_post_form(
        url text,
        form jsonb,
        headers jsonb,
        timeout_milliseconds int,
        max_attempts int,
        retry text DEFAULT NULL,
        idempotency_key text DEFAULT NULL,
        not_before timestamptz DEFAULT NULL,
        expires_in interval DEFAULT NULL,
        on_response regprocedure DEFAULT NULL,
        store_response text DEFAULT 'full')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_post_form';
COMMENT ON FUNCTION net.http_post_form(text, jsonb, jsonb, int, int, text, text, timestamptz, interval, regprocedure, text) IS 'Makes a POST request whose body is a form, with all the options of net.http_request(); returns its id.
url: http or https, without user and password; at most 65,536 bytes.
form: JSON object of the fields. {{secret:name}} in a value is replaced by the secret when the request is sent.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
max_attempts: 1 to 1,000; NULL: net.max_attempts.
retry: after which failures it is tried again: never, unsent (it certainly had no effect), idempotent, always; NULL: unsent.
idempotency_key: sent as Idempotency-Key with every attempt; NULL: a random one.
not_before: it is not sent before; NULL: at once.
expires_in: if it has not been sent by then, it is recorded as expired; NULL: never.
on_response: function(net._http_response) that is called once with the outcome, as the caller.
store_response: what is recorded of the response: full, headers, status, or sealed (the body encrypted).';
CREATE FUNCTION net.http_request(
        method text,
        url text,
        params jsonb DEFAULT '{}',
        headers jsonb DEFAULT '{}',
        body bytea DEFAULT NULL,
        timeout_milliseconds int DEFAULT 5000,
        max_attempts int DEFAULT NULL,
        retry text DEFAULT NULL,
        idempotency_key text DEFAULT NULL,
        not_before timestamptz DEFAULT NULL,
        expires_in interval DEFAULT NULL,
        on_response regprocedure DEFAULT NULL,
        store_response text DEFAULT 'full')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_http_request';
COMMENT ON FUNCTION net.http_request(text, text, jsonb, jsonb, bytea, int, int, text, text, timestamptz, interval, regprocedure, text) IS 'Makes a request of any method, which is sent when the transaction commits; returns its id.
method: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
url: http or https, without user and password; at most 65,536 bytes.
params: JSON object of parameters that are added to the query of the URL; NULL: none.
headers: JSON object of headers; NULL: none. {{secret:name}} in a value is replaced by the secret when the request is sent.
body: the bytes; NULL: none.
timeout_milliseconds: limit for each attempt, 1 to 3,600,000.
max_attempts: 1 to 1,000; NULL: net.max_attempts.
retry: after which failures it is tried again: never, unsent (it certainly had no effect), idempotent, always; NULL: unsent.
idempotency_key: sent as Idempotency-Key with every attempt; NULL: a random one.
not_before: it is not sent before; NULL: at once.
expires_in: if it has not been sent by then, it is recorded as expired; NULL: never.
on_response: function(net._http_response) that is called once with the outcome, as the caller.
store_response: what is recorded of the response: full, headers, status, or sealed (the body encrypted).';

-- ==== secrets ================================================================================

CREATE FUNCTION net.set_secret(name text, value text) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_set_secret';
COMMENT ON FUNCTION net.set_secret(text, text) IS 'Makes a secret that belongs to the caller, or gives a secret a new value. {{secret:name}} in a header or form value is replaced by it when the request is sent.
name: name of the secret, unique over all roles: 1 to 200 ASCII letters, digits and characters of "_.:/-".
value: at most 65,536 bytes.
Error 22023: the name or the value is not valid.
Error 42501: the secret belongs to another role.';
CREATE FUNCTION net.drop_secret(name text) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_drop_secret';
COMMENT ON FUNCTION net.drop_secret(text) IS 'Drops a secret. False: there is none of this name that the caller may drop.
name: name of the secret, unique over all roles: 1 to 200 ASCII letters, digits and characters of "_.:/-".';
CREATE FUNCTION net.grant_secret(name text, role regrole) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_grant_secret';
COMMENT ON FUNCTION net.grant_secret(text, regrole) IS 'Lets a role and its members use a secret in requests. Nobody can read its value. Superusers need this grant too.
name: name of the secret, unique over all roles: 1 to 200 ASCII letters, digits and characters of "_.:/-".
role: the role.
Error 42501: there is no such secret, or the caller does not own it.';
CREATE FUNCTION net.revoke_secret(name text, role regrole) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_revoke_secret';
COMMENT ON FUNCTION net.revoke_secret(text, regrole) IS 'Undoes net.grant_secret(). False: the secret was not granted to the role.
name: name of the secret, unique over all roles: 1 to 200 ASCII letters, digits and characters of "_.:/-".
role: the role.';

CREATE VIEW net.secrets WITH (security_barrier) AS
SELECT s.name, s.owner, s.created, s.updated,
       ARRAY(SELECT g.role FROM net.secret_grant g WHERE g.name = s.name ORDER BY g.role::oid) AS granted_to
  FROM net.secret s
 WHERE pg_catalog.pg_has_role(s.owner, 'USAGE')
    OR EXISTS (SELECT FROM net.secret_grant g
                WHERE g.name = s.name AND pg_catalog.pg_has_role(g.role, 'USAGE'));
COMMENT ON VIEW net.secrets IS 'Secrets that the caller may use or administer, without their values.';
COMMENT ON COLUMN net.secrets.name IS 'Name of the secret.';
COMMENT ON COLUMN net.secrets.owner IS 'Role that made it.';
COMMENT ON COLUMN net.secrets.created IS 'When it was made.';
COMMENT ON COLUMN net.secrets.updated IS 'When its value was last set.';
COMMENT ON COLUMN net.secrets.granted_to IS 'Roles that may use it besides its owner, with their members.';
--- only when installed
GRANT SELECT ON net.secrets TO PUBLIC;
--- also when updated

-- ==== the response to a request ==============================================================

--- only when installed
CREATE TYPE net.request_status AS ENUM ('PENDING', 'SUCCESS', 'ERROR');
CREATE TYPE net.http_response AS (status_code int, headers jsonb, body text);
CREATE TYPE net.http_response_result AS (status net.request_status, message text, response net.http_response);
--- also when updated
COMMENT ON TYPE net.request_status IS 'State of a request: PENDING, SUCCESS or ERROR.';
COMMENT ON TYPE net.http_response IS 'An HTTP response.';
COMMENT ON TYPE net.http_response_result IS 'An HTTP response, or the reason why there is none.';

CREATE FUNCTION net._await_response(request_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_await_response';
COMMENT ON FUNCTION net._await_response(bigint) IS 'Waits until the response to a request is recorded. False: the caller has no such request, or it was deleted.';

CREATE FUNCTION net._http_collect_response(request_id bigint, async boolean DEFAULT true)
    RETURNS net.http_response_result
    LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_response net._http_response;
    is_queued boolean;
BEGIN
    is_queued := EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = request_id);
    IF is_queued AND NOT async THEN
        PERFORM net._await_response(request_id);
    END IF;
    SELECT r.* INTO found_response FROM net._http_response r WHERE r.id = request_id;
    IF found_response.id IS NULL AND is_queued THEN
        RETURN ('PENDING', 'request is pending', NULL)::net.http_response_result;
    END IF;
    IF found_response.id IS NULL OR found_response.error_msg IS NOT NULL THEN
        RETURN ('ERROR', coalesce(found_response.error_msg, 'request matching request_id not found'),
                NULL)::net.http_response_result;
    END IF;
    RETURN ('SUCCESS', 'ok', (found_response.status_code, found_response.headers,
                              found_response.content)::net.http_response)::net.http_response_result;
END $$;
COMMENT ON FUNCTION net._http_collect_response(bigint, boolean) IS 'Returns the response to a request; with async => false, waits for it.
request_id: id that the function which made the request has returned.
async: false: waits until the response is recorded.';
CREATE FUNCTION net.http_collect_response(request_id bigint, async boolean DEFAULT true)
    RETURNS net.http_response_result
    LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT net._http_collect_response(request_id, async) $$;
COMMENT ON FUNCTION net.http_collect_response(bigint, boolean) IS 'Returns the response to a request; with async => false, waits for it.
request_id: id that the function which made the request has returned.
async: false: waits until the response is recorded.';

-- ==== the http worker ========================================================================

CREATE FUNCTION net.wake() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_net_wake';
COMMENT ON FUNCTION net.wake() IS 'Makes the http worker look for requests when the transaction commits, which the functions that make requests do themselves, and removes responses older than net.ttl.';
CREATE FUNCTION net.worker_restart() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_net_worker_restart';
COMMENT ON FUNCTION net.worker_restart() IS 'Makes the server read its configuration again, and replaces the http worker of this database by a new one, which sends the requests in flight again. False: there was none to replace, and one is started.';
--- only when installed
REVOKE ALL ON FUNCTION net.worker_restart() FROM PUBLIC;
--- also when updated
CREATE FUNCTION net._worker_is_up() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_net_worker_is_up';
COMMENT ON FUNCTION net._worker_is_up() IS 'True if the http worker of this database is running, or, unless it is always there (pg_net.database_name), the scheduler, which starts it when there are requests.';
CREATE FUNCTION net.wait_until_running() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WHILE NOT (net._worker_is_up() AND current_setting('net.send_requests')::boolean) LOOP
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
COMMENT ON FUNCTION net.wait_until_running() IS 'Waits until requests of this database can be sent.';
CREATE FUNCTION net.check_worker_is_up() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT current_setting('net.send_requests')::boolean THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = 'requests are not sent',
                  DETAIL = 'net.send_requests is off.',
                  HINT = 'An administrator can switch it on; no restart is needed.';
    END IF;
    IF NOT net._worker_is_up() THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = 'the http worker of this database is not running',
                  HINT = 'See the server log.';
    END IF;
END $$;
COMMENT ON FUNCTION net.check_worker_is_up() IS 'Raises an error if requests of this database cannot be sent now.';

-- ==== URLs ===================================================================================

CREATE FUNCTION net._urlencode_string(string varchar) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_urlencode_string';
COMMENT ON FUNCTION net._urlencode_string(varchar) IS 'Percent-encodes every byte except ASCII letters, digits and "-._~".';
CREATE FUNCTION net._encode_url_with_params_array(url text, params_array text[]) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'securatlas_encode_url_with_params_array';
COMMENT ON FUNCTION net._encode_url_with_params_array(text, text[]) IS 'Appends query parameters to a URL; each is "name=value" and encoded already.';
