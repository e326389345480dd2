-- From this extension to the original pg_cron and pg_net, in one transaction. Variables of psql:
-- has_cron, has_net, net_available, apply. The server preloads the originals: of this extension there
-- are the tables, and no function works.
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = error;
\ir as_pg_cron.sql
\ir keep_grants.sql
SELECT default_version AS version, split_part(default_version, '.', 1)::int * 1000 + substring(default_version FROM '^[0-9]+[.]([0-9]+)')::int AS number
  FROM pg_available_extensions WHERE name = 'pg_cron' \gset

\if :has_cron
LOCK TABLE cron.job, cron.job_dependency, cron.job_run_details IN ACCESS EXCLUSIVE MODE;
CREATE TEMP TABLE kept_job ON COMMIT DROP AS
SELECT j.jobid, j.schedule, j.command, j.database, j.username, j.active, j.jobname,
       format('job %s%s', j.jobid, ' (' || j.jobname || ')') AS title,
       array_remove(ARRAY[
           'timezone ' || j.timezone, 'max_runtime ' || j.max_runtime,
           CASE WHEN j.max_retries > 0 THEN format('max_retries %s, retry_period %s', j.max_retries, j.retry_period) END,
           'overlap_policy ' || NULLIF(j.overlap_policy, 'buffer_one'), 'missed ' || NULLIF(j.missed, 'once'),
           'catchup_window ' || j.catchup_window, 'jitter ' || j.jitter, 'max_failures ' || j.max_failures,
           'log_runs ' || NULLIF(j.log_runs, 'all'), 'priority ' || NULLIF(j.priority, 0), 'note ' || j.note,
           (SELECT 'runs after ' || string_agg(d.after_jobid::text, ', ') FROM cron.job_dependency d WHERE d.jobid = j.jobid),
           CASE WHEN j.replicated THEN 'came by replication' END], NULL) AS lost,
       CASE WHEN pg_temp.as_pg_cron(j.schedule) IS NULL THEN 'refuses it'
            WHEN pg_temp.bare(j.schedule) ~ 'second' AND :number < 1005 THEN 'refuses it before version 1.5'
            WHEN pg_temp.bare(j.schedule) ~ '[$]' AND :number < 1006 THEN 'refuses it before version 1.6'
            WHEN pg_temp.as_pg_cron(j.schedule) IS DISTINCT FROM ltrim(pg_temp.bare(j.schedule), '+')
            THEN 'takes it for ' || pg_temp.as_pg_cron(j.schedule)
            WHEN j.timezone <> COALESCE(current_setting('cron.timezone', true), 'GMT') THEN 'has no time zone of a job' END AS problem
  FROM cron.job j;
CREATE TEMP TABLE kept_run ON COMMIT DROP AS
SELECT jobid, runid, job_pid, database, username, command,
       CASE WHEN status IN ('starting', 'running') THEN 'failed' ELSE status END AS status,
       CASE WHEN status IN ('starting', 'running') THEN 'server restarted' ELSE COALESCE(return_message, reason) END AS return_message,
       start_time, CASE WHEN status IN ('starting', 'running') THEN pg_postmaster_start_time() ELSE end_time END AS end_time
  FROM cron.job_run_details;
CREATE TEMP TABLE kept_number ON COMMIT DROP AS
SELECT j.last_value AS job, j.is_called AS job_called, r.last_value AS run, r.is_called AS run_called
  FROM cron.jobid_seq j, cron.runid_seq r;
\endif
\if :has_net
LOCK TABLE net.http_request_queue, net._http_response IN ACCESS EXCLUSIVE MODE;
CREATE TEMP TABLE kept_request ON COMMIT DROP AS
SELECT id, method, url, headers, body, timeout_milliseconds,
       method IN ('GET', 'POST', 'DELETE') AND sealed_headers IS NULL AND header_secrets IS NULL AND form_secrets IS NULL
       AND ready_at <= now() AS fits
  FROM net.http_request_queue;
CREATE TEMP TABLE kept_response ON COMMIT DROP AS
SELECT id, status_code, content_type, headers, content, timed_out, error_msg, created FROM net._http_response;
CREATE TEMP TABLE kept_request_number ON COMMIT DROP AS
SELECT last_value, is_called FROM net.http_request_queue_id_seq;
SELECT format('Secrets that are lost: %s', string_agg(name, ', ' ORDER BY name)) FROM net.secret HAVING count(*) > 0;
\if :net_available
\else
SELECT format('pg_net is not available on this server: %s requests that wait and %s responses are lost.',
              (SELECT count(*) FROM kept_request), (SELECT count(*) FROM kept_response));
