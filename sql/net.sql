-- Schema net: what the functions accept and refuse, what they put into the queue, who sees it, and
-- what becomes of a request that nobody answers.
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

-- ==== what is put into the queue ===============================================================
-- Seen in the transaction that makes it: nothing is sent before it commits.
BEGIN;
SELECT net.http_get('HTTP://Example.COM?a=1#part') AS get \gset
SELECT net.http_post('https://example.com/x', '{"b": [1, 2]}', '{"p q": "1&2", "n": 5, "none": null}',
                     '{"X-Number": 5, "X-Bool": true}', 1) AS post \gset
SELECT net.http_delete('http://[::1]:8080/', body := '{}', headers := '{"content-type": "a/b"}',
                       timeout_milliseconds := 3600000) AS delete \gset
SELECT net.http_post('http://example.com/', body := NULL, params := NULL,
                     headers := '{"Idempotency-Key": "mine"}') AS keyed \gset
-- NULL headers and parameters are none; by position, as others call it.
SELECT net.http_get('http://example.com/', NULL::jsonb, NULL::jsonb, 100) AS bare \gset
SELECT net.http_post('http://example.com/', '{}', NULL, NULL, 100) AS typed \gset
SELECT net.http_delete('http://example.com/', NULL, NULL, 100, NULL) AS none \gset
SELECT net.http_request('PUT', 'http://example.com/', NULL, NULL) AS put \gset
SELECT net.http_post_form('http://example.com/', '{"a": 1}', NULL) AS form \gset
SELECT method, url, headers, convert_from(body, 'UTF8') AS body, timeout_milliseconds
  FROM net.http_request_queue ORDER BY id;
SELECT created = ready_at AS ready, created_by = current_user::regrole AS own, runid, attempts,
       max_attempts = current_setting('net.max_attempts')::int AS max, retry, sealed_headers,
       expires_at, on_response, store_response, last_error,
       idempotency_key = 'mine' AS own_key, length(idempotency_key) AS key
  FROM net.http_request_queue ORDER BY id;
SELECT count(DISTINCT idempotency_key) FROM net.http_request_queue;
-- Keys that are made here are random UUIDs, however many are asked for at once.
SAVEPOINT keys;
SELECT count(net.http_get('http://keys.example.com/')) FROM generate_series(1, 1000);
SELECT count(DISTINCT idempotency_key),
       bool_and(idempotency_key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS uuids
  FROM net.http_request_queue WHERE url = 'http://keys.example.com/';
ROLLBACK TO SAVEPOINT keys;
SELECT :post > :get AND :delete > :post AS ids_grow;
SELECT net._http_collect_response(:get);
SELECT code, replace(message, :'get', 'N') AS message, detail, hint
  FROM error_of(format('SELECT net._await_response(%s)', :get));
ROLLBACK;
SELECT count(*) FROM net.http_request_queue;
SELECT net._http_collect_response(:get);

-- Bodies too long for a page.
BEGIN;
SELECT net.http_post('http://example.com/', jsonb_build_object('long', repeat('x', 100000))) AS long \gset
SELECT length(body) FROM net.http_request_queue WHERE id = :long;
ROLLBACK;

-- ==== what is refused ==========================================================================
SELECT e.* FROM unnest(ARRAY[
    $$ SELECT net.http_get(NULL) $$,
    $$ SELECT net.http_get('') $$,
    $$ SELECT net.http_get('example.com') $$,
    $$ SELECT net.http_get('ftp://example.com/') $$,
    $$ SELECT net.http_get('http://') $$,
    $$ SELECT net.http_get('http://user:password@example.com/') $$,
    $$ SELECT net.http_get('http://example.com:99999/') $$,
    $$ SELECT net.http_get(E'http://example.com/\r\nX: y') $$,
    $$ SELECT net.http_get('http://example.com/', params := '[1]') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '"text"') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '{"a b": "c"}') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '{"": "c"}') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '{"X-Secret": "s3cret\r\nX: y"}') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '{"a": null}') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '{"a": ["b"]}') $$,
    $$ SELECT net.http_get('http://example.com/', headers := '{"a": "1", "A": "2"}') $$,
    $$ SELECT net.http_get('http://example.com/', timeout_milliseconds := NULL) $$,
    $$ SELECT net.http_get('http://example.com/', timeout_milliseconds := 0) $$,
    $$ SELECT net.http_post('http://example.com/', timeout_milliseconds := 3600001) $$
]) AS statement, error_of(statement) AS e;
BEGIN READ ONLY;
SELECT net.http_get('http://example.com/');
ROLLBACK;

