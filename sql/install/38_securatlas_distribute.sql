-- ==== schema securatlas: tables distributed by Citus =========================================

-- The column of a table that says whose a row is, and where the tenant of its rows can be found if it
-- has no such column.
CREATE FUNCTION securatlas._tenant_tables(
    target_schema regnamespace, OUT ordinal int, OUT name text, OUT relation regclass, OUT tenant_column text,
    OUT parent text, OUT parent_key text
) RETURNS SETOF record LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT t.ordinal, t.name, c.oid::regclass, CASE t.name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END,
           p.parent, p.parent_key
      FROM securatlas._tables() AS t
      JOIN pg_class c ON c.relname = t.name AND c.relnamespace = target_schema
      LEFT JOIN (VALUES ('control_evidence_links', 'tenant_evidence_items', 'evidence_item_id'),
                        ('integration_sync_jobs', 'integration_connections', 'connection_id'))
                AS p (name, parent, parent_key) ON p.name = t.name
     WHERE t.tenant_data
$fn$;
COMMENT ON FUNCTION securatlas._tenant_tables(regnamespace) IS 'The tables with data of tenants, the column by which they are distributed, and the table of which those that may lack it get it.';

CREATE FUNCTION securatlas._columns_of(relation regclass, keys int2[]) RETURNS text[] LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT array_agg(a.attname::text ORDER BY k.place)
      FROM unnest(keys) WITH ORDINALITY AS k (number, place)
      JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.number
$fn$;
COMMENT ON FUNCTION securatlas._columns_of(regclass, int2[]) IS 'The names of the columns of a key.';

