-- Statistics: what is there, who may see it, and what is shown of jobs that have not run.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
SELECT cron_stat.reset();
SELECT c.relname, count(*) AS columns,
       count(*) FILTER (WHERE col_description(a.attrelid, a.attnum) IS NULL) AS without_comment
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'cron_stat'::regnamespace AND c.relkind = 'v'
 GROUP BY 1 ORDER BY 1;
SELECT p.oid::regprocedure AS function_of_others
  FROM pg_proc p
 WHERE p.pronamespace = 'cron_stat'::regnamespace AND obj_description(p.oid) IS NULL;

CREATE ROLE stat_watcher IN ROLE pg_monitor;
CREATE ROLE stat_owner;
GRANT USAGE ON SCHEMA cron TO stat_owner;
SET ROLE stat_owner;
SELECT cron.schedule('his', '0 0 1 1 *', 'SELECT 1') IS NOT NULL AS scheduled;
SELECT count(*) FROM cron_stat.jobs;
RESET ROLE;
SELECT cron.schedule('a "name" \ of two', '0 0 1 1 *', 'SELECT 1') IS NOT NULL AS scheduled;

-- A member of pg_monitor sees all, and may not act.
SET ROLE stat_watcher;
SELECT jobname, username = 'stat_owner' AS of_owner, runs, succeeded, failed, cancelled, skipped, missed, retries,
       requests, total_time, max_time, total_lag, max_lag, last_start, last_success, last_status,
       consecutive_failures, next_run_at > now() AS has_next, overdue_by, stats_reset
  FROM cron_stat.jobs ORDER BY jobname DESC;
SELECT datname = current_database() AS here
  FROM cron_stat.schedulers WHERE datname = current_database();
SELECT count(*) >= 0 AS answers FROM cron_stat.workers;
SELECT reason, skipped, missed FROM cron_stat.reasons ORDER BY reason;
SELECT made, succeeded, failed, expired, cancelled, bytes_out, bytes_in, callbacks_failed
  FROM cron_stat.requests;
SELECT count(*) FROM cron_stat.hosts;
SELECT cron_stat.reset();
SELECT cron_stat.reset_job(1);
SELECT cron_stat.reset_host('https://a.example');
RESET ROLE;

-- Where the administrator lets others in, they see theirs.
GRANT USAGE ON SCHEMA cron_stat TO stat_owner;
SET ROLE stat_owner;
SELECT jobname FROM cron_stat.jobs;
SELECT count(*) FROM cron_stat.schedulers;
SELECT count(*) FROM cron_stat.workers;
SELECT count(*) FROM cron_stat.hosts;
RESET ROLE;
REVOKE USAGE ON SCHEMA cron_stat FROM stat_owner;

-- OpenMetrics: of each family a name, and labels that are escaped.
SELECT line FROM regexp_split_to_table(cron_stat.openmetrics(), E'\n') line
 WHERE line ~ '^# (TYPE|UNIT|EOF)' ORDER BY line COLLATE "C";
SELECT regexp_replace(line, 'jobid="\d+"', 'jobid="N"') AS line
  FROM regexp_split_to_table(cron_stat.openmetrics(), E'\n') line
 WHERE line ~ '^cron_job_missed_total' ORDER BY line COLLATE "C";
SELECT right(cron_stat.openmetrics(0, 0), 6) = E'# EOF\n' AS ends,
       cron_stat.openmetrics(0, 0) ~ 'cron_job_missed_total' AS has_jobs,
       (length(cron_stat.openmetrics(1)) - length(replace(cron_stat.openmetrics(1), 'cron_job_missed_total', '')))
           / length('cron_job_missed_total') AS jobs;

-- What is looked up of one job is looked up for that job only.
CREATE FUNCTION pg_temp.scans(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ 'Scan|Cond' THEN RETURN NEXT ltrim(line, ' ->'); END IF;
    END LOOP;
END $$;
SELECT * FROM pg_temp.scans('SELECT runs FROM cron_stat.jobs WHERE jobid = 1');
SELECT * FROM pg_temp.scans('SELECT count(*) FROM cron_stat.jobs');

SELECT cron.unschedule(jobid) FROM cron.job;
REVOKE USAGE ON SCHEMA cron FROM stat_owner;
DROP ROLE stat_watcher, stat_owner;