-- ==== the limit ================================================================================
-- All roles together may have twice as many, a role as many as it leaves free: the first takes half of the
-- room, the next half of the rest.
SET net.max_pending_requests = 5;
BEGIN;
CREATE ROLE "net first";
CREATE ROLE net_second;
GRANT USAGE ON SCHEMA net TO "net first", net_second;
SET ROLE "net first";
SELECT count(net.http_get('http://example.com/')) FROM generate_series(1, 5);
SAVEPOINT at_limit;
SELECT net.http_get('http://example.com/');
ROLLBACK TO at_limit;
SELECT * FROM error_of($$ SELECT net.http_get('http://example.com/') $$);
SET ROLE net_second;
SELECT count(net.http_get('http://example.com/')) FROM generate_series(1, 3);
SELECT detail FROM error_of($$ SELECT net.http_get('http://example.com/') $$);
RESET ROLE;
SELECT net.http_get('http://example.com/') > 0 AS made;
SELECT detail FROM error_of($$ SELECT net.http_get('http://example.com/') $$);
SET net.max_pending_requests = 4;
SELECT * FROM error_of($$ SELECT net.http_get('http://example.com/') $$);
ROLLBACK;
SET net.max_pending_requests = 5;
BEGIN;
SELECT count(net.http_get('http://example.com/')) FROM generate_series(1, 5);
ROLLBACK;
RESET net.max_pending_requests;

-- ==== who may do and see what ==================================================================
CREATE ROLE net_nobody;
CREATE ROLE net_user;
CREATE ROLE net_other;
CREATE ROLE net_team;
GRANT USAGE ON SCHEMA net TO net_user, net_other, net_team;
GRANT net_user TO net_team;
GRANT EXECUTE ON FUNCTION error_of(text) TO PUBLIC;
SET ROLE net_nobody;
SELECT net.http_get('http://example.com/');
BEGIN;
SET ROLE net_user;
SELECT net.http_get('http://example.com/user') IS NOT NULL AS made;
SET ROLE net_other;
SELECT net.http_get('http://example.com/other') IS NOT NULL AS made;
SELECT url, created_by::regrole FROM net.http_request_queue;
SET ROLE net_team;
SELECT url FROM net.http_request_queue;
RESET ROLE;
SELECT url FROM net.http_request_queue ORDER BY id;
ROLLBACK;
SET ROLE net_user;
SELECT e.* FROM unnest(ARRAY[
    $$ INSERT INTO net.http_request_queue (method, url) VALUES ('GET', 'http://example.com/') $$,
    $$ UPDATE net.http_request_queue SET url = 'http://example.com/' $$,
    $$ UPDATE net._http_response SET content = NULL $$,
    $$ SELECT nextval('net.http_request_queue_id_seq') $$,
    $$ SELECT net.worker_restart() $$
]) AS statement, error_of(statement) AS e;
-- What one may see one may delete. TRUNCATE is the same, for a role that row security holds for.
BEGIN;
SELECT net.http_get('http://example.com/user') IS NOT NULL AS made;
SET ROLE net_other;
SELECT net.http_get('http://example.com/other') IS NOT NULL AS made;
DELETE FROM net.http_request_queue RETURNING url;
SELECT net.http_get('http://example.com/other') IS NOT NULL AS made;
TRUNCATE net.http_request_queue, net._http_response;
SELECT mode FROM pg_locks WHERE relation = 'net.http_request_queue'::regclass AND pid = pg_backend_pid() AND mode LIKE '%Exclusive%';
SELECT url, created_by::regrole FROM net.http_request_queue;
SET ROLE net_nobody;
SELECT * FROM error_of('TRUNCATE net.http_request_queue');
RESET ROLE;
SELECT url, created_by::regrole FROM net.http_request_queue;
INSERT INTO net._http_response (id, created_by, state)
VALUES (-100, 'net_user'::regrole, 'succeeded'), (-101, 'net_other'::regrole, 'failed'), (-102, NULL, 'failed');
SET ROLE net_user;
SET LOCAL search_path = net;
TRUNCATE TABLE ONLY _http_response RESTART IDENTITY;
RESET ROLE;
SELECT id FROM net._http_response ORDER BY id;
REVOKE TRUNCATE ON net._http_response FROM PUBLIC;
SET ROLE net_user;
SELECT * FROM public.error_of('TRUNCATE net._http_response');
SELECT * FROM public.error_of('CREATE TEMPORARY TABLE own (); TRUNCATE own, net._http_response');
RESET ROLE;
GRANT TRUNCATE ON net._http_response TO PUBLIC;
-- Who sees all rows of all tables may truncate them.
RESET ROLE;
ALTER ROLE net_user BYPASSRLS;
SET ROLE net_user;
TRUNCATE net._http_response;
RESET ROLE;
SELECT count(*) FROM net._http_response;
ROLLBACK;
RESET ROLE;

