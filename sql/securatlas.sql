-- Schema securatlas: install, the scoring rule, recompute, sync, token refresh, uninstall.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
CREATE SCHEMA atlas;
\set SHOW_CONTEXT never

-- ==== the rule ================================================================================
SELECT * FROM securatlas.risk_rule ORDER BY kind DESC, value DESC;
SELECT securatlas.risk_weights(), securatlas.risk_penalties();

-- 0.35 x 68 + 0.25 x 75 + 0.25 x 40 + 0.15 x 77.5 = 64.175; P = 0.32 of 3 000 000
SELECT * FROM securatlas.risk_score(3.4, 0.75, 40, 1, 2, 1, 1, 4880000, 10000000,
                                    securatlas.risk_weights(), securatlas.risk_penalties());
-- no data: 0.15 x 100; no cost: no expectancy
SELECT * FROM securatlas.risk_score(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                    securatlas.risk_weights(), securatlas.risk_penalties());
-- 0.35 x 90 = 31.5, half away from zero; a value of a category, 62.5, too
SELECT score, evidence_coverage
  FROM securatlas.risk_score(4.5, 0, 0, 10, 0, 0, 0, NULL, NULL,
                             securatlas.risk_weights(), securatlas.risk_penalties());
SELECT evidence_coverage
  FROM securatlas.risk_score(0, 0.625, 0, 10, 0, 0, 0, NULL, NULL,
                             securatlas.risk_weights(), securatlas.risk_penalties());

SELECT securatlas.risk_score(1, 1, 1, 0, 0, 0, 0, 1, 1, '{0.5,0.5,0.5,0}', '{1,1,1,1}');
SELECT securatlas.risk_score(1, 1, 1, 0, 0, 0, 0, 1, 1, '{0.5,0.5}', '{1,1,1,1}');
SELECT securatlas.risk_score(1, 1, 1, 0, 0, 0, 0, 1, 1, '{0.5,0.5,0,NULL}', '{1,1,1,1}');
SELECT securatlas.risk_score(1, 1, 1, 0, 0, 0, 0, 1, 1, '{1,0,0,0}', NULL);

-- What is known of a tenant. A UUID is its own key; ids of other types are compared by their text.
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
SELECT securatlas._key(pg_temp.id(7)), securatlas._key(7), securatlas._key(NULL::int) IS NULL AS nothing,
       securatlas._key(7) = securatlas._key(7::bigint) AS same, securatlas._key(repeat('a', 15)) AS short,
       securatlas._key(repeat('a', 16)) AS long, securatlas._key(repeat('a', 16)) = securatlas._key(repeat('a', 17)) AS differ;
-- Control 3 is only named by a requirement; framework 2 has a requirement that asks for nothing.
CREATE TEMP TABLE known AS
SELECT securatlas._catalogue(ARRAY[pg_temp.id(1), pg_temp.id(2), NULL], '{first,second,third}',
           ARRAY[pg_temp.id(1), pg_temp.id(1), pg_temp.id(1), pg_temp.id(2), pg_temp.id(2), NULL],
           ARRAY[pg_temp.id(11), pg_temp.id(11), pg_temp.id(12), pg_temp.id(21), pg_temp.id(22), pg_temp.id(31)],
           ARRAY[pg_temp.id(1), pg_temp.id(3), pg_temp.id(2), pg_temp.id(1), NULL, pg_temp.id(1)]) AS catalogue;
CREATE TEMP TABLE fact (tenant int, kind int, item int, control int, word text, number float8, other float8);
-- Maturity 4.5 and 2; two of the four rows that are left out have no known control.
INSERT INTO fact (tenant, kind, control, word, number) VALUES
    (1, 1, 1, 'implemented', 4.5), (1, 1, 2, 'in_progress', 2), (1, 1, 3, 'not_applicable', NULL),
    (1, 1, 77, 'implemented', 1), (1, 1, NULL, 'implemented', 1), (1, 1, 2, 'odd', 1), (1, 1, 2, NULL, 1);
-- Of the two controls the first is proven; other links are of items that are not valid, or of no control.
INSERT INTO fact (tenant, kind, item, control) VALUES
    (1, 3, 51, 1), (1, 3, 52, 2), (1, 3, 51, 77), (1, 3, NULL, 2), (1, 3, 51, NULL),
    (1, 2, 51, NULL), (1, 2, 53, NULL), (1, 2, NULL, NULL);
INSERT INTO fact (tenant, kind, word) VALUES (1, 4, 'high'), (1, 4, 'low'), (1, 4, 'odd'), (1, 4, NULL);
-- Half of the requirements of each framework are met, none of one without requirements.
INSERT INTO fact (tenant, kind, control, number) VALUES (1, 5, 1, 3), (1, 5, 2, 3), (1, 5, 9, 1), (1, 5, NULL, 1);
INSERT INTO fact (tenant, kind, number, other) VALUES (1, 6, NULL, NULL), (1, 7, 1000, 500);
-- Nothing is known; not asked for; not there; no such kind.
INSERT INTO fact (tenant, kind) VALUES (2, 6), (2, 7), (3, 7), (4, 6), (5, 99), (6, NULL);
CREATE TEMP VIEW scored AS
SELECT f.tenant, s.*
  FROM (SELECT f.tenant, k.catalogue,
               securatlas._tenant_facts(f.kind, pg_temp.id(f.item), pg_temp.id(f.control), f.word, f.number, f.other, k.catalogue) AS facts
          FROM fact f CROSS JOIN known k GROUP BY f.tenant, k.catalogue) AS f
 CROSS JOIN LATERAL securatlas._tenant_score(f.facts, f.catalogue, securatlas.risk_weights(), securatlas.risk_penalties()) AS s;
