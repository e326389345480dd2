-- Runs: what a command may be, what its end says, what it leaves behind.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
SET TIME ZONE 'UTC';
\set SHOW_CONTEXT never
DELETE FROM cron.job;

CREATE PROCEDURE pg_temp.wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
    until CONSTANT timestamptz := clock_timestamp() + interval '60 s';
    met boolean;
BEGIN
    LOOP
        EXECUTE 'SELECT ' || condition INTO met;
        COMMIT;
        EXIT WHEN met;
        IF clock_timestamp() > until THEN
            RAISE 'waited in vain for %', condition;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
-- Makes the command a job that has no occurrence in our days, and asks for a run of it.
CREATE FUNCTION pg_temp.start(command text, name text DEFAULT 'run') RETURNS bigint LANGUAGE sql AS $$
    SELECT cron.run_job(cron.schedule(name, '@at 2999-01-01', command))
$$;
CREATE PROCEDURE pg_temp.wait_for_end(run bigint) LANGUAGE plpgsql AS $$
BEGIN
    CALL pg_temp.wait_for(format(
        'EXISTS (SELECT FROM cron.job_run_details WHERE runid = %s AND status NOT IN (''starting'', ''running''))', run));
END $$;
CREATE PROCEDURE pg_temp.wait_until_running(run bigint) LANGUAGE plpgsql AS $$
BEGIN
    CALL pg_temp.wait_for(format(
        'EXISTS (SELECT FROM cron.job_run_details WHERE runid = %s AND status = ''running'')', run));
END $$;
-- The end of a run: status, sqlstate, its relation to the transaction, reason, message.
CREATE FUNCTION pg_temp.outcome(run bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', status, sqlstate, CASE WHEN transactional THEN 'atomic' ELSE 'not atomic' END,
                     reason, replace(return_message, E'\n', ' / '))
      FROM cron.job_run_details WHERE runid = run
