-- From pg_cron and pg_net to this extension, in one transaction. Variables of psql: has_cron, has_net,
-- names (create pg_cron and pg_net, not securatlas_sched), per_database, apply.
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = error;
\ir as_pg_cron.sql
\ir keep_grants.sql

\if :has_cron
LOCK TABLE cron.job, cron.job_run_details IN ACCESS EXCLUSIVE MODE;
-- As JSON, because older versions lack columns.
CREATE TEMP TABLE kept_job ON COMMIT DROP AS SELECT to_jsonb(j) AS row FROM cron.job j;
CREATE TEMP TABLE kept_run ON COMMIT DROP AS
SELECT jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time
  FROM cron.job_run_details;
CREATE TEMP TABLE kept_start ON COMMIT DROP AS
SELECT jobid, max(start_time) AS start_time FROM cron.job_run_details GROUP BY jobid;
CREATE TEMP TABLE kept_number ON COMMIT DROP AS
SELECT j.last_value AS job, j.is_called AS job_called, r.last_value AS run, r.is_called AS run_called
  FROM cron.jobid_seq j, cron.runid_seq r;
DROP EXTENSION pg_cron;
\endif
\if :has_net
LOCK TABLE net.http_request_queue, net._http_response IN ACCESS EXCLUSIVE MODE;
CREATE TEMP TABLE kept_request ON COMMIT DROP AS
SELECT id, method::text AS method, url, headers, body, timeout_milliseconds FROM net.http_request_queue;
CREATE TEMP TABLE kept_response ON COMMIT DROP AS
SELECT DISTINCT ON (id) id, status_code, content_type, headers, content, timed_out, error_msg, created
  FROM net._http_response WHERE id IS NOT NULL ORDER BY id, created DESC;
CREATE TEMP TABLE kept_request_number ON COMMIT DROP AS
SELECT last_value, is_called FROM net.http_request_queue_id_seq;
DROP EXTENSION pg_net;
\endif

\if :names
\if :has_cron
CREATE EXTENSION pg_cron;
\endif
\if :has_net
CREATE EXTENSION pg_net;
\endif
\else
CREATE EXTENSION securatlas_sched;
\endif

\if :has_cron
-- A job has no occurrences up to the last start that pg_cron has recorded, or else up to the start of
-- this server, in which no pg_cron has run. What was due since then is missed, and up to the job's rule.
INSERT INTO cron.job (jobid, schedule, command, nodename, nodeport, database, username, active, jobname, planned_from)
SELECT r.jobid, r.schedule, r.command, r.nodename, r.nodeport, r.database, r.username, COALESCE(r.active, true), r.jobname,
       COALESCE(CASE WHEN current_setting('cron.log_run')::boolean THEN s.start_time END,
                pg_postmaster_start_time() - interval '1 microsecond')
  FROM kept_job k, jsonb_to_record(k.row) AS r (jobid bigint, schedule text, command text, nodename text, nodeport int,
                                                database text, username text, active boolean, jobname text)
       LEFT JOIN kept_start s USING (jobid);
INSERT INTO cron.scheduler_state (planned_until, database_oid, database_name, system_identifier)
SELECT COALESCE(min(j.planned_from), now()), d.oid, d.datname, c.system_identifier
  FROM pg_control_system() c, pg_database d LEFT JOIN cron.job j ON j.active
 WHERE d.datname = current_database() GROUP BY d.oid, d.datname, c.system_identifier;
SELECT cron._begin_work('migration', 'history', count(*)) AS shown FROM kept_run \gset
-- pg_cron itself ends what a stop of the server has interrupted.
INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time,
                                  end_time, jobname, trigger, transactional)
SELECT r.jobid, r.runid, r.job_pid, r.database, r.username, r.command,
       CASE WHEN r.status IN ('succeeded', 'failed') THEN r.status ELSE 'failed' END,
       CASE WHEN r.status IN ('succeeded', 'failed') THEN r.return_message
            ELSE COALESCE(r.return_message, 'server restarted') END,
       r.start_time, COALESCE(r.end_time, CASE WHEN r.status IN ('succeeded', 'failed') THEN r.start_time
                                               ELSE pg_postmaster_start_time() END),
       k.row ->> 'jobname', 'schedule', false
  FROM kept_run r LEFT JOIN kept_job k ON (k.row ->> 'jobid')::bigint = r.jobid
 WHERE cron._work_done();
SELECT count(setval('cron.jobid_seq', job, job_called)) + count(setval('cron.runid_seq', run, run_called)) AS numbers
  FROM kept_number \gset