SELECT * FROM scored ORDER BY tenant;
-- More notes than fit into a piece of memory.
INSERT INTO fact SELECT 7, kind, n, CASE kind WHEN 3 THEN 1 + n % 2 END FROM generate_series(100, 400) AS n, generate_series(2, 3) AS kind;
INSERT INTO fact (tenant, kind, control, word, number) VALUES
    (7, 6, NULL, NULL, NULL), (7, 7, NULL, NULL, NULL), (7, 1, 1, 'in_progress', 1), (7, 1, 2, 'in_progress', 1);
SELECT tenant, breakdown -> 'evidence_coverage' AS coverage FROM scored WHERE tenant = 7;
DELETE FROM fact WHERE tenant = 7 AND kind = 2 AND item % 2 = 0;
SELECT tenant, breakdown -> 'evidence_coverage' AS coverage FROM scored WHERE tenant = 7;
SELECT securatlas._catalogue('{}', '{a}', NULL, NULL, NULL);
SELECT securatlas._tenant_facts(6, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT securatlas._tenant_facts(6, NULL, NULL, NULL, NULL, NULL, '\x00');
SELECT (securatlas._tenant_score('\x00', k.catalogue, '{0.5,0.5,0,0}', '{1,1,1,1}')).score FROM known k;
SELECT (securatlas._tenant_score(f.facts, securatlas._catalogue(NULL, NULL, NULL, NULL, NULL), '{0.5,0.5,0,0}', '{1,1,1,1}')).score
  FROM (SELECT securatlas._tenant_facts(kind, NULL, NULL, NULL, NULL, NULL, k.catalogue) AS facts FROM known k, (VALUES (6), (7)) AS v (kind)) AS f;
SELECT (securatlas._tenant_score(f.facts, k.catalogue, '{0.5,0.5,0,0}', NULL)).score
  FROM known k, (SELECT securatlas._tenant_facts(kind, NULL, NULL, NULL, NULL, NULL, k.catalogue) AS facts FROM known k, (VALUES (6), (7)) AS v (kind)) AS f;
-- The same by one aggregate for all tenants, or by two, of which one has evidence and links. Rows of others
-- and of no tenant have no effect.
CREATE FUNCTION pg_temp.facts(evidence boolean, asked int[]) RETURNS bytea LANGUAGE sql AS $$
    SELECT securatlas._facts_of_tenants(pg_temp.id(f.tenant), f.kind, pg_temp.id(f.item), pg_temp.id(f.control), f.word,
                                        f.number, f.other, k.catalogue, (SELECT array_agg(pg_temp.id(a)) FROM unnest(asked) AS a))
      FROM fact f CROSS JOIN known k WHERE evidence IS NULL OR evidence = (f.kind IN (2, 3)) $$;
INSERT INTO fact (tenant, kind) VALUES (NULL, 6), (NULL, 7);
SELECT pg_temp.facts(NULL, '{1,2}') IS NOT NULL AS made;
CREATE TEMP VIEW scored_together AS
SELECT v.parts, s.*
  FROM known k
 CROSS JOIN LATERAL (VALUES (1, pg_temp.facts(NULL, '{1,2,3,4,5,6,7}')),
                            (2, (SELECT securatlas._collected_facts(pg_temp.facts(evidence, '{7,6,1,2,3,4,5}'))
                                   FROM unnest('{true,false}'::boolean[]) AS evidence))) AS v (parts, facts)
 CROSS JOIN LATERAL securatlas._tenant_scores(v.facts, k.catalogue, securatlas.risk_weights(), securatlas.risk_penalties()) AS s;
SELECT t.parts, count(*) AS scored, count(*) FILTER (WHERE (t.score, t.breakdown, t.loss, t.bad_controls, t.bad_findings)
           IS DISTINCT FROM (s.score, s.breakdown, s.loss, s.bad_controls, s.bad_findings)) AS different
  FROM scored_together t LEFT JOIN (SELECT * FROM scored WHERE score IS NOT NULL) AS s ON pg_temp.id(s.tenant) = t.tenant_id
 GROUP BY t.parts ORDER BY t.parts;
SELECT count(*) AS scored FROM scored WHERE score IS NOT NULL AND tenant IS NOT NULL;
SELECT s.tenant_id, s.score FROM known k, securatlas._tenant_scores(pg_temp.facts(NULL, '{2,99}'), k.catalogue,
    '{0.5,0.5,0,0}', '{1,1,1,1}') AS s;
SELECT count(*) AS of_none FROM known k, securatlas._tenant_scores(pg_temp.facts(NULL, NULL), k.catalogue,
    '{0.5,0.5,0,0}', '{1,1,1,1}');
SELECT count(*) AS of_nothing FROM known k, securatlas._tenant_scores(NULL, k.catalogue, '{0.5,0.5,0,0}', '{1,1,1,1}');
SELECT securatlas._facts_of_tenants(pg_temp.id(1), 6, NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[pg_temp.id(1)]);
SELECT securatlas._facts_of_tenants(pg_temp.id(1), 6, NULL, NULL, NULL, NULL, NULL, k.catalogue, ARRAY[pg_temp.id(1)]) OVER () FROM known k;
SELECT securatlas._collected_facts(v.facts) AS nothing FROM (VALUES (NULL::bytea), (NULL)) AS v (facts);
SELECT securatlas._collected_facts(v.facts) FROM (VALUES ('\x00'::bytea)) AS v (facts);
SELECT count(*) FROM known k, securatlas._tenant_scores('\x00', k.catalogue, '{0.5,0.5,0,0}', '{1,1,1,1}');
SELECT count(*) FROM known k, securatlas._tenant_scores(pg_temp.facts(NULL, '{2}'),
    securatlas._catalogue(NULL, NULL, NULL, NULL, NULL), '{0.5,0.5,0,0}', '{1,1,1,1}');
SELECT count(*) FROM known k, securatlas._tenant_scores(pg_temp.facts(NULL, '{2}'), k.catalogue, '{0.5,0.5,0,0}', NULL);
-- The id of a snapshot is made of the tenant and a text, in any encoding.
SELECT replace(securatlas._snapshot_id(pg_temp.id(1), t)::text, '-', '')
       = overlay(left(encode(sha256(uuid_send(pg_temp.id(1)) || convert_to(t, 'UTF8')), 'hex'), 32) PLACING '8' FROM 13 FOR 1) AS same
  FROM (VALUES ('2026-11-27'), (''), (repeat('x', 5000)), ('a' || chr(252) || chr(20013))) AS v (t);
-- Whether they fit is estimated from the number of tenants, the catalogue and the tables with evidence.
CREATE TABLE evidence (id uuid) PARTITION BY HASH (id);
CREATE TABLE evidence_part PARTITION OF evidence FOR VALUES WITH (modulus 1, remainder 0);
SELECT securatlas._facts_fit(100, k.catalogue, 'evidence', 'fact') AS few, securatlas._facts_fit(1000000, k.catalogue, 'evidence', 'fact') AS many,
       securatlas._facts_fit(NULL, k.catalogue, 'evidence', 'fact') AS nobody FROM known k;
INSERT INTO evidence SELECT pg_temp.id(n) FROM generate_series(1, 20000) AS n;
SET work_mem = '128kB';
SELECT securatlas._facts_fit(100, k.catalogue, 'fact', 'fact') AS fact, securatlas._facts_fit(100, k.catalogue, 'evidence', 'fact') AS evidence,
       securatlas._facts_fit(100, k.catalogue, 'fact', 'evidence') AS links FROM known k;
RESET work_mem;
DROP TABLE evidence;
DROP VIEW scored, scored_together;
DROP TABLE fact, known;

-- The rule's table keeps itself sane, at commit.
UPDATE securatlas.risk_rule SET value = 0.40 WHERE name = 'control_maturity';
DELETE FROM securatlas.risk_rule WHERE name = 'low';
INSERT INTO securatlas.risk_rule VALUES ('penalty', 'unknown', 1);
UPDATE securatlas.risk_rule SET value = -1 WHERE name = 'low';
TRUNCATE securatlas.risk_rule;
BEGIN;
UPDATE securatlas.risk_rule SET value = 0.40 WHERE name = 'control_maturity';
UPDATE securatlas.risk_rule SET value = 0.10 WHERE name = 'integration_findings';
COMMIT;
SELECT securatlas.risk_weights();
-- A restored dump inserts what is there already.
INSERT INTO securatlas.risk_rule VALUES ('weight', 'control_maturity', 0.35),
                                        ('weight', 'integration_findings', 0.15);
SELECT securatlas.risk_weights();

-- ==== install ==================================================================================
SELECT securatlas.install('atlas');
SELECT securatlas.install('atlas');
SELECT jobname, schedule, command, timezone FROM cron.job
 WHERE jobname IN ('nightly_risk_recompute', 'securatlas_nightly_integration_sync',
                   'token_refresh_cron', 'frequent_integration_sync')
 ORDER BY jobname;
SELECT j.jobname, a.jobname AS after, d.condition
  FROM cron.job_dependency d
  JOIN cron.job j ON j.jobid = d.jobid JOIN cron.job a ON a.jobid = d.after_jobid
 WHERE j.jobname = 'securatlas_nightly_integration_sync';
SELECT relname, relrowsecurity FROM pg_class
 WHERE relnamespace = 'atlas'::regnamespace AND relkind = 'r' ORDER BY relname;
-- Every function runs as its owner, with a fixed path, and is nobody else's.
SELECT proname, prosecdef, proconfig[1] AS path, proacl IS NOT NULL AND NOT EXISTS (
           SELECT FROM aclexplode(proacl) WHERE grantee = 0) AS revoked
  FROM pg_proc WHERE pronamespace = 'atlas'::regnamespace ORDER BY proname;
-- Everything has a comment.
SELECT c.oid::regclass AS uncommented FROM pg_class c
 WHERE c.relnamespace IN ('atlas'::regnamespace, 'securatlas'::regnamespace)
   AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL
UNION ALL
SELECT p.oid FROM pg_proc p
 WHERE p.pronamespace IN ('atlas'::regnamespace, 'securatlas'::regnamespace)
   AND obj_description(p.oid, 'pg_proc') IS NULL;
-- Nothing belongs to the extension.
SELECT count(*) FROM pg_depend d
 WHERE d.deptype = 'e' AND d.objid IN (
    SELECT oid FROM pg_class WHERE relnamespace = 'atlas'::regnamespace
    UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'atlas'::regnamespace);
-- The path of the caller is as it was.
SHOW search_path;

-- ==== hand-computed tenants ====================================================================
BEGIN;
SET LOCAL search_path = atlas, public;
INSERT INTO tenants (id, name, industry, annual_revenue) VALUES
    ('00000000-0000-0000-0000-00000000000a', 'A', 'healthcare', 10000000),
    ('00000000-0000-0000-0000-00000000000b', 'B', NULL, NULL),
    ('00000000-0000-0000-0000-00000000000c', 'C', 'unheard of', 0),
    ('00000000-0000-0000-0000-00000000000d', 'D', 'retail', 1);
-- A is active twice, D is not.
INSERT INTO tenant_subscriptions VALUES
    ('00000000-0000-0000-0000-00000000000a', 'premium', 'active'),
    ('00000000-0000-0000-0000-00000000000a', 'premium', 'trialing'),
    ('00000000-0000-0000-0000-00000000000b', 'starter', 'trialing'),
    ('00000000-0000-0000-0000-00000000000c', 'starter', 'active'),
    ('00000000-0000-0000-0000-00000000000d', 'premium', 'past_due'),
    ('00000000-0000-0000-0000-00000000000d', 'premium', 'canceled');
INSERT INTO unified_controls (id, control_key, title, category, severity) VALUES
    ('00000000-0000-0000-0001-000000000001', 'AC-1', 't', 'Access Control', 1),
    ('00000000-0000-0000-0001-000000000002', 'AC-2', 't', 'access-control', 1),
    ('00000000-0000-0000-0001-000000000003', 'DP-1', 't', 'DataProtection', 1),
    ('00000000-0000-0000-0001-000000000004', 'DP-2', 't', ' Data  Protection ', 1),
    ('00000000-0000-0000-0001-000000000005', 'IR-1', 't', 'Incident Response', 1);
-- A: maturity (4 + 3 + 2 + 4) / 4 = 3.25: 65; IR-1 is not applicable
INSERT INTO tenant_controls VALUES
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0001-000000000001', 'implemented', 4),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0001-000000000002', 'implemented', 3),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0001-000000000003', 'in_progress', 2),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0001-000000000004', 'implemented', 4),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0001-000000000005', 'not_applicable', 5);
-- Evidence for AC-1 (twice) and IR-1 counts as 1 of 4: 25. AC-2's is expired, DP-1's rejected,
-- DP-2's pending, and the item of B proves nothing for A.
INSERT INTO tenant_evidence_items VALUES
    ('00000000-0000-0000-0002-000000000001', '00000000-0000-0000-0000-00000000000a', 'accepted', NULL),
    ('00000000-0000-0000-0002-000000000002', '00000000-0000-0000-0000-00000000000a', 'accepted', now() + interval '1 hour'),
    ('00000000-0000-0000-0002-000000000003', '00000000-0000-0000-0000-00000000000a', 'accepted', now()),
    ('00000000-0000-0000-0002-000000000004', '00000000-0000-0000-0000-00000000000a', 'rejected', NULL),
    ('00000000-0000-0000-0002-000000000005', '00000000-0000-0000-0000-00000000000a', 'pending', NULL),
    ('00000000-0000-0000-0002-000000000006', '00000000-0000-0000-0000-00000000000b', 'accepted', NULL);