$$;
CREATE PROCEDURE pg_temp.run(command text, INOUT outcome text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    run CONSTANT bigint := pg_temp.start(command);
BEGIN
    COMMIT;
    CALL pg_temp.wait_for_end(run);
    outcome := pg_temp.outcome(run);
END $$;
CREATE TABLE regress_log (id serial, t text DEFAULT 'x');

-- ==== one run, and its row =====================================================================
SELECT cron.schedule('first', '@at 2999-01-01', 'INSERT INTO regress_log (t) VALUES (''first'')') AS jobid \gset
SELECT cron.run_job('first') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
\x on
SELECT jobid = :jobid AS jobid, job_pid > 0 AND job_pid <> pg_backend_pid() AS job_pid, database = current_database() AS database,
       username = CURRENT_USER AS username, command, status, return_message, start_time <= end_time AS ended,
       jobname, scheduled_at <= start_time AS scheduled, attempt, trigger, reason, sqlstate, transactional
  FROM cron.job_run_details WHERE runid = :runid;
SELECT jobname, running, last_run_at IS NOT NULL AS ran, last_status, last_message, last_duration >= '0' AS duration,
       consecutive_failures, runs_last_day, failures_last_day, average_duration >= '0' AS average, p95_duration >= '0' AS p95
  FROM cron.jobs;
\x off
SELECT t FROM regress_log;
-- By id; the job is paused, but may be run by hand.
SELECT cron.pause('first');
SELECT cron.run_job(:jobid) AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
-- A run that was asked for in a transaction that rolled back is not there.
BEGIN;
SELECT cron.run_job('first') > 0 AS asked;
ROLLBACK;
SELECT count(*) FROM cron.job_run_details WHERE jobname = 'first';
SELECT cron.unschedule('first');
SELECT cron.run_job('first');
SELECT cron.run_job(NULL::text);
SELECT cron.run_job(NULL::bigint);

-- ==== commands =================================================================================
CALL pg_temp.run('SELECT 1');
CALL pg_temp.run('SELECT generate_series(1, 5); INSERT INTO regress_log (t) VALUES (''two'')');
CALL pg_temp.run('');
CALL pg_temp.run(' ; -- nothing');
CALL pg_temp.run('UPDATE regress_log SET t = t;');
CALL pg_temp.run('CREATE TABLE regress_made (a int)');
CALL pg_temp.run('DO $d$ BEGIN INSERT INTO regress_log (t) VALUES (''do''); END $d$');
CALL pg_temp.run('WITH one AS (INSERT INTO regress_log (t) VALUES (''returned'') RETURNING t) SELECT * FROM one');
SELECT t FROM regress_log ORDER BY id;
TRUNCATE regress_log;

-- Errors: of the text, of a statement, of the last of several: nothing stays.
CALL pg_temp.run('SELEC 1');
CALL pg_temp.run('SELECT 1/0');
CALL pg_temp.run('SELECT * FROM no_such_table');
CALL pg_temp.run('INSERT INTO regress_log DEFAULT VALUES; SELECT 1/0');
CALL pg_temp.run($c$DO $$ BEGIN RAISE EXCEPTION 'a message' USING DETAIL = 'a detail', HINT = 'a hint', ERRCODE = 'ZZ123'; END $$ $c$);
-- What is too long is cut, at a character's end.
SELECT pg_temp.start($c$DO $$ BEGIN RAISE EXCEPTION '%', repeat('é', 100000); END $$ $c$) AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT status, octet_length(return_message) BETWEEN 500 AND 10000 AS cut, return_message ~ '^ERROR: é+$' AS whole FROM cron.job_run_details WHERE runid = :runid;
CALL pg_temp.run('COPY (SELECT 1) TO STDOUT');
CALL pg_temp.run('COPY regress_log FROM STDIN');
CREATE TABLE regress_parent (a int PRIMARY KEY);
CREATE TABLE regress_child (a int REFERENCES regress_parent DEFERRABLE INITIALLY DEFERRED);
CALL pg_temp.run('INSERT INTO regress_log DEFAULT VALUES; INSERT INTO regress_child VALUES (1)');
CALL pg_temp.run('INSERT INTO regress_child VALUES (1); INSERT INTO regress_parent VALUES (1)');
SELECT count(*) FROM regress_log;

-- Transactions of the command's own.
CALL pg_temp.run('BEGIN; INSERT INTO regress_log (t) VALUES (''kept''); COMMIT');
CALL pg_temp.run('BEGIN; INSERT INTO regress_log (t) VALUES (''not kept''); ROLLBACK');
CALL pg_temp.run('BEGIN; INSERT INTO regress_log (t) VALUES (''kept before an error''); COMMIT; SELECT 1/0');
CALL pg_temp.run('BEGIN; INSERT INTO regress_log (t) VALUES (''left open'')');
CALL pg_temp.run('BEGIN; SAVEPOINT s; INSERT INTO regress_log (t) VALUES (''to a savepoint''); ROLLBACK TO s; INSERT INTO regress_log (t) VALUES (''after it''); COMMIT');
CALL pg_temp.run('COMMIT');
CALL pg_temp.run('ROLLBACK');
CREATE PROCEDURE regress_commits() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 3 LOOP
        INSERT INTO regress_log (t) VALUES ('procedure ' || i);
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.run('CALL regress_commits()');
CREATE PROCEDURE regress_does_not_commit() LANGUAGE sql AS $$ INSERT INTO regress_log (t) VALUES ('no commit') $$;
CALL pg_temp.run('CALL regress_does_not_commit()');
CALL pg_temp.run('CALL regress_commits(); SELECT 1');
CALL pg_temp.run('SET TRANSACTION READ ONLY; SELECT 1');
CALL pg_temp.run('SET TRANSACTION READ ONLY; INSERT INTO regress_log (t) VALUES (''read only'')');
CALL pg_temp.run('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; INSERT INTO regress_log (t) VALUES (''serializable'')');
CALL pg_temp.run('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; INSERT INTO regress_log (t) VALUES (''repeatable read'')');
SELECT t FROM regress_log ORDER BY id;
TRUNCATE regress_log;
-- Statements that cannot be in a transaction.
CALL pg_temp.run('VACUUM regress_log');
CALL pg_temp.run('CREATE INDEX CONCURRENTLY regress_log_t ON regress_log (t)');
SELECT indisvalid FROM pg_index WHERE indexrelid = 'regress_log_t'::regclass;
CALL pg_temp.run('REINDEX TABLE CONCURRENTLY regress_log');
CALL pg_temp.run('SELECT 1; VACUUM regress_log');
CALL pg_temp.run('CREATE DATABASE regress_cron_made');
CALL pg_temp.run('DROP DATABASE regress_cron_made');

-- ==== who runs =================================================================================
CREATE TABLE regress_seen (job_id text, run_id text, job_name text, scheduled_at timestamptz, attempt text,
                           application_name text, who text, search_path text, pid int);
SELECT pg_temp.start($$INSERT INTO regress_seen
    SELECT current_setting('cron.job_id'), current_setting('cron.run_id'), current_setting('cron.job_name'),
           current_setting('cron.scheduled_at')::timestamptz, current_setting('cron.attempt'),
           current_setting('application_name'), CURRENT_USER, current_setting('search_path'), pg_backend_pid()$$, 'who is it') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT s.job_id = d.jobid::text AS job_id, s.run_id = d.runid::text AS run_id, job_name, s.scheduled_at = d.scheduled_at AS scheduled_at,
       s.attempt, s.application_name = format('cron: who is it [%s]', d.runid) AS application_name, s.who = d.username AS who,
       search_path, s.pid = d.job_pid AS pid
  FROM regress_seen s, cron.job_run_details d WHERE d.runid = :runid;
SELECT cron.unschedule('who is it');
-- It cannot be changed.
CALL pg_temp.run('SET cron.run_id = ''1''');
CALL pg_temp.run('SELECT set_config(''cron.job_id'', ''1'', true)');

-- ==== what a run leaves to the next in the same process ========================================
CREATE ROLE regress_cron_other;
CALL pg_temp.run($$SET search_path = pg_catalog; SET ROLE regress_cron_other; SET statement_timeout = '1h'; SET work_mem = '64kB';
    SET default_transaction_read_only = on$$);
SELECT job_pid AS first_pid FROM cron.job_run_details WHERE jobname = 'run' ORDER BY runid DESC LIMIT 1 \gset
CALL pg_temp.run('CREATE TEMP TABLE regress_temp AS SELECT 1 AS a');
CALL pg_temp.run('CREATE TEMP TABLE regress_temp AS SELECT 1 AS a');
CALL pg_temp.run('LISTEN regress_channel');
CALL pg_temp.run('SELECT pg_advisory_lock(4711); PREPARE regress_plan AS SELECT 1; SELECT nextval(''regress_log_id_seq''); DECLARE c CURSOR WITH HOLD FOR SELECT 1');
CALL pg_temp.wait_for('pg_try_advisory_lock(4711)');
SELECT pg_advisory_unlock_all();
CALL pg_temp.run('PREPARE regress_plan AS SELECT 1; DEALLOCATE regress_plan; DECLARE c CURSOR WITH HOLD FOR SELECT 1');
CALL pg_temp.run('SELECT lastval()');
CALL pg_temp.run($$INSERT INTO regress_log (t)
    SELECT CONCAT_WS(' ', current_user = session_user, current_setting('search_path'), current_setting('statement_timeout'),
                     current_setting('work_mem'), current_setting('default_transaction_read_only'), current_setting('role'),
                     (SELECT count(*) FROM pg_prepared_statements),
                     (SELECT count(*) FROM pg_cursors WHERE name <> ''), to_regclass('regress_temp'))$$);
SELECT replace(t, current_setting('work_mem'), 'default') AS t FROM regress_log;
SELECT job_pid = :first_pid AS same_process FROM cron.job_run_details WHERE jobname = 'run' ORDER BY runid DESC LIMIT 1;
TRUNCATE regress_log;
-- The rest of a run that failed or was ended does not reach the next, either.
CALL pg_temp.run('BEGIN; SET search_path = pg_catalog; CREATE TEMP TABLE regress_temp (a int); COMMIT; SELECT 1/0');
CALL pg_temp.run('SELECT * FROM regress_temp');
CALL pg_temp.run('SELECT count(*) FROM regress_log');

-- ==== what jobs do to jobs and to the history ==================================================
SELECT pg_temp.start($$SELECT cron.unschedule('short')$$, 'short') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT count(*) FROM cron.job WHERE jobname = 'short';
-- The row of a run that deletes it, or all of them, is back when it ends.
SELECT pg_temp.start('DELETE FROM cron.job_run_details', 'deletes') AS runid \gset
CALL pg_temp.wait_for('(SELECT bool_and(status = ''succeeded'') FROM cron.job_run_details)');
SELECT count(*), bool_and(runid = :runid) AS own, min(left(return_message, 6)) AS message, min(jobname) AS jobname, min(trigger) AS trigger FROM cron.job_run_details;
SELECT pg_temp.start('TRUNCATE cron.job_run_details', 'truncates') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT count(*), bool_and(runid = :runid) AS own, min(return_message) AS message, min(jobname) AS jobname, min(trigger) AS trigger FROM cron.job_run_details;
SELECT count(cron.unschedule(name)) FROM unnest('{deletes,truncates}'::text[]) AS name;
-- A job that changes itself.
SELECT pg_temp.start($$SELECT cron.schedule('changes', '@at 2999-01-01', 'SELECT 2')$$, 'changes') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT command FROM cron.job WHERE jobname = 'changes';
SELECT cron.unschedule('changes');
-- A job that asks for another run.
SELECT cron.schedule('asked', '@at 2999-01-01', 'SELECT 1') > 0 AS made;
CALL pg_temp.run('SELECT cron.run_job(''asked'')');
CALL pg_temp.wait_for('EXISTS (SELECT FROM cron.job_run_details WHERE jobname = ''asked'' AND status = ''succeeded'')');
SELECT cron.unschedule('asked');

-- ==== much =====================================================================================
CALL pg_temp.run('DO $d$ BEGIN FOR i IN 1 .. 100000 LOOP RAISE NOTICE ''%'', i; END LOOP; END $d$');
CALL pg_temp.run('SELECT generate_series(1, 1000000)');
CALL pg_temp.run('SELECT 1 /* ' || repeat('x', 1000000) || ' */');
SELECT length(command) FROM cron.job_run_details WHERE jobname = 'run' ORDER BY runid DESC LIMIT 1;
CALL pg_temp.run(repeat('SELECT 1;', 2000));

-- ==== runs that take a while ===================================================================
-- They wait for a lock of this session, and are shown as running meanwhile.
SELECT pg_advisory_lock(4711);
SELECT pg_temp.start($$SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; INSERT INTO regress_log (t) VALUES ('long'); SELECT pg_advisory_xact_lock(4711)$$) AS runid \gset
CALL pg_temp.wait_until_running(:runid);
SELECT status, job_pid > 0 AS job_pid, start_time IS NOT NULL AS started, end_time, return_message, sqlstate, transactional FROM cron.job_run_details WHERE runid = :runid;
SELECT running FROM cron.jobs WHERE jobname = 'run';
-- A second one waits for it, visibly; it can be cancelled before it has started.
SELECT cron.run_job('run') AS waiting \gset
CALL pg_temp.wait_for('(SELECT reason IS NOT NULL FROM cron.job_run_details WHERE runid = ' || :waiting || ')');
SELECT status, reason, job_pid, start_time FROM cron.job_run_details WHERE runid = :waiting;
SELECT cron.cancel_run(:waiting);
SELECT pg_temp.outcome(:waiting);
SELECT cron.cancel_run(:waiting);
SELECT pg_advisory_unlock(4711);
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
-- It was not executed later, either: the next one is the next.
CALL pg_temp.run('SELECT 1');
SELECT pg_temp.outcome(:waiting);
SELECT t FROM regress_log;
TRUNCATE regress_log;
-- Cancelled while it runs: nothing stays of it.
SELECT pg_temp.start($$INSERT INTO regress_log (t) VALUES ('cancelled'); SELECT pg_sleep(600)$$) AS runid \gset
CALL pg_temp.wait_until_running(:runid);
SELECT cron.cancel_run(:runid);
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT cron.cancel_run(:runid);
-- Nor does a command that catches the cancellation get away with it.
SELECT pg_temp.start($c$DO $$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN INSERT INTO regress_log (t) VALUES ('caught'); END $$ $c$) AS runid \gset
CALL pg_temp.wait_until_running(:runid);
SELECT cron.cancel_run(:runid);
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT count(*) FROM regress_log;
SELECT cron.cancel_run(0);
SELECT cron.cancel_run(NULL);
-- max_runtime.
SELECT cron.schedule('limited', '@at 2999-01-01', 'INSERT INTO regress_log DEFAULT VALUES; SELECT pg_sleep(600)') > 0 AS made;
SELECT cron.configure_job('limited', max_runtime => '50 ms');
SELECT cron.run_job('limited') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT count(*) FROM regress_log;
SELECT cron.unschedule('limited');
-- statement_timeout of the command's own is another thing. It holds from the next statement on.
CALL pg_temp.run('SET statement_timeout = 20; SELECT pg_sleep(600)');
-- An unscheduled job's run goes on to its end.
SELECT pg_advisory_lock(4711);
SELECT pg_temp.start($$SELECT pg_advisory_xact_lock(4711)$$, 'gone') AS runid \gset
CALL pg_temp.wait_until_running(:runid);
SELECT cron.unschedule('gone');
SELECT pg_advisory_unlock(4711);
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
-- A run whose row is deleted meanwhile writes it again.
SELECT pg_advisory_lock(4711);
SELECT pg_temp.start($$SELECT pg_advisory_xact_lock(4711)$$) AS runid \gset
CALL pg_temp.wait_until_running(:runid);
DELETE FROM cron.job_run_details WHERE runid = :runid;
SELECT pg_advisory_unlock(4711);
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);

