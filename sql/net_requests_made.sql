-- Schema net: what net.http_request() and its like accept, refuse and put into the queue, and secrets.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
\set VERBOSITY default

-- All four parts of the error that a statement ends with.
CREATE FUNCTION error_of(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;

CREATE FUNCTION on_reply(response net._http_response) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION on_other(response text) RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE on_call(response net._http_response) LANGUAGE sql AS '';

-- ==== what is put into the queue ===============================================================
BEGIN;
SELECT count(net.set_secret(name, 'value')) FROM unnest('{a,b/c}'::text[]) AS name;
SELECT net.http_request('patch', 'http://example.com/a?x=1', params := '{"y": "2 3"}',
                        headers := '{"X-Plain": "seen", "Authorization": "Bearer hidden",
                                     "X-Ref": "{{secret:a}} {{secret:b/c}} {{secret:a}}"}',
                        body := '\x0001ff', timeout_milliseconds := 10, max_attempts := 7, retry := 'always',
                        idempotency_key := 'mine', not_before := now() + interval '1 day', expires_in := '2 days',
                        on_response := 'on_reply(net._http_response)'::regprocedure, store_response := 'sealed') AS full \gset
SELECT method, url, host, headers, body, timeout_milliseconds, max_attempts, retry, own_key, idempotency_key,
       ready_at = now() + interval '1 day' AS ready, expires_at >= now() + interval '2 days' AS expires, on_response,
       store_response, header_secrets, form_secrets
  FROM net.http_request_queue WHERE id = :full;
SELECT length(sealed_headers) > 50 AS sealed, position('hidden'::bytea IN sealed_headers) AS found
  FROM net.http_request_queue WHERE id = :full;
SELECT net.http_post_form('http://example.com/', '{"a": "1 & 2", "b": 3, "c": true, "d": "{{secret:b/c}}"}') AS form \gset
SELECT net.http_post_form('http://example.com/', '{}', '{"Content-Type": "a/b"}', 5, max_attempts := 2) AS form2 \gset
SELECT net.http_put('http://example.com/', '{"a": 1}') AS put \gset
SELECT net.http_request('GET', 'http://example.com/') AS get \gset
SELECT method, headers, convert_from(body, 'UTF8') AS body, max_attempts, retry, own_key, form_secrets
  FROM net.http_request_queue WHERE id IN (:form, :form2, :put, :get) ORDER BY id;
ROLLBACK;

-- ==== what is refused ==========================================================================
SELECT e.* FROM unnest(ARRAY[
    $$ SELECT net.http_request(NULL, 'http://example.com/') $$,
    $$ SELECT net.http_request('TRACE', 'http://example.com/') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', max_attempts := 0) $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', max_attempts := 1001) $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', retry := 'sometimes') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', idempotency_key := '') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', idempotency_key := E'a\nb') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', idempotency_key := 'a', headers := '{"idempotency-key": "b"}') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', not_before := 'infinity') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', expires_in := '0') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', expires_in := '1 day', not_before := now() + interval '2 days') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', store_response := 'some') $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', store_response := NULL) $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', on_response := 'on_other(text)'::regprocedure) $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', on_response := 'on_call(net._http_response)'::regprocedure) $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', on_response := 1) $$,
    $$ SELECT net.http_request('POST', 'http://example.com/', body := convert_to(repeat('x', 33554433), 'UTF8')) $$,
    $$ SELECT net.http_request('GET', 'http://example.com/', headers := '{"X": "{{secret:nobody}}"}') $$,
    $$ SELECT net.http_post_form('http://example.com/', NULL) $$,
    $$ SELECT net.http_post_form('http://example.com/', '[]') $$,
    $$ SELECT net.http_post_form('http://example.com/', '{"a": null}') $$,
    $$ SELECT net.http_post_form('http://example.com/', '{"a": {"b": 1}}') $$,
    $$ SELECT net.http_post_form('http://example.com/', '{"a": "{{secret:nobody}}"}') $$
]) AS statement, error_of(statement) AS e;
SELECT count(*) FROM net.http_request_queue;

