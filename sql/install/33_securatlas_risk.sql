-- ==== schema securatlas: the risk views and functions that install() makes ===================

-- These functions run with the search_path that install() sets (the target schema, then pg_temp),
-- and SET search_path FROM CURRENT gives the same to the functions that they create. With
-- row_security = off a policy that would hide rows from the jobs raises an error, instead of making
-- scores wrong silently.
--
-- Tables that existed before install() may have other types (enumerations, domains) and none of the
-- constraints: so texts are cast to text before a comparison, and rows with values out of range are
-- left out.

CREATE FUNCTION securatlas._create_risk_views() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- A set of controls is a bit string with one bit for each control. To compare two of them costs
    -- almost nothing; the joins in their place would cost more than the rest of the recompute.
    CREATE OR REPLACE VIEW v_framework_readiness WITH (security_invoker = true) AS
    WITH place AS MATERIALIZED (
        SELECT mapped.control_id, (row_number() OVER () - 1)::int AS bit,
               repeat('0', (count(*) OVER ())::int)::varbit AS none
          FROM (SELECT DISTINCT m.control_id FROM control_framework_map m
                 WHERE m.control_id IS NOT NULL) AS mapped
    ), requirement AS MATERIALIZED (
        SELECT r.framework_id, r.id, bit_or(set_bit(p.none, p.bit, 1)) AS controls
          FROM framework_requirements r
          LEFT JOIN control_framework_map m ON m.requirement_id = r.id
          LEFT JOIN place p ON p.control_id = m.control_id
         GROUP BY r.framework_id, r.id
    ), met AS (
        SELECT c.tenant_id, bit_or(set_bit(p.none, p.bit, 1)) AS controls
          FROM tenant_controls c
          JOIN place p ON p.control_id = c.control_id
         WHERE c.status::text IN ('implemented', 'not_applicable')
         GROUP BY c.tenant_id
    )
    SELECT s.tenant_id,
           s.framework_id,
           coalesce(100.0 * count(*) FILTER (WHERE met.controls & r.controls = r.controls)
                    / nullif(count(r.id), 0), 0) AS readiness
      FROM tenant_framework_selections s
      LEFT JOIN requirement r ON r.framework_id = s.framework_id
      LEFT JOIN met ON met.tenant_id = s.tenant_id
     GROUP BY s.tenant_id, s.framework_id;
    COMMENT ON VIEW v_framework_readiness IS 'Share of the requirements of a selected framework, 0 to 100, of which every mapped control is implemented or not applicable. A requirement without mapped controls is not met.';

    CREATE OR REPLACE VIEW v_risk_trend WITH (security_invoker = true) AS
    SELECT t.id AS tenant_id,
           latest.risk_score_1_100,
           CASE WHEN latest.risk_score_1_100 <= 20 THEN 'critical'
                WHEN latest.risk_score_1_100 <= 40 THEN 'high'
                WHEN latest.risk_score_1_100 <= 60 THEN 'medium'
                WHEN latest.risk_score_1_100 <= 80 THEN 'moderate'
                WHEN latest.risk_score_1_100 <= 100 THEN 'low' END AS level,
           latest.risk_score_1_100 - previous.risk_score_1_100 AS change,
           latest.risk_score_1_100 - week.risk_score_1_100 AS change_7_days,
           latest.risk_score_1_100 - month.risk_score_1_100 AS change_30_days,
           latest.computed_at,
           latest.snapshot_type::text AS snapshot_type
      FROM tenants t
     CROSS JOIN LATERAL (
           SELECT s.risk_score_1_100, s.computed_at, s.snapshot_type
             FROM tenant_risk_snapshots s WHERE s.tenant_id = t.id
            ORDER BY s.computed_at DESC, s.id LIMIT 1) AS latest
      LEFT JOIN LATERAL (
           SELECT s.risk_score_1_100 FROM tenant_risk_snapshots s WHERE s.tenant_id = t.id
            ORDER BY s.computed_at DESC, s.id LIMIT 1 OFFSET 1) AS previous ON true
      LEFT JOIN LATERAL (
           SELECT s.risk_score_1_100 FROM tenant_risk_snapshots s
            WHERE s.tenant_id = t.id AND s.computed_at <= now() - interval '7 days'
            ORDER BY s.computed_at DESC, s.id LIMIT 1) AS week ON true
      LEFT JOIN LATERAL (
           SELECT s.risk_score_1_100 FROM tenant_risk_snapshots s
            WHERE s.tenant_id = t.id AND s.computed_at <= now() - interval '30 days'
            ORDER BY s.computed_at DESC, s.id LIMIT 1) AS month ON true;
    COMMENT ON VIEW v_risk_trend IS 'The latest score of each tenant that has one, its level, and its change against the previous snapshot and against those that were the latest 7 and 30 days ago.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_risk_views() IS 'The part of install() that creates the risk views, in the first schema of search_path.';

