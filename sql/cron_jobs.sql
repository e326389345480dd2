-- Jobs: made, changed, configured, ordered, paused and removed.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';
\set SHOW_CONTEXT never
DELETE FROM cron.job;
TRUNCATE cron.job_run_details;

-- What a command is refused with: sqlstate | message | detail | hint.
CREATE FUNCTION pg_temp.refusal(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'NOT REFUSED';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    -- What PostgreSQL says of a row as a whole has ids and times in it.
    RETURN concat_ws(' | ', state, message, CASE WHEN state LIKE '23%' THEN '' ELSE detail END, hint);
END $$;
CREATE FUNCTION pg_temp.id(name text) RETURNS bigint LANGUAGE sql AS $$
    SELECT jobid FROM cron.job WHERE jobname = $1
$$;
-- How many job ids a command uses up.
CREATE FUNCTION pg_temp.ids_used_by(command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := nextval('cron.jobid_seq');
BEGIN
    PERFORM pg_temp.refusal(command);
    RETURN nextval('cron.jobid_seq') - before - 1;
END $$;
CREATE VIEW pg_temp.jobs AS
    SELECT jobname, schedule, command, nodename, nodeport = current_setting('port')::int AS own_port,
           database, CASE username WHEN CURRENT_USER THEN 'me' ELSE username END AS username,
           active, timezone, note
      FROM cron.job ORDER BY jobid;

-- ==== the documented statements ================================================================
SELECT cron.schedule('nightly_risk_recompute', '0 2 * * *', $$SELECT fn_recompute_all_tenant_risk_scores()$$) AS jobid \gset nightly_
SELECT cron.schedule('securatlas_nightly_integration_sync', '0 3 * * *', $$SELECT fn_trigger_nightly_sync()$$) AS jobid \gset sync_
SELECT cron.schedule('token_refresh_cron', '0 */6 * * *', $$SELECT fn_refresh_expiring_tokens()$$) AS jobid \gset token_
SELECT cron.schedule('frequent_integration_sync', '0 */6 * * *', $$SELECT fn_trigger_nightly_sync()$$) AS jobid \gset frequent_
SELECT :sync_jobid - :nightly_jobid AS second, :token_jobid - :nightly_jobid AS third, :frequent_jobid - :nightly_jobid AS fourth;
SELECT jobid - :nightly_jobid AS jobid, jobname, schedule, command, active FROM cron.job ORDER BY jobname;
SELECT * FROM pg_temp.jobs;
-- Unschedule one, and schedule it again under its name: another job.
SELECT cron.unschedule('securatlas_nightly_integration_sync');
SELECT jobname FROM cron.job ORDER BY jobname;
SELECT cron.schedule('securatlas_nightly_integration_sync', '0 4 * * *', $$SELECT fn_trigger_nightly_sync()$$) > :frequent_jobid AS another;
SELECT jobname, schedule, active FROM cron.job ORDER BY jobname;
SELECT jobid, jobname, start_time, end_time, status, return_message FROM cron.job_run_details ORDER BY start_time DESC LIMIT 20;

-- ==== schedule =================================================================================
-- The same name: the job is changed, keeps its id, is active again, and uses one id up.
SELECT cron.alter_job(pg_temp.id('token_refresh_cron'), active => false);
SELECT cron.schedule('token_refresh_cron', '0 */4 * * *', 'SELECT 2') = :token_jobid AS kept;
SELECT schedule, command, active FROM cron.job WHERE jobname = 'token_refresh_cron';
SELECT pg_temp.ids_used_by($$SELECT cron.schedule('token_refresh_cron', '0 */6 * * *', 'SELECT 3')$$) AS upsert,
       pg_temp.ids_used_by($$SELECT cron.schedule('token_refresh_cron', '0 */6 * *', 'SELECT 3')$$) AS refused,
       pg_temp.ids_used_by($$SELECT cron.schedule_in_database('x', '@daily', 'SELECT 3', 'no_such_database')$$) AS no_database,
       pg_temp.ids_used_by($$SELECT cron.schedule_in_database('x', '@daily', 'SELECT 3', current_database(), 'no_such_role')$$) AS no_role,
       pg_temp.ids_used_by($$SELECT cron.schedule('', '@daily', 'SELECT 3')$$) AS no_name,
       pg_temp.ids_used_by($$SELECT cron.schedule('x', '@daily', NULL)$$) AS no_command;
-- Rules that were set stay when the job is scheduled again.
SELECT cron.configure_job('token_refresh_cron', timezone => 'Asia/Tokyo', max_retries => 2);
SELECT cron.schedule('token_refresh_cron', '0 */6 * * *', 'SELECT 4') = :token_jobid AS kept;
SELECT timezone, max_retries FROM cron.job WHERE jobname = 'token_refresh_cron';
-- Without a name: each is another job.
DELETE FROM cron.job;
SELECT cron.schedule('@daily', 'SELECT 1') AS jobid \gset first_
SELECT cron.schedule('@daily', 'SELECT 1') = :first_jobid + 1 AS another;
SELECT * FROM pg_temp.jobs;
DELETE FROM cron.job;
-- Schedules of every kind, as they are written; by position and by name.
SELECT count(cron.schedule(name, schedule, 'SELECT 1')) FROM (VALUES
    ('seconds', '30 seconds'), ('macro', '@hourly'), ('reboot', '@reboot'), ('every', '@every 36 hours'),
    ('zone', 'CRON_TZ=Europe/Berlin 30 6 * * 1-5'), ('last', '0 0 L * *'), ('vixie', ' 0  0 1 jan ? ')) AS v(name, schedule);
SELECT cron.schedule(schedule => '0 0 1 1 *', job_name => 'by_name', command => '') > 0 AS made;
SELECT jobname, '"' || schedule || '"' AS schedule FROM cron.job ORDER BY jobname;
DELETE FROM cron.job;
-- Names and commands are any text.
SELECT cron.schedule('He said "it''s 5%"' || chr(10) || '; DROP TABLE x', '@yearly', repeat('-', 1000000)) > 0 AS made;
SELECT jobname, length(command) FROM cron.job;
SELECT cron.unschedule('He said "it''s 5%"' || chr(10) || '; DROP TABLE x');
SELECT cron.schedule(repeat('x', 1000), '@yearly', 'SELECT 1') > 0 AS made;
SELECT cron.unschedule(repeat('x', 1000));

-- ==== unschedule ===============================================================================
SELECT cron.schedule('a', '@yearly', 'SELECT 1') AS jobid \gset a_
SELECT cron.unschedule(:a_jobid);
SELECT pg_temp.refusal($$SELECT cron.unschedule('a')$$);
SELECT replace(pg_temp.refusal(format('SELECT cron.unschedule(%s)', :a_jobid)), :'a_jobid', 'N');
SELECT pg_temp.refusal($$SELECT cron.unschedule(0)$$);
SELECT pg_temp.refusal($$SELECT cron.unschedule(NULL::text)$$);
SELECT pg_temp.refusal($$SELECT cron.unschedule(NULL::bigint)$$);

-- ==== alter_job ================================================================================
SELECT cron.schedule('a', '@yearly', 'SELECT 1') AS jobid \gset a_
SELECT cron.alter_job(:a_jobid, schedule => '@monthly');
SELECT cron.alter_job(:a_jobid, command => 'SELECT 2');
SELECT cron.alter_job(:a_jobid, active => false);
SELECT cron.alter_job(:a_jobid, database => 'postgres');
SELECT * FROM pg_temp.jobs;
SELECT cron.alter_job(:a_jobid, '@daily', 'SELECT 3', current_database(), current_user, true);
SELECT * FROM pg_temp.jobs;
SELECT pg_temp.refusal(format('SELECT cron.alter_job(%s)', :a_jobid));
SELECT pg_temp.refusal('SELECT cron.alter_job(0, active => true)');
SELECT pg_temp.refusal('SELECT cron.alter_job(NULL, active => true)');
SELECT pg_temp.refusal(format('SELECT cron.alter_job(%s, %s)', :a_jobid, change)) FROM (VALUES
    ($$schedule => 'x'$$), ($$database => 'no_such_database'$$), ($$username => 'no_such_role'$$)) AS v(change);
SELECT * FROM pg_temp.jobs;

-- ==== schedule_in_database =====================================================================
DELETE FROM cron.job;
CREATE ROLE regress_cron_worker LOGIN;
CREATE ROLE regress_cron_stranger LOGIN;
SELECT cron.schedule_in_database('b', '@yearly', 'SELECT 1', 'postgres') AS jobid \gset b_
SELECT cron.schedule_in_database('b', '@monthly', 'SELECT 2', 'postgres', NULL, false) = :b_jobid AS kept;
SELECT cron.schedule_in_database('b', '@yearly', 'SELECT 3', 'postgres', 'regress_cron_worker') = :b_jobid AS kept;
SELECT * FROM pg_temp.jobs;
-- NULL is the default of active, too.
SELECT cron.schedule_in_database('b', '@monthly', 'SELECT 2', current_database(), NULL, NULL) = :b_jobid AS kept;
SELECT active FROM cron.job WHERE jobid = :b_jobid;
REVOKE CONNECT ON DATABASE contrib_regression FROM PUBLIC;
SELECT pg_temp.refusal($$SELECT cron.schedule_in_database('b', '@yearly', 'SELECT 1', 'contrib_regression', 'regress_cron_worker')$$);
GRANT CONNECT ON DATABASE contrib_regression TO PUBLIC;
SELECT pg_temp.refusal(format('SELECT cron.schedule_in_database(%s)', arguments)) FROM (VALUES
    ($$'b', '@yearly', 'SELECT 1', 'no_such_database'$$),
    ($$'b', '@yearly', 'SELECT 1', ''$$),
    ($$'b', '@yearly', 'SELECT 1', current_database(), 'no_such_role'$$),
    ($$'b', '@yearly', 'SELECT 1', current_database(), ''$$),
    ($$NULL, '@yearly', 'SELECT 1', current_database()$$),
    ($$'b', NULL, 'SELECT 1', current_database()$$),
    ($$'b', '@yearly', NULL, current_database()$$),
    ($$'b', '@yearly', 'SELECT 1', NULL$$)) AS v(arguments);
SELECT * FROM pg_temp.jobs;
-- Names that several roles have: one's own, else it must be clear whose.
SELECT cron.unschedule(:b_jobid);
SELECT cron.schedule_in_database('b', '@yearly', 'SELECT 4', current_database(), 'regress_cron_stranger') > 0 AS made;
SELECT pg_temp.refusal($$SELECT cron.unschedule('b')$$);
DELETE FROM cron.job WHERE username = 'regress_cron_stranger';
SELECT cron.unschedule('b');
SELECT count(*) FROM cron.job;

-- ==== configure_job ============================================================================
SELECT cron.schedule('c', '@yearly', 'SELECT 1') AS jobid \gset c_
\x on
SELECT timezone, max_runtime, max_retries, retry_period, overlap_policy, missed, catchup_window, jitter, max_failures, log_runs, priority, note FROM cron.job;
SELECT cron.configure_job('c', timezone => 'Europe/Berlin', max_runtime => '1 hour', max_retries => 3, retry_period => '10 seconds',
    overlap_policy => 'skip', missed => 'all', catchup_window => '1 day', jitter => '30 seconds', max_failures => 5, log_runs => 'failures', priority => 7);
SELECT timezone, max_runtime, max_retries, retry_period, overlap_policy, missed, catchup_window, jitter, max_failures, log_runs, priority, note FROM cron.job;
-- By id; what is NULL stays.
SELECT cron.configure_job(:c_jobid, missed => 'skip');
SELECT timezone, max_runtime, max_retries, retry_period, overlap_policy, missed, catchup_window, jitter, max_failures, log_runs, priority, note FROM cron.job;
\x off
SELECT cron.configure_job('c', overlap_policy => policy) FROM unnest('{buffer_one,buffer_all,cancel_other,allow}'::text[]) AS policy;
SELECT cron.configure_job('c', missed => rule) FROM unnest('{skip,once,all}'::text[]) AS rule;
SELECT cron.configure_job('c', log_runs => runs) FROM unnest('{all,failures,none}'::text[]) AS runs;
SELECT cron.configure_job('c', jitter => '0', catchup_window => '0', max_retries => 0);
SELECT cron.configure_job('c', priority => points) FROM unnest('{-100,100,0,-3}'::int[]) AS points;
-- NULL leaves it.
SELECT cron.configure_job('c', priority => NULL), cron.configure_job(:c_jobid, priority => NULL);
SELECT change, pg_temp.refusal(format('SELECT cron.configure_job(''c'', %s)', change)) FROM (VALUES
    ($$timezone => 'Mars/Olympus'$$), ($$timezone => ''$$), ($$overlap_policy => 'x'$$), ($$overlap_policy => ''$$),
    ($$missed => 'ALL'$$), ($$log_runs => 'some'$$), ($$max_retries => -1$$), ($$max_retries => 1001$$),
    ($$max_failures => 0$$), ($$max_failures => -5$$), ($$max_runtime => '0'$$), ($$max_runtime => '-1 s'$$),
    ($$retry_period => '0'$$), ($$catchup_window => '-1 s'$$), ($$jitter => '-1 s'$$),
    ($$priority => -101$$), ($$priority => 101$$)) AS v(change);
-- Rules are taken back by their names.
BEGIN;
SELECT cron.reset_job_rules('c', 'timezone', 'max_runtime', 'max_failures', 'catchup_window');
SELECT timezone, max_runtime, max_retries, retry_period, overlap_policy, missed, catchup_window, jitter, max_failures, log_runs, priority
  FROM cron.job WHERE jobname = 'c';
SELECT cron.reset_job_rules(:c_jobid, VARIADIC '{max_retries,retry_period,overlap_policy,missed,jitter,log_runs,priority}');
SELECT timezone, max_runtime, max_retries, retry_period, overlap_policy, missed, catchup_window, jitter, max_failures, log_runs, priority
  FROM cron.job WHERE jobname = 'c';
SELECT call, pg_temp.refusal('SELECT cron.' || call) FROM (VALUES
    ('reset_job_rules(''no_such_job'', ''jitter'')'), ('reset_job_rules(0, ''jitter'')'), ('reset_job_rules(''c'', ''command'')'),
    ('reset_job_rules(''c'', ''jitter; DROP TABLE cron.job'')'), ('reset_job_rules(''c'', NULL)'),
    ('reset_job_rules(''c'', VARIADIC NULL)')) AS v(call);
ROLLBACK;
SELECT pg_temp.refusal($$SELECT cron.configure_job('no_such_job', max_retries => 1)$$);
SELECT pg_temp.refusal($$SELECT cron.configure_job(0, max_retries => 1)$$);
SELECT pg_temp.refusal($$SELECT cron.configure_job(NULL::text, max_retries => 1)$$);
SELECT pg_temp.refusal($$SELECT cron.configure_job(NULL::bigint, max_retries => 1)$$);
SELECT timezone, overlap_policy, missed, log_runs, max_retries, max_failures, max_runtime, retry_period, catchup_window, jitter, priority FROM cron.job;
-- The zone counts.
SELECT timezone, to_char(next_run_at, 'MM-DD HH24:MI') AS next_run FROM cron.jobs WHERE jobname = 'c';
SELECT cron.unschedule('c');

-- ==== schedule_once ============================================================================
SELECT cron.schedule_once('d', '2099-06-01 12:00+02', 'SELECT 1') AS jobid \gset d_
SELECT cron.schedule_once('d', '2099-06-01 12:00:00.5+02', 'SELECT 2') = :d_jobid AS kept;
SELECT * FROM pg_temp.jobs;
SELECT run_at, jobname FROM cron.upcoming_runs;
SELECT pg_temp.refusal(format('SELECT cron.schedule_once(%s)', arguments)) FROM (VALUES
    ($$'d', NULL, 'SELECT 1'$$), ($$'d', 'infinity', 'SELECT 1'$$), ($$'d', '-infinity', 'SELECT 1'$$),
    ($$NULL, '2099-01-01', 'SELECT 1'$$), ($$'', '2099-01-01', 'SELECT 1'$$), ($$'d', '2099-01-01', NULL$$),
    ($$'d', '0044-03-15 BC', 'SELECT 1'$$), ($$'d', '10000-01-01', 'SELECT 1'$$)) AS v(arguments);
SELECT command, schedule FROM cron.job;
SELECT cron.unschedule('d');

-- ==== pause and resume =========================================================================
SELECT cron.schedule('e', '@yearly', 'SELECT 1') AS jobid \gset e_
SELECT cron.pause('e', 'until the migration is done');
SELECT active, note FROM cron.job;
SELECT active, next_run_at, note FROM cron.jobs;
SELECT count(*) FROM cron.upcoming_runs;
SELECT cron.pause('e');
SELECT active, note FROM cron.job;
SELECT planned_from AS before FROM cron.job \gset
SELECT cron.resume('e');
SELECT active, note, planned_from > :'before' AS planned_anew FROM cron.job;
SELECT cron.pause(:e_jobid, 'by id');
SELECT active, note FROM cron.job;
SELECT cron.resume(:e_jobid);
SELECT active, note FROM cron.job;
SELECT cron.alter_job(:e_jobid, active => false);
SELECT cron.resume('e');
SELECT active FROM cron.job;
SELECT count(*) FROM cron.upcoming_runs;
SELECT pg_temp.refusal(format('SELECT cron.%s', call)) FROM (VALUES
    ($$pause('no_such_job')$$), ($$pause(0)$$), ($$pause(NULL::text)$$), ($$pause(NULL::bigint)$$),
    ($$resume('no_such_job')$$), ($$resume(0)$$), ($$resume(NULL::text)$$), ($$resume(NULL::bigint)$$)) AS v(call);
DELETE FROM cron.job;

-- ==== order ====================================================================================
SELECT count(cron.schedule(name, '@yearly', 'SELECT 1')) FROM unnest('{f,g,h}'::text[]) AS name;
CREATE VIEW pg_temp.orders AS
    SELECT j.jobname, a.jobname AS after, d.condition
      FROM cron.job_dependency d LEFT JOIN cron.job j ON j.jobid = d.jobid LEFT JOIN cron.job a ON a.jobid = d.after_jobid
     ORDER BY j.jobname, a.jobname;
SELECT cron.run_after('g', 'f');
SELECT cron.run_after('h', 'g', 'succeeded');
SELECT cron.run_after('h', 'f');
SELECT * FROM pg_temp.orders;
SELECT cron.run_after('h', 'f', condition => 'succeeded');
SELECT * FROM pg_temp.orders;
SELECT pg_temp.refusal(format('SELECT cron.run_after(%s)', arguments)) FROM (VALUES
    ($$'f', 'f'$$), ($$'f', 'g'$$), ($$'f', 'h'$$), ($$'g', 'h'$$), ($$'f', 'no_such_job'$$), ($$'no_such_job', 'f'$$),
    ($$'h', 'g', 'failed'$$), ($$'h', 'g', NULL$$), ($$NULL, 'g'$$), ($$'h', NULL$$), ($$'', 'g'$$)) AS v(arguments);
SELECT cron.remove_run_after('h', 'f');
SELECT pg_temp.refusal(format('SELECT cron.remove_run_after(%s)', arguments)) FROM (VALUES
    ($$'h', 'f'$$), ($$'f', 'g'$$), ($$'no_such_job', 'f'$$), ($$'f', 'no_such_job'$$), ($$NULL, 'f'$$), ($$'f', NULL$$)) AS v(arguments);
SELECT * FROM pg_temp.orders;
-- A chain that is taken apart can be made the other way round.
SELECT cron.remove_run_after('g', 'f');
SELECT cron.run_after('f', 'h');
SELECT * FROM pg_temp.orders;
-- A job takes its order along.
SELECT cron.unschedule('h');
SELECT * FROM pg_temp.orders;
SELECT count(*) FROM cron.job_dependency;
DELETE FROM cron.job;

-- ==== a superuser's own statements =============================================================
INSERT INTO cron.job (schedule, command) VALUES ('@yearly', 'SELECT 1');
INSERT INTO cron.job (jobname, schedule, command, active, timezone) VALUES ('i', '0 2 * * *', 'SELECT 1', false, 'Europe/Berlin'),
                                                                           ('j', '0 2 * * *', 'SELECT 1', true, NULL);
SELECT * FROM pg_temp.jobs;
-- What comes in from elsewhere is all there: what is no schedule here is paused, and tells what is wrong.
INSERT INTO cron.job (jobname, schedule, command) VALUES ('k1', '61 * * * *', 'SELECT 1'), ('k2', '0 0 12 * * *', 'SELECT 1'),
    ('k3', '0 12 * * * # noon', 'SELECT 1'), ('k4', E'\n0 12 * * *\n', 'SELECT 1'), ('k5', '*10 * * * *', 'SELECT 1');
INSERT INTO cron.job (jobname, schedule, command, timezone) VALUES ('k6', '1 * * * *', 'SELECT 1', 'Mars/Olympus');
SELECT jobname, active, note FROM cron.job WHERE jobname LIKE 'k_' ORDER BY jobid;
SELECT jobname FROM cron.job WHERE NOT active AND note LIKE 'paused: %' ORDER BY jobid;
SELECT pg_temp.refusal($$SELECT cron.resume('k2')$$);
SELECT cron.alter_job(jobid, schedule => '0 12 * * *', active => true) FROM cron.job WHERE jobname = 'k2';
SELECT active, note FROM cron.job WHERE jobname = 'k2';
DELETE FROM cron.job WHERE jobname LIKE 'k_';
SELECT pg_temp.refusal($$INSERT INTO cron.job (jobname, schedule) VALUES ('k', '1 * * * *')$$);
SELECT pg_temp.refusal($$INSERT INTO cron.job (jobname, schedule, command) VALUES ('j', '@yearly', 'SELECT 1')$$);
SELECT pg_temp.refusal(format('UPDATE cron.job SET %s WHERE jobname = ''j''', change)) FROM (VALUES
    ($$schedule = 'x'$$), ($$timezone = 'x'$$), ($$timezone = ''$$), ($$schedule = NULL$$), ($$command = NULL$$), ($$username = NULL$$),
    ($$overlap_policy = 'x'$$), ($$missed = 'x'$$), ($$log_runs = 'x'$$), ($$max_retries = -1$$),
    ($$max_runtime = '0'$$), ($$retry_period = '0'$$), ($$jitter = '-1'$$), ($$catchup_window = '-1'$$), ($$max_failures = 0$$),
    ($$priority = -101$$), ($$priority = 101$$), ($$priority = NULL$$))
    AS v(change);
UPDATE cron.job SET schedule = '0 4 * * *', timezone = 'Asia/Tokyo', note = 'by hand' WHERE jobname = 'j';
SELECT * FROM pg_temp.jobs WHERE jobname = 'j';
SELECT to_char(next_run_at, 'HH24:MI') AS next_run FROM cron.jobs WHERE jobname = 'j';
-- A job may be paused whatever its schedule has become, but not go on with it.
ALTER TABLE cron.job DISABLE TRIGGER job_check;
UPDATE cron.job SET schedule = 'broken', active = false WHERE jobname = 'j';
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_check;
SELECT cron.pause('j', 'broken');
SELECT pg_temp.refusal($$SELECT cron.resume('j')$$);
SELECT active, next_run_at, note FROM cron.jobs WHERE jobname = 'j';
SELECT cron.schedule('j', '@yearly', 'SELECT 1') > 0 AS repaired;
-- The scheduler has heard of all that: it plans what is active, soon after the commit.
CREATE PROCEDURE pg_temp.wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
    met boolean;
BEGIN
    FOR i IN 1 .. 6000 LOOP
        EXECUTE 'SELECT ' || condition INTO met;
        EXIT WHEN met;
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
    IF met IS NOT TRUE THEN
        RAISE 'waited in vain for %', condition;
    END IF;
END $$;
CALL pg_temp.wait_for('(SELECT jobs FROM cron.scheduler_status) = 3');
UPDATE cron.job SET jobid = nextval('cron.jobid_seq') WHERE jobname = 'i';
DELETE FROM cron.job WHERE jobname = 'j';
CALL pg_temp.wait_for('(SELECT jobs FROM cron.scheduler_status) = 2');
-- What is rolled back was never there.
BEGIN;
SELECT cron.schedule('l', '@yearly', 'SELECT 1') > 0 AS made;
SELECT cron.unschedule('i');
ROLLBACK;
BEGIN;
SELECT cron.schedule('m', '@yearly', 'SELECT 1') > 0 AS made;
SAVEPOINT s;
SELECT cron.schedule('n', '@yearly', 'SELECT 1') > 0 AS made;
ROLLBACK TO s;
COMMIT;
SELECT jobname FROM cron.job ORDER BY jobid;
CALL pg_temp.wait_for('(SELECT jobs FROM cron.scheduler_status) = 3');
TRUNCATE cron.job;
CALL pg_temp.wait_for('(SELECT jobs FROM cron.scheduler_status) = 0');
SELECT * FROM cron.job;
-- Statements that change nothing are no error.
UPDATE cron.job SET active = true;
DELETE FROM cron.job;

-- An error that a function of ours meets inside comes out with all that PostgreSQL knows of it, and
-- one of ours as long as it is.
SELECT cron.schedule('whole', '@yearly', 'SELECT 1') > 0 AS made;
SELECT cron.schedule_in_database('whole', '@yearly', 'SELECT 1', current_database(), 'regress_cron_worker') > 0 AS made;
DO $$
DECLARE
    schema_name text;
    table_name text;
    constraint_name text;
    context text;
BEGIN
    BEGIN
        PERFORM cron.alter_job(max(jobid), username => current_user) FROM cron.job;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS schema_name = SCHEMA_NAME, table_name = TABLE_NAME,
            constraint_name = CONSTRAINT_NAME, context = PG_EXCEPTION_CONTEXT;
        RAISE WARNING '%: %.%, %; its statement: %, this block: % times', SQLSTATE, schema_name, table_name,
            constraint_name, context ~ 'SQL statement "\s*UPDATE cron.job',
            (SELECT count(*) FROM regexp_matches(context, 'inline_code_block', 'g'));
    END;
    BEGIN
        PERFORM cron.schedule_in_database('x', '@yearly', 'SELECT 1', current_database(), repeat('x', 10000));
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING '%: % characters', SQLSTATE, length(SQLERRM);
    END;
END $$;
DELETE FROM cron.job;

DROP ROLE regress_cron_worker, regress_cron_stranger;
