-- What users of pg_cron know: ids, rows, and the words of errors, which scripts match on. What is added to
-- an error stands in its detail.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
DELETE FROM cron.job;

-- Message and hint of the error that a call ends with, and whether it tells more.
CREATE FUNCTION said(call text, OUT message text, OUT hint text, OUT tells_more boolean) LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE 'SELECT cron.' || call;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL;
    tells_more := detail <> '';
END $$;
GRANT EXECUTE ON FUNCTION said(text) TO PUBLIC;

-- ==== schedules ================================================================================
SELECT s.schedule, a.message = 'invalid schedule: ' || s.schedule AS message, a.hint, a.tells_more
  FROM unnest(ARRAY['* * * *', '5 secondc', '50 seconds c', '*/0 10 * * *', '-1 * * * *', '*/-1 10 * * *', '*/60 10 * * *',
                    '* * * 13 *', '* * * 0 *', '*/5000000000 10 * * *', '-1 seconds', '0 seconds', '60 seconds', '10000000000 seconds',
                    '@restar', '0 11 $foo * *']) AS s(schedule),
       LATERAL said(format('schedule(%L, %L)', s.schedule, 'SELECT 1')) AS a;
-- A long one is shown in part.
SELECT left(a.message, 25) AS message, length(a.message) < 300 AS is_cut, a.hint, a.tells_more
  FROM said($$schedule(repeat('a', 1000), '')$$) AS a;
SELECT a.message, a.hint, a.tells_more
  FROM unnest(ARRAY['schedule(NULL, ''SELECT 1'')', 'schedule(''@yearly'', NULL)', 'schedule(NULL, ''@yearly'', ''SELECT 1'')',
                    'alter_job(NULL)']) AS c(call), LATERAL said(call) AS a;
SELECT count(cron.schedule(schedule, 'SELECT 1'))
  FROM unnest('{1 second," 30 sEcOnDs ",59 seconds,"17  seconds ",@restart,0 11 $ * *}'::text[]) AS schedule;
-- They are kept as they were written.
SELECT schedule FROM cron.job WHERE jobname IS NULL ORDER BY jobid;
DELETE FROM cron.job;

-- ==== ids and rows =============================================================================
SELECT cron.schedule('0 10 * * *', 'VACUUM') AS first \gset
SELECT cron.schedule('vacuuming', '0 10 * * *', 'VACUUM') - :first AS id;
SELECT cron.schedule('vacuuming', '0 11 * * *', 'VACUUM FULL') - :first AS id;
SELECT jobid - :first AS id, jobname, schedule, command FROM cron.job ORDER BY jobid;
SELECT cron.unschedule(:first), cron.unschedule(job_name := 'vacuuming');
SELECT * FROM said($$unschedule(job_name := 'no_such_job')$$);
SELECT * FROM said('unschedule(' || :first || ')') AS a WHERE a.message <> format('could not find valid entry for job ''%s''', :first);

-- ==== databases and roles ======================================================================
CREATE DATABASE regress_no_entry;
REVOKE CONNECT ON DATABASE regress_no_entry FROM PUBLIC;
CREATE USER regress_peer;
GRANT USAGE ON SCHEMA cron TO regress_peer;
SELECT cron.schedule('0 10 * * *', 'VACUUM') AS job \gset
SELECT * FROM said(format('alter_job(%s)', :job));
SELECT * FROM said(format('alter_job(job_id := %s, database := ''regress_nowhere'')', :job));
SELECT * FROM said($$schedule_in_database(job_name := 'x', schedule := '0 11 * * *', command := 'VACUUM', database := 'regress_no_entry', username := 'regress_peer')$$);
SELECT * FROM said($$schedule_in_database(job_name := 'x', schedule := '0 11 * * *', command := 'VACUUM', database := current_database(), username := 'regress_unknown')$$);
SELECT * FROM said(format('alter_job(job_id := %s, database := ''regress_no_entry'', username := ''regress_peer'')', :job));
GRANT EXECUTE ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) TO regress_peer;

SET SESSION AUTHORIZATION regress_peer;
SELECT cron.schedule('mine', '0 11 * * *', 'VACUUM') AS mine \gset
SELECT * FROM said($$schedule_in_database(job_name := 'x', schedule := '0 11 * * *', command := 'VACUUM', database := current_database(), username := 'regress_unknown')$$);
SELECT * FROM said(format('alter_job(job_id := %s, username := ''regress_unknown'')', :mine));
SELECT a.message = format('Job %s does not exist or you don''t own it', :job) AS of_another
  FROM said(format('alter_job(job_id := %s, database := ''postgres'')', :job)) AS a;
SELECT * FROM said(format('alter_job(job_id := %s, database := ''regress_no_entry'')', :mine));
SELECT cron.alter_job(job_id := :mine, database := 'postgres');
SELECT database FROM cron.job;
-- The same of others' jobs and of what is not there.
SELECT * FROM said(format('unschedule(%s)', :job));
SELECT * FROM said('unschedule(0)');
RESET SESSION AUTHORIZATION;
SELECT cron.alter_job(job_id := :job, username := 'regress_peer');
SELECT username FROM cron.job WHERE jobid = :job;
SELECT cron.schedule_in_database(job_name := 'his', schedule := '0 11 * * *', command := 'VACUUM',
                                 database := current_database(), username := 'regress_peer') AS his \gset
SELECT username FROM cron.job WHERE jobid = :his;
-- Names of roles are what they are.
CREATE USER "Regress_Peer";
GRANT USAGE ON SCHEMA cron TO "Regress_Peer";
SELECT cron.schedule_in_database(job_name := 'mixed case', schedule := '0 11 * * *', command := 'VACUUM',
                                 database := current_database(), username := 'Regress_Peer') AS mixed \gset
SET SESSION AUTHORIZATION regress_peer;
SELECT count(*) FROM cron.job WHERE jobid = :mixed;
SELECT * FROM said(format('unschedule(%s)', :mixed));
RESET SESSION AUTHORIZATION;

DELETE FROM cron.job;
DROP FUNCTION said;
DROP OWNED BY regress_peer, "Regress_Peer";
DROP USER regress_peer, "Regress_Peer";
DROP DATABASE regress_no_entry;