-- A unique key to which the tenant can be added, because it has a column that belongs to one tenant only.
CREATE FUNCTION securatlas._keys_without_tenant(
    target_schema regnamespace, OUT relation regclass, OUT name name, OUT columns text[], OUT is_primary boolean,
    OUT can_change boolean
) RETURNS SETOF record LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT t.relation, i.name, i.columns, i.indisprimary,
           i.columns && '{id,evidence_item_id,connection_id}'
           AND EXISTS (SELECT FROM pg_constraint c
                        WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u') AND NOT c.condeferrable)
      FROM securatlas._tenant_tables(target_schema) AS t
     CROSS JOIN LATERAL (
           SELECT x.*, r.relname AS name,
                  coalesce(securatlas._columns_of(t.relation, x.indkey[0:x.indnkeyatts - 1]::int2[]), '{}') AS columns
             FROM pg_index x JOIN pg_class r ON r.oid = x.indexrelid
            WHERE x.indrelid = t.relation AND (x.indisunique OR x.indisexclusion)) AS i
     WHERE t.tenant_column <> ALL (i.columns)
$fn$;
COMMENT ON FUNCTION securatlas._keys_without_tenant(regnamespace) IS 'The unique keys of tables with data of tenants that do not hold the tenant, and whether distribute() can add it.';

CREATE FUNCTION securatlas._distribution_problems(target_schema regnamespace) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    t record;
    has_column boolean;
    rows bigint;
BEGIN
    RETURN QUERY
    SELECT format('Table %s.%I is missing.', target_schema, d.name)
      FROM securatlas._tables() AS d
     WHERE to_regclass(format('%s.%I', target_schema, d.name)) IS NULL ORDER BY d.ordinal;
    RETURN QUERY
    SELECT format('Table %s is not an ordinary table.', c.oid::regclass)
      FROM securatlas._tables() AS d
      JOIN pg_class c ON c.relname = d.name AND c.relnamespace = target_schema
     WHERE c.relkind NOT IN ('r', 'p') OR c.relispartition ORDER BY d.ordinal;
    RETURN QUERY
    SELECT format('Table %s belongs to role %s.', c.oid::regclass, c.relowner::regrole)
      FROM securatlas._tables() AS d
      JOIN pg_class c ON c.relname = d.name AND c.relnamespace = target_schema
     WHERE NOT pg_has_role(c.relowner, 'USAGE') ORDER BY d.ordinal;
    RETURN QUERY
    SELECT format('Unique key %I of table %s does not hold %s.', k.name, k.relation,
                  (SELECT n.tenant_column FROM securatlas._tenant_tables(target_schema) AS n
                    WHERE n.relation = k.relation))
      FROM securatlas._keys_without_tenant(target_schema) AS k WHERE NOT k.can_change;
    -- Foreign keys between a table of ours and another, which is not distributed.
    RETURN QUERY
    SELECT format(CASE WHEN securatlas._is_ours(f.conrelid, target_schema)
                       THEN 'Foreign key %I of table %s refers to table %s, which is not distributed.'
                       ELSE 'Foreign key %I of table %s, which is not distributed, refers to table %s.' END,
                  f.conname, f.conrelid::regclass, f.confrelid::regclass)
      FROM pg_constraint f
     WHERE f.contype = 'f' AND f.conparentid = 0
       AND securatlas._is_ours(f.conrelid, target_schema) <> securatlas._is_ours(f.confrelid, target_schema)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p
                        WHERE p.logicalrelid IN (f.conrelid, f.confrelid)
                          AND NOT securatlas._is_ours(p.logicalrelid, target_schema))
     ORDER BY f.conrelid::regclass::text, f.conname;
    RETURN QUERY
    SELECT format('Foreign key %I of table %s would set the tenant to NULL.', f.conname, f.conrelid::regclass)
      FROM pg_constraint f
      JOIN securatlas._tenant_tables(target_schema) AS own ON own.relation = f.conrelid
      JOIN securatlas._tenant_tables(target_schema) AS other ON other.relation = f.confrelid
     WHERE f.contype = 'f' AND (f.confdeltype IN ('n', 'd') OR f.confupdtype IN ('n', 'd'));
    RETURN QUERY
    SELECT format('Table %s has trigger %I, which needs citus.enable_unsafe_triggers.', g.tgrelid::regclass, g.tgname)
      FROM pg_trigger g
     WHERE NOT g.tgisinternal AND securatlas._is_ours(g.tgrelid, target_schema)
       AND current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = g.tgrelid)
     ORDER BY g.tgrelid::regclass::text, g.tgname;
    RETURN QUERY
    SELECT format('Table %s is distributed otherwise.', p.logicalrelid)
      FROM pg_catalog.pg_dist_partition p
      JOIN securatlas._tables() AS d ON p.logicalrelid = to_regclass(format('%s.%I', target_schema, d.name))
     WHERE d.tenant_data AND (p.partmethod <> 'h'
           OR column_to_column_name(p.logicalrelid, p.partkey) <> CASE d.name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
           OR p.colocationid IS DISTINCT FROM (SELECT o.colocationid FROM pg_catalog.pg_dist_partition o
                       WHERE o.logicalrelid = to_regclass(format('%s.tenants', target_schema))))
        OR NOT d.tenant_data AND (p.partmethod <> 'n' OR p.repmodel <> 't');
    FOR t IN SELECT n.* FROM securatlas._tenant_tables(target_schema) AS n
              WHERE n.relation <> ALL (ARRAY(SELECT p.logicalrelid FROM pg_catalog.pg_dist_partition p WHERE p.partmethod = 'h'))
              ORDER BY n.ordinal
    LOOP
        has_column := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.relation
                                 AND a.attname = t.tenant_column AND NOT a.attisdropped);
        IF has_column THEN
            EXECUTE format('SELECT count(*) FROM %s WHERE %I IS NULL', t.relation, t.tenant_column) INTO rows;
        ELSE
            EXECUTE format('SELECT count(*) FROM %s x WHERE NOT EXISTS (SELECT FROM %s.%I p
                             WHERE p.id = x.%I AND p.tenant_id IS NOT NULL)',
                           t.relation, target_schema, t.parent, t.parent_key) INTO rows;
        END IF;
        IF rows > 0 THEN
            RETURN NEXT format('Table %s has %s rows without a tenant.', t.relation, rows);
        END IF;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION securatlas._distribution_problems(regnamespace) IS 'What keeps the tables of a schema from being distributed by tenant.';

CREATE FUNCTION securatlas._is_ours(relation oid, target_schema regnamespace) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT EXISTS (SELECT FROM pg_class c JOIN securatlas._tables() AS t ON t.name = c.relname
                    WHERE c.oid = relation AND c.relnamespace = target_schema)
$fn$;
COMMENT ON FUNCTION securatlas._is_ours(oid, regnamespace) IS 'True for the tables that install() would create in that schema.';

CREATE FUNCTION securatlas._add_tenants(target_schema regnamespace) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT n.* FROM securatlas._tenant_tables(target_schema) AS n ORDER BY n.ordinal LOOP
        IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.relation AND a.attname = t.tenant_column
                          AND NOT a.attisdropped) THEN
            EXECUTE format('ALTER TABLE %s ADD COLUMN tenant_id uuid', t.relation);
            EXECUTE format('UPDATE %s x SET tenant_id = p.tenant_id FROM %s.%I p WHERE p.id = x.%I',
                           t.relation, target_schema, t.parent, t.parent_key);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.relation AND a.attname = t.tenant_column
                          AND a.attnotnull) THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', t.relation, t.tenant_column);
        END IF;
    END LOOP;
    FOR t IN SELECT k.* FROM securatlas._keys_without_tenant(target_schema) AS k LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s (%s, tenant_id)', t.relation,
                       t.name, t.name, CASE WHEN t.is_primary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
                       (SELECT string_agg(quote_ident(c), ', ') FROM unnest(t.columns) AS c));
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION securatlas._add_tenants(regnamespace) IS 'The part of distribute() that gives each table with data of tenants a tenant, also in its keys.';