\endif
\if :has_net
-- Who has made them is not known: they are seen by superusers only. 0 is no time limit there.
INSERT INTO net.http_request_queue (id, method, url, headers, body, timeout_milliseconds)
SELECT id, upper(method), url, COALESCE(headers, '{}'), body,
       CASE WHEN timeout_milliseconds BETWEEN 1 AND 3600000 THEN timeout_milliseconds ELSE 3600000 END FROM kept_request;
INSERT INTO net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg, created, state)
SELECT id, status_code, content_type, headers, content, timed_out, error_msg, created,
       CASE WHEN status_code < 400 THEN 'succeeded' ELSE 'failed' END
  FROM kept_response;
SELECT setval('net.http_request_queue_id_seq', last_value, is_called) AS numbers FROM kept_request_number \gset
\endif

\if :has_cron
SELECT format('Jobs: %s, %s of them active, and %s rows of history. The next job is number %s or later, the next run %s.',
              (SELECT count(*) FROM cron.job), (SELECT count(*) FILTER (WHERE active) FROM cron.job),
              (SELECT count(*) FROM cron.job_run_details), job + job_called::int, run + run_called::int)
  FROM kept_number;

CREATE FUNCTION pg_temp.next_three(schedule text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    reason text;
BEGIN
    IF schedule IN ('never', '@reboot') THEN
        RETURN CASE schedule WHEN 'never' THEN 'never' ELSE 'at each start' END;
    END IF;
    RETURN (SELECT COALESCE(string_agg(to_char(n.run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), ', '), 'never')
              FROM cron.next_runs(schedule, 3) AS n (run_at));
EXCEPTION WHEN invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
    RETURN CASE WHEN reason LIKE '%no day of any year matches%' THEN 'never' ELSE 'cannot be read: ' || reason END;
END $$;
CREATE TEMP TABLE compared ON COMMIT DROP AS
SELECT jobid, format('job %s%s, %s', jobid, ' (' || jobname || ')', to_json(schedule)) AS title, schedule, active,
       pg_temp.as_pg_cron(schedule) AS theirs, pg_temp.next_three(schedule) AS ours
  FROM cron.job;

\echo 'Schedules that cannot be read; their jobs are kept, paused, with a note:'
SELECT format(E'  %s\n    here:    %s\n    pg_cron: %s', title, ours,
              COALESCE('as ' || theirs || ': ' || pg_temp.next_three(theirs), 'refuses it as well'))
  FROM compared WHERE ours LIKE 'cannot be read: %' OR (ours = 'never' AND schedule !~* '^\s*@') ORDER BY jobid;
\echo 'Schedules that mean something else now (times in UTC):'
SELECT format(E'  %s\n    here:    %s\n    pg_cron: %s%s', title, ours,
              CASE WHEN theirs IS NOT NULL AND theirs <> 'never' THEN 'as ' || theirs || ': ' END,
              COALESCE(pg_temp.next_three(theirs), 'refuses it, never'))
  FROM compared
 WHERE ours NOT LIKE 'cannot be read: %' AND ours <> 'never' AND theirs IS DISTINCT FROM pg_temp.bare(schedule)
   AND pg_temp.bare(schedule) !~ '^\+' ORDER BY jobid;
SELECT format('Jobs with hours are in zone %s: here each runs once on the days on which the clock is changed.',
              current_setting('cron.timezone'))
 WHERE upper(current_setting('cron.timezone')) NOT IN ('GMT', 'UTC');
\echo 'Jobs that are paused for another reason:'
SELECT format('  job %s%s: %s', jobid, ' (' || jobname || ')', note) FROM cron.job
 WHERE note LIKE 'paused: %' AND note NOT LIKE 'paused: invalid schedule%' ORDER BY jobid;
\echo 'Jobs for other databases:'
\if :per_database
UPDATE cron.job SET active = false,
       note = format('moves to database "%s", where it is %s', database, CASE WHEN active THEN 'active' ELSE 'paused' END)
 WHERE database <> current_database() AND EXISTS (SELECT FROM pg_database d WHERE d.datname = job.database AND d.datallowconn);
SELECT format('  job %s%s %s', jobid, ' (' || jobname || ')', note) FROM cron.job WHERE note LIKE 'moves to database %' ORDER BY jobid;
\else
SELECT format('  job %s%s stays here, for database "%s"', jobid, ' (' || jobname || ')', database)
  FROM cron.job WHERE database <> current_database() ORDER BY jobid;
\endif
\endif
\if :has_net
SELECT format('Requests that wait: %s. Responses: %s.', (SELECT count(*) FROM net.http_request_queue),
              (SELECT count(*) FROM net._http_response));
\endif
\ir finish.sql
