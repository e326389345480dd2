-- What was granted on schemas cron and net and what is in them, beyond what their extensions grant
-- themselves, and what was revoked of that; and the default privileges there. Of a schema everything,
-- because it decides who may use the extension at all. Not what the owner has.
CREATE TEMP TABLE kept_grant ON COMMIT DROP AS
WITH object AS (
    SELECT 'SCHEMA' AS kind, format('%I', n.nspname) AS name, n.oid, 'pg_namespace'::regclass AS class,
           n.nspacl AS acl, n.nspowner AS owner, 'n' AS type
      FROM pg_namespace n WHERE n.nspname IN ('cron', 'net')
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
           format('%I.%I', c.relnamespace::regnamespace::text, c.relname), c.oid, 'pg_class'::regclass, c.relacl,
           c.relowner, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END
      FROM pg_class c
     WHERE c.relnamespace IN (to_regnamespace('cron'), to_regnamespace('net')) AND c.relkind IN ('r', 'S', 'v')
    UNION ALL
    SELECT 'FUNCTION', p.oid::regprocedure::text, p.oid, 'pg_proc'::regclass, p.proacl, p.proowner, 'f'
      FROM pg_proc p WHERE p.pronamespace IN (to_regnamespace('cron'), to_regnamespace('net'))
), has AS (
    SELECT o.kind, o.name, a.grantee, a.privilege_type, a.is_grantable
      FROM object o, aclexplode(COALESCE(o.acl, acldefault(o.type::"char", o.owner))) a
     WHERE a.grantee <> o.owner
), was AS (
    SELECT o.kind, o.name, a.grantee, a.privilege_type, a.is_grantable
      FROM object o LEFT JOIN pg_init_privs i
             ON i.objoid = o.oid AND i.classoid = o.class AND i.objsubid = 0 AND o.kind <> 'SCHEMA',
           aclexplode(COALESCE(i.initprivs, acldefault(o.type::"char", o.owner))) a
     WHERE a.grantee <> o.owner
), who (grantee, role) AS (
    SELECT 0::oid, 'PUBLIC' UNION ALL SELECT r.oid, format('%I', r.rolname) FROM pg_roles r
)
SELECT g.kind, g.name,
       format('GRANT %s ON %s %s TO %s%s', g.privilege_type, g.kind, g.name, w.role,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END) AS statement
  FROM (SELECT * FROM has EXCEPT SELECT * FROM was) g JOIN who w USING (grantee)
UNION ALL
SELECT g.kind, g.name, format('REVOKE %s ON %s %s FROM %s', g.privilege_type, g.kind, g.name, w.role)
  FROM (SELECT kind, name, grantee, privilege_type FROM was
        EXCEPT SELECT kind, name, grantee, privilege_type FROM has) g JOIN who w USING (grantee)
UNION ALL
SELECT 'SCHEMA', format('%I', d.defaclnamespace::regnamespace::text),
       format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT %s ON %s TO %s%s', d.defaclrole::regrole::text,
              d.defaclnamespace::regnamespace::text, a.privilege_type,
              CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' ELSE 'FUNCTIONS' END, w.role,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)
  FROM pg_default_acl d, aclexplode(d.defaclacl) a JOIN who w USING (grantee)
 WHERE d.defaclnamespace IN (to_regnamespace('cron'), to_regnamespace('net')) AND d.defaclobjtype IN ('r', 'S', 'f');