-- ==== schedules ================================================================================
-- Runs of a schedule, of its retries, and of a job that runs once.
SELECT cron.schedule('ticks', '1 second', 'INSERT INTO regress_log (t) VALUES (''tick'')') AS jobid \gset
CALL pg_temp.wait_for('(SELECT count(*) >= 2 FROM cron.job_run_details WHERE jobname = ''ticks'' AND status = ''succeeded'')');
SELECT cron.unschedule('ticks');
CALL pg_temp.wait_for('NOT EXISTS (SELECT FROM cron.job_run_details WHERE jobname = ''ticks'' AND status IN (''starting'', ''running''))');
SELECT DISTINCT trigger, attempt, status, return_message, extract(microseconds FROM scheduled_at) % 1000000 AS fraction
  FROM cron.job_run_details WHERE jobid = :jobid AND status <> 'skipped';
SELECT (SELECT count(*) FROM regress_log) = (SELECT count(*) FROM cron.job_run_details WHERE jobid = :jobid AND status = 'succeeded') AS each_has_its_row;
TRUNCATE regress_log;
SELECT cron.schedule_once('once', clock_timestamp() + interval '100 ms', 'INSERT INTO regress_log (t) VALUES (''once'')') AS jobid \gset
CALL pg_temp.wait_for('NOT EXISTS (SELECT FROM cron.job WHERE jobname = ''once'')');
SELECT trigger, attempt, status, return_message FROM cron.job_run_details WHERE jobid = :jobid;
SELECT t FROM regress_log;
TRUNCATE regress_log;
-- The time to run it has come already.
SELECT cron.schedule_once('at once', clock_timestamp(), 'INSERT INTO regress_log (t) VALUES (''at once'')') AS jobid \gset
CALL pg_temp.wait_for('NOT EXISTS (SELECT FROM cron.job WHERE jobname = ''at once'')');
SELECT trigger, attempt, status, return_message FROM cron.job_run_details WHERE jobid = :jobid;
-- Retries: a row each; not after an error that they cannot mend.
CREATE FUNCTION regress_third_time() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('cron.attempt')::int < 3 THEN
        RAISE 'attempt % fails', current_setting('cron.attempt');
    END IF;
    RETURN 'done';
