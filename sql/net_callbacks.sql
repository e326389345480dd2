-- Schema net: callbacks. What may be named as on_response, who may repeat a callback, and that it is
-- called by a worker. What needs restarts is in test/t/102_net_callbacks.pl.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
\set VERBOSITY default

CREATE ROLE regress_call_amy LOGIN;
CREATE ROLE regress_call_ben LOGIN;
CREATE ROLE regress_call_boss LOGIN;
CREATE ROLE regress_call_group;
GRANT regress_call_amy TO regress_call_boss;
GRANT USAGE ON SCHEMA net TO regress_call_amy, regress_call_ben, regress_call_boss, regress_call_group;
CREATE SCHEMA "Call Me" AUTHORIZATION regress_call_amy;
CREATE TABLE "Call Me".log (id bigint, who text, what text);
GRANT ALL ON "Call Me".log TO regress_call_amy;

SET ROLE regress_call_amy;
CREATE FUNCTION "Call Me"."When done"(r net._http_response) RETURNS text LANGUAGE sql AS
    $$ INSERT INTO "Call Me".log VALUES (r.id, current_user, r.content) RETURNING what $$;
CREATE FUNCTION "Call Me"."When done"(r text) RETURNS text LANGUAGE sql AS 'SELECT r';
CREATE FUNCTION "Call Me".many(r net._http_response) RETURNS SETOF int LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO "Call Me".log VALUES (r.id, 'many', r.state); RETURN QUERY SELECT 1 UNION SELECT 2; END $$;
CREATE FUNCTION "Call Me".ends(r net._http_response) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN COMMIT; END $$;
CREATE PROCEDURE "Call Me".proc(r net._http_response) LANGUAGE sql AS 'SELECT 1';

-- ---- what may be called ----------------------------------------------------------------------
BEGIN;
SELECT net.http_request('GET', 'http://localhost/', on_response => '"Call Me"."When done"(net._http_response)') > 0 AS made;
SELECT on_response FROM net.http_request_queue;
ROLLBACK;
SELECT net.http_request('GET', 'http://localhost/', on_response => '"Call Me"."When done"(text)');
SELECT net.http_request('GET', 'http://localhost/', on_response => '"Call Me".proc(net._http_response)');
SELECT net.http_request('GET', 'http://localhost/', on_response => 0);
REVOKE EXECUTE ON FUNCTION "Call Me".many FROM PUBLIC;
GRANT USAGE ON SCHEMA "Call Me" TO PUBLIC;
SET ROLE regress_call_ben;
SELECT net.http_request('GET', 'http://localhost/', on_response => '"Call Me".many(net._http_response)');
SET ROLE regress_call_group;
SELECT net.http_request('GET', 'http://localhost/', on_response => '"Call Me"."When done"(net._http_response)');
RESET ROLE;

-- ---- who may repeat --------------------------------------------------------------------------
INSERT INTO net._http_response (id, created_by, content, state, callback_state, callback_error, callback_attempts, on_response)
SELECT -id, 'regress_call_amy'::regrole, 'text ' || id, 'succeeded', 'failed', 'ERROR: it did not work', 5,
       '"Call Me".' || name || '(net._http_response)'
  FROM unnest('{"\"When done\"", many, ends, gone}'::text[]) WITH ORDINALITY AS f (name, id);
INSERT INTO net._http_response (id, created_by) VALUES (-5, 'regress_call_amy'::regrole);
SET ROLE regress_call_ben;
SELECT net.repeat_callback(-1);
SET ROLE regress_call_boss;
BEGIN;
SELECT net.repeat_callback(-1);
SELECT net.repeat_callback(-1) AS again;
SELECT callback_state, callback_attempts, callback_error, callback_at IS NOT NULL AS has_time
  FROM net._http_response WHERE id = -1;
ROLLBACK;
SELECT net.repeat_callback(-5), net.repeat_callback(-99), net.repeat_callback(NULL);
BEGIN READ ONLY;
SELECT net.repeat_callback(-1);
ROLLBACK;
RESET ROLE;
SELECT callback_state, count(*) FROM net._http_response WHERE id < 0 GROUP BY 1 ORDER BY 1;
REVOKE USAGE ON SCHEMA net FROM regress_call_ben;
SET ROLE regress_call_ben;
SELECT net.repeat_callback(-1);
RESET ROLE;

-- ---- the call --------------------------------------------------------------------------------
SELECT id, net.repeat_callback(id) FROM generate_series(-4, -1) AS id;
DO $$
BEGIN
    FOR i IN 1 .. 600 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM net._http_response WHERE callback_state = 'waiting' AND callback_attempts = 0);
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
SELECT id, callback_state, callback_attempts, split_part(callback_error, E'\n', 1) AS error, callback_at IS NULL AS no_time
  FROM net._http_response WHERE id < 0 ORDER BY id DESC;
SELECT * FROM "Call Me".log ORDER BY id DESC;

DELETE FROM net._http_response WHERE id < 0;
DROP SCHEMA "Call Me" CASCADE;
DROP OWNED BY regress_call_amy, regress_call_ben, regress_call_boss, regress_call_group;
DROP ROLE regress_call_amy, regress_call_ben, regress_call_boss, regress_call_group;
