-- Who may use schema cron, who sees what, and who may change it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
DELETE FROM cron.job;
TRUNCATE cron.job_run_details;
CREATE ROLE regress_cron_alice LOGIN;
CREATE ROLE regress_cron_bob LOGIN;
CREATE ROLE regress_cron_member LOGIN IN ROLE regress_cron_alice;
CREATE ROLE regress_cron_noinherit LOGIN NOINHERIT IN ROLE regress_cron_alice;
CREATE ROLE regress_cron_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_cron_reader LOGIN IN ROLE pg_read_all_data;
CREATE ROLE regress_cron_stranger LOGIN;
CREATE ROLE regress_cron_nologin;

-- What a command is refused with: sqlstate | message | detail | hint. Ids that a sequence gave are shown as N.
CREATE FUNCTION pg_temp.refusal(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'NOT REFUSED';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(concat_ws(' | ', state, message, detail, hint), '\y([Jj]ob |run |job '')[1-9]\d*', '\1N');
END $$;
CREATE PROCEDURE pg_temp.wait_for_end(run bigint) LANGUAGE plpgsql AS $$
DECLARE
    until CONSTANT timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    WHILE NOT EXISTS (SELECT FROM cron.job_run_details WHERE runid = run AND end_time IS NOT NULL) LOOP
        COMMIT;
        IF clock_timestamp() > until THEN
            RAISE 'waited in vain for run %', run;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

-- ==== the gate =================================================================================
SET ROLE regress_cron_stranger;
SELECT cron.schedule('x', '@yearly', 'SELECT 1');
SELECT * FROM cron.job;
SELECT cron.next_runs('@yearly');
RESET ROLE;
GRANT USAGE ON SCHEMA cron TO regress_cron_alice, regress_cron_bob, regress_cron_member, regress_cron_noinherit,
                              regress_cron_monitor, regress_cron_reader;

-- ==== one's own ================================================================================
SET ROLE regress_cron_alice;
SELECT cron.schedule('mine', '0 0 1 1 *', 'SELECT CURRENT_USER') AS jobid \gset alice_
SELECT cron.schedule('second', '0 0 1 1 *', 'SELECT 1') > 0 AS made;
SELECT jobname, schedule, command, username, active FROM cron.job ORDER BY jobname;
SELECT cron.configure_job('mine', max_retries => 1, priority => 100);
SELECT cron.pause('mine', 'a note');
SELECT cron.resume(:alice_jobid);
SELECT cron.run_after('second', 'mine');
SELECT cron.remove_run_after('second', 'mine');
SELECT cron.run_after('second', 'mine');
SELECT cron.run_job('mine') AS runid \gset alice_
CALL pg_temp.wait_for_end(:alice_runid);
SELECT jobname, username, status, return_message FROM cron.job_run_details;
SELECT jobname, last_status FROM cron.jobs ORDER BY jobname;
SELECT DISTINCT jobname FROM cron.upcoming_runs ORDER BY jobname;
SELECT count(*) FROM cron.job_dependency;
SELECT pid IS NOT NULL AS runs FROM cron.scheduler_status;
SELECT planned_until IS NOT NULL AS planned FROM cron.scheduler_state;
-- The tables are changed through functions only, but for one's own history.
INSERT INTO cron.job (schedule, command) VALUES ('* * * * *', 'SELECT 1');
INSERT INTO cron.job (schedule, command, username) VALUES ('* * * * *', 'SELECT 1', 'postgres');
UPDATE cron.job SET command = 'SELECT 2';
DELETE FROM cron.job;
TRUNCATE cron.job;
INSERT INTO cron.job_run_details (jobid) VALUES (1);
UPDATE cron.job_run_details SET status = 'failed';
TRUNCATE cron.job_run_details;
INSERT INTO cron.job_dependency VALUES (1, 2);
DELETE FROM cron.job_dependency;
UPDATE cron.scheduler_state SET planned_until = now();
SELECT nextval('cron.jobid_seq');
SELECT setval('cron.runid_seq', 1);
ALTER TABLE cron.job DISABLE ROW LEVEL SECURITY;
CREATE TABLE cron.intruder (a int);
-- Two functions are nobody's by default.
SELECT cron.schedule_in_database('x', '@yearly', 'SELECT 1', current_database());
SELECT cron.alter_job(:alice_jobid, active => false);
SELECT cron._start_scheduler();
RESET ROLE;
GRANT EXECUTE ON FUNCTION cron.schedule_in_database, cron.alter_job
   TO regress_cron_alice, regress_cron_bob, regress_cron_member, regress_cron_noinherit, regress_cron_monitor;

-- ==== others' ==================================================================================
SET ROLE regress_cron_bob;
SELECT * FROM cron.job;
SELECT * FROM cron.jobs;
SELECT * FROM cron.upcoming_runs;
SELECT * FROM cron.job_run_details;
SELECT * FROM cron.job_dependency;
SELECT call, pg_temp.refusal(format('SELECT cron.' || call, :alice_jobid)) FROM (VALUES
    ('unschedule(%s)'), ('unschedule(''mine'')'), ('alter_job(%s, command => ''SELECT 2'')'),
    ('configure_job(%s, max_retries => 0)'), ('configure_job(''mine'', max_retries => 0)'), ('run_job(%s)'), ('run_job(''mine'')'),
    ('pause(%s)'), ('pause(''mine'')'), ('resume(%s)'), ('resume(''mine'')'),
    ('run_after(''mine'', ''second'')'), ('remove_run_after(''second'', ''mine'')')) AS v(call);
SELECT pg_temp.refusal(format('SELECT cron.cancel_run(%s)', :alice_runid));
-- The same as for what is not there.
SELECT call, pg_temp.refusal('SELECT cron.' || call) FROM (VALUES
    ('unschedule(0)'), ('unschedule(''nothing'')'), ('alter_job(0, command => ''SELECT 2'')'), ('cancel_run(0)')) AS v(call);
WITH gone AS (DELETE FROM cron.job_run_details RETURNING 1) SELECT count(*) FROM gone;
SELECT cron.purge_history('0');
-- Deleting is not locking.
SELECT call, pg_temp.refusal(call) FROM (VALUES
    ('LOCK cron.job_run_details'),
    ('CREATE TRIGGER t AFTER INSERT ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
    ('CREATE RULE r AS ON INSERT TO cron.job DO NOTHING'),
    ('CREATE TEMP TABLE t (a bigint REFERENCES cron.job)'),
    ('ALTER INDEX cron.job_pkey DEPENDS ON EXTENSION securatlas_sched'),
    ('CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''SELECT 1''; ALTER FUNCTION pg_temp.f() DEPENDS ON EXTENSION securatlas_sched'),
    ('DROP EXTENSION securatlas_sched')) AS v(call);
-- The same name is another job.
SELECT cron.schedule('mine', '0 0 1 1 *', 'SELECT ''bob''') <> :alice_jobid AS another;
SELECT cron.unschedule('mine');
-- Nobody schedules as somebody else.
SELECT pg_temp.refusal(format('SELECT cron.schedule_in_database(''x'', ''@yearly'', ''SELECT 1'', current_database(), %L)', who))
  FROM unnest('{regress_cron_alice,pg_monitor,no_such_role}'::text[]) AS who;
SELECT pg_temp.refusal(format('SELECT cron.schedule_in_database(''x'', ''@yearly'', ''SELECT 1'', current_database(), %L)', rolname)) LIKE '42501 | must be superuser to alter username | %' AS refused
  FROM pg_roles WHERE oid = 10;
SELECT cron.schedule('mine', '0 0 1 1 *', 'SELECT 1') AS jobid \gset bob_
SELECT pg_temp.refusal(format('SELECT cron.alter_job(%s, username => ''regress_cron_alice'')', :bob_jobid));
SELECT cron.alter_job(:bob_jobid, username => 'regress_cron_bob');
SELECT cron.schedule_in_database('mine', '@yearly', 'SELECT 1', current_database(), 'regress_cron_bob') = :bob_jobid AS own_name;
RESET ROLE;
REVOKE CONNECT ON DATABASE contrib_regression FROM PUBLIC;
SET ROLE regress_cron_bob;
SELECT pg_temp.refusal($$SELECT cron.schedule('x', '@yearly', 'SELECT 1')$$);
SELECT pg_temp.refusal(format('SELECT cron.alter_job(%s, database => current_database())', :bob_jobid));
RESET ROLE;
GRANT CONNECT ON DATABASE contrib_regression TO PUBLIC;
-- Nothing of the above has changed anything.
SELECT jobname, schedule, command, username, active, max_retries, priority, note FROM cron.job ORDER BY jobid;
SELECT count(*) FROM cron.job_run_details;

-- ==== members and monitors =====================================================================
SET ROLE regress_cron_member;
SELECT jobname, username FROM cron.job ORDER BY jobname;
SELECT count(*) FROM cron.job_run_details;
SELECT cron.pause('mine', 'by a member');
SELECT cron.configure_job('mine', max_retries => 2);
SELECT cron.alter_job(:alice_jobid, command => 'SELECT 2');
SELECT cron.resume('mine');
SELECT cron.run_job('mine') AS runid \gset member_
CALL pg_temp.wait_for_end(:member_runid);
SELECT username, status FROM cron.job_run_details WHERE runid = :member_runid;
SELECT cron.cancel_run(:member_runid);
SELECT cron.schedule_in_database('of alice', '0 0 1 1 *', 'SELECT 1', current_database(), 'regress_cron_alice') > 0 AS made;
SELECT username FROM cron.job WHERE jobname = 'of alice';
SELECT cron.unschedule('of alice');
-- One's own of the name comes first.
SELECT cron.schedule('mine', '0 0 1 1 *', 'SELECT 3') <> :alice_jobid AS another;
SELECT cron.unschedule('mine');
SELECT cron.unschedule('mine');
SELECT jobname, username FROM cron.job;
RESET ROLE;
-- Membership that is not inherited does not count before SET ROLE.
SET ROLE regress_cron_noinherit;
SELECT * FROM cron.job;
SELECT pg_temp.refusal($$SELECT cron.unschedule('second')$$);
-- But to schedule as another role it is enough to be able to become it.
SELECT cron.schedule_in_database('for alice', '0 0 1 1 *', 'SELECT 1', current_database(), 'regress_cron_alice') > 0 AS made;
SELECT * FROM cron.job WHERE jobname = 'for alice';
RESET ROLE;
SELECT username, cron.unschedule(jobid) FROM cron.job WHERE jobname = 'for alice';
-- They see all, and change nothing.
SET ROLE regress_cron_monitor;
SELECT jobname, username FROM cron.job ORDER BY jobname;
SELECT count(*) FROM cron.job_run_details;
SELECT jobname FROM cron.jobs ORDER BY jobname;
SELECT count(*) FROM cron.job_dependency;
SELECT pg_temp.refusal(format('SELECT cron.%s', call)) FROM (VALUES
    ('unschedule(''second'')'), ('pause(''second'')'), ('run_job(''second'')'), ('configure_job(''second'', max_retries => 1)'),
    ('configure_job(''second'', priority => 1)')) AS v(call);
SELECT pg_temp.refusal(format('SELECT cron.alter_job(%s, active => false)', :bob_jobid));
SELECT pg_temp.refusal(format('SELECT cron.cancel_run(%s)', :alice_runid));
WITH gone AS (DELETE FROM cron.job_run_details RETURNING 1) SELECT count(*) FROM gone;
RESET ROLE;
SET ROLE regress_cron_reader;
SELECT jobname, username FROM cron.job ORDER BY jobname;
SELECT count(*) FROM cron.job_run_details;
RESET ROLE;

-- ==== one's own history ========================================================================
SET ROLE regress_cron_alice;
WITH gone AS (DELETE FROM cron.job_run_details RETURNING 1) SELECT count(*) FROM gone;
RESET ROLE;
SELECT count(*) FROM cron.job_run_details;

-- ==== wrong arguments ==========================================================================
-- NULL, empty, too long, not there: each is an error, and changes nothing.
SET ROLE regress_cron_alice;
SELECT call, replace(pg_temp.refusal('SELECT cron.' || call), repeat('x', 100), 'x100 ') AS refusal FROM (VALUES
    ('schedule(NULL, ''SELECT 1'')'), ('schedule(''@yearly'', NULL)'), ('schedule('''', ''SELECT 1'')'),
    ('schedule(NULL, ''@yearly'', ''SELECT 1'')'), ('schedule('''', ''@yearly'', ''SELECT 1'')'),
    ('schedule(''x'', NULL, ''SELECT 1'')'), ('schedule(''x'', '''', ''SELECT 1'')'), ('schedule(''x'', ''@yearly'', NULL)'),
    ('schedule(repeat(''x'', 1001), ''@yearly'', ''SELECT 1'')'),
    ('schedule_in_database('''', ''@yearly'', ''SELECT 1'', current_database())'),
    ('schedule_in_database(repeat(''x'', 1001), ''@yearly'', ''SELECT 1'', current_database())'),
    ('schedule_in_database(''x'', ''@yearly'', ''SELECT 1'', repeat(''x'', 100))'),
    ('schedule_in_database(''x'', ''@yearly'', ''SELECT 1'', current_database(), repeat(''x'', 100))'),
    ('schedule_once(repeat(''x'', 1001), ''2999-01-01'', ''SELECT 1'')'),
    ('unschedule('''')'), ('unschedule(repeat(''x'', 1001))'), ('unschedule(-1)'), ('unschedule(9223372036854775807)'),
    ('configure_job('''', max_retries => 1)'), ('run_job('''')'), ('pause('''')'), ('resume('''')'),
    ('cancel_run(NULL)'), ('cancel_run(-1)'), ('alter_job(NULL, active => true)'), ('alter_job(-1, active => true)')) AS v(call);
SELECT jobname FROM cron.job;
RESET ROLE;

-- ==== runs are the owner's =====================================================================
-- A job runs as its owner, whatever it does, and never with more rights than he has.
CREATE TABLE regress_secret (a int);
GRANT CREATE ON SCHEMA public TO regress_cron_alice;
SET ROLE regress_cron_alice;
SELECT cron.schedule('reads', '0 0 1 1 *', 'SELECT * FROM regress_secret') > 0 AS made;
SELECT cron.run_job('reads') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT status, return_message, sqlstate FROM cron.job_run_details WHERE runid = :runid;
SELECT cron.schedule('reads', '0 0 1 1 *', 'RESET ROLE; RESET SESSION AUTHORIZATION; SELECT * FROM regress_secret') > 0 AS made;
SELECT cron.run_job('reads') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT status, return_message, sqlstate FROM cron.job_run_details WHERE runid = :runid;
SELECT cron.schedule('reads', '0 0 1 1 *', 'CREATE TABLE regress_of_alice AS SELECT session_user, current_user') > 0 AS made;
SELECT cron.run_job('reads') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT * FROM regress_of_alice;
SELECT cron.unschedule('reads');
-- Objects of the user's own do not get in the way of the extension's statements.
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
SET search_path = public, pg_catalog;
SELECT cron.schedule('safe', '0 0 1 1 *', 'SET search_path = public, pg_catalog; SELECT 1') > 0 AS made;
SELECT cron.run_job('safe') AS runid \gset
SELECT cron.purge_history('1 year');
SELECT count(*) FROM cron.jobs WHERE jobname = 'safe';
RESET search_path;
DROP FUNCTION public.clock_timestamp();
CALL pg_temp.wait_for_end(:runid);
SELECT status, return_message FROM cron.job_run_details WHERE runid = :runid;
SELECT cron.unschedule('safe');
RESET ROLE;
-- A role that cannot log in, or is not there any more, has no runs: its own say so.
SELECT cron.schedule_in_database('nologin', '0 0 1 1 *', 'SELECT 1', current_database(), 'regress_cron_nologin') > 0 AS made;
SELECT cron.run_job('nologin') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT status, return_message, sqlstate, job_pid FROM cron.job_run_details WHERE runid = :runid;
DROP ROLE regress_cron_nologin;
SELECT cron.run_job('nologin') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT status, regexp_replace(return_message, 'OID=\d+', 'OID=n') AS return_message, sqlstate, job_pid
  FROM cron.job_run_details WHERE runid = :runid;
SELECT cron.unschedule('nologin');
INSERT INTO cron.job (jobname, schedule, command, database) VALUES ('nowhere', '0 0 1 1 *', 'SELECT 1', 'no_such_database');
SELECT cron.run_job('nowhere') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT status, return_message, sqlstate, job_pid FROM cron.job_run_details WHERE runid = :runid;
SELECT cron.unschedule('nowhere');
-- In another database: as its owner there.
SELECT cron.schedule_in_database('elsewhere', '0 0 1 1 *', 'SELECT 1; SELECT 2', 'postgres', 'regress_cron_bob') > 0 AS made;
SELECT cron.run_job('elsewhere') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT database, username, status, split_part(return_message, E'\n', 1) AS return_message, sqlstate, transactional FROM cron.job_run_details WHERE runid = :runid;
SELECT cron.schedule_in_database('elsewhere', '0 0 1 1 *', 'CREATE ROLE regress_cron_never', 'postgres', 'regress_cron_bob') > 0 AS made;
SELECT cron.run_job('elsewhere') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT database, username, status, split_part(return_message, E'\n', 1) AS return_message, sqlstate, transactional FROM cron.job_run_details WHERE runid = :runid;

DELETE FROM cron.job;
TRUNCATE cron.job_run_details;
DROP TABLE regress_secret, regress_of_alice;
REVOKE CREATE ON SCHEMA public FROM regress_cron_alice;
REVOKE ALL ON SCHEMA cron FROM regress_cron_alice, regress_cron_bob, regress_cron_member, regress_cron_noinherit,
                               regress_cron_monitor, regress_cron_reader;
REVOKE ALL ON FUNCTION cron.schedule_in_database, cron.alter_job
  FROM regress_cron_alice, regress_cron_bob, regress_cron_member, regress_cron_noinherit, regress_cron_monitor;
DROP ROLE regress_cron_alice, regress_cron_bob, regress_cron_member, regress_cron_noinherit, regress_cron_monitor,
          regress_cron_reader, regress_cron_stranger;
