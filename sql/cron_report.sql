-- The report page: its data is what the caller may see, no text of it is markup, and it has a bound.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
DELETE FROM cron.job;
TRUNCATE cron.job_run_details;
CREATE ROLE regress_report_few;
GRANT USAGE ON SCHEMA cron TO regress_report_few;

-- The data of a page.
CREATE FUNCTION page_data(page text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT split_part(split_part(page, '<script id="report-data" type="application/json">', 2), '</script>', 1)::jsonb $$;

-- ==== arguments ================================================================================
\set SHOW_CONTEXT never
SELECT cron.report(0);
\echo :LAST_ERROR_SQLSTATE
SELECT cron.report(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT cron.report(8785);
\echo :LAST_ERROR_SQLSTATE

-- ==== an empty database ========================================================================
SELECT d - 'made' - 'from' - 'database' - 'user' - 'version' - 'series' - 'scheduler' - 'risk' - 'requests' FROM page_data(cron.report()) AS d;
SELECT jsonb_array_length(d #> '{series,runs}') AS parts, d ->> 'database' = current_database() AS here, d ->> 'user' = current_user AS mine,
       (d ->> 'made')::numeric - (d ->> 'from')::numeric AS seconds
  FROM page_data(cron.report(48)) AS d;
-- A page of its own: ASCII, so that it can be installed in a database of any encoding, and nothing to load.
SELECT p = convert_from(convert_to(p, 'SQL_ASCII'), 'SQL_ASCII') AND octet_length(p) = length(p) AS ascii,
       p ~ '^\s*<!DOCTYPE html>' AS html, p ~* '(src|href|action)\s*=\s*["'']?(https?:|//)' AS loads,
       (SELECT array_agg(DISTINCT m[1]) FROM regexp_matches(p, '(https?://[^''" ]+)', 'g') AS m) AS addresses
  FROM cron._report_page() AS p;

-- ==== jobs and runs ============================================================================
INSERT INTO cron.job (jobname, schedule, command, username, active, jitter, timezone, note) VALUES
    ('<script>alert(1)</script>', '0 2 * * *', 'SELECT ''</script>''', current_user, false, NULL, NULL, '&amp; a note'),
    ('few', '*/5 * * * *', 'SELECT 2', 'regress_report_few', false, '1 minute', 'Europe/Zurich', NULL),
    ('many', '30 seconds', 'SELECT 3', current_user, false, NULL, NULL, NULL),
    (NULL, '@hourly', 'SELECT 4', current_user, false, NULL, NULL, NULL);
SELECT min(jobid) AS first FROM cron.job \gset
CREATE FUNCTION run(job bigint, ago interval, status text, took interval DEFAULT '1 second', lag interval DEFAULT '0', trigger text DEFAULT 'schedule',
                    reason text DEFAULT NULL, message text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    INSERT INTO cron.job_run_details (jobid, jobname, username, command, status, start_time, end_time, scheduled_at, trigger, reason, sqlstate, return_message)
    SELECT j.jobid, j.jobname, j.username, j.command, run.status, now() - ago, now() - ago + took, now() - ago - lag, run.trigger, run.reason,
           CASE run.status WHEN 'failed' THEN '22012' END, run.message
      FROM cron.job j WHERE j.jobid = job $$;
SELECT run(:first, '20 hours', 'succeeded', '2.5 seconds', '30 seconds', message => 'SELECT 1'),
       run(:first, '9 hours', 'failed', message => E'division by </script> zero\nDETAIL:  <b>'),
       run(:first, '8 hours', 'failed', message => E'division by </script> zero\nDETAIL:  <b>'),
       run(:first, '7 hours', 'failed', message => 'another'),
       run(:first, '6 hours', 'failed', trigger => 'manual', message => 'another'),
       run(:first, '5 hours', 'skipped', reason => 'overlap: the previous run has not finished'),
       run(:first + 1, '4 hours', 'succeeded', '10 seconds', '50 seconds'),
       run(:first + 1, '3 hours', 'skipped', '0', reason => 'missed: the scheduler was not running (12 occurrences)'),
       run(:first + 1, '2 hours', 'skipped', '0', reason => 'missed: the scheduler was not running'),
       run(:first + 1, '25 hours', 'failed', message => 'before the window'),
       run(:first + 3, '1 hour', 'succeeded', '1 minute', trigger => 'manual', lag => '1 hour') \g /dev/null
SELECT count(*) FROM generate_series(1, 140) AS i, run(:first + 2, i * interval '10 minutes', CASE WHEN i = 50 THEN 'failed' ELSE 'succeeded' END);

SELECT d -> 'totals' AS totals FROM page_data(cron.report()) AS d;
SELECT j.value - 'bars' - 'cells' - 'strip' - 'id' - 'last' - 'since' - 'command' - 'name' AS job FROM page_data(cron.report()) AS d, jsonb_array_elements(d -> 'jobs') AS j;
SELECT regexp_replace(j ->> 'name', '^job \d+$', 'job N') AS name, j ->> 'strip' AS strip, jsonb_array_length(j -> 'bars') AS bars, length(j ->> 'cells') AS cells,
       translate(j ->> 'cells', '.', '') AS busy_cells, round(((j ->> 'since')::numeric - (d ->> 'from')::numeric) / 60) AS failing_since_minute
  FROM page_data(cron.report()) AS d, jsonb_array_elements(d -> 'jobs') AS j;
-- When, how long it had waited, how long it took, status, message.
SELECT round((bar ->> 0)::numeric / 60) AS minute, bar -> 1 AS waited, bar -> 2 AS took, bar -> 3 AS status, bar -> 5 AS message
  FROM page_data(cron.report()) AS d, jsonb_array_elements(d -> 'jobs') AS j, jsonb_array_elements(j -> 'bars') AS bar;
SELECT f.value - 'run' - 'first' - 'last' AS failure, round((f ->> 'last')::numeric - (f ->> 'first')::numeric) AS over
  FROM page_data(cron.report()) AS d, jsonb_array_elements(d -> 'failures') AS f;
SELECT (SELECT sum(n::int) FROM jsonb_array_elements_text(d #> '{series,runs}') AS n) AS runs,
       (SELECT sum(n::int) FROM jsonb_array_elements_text(d #> '{series,failed}') AS n) AS failed,
       (SELECT sum(n::int) FROM jsonb_array_elements_text(d #> '{series,missed}') AS n) AS missed,
       (SELECT max(n::numeric) FROM jsonb_array_elements_text(d #> '{series,lag}') AS n) AS lag
  FROM page_data(cron.report()) AS d;
-- A shorter window has less in it.
SELECT d #> '{totals,runs}' AS runs, d #> '{totals,missed}' AS missed FROM page_data(cron.report(3)) AS d;
-- No text ends the element that holds the data, or begins another.
SELECT count(*) FROM regexp_matches(cron.report(), '</?script|<b>', 'g');

-- ==== who sees what ============================================================================
SET ROLE regress_report_few;
SELECT d #> '{totals,jobs}' AS jobs, d #> '{totals,runs}' AS runs, d #> '{totals,missed}' AS missed, d -> 'requests' AS requests, d -> 'risk' AS risk,
       d -> 'sees_all' AS sees_all, (SELECT jsonb_agg(j -> 'name') FROM jsonb_array_elements(d -> 'jobs') AS j) AS names, jsonb_array_length(d -> 'failures') AS failures
  FROM page_data(cron.report()) AS d;
RESET ROLE;

-- ==== bounds ===================================================================================
-- Texts of the worst kind, in two thousand jobs with failures of their own.
INSERT INTO cron.job (jobname, schedule, command, active, note)
SELECT repeat('<', 300) || i, '@daily', repeat('<"\', 200), false, repeat('<', 500) FROM generate_series(1, 2000) AS i;
INSERT INTO cron.job_run_details (jobid, jobname, username, command, status, start_time, end_time, scheduled_at, trigger, return_message)
SELECT jobid, jobname, username, command, 'failed', now() - interval '1 hour', now(), now() - interval '1 hour', 'schedule', repeat('<"', 2000) || jobid
  FROM cron.job WHERE jobname LIKE '<<<%';
SELECT octet_length(p) < 1000000 AS fits, (d ->> 'jobs_left_out')::int + jsonb_array_length(d -> 'jobs') AS jobs,
       jsonb_array_length(d -> 'jobs') > 100 AS many, jsonb_array_length(d -> 'failures') > 0 AS failures, d #> '{totals,failed}' AS failed
  FROM cron.report() AS p, page_data(p) AS d;

-- PostgREST takes the type's name as content type.
SELECT pg_typeof(cron.report());

DELETE FROM cron.job;
TRUNCATE cron.job_run_details;
REVOKE USAGE ON SCHEMA cron FROM regress_report_few;
DROP ROLE regress_report_few;
DROP FUNCTION page_data(text);
DROP FUNCTION run(bigint, interval, text, interval, interval, text, text, text);