END $$;
SELECT cron.schedule('retried', '@at 2999-01-01', 'SELECT regress_third_time()') AS jobid \gset
SELECT cron.configure_job('retried', max_retries => 5, retry_period => '10 ms');
SELECT cron.run_job('retried') AS runid \gset
CALL pg_temp.wait_for('EXISTS (SELECT FROM cron.job_run_details WHERE jobname = ''retried'' AND status = ''succeeded'')');
SELECT attempt, trigger, status, sqlstate, split_part(return_message, E'\n', 1) AS message FROM cron.job_run_details WHERE jobid = :jobid ORDER BY runid;
SELECT count(DISTINCT scheduled_at) AS occurrences FROM cron.job_run_details WHERE jobid = :jobid;
SELECT cron.schedule('retried', '@at 2999-01-01', 'SELECT 1/0') = :jobid AS kept;
SELECT cron.run_job('retried') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
CALL pg_temp.run('SELECT 1');
SELECT attempt, trigger, status, sqlstate FROM cron.job_run_details WHERE jobid = :jobid AND runid >= :runid ORDER BY runid;
SELECT cron.unschedule('retried');
-- max_failures: the job is paused, and says why.
BEGIN;
SELECT cron.schedule('hopeless', '1 second', 'SELECT 1/0') AS jobid \gset
SELECT cron.configure_job('hopeless', max_failures => 2);
COMMIT;
CALL pg_temp.wait_for('NOT (SELECT active FROM cron.job WHERE jobname = ''hopeless'')');
SELECT active, regexp_replace(note, 'run [0-9]+', 'run N') AS note FROM cron.job WHERE jobname = 'hopeless';
SELECT consecutive_failures, next_run_at FROM cron.jobs WHERE jobname = 'hopeless';
SELECT count(*) AS failures FROM cron.job_run_details WHERE jobid = :jobid AND status = 'failed';
SELECT cron.unschedule('hopeless');
-- Order: the second of two that are due together waits for the first, or is skipped after it.
SELECT pg_advisory_lock(4711);
SELECT date_trunc('second', clock_timestamp()) + interval '2 s' AS due \gset
BEGIN;
SELECT cron.schedule_once('early', :'due', 'SELECT pg_advisory_xact_lock(4711); SELECT 1/0') > 0 AS made;
SELECT cron.schedule_once('late', :'due', 'INSERT INTO regress_log (t) VALUES (''late'')') > 0 AS made;
SELECT cron.schedule_once('late if succeeded', :'due', 'INSERT INTO regress_log (t) VALUES (''late if succeeded'')') > 0 AS made;
SELECT cron.run_after('late', 'early');
SELECT cron.run_after('late if succeeded', 'early', 'succeeded');
COMMIT;
CALL pg_temp.wait_for('(SELECT count(*) = 2 FROM cron.job_run_details WHERE jobname LIKE ''late%'')');
SELECT jobname, status, reason FROM cron.job_run_details WHERE jobname LIKE 'late%' ORDER BY jobname;
SELECT pg_advisory_unlock(4711);
CALL pg_temp.wait_for('(SELECT count(*) = 3 FROM cron.job_run_details WHERE jobname ~ ''^(late|early)'' AND end_time IS NOT NULL)');
SELECT jobname, status, reason, sqlstate FROM cron.job_run_details WHERE jobname ~ '^(late|early)' ORDER BY jobname;
DELETE FROM cron.job WHERE jobname ~ '^(late|early)';
TRUNCATE regress_log;