CREATE FUNCTION securatlas._create_bad_row_check() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    DROP FUNCTION IF EXISTS fn_warn_of_bad_rows(uuid);    -- of version 0.1
    CREATE OR REPLACE FUNCTION fn_warn_of_bad_rows(only_tenant uuid, controls bigint, findings bigint)
        RETURNS void LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        selections bigint;
        costs bigint;
        total bigint;
    BEGIN
        SELECT count(*) INTO selections
          FROM tenant_framework_selections s
         WHERE (only_tenant IS NULL OR s.tenant_id = only_tenant)
           AND (s.weight >= 0 AND s.weight < 1e300) IS NOT TRUE;
        SELECT count(*) INTO costs
          FROM industry_breach_costs b
         WHERE (b.avg_breach_cost >= 0 AND b.avg_breach_cost < 1e300) IS NOT TRUE;
        total := coalesce(controls, 0) + coalesce(findings, 0) + selections + costs;
        IF total > 0 THEN
            RAISE WARNING '% rows are left out of the risk scores', total
                USING DETAIL = concat_ws(E'\n',
                    'Rows of tenant_controls whose status or maturity is out of range, or whose control is unknown: '
                        || nullif(controls, 0) || '.',
                    'Rows of integration_findings whose severity is unknown: '
                        || nullif(findings, 0) || '.',
                    'Rows of tenant_framework_selections whose weight is out of range: '
                        || nullif(selections, 0) || '.',
                    'Rows of industry_breach_costs whose cost is out of range: '
                        || nullif(costs, 0) || '.');
        END IF;
    END
    $fn$;
    COMMENT ON FUNCTION fn_warn_of_bad_rows(uuid, bigint, bigint) IS 'Warns of rows that the risk scores leave out: as many of the controls and findings of the tenants that are scored as the caller has counted, and the framework selections and breach costs, which it counts itself, of one tenant or of all (NULL).';
END
$install$;
COMMENT ON FUNCTION securatlas._create_bad_row_check() IS 'The part of install() that creates the check for rows with values out of range, in the first schema of search_path.';

CREATE FUNCTION securatlas._snapshot_id(tenant_id uuid, night text) RETURNS uuid
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_snapshot_id';
COMMENT ON FUNCTION securatlas._snapshot_id(uuid, text) IS 'The id of the snapshot of a tenant and a night (YYYY-MM-DD), always the same: a UUID of version 8 made from SHA-256, which FIPS allows.';

CREATE FUNCTION securatlas._is_distributed(relation regclass) RETURNS boolean LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM pg_catalog.pg_dist_partition p
                    WHERE p.logicalrelid = relation AND p.partmethod = 'h');
END
$fn$;
COMMENT ON FUNCTION securatlas._is_distributed(regclass) IS 'True if Citus keeps the rows of the table in shards, by a column.';

-- A query of its own, because Citus executes no query on the shards that has an aggregate of a whole
-- table in it.
CREATE FUNCTION securatlas._catalogue_query() RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT $query$
    SELECT securatlas._catalogue(control.ids, control.categories,
                                 asked.frameworks, asked.requirements, asked.controls)
      FROM (SELECT array_agg(securatlas._key(u.id)) AS ids,
                   array_agg(coalesce(nullif(securatlas._snake_case(u.category::text), ''),
                                      'uncategorized')) AS categories
              FROM unified_controls u) AS control
     CROSS JOIN (
           SELECT array_agg(securatlas._key(r.framework_id)) AS frameworks,
                  array_agg(securatlas._key(r.id)) AS requirements,
                  array_agg(securatlas._key(m.control_id)) AS controls
             FROM framework_requirements r
             LEFT JOIN control_framework_map m ON m.requirement_id = r.id) AS asked
    $query$
$fn$;
COMMENT ON FUNCTION securatlas._catalogue_query() IS 'The query that makes the catalogue of controls for _risk_query().';

