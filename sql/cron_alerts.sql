-- Alerts: cron.add_alert(), cron.drop_alert(), cron.alerts. No alert has anything to tell here.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
DELETE FROM cron.alert;
CREATE ROLE alert_plain LOGIN;
CREATE ROLE alert_other LOGIN;
CREATE ROLE alert_group;
GRANT USAGE ON SCHEMA cron, net TO alert_plain, alert_other, alert_group;
CREATE FUNCTION public.alert_hear(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION public.alert_secret(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
REVOKE ALL ON FUNCTION public.alert_secret(jsonb) FROM PUBLIC;
CREATE FUNCTION public.alert_odd(event text) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION pg_temp.alert_gone(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT';

-- What a statement is refused with: sqlstate | message | detail | hint.
CREATE FUNCTION pg_temp.refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text; s text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
    RETURN regexp_replace(concat_ws(' | ', s, m, NULLIF(d, ''), NULLIF(h, '')), 'pg_temp_\d+', 'pg_temp');
END $$;

SET SESSION AUTHORIZATION alert_plain;
SELECT cron.add_alert('night', '{failed,recovered}', channel => 'night') > 0 AS made;
SELECT cron.add_alert('day', '{missed,late,overran,paused,request_failed,scheduler_restarted}', jobs => 'day%',
    function => 'public.alert_hear(jsonb)', url => 'https://example.com/hook', format => 'text',
    headers => '{"Authorization": "Bearer {{secret:alert_token}}"}') > 0 AS made;
SELECT net.set_secret('alert_token', 'x');
SELECT net.set_secret('alert_key', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
SELECT cron.add_alert('day', '{missed,late,overran,paused,request_failed,scheduler_restarted}', jobs => 'day%',
    function => 'public.alert_hear(jsonb)', url => 'https://example.com/hook', format => 'text',
    headers => '{"Authorization": "Bearer {{secret:alert_token}}", "webhook-signature": "{{secret:alert_key}}"}', remind_after => '1 hour', late_after => '30 s', active => false) > 0 AS made;
\x on
SELECT name, username, events, jobs, channel, function, url, format, remind_after, late_after, active,
       incidents, waiting, told, last_told_at, last_error, last_error_at, held FROM cron.alerts ORDER BY name;
\x off
-- The same name changes the alert.
SELECT cron.add_alert('night', '{failed}', channel => 'dark', remind_after => '0', jobs => 'n_ght%') = alertid AS same FROM cron.alerts WHERE name = 'night';
SELECT events, jobs, channel, remind_after FROM cron.alerts WHERE name = 'night';

-- ---- what is refused -------------------------------------------------------------------------
SELECT pg_temp.refused('SELECT cron.add_alert(' || arguments || ')') FROM (VALUES
    (1, $$NULL, '{failed}', channel => 'a'$$),
    (2, $$'', '{failed}', channel => 'a'$$),
    (3, $$repeat('x', 1001), '{failed}', channel => 'a'$$),
    (4, $$'a', NULL, channel => 'a'$$),
    (5, $$'a', '{}', channel => 'a'$$),
    (6, $$'a', '{failed,NULL}', channel => 'a'$$),
    (7, $$'a', '{failed,exploded}', channel => 'a'$$),
    (8, $$'a', '{failed}', jobs => NULL, channel => 'a'$$),
    (9, $$'a', '{failed}'$$),
    (10, $$'a', '{failed}', channel => ''$$),
    (11, $$'a', '{failed}', channel => repeat('x', 64)$$),
    (12, $$'a', '{failed}', function => 'public.alert_odd(text)'$$),
    (13, $$'a', '{failed}', function => 'public.alert_secret(jsonb)'$$),
    (14, $$'a', '{failed}', function => '1'$$),
    (15, $$'a', '{failed}', url => 'no url'$$),
    (16, $$'a', '{failed}', url => 'https://example.com', format => 'xml'$$),
    (17, $$'a', '{failed}', url => 'https://example.com', format => NULL$$),
    (18, $$'a', '{failed}', url => 'https://example.com', headers => '{"Authorization": "Bearer x"}'$$),
    (19, $$'a', '{failed}', url => 'https://example.com', headers => '{"a b": "x"}'$$),
    (20, $$'a', '{failed}', url => 'https://example.com', headers => '[]'$$),
    (21, $$'a', '{failed}', url => 'https://example.com', headers => NULL$$),
    (22, $$'a', '{failed}', url => 'https://example.com', headers => '{"webhook-signature": "{{secret:nobody knows}}"}'$$),
    (23, $$'a', '{failed}', url => 'https://example.com', headers => '{"webhook-signature": "v1,{{secret:alert_key}}"}'$$),
    (30, $$'a', '{failed}', channel => 'a', jobs => 'all \'$$),
    (31, $$'a', '{failed}', channel => 'a', jobs => repeat('a', 1001)$$),
    (32, $$'a', '{failed}', channel => 'a', late_after => '200 years'$$),
    (24, $$'a', '{failed}', channel => 'a', remind_after => '-1 s'$$),
    (25, $$'a', '{failed}', channel => 'a', remind_after => NULL$$),
    (26, $$'a', '{failed}', channel => 'a', late_after => '-1 s'$$),
    (27, $$'a', '{failed}', channel => 'a', active => NULL$$)) AS c(n, arguments) ORDER BY n;
SELECT pg_temp.refused('SELECT cron.drop_alert(NULL)');
SELECT pg_temp.refused($$SELECT cron.drop_alert('a')$$);
SELECT pg_temp.refused($$INSERT INTO cron.alert (name, events, channel) VALUES ('a', '{failed}', 'a')$$);
SELECT pg_temp.refused('UPDATE cron.alert SET active = true');
SELECT pg_temp.refused('DELETE FROM cron.alert');
SELECT pg_temp.refused($$INSERT INTO cron.alert_event (alertid, event, subject) SELECT alertid, 'failed', 'x' FROM cron.alert$$);
RESET SESSION AUTHORIZATION;

-- ---- others ------------------------------------------------------------------------------------
SELECT pg_temp.refused($$SELECT cron.add_alert('a', '{failed}', function => 'pg_temp.alert_gone(jsonb)')$$);
SET ROLE alert_group;
SELECT pg_temp.refused($$SELECT cron.add_alert('a', '{failed}', channel => 'a')$$);
RESET ROLE;
SET SESSION AUTHORIZATION alert_other;
SELECT count(*) FROM cron.alerts;
SELECT pg_temp.refused($$SELECT cron.drop_alert('night')$$);
SELECT pg_temp.refused($$SELECT cron.add_alert('a', '{failed}', url => 'https://example.com', headers => '{"webhook-signature": "{{secret:alert_key}}"}')$$);
-- A name is unique for its role only.
SELECT cron.add_alert('night', '{failed}', channel => 'other') > 0 AS made;
-- Each run looks at all of them, so that a role has a thousand at most.
SELECT count(cron.add_alert('many ' || i, '{failed}', channel => 'other')) FROM generate_series(1, 999) AS i;
SELECT pg_temp.refused($$SELECT cron.add_alert('one more', '{failed}', channel => 'other')$$);
SELECT cron.add_alert('many 1', '{recovered}', channel => 'other') > 0 AS changed;
SELECT count(*) FROM generate_series(1, 999) AS i, cron.drop_alert('many ' || i);
RESET SESSION AUTHORIZATION;
SELECT name, username FROM cron.alerts ORDER BY 1, 2;

-- ---- what is told after the runs of one job ------------------------------------------------------
CREATE FUNCTION pg_temp.job_alerts() RETURNS TABLE (name text, username text, events text[], target text, remind_after interval) LANGUAGE sql AS
    $$SELECT regexp_replace(name, '\d+', 'N'), username, events, coalesce(channel, function, url), remind_after
        FROM cron.alerts WHERE jobid = (SELECT jobid FROM cron.job WHERE jobname = 'alert_job') ORDER BY name$$;
SET SESSION AUTHORIZATION alert_plain;
SELECT cron.schedule('alert_job', '0 0 1 1 *', 'SELECT 1') AS jobid \gset
SELECT cron.configure_job('alert_job', on_failure => 'public.alert_hear(jsonb)', on_success => 'notify Nightly_done');
SELECT * FROM pg_temp.job_alerts();
SELECT cron.configure_job(:jobid, on_success => ' https://example.com/hook ');
SELECT cron.configure_job(:jobid, max_retries => 1);
SELECT * FROM pg_temp.job_alerts();
SELECT pg_temp.refused('SELECT cron.configure_job(''alert_job'', on_failure => ' || target || ')') FROM (VALUES
    (1, $$'alert_hear'$$), (2, $$'public.alert_hear(text)'$$), (3, $$'public.alert_odd(text)'$$), (4, $$'public.alert_secret(jsonb)'$$),
    (5, $$'NOTIFY '$$), (6, $$'NOTIFY two words'$$), (7, $$'ftp://example.com'$$), (8, $$' '$$)) AS c(n, target) ORDER BY n;
SELECT cron.configure_job('alert_job', on_failure => '', on_success => '');
SELECT * FROM pg_temp.job_alerts();
SELECT cron.configure_job('alert_job', on_failure => '');
SELECT cron.configure_job('alert_job', on_success => 'NOTIFY done');
RESET SESSION AUTHORIZATION;
-- It is one for all who may manage the job, and belongs to the role of the job.
SELECT cron.configure_job(:jobid, on_success => 'NOTIFY "done by all"');
SELECT * FROM pg_temp.job_alerts();
SET SESSION AUTHORIZATION alert_other;
SELECT pg_temp.refused('SELECT cron.configure_job(''alert_job'', on_success => ''NOTIFY me'')');
RESET SESSION AUTHORIZATION;
-- A job that is given away keeps the alert of the former role, which tells nothing that the role does not see.
SELECT cron.alter_job(:jobid, username => 'alert_other');
SELECT * FROM pg_temp.job_alerts();
SELECT cron.configure_job(:jobid, on_success => 'NOTIFY other');
SELECT * FROM pg_temp.job_alerts();
SELECT cron.unschedule(:jobid);
SELECT setval('cron.jobid_seq', :jobid, false) = :jobid AS as_before;
SELECT count(*) FROM cron.alert WHERE jobid IS NOT NULL;

-- ---- the owner of the extension writes the table -----------------------------------------------
INSERT INTO cron.alert (name, username, events, channel) VALUES ('by hand', 'alert_other', '{failed}', 'x'), ('nobody', 'alert_nobody', '{failed}', 'x');
SELECT name, roleid = 'alert_other'::regrole AS is_others, held FROM cron.alert JOIN cron.alerts USING (alertid, name)
 WHERE name IN ('by hand', 'nobody') ORDER BY name;
UPDATE cron.alert SET username = 'alert_plain' WHERE name = 'by hand';
SELECT roleid = 'alert_plain'::regrole AS is_plains FROM cron.alert WHERE name = 'by hand';

-- Only what the role of the alert sees.
SELECT cron._alert_sees('alert_plain'::regrole, 'alert_plain'::regrole), cron._alert_sees('alert_plain'::regrole, 'alert_other'::regrole),
       cron._alert_sees('alert_plain'::regrole, NULL), cron._alert_sees('pg_monitor'::regrole, NULL), cron._alert_sees(1::oid, 10::oid);

SET SESSION AUTHORIZATION alert_plain;
SELECT cron.drop_alert('night');
SELECT cron.drop_alert('day');
SELECT count(*) FROM cron.alerts WHERE name IN ('night', 'day');
SELECT net.drop_secret('alert_token'), net.drop_secret('alert_key');
RESET SESSION AUTHORIZATION;
DELETE FROM cron.alert;
DROP FUNCTION public.alert_hear(jsonb), public.alert_secret(jsonb), public.alert_odd(text);
REVOKE USAGE ON SCHEMA cron, net FROM alert_plain, alert_other, alert_group;
DROP ROLE alert_plain, alert_other, alert_group;
