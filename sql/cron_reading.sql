-- What is read from the tables when somebody looks at jobs and runs: no more than what is shown, and for a
-- role that owns little, no more than that. And each role sees what cron._may_see() says.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
DELETE FROM cron.job;
TRUNCATE cron.job_run_details;
CREATE ROLE regress_cron_many;
CREATE ROLE regress_cron_few;
CREATE ROLE regress_cron_none;
CREATE ROLE regress_cron_group NOLOGIN;
CREATE ROLE regress_cron_outer NOLOGIN;
CREATE ROLE regress_cron_member IN ROLE regress_cron_group;
CREATE ROLE regress_cron_monitor IN ROLE pg_monitor;
GRANT regress_cron_few TO regress_cron_group;
GRANT regress_cron_outer TO regress_cron_few;
GRANT USAGE ON SCHEMA cron TO regress_cron_many, regress_cron_few, regress_cron_none, regress_cron_group,
    regress_cron_outer, regress_cron_member, regress_cron_monitor;

INSERT INTO cron.job (jobname, schedule, command, username, active)
SELECT 'reading ' || i, '0 0 1 1 *', 'SELECT 1', 'regress_cron_many', false FROM generate_series(1, 500) AS i;
SELECT min(jobid) AS first_job FROM cron.job WHERE jobname LIKE 'reading %' \gset
INSERT INTO cron.job_run_details (jobid, username, command, status, start_time, end_time, scheduled_at,
                                  trigger)
SELECT :first_job + i % 500,
       CASE WHEN i % 4000 = 7 THEN 'regress_cron_few' WHEN i = 20 THEN 'regress_cron_outer' WHEN i = 30 THEN 'nobody of this name'
            ELSE 'regress_cron_many' END,
       'SELECT 1', 'succeeded', t.at, t.at, t.at, 'schedule'
  FROM generate_series(1, 20000) AS i, LATERAL (SELECT now() - i * interval '1 minute') AS t(at);
ANALYZE cron.job, cron.job_run_details;

-- The rows of a table that a query touches.
CREATE FUNCTION rows_read(of_table name, query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ' || query INTO plan;
    RETURN (SELECT coalesce(sum(((node ->> 'Actual Rows')::numeric
                                  + coalesce((node ->> 'Rows Removed by Filter')::numeric, 0))
                                * (node ->> 'Actual Loops')::numeric), 0)
              FROM jsonb_path_query(plan, 'strict $.**') AS node
             WHERE node ->> 'Relation Name' = of_table AND node ? 'Actual Loops');
END $$;
GRANT EXECUTE ON FUNCTION rows_read(name, text) TO PUBLIC;
\set jobs '\'SELECT * FROM cron.jobs ORDER BY jobid LIMIT 5\''
\set newest '\'SELECT * FROM cron.job_run_details ORDER BY start_time DESC LIMIT 20\''
\set of_job '\'SELECT * FROM cron.job_run_details WHERE jobid = ' :first_job ' ORDER BY start_time DESC LIMIT 10\''

SELECT rows_read('job', :jobs) <= 5 AS five_jobs, rows_read('job_run_details', :newest) <= 20 AS newest_runs,
       rows_read('job_run_details', :of_job) <= 10 AS runs_of_a_job;
-- What counts unfinished runs does not go through those of other jobs.
SELECT rows_read('job_run_details', 'SELECT running FROM cron.jobs WHERE jobid = ' || :first_job) <= 1 AS unfinished;
SET ROLE regress_cron_none;
SELECT rows_read('job_run_details', :newest) = 0 AS newest_runs, rows_read('job_run_details', :of_job) = 0 AS runs_of_a_job;
SET ROLE regress_cron_few;
SELECT rows_read('job_run_details', :newest) <= 10 AS newest_runs;
SET ROLE regress_cron_monitor;
SELECT rows_read('job_run_details', :newest) <= 20 AS newest_runs;
RESET ROLE;

-- The same rows with the index on the role and without it.
CREATE FUNCTION seen_rows(with_index boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    PERFORM set_config('enable_seqscan', CASE WHEN with_index THEN 'off' ELSE 'on' END, true),
            set_config('enable_indexscan', CASE WHEN with_index THEN 'on' ELSE 'off' END, true),
            set_config('enable_indexonlyscan', 'off', true),
            set_config('enable_bitmapscan', CASE WHEN with_index THEN 'on' ELSE 'off' END, true);
    EXECUTE 'SELECT count(*) FROM cron.job_run_details WHERE command = ''SELECT 1''' INTO found;
    RETURN found;
END $$;
GRANT EXECUTE ON FUNCTION seen_rows(boolean) TO PUBLIC;
SET ROLE regress_cron_many; SELECT seen_rows(true), seen_rows(false);
SET ROLE regress_cron_few; SELECT seen_rows(true), seen_rows(false);
SET ROLE regress_cron_none; SELECT seen_rows(true), seen_rows(false);
SET ROLE regress_cron_group; SELECT seen_rows(true), seen_rows(false);
SET ROLE regress_cron_member; SELECT seen_rows(true), seen_rows(false);
SET ROLE regress_cron_outer; SELECT seen_rows(true), seen_rows(false);
SET ROLE regress_cron_monitor; SELECT seen_rows(true), seen_rows(false);
RESET ROLE;

-- A plan that is kept follows the roles.
SET plan_cache_mode = force_generic_plan;
PREPARE seen AS SELECT count(*) FROM cron.job_run_details WHERE command = 'SELECT 1';
SET ROLE regress_cron_none;
EXECUTE seen;
RESET ROLE;
GRANT regress_cron_few TO regress_cron_none;
SET ROLE regress_cron_none;
EXECUTE seen;
RESET ROLE;
GRANT pg_read_all_data TO regress_cron_none;
SET ROLE regress_cron_none;
EXECUTE seen;
RESET ROLE;
REVOKE pg_read_all_data, regress_cron_few FROM regress_cron_none;
SET ROLE regress_cron_none;
EXECUTE seen;
RESET ROLE;
EXECUTE seen;
SET ROLE regress_cron_few;
EXECUTE seen;
RESET ROLE;
RESET plan_cache_mode;
DEALLOCATE seen;

-- The view computes the next run from the present, however long the statement and its transaction are.
SELECT cron.schedule('reading each second', '1 second', 'SELECT 1') > 0 AS scheduled;
DO $$
DECLARE
    present timestamptz;
BEGIN
    PERFORM pg_sleep(1);
    present := clock_timestamp();
    IF (SELECT next_run_at <= present FROM cron.jobs WHERE jobname = 'reading each second') THEN
        RAISE 'the next run is a past one';
    END IF;
END $$;

DELETE FROM cron.job;
TRUNCATE cron.job_run_details;
DROP FUNCTION rows_read(name, text), seen_rows(boolean);
REVOKE USAGE ON SCHEMA cron FROM regress_cron_many, regress_cron_few, regress_cron_none, regress_cron_group,
    regress_cron_outer, regress_cron_member, regress_cron_monitor;
DROP ROLE regress_cron_many, regress_cron_few, regress_cron_none, regress_cron_group, regress_cron_outer,
    regress_cron_member, regress_cron_monitor;