INSERT INTO control_evidence_links (tenant_id, evidence_item_id, control_id) VALUES
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0002-000000000001', '00000000-0000-0000-0001-000000000001'),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0002-000000000002', '00000000-0000-0000-0001-000000000001'),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0002-000000000002', '00000000-0000-0000-0001-000000000005'),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0002-000000000003', '00000000-0000-0000-0001-000000000002'),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0002-000000000004', '00000000-0000-0000-0001-000000000003'),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0002-000000000005', '00000000-0000-0000-0001-000000000004'),
    ('00000000-0000-0000-0000-00000000000b', '00000000-0000-0000-0002-000000000006', '00000000-0000-0000-0001-000000000002');
-- F1: R1 (AC-1, IR-1) met, R2 (AC-1, DP-1) not, R3 (nothing) not, R4 (AC-2) met: 50, weight 3.
-- F2: R5 (AC-1) met: 100, weight 1. Together 62.5. F3 has no requirements: 0, weight 0.
INSERT INTO compliance_frameworks VALUES
    ('00000000-0000-0000-0003-000000000001', 'f1', 'F1'),
    ('00000000-0000-0000-0003-000000000002', 'f2', 'F2'),
    ('00000000-0000-0000-0003-000000000003', 'f3', 'F3');
INSERT INTO framework_requirements VALUES
    ('00000000-0000-0000-0004-000000000001', '00000000-0000-0000-0003-000000000001', 'R1'),
    ('00000000-0000-0000-0004-000000000002', '00000000-0000-0000-0003-000000000001', 'R2'),
    ('00000000-0000-0000-0004-000000000003', '00000000-0000-0000-0003-000000000001', 'R3'),
    ('00000000-0000-0000-0004-000000000004', '00000000-0000-0000-0003-000000000001', 'R4'),
    ('00000000-0000-0000-0004-000000000005', '00000000-0000-0000-0003-000000000002', 'R5');