\if :apply
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_temp.kept_request) THEN
        RAISE EXCEPTION 'requests wait, and pg_net is not available'
            USING HINT = 'Install pg_net, or preload this extension again and have the requests sent or cancelled.';
    END IF;
END $$;
\endif
\endif
\endif

SELECT format('DROP EXTENSION %s', string_agg(format('%I', extname), ', '))
  FROM pg_extension
 WHERE extname = 'securatlas_sched'
    OR (extname IN ('pg_cron', 'pg_net') AND split_part(extversion, '.', 3) ~ '^[1-9][0-9]{2,}$') \gexec

\if :has_cron
CREATE EXTENSION pg_cron;
INSERT INTO cron.job (jobid, schedule, command, nodename, nodeport, database, username, active, jobname)
SELECT jobid, schedule, command, 'localhost', current_setting('port')::int, database, username, active AND problem IS NULL, jobname
  FROM kept_job;
-- How far it is, pg_stat_activity shows: nothing of this extension can, which is not in the server.
DO $$
DECLARE
    at_once CONSTANT bigint := 1000;    -- pages
    pages CONSTANT bigint := pg_relation_size('pg_temp.kept_run') / current_setting('block_size')::bigint;
    total CONSTANT bigint := (SELECT count(*) FROM pg_temp.kept_run);
    moved bigint := 0;
    here bigint;
BEGIN
    FOR page IN 0 .. pages BY at_once LOOP
        INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message,
                                          start_time, end_time)
        SELECT * FROM pg_temp.kept_run k
         WHERE k.ctid >= format('(%s,0)', page)::tid AND k.ctid < format('(%s,0)', page + at_once)::tid;
        GET DIAGNOSTICS here = ROW_COUNT;
        moved := moved + here;
        PERFORM set_config('application_name', format('securatlas_sched_migrate: %s of %s rows', moved, total), true);
    END LOOP;
END $$;
SELECT count(setval('cron.jobid_seq', job, job_called)) + count(setval('cron.runid_seq', run, run_called)) AS numbers
  FROM kept_number \gset
SELECT format('Jobs: %s, %s of them active, and %s rows of history.', (SELECT count(*) FROM cron.job),
              (SELECT count(*) FILTER (WHERE active) FROM cron.job), (SELECT count(*) FROM cron.job_run_details));
\echo 'Jobs that pg_cron cannot run as they are; they are kept, paused:'
SELECT format('  %s, %s: pg_cron %s', title, to_json(schedule), problem) FROM kept_job WHERE active AND problem IS NOT NULL ORDER BY jobid;
\echo 'What pg_cron has no place for:'
SELECT format('  %s: %s', title, array_to_string(lost, '; ')) FROM kept_job WHERE lost <> '{}' ORDER BY jobid;
\echo '  all jobs: missed occurrences are lost, and the outcome of a run is written after it'
SELECT format('  pg_cron %s knows no cron.timezone (%s): all schedules are in GMT', :'version',
              current_setting('cron.timezone', true))
 WHERE :number < 1005 AND upper(current_setting('cron.timezone', true)) NOT IN ('GMT', 'UTC');
\echo 'Jobs of other databases, which hold this extension themselves, are not among these: schedule them here with cron.schedule_in_database().'
\endif
\if :has_net
\if :net_available
CREATE EXTENSION pg_net;
INSERT INTO net.http_request_queue (id, method, url, headers, body, timeout_milliseconds)
SELECT id, method, url, headers, body, timeout_milliseconds FROM kept_request WHERE fits;
INSERT INTO net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg, created)
SELECT id, status_code, content_type, headers, content, timed_out, error_msg, created FROM kept_response;
SELECT setval('net.http_request_queue_id_seq', last_value, is_called) AS numbers FROM kept_request_number \gset
SELECT format('Requests that wait: %s; %s more have encrypted headers, secrets, a later time or another method than pg_net knows, and are lost. Responses: %s.',
              count(*) FILTER (WHERE fits), count(*) FILTER (WHERE NOT fits), (SELECT count(*) FROM kept_response))
  FROM kept_request;
\endif
\endif
\ir finish.sql
