-- ==== schema securatlas: whether install() can use a schema ==================================

-- Each of these functions returns lines for the detail of one error, and changes nothing.

CREATE FUNCTION securatlas._is_kind(type oid, kind text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE kind
               WHEN 'any' THEN true
               WHEN 'uuid' THEN base.oid = 'uuid'::regtype
               WHEN 'json' THEN base.oid IN ('json'::regtype, 'jsonb'::regtype)
               WHEN 'number' THEN base.typcategory = 'N'
               WHEN 'time' THEN base.typcategory = 'D'
               WHEN 'text' THEN base.typcategory IN ('S', 'E')
           END
      FROM pg_type t
      JOIN pg_type base ON base.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
     WHERE t.oid = type
$fn$;
COMMENT ON FUNCTION securatlas._is_kind(oid, text) IS 'True if a column of this type can hold values of that kind (see _tables()); text may be an enumeration.';

CREATE FUNCTION securatlas._has_unique_key(relation oid, VARIADIC columns name[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT EXISTS (SELECT FROM pg_index i
                    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid
                      AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = cardinality(columns)
                      AND ARRAY(SELECT a.attname FROM pg_attribute a
                                 WHERE a.attrelid = i.indrelid
                                   AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                                 ORDER BY a.attname)
                          = ARRAY(SELECT c FROM unnest(columns) AS c ORDER BY c))
$fn$;
COMMENT ON FUNCTION securatlas._has_unique_key(oid, name[]) IS 'True if a foreign key can reference the columns.';

CREATE FUNCTION securatlas._column_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    WITH existing AS (
        SELECT t.*, c.oid, c.relkind, format('%s.%I', target_schema, t.name) AS title
          FROM securatlas._tables() AS t
          JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
    ), wanted AS (
        SELECT e.ordinal, e.title, w.position, split_part(w.entry, ' ', 1) AS column_name,
               split_part(w.entry, ' ', 2) AS kind, w.entry LIKE '% optional' AS optional,
               a.attnum, a.atttypid
          FROM existing e
         CROSS JOIN unnest(e.required) WITH ORDINALITY AS w (entry, position)
          LEFT JOIN pg_attribute a ON a.attrelid = e.oid AND NOT a.attisdropped AND a.attnum > 0
                AND a.attname = split_part(w.entry, ' ', 1)
         WHERE e.relkind IN ('r', 'p', 'f')
    ), problem AS (
        SELECT e.ordinal, 1 AS part, format('%s is not a table.', e.title) AS line
          FROM existing e WHERE e.relkind NOT IN ('r', 'p', 'f')
        UNION ALL
        SELECT w.ordinal, 2, format('Table %s lacks %s.', w.title,
                                    string_agg(w.column_name, ', ' ORDER BY w.position))
          FROM wanted w WHERE w.attnum IS NULL AND NOT w.optional GROUP BY w.ordinal, w.title
        UNION ALL
        SELECT w.ordinal, 3, format('Table %s: %s.', w.title, string_agg(
                   format('%s is %s, not %s', w.column_name, format_type(w.atttypid, NULL), w.kind),
                   ', ' ORDER BY w.position))
          FROM wanted w WHERE NOT securatlas._is_kind(w.atttypid, w.kind) GROUP BY w.ordinal, w.title
        UNION ALL
        -- The jobs insert into these two tables, and give no value to other columns.
        SELECT e.ordinal, 4, format('Table %s needs values without a default: %s.', e.title,
                                    string_agg(a.attname, ', ' ORDER BY a.attnum))
          FROM existing e
          JOIN pg_attribute a ON a.attrelid = e.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE e.name IN ('integration_sync_jobs', 'tenant_risk_snapshots')
           AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
           AND a.attname <> ALL (ARRAY(SELECT split_part(r, ' ', 1) FROM unnest(e.required) AS r))
         GROUP BY e.ordinal, e.title
        UNION ALL
        SELECT DISTINCT e.ordinal, 5, format('Table %s has no unique key on id%s.', e.title,
                                    CASE WHEN r.by_tenant THEN ' or on tenant_id and id' ELSE ' alone' END)
          FROM existing e
          LEFT JOIN securatlas._referring(target_schema) AS r ON r.target = e.name
         WHERE e.relkind <> 'f' AND NOT securatlas._has_unique_key(e.oid, 'id')
           AND EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = e.oid AND a.attname = 'id' AND NOT a.attisdropped)
           AND CASE WHEN r.by_tenant THEN NOT securatlas._has_unique_key(e.oid, 'tenant_id', 'id')
                    ELSE e.name = 'tenants' OR r.target IS NOT NULL END
        UNION ALL
        SELECT w.ordinal, 6, format('Table %s: id is %s, and tables that refer to it would be created with uuid.',
                                    w.title, format_type(w.atttypid, NULL))
          FROM wanted w
          JOIN existing e ON e.ordinal = w.ordinal
         WHERE w.column_name = 'id' AND w.kind = 'any' AND w.atttypid <> 'uuid'::regtype
           AND EXISTS (SELECT FROM securatlas._referring(target_schema) AS r WHERE r.target = e.name)
    )
    SELECT p.line FROM problem p ORDER BY p.ordinal, p.part
$fn$;
COMMENT ON FUNCTION securatlas._column_problems(regnamespace) IS 'What is wrong with the columns and keys of existing tables of a schema.';

CREATE FUNCTION securatlas._referring(
    target_schema regnamespace, OUT name text, OUT target text, OUT by_tenant boolean)
    RETURNS SETOF record LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT t.name, r[1], r[2] IS NOT NULL
      FROM securatlas._tables() AS t
     CROSS JOIN regexp_matches(t.definition, 'REFERENCES (\w+) \((tenant_id, )?id\)', 'g') AS r
     WHERE NOT EXISTS (SELECT FROM pg_class c
                        WHERE c.relname = t.name AND c.relnamespace = target_schema)
$fn$;
COMMENT ON FUNCTION securatlas._referring(regnamespace) IS 'The foreign keys of the tables that install() would create.';

-- The functions that install() creates run with the rights of its caller and look up names in the
-- schema, so that whoever may create objects there could make them call a function of his.
-- Superusers can do anything anyway.
CREATE FUNCTION securatlas._makers(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE maker.role WHEN 0 THEN 'PUBLIC' ELSE maker.role::regrole::text END
      FROM pg_namespace n
     CROSS JOIN LATERAL (
           SELECT n.nspowner
            UNION
           SELECT a.grantee FROM aclexplode(n.nspacl) AS a WHERE a.privilege_type = 'CREATE'
           ) AS granted (role)
     CROSS JOIN LATERAL (
           SELECT CASE granted.role::regrole::text WHEN 'pg_database_owner' THEN d.datdba
                  ELSE granted.role END
             FROM pg_database d WHERE d.datname = current_database()) AS maker (role)
     WHERE n.oid = target_schema AND maker.role <> quote_ident(current_user)::regrole
       AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = maker.role AND r.rolsuper)
     GROUP BY maker.role ORDER BY 1
$fn$;
COMMENT ON FUNCTION securatlas._makers(regnamespace) IS 'Roles that may create objects in a schema, except the current one and superusers.';

CREATE FUNCTION securatlas._privilege_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('Role %I lacks privilege CREATE on schema %s.', current_user, target_schema)
     WHERE NOT has_schema_privilege(current_user, target_schema, 'CREATE')
    UNION ALL
    SELECT format('Others may create objects in schema %s: %s. What they create there could run with the rights of role %I.',
                  target_schema, string_agg(m, ', '), current_user)
      FROM securatlas._makers(target_schema) AS m HAVING count(*) > 0
    UNION ALL
    SELECT format('Role %I lacks privilege USAGE on schema %s.', current_user, s.name)
      FROM (VALUES ('cron'), ('net')) AS s (name)
     WHERE NOT has_schema_privilege(current_user, s.name, 'USAGE')
    UNION ALL
    SELECT * FROM (
        SELECT format('Role %I lacks privilege %s on table %s.%I.', current_user,
                      string_agg(p.name, ', ' ORDER BY p.place), target_schema, t.name)
          FROM securatlas._tables() AS t
          JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
         CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'),
                            (5, 'REFERENCES')) AS p (place, name)
         WHERE c.relkind IN ('r', 'p', 'f')
           AND (p.name = 'SELECT'
                OR p.name = 'INSERT' AND t.name IN ('integration_sync_jobs', 'tenant_risk_snapshots')
                OR p.name = 'UPDATE' AND t.name IN ('integration_sync_jobs', 'integration_connections')
                OR p.name = 'DELETE' AND t.name = 'tenant_risk_snapshots'
                OR p.name = 'REFERENCES' AND EXISTS (
                       SELECT FROM securatlas._referring(target_schema) AS r WHERE r.target = t.name))
           AND NOT has_table_privilege(current_user, c.oid, p.name)
         GROUP BY t.ordinal, t.name ORDER BY t.ordinal) AS refused
    UNION ALL
    SELECT * FROM (
        SELECT format('Row level security of table %s.%I may hide rows from role %I.',
                      target_schema, t.name, current_user)
          FROM securatlas._tables() AS t
          JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
         WHERE c.relkind IN ('r', 'p', 'f') AND row_security_active(c.oid)
         ORDER BY t.ordinal) AS hidden
$fn$;
COMMENT ON FUNCTION securatlas._privilege_problems(regnamespace) IS 'Privileges that the jobs need and the current role lacks, and those that others should not have.';

CREATE FUNCTION securatlas._name_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('%s.%I exists and is not a view of role %I with the columns %s.', target_schema,
                  v.name, current_user, array_to_string(v.columns, ', '))
      FROM securatlas._views() AS v
      JOIN pg_class c ON c.relname = v.name AND c.relnamespace = target_schema
     WHERE c.relkind <> 'v' OR NOT pg_has_role(c.relowner, 'USAGE')
        OR ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) <> v.columns
    UNION ALL
    SELECT format('Function %s.%s exists and is not one of role %I that returns %s.', target_schema,
                  f.signature, current_user, f.result)
      FROM securatlas._functions() AS f
      JOIN pg_proc p ON p.oid = CASE WHEN has_schema_privilege('net', 'USAGE') THEN
               to_regprocedure(format('%s.%s', target_schema, f.signature)) END
     WHERE p.prokind <> 'f' OR NOT pg_has_role(p.proowner, 'USAGE')
        OR pg_get_function_result(p.oid) <> f.result
$fn$;
COMMENT ON FUNCTION securatlas._name_problems(regnamespace) IS 'Existing views and functions that install() cannot replace.';

CREATE FUNCTION securatlas._check_schema(target_schema regnamespace) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    problems text[] := ARRAY(
        SELECT securatlas._column_problems(target_schema)
        UNION ALL SELECT securatlas._name_problems(target_schema)
        UNION ALL SELECT securatlas._privilege_problems(target_schema));
BEGIN
    IF problems <> '{}' THEN
        RAISE EXCEPTION 'schema % does not fit the SecurAtlas jobs', target_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = array_to_string(problems, E'\n'),
                  HINT = 'Nothing was changed. Correct what the detail lists, or install into another schema.';
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas._check_schema(regnamespace) IS 'Rejects a schema that install() cannot use, in one error that lists all reasons.';
