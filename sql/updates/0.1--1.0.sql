-- ==== from 0.1 to 1.0: what CREATE OR REPLACE cannot do ======================================

-- Lock everything first: sessions that use the tables make the update wait here, before it has
-- changed anything.
LOCK TABLE cron.job, cron.job_run_details, cron.job_dependency, cron.scheduler_state,
           net.http_request_queue, net._http_response IN ACCESS EXCLUSIVE MODE;

-- Drop what depends on the columns and functions that change; the scripts below create it again.
DROP VIEW cron.run_requests;
DROP VIEW net.worker_status;
DROP FUNCTION net._worker_status();
DROP POLICY job_see ON cron.job;
DROP POLICY job_insert ON cron.job;
DROP POLICY job_update ON cron.job;
DROP POLICY job_delete ON cron.job;
DROP POLICY run_see ON cron.job_run_details;
DROP POLICY run_delete ON cron.job_run_details;
DROP FUNCTION cron._may_manage(text);
DROP FUNCTION cron._may_see(text);
DROP FUNCTION securatlas._has_unique_key(oid, name);
DROP FUNCTION securatlas._referring(regnamespace);

-- Functions that have more arguments now. Whoever may execute the old ones may execute the new ones. The
-- grants are an administrator's, and not the extension's own, which a dump leaves out.
DO $update$
DECLARE
    former regprocedure;
    latter text;
    grants aclitem[];
    entry record;
BEGIN
    FOREACH former IN ARRAY ARRAY[
        'cron.configure_job(bigint,text,interval,int,interval,text,text,interval,interval,int,text)',
        'cron.configure_job(text,text,interval,int,interval,text,text,interval,interval,int,text)']::regprocedure[]
    LOOP
        SELECT p.proacl INTO grants FROM pg_catalog.pg_proc p WHERE p.oid = former;
        latter := pg_catalog.replace(former::text, ')', ',text,text,int)');
        EXECUTE 'DROP FUNCTION ' || former;
        EXECUTE 'CREATE FUNCTION ' || latter || $$ RETURNS void LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_configure_job'$$;
        CONTINUE WHEN grants IS NULL;
        EXECUTE 'REVOKE ALL ON FUNCTION ' || latter || ' FROM PUBLIC';
        FOR entry IN SELECT COALESCE(pg_catalog.quote_ident(r.rolname), 'PUBLIC') AS grantee, a.is_grantable
                       FROM pg_catalog.aclexplode(grants) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        LOOP
            EXECUTE 'GRANT EXECUTE ON FUNCTION ' || latter || ' TO ' || entry.grantee
                 || CASE WHEN entry.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
        END LOOP;
        DELETE FROM pg_catalog.pg_init_privs
         WHERE objoid = latter::regprocedure AND classoid = 'pg_catalog.pg_proc'::regclass;
        -- From PostgreSQL 17 on, the roles in these are recorded, too.
        DELETE FROM pg_catalog.pg_shdepend
         WHERE objid = latter::regprocedure AND classid = 'pg_catalog.pg_proc'::regclass AND deptype = 'i'
           AND dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database());
    END LOOP;
END
$update$;

-- Jobs belong to roles by oid. A job whose role does not exist is paused, as it is when a role is
-- dropped.
ALTER TABLE cron.job
    DROP CONSTRAINT job_jobname_username_key,
    ADD COLUMN roleid oid,
    ADD COLUMN replicated boolean NOT NULL DEFAULT false,
    ADD COLUMN priority int NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    ADD UNIQUE (jobname, roleid);
UPDATE cron.job SET roleid = cron._role_named(username) WHERE cron._role_named(username) IS NOT NULL;
UPDATE cron.job
   SET active = false,
       note = 'paused: role "' || username || '" does not exist. Create it, or give the job to another role with cron.alter_job(); then call cron.resume().'
 WHERE roleid IS NULL AND active;
ALTER TABLE cron.job_run_details
    ADD COLUMN roleid oid,
    DROP CONSTRAINT job_run_details_status_check,
    ADD CHECK (status IN ('starting', 'running', 'succeeded', 'failed', 'skipped', 'sending', 'connecting'));
-- Writes the table again; an UPDATE would double its size.
ALTER TABLE cron.job_run_details ALTER COLUMN roleid TYPE oid USING cron._role_named(username);
CREATE INDEX job_run_details_jobid_start_time_idx ON cron.job_run_details (jobid, start_time);
CREATE INDEX job_run_details_roleid_idx ON cron.job_run_details (roleid);
DROP INDEX cron.job_run_details_unfinished_idx;
CREATE INDEX job_run_details_unfinished_idx ON cron.job_run_details (jobid)
    WHERE status IN ('starting', 'running');

-- on_response means the function that has this name now.
ALTER TABLE net.http_request_queue
    ADD COLUMN on_response_owner oid,
    ADD COLUMN replicated_ready_at timestamptz;
ALTER TABLE net._http_response
    ADD COLUMN on_response_owner oid,
    ADD COLUMN host text COLLATE "C",
    ADD COLUMN requested_at timestamptz;
UPDATE net.http_request_queue q SET on_response_owner = p.proowner
  FROM pg_catalog.pg_proc p WHERE p.oid = pg_catalog.to_regprocedure(q.on_response);
UPDATE net._http_response r
   SET host = net._origin(r.url),
       on_response_owner = (SELECT p.proowner FROM pg_catalog.pg_proc p
                             WHERE p.oid = pg_catalog.to_regprocedure(r.on_response));

GRANT SELECT ON SEQUENCE cron.jobid_seq, cron.runid_seq TO PUBLIC;

CREATE DOMAIN cron."text/html" AS text;
