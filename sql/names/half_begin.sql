-- ==== schema @schema@, unless securatlas_sched has it ================================================
DO $half$
DECLARE
    owner text;
    e_state text;
    e_message text;
    e_detail text;
    e_hint text;
BEGIN
    SELECT format('It belongs to extension "%s" %s.', e.extname, e.extversion) INTO owner
      FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
     WHERE d.classid = 'pg_namespace'::regclass AND d.objid = to_regnamespace('@schema@')
       AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e';
    IF owner LIKE '%"securatlas_sched"%' THEN
        RETURN;
    ELSIF to_regnamespace('@schema@') IS NOT NULL THEN
        RAISE duplicate_schema
            USING MESSAGE = 'schema "@schema@" already exists',
                  DETAIL = COALESCE(owner, 'It belongs to no extension.'),
                  HINT = CASE WHEN owner ~ '"pg_(cron|net)"' THEN 'securatlas_sched_migrate moves what is in it, and drops the original.'
                            ELSE 'Move what is in it, and drop or rename it.' END;
    END IF;
    EXECUTE $parts$
