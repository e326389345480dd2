-- Jobs that come from the database that has held them for this one. Standard input has them, as JSON.
-- Variable of psql: extension. A job that is here already, since an earlier call was interrupted, is passed over.
\set rows `cat`
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = error;
SELECT to_regclass('cron.job') IS NULL AS is_new \gset
\if :is_new
CREATE EXTENSION :"extension";
\endif
LOCK TABLE cron.job IN SHARE ROW EXCLUSIVE MODE;
CREATE TEMP TABLE arrived ON COMMIT DROP AS
SELECT r.*, EXISTS (SELECT FROM cron.job j WHERE j.jobid = r.jobid) AS is_taken
  FROM jsonb_populate_recordset(NULL::cron.job, :'rows') r
 WHERE NOT EXISTS (SELECT FROM cron.job j
                    WHERE (j.schedule, j.command, j.username, j.planned_from) = (r.schedule, r.command, r.username, r.planned_from)
                      AND j.jobname IS NOT DISTINCT FROM r.jobname);
-- Numbers that are free stay; others are the next of this database.
SELECT count(setval('cron.jobid_seq', m.id)) AS numbers
  FROM (SELECT greatest((SELECT max(jobid) FROM cron.job), (SELECT max(jobid) FROM arrived)) AS id) m
 WHERE m.id > (SELECT last_value FROM cron.jobid_seq) \gset
INSERT INTO cron.job (jobid, schedule, command, nodename, nodeport, database, username, active, jobname, timezone, max_runtime,
                      max_retries, retry_period, overlap_policy, missed, catchup_window, jitter, max_failures, log_runs,
                      priority, planned_from)
SELECT CASE WHEN is_taken THEN nextval('cron.jobid_seq') ELSE jobid END, schedule, command, nodename, nodeport, current_database(),
       username, note LIKE '%, where it is active', jobname, timezone, max_runtime, max_retries, retry_period, overlap_policy,
       missed, catchup_window, jitter, max_failures, log_runs, priority, planned_from
  FROM arrived ORDER BY arrived.jobid;
\if :is_new
INSERT INTO cron.scheduler_state (planned_until, database_oid, database_name, system_identifier)
SELECT COALESCE(min(j.planned_from), now()), d.oid, d.datname, c.system_identifier
  FROM pg_control_system() c, pg_database d LEFT JOIN cron.job j ON j.active
 WHERE d.datname = current_database() GROUP BY d.oid, d.datname, c.system_identifier;
\endif
SELECT format('  job %s%s is in database "%s" now', jobid, ' (' || jobname || ')', current_database())
  FROM cron.job j WHERE EXISTS (SELECT FROM arrived a WHERE (a.schedule, a.command, a.planned_from) = (j.schedule, j.command, j.planned_from))
 ORDER BY jobid;
COMMIT;