-- ==== which runs are recorded ==================================================================
SELECT cron.schedule('failures', '@at 2999-01-01', 'INSERT INTO regress_log DEFAULT VALUES') AS jobid \gset
SELECT cron.configure_job('failures', log_runs => 'failures');
SELECT cron.run_job('failures') > 0 AS asked;
CALL pg_temp.wait_for('EXISTS (SELECT FROM regress_log)');
SELECT count(*) FROM cron.job_run_details WHERE jobid = :jobid;
SELECT cron.schedule('failures', '@at 2999-01-01', 'SELECT 1/0') = :jobid AS kept;
SELECT cron.run_job('failures') AS runid \gset
CALL pg_temp.wait_for_end(:runid);
SELECT pg_temp.outcome(:runid);
SELECT cron.unschedule('failures');
TRUNCATE regress_log;
BEGIN;
SELECT cron.schedule('none', '1 second', 'INSERT INTO regress_log DEFAULT VALUES') AS jobid \gset
SELECT cron.configure_job('none', log_runs => 'none');
COMMIT;
CALL pg_temp.wait_for('(SELECT count(*) >= 2 FROM regress_log)');
SELECT cron.unschedule('none');
SELECT count(*) FROM cron.job_run_details WHERE jobid = :jobid;

-- ==== purge_history ============================================================================
-- In a transaction, so that nobody else purges them.
BEGIN;
SET LOCAL session_replication_role = replica;  -- also unfinished ones
INSERT INTO cron.job_run_details (jobid, status, username, start_time, end_time)
SELECT -1, status, CURRENT_USER, now() - age, now() - age
  FROM unnest('{succeeded,failed,skipped,running,starting}'::text[]) AS status, unnest('{1 hour,2 days,31 days}'::interval[]) AS age;
SELECT cron.purge_history('100 years');
SELECT cron.purge_history();
SELECT cron.purge_history('1 day');
SELECT status, count(*), max(now() - start_time) AS oldest FROM cron.job_run_details WHERE jobid = -1 GROUP BY status ORDER BY status;
SELECT cron.purge_history('1 minute') >= 3 AS purged;
SELECT status, count(*) FROM cron.job_run_details WHERE jobid = -1 GROUP BY status ORDER BY status;
SELECT cron.purge_history('-1 day');
ROLLBACK;

DELETE FROM cron.job;
DROP TABLE regress_log, regress_made, regress_child, regress_parent, regress_seen;
DROP PROCEDURE regress_commits, regress_does_not_commit;
DROP FUNCTION regress_third_time;
DROP ROLE regress_cron_other;
