-- Schema securatlas: what lets Citus distribute the tables by tenant, and execute the recompute on each shard.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
CREATE SCHEMA by_tenant;
SET search_path = by_tenant;
SELECT securatlas.install('by_tenant', schedule_jobs => false);

-- Each unique key of a table with data of tenants holds the tenant, and so does each foreign key between such tables.
CREATE TEMP VIEW tenant_column AS
SELECT c.oid AS relation, a.attnum
  FROM securatlas._tables() AS t
  JOIN pg_class c ON c.relname = t.name AND c.relnamespace = 'by_tenant'::regnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = CASE t.name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
 WHERE t.tenant_data;
SELECT count(*) FILTER (WHERE t.tenant_data) = (SELECT count(*) FROM tenant_column) AS each_has_one FROM securatlas._tables() AS t;
SELECT i.indexrelid::regclass FROM tenant_column t JOIN pg_index i ON i.indrelid = t.relation
 WHERE i.indisunique AND t.attnum <> ALL (i.indkey);
SELECT count(*) > 5 AS keys FROM tenant_column t JOIN pg_index i ON i.indrelid = t.relation WHERE i.indisunique;
SELECT c.conrelid::regclass, c.conname
  FROM pg_constraint c JOIN tenant_column own ON own.relation = c.conrelid JOIN tenant_column other ON other.relation = c.confrelid
 WHERE c.contype = 'f' AND array_position(c.conkey, own.attnum) IS DISTINCT FROM array_position(c.confkey, other.attnum);
SELECT count(*) > 5 AS keys FROM pg_constraint c JOIN tenant_column t ON t.relation = c.conrelid WHERE c.contype = 'f';

-- No function in the recompute is volatile. A view's rule has the oids of all that its query calls.
CREATE FUNCTION pg_temp.volatile_in(query text, OUT all_functions bigint, OUT volatile_ones text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'CREATE TEMP VIEW looked_at AS ' || query;
    SELECT count(*), string_agg(p.oid::regprocedure::text, ', ') FILTER (WHERE p.provolatile = 'v')
      INTO all_functions, volatile_ones
      FROM pg_proc p
     WHERE p.oid IN (SELECT m[1]::oid
                       FROM pg_rewrite r, regexp_matches(r.ev_action::text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS m
                      WHERE r.ev_class = 'looked_at'::regclass);
    DROP VIEW looked_at;
END $$;
SELECT volatile_ones FROM pg_temp.volatile_in('SELECT gen_random_uuid() AS id, 1 + random()');
CREATE TEMP VIEW filled (text) AS
SELECT regexp_replace(replace(securatlas._with_tenant(securatlas._risk_query()), 'only_tenant', 'NULL::uuid'), 'catalogue([,)])', 'NULL::bytea\1', 'g');
SELECT all_functions > 15 AS many, volatile_ones
  FROM filled, pg_temp.volatile_in(format(
       $$ SELECT securatlas._snapshot_id(s.tenant_id, 'x') AS id, s.*, now() FROM (%s) AS s (tenant_id, score, breakdown, loss, controls, findings) $$,
       replace(filled.text, 'weights, penalties', 'securatlas.risk_weights(), securatlas.risk_penalties()')));

-- Tables that existed before and have no tenant are used without it; new tables refer to them by id.
CREATE SCHEMA by_id;
CREATE TABLE by_id.tenant_evidence_items (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid, status text, expires_at timestamptz);
CREATE TABLE by_id.integration_sync_jobs (id uuid, connection_id uuid, status text, request_id bigint, attempts int, error text,
    created_at timestamptz, dispatched_at timestamptz, completed_at timestamptz);
SELECT securatlas.install('by_id', schedule_jobs => false);
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'by_id.control_evidence_links'::regclass AND confrelid = 'by_id.tenant_evidence_items'::regclass;
SELECT p.pronamespace::regnamespace AS schema, p.proname, p.prosrc ~ '\n +SELECT l\.tenant_id, 3' AS links_by_tenant,
       p.prosrc ~ ' j\.tenant_id = c\.tenant_id AND j' AS jobs_by_tenant
  FROM pg_proc p WHERE p.pronamespace IN ('by_tenant'::regnamespace, 'by_id'::regnamespace)
   AND p.proname IN ('fn_compute_risk_scores', 'fn_queue_sync') ORDER BY 1, 2;
SET search_path = by_id;
SELECT securatlas.load_demo(5, 1, 'by_id');
SELECT fn_recompute_all_tenant_risk_scores() > 0 AS computed;
SELECT securatlas.load_demo(5, 1, 'by_tenant');
SELECT by_tenant.fn_recompute_all_tenant_risk_scores() > 0 AS computed;
SELECT count(*) AS different
  FROM by_id.tenant_risk_snapshots a FULL JOIN by_tenant.tenant_risk_snapshots b USING (tenant_id, risk_score_1_100, category_breakdown)
 WHERE a.id IS NULL OR b.id IS NULL;
-- A column with that name of another type does not fit.
CREATE SCHEMA by_text;
CREATE TABLE by_text.control_evidence_links (evidence_item_id uuid, control_id uuid, tenant_id text NOT NULL);
CREATE TABLE by_text.integration_connections (id uuid, tenant_id uuid, provider_id uuid, status text, auth_type text, access_token_name text,
    refresh_token_name text, token_expires_at timestamptz, last_synced_at timestamptz, last_error text);
CREATE UNIQUE INDEX ON by_text.integration_connections (id, (status || ''));
SELECT securatlas.install('by_text', schedule_jobs => false);

RESET search_path;
DROP SCHEMA by_tenant, by_id, by_text CASCADE;