INSERT INTO control_framework_map (requirement_id, control_id) VALUES
    ('00000000-0000-0000-0004-000000000001', '00000000-0000-0000-0001-000000000001'),
    ('00000000-0000-0000-0004-000000000001', '00000000-0000-0000-0001-000000000005'),
    ('00000000-0000-0000-0004-000000000002', '00000000-0000-0000-0001-000000000001'),
    ('00000000-0000-0000-0004-000000000002', '00000000-0000-0000-0001-000000000003'),
    ('00000000-0000-0000-0004-000000000004', '00000000-0000-0000-0001-000000000002'),
    ('00000000-0000-0000-0004-000000000005', '00000000-0000-0000-0001-000000000001');
INSERT INTO tenant_framework_selections VALUES
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0003-000000000001', 3),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0003-000000000002', 1),
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0003-000000000003', 0),
    ('00000000-0000-0000-0000-00000000000b', '00000000-0000-0000-0003-000000000002', 1);
-- A: 100 - (10 + 2 x 5 + 2 + 0.5) = 77.5, of which the closed findings are no part.
-- C: 11 critical ones, below zero.
INSERT INTO integration_providers (id, key) VALUES ('00000000-0000-0000-0005-000000000001', 'aws');
INSERT INTO integration_connections (id, tenant_id, provider_id, auth_type) VALUES
    ('00000000-0000-0000-0006-00000000000a', '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0005-000000000001', 'api_key'),
    ('00000000-0000-0000-0006-00000000000c', '00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0005-000000000001', 'api_key');