-- One pass over each table. The rows of all feed one aggregate, so that no join needs a hash table of rows
-- of tenants.
--
-- With an aggregate for each tenant, rows of more tenants than fit into work_mem wait in temporary files,
-- and Citus executes it on each shard: whatever has rows of tenants is united by tenant, the rest are
-- catalogues, which each node has, and no function is volatile.
--
-- In memory it is one aggregate for all tenants, which takes half the time: one of evidence and its links,
-- one of controls, and one of all other rows, so that a parallel plan executes them at the same time. What is
-- put together then is not what they have read, but what they have counted.
CREATE FUNCTION securatlas._risk_query(in_memory boolean DEFAULT false) RETURNS text LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    -- The types must be the same in all of them, or the planner does not unite the scans.
    evidence CONSTANT text := $query$
            SELECT e.tenant_id, 2 AS kind, securatlas._key(e.id) AS item, NULL::uuid AS control,
                   NULL::text AS word, NULL::float8 AS number, NULL::float8 AS other
              FROM tenant_evidence_items e
             WHERE e.status::text = 'accepted' AND (e.expires_at IS NULL OR e.expires_at > now())
               AND (only_tenant IS NULL OR e.tenant_id = only_tenant)
            UNION ALL
            /*control_evidence_links:
            SELECT l.tenant_id, 3, securatlas._key(l.evidence_item_id), securatlas._key(l.control_id),
                   NULL::text, NULL::float8, NULL::float8
              FROM control_evidence_links l
             WHERE only_tenant IS NULL OR l.tenant_id = only_tenant*/
            /*not control_evidence_links:
            SELECT e.tenant_id, 3, securatlas._key(e.id), securatlas._key(l.control_id),
                   NULL::text, NULL::float8, NULL::float8
              FROM control_evidence_links l
              JOIN tenant_evidence_items e ON e.id = l.evidence_item_id
             WHERE only_tenant IS NULL OR e.tenant_id = only_tenant*/$query$;
    controls CONSTANT text := $query$
            SELECT c.tenant_id, 1 AS kind, NULL::uuid AS item, securatlas._key(c.control_id) AS control,
                   c.status::text AS word, c.maturity::float8 AS number, NULL::float8 AS other
              FROM tenant_controls c
             WHERE only_tenant IS NULL OR c.tenant_id = only_tenant$query$;
    others CONSTANT text := $query$
            SELECT f.tenant_id, 4 AS kind, NULL::uuid AS item, NULL::uuid AS control,
                   f.severity::text AS word, NULL::float8 AS number, NULL::float8 AS other
              FROM integration_findings f
             WHERE f.status::text = 'open' AND (only_tenant IS NULL OR f.tenant_id = only_tenant)
            UNION ALL
            SELECT s.tenant_id, 5, NULL::uuid, securatlas._key(s.framework_id),
                   NULL::text, s.weight::float8, NULL::float8
              FROM tenant_framework_selections s
             WHERE s.weight >= 0 AND s.weight < 1e300
               AND (only_tenant IS NULL OR s.tenant_id = only_tenant)
            UNION ALL
            SELECT s.tenant_id, 6, NULL::uuid, NULL::uuid, NULL::text, NULL::float8, NULL::float8
              FROM tenant_subscriptions s
             WHERE only_tenant IS NULL AND s.status::text IN ('active', 'trialing')
            UNION ALL
            SELECT t.id, 6, NULL::uuid, NULL::uuid, NULL::text, NULL::float8, NULL::float8
              FROM tenants t
             WHERE t.id = only_tenant
            UNION ALL
            SELECT t.id, 7, NULL::uuid, NULL::uuid, NULL::text,
                   CASE WHEN t.annual_revenue > 0 THEN least(t.annual_revenue, 1e300) END::float8,
                   coalesce(own.breach, other.breach)
              FROM tenants t
              LEFT JOIN cost own ON own.industry = t.industry::text
              LEFT JOIN cost other ON other.industry = 'default'
             WHERE only_tenant IS NULL OR t.id = only_tenant$query$;
    cost CONSTANT text := $query$
    WITH cost AS NOT MATERIALIZED (
        SELECT b.industry::text AS industry, max(b.avg_breach_cost)::float8 AS breach
          FROM industry_breach_costs b
         WHERE b.avg_breach_cost >= 0 AND b.avg_breach_cost < 1e300
         GROUP BY b.industry::text
    )$query$;