-- A search_path of the caller's leads nowhere.
CREATE SCHEMA net_trap;
CREATE FUNCTION net_trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'trapped'; END $$;
BEGIN;
SET LOCAL search_path = net_trap, pg_catalog;
SELECT net.http_get('http://example.com/') IS NOT NULL AS made;
ROLLBACK;

-- ==== small functions ==========================================================================
SELECT net._urlencode_string('a b&c/ü-_.~');
SELECT net._encode_url_with_params_array('http://example.com', ARRAY['a=1', NULL, 'b=%20']);
SELECT net._encode_url_with_params_array('http://example.com/?x=1', '{}');
SELECT * FROM error_of($$ SELECT net._encode_url_with_params_array('http://example.com', ARRAY['a#b']) $$);
SET statement_timeout = '60s';
SELECT net.wait_until_running();
SELECT net.check_worker_is_up();
SELECT net.wake();

-- ==== sent, and nobody there ===================================================================
SELECT net.http_get('http://127.0.0.1:1/nobody') AS nobody \gset
SELECT net._await_response(:nobody);
-- libcurl's words for it differ from version to version.
SELECT status_code, content, timed_out, error_msg ILIKE '%connect to server%' AS says_why, attempts, method, url, created_by = current_user::regrole AS own,
       content_bytes, truncated, headers
  FROM net._http_response WHERE id = :nobody;
SELECT status, message ILIKE '%connect to server%' AS says_why, response FROM net._http_collect_response(:nobody);
SELECT status, message ILIKE '%connect to server%' AS says_why, response FROM net.http_collect_response(:nobody, async => false);
SELECT count(*) FROM net.http_request_queue;

-- Rows that a superuser writes, right ones and damaged ones: each fails for itself.
INSERT INTO net.http_request_queue (id, method, url, headers, retry) VALUES
    (-1, 'GET', 'http://127.0.0.1:1/', '{}', 'never'),
    (-2, 'STEAL', 'http://127.0.0.1:1/', '{}', 'never'),
    (-3, 'GET', 'nowhere', '{}', 'never'),
    (-4, 'GET', 'http://127.0.0.1:1/', '[]', 'never'),
    (-5, 'GET', 'http://127.0.0.1:1/', '{"a b": "c"}', 'never'),
    (-6, 'GET', 'http://127.0.0.1:1/', '{}', 'sometimes');
INSERT INTO net.http_request_queue (id, method, url, expires_at) VALUES
    (-7, 'GET', 'http://127.0.0.1:1/', '2000-01-01');
SELECT count(net._await_response(-i)) FROM generate_series(1, 7) AS i;
SELECT id, regexp_replace(error_msg, 'Could(n''t| not) connect', 'Could not connect') AS error_msg, attempts
  FROM net._http_response WHERE id < 0 ORDER BY id DESC;

-- Every object is explained.
SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'net'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
   AND col_description(c.oid, a.attnum) IS NULL;
SELECT p.oid::regprocedure FROM pg_proc p
 WHERE p.pronamespace = 'net'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;

DELETE FROM net._http_response;
DROP SCHEMA net_trap CASCADE;
DROP FUNCTION error_of;
DROP OWNED BY net_nobody, net_user, net_other, net_team;
DROP ROLE net_nobody, net_user, net_other, net_team;