INSERT INTO integration_findings (connection_id, tenant_id, severity, status)
SELECT '00000000-0000-0000-0006-00000000000a'::uuid, '00000000-0000-0000-0000-00000000000a'::uuid, severity, status
  FROM (VALUES ('critical', 'open'), ('high', 'open'), ('high', 'open'), ('medium', 'open'),
               ('low', 'open'), ('critical', 'resolved'), ('high', 'suppressed')) AS f (severity, status)
UNION ALL
SELECT '00000000-0000-0000-0006-00000000000c', '00000000-0000-0000-0000-00000000000c', 'critical', 'open'
  FROM generate_series(1, 11);

SELECT tenant_id, framework_id, round(readiness, 2) AS readiness
  FROM v_framework_readiness ORDER BY tenant_id, framework_id;
SELECT fn_recompute_all_tenant_risk_scores();
-- A: 0.35 x 65 + 0.25 x 25 + 0.25 x 62.5 + 0.15 x 77.5 = 56.25; P = 0.38 of 3 000 000
-- B: 15; P = 0.6875 of the default cost. C: 0; P = 0.80 of it.
SELECT t.name, s.risk_score_1_100, s.annualized_loss_expectancy, s.snapshot_type,
       s.computed_at = now() AS now, s.category_breakdown
  FROM tenant_risk_snapshots s JOIN tenants t ON t.id = s.tenant_id ORDER BY t.name;
-- One tenant, active or not.
SELECT fn_recompute_tenant_risk_score('00000000-0000-0000-0000-00000000000a') AS a,
       fn_recompute_tenant_risk_score('00000000-0000-0000-0000-00000000000d') AS d;
SELECT t.name, s.risk_score_1_100, s.annualized_loss_expectancy
  FROM tenant_risk_snapshots s JOIN tenants t ON t.id = s.tenant_id
 WHERE s.snapshot_type = 'event' ORDER BY t.name;
SAVEPOINT unknown;
SELECT fn_recompute_tenant_risk_score('00000000-0000-0000-0000-0000000000ff');
ROLLBACK TO unknown;
SELECT fn_recompute_tenant_risk_score(NULL);
ROLLBACK TO unknown;
-- Another rule, other scores: B has nothing but findings.
DELETE FROM tenant_risk_snapshots;
UPDATE securatlas.risk_rule SET value = CASE name WHEN 'integration_findings' THEN 1 ELSE 0 END
 WHERE kind = 'weight';
UPDATE securatlas.risk_rule SET value = 9 WHERE name = 'critical';
SELECT fn_recompute_all_tenant_risk_scores();
SELECT t.name, s.risk_score_1_100
  FROM tenant_risk_snapshots s JOIN tenants t ON t.id = s.tenant_id ORDER BY t.name;
ROLLBACK;

-- ==== demo data, against the rule written a second time ========================================
SELECT securatlas.load_demo(0, 1, 'atlas');
SELECT securatlas.load_demo(40, 7, 'atlas');
SELECT count(*) AS tenants, count(DISTINCT industry) > 4 AS industries,
       count(*) FILTER (WHERE annual_revenue IS NULL) > 0 AS without_revenue FROM atlas.tenants;