BEGIN
    IF in_memory THEN
        RETURN cost || replace(replace(replace($query$
    SELECT s.tenant_id, s.score, s.breakdown, s.loss, s.bad_controls, s.bad_findings
      FROM (
        SELECT securatlas._collected_facts(part.facts) AS facts
          FROM (
            SELECT securatlas._facts_of_tenants(f.tenant_id, f.kind, f.item, f.control, f.word, f.number,
                                                f.other, catalogue, asked) AS facts
              FROM (<evidence>) AS f
            UNION ALL
            SELECT securatlas._facts_of_tenants(f.tenant_id, f.kind, f.item, f.control, f.word, f.number,
                                                f.other, catalogue, asked)
              FROM (<controls>) AS f
            UNION ALL
            SELECT securatlas._facts_of_tenants(f.tenant_id, f.kind, f.item, f.control, f.word, f.number,
                                                f.other, catalogue, asked)
              FROM (<others>) AS f) AS part) AS known
     CROSS JOIN LATERAL securatlas._tenant_scores(known.facts, catalogue, weights, penalties) AS s
    $query$, '<evidence>', evidence), '<controls>', controls), '<others>', others);
    END IF;
    RETURN cost || replace($query$
    SELECT s.tenant_id, (s.result).score, (s.result).breakdown, (s.result).loss,
           (s.result).bad_controls, (s.result).bad_findings
      FROM (
        SELECT f.tenant_id,
               securatlas._tenant_score(
                   securatlas._tenant_facts(f.kind, f.item, f.control, f.word, f.number, f.other,
                                            catalogue),
                   catalogue, weights, penalties) AS result
          FROM (<rows>) AS f
         GROUP BY f.tenant_id
        HAVING securatlas._tenant_facts(f.kind, f.item, f.control, f.word, f.number, f.other,
                                        catalogue) IS NOT NULL) AS s
    $query$, '<rows>', concat_ws(' UNION ALL ', controls, others, evidence));
END
$fn$;
COMMENT ON FUNCTION securatlas._risk_query(boolean) IS 'The query that computes the scores of one tenant (only_tenant), or of each active tenant (NULL), with these weights and penalties and this catalogue of controls.
in_memory: Of the active tenants that are asked for, of whom each is named once, in memory that does not heed work_mem.';

-- Of cron, which the role of the recompute need not be able to use.
CREATE FUNCTION securatlas._begin_work(work text, phase text, total bigint) RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_begin_work';
COMMENT ON FUNCTION securatlas._begin_work(text, text, bigint) IS 'Shows in cron_stat.progress what the transaction does, until it ends; NULL: total is not known. Returns true.';
CREATE FUNCTION securatlas._work_done() RETURNS boolean
    LANGUAGE C VOLATILE COST 10 AS 'MODULE_PATHNAME', 'securatlas_work_done';
COMMENT ON FUNCTION securatlas._work_done() IS 'Counts one more as done; returns true, so that a condition can count rows.';

-- A row of evidence or of a link has about 70 bytes in its table or more, and becomes a note of 20. What
-- was collected without notes exists up to four times while it is put together. A value has up to 1 GB.
CREATE FUNCTION securatlas._facts_fit(tenants bigint, catalogue bytea, evidence regclass, links regclass)
    RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    WITH RECURSIVE part (id) AS (
        VALUES (evidence::oid), (links::oid)
        UNION
        SELECT i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.id
    )
    SELECT bool_and(c.relkind <> 'f')
           AND 4 * tenants * securatlas._facts_size(catalogue) + 0.3 * sum(pg_table_size(c.oid))
               <= least(900e6, pg_size_bytes(current_setting('work_mem'))
                               * current_setting('hash_mem_multiplier')::float8)
      FROM part JOIN pg_class c ON c.oid = part.id
$fn$;
COMMENT ON FUNCTION securatlas._facts_fit(bigint, bytea, regclass, regclass) IS 'Whether the facts of so many tenants, with these tables of evidence and its links, fit into work_mem (times hash_mem_multiplier).';