-- ==== secrets ==================================================================================
SELECT e.* FROM unnest(ARRAY[
    $$ SELECT net.set_secret('', 'x') $$,
    $$ SELECT net.set_secret('a b', 'x') $$,
    $$ SELECT net.set_secret(repeat('x', 201), 'x') $$,
    $$ SELECT net.set_secret('long', repeat('x', 65537)) $$,
    $$ SELECT net.grant_secret('nobody', current_user::regrole) $$,
    $$ SELECT net.revoke_secret('nobody', current_user::regrole) $$
]) AS statement, error_of(statement) AS e;
SELECT net.drop_secret('nobody') AS dropped, net.set_secret(NULL, 'x') IS NULL AS nothing;

CREATE ROLE secret_owner;
CREATE ROLE secret_user;
CREATE ROLE secret_team;
CREATE ROLE secret_nologin NOLOGIN;
GRANT USAGE ON SCHEMA net TO secret_owner, secret_user, secret_team, secret_nologin;
GRANT secret_team TO secret_user;
GRANT EXECUTE ON FUNCTION error_of(text) TO PUBLIC;
SET ROLE secret_owner;
SELECT net.set_secret('theirs', 'value');
SELECT name, owner, granted_to FROM net.secrets;
SET ROLE secret_user;
SELECT count(*) FROM net.secrets;
SELECT e.* FROM unnest(ARRAY[
    $$ SELECT net.http_get('http://example.com/', headers := '{"X": "{{secret:theirs}}"}') $$,
    $$ SELECT net.set_secret('theirs', 'mine') $$,
    $$ SELECT net.drop_secret('theirs') $$,
    $$ SELECT net.grant_secret('theirs', 'secret_user') $$,
    $$ INSERT INTO net.secret (name, sealed, owner) VALUES ('x', '', 'secret_user') $$,
    $$ UPDATE net.secret SET owner = 'secret_user' $$
]) AS statement, error_of(statement) AS e;
SELECT (SELECT count(*) FROM net.secret) AS secrets, (SELECT count(*) FROM net.secret_grant) AS grants;
SET ROLE secret_owner;
SELECT net.grant_secret('theirs', 'secret_team');
SELECT net.grant_secret('theirs', 'secret_team');
SET ROLE secret_user;
SELECT name, owner, granted_to FROM net.secrets;
BEGIN;
SELECT net.http_get('http://example.com/', headers := '{"X": "{{secret:theirs}}"}') IS NOT NULL AS made;
ROLLBACK;
SET ROLE secret_owner;
SELECT net.revoke_secret('theirs', 'secret_team') AS revoked, net.revoke_secret('theirs', 'secret_team') AS again;
-- A role that cannot log in has nobody to call its function.
SET ROLE secret_nologin;
SELECT * FROM error_of($$ SELECT net.http_request('GET', 'http://example.com/', on_response := 'on_reply(net._http_response)'::regprocedure) $$);
RESET ROLE;
-- A value that is set again is sealed anew, and the owner stays.
SELECT sealed AS before FROM net.secret WHERE name = 'theirs' \gset
SELECT net.set_secret('theirs', 'value');
SELECT owner, sealed <> :'before' AS changed, updated >= created AS later FROM net.secret WHERE name = 'theirs';
SELECT net.drop_secret('theirs') AS dropped, (SELECT count(*) FROM net.secret_grant) AS grants;
BEGIN READ ONLY;
SELECT net.set_secret('read', 'only');
ROLLBACK;

-- ==== settings =================================================================================
SELECT name, setting, context FROM pg_settings WHERE name LIKE 'net.%' ORDER BY name;
ALTER SYSTEM SET net.blocked_networks = '10.0.0.0/33';
ALTER SYSTEM SET net.allowed_hosts = 'a b';
ALTER SYSTEM SET net.follow_redirects = 'some';

DROP PROCEDURE on_call;
DROP FUNCTION on_other, on_reply, error_of;
DROP OWNED BY secret_owner, secret_user, secret_team, secret_nologin;
DROP ROLE secret_owner, secret_user, secret_team, secret_nologin;