CREATE TEMP TABLE first_load AS
    SELECT 'control' AS kind, tenant_id, control_id AS item, status || maturity AS state FROM atlas.tenant_controls
    UNION ALL SELECT 'evidence', tenant_id, id, status || coalesce((expires_at > now())::text, '') FROM atlas.tenant_evidence_items
    UNION ALL SELECT 'finding', tenant_id, id, status || severity FROM atlas.integration_findings
    UNION ALL SELECT 'connection', tenant_id, id, status FROM atlas.integration_connections
    UNION ALL SELECT 'plan', tenant_id, NULL, plan || status FROM atlas.tenant_subscriptions;
SELECT kind, count(*) > 40 - (kind = 'plan')::int AS many, count(DISTINCT state) > 2 AS varied
  FROM first_load GROUP BY kind ORDER BY kind;
-- The same again, from nothing and under another plan.
TRUNCATE atlas.tenants CASCADE;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT securatlas.load_demo(40, 7, 'atlas');
RESET enable_hashjoin;
RESET enable_nestloop;
-- And once more on top, which changes nothing.
SELECT securatlas.load_demo(40, 7, 'atlas');
CREATE TEMP TABLE second_load AS
    SELECT 'control' AS kind, tenant_id, control_id AS item, status || maturity AS state FROM atlas.tenant_controls
    UNION ALL SELECT 'evidence', tenant_id, id, status || coalesce((expires_at > now())::text, '') FROM atlas.tenant_evidence_items
    UNION ALL SELECT 'finding', tenant_id, id, status || severity FROM atlas.integration_findings
    UNION ALL SELECT 'connection', tenant_id, id, status FROM atlas.integration_connections
    UNION ALL SELECT 'plan', tenant_id, NULL, plan || status FROM atlas.tenant_subscriptions;
SELECT (SELECT count(*) FROM (TABLE first_load EXCEPT ALL TABLE second_load) AS lost) AS lost,
       (SELECT count(*) FROM (TABLE second_load EXCEPT ALL TABLE first_load) AS gained) AS gained;

-- One tenant, step by step, with exact arithmetic.
CREATE FUNCTION pg_temp.slow_score(tenant uuid, OUT score int, OUT breakdown jsonb, OUT loss numeric)
LANGUAGE plpgsql SET search_path = atlas AS $$
DECLARE
    maturity numeric := 0; evidence numeric := 0; framework numeric := 0; findings numeric := 100;
    applicable int := 0; levels int := 0; proven int := 0; met int; asked int; fulfilled boolean;
    weights numeric := 0; parts jsonb := '{}'; cost numeric; revenue numeric;
    c record; f record; r record; m record;
BEGIN
    FOR c IN SELECT * FROM tenant_controls WHERE tenant_id = tenant AND status <> 'not_applicable' LOOP
        applicable := applicable + 1;
        levels := levels + c.maturity;
        PERFORM FROM control_evidence_links l, tenant_evidence_items e
          WHERE l.control_id = c.control_id AND e.id = l.evidence_item_id AND e.tenant_id = tenant
            AND e.status = 'accepted' AND (e.expires_at > now()) IS NOT FALSE;
        IF FOUND THEN proven := proven + 1; END IF;
    END LOOP;
    IF applicable > 0 THEN
        maturity := levels * 20.0 / applicable;
        evidence := proven * 100.0 / applicable;
    END IF;
    FOR c IN SELECT lower(regexp_replace(replace(u.category, ' & ', ' '), ' ', '_')) AS key,
                    sum(tc.maturity) AS sum, count(*) AS n
               FROM tenant_controls tc JOIN unified_controls u ON u.id = tc.control_id
              WHERE tc.tenant_id = tenant AND tc.status <> 'not_applicable' GROUP BY u.category LOOP
        parts := parts || jsonb_build_object(c.key, round(c.sum * 20.0 / c.n));
    END LOOP;
    FOR f IN SELECT * FROM tenant_framework_selections WHERE tenant_id = tenant LOOP
        met := 0; asked := 0;
        FOR r IN SELECT * FROM framework_requirements WHERE framework_id = f.framework_id LOOP
            asked := asked + 1;
            fulfilled := EXISTS (SELECT FROM control_framework_map WHERE requirement_id = r.id);
            FOR m IN SELECT * FROM control_framework_map WHERE requirement_id = r.id LOOP
                PERFORM FROM tenant_controls WHERE tenant_id = tenant AND control_id = m.control_id
                    AND status IN ('implemented', 'not_applicable');
                fulfilled := fulfilled AND FOUND;
            END LOOP;
            met := met + fulfilled::int;
        END LOOP;
        framework := framework + f.weight * 100.0 * met / asked;
        weights := weights + f.weight;
    END LOOP;
    IF weights > 0 THEN framework := framework / weights; END IF;
    FOR f IN SELECT * FROM integration_findings WHERE tenant_id = tenant AND status = 'open' LOOP
        findings := findings - CASE f.severity WHEN 'critical' THEN 10 WHEN 'high' THEN 5
                                               WHEN 'medium' THEN 2 ELSE 0.5 END;
    END LOOP;
    findings := greatest(findings, 0);
    score := round(0.35 * maturity + 0.25 * evidence + 0.25 * framework + 0.15 * findings);
    breakdown := jsonb_build_object('control_maturity', round(maturity),
        'evidence_coverage', round(evidence), 'framework_compliance', round(framework),
        'integration_findings', round(findings), 'subcategories', parts);
    SELECT avg_breach_cost INTO cost FROM industry_breach_costs
     WHERE industry = (SELECT industry FROM tenants WHERE id = tenant);
    IF NOT FOUND THEN
        SELECT avg_breach_cost INTO cost FROM industry_breach_costs WHERE industry = 'default';
    END IF;
    SELECT annual_revenue INTO revenue FROM tenants WHERE id = tenant;
    loss := (0.80 - 0.75 * score / 100) * least(cost, 0.30 * revenue);
