-- Schema net: cancelling requests, the views that show what becomes of requests, and triggers that
-- make requests. As plain roles, whose rights are what there is to test.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
\set VERBOSITY default

CREATE FUNCTION error_of(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;
-- Tables and indexes that a query would read.
CREATE FUNCTION reads(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    found text[] := '{}';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) ' || query LOOP
        IF line ~ '^ *(-> +)?[^:]*Scan.* on ' AND line !~ 'never executed' THEN
            found := found || substring(line FROM ' on (\w+)');
        END IF;
    END LOOP;
    RETURN array_to_string(ARRAY(SELECT DISTINCT f FROM unnest(found) f ORDER BY f), ', ');
END $$;

DELETE FROM net._http_response;
DELETE FROM cron.job_run_details;
CREATE ROLE regress_req_amy;
CREATE ROLE regress_req_ben;
CREATE ROLE regress_req_boss;
CREATE ROLE regress_req_watch;
CREATE ROLE regress_req_writer;
GRANT regress_req_amy TO regress_req_boss;
GRANT pg_monitor TO regress_req_watch;
GRANT USAGE ON SCHEMA net TO regress_req_amy, regress_req_ben, regress_req_boss, regress_req_watch;
GRANT USAGE ON SCHEMA cron TO regress_req_amy, regress_req_ben, regress_req_watch;
-- A request that nobody sends during this test; its idempotency key names it.
CREATE FUNCTION later(key text, host text DEFAULT 'later.example') RETURNS bigint LANGUAGE sql AS $$
    SELECT net.http_request('GET', 'http://' || host || '/' || key, idempotency_key => key,
                            not_before => now() + interval '1 day')
$$;

-- ==== cancelling ===============================================================================
SET ROLE regress_req_amy;
CREATE TEMP TABLE made (key text, id bigint);
GRANT ALL ON made TO PUBLIC;
INSERT INTO made SELECT k, later(k) FROM unnest('{one,two,three,four,five}'::text[]) k;
CREATE FUNCTION pg_temp.id_of(wanted text) RETURNS bigint LANGUAGE sql AS $$
    SELECT id FROM made WHERE key = wanted
$$;

SELECT net.cancel_request(pg_temp.id_of('one')) AS own, net.cancel_request(pg_temp.id_of('one')) AS again,
       net.cancel_request(0) AS unknown, net.cancel_request(NULL) AS null_id;
-- What is recorded has everything of the request that a response has.
SELECT r.id = pg_temp.id_of('one') AS same_id, r.state, r.error_msg, r.attempts, r.method, r.url, r.runid,
       r.created_by::regrole, r.idempotency_key, r.status_code, r.timed_out, r.callback_state, r.host,
       r.requested_at < r.created AS requested_before
  FROM net._http_response r;
SELECT count(*) FROM net.http_request_queue q WHERE q.id = pg_temp.id_of('one');

-- Somebody else's request is none; a member's, and a superuser's cancelling, count.
SET ROLE regress_req_ben;
SELECT net.cancel_request(pg_temp.id_of('two'));
SET ROLE regress_req_boss;
SELECT net.cancel_request(pg_temp.id_of('two'));
RESET ROLE;
SELECT net.cancel_request(pg_temp.id_of('three'));
SELECT idempotency_key, state, created_by::regrole FROM net._http_response ORDER BY id;

-- A rollback, of a savepoint too, brings the request back.
SET ROLE regress_req_amy;
BEGIN;
SAVEPOINT s;
SELECT net.cancel_request(pg_temp.id_of('four'));
ROLLBACK TO s;
SELECT net.cancel_request(pg_temp.id_of('five'));
ROLLBACK;
SELECT key, state FROM net.requests JOIN made USING (id) ORDER BY id;
-- What is made and cancelled in one transaction is never sent.
BEGIN;
SELECT net.cancel_request(net.http_get('http://127.0.0.1:9/'));
COMMIT;
SELECT state, attempts FROM net.requests WHERE url = 'http://127.0.0.1:9/';
-- on_response of a cancelled request is not called.
RESET ROLE;
CREATE ROLE regress_req_caller LOGIN;
GRANT USAGE ON SCHEMA net TO regress_req_caller;
CREATE FUNCTION take(response net._http_response) RETURNS void LANGUAGE sql AS '';
SET ROLE regress_req_caller;
SELECT net.cancel_request(net.http_request('GET', 'http://127.0.0.1:9/', not_before => now() + interval '1 day',
                                           on_response => 'take(net._http_response)'::regprocedure));
SELECT state, callback_state FROM net.requests;
RESET ROLE;

SELECT * FROM error_of($$ SET TRANSACTION READ ONLY; SELECT net.cancel_request(1) $$);
BEGIN;
SELECT net.cancel_request(pg_temp.id_of('four'));
ROLLBACK;
CREATE ROLE regress_req_nobody;
SET ROLE regress_req_nobody;
SELECT net.cancel_request(1);
RESET ROLE;

-- ==== net.requests =============================================================================
DELETE FROM net._http_response;
SET ROLE regress_req_ben;
INSERT INTO made VALUES ('ben', later('ben', 'Other.example:8080'));
RESET ROLE;
UPDATE net.http_request_queue SET attempts = 2, last_error = 'it broke', max_attempts = 7
 WHERE id = pg_temp.id_of('five');
INSERT INTO net._http_response (id, method, url, created_by, state, status_code, error_msg, attempts, duration_ms,
                                callback_state, idempotency_key, host, requested_at)
SELECT id, 'GET', 'https://a.example/', role, state, code, error, attempts, ms, callback, key, 'https://a.example:443', now()
  FROM (VALUES (-1, 'regress_req_amy'::regrole, 'succeeded', 200, NULL, 1, 1.5, 'done', 'k1'),
               (-2, 'regress_req_amy'::regrole, 'failed', 500, NULL, 3, 2.5, NULL, 'k2'),
               (-3, 'regress_req_ben'::regrole, 'expired', NULL, 'too late', 0, NULL, NULL, 'k3'))
       AS made (id, role, state, code, error, attempts, ms, callback, key);
SELECT code, message FROM error_of($$ UPDATE net._http_response SET state = 'lost' $$);
SET ROLE regress_req_amy;
SELECT id < 0 AS ended, state, method, url, host, created IS NOT NULL AS created, ready_at > now() AS later,
       attempts, max_attempts, status_code, error, duration_ms
  FROM net.requests ORDER BY id;
SELECT state, finished_at IS NOT NULL AS finished, runid, created_by, idempotency_key, callback_state, reason
  FROM net.requests ORDER BY id;
SET ROLE regress_req_ben;
SELECT state, url, host, created_by, reason FROM net.requests ORDER BY id;
SET ROLE regress_req_watch;  -- may see statistics, not requests
SELECT count(*) FROM net.requests;
SET ROLE regress_req_boss;
SELECT count(*) FROM net.requests;
RESET ROLE;
-- A request that may be sent waits for the worker, a slot or its host.
BEGIN;
SELECT net.http_get('http://ready.example/') AS ready \gset
SELECT state, reason IN ('the http worker is not running', 'waiting for a slot') AS reason
  FROM net.requests WHERE id = :ready;
ROLLBACK;
-- A state is looked for where it can be.
SELECT state, reads(format('SELECT * FROM net.requests WHERE state = %L', state))
  FROM unnest('{waiting,in_flight,retrying,succeeded,failed,expired,cancelled,unknown}'::text[]) state;

-- ==== the worker and its hosts =================================================================
SET ROLE regress_req_amy;
SELECT count(*), min(in_flight) AS in_flight FROM net.worker_status;
SELECT count(*) FROM net.host_status WHERE host LIKE 'http://other.example%';
SET ROLE regress_req_nobody;
SELECT * FROM net.host_status;
RESET ROLE;

-- ==== cron.run_requests ========================================================================
INSERT INTO cron.job_run_details (runid, jobid, jobname, username, status, scheduled_at)
VALUES (-1, 7, 'posts', 'regress_req_amy', 'succeeded', '2024-01-01 00:00+00'),
       (-2, 7, 'posts', 'regress_req_amy', 'succeeded', '2024-01-02 00:00+00'),  -- made no request
       (-3, 8, 'other', 'regress_req_ben', 'failed', '2024-01-03 00:00+00');
UPDATE net.http_request_queue SET runid = -1 WHERE id IN (pg_temp.id_of('four'), pg_temp.id_of('five'));
INSERT INTO net._http_response (id, created, created_by, state, status_code, error_msg, runid)
VALUES (-11, '2024-01-01 00:01+00', 'regress_req_amy'::regrole, 'succeeded', 200, NULL, -1),
       (-12, '2024-01-01 00:04+00', 'regress_req_amy'::regrole, 'cancelled', NULL, 'request was cancelled', -1),
       (-13, '2024-01-01 00:03+00', 'regress_req_amy'::regrole, 'expired', NULL, 'too late', -1),
       (-14, '2024-01-01 00:02+00', 'regress_req_ben'::regrole, 'failed', 503, NULL, -1),  -- of the same run
       (-15, '2024-01-01 00:02+00', 'regress_req_ben'::regrole, 'failed', NULL, 'no such host', -3);
SET TimeZone = 'UTC';
SET ROLE regress_req_amy;
SELECT * FROM cron.run_requests \gx
SET ROLE regress_req_ben;
SELECT runid, status, requests, failed, first_error FROM cron.run_requests;
SET ROLE regress_req_watch;  -- sees all runs
SELECT runid, requests, waiting FROM cron.run_requests ORDER BY runid DESC LIMIT 1;
SELECT runid, requests, waiting FROM cron.run_requests WHERE runid = -3;
RESET ROLE;
RESET TimeZone;
DELETE FROM net.http_request_queue;
DELETE FROM net._http_response;
DELETE FROM cron.job_run_details;

-- ==== webhooks =================================================================================
CREATE SCHEMA hooks AUTHORIZATION regress_req_amy;
GRANT USAGE ON SCHEMA hooks TO regress_req_writer, regress_req_ben;
SET ROLE regress_req_amy;
CREATE TABLE hooks.item (
    id      int PRIMARY KEY,
    gone    int,
    name    text,
    price   numeric(8,2),
    twice   int GENERATED ALWAYS AS (id * 2) STORED,
    data    jsonb,
    at      timestamptz
);
ALTER TABLE hooks.item DROP COLUMN gone;
GRANT ALL ON hooks.item TO regress_req_writer;
CREATE TRIGGER hook AFTER INSERT OR UPDATE OR DELETE ON hooks.item
    FOR EACH ROW EXECUTE FUNCTION net.http_webhook('https://hooks.example/item');
CREATE TRIGGER hook_all AFTER TRUNCATE ON hooks.item
    FOR EACH STATEMENT EXECUTE FUNCTION net.http_webhook(
        'https://hooks.example/item', '{"X-Table": "item"}', '2500', '{"kind": "truncate"}');
RESET ROLE;
CREATE VIEW requested AS
SELECT q.id, q.url, q.headers, q.timeout_milliseconds AS timeout, q.created_by::regrole,
       convert_from(q.body, 'UTF8') AS payload FROM net.http_request_queue q;
-- The role that writes has no right on schema net; the request is the owner's.
SET TimeZone = 'UTC';
SET ROLE regress_req_writer;
BEGIN;
INSERT INTO hooks.item (id, name, price, data, at)
VALUES (1, E'a "quoted"\n\u00e9', 1.50, '{"k": [1, null]}', '2024-05-01 12:00+02');
UPDATE hooks.item SET name = NULL, data = NULL WHERE id = 1;
DELETE FROM hooks.item;
TRUNCATE hooks.item;
RESET ROLE;
SELECT method, url, headers, timeout_milliseconds, created_by::regrole
  FROM net.http_request_queue ORDER BY id;
SELECT convert_from(body, 'UTF8')::jsonb - 'old_record' - 'record' AS event,
       jsonb_pretty(convert_from(body, 'UTF8')::jsonb -> 'record') AS record,
       jsonb_pretty(convert_from(body, 'UTF8')::jsonb -> 'old_record') AS old_record
  FROM net.http_request_queue ORDER BY id;
ROLLBACK;

-- WHEN, a trigger before the row, a statement trigger, a view, a column that is newer than the row.
SET ROLE regress_req_amy;
DROP TRIGGER hook ON hooks.item;
BEGIN;
INSERT INTO hooks.item VALUES (1), (2);
ALTER TABLE hooks.item ADD COLUMN stock int DEFAULT 5;
CREATE TRIGGER hook_costly AFTER UPDATE ON hooks.item FOR EACH ROW WHEN (NEW.price > 100)
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/costly');
CREATE TRIGGER hook_before BEFORE UPDATE OR DELETE ON hooks.item FOR EACH ROW
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/before');
CREATE TRIGGER hook_statement AFTER UPDATE ON hooks.item FOR EACH STATEMENT
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/statement');
CREATE VIEW hooks.items AS SELECT id, name FROM hooks.item;
CREATE TRIGGER hook_instead INSTEAD OF INSERT ON hooks.items FOR EACH ROW
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/instead');
UPDATE hooks.item SET price = id * 60;
DELETE FROM hooks.item WHERE id = 2 RETURNING id, price, stock;
INSERT INTO hooks.items VALUES (3, 'three') RETURNING *;
SELECT id, price FROM hooks.item;
RESET ROLE;
SELECT url, payload::jsonb ->> 'type' AS type, payload::jsonb ->> 'table' AS "table",
       payload::jsonb #>> '{old_record,stock}' AS stock, payload::jsonb #>> '{old_record,price}' AS old,
       payload::jsonb #>> '{record,price}' AS new, payload::jsonb #>> '{record,name}' AS name
  FROM requested ORDER BY id;
ROLLBACK;

-- The request of a partition is made in the name of who made the trigger, also if the partition is
-- somebody else's.
BEGIN;
CREATE TABLE hooks.log (day int, what text) PARTITION BY RANGE (day);
CREATE TABLE hooks.log_1 PARTITION OF hooks.log FOR VALUES FROM (1) TO (10);
CREATE TABLE hooks.log_2 PARTITION OF hooks.log FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE hooks.log_2a PARTITION OF hooks.log_2 FOR VALUES FROM (10) TO (20);
CREATE TRIGGER hook AFTER INSERT ON hooks.log FOR EACH ROW
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/log');
RESET ROLE;
ALTER TABLE hooks.log_1 OWNER TO regress_req_ben;
ALTER TABLE hooks.log_2a OWNER TO regress_req_ben;
SET ROLE regress_req_amy;
INSERT INTO hooks.log VALUES (1, 'a'), (11, 'b');
SET ROLE regress_req_ben;
CREATE TRIGGER own_hook AFTER INSERT ON hooks.log_1 FOR EACH ROW
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/own');
INSERT INTO hooks.log_1 VALUES (2, 'c');
RESET ROLE;
SELECT url, created_by, payload FROM requested ORDER BY id;
ROLLBACK;

RESET ROLE;
-- A cast to json is a user's function: it has the rights of the role that fires, not more.
BEGIN;
CREATE TYPE hooks.odd AS ENUM ('x');
CREATE FUNCTION hooks.odd_json(hooks.odd) RETURNS json LANGUAGE sql AS 'SELECT to_json(current_user::text)';
CREATE CAST (hooks.odd AS json) WITH FUNCTION hooks.odd_json(hooks.odd);
GRANT USAGE ON SCHEMA hooks TO regress_req_writer;
SET ROLE regress_req_amy;
CREATE TABLE hooks.odds (o hooks.odd);
GRANT INSERT ON hooks.odds TO regress_req_writer;
CREATE TRIGGER hook AFTER INSERT ON hooks.odds FOR EACH ROW
    EXECUTE FUNCTION net.http_webhook('https://hooks.example/odd');
SET ROLE regress_req_writer;
INSERT INTO hooks.odds VALUES ('x');
RESET ROLE;
SELECT created_by, payload::jsonb -> 'record' AS record FROM requested;
ROLLBACK;

-- {{secret:name}} in a header keeps a credential out of pg_trigger. The secret is the table owner's.
BEGIN;
SET ROLE regress_req_amy;
SELECT net.set_secret('hook_key', 'value');
CREATE TRIGGER hook AFTER INSERT ON hooks.item FOR EACH ROW EXECUTE FUNCTION net.http_webhook(
    'https://hooks.example/item', '{"Authorization": "Bearer {{secret:hook_key}}"}');
SET ROLE regress_req_writer;
INSERT INTO hooks.item (id) VALUES (1);
RESET ROLE;
SELECT headers, sealed_headers IS NOT NULL AS sealed, header_secrets, created_by::regrole
  FROM net.http_request_queue;
ROLLBACK;

-- Errors.
SELECT * FROM error_of('SELECT net.http_webhook()') \gx
CREATE FUNCTION error_of_hook(arguments text) RETURNS TABLE (code text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER hook AFTER INSERT ON hooks.item FOR EACH ROW
                    EXECUTE FUNCTION net.http_webhook(%s)', arguments);
    RETURN QUERY SELECT * FROM error_of('INSERT INTO hooks.item (id) VALUES (1)');
    DELETE FROM hooks.item;
END $$;
BEGIN;
SELECT * FROM error_of_hook('') \gx
SELECT * FROM error_of_hook($$ 'no url' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '[]' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{"a b": ""}' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{}', '5s' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{}', '0' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{}', '1', 'null' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{}', '1', '{}', 'more' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{"Authorization": "{{secret:none}}"}' $$) \gx
SELECT * FROM error_of_hook($$ 'http://hooks.example/', '{}', '1', '{"a": 1}' $$) \gx
ROLLBACK;

DROP SCHEMA hooks CASCADE;
DROP VIEW requested;
DROP FUNCTION take(net._http_response), later(text, text), error_of(text), error_of_hook(text), reads(text);
DROP TABLE made;
DROP OWNED BY regress_req_amy, regress_req_ben, regress_req_boss, regress_req_watch, regress_req_writer, regress_req_caller, regress_req_nobody;
DROP ROLE regress_req_amy, regress_req_ben, regress_req_boss, regress_req_watch, regress_req_writer, regress_req_caller, regress_req_nobody;