CREATE FUNCTION securatlas.distribute(shard_count int DEFAULT 32, target_schema regnamespace DEFAULT 'public')
    RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning
AS $fn$
DECLARE
    problems text[];
    pending regclass[];
    foreign_keys jsonb;
    t record;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RAISE EXCEPTION 'Citus is not installed in this database'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'CREATE EXTENSION citus, and add the nodes, before securatlas.install().';
    ELSIF shard_count IS NULL OR shard_count < 1 THEN
        RAISE EXCEPTION 'distribute() needs a positive number of shards'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    problems := ARRAY(SELECT securatlas._distribution_problems(target_schema));
    IF problems <> '{}' THEN
        RAISE EXCEPTION 'the tables of schema % cannot be distributed by tenant', target_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = array_to_string(problems, E'\n'),
                  HINT = 'Nothing was changed. Correct what the detail lists.';
    END IF;
    pending := ARRAY(
        SELECT c.oid::regclass FROM securatlas._tables() AS d
          JOIN pg_class c ON c.relname = d.name AND c.relnamespace = target_schema
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = c.oid)
         ORDER BY d.tenant_data, d.ordinal);
    IF pending <> '{}' THEN
        -- Citus would take into its metadata whatever hangs together by foreign keys: so these come last.
        PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
        foreign_keys := (
            SELECT jsonb_agg(jsonb_build_object(
                       'relation', f.conrelid::regclass, 'name', f.conname,
                       'definition', CASE WHEN own.relation IS NOT NULL AND other.relation IS NOT NULL
                                           AND other.name <> 'tenants' AND array_length(f.conkey, 1) = 1
                           THEN regexp_replace(pg_get_constraintdef(f.oid),
                                    '^FOREIGN KEY \((.*?)\) REFERENCES (.*?)\((.*?)\)',
                                    'FOREIGN KEY (tenant_id, \1) REFERENCES \2(tenant_id, \3)')
                           ELSE pg_get_constraintdef(f.oid) END))
              FROM pg_constraint f
              LEFT JOIN securatlas._tenant_tables(target_schema) AS own ON own.relation = f.conrelid
              LEFT JOIN securatlas._tenant_tables(target_schema) AS other ON other.relation = f.confrelid
             WHERE f.contype = 'f' AND f.conparentid = 0
               AND (f.conrelid = ANY (pending) OR f.confrelid = ANY (pending)));
        FOR t IN SELECT k->>'relation' AS relation, k->>'name' AS name FROM jsonb_array_elements(foreign_keys) AS k LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t.relation, t.name);
        END LOOP;
        PERFORM securatlas._add_tenants(target_schema);
        FOR t IN SELECT p.relation, n.name, n.tenant_column
                   FROM unnest(pending) WITH ORDINALITY AS p (relation, place)
                   LEFT JOIN securatlas._tenant_tables(target_schema) AS n ON n.relation = p.relation
                  ORDER BY p.place
        LOOP
            IF t.name IS NULL THEN
                PERFORM create_reference_table(t.relation);
            ELSIF t.name = 'tenants' THEN
                PERFORM create_distributed_table(t.relation, 'id', colocate_with => 'none', shard_count => shard_count);
            ELSE
                PERFORM create_distributed_table(t.relation, t.tenant_column,
                                                 colocate_with => format('%s.tenants', target_schema));
            END IF;
            PERFORM truncate_local_data_after_distributing_table(t.relation);
        END LOOP;
        FOR t IN SELECT k->>'relation' AS relation, k->>'name' AS name, k->>'definition' AS definition
                   FROM jsonb_array_elements(foreign_keys) AS k
        LOOP
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.relation, t.name, t.definition);
        END LOOP;
    END IF;
    -- Without that Citus does not move a table without a primary key to another node while it is in use.
    FOR t IN SELECT n.relation FROM securatlas._tenant_tables(target_schema) AS n
              WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = n.relation AND c.relreplident = 'd')
                AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = n.relation AND i.indisprimary)
    LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', t.relation);
    END LOOP;
    IF NOT securatlas._copies_functions(target_schema) THEN
        -- Of nodes that were added since. Before install(), whose transaction has the functions locked.
        PERFORM securatlas._copy_functions(target_schema);
    END IF;
    -- Views and functions anew: now for tables that have tenants, and on every node.
    PERFORM securatlas.install(target_schema, schedule_jobs => false);
END
$fn$;
COMMENT ON FUNCTION securatlas.distribute(int, regnamespace) IS 'Distributes the tables of the SecurAtlas jobs by tenant over the nodes of Citus: all rows of a tenant are on one node, and the catalogues on each. May be run again.
shard_count: into how many shards.
target_schema: where the tables are.';