END $$;

SELECT atlas.fn_recompute_all_tenant_risk_scores() = count(*) AS one_a_tenant FROM atlas.tenants t
 WHERE EXISTS (SELECT FROM atlas.tenant_subscriptions s
                WHERE s.tenant_id = t.id AND s.status IN ('active', 'trialing'));
SELECT count(*) > 20 AS snapshots, count(DISTINCT s.risk_score_1_100) > 10 AS varied,
       count(*) FILTER (WHERE s.risk_score_1_100 <> slow.score) AS other_score,
       count(*) FILTER (WHERE s.category_breakdown <> slow.breakdown) AS other_breakdown,
       count(*) FILTER (WHERE s.annualized_loss_expectancy <> slow.loss) AS other_loss
  FROM atlas.tenant_risk_snapshots s, pg_temp.slow_score(s.tenant_id) AS slow;
-- One at a time gives the same.
SELECT count(*) AS other_score
  FROM atlas.tenant_risk_snapshots s
 WHERE s.snapshot_type = 'manual'
   AND atlas.fn_recompute_tenant_risk_score(s.tenant_id) <> s.risk_score_1_100;

-- ==== sync =====================================================================================
SELECT atlas.fn_trigger_nightly_sync();
-- What the session sets counts for nothing: the key would go where its caller says.
SET app.settings.edge_function_url = 'https://elsewhere.invalid/';
SET app.settings.service_role_key = 'another-key';
SELECT atlas.fn_trigger_nightly_sync();
ALTER ROLE CURRENT_USER SET app.settings.edge_function_url = 'https://edge.invalid/functions/v1/';
SELECT atlas.fn_trigger_nightly_sync();
SELECT count(*) FROM atlas.integration_sync_jobs;
ALTER ROLE CURRENT_USER SET app.settings.service_role_key = 'not-a-real-key';
-- Every transaction here is rolled back: nothing is ever sent.
CREATE TEMP VIEW due AS
    SELECT c.id, bool_or(s.plan = 'premium') AS premium
      FROM atlas.integration_connections c JOIN atlas.tenant_subscriptions s ON s.tenant_id = c.tenant_id
     WHERE c.status = 'active' AND s.status IN ('active', 'trialing') GROUP BY c.id;
BEGIN;
SELECT atlas.fn_trigger_frequent_sync();
SELECT count(*) > 0 AS some, count(*) = (SELECT count(*) FROM due WHERE premium) AS premium_only
  FROM atlas.integration_sync_jobs j JOIN due ON due.id = j.connection_id;
SELECT atlas.fn_trigger_nightly_sync();
SELECT atlas.fn_trigger_nightly_sync();
SELECT count(*) = (SELECT count(*) FROM due) AS each_once,
       count(DISTINCT j.connection_id) = count(*) AS no_double,
       count(DISTINCT j.request_id) = count(*) AS a_request_each,
       bool_and(j.status = 'queued') AS queued
  FROM atlas.integration_sync_jobs j JOIN due ON due.id = j.connection_id;
SELECT count(*) AS wrong
  FROM atlas.integration_sync_jobs j LEFT JOIN net.http_request_queue q ON q.id = j.request_id
 WHERE (q.method = 'POST' AND q.url = 'https://edge.invalid/functions/v1/trigger-sync'
        AND convert_from(q.body, 'UTF8')::jsonb
            = jsonb_build_object('connection_id', j.connection_id, 'sync_job_id', j.id)
        AND q.headers ->> 'Content-Type' = 'application/json') IS NOT TRUE;
-- A sync that failed, or is six hours old, is asked for again; one that was completed as well.
UPDATE atlas.integration_sync_jobs SET status = 'failed' WHERE connection_id = (SELECT id FROM due ORDER BY id LIMIT 1);
UPDATE atlas.integration_sync_jobs SET created_at = now() - interval '6 hours' WHERE connection_id = (SELECT id FROM due ORDER BY id OFFSET 1 LIMIT 1);
UPDATE atlas.integration_sync_jobs SET status = 'completed' WHERE connection_id = (SELECT id FROM due ORDER BY id OFFSET 2 LIMIT 1);
UPDATE atlas.integration_sync_jobs SET status = 'dispatched' WHERE connection_id = (SELECT id FROM due ORDER BY id OFFSET 3 LIMIT 1);
SELECT atlas.fn_trigger_nightly_sync();
SELECT count(*) - (SELECT count(*) FROM due) AS again FROM atlas.integration_sync_jobs;
ROLLBACK;

