-- What the extension puts into a database: names, columns, signatures, settings, comments.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;

-- Every object that can have a comment has one. (No rows.)
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
  FROM pg_depend d
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'securatlas_sched')
   AND obj_description(d.objid, d.classid::regclass::name) IS NULL
   -- Row types and array types speak through their tables.
   AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (
            SELECT FROM pg_type t WHERE t.oid = d.objid AND (t.typrelid <> 0 OR t.typelem <> 0)
               AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')))
 ORDER BY 1;
-- So has every column of schema cron's tables. (No rows.)
SELECT c.relname, a.attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
   AND col_description(c.oid, a.attnum) IS NULL
 ORDER BY 1, 2;

-- Tables: users' SQL depends on the columns and on their order.
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS nn,
       pg_get_expr(e.adbin, e.adrelid) AS "default"
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef e ON e.adrelid = c.oid AND e.adnum = a.attnum
 WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind = 'r'
 ORDER BY c.relname, a.attnum;
SELECT conrelid::regclass AS "table", pg_get_constraintdef(oid) AS "constraint"
  FROM pg_constraint WHERE connamespace = 'cron'::regnamespace AND contype <> 'n'
 ORDER BY conrelid::regclass::text, contype, pg_get_constraintdef(oid) COLLATE "C";
SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) AS definition
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
 WHERE c.relnamespace = 'cron'::regnamespace AND NOT i.indisprimary AND NOT EXISTS (
       SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
 ORDER BY indexrelid::regclass::text COLLATE "C";
SELECT c.relname, c.relrowsecurity, c.relacl::text LIKE '%{=r%' OR c.relacl::text LIKE '%,=r%' AS public_reads
  FROM pg_class c WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind = 'r' ORDER BY 1;
SELECT tablename, policyname, cmd, roles, qual, with_check FROM pg_policies
 WHERE schemaname = 'cron' ORDER BY 1, 2;
-- What pg_dump takes along: the jobs, not the history.
SELECT c.oid::regclass AS dumped, x.condition
  FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS x(oid, condition) JOIN pg_class c ON c.oid = x.oid
 WHERE e.extname = 'securatlas_sched' AND c.relnamespace = 'cron'::regnamespace
 ORDER BY c.relname;

-- Views.
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type, c.reloptions
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.oid IN ('cron.jobs'::regclass, 'cron.upcoming_runs'::regclass, 'cron.scheduler_status'::regclass)
 ORDER BY c.relname, a.attnum;

-- Functions; those with a leading underscore are not for users.
\pset format unaligned
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
  FROM pg_proc p
 WHERE p.pronamespace = 'cron'::regnamespace AND p.proname NOT LIKE '\_%'
 ORDER BY p.proname, pg_get_function_arguments(p.oid) COLLATE "C";
\pset format aligned
-- USAGE on the schema is the gate, and nobody has it; two functions, and what is internal and
-- changes something, have a gate of their own.
SELECT has_schema_privilege('public', 'cron', 'usage') AS public_enters;
SELECT p.proname FROM pg_proc p
 WHERE p.pronamespace = 'cron'::regnamespace AND NOT has_function_privilege('public', p.oid, 'execute')
 ORDER BY 1;
-- Functions that are not C have a fixed path, or a body that was parsed with one. (No rows.)
SELECT p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'cron'::regnamespace AND l.lanname <> 'c' AND p.proconfig IS NULL AND p.prosqlbody IS NULL;

-- Settings.
SELECT name, boot_val, unit, vartype, context, min_val, max_val, short_desc
  FROM pg_settings WHERE name LIKE 'cron.%' ORDER BY name COLLATE "C";
SET cron.max_running_jobs = 1;
SET cron.timezone = 'UTC';
SET cron.job_id = 1;
SET cron.no_such_setting = 1;
SELECT current_setting('cron.job_id', true) AS job_id, current_setting('cron.run_id', true) AS run_id,
       current_setting('cron.job_name', true) AS job_name, current_setting('cron.scheduled_at', true) AS scheduled_at,
       current_setting('cron.attempt', true) AS attempt;
ALTER SYSTEM SET cron.timezone = 'Mars/Olympus';
ALTER SYSTEM SET cron.history_retention = 'for ever';
ALTER SYSTEM SET cron.catchup_window = '-1 minute';
\set VERBOSITY sqlstate
ALTER SYSTEM SET cron.worker_idle_timeout = -1;
\set VERBOSITY default
ALTER SYSTEM SET cron.log_min_messages = 'loud';

-- The scheduler of this database is there, and says so.
DO $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        EXIT WHEN (SELECT planned_until IS NOT NULL FROM cron.scheduler_status);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT pid IS NOT NULL AS runs, started <= clock_timestamp() AS started, planned_until <= clock_timestamp() AS planned,
       workers_limit = current_setting('cron.max_running_jobs')::int AS limited, waiting, last_error
  FROM cron.scheduler_status;

-- The extension is where it says it is, and moves nowhere.
ALTER EXTENSION securatlas_sched SET SCHEMA pg_catalog;
DROP TABLE cron.job;
SELECT extrelocatable FROM pg_extension WHERE extname = 'securatlas_sched';
