-- cron.check_invariants(): each violation, made by hand, is reported.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
SET timezone = 'UTC';

BEGIN;
-- Nothing of this is seen by the scheduler or the http worker, as it is rolled back.
DELETE FROM cron.job;
DELETE FROM cron.job_run_details;
DELETE FROM net.http_request_queue;
DELETE FROM net._http_response;

CREATE FUNCTION pg_temp.broken() RETURNS TABLE (invariant text, jobid bigint, runid bigint, request_id bigint, detail text)
    LANGUAGE sql AS $$ SELECT * FROM cron.check_invariants('10 seconds') ORDER BY 1, 2, 3, 4 $$;

-- All is well.
INSERT INTO cron.job (jobid, jobname, schedule, command, planned_from)
VALUES (1, 'yearly', '0 0 1 1 *', 'SELECT 1', '2020-06-01 00:00+00');
UPDATE cron.job SET planned_from = now() WHERE jobid = 1;
SELECT * FROM pg_temp.broken();

-- Occurrences without a row: since planned_from or planned_until, and since the last row.
SAVEPOINT well;
UPDATE cron.scheduler_state SET planned_until = '2020-07-01 00:00+00';
UPDATE cron.job SET planned_from = '2020-06-01 00:00+00' WHERE jobid = 1;
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;
UPDATE cron.job SET planned_from = '2020-06-01 00:00+00' WHERE jobid = 1;
INSERT INTO cron.job_run_details (jobid, runid, scheduled_at, trigger, status, start_time, end_time)
VALUES (1, 101, '2021-01-01 00:00+00', 'schedule', 'succeeded', '2021-01-01 00:00+00', '2021-01-01 00:00+00');
SELECT * FROM pg_temp.broken();
-- Not of a job that is paused, or that runs on another server.
UPDATE cron.job SET active = false WHERE jobid = 1;
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;

-- Twice.
INSERT INTO cron.job_run_details (jobid, runid, scheduled_at, attempt, trigger, status, start_time, end_time)
SELECT 1, 100 + attempt, '2021-01-01 00:00+00', attempt, 'schedule', 'succeeded', '2021-01-01 00:00+00', '2021-01-01 00:00+00'
  FROM generate_series(1, 2) attempt;
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;
ALTER TABLE cron.job_run_details DISABLE TRIGGER run_check;
INSERT INTO cron.job_run_details (jobid, runid, scheduled_at, attempt, trigger, status, reason)
SELECT 1, 100 + attempt, '2021-01-01 00:00+00', attempt, 'schedule', 'starting', 'waiting'
  FROM generate_series(1, 2) attempt;
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;

-- An outcome without an end, an end without an outcome.
ALTER TABLE cron.job_run_details DISABLE TRIGGER run_check;
INSERT INTO cron.job_run_details (jobid, runid, scheduled_at, trigger, status, start_time, end_time, reason)
VALUES (1, 101, '2021-01-01 00:00+00', 'schedule', 'succeeded', '2021-01-01 00:00+00', NULL, NULL),
       (1, 102, '2022-01-01 00:00+00', 'schedule', 'failed', '2022-01-01 00:00+00', NULL, NULL),
       (1, 103, '2023-01-01 00:00+00', 'schedule', 'starting', NULL, '2023-01-01 00:00+00', 'waiting');
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;

-- A run whose process does not exist, and one that nobody has in hand. Process ids are below 2^22.
ALTER TABLE cron.job_run_details DISABLE TRIGGER run_check;
INSERT INTO cron.job_run_details (jobid, runid, scheduled_at, trigger, status, start_time, job_pid)
VALUES (1, 101, '2021-01-01 00:00+00', 'schedule', 'running', '2021-01-01 00:00+00', 2000000000),
       (1, 102, '2021-01-02 00:00+00', 'schedule', 'running', '2021-01-01 00:00+00', pg_backend_pid()),
       (1, 103, '2021-01-03 00:00+00', 'schedule', 'starting', NULL, NULL);
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;

-- A request that nobody sends, and one that is not due yet.
INSERT INTO net.http_request_queue (id, method, url, ready_at, created_by)
VALUES (1, 'GET', 'http://127.0.0.1:1/', '2021-01-01 00:00+00', 'pg_monitor'::regrole),
       (2, 'GET', 'http://127.0.0.1:1/', now() + interval '1 hour', 'pg_monitor'::regrole);
SELECT invariant, request_id, split_part(detail, ',', 1) AS detail FROM pg_temp.broken();
-- One that has been answered already, and a callback that is not called.
UPDATE net.http_request_queue SET ready_at = now() + interval '1 hour';
INSERT INTO net._http_response (id, state, callback_state, callback_at, created_by)
VALUES (1, 'succeeded', NULL, NULL, 'pg_monitor'::regrole),
       (3, 'succeeded', 'waiting', '2021-01-01 00:00+00', 'pg_monitor'::regrole);
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;

-- An event that nobody tells; the one behind it waits for it.
INSERT INTO cron.alert (alertid, name, username, events, channel) VALUES (1, 'mine', 'pg_monitor', '{failed}', 'x');
INSERT INTO cron.alert_event (alertid, event, jobid, subject, runid, due_at)
VALUES (1, 'failed', 1, 'job', 101, '2021-01-01 00:00+00'), (1, 'failed', 1, 'job', 102, '2021-01-01 00:00+00'),
       (1, 'failed', 2, 'job', 103, now() + interval '1 hour');
SELECT * FROM pg_temp.broken();
ROLLBACK TO well;

-- A role sees what it may see, also without a right to use schema net.
CREATE ROLE invariants_role;
GRANT USAGE ON SCHEMA cron TO invariants_role;
INSERT INTO cron.job_run_details (jobid, runid, scheduled_at, trigger, status, username)
VALUES (1, 101, '2021-01-01 00:00+00', 'schedule', 'succeeded', 'pg_monitor'),
       (1, 102, '2022-01-01 00:00+00', 'schedule', 'succeeded', 'invariants_role');
SET LOCAL ROLE invariants_role;
SELECT invariant, runid FROM cron.check_invariants();
RESET ROLE;
ROLLBACK;