-- ==== token refresh ============================================================================
BEGIN;
UPDATE atlas.integration_connections SET token_expires_at = now() + interval '8 hours';
SELECT atlas.fn_refresh_expiring_tokens();
ROLLBACK;

-- ==== tables that lack columns =================================================================
CREATE SCHEMA "Old Tables";
CREATE TABLE "Old Tables".tenants (id uuid, name text, created_at timestamptz);
CREATE TABLE "Old Tables".integration_findings (id uuid, tenant_id uuid, severity text);
SELECT securatlas.load_demo(1, 1, '"Old Tables"');
SELECT securatlas.install('"Old Tables"');
SELECT count(*) FROM pg_class WHERE relnamespace = '"Old Tables"'::regnamespace;
ALTER TABLE "Old Tables".tenants ADD industry text, ADD annual_revenue numeric, ADD PRIMARY KEY (id);
ALTER TABLE "Old Tables".integration_findings ADD status text, ADD connection_id uuid;
-- Now they are used as they are.
SELECT securatlas.install('"Old Tables"', schedule_jobs => false);
INSERT INTO "Old Tables".tenants (id) VALUES ('00000000-0000-0000-0000-00000000000a');
INSERT INTO "Old Tables".tenant_subscriptions VALUES ('00000000-0000-0000-0000-00000000000a', 'starter', 'active');
SELECT "Old Tables".fn_recompute_all_tenant_risk_scores();
SELECT command FROM cron.job WHERE jobname = 'nightly_risk_recompute';

-- ==== privileges ===============================================================================
CREATE ROLE regress_atlas_owner;
CREATE ROLE regress_atlas_other;
CREATE SCHEMA atlas_owned AUTHORIZATION regress_atlas_owner;
SET ROLE regress_atlas_owner;
SELECT securatlas.install('atlas_owned');
RESET ROLE;
GRANT USAGE ON SCHEMA cron, net TO regress_atlas_owner;
GRANT USAGE ON SCHEMA atlas_owned TO regress_atlas_other;
SET ROLE regress_atlas_owner;
SELECT securatlas.install('atlas_owned');
SELECT securatlas.load_demo(3, 1, 'atlas_owned');
SELECT atlas_owned.fn_recompute_all_tenant_risk_scores() > 0 AS computed;
SELECT jobname, username FROM cron.job WHERE username = current_user ORDER BY jobname;
UPDATE securatlas.risk_rule SET value = 1;
GRANT SELECT ON ALL TABLES IN SCHEMA atlas_owned TO regress_atlas_other;
SET ROLE regress_atlas_other;
SELECT securatlas.install('atlas_owned');
SELECT atlas_owned.fn_recompute_all_tenant_risk_scores();
SELECT atlas_owned.fn_refresh_expiring_tokens();
-- Row level security without a policy shows nothing, through the view neither.
SELECT (SELECT count(*) FROM atlas_owned.tenants) AS tenants,
       (SELECT count(*) FROM atlas_owned.tenant_risk_snapshots) AS snapshots,
       (SELECT count(*) FROM atlas_owned.v_framework_readiness) AS readiness;
SET ROLE regress_atlas_owner;
SELECT (SELECT count(*) FROM atlas_owned.tenants) AS tenants,
       (SELECT count(*) > 0 FROM atlas_owned.tenant_risk_snapshots) AS snapshots,
       (SELECT count(*) > 0 FROM atlas_owned.v_framework_readiness) AS readiness;
-- A policy that would hide tenants from the jobs is an error, not a smaller number.
ALTER TABLE atlas_owned.tenants FORCE ROW LEVEL SECURITY;
SELECT atlas_owned.fn_recompute_all_tenant_risk_scores();
RESET ROLE;

-- ==== uninstall ================================================================================
SELECT count(*) FROM pg_class WHERE relnamespace = 'atlas'::regnamespace AND relkind = 'r';
-- The jobs call schema atlas: they stay.
SELECT securatlas.uninstall('"Old Tables"');
SELECT count(*) FROM cron.job WHERE username = current_user AND command LIKE 'SELECT atlas.fn_%';
SELECT securatlas.uninstall('atlas');
SELECT count(*) FROM cron.job WHERE username = current_user AND command LIKE 'SELECT atlas.fn_%';
SELECT proname FROM pg_proc WHERE pronamespace = 'atlas'::regnamespace;
SELECT count(*) FROM pg_class WHERE relnamespace = 'atlas'::regnamespace AND relkind = 'r';
SELECT count(*) FROM atlas.tenants;
SELECT securatlas.uninstall('atlas');

SET ROLE regress_atlas_owner;
SELECT securatlas.uninstall('atlas_owned');
SELECT count(*) FROM cron.job WHERE username = current_user;
RESET ROLE;
ALTER ROLE CURRENT_USER RESET app.settings.edge_function_url;
ALTER ROLE CURRENT_USER RESET app.settings.service_role_key;
DROP SCHEMA atlas, atlas_owned, "Old Tables" CASCADE;
REVOKE ALL ON SCHEMA securatlas, cron, net FROM regress_atlas_owner, regress_atlas_other;
DROP ROLE regress_atlas_owner, regress_atlas_other;