CREATE FUNCTION securatlas._create_recompute() RETURNS void LANGUAGE plpgsql
AS $install$
BEGIN
    -- RETURN QUERY, because PostgreSQL has no parallel plan for INSERT ... SELECT. JIT compilation would
    -- cost more time than it saves.
    EXECUTE securatlas._with_tenant(replace(replace($create$
    CREATE OR REPLACE FUNCTION fn_compute_risk_scores(only_tenant uuid, asked uuid[])
        RETURNS TABLE (tenant_id uuid, score int, breakdown jsonb, loss numeric,
                       bad_controls bigint, bad_findings bigint)
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
        SET jit = off
        SET work_mem = '256MB'
    AS $fn$
    #variable_conflict use_column
    DECLARE
        weights CONSTANT float8[] := securatlas.risk_weights();
        penalties CONSTANT float8[] := securatlas.risk_penalties();
        catalogue bytea;
    BEGIN
        EXECUTE securatlas._catalogue_query() INTO catalogue;
        IF only_tenant IS NULL AND securatlas._facts_fit(cardinality(asked), catalogue,
               'tenant_evidence_items', 'control_evidence_links') THEN
            -- Values in a plan would be written as text for the parallel workers, and read there.
            PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
            RETURN QUERY
            <query in memory>;
        ELSE
            -- Each process has facts of all tenants, which the leader has to put together: it does not
            -- make a third part of its own.
            PERFORM set_config('parallel_leader_participation', 'off', true);
            RETURN QUERY
            <query>;
        END IF;
    END
    $fn$ $create$, '<query>', securatlas._risk_query()), '<query in memory>',
        replace(securatlas._risk_query(true), 'only_tenant', 'NULL::uuid')));
    COMMENT ON FUNCTION fn_compute_risk_scores(uuid, uuid[]) IS 'Computes the scores of one tenant, or of each active tenant (NULL and their ids), and how many of its controls and open findings are left out of them.';

    -- The id of a snapshot is computed from the tenant and the night, or from what tells this call from
    -- others. So the primary key of the table keeps a tenant from having two for a night, whether a
    -- retry or an operator computes it again. On distributed tables Citus executes query and INSERT
    -- together on each shard, so that the rows that are left out cannot be counted on the way; one
    -- tenant is computed on its node.
    DROP FUNCTION IF EXISTS fn_write_risk_snapshots(uuid, text);    -- of version 0.1
    EXECUTE securatlas._with_tenant(replace($create$
    CREATE OR REPLACE FUNCTION fn_store_risk_snapshots(
            only_tenant uuid, snapshot_type text, OUT stored bigint, OUT last_score int)
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
        SET row_security = off
        SET plan_cache_mode = force_custom_plan
    AS $fn$
    #variable_conflict use_column
    DECLARE
        weights CONSTANT float8[] := securatlas.risk_weights();
        penalties CONSTANT float8[] := securatlas.risk_penalties();
        midnight timestamptz;
        occasion text := gen_random_uuid();
        catalogue bytea;
        controls bigint;
        findings bigint;
        tenants_to_score bigint;
        asked uuid[];
        distributed CONSTANT boolean := securatlas._is_distributed('tenant_risk_snapshots');
    BEGIN
        IF only_tenant IS NULL THEN
            SELECT count(*), array_agg(t.id) FILTER (WHERE NOT distributed) INTO tenants_to_score, asked
              FROM tenants t
              JOIN (SELECT DISTINCT s.tenant_id FROM tenant_subscriptions s
                     WHERE s.status::text IN ('active', 'trialing')) AS active ON active.tenant_id = t.id;
            PERFORM securatlas._begin_work('recompute', 'computing scores', tenants_to_score);
        END IF;
        IF snapshot_type = 'nightly' THEN
            midnight := date_trunc('day', coalesce(
                nullif(current_setting('cron.scheduled_at', true), '')::timestamptz, now()), 'UTC');
            occasion := to_char(midnight AT TIME ZONE 'UTC', 'YYYY-MM-DD');
            -- Two calls at the same time would not see each other's snapshots.
            PERFORM pg_advisory_xact_lock('tenant_risk_snapshots'::regclass::oid::bigint);
            DELETE FROM tenant_risk_snapshots s
             WHERE s.computed_at >= midnight AND s.id = securatlas._snapshot_id(s.tenant_id, occasion)
               AND (only_tenant IS NULL OR s.tenant_id = only_tenant);
        END IF;
        IF only_tenant IS NULL AND distributed THEN
            SELECT count(*) INTO controls
              FROM tenant_controls c
              JOIN (SELECT DISTINCT s.tenant_id FROM tenant_subscriptions s
                     WHERE s.status::text IN ('active', 'trialing')) AS active USING (tenant_id)
              LEFT JOIN (SELECT DISTINCT u.id FROM unified_controls u) AS known ON known.id = c.control_id
             WHERE (c.status::text = 'not_applicable'
                    OR known.id IS NOT NULL AND c.maturity >= 0 AND c.maturity <= 5
                       AND c.status::text IN ('not_started', 'in_progress', 'implemented')) IS NOT TRUE;
            SELECT count(*) INTO findings
              FROM integration_findings f
              JOIN (SELECT DISTINCT s.tenant_id FROM tenant_subscriptions s
                     WHERE s.status::text IN ('active', 'trialing')) AS active USING (tenant_id)
             WHERE f.status::text = 'open'
               AND (f.severity::text IN ('critical', 'high', 'medium', 'low')) IS NOT TRUE;
            PERFORM fn_warn_of_bad_rows(only_tenant, controls, findings);
            PERFORM securatlas._begin_work('recompute', 'computing and storing', tenants_to_score);
            EXECUTE securatlas._catalogue_query() INTO catalogue;
            INSERT INTO tenant_risk_snapshots
                   (id, tenant_id, risk_score_1_100, category_breakdown, annualized_loss_expectancy,
                    computed_at, snapshot_type)
            SELECT securatlas._snapshot_id(s.tenant_id, occasion), s.tenant_id, s.score, s.breakdown,
                   s.loss, now(), snapshot_type
              FROM (<query>) AS s (tenant_id, score, breakdown, loss, bad_controls, bad_findings);
        ELSE
            -- Checks of foreign keys would make a plan for each row.
            PERFORM set_config('plan_cache_mode', 'auto', true);
            WITH scored AS MATERIALIZED (
                SELECT * FROM fn_compute_risk_scores(only_tenant, asked)
            ), warned AS MATERIALIZED (
                SELECT fn_warn_of_bad_rows(only_tenant, sum(s.bad_controls)::bigint,
                                           sum(s.bad_findings)::bigint),
                       only_tenant IS NOT NULL
                       OR securatlas._begin_work('recompute', 'storing snapshots', count(*))
                  FROM scored s
            )
            INSERT INTO tenant_risk_snapshots
                   (id, tenant_id, risk_score_1_100, category_breakdown, annualized_loss_expectancy,
                    computed_at, snapshot_type)
            SELECT securatlas._snapshot_id(s.tenant_id, occasion), s.tenant_id, s.score, s.breakdown,
                   s.loss, now(), snapshot_type
              FROM scored s CROSS JOIN warned
             WHERE securatlas._work_done();
        END IF;
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF only_tenant IS NOT NULL THEN
            SELECT s.risk_score_1_100 INTO last_score
              FROM tenant_risk_snapshots s
             WHERE s.tenant_id = only_tenant AND s.id = securatlas._snapshot_id(only_tenant, occasion);
        END IF;
    END
    $fn$ $create$, '<query>', securatlas._risk_query()));
    COMMENT ON FUNCTION fn_store_risk_snapshots(uuid, text) IS 'Stores a snapshot for one tenant, or for each active tenant (NULL); returns how many, and the score of the one. A nightly snapshot replaces the one of the same tenant and night.';

    CREATE OR REPLACE FUNCTION fn_recompute_all_tenant_risk_scores() RETURNS bigint
        LANGUAGE sql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
        SELECT stored
          FROM fn_store_risk_snapshots(NULL, CASE WHEN current_setting('cron.run_id', true) <> ''
                                                  THEN 'nightly' ELSE 'manual' END)
    $fn$;
    COMMENT ON FUNCTION fn_recompute_all_tenant_risk_scores() IS 'Stores a risk snapshot for each active tenant; returns their number.';

    CREATE OR REPLACE FUNCTION fn_recompute_tenant_risk_score(tenant_id uuid) RETURNS int
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path FROM CURRENT
    AS $fn$
    #variable_conflict use_variable
    DECLARE
        score int;
    BEGIN
        SELECT last_score INTO score
          FROM fn_store_risk_snapshots(tenant_id, 'event') WHERE tenant_id IS NOT NULL;
        IF score IS NULL THEN
            RAISE EXCEPTION 'tenant "%" does not exist', coalesce(tenant_id::text, 'NULL')
                USING ERRCODE = 'no_data_found';
        END IF;
        RETURN score;
    END
    $fn$;
    COMMENT ON FUNCTION fn_recompute_tenant_risk_score(uuid) IS 'Stores a risk snapshot for one tenant; returns its score.';
END
$install$;
COMMENT ON FUNCTION securatlas._create_recompute() IS 'The part of install() that creates the recompute functions, in the first schema of search_path.';
