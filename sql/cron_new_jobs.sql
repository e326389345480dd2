-- New jobs are written past the executor. What was added to cron.job is heeded all the same, as by an
-- INSERT: from the next job on, and no longer when it is gone or rolled back.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
DELETE FROM cron.job;

-- What a job is refused with: sqlstate | message | constraint or column.
CREATE FUNCTION pg_temp.refusal(name text, command text DEFAULT 'SELECT 1') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; part text; of_column text; of_table text;
BEGIN
    PERFORM cron.schedule(name, '0 0 1 1 *', command);
    RETURN 'made';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, part = CONSTRAINT_NAME,
                            of_column = COLUMN_NAME, of_table = TABLE_NAME;
    RETURN concat_ws(' | ', state, message, nullif(of_table, ''), nullif(of_column, ''), nullif(part, ''));
END $$;
CREATE VIEW pg_temp.jobs AS
    SELECT jobname, command, roleid = CURRENT_USER::regrole AS mine, active, max_retries, note FROM cron.job ORDER BY jobid;

SELECT pg_temp.refusal('first');
TABLE pg_temp.jobs;

-- ==== CHECK constraints ========================================================================
ALTER TABLE cron.job ADD CONSTRAINT short CHECK (length(command) < 10);
SELECT pg_temp.refusal('long', 'SELECT 100'), pg_temp.refusal('short');
BEGIN;
ALTER TABLE cron.job DROP CONSTRAINT short;
SELECT pg_temp.refusal('long', 'SELECT 100');
SAVEPOINT s;
ALTER TABLE cron.job ADD CONSTRAINT shorter CHECK (length(command) < 9) NOT VALID;
SELECT pg_temp.refusal('eight');
ROLLBACK TO s;
SELECT pg_temp.refusal('longer', 'SELECT 1000');
ROLLBACK;
SELECT pg_temp.refusal('long', 'SELECT 100'), pg_temp.refusal('eight');
ALTER TABLE cron.job DROP CONSTRAINT short;
SELECT pg_temp.refusal('long', 'SELECT 100');
-- One that calls a function, which changes and the table does not.
CREATE FUNCTION is_wanted(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> 'unwanted' $$;
ALTER TABLE cron.job ADD CONSTRAINT wanted CHECK (public.is_wanted(jobname));
SELECT pg_temp.refusal('unwanted'), pg_temp.refusal('another');
CREATE OR REPLACE FUNCTION is_wanted(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 = 'unwanted' $$;
SELECT pg_temp.refusal('unwanted'), pg_temp.refusal('one more');
ALTER TABLE cron.job DROP CONSTRAINT wanted;
-- The extension's own.
ALTER TABLE cron.job ALTER max_retries SET DEFAULT 1001;
SELECT pg_temp.refusal('retried');

-- ==== defaults and columns =====================================================================
ALTER TABLE cron.job ALTER max_retries SET DEFAULT 3;
SELECT pg_temp.refusal('retried');
BEGIN;
ALTER TABLE cron.job ALTER max_retries DROP DEFAULT;
SELECT pg_temp.refusal('not retried');
ROLLBACK;
ALTER TABLE cron.job ALTER max_retries SET DEFAULT 0;
CREATE FUNCTION remark() RETURNS text LANGUAGE sql AS $$ SELECT 'made by ' || CURRENT_USER || ' with ' || current_setting('search_path') $$;
ALTER TABLE cron.job ALTER note SET DEFAULT public.remark();
SELECT pg_temp.refusal('remarked');
SELECT note = format('made by %s with pg_catalog, pg_temp', CURRENT_USER) AS is_remarked FROM cron.job WHERE jobname = 'remarked';
ALTER TABLE cron.job ALTER note DROP DEFAULT;
ALTER TABLE cron.job ADD COLUMN letters int GENERATED ALWAYS AS (length(jobname)) STORED CHECK (letters > 3);
SELECT pg_temp.refusal('abc'), pg_temp.refusal('abcd');
SELECT jobname, letters FROM cron.job WHERE letters = 4;
ALTER TABLE cron.job DROP COLUMN letters;
ALTER TABLE cron.job ADD COLUMN number int GENERATED ALWAYS AS IDENTITY;
SELECT pg_temp.refusal('numbered');
SELECT number = (SELECT count(*) FROM cron.job) AS is_last FROM cron.job WHERE jobname = 'numbered';
ALTER TABLE cron.job DROP COLUMN number;
CREATE DOMAIN team AS text NOT NULL DEFAULT 'none' CHECK (VALUE <> 'nobody');
ALTER TABLE cron.job ADD COLUMN team team;
SELECT pg_temp.refusal('of a team');
SELECT team FROM cron.job WHERE jobname = 'of a team';
ALTER TABLE cron.job ALTER team SET DEFAULT 'nobody';
SELECT pg_temp.refusal('of nobody');
ALTER TABLE cron.job ALTER team SET DEFAULT NULL;
SELECT pg_temp.refusal('of no team');
ALTER TABLE cron.job DROP COLUMN team;
ALTER TABLE cron.job ADD COLUMN place int NOT NULL DEFAULT 7;
SELECT pg_temp.refusal('placed');
ALTER TABLE cron.job ALTER place DROP DEFAULT;
SELECT pg_temp.refusal('not placed');
SELECT place FROM cron.job WHERE jobname = 'placed';
ALTER TABLE cron.job DROP COLUMN place;
SELECT pg_temp.refusal('without place');

-- ==== indexes ==================================================================================
CREATE UNIQUE INDEX one_command ON cron.job (command) WHERE jobname LIKE 'one%';
SELECT pg_temp.refusal('one', 'SELECT 11'), pg_temp.refusal('one again', 'SELECT 11'), pg_temp.refusal('two', 'SELECT 11');
CREATE UNIQUE INDEX one_name ON cron.job (lower(jobname));
SELECT pg_temp.refusal('ONE', 'SELECT 13');
DROP INDEX cron.one_command, cron.one_name;
SELECT pg_temp.refusal('one again', 'SELECT 11');
ALTER TABLE cron.job ADD CONSTRAINT no_twins EXCLUDE USING btree (command WITH =) WHERE (command LIKE '% twin');
SELECT pg_temp.refusal('twin', 'SELECT twin'), pg_temp.refusal('other', 'SELECT twin');
ALTER TABLE cron.job DROP CONSTRAINT no_twins;
-- Without the index that keeps a role's names apart, with another one, and with one that is checked later.
BEGIN;
ALTER TABLE cron.job DROP CONSTRAINT job_jobname_roleid_key;
SELECT pg_temp.refusal('apart');
ALTER TABLE cron.job ADD CONSTRAINT names UNIQUE (roleid, jobname);
SELECT pg_temp.refusal('apart'), pg_temp.refusal('apart', 'SELECT 2');
ALTER TABLE cron.job DROP CONSTRAINT names;
ALTER TABLE cron.job ADD UNIQUE (jobname, roleid) DEFERRABLE;
SELECT pg_temp.refusal('apart');
ROLLBACK;
SELECT command, count(*) FROM cron.job WHERE jobname = 'apart' GROUP BY 1;

-- ==== triggers, rules, row security, privileges ================================================
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'marked'; RETURN NEW; END $$;
CREATE TRIGGER marks BEFORE INSERT ON cron.job FOR EACH ROW EXECUTE FUNCTION mark();
SELECT pg_temp.refusal('not marked');                   -- as ever, the extension's statements do not fire it
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER marks;
SELECT pg_temp.refusal('marked');
ALTER TABLE cron.job ENABLE REPLICA TRIGGER marks;
SELECT pg_temp.refusal('marked, too');
DROP TRIGGER marks ON cron.job;
CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '% jobs', (SELECT count(*) FROM made); END $$;
CREATE TRIGGER counts AFTER INSERT ON cron.job REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER counts;
SELECT pg_temp.refusal('counted');
DROP TRIGGER counts ON cron.job;
SELECT jobname, replace(note, CURRENT_USER, 'me') AS note FROM cron.job WHERE jobname LIKE '%marked%' ORDER BY jobid;
BEGIN;
ALTER TABLE cron.job DISABLE TRIGGER job_check;         -- which finds the role
SELECT pg_temp.refusal('of no role');
SELECT roleid FROM cron.job WHERE jobname = 'of no role';
ROLLBACK;
CREATE RULE nothing AS ON INSERT TO cron.job DO INSTEAD NOTHING;
ALTER TABLE cron.job ENABLE ALWAYS RULE nothing;
SELECT pg_temp.refusal('by rule');
DROP RULE nothing ON cron.job;
-- An owner who is no superuser, and lacks the right or is subject to row security.
CREATE ROLE job_owner;
BEGIN;
GRANT USAGE ON SCHEMA cron TO job_owner;
GRANT ALL ON ALL TABLES IN SCHEMA cron TO job_owner;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA cron TO job_owner;
ALTER TABLE cron.job_run_details OWNER TO job_owner;
SELECT pg_temp.refusal('by another''s right');
ALTER TABLE cron.job OWNER TO job_owner;
SELECT pg_temp.refusal('by own right');
REVOKE INSERT ON cron.job FROM job_owner;
SELECT pg_temp.refusal('without right');
GRANT INSERT ON cron.job TO job_owner;
SELECT pg_temp.refusal('with right again');
REVOKE ALL ON SEQUENCE cron.jobid_seq FROM job_owner;
SELECT pg_temp.refusal('without number');
GRANT USAGE ON SEQUENCE cron.jobid_seq TO job_owner;
ALTER TABLE cron.job FORCE ROW LEVEL SECURITY;
SELECT pg_temp.refusal('by policy');
ROLLBACK;
DROP ROLE job_owner;
-- A transaction that may not write.
BEGIN READ ONLY;
SELECT pg_temp.refusal('read only');
ROLLBACK;

-- ==== names, transactions ======================================================================
DELETE FROM cron.job;
BEGIN;
SELECT cron.schedule('kept', '@daily', 'SELECT 1') AS jobid \gset kept_
SAVEPOINT s;
SELECT cron.schedule('undone', '@daily', 'SELECT 1') AS jobid \gset undone_
SELECT cron.schedule('kept', '@daily', 'SELECT 2') = :kept_jobid AS same;
ROLLBACK TO s;
SELECT cron.schedule('undone', '@daily', 'SELECT 3') > :undone_jobid AS another;
COMMIT;
TABLE pg_temp.jobs;
-- Many in one statement, and some of them twice.
SELECT count(DISTINCT cron.schedule('job' || i % 70, '@daily', 'SELECT ' || i)) FROM generate_series(1, 100) AS i;
SELECT count(*), count(DISTINCT jobid), min(command), max(command) FROM cron.job WHERE jobname LIKE 'job%';
-- What is written is seen by what follows, in the same statement, too.
CREATE FUNCTION pg_temp.seen(id bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN EXISTS (SELECT FROM cron.job WHERE jobid = id); END $$;
SELECT bool_and(pg_temp.seen(cron.schedule('@daily', 'SELECT ' || i))) FROM generate_series(1, 10) AS i;
-- A command that is stored outside of the row.
SELECT cron.schedule('large', '@daily', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) AS i)) > 0 AS made;
SELECT length(command), md5(command) = (SELECT md5(string_agg(md5(i::text), '')) FROM generate_series(1, 3000) AS i) AS whole FROM cron.job WHERE jobname = 'large';
-- The indexes know all rows.
SET enable_seqscan = off;
SELECT count(*) FROM cron.job WHERE jobid > 0;
SELECT count(*) FROM cron.job WHERE jobname >= '';
RESET enable_seqscan;
SELECT count(*), count(jobname) FROM cron.job;
DELETE FROM cron.job;
DROP FUNCTION is_wanted(text), remark(), mark(), count_jobs();
DROP DOMAIN team;
