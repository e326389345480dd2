-- ==== where securatlas_sched is there already =================================================
-- It has brought everything: this extension is a name only, and depends on it. A script that updates
-- it begins with this too, because an update forgets on which extensions one depends.
INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
SELECT 'pg_extension'::regclass, name.oid, 0, 'pg_extension'::regclass, e.oid, 0, 'n'
  FROM pg_extension name, pg_extension e
 WHERE name.extname = '@name@' AND e.extname = 'securatlas_sched';

