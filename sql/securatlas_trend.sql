-- Schema securatlas: the trend of the scores, and one nightly snapshot a tenant and night.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
CREATE SCHEMA trend;
SELECT securatlas.install('trend', schedule_jobs => false);
SET search_path = trend;
CREATE FUNCTION pg_temp.t(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
INSERT INTO tenants (id, name) SELECT pg_temp.t(n), 'T' || n FROM generate_series(1, 12) AS n;

-- 1: every night for forty days, a point a night; 2: only one; 3: none. 4 to 11: the levels.
INSERT INTO tenant_risk_snapshots (tenant_id, risk_score_1_100, category_breakdown, computed_at, snapshot_type)
SELECT pg_temp.t(1), 50 - d, '{}'::jsonb, now() - d * interval '1 day', 'nightly' FROM generate_series(0, 40) AS d
UNION ALL SELECT pg_temp.t(2), 10, '{}', now() - interval '8 days', 'event'
UNION ALL SELECT pg_temp.t(3 + n), (ARRAY[0, 20, 21, 40, 41, 60, 61, 80])[n], '{}', now(), 'manual' FROM generate_series(1, 8) AS n
UNION ALL SELECT pg_temp.t(12), 81, '{}', now() - interval '6 days 23 hours', 'nightly'
UNION ALL SELECT pg_temp.t(12), 100, '{}', now() - interval '1 hour', 'manual';
SELECT t.name, v.risk_score_1_100 AS score, v.level, v.change, v.change_7_days, v.change_30_days,
       v.snapshot_type, v.computed_at = (SELECT max(s.computed_at) FROM tenant_risk_snapshots s WHERE s.tenant_id = t.id) AS latest
  FROM v_risk_trend v JOIN tenants t ON t.id = v.tenant_id ORDER BY t.id;

-- Whoever sees no snapshot by row level security sees no trend.
CREATE ROLE regress_trend_reader;
GRANT USAGE ON SCHEMA trend TO regress_trend_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA trend TO regress_trend_reader;
SET ROLE regress_trend_reader;
SELECT count(*) FROM v_risk_trend;
RESET ROLE;
CREATE POLICY one ON tenants TO regress_trend_reader USING (name = 'T12');
CREATE POLICY one ON tenant_risk_snapshots TO regress_trend_reader USING (risk_score_1_100 > 80);
SET ROLE regress_trend_reader;
SELECT risk_score_1_100, level FROM v_risk_trend;
RESET ROLE;

-- ==== one snapshot a tenant and night ==========================================================
-- In one transaction, so that midnight cannot come in between.
BEGIN;
TRUNCATE tenant_risk_snapshots;
INSERT INTO tenant_subscriptions SELECT id, 'starter', 'active' FROM tenants WHERE name IN ('T1', 'T2', 'T3');
SELECT stored FROM fn_store_risk_snapshots(NULL, 'nightly');
SELECT stored FROM fn_store_risk_snapshots(NULL, 'nightly');
SELECT tenant_id, count(*) FROM tenant_risk_snapshots GROUP BY 1 ORDER BY 1;
-- The later one counts.
INSERT INTO compliance_frameworks VALUES (pg_temp.t(1), 'f', 'F');
INSERT INTO framework_requirements VALUES (pg_temp.t(1), pg_temp.t(1), 'R');
INSERT INTO unified_controls (id, control_key, title, category, severity) VALUES (pg_temp.t(1), 'A-1', 'a', 'b', 1);
INSERT INTO control_framework_map VALUES (pg_temp.t(1), pg_temp.t(1));
INSERT INTO tenant_controls VALUES (pg_temp.t(2), pg_temp.t(1), 'implemented', 5);
INSERT INTO tenant_framework_selections VALUES (pg_temp.t(2), pg_temp.t(1));
SELECT stored FROM fn_store_risk_snapshots(NULL, 'nightly');
SELECT tenant_id, risk_score_1_100 FROM tenant_risk_snapshots ORDER BY 1;
-- Others are as many as are asked for, and the night before has its own.
SELECT fn_recompute_all_tenant_risk_scores();
SELECT fn_recompute_tenant_risk_score(pg_temp.t(1));
SELECT fn_recompute_tenant_risk_score(pg_temp.t(1));
UPDATE tenant_risk_snapshots s
   SET computed_at = s.computed_at - interval '1 day',
       id = securatlas._snapshot_id(s.tenant_id, to_char((s.computed_at AT TIME ZONE 'UTC') - interval '1 day', 'YYYY-MM-DD'))
 WHERE s.snapshot_type = 'nightly';
SELECT stored FROM fn_store_risk_snapshots(NULL, 'nightly');
SELECT snapshot_type, count(*) FROM tenant_risk_snapshots GROUP BY 1 ORDER BY 1;
-- The key itself keeps a second one out. Its text holds an id that is made of the date.
\set VERBOSITY sqlstate
INSERT INTO tenant_risk_snapshots SELECT * FROM tenant_risk_snapshots WHERE snapshot_type = 'nightly' AND tenant_id = pg_temp.t(3) AND computed_at > now() - interval '12 hours';
\set VERBOSITY default
COMMIT;

RESET search_path;
DROP SCHEMA trend CASCADE;
DROP OWNED BY regress_trend_reader;
DROP ROLE regress_trend_reader;
