-- ==== pg_cron and pg_net that are here already ================================================
-- What they have brought becomes this extension's, with its rows, grants and processes; they go on as
-- names that depend on it. Only those of this project: the originals have other versions.
DO $$
DECLARE
    ours CONSTANT oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'securatlas_sched');
    name pg_extension%ROWTYPE;
BEGIN
    FOR name IN
        SELECT * FROM pg_extension e
         WHERE e.extname IN ('pg_cron', 'pg_net')
           AND split_part(e.extversion, '.', 3) ~ '^[1-9][0-9]{2,}$'
    LOOP
        UPDATE pg_depend d SET refobjid = ours
         WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = name.oid AND d.deptype = 'e';
        -- The tables whose rows a dump has.
        UPDATE pg_extension e
           SET extconfig = NULLIF(COALESCE(e.extconfig, '{}') || COALESCE(name.extconfig, '{}'), '{}'),
               extcondition = NULLIF(COALESCE(e.extcondition, '{}')
                                     || COALESCE(name.extcondition, '{}'), '{}')
         WHERE e.oid = ours;
        UPDATE pg_extension e SET extconfig = NULL, extcondition = NULL WHERE e.oid = name.oid;
        INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
        VALUES ('pg_extension'::regclass, name.oid, 0, 'pg_extension'::regclass, ours, 0, 'n');
        -- Its grants of pg_net_grants.sql stay, and are none of this extension's: a dump has them.
        CONTINUE WHEN name.extname <> 'pg_net';
        DELETE FROM pg_init_privs p
         WHERE (p.classoid = 'pg_namespace'::regclass AND p.objoid = 'net'::regnamespace)
            OR (p.classoid = 'pg_proc'::regclass AND p.objoid = 'net.worker_restart()'::regprocedure);
        INSERT INTO pg_init_privs (objoid, classoid, objsubid, privtype, initprivs)
        SELECT p.oid, 'pg_proc'::regclass, 0, 'e',
               ARRAY[makeaclitem(p.proowner, p.proowner, 'EXECUTE', false)]
          FROM pg_proc p WHERE p.oid = 'net.worker_restart()'::regprocedure;
    END LOOP;
END $$;

