-- Schema securatlas: tables that were there before, without our constraints and with rows that make
-- no sense. Each has a defined result, and none stops the scores of other tenants.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
CREATE SCHEMA bad;
SET search_path = bad;
-- Enumerations, domains, other types, more columns, another order.
CREATE TYPE control_status AS ENUM ('not_applicable', 'implemented', 'in_progress', 'not_started', 'unsure');
CREATE DOMAIN share AS numeric;
CREATE TABLE tenants (created_at timestamptz, annual_revenue float8, id uuid UNIQUE, industry varchar(40), name text, region text DEFAULT 'eu');
CREATE TABLE tenant_subscriptions (status text, plan text, tenant_id uuid);
CREATE TABLE unified_controls (category text, severity text, title text, control_key text, id int PRIMARY KEY);
CREATE TABLE tenant_controls (maturity numeric, status control_status, control_id int, tenant_id uuid);
CREATE TABLE tenant_evidence_items (id int PRIMARY KEY, expires_at timestamp, status text, tenant_id uuid);
CREATE TABLE control_evidence_links (control_id int, evidence_item_id int);
CREATE TABLE compliance_frameworks (id int PRIMARY KEY);
CREATE TABLE framework_requirements (framework_id int, id int PRIMARY KEY);
CREATE TABLE control_framework_map (requirement_id int, control_id int);
CREATE TABLE tenant_framework_selections (weight share, framework_id int, tenant_id uuid);
CREATE TABLE integration_providers (id int PRIMARY KEY, key text, client_secret_name text, client_id text, token_endpoint text);
CREATE TABLE integration_findings (severity text, status text, tenant_id uuid, connection_id uuid, id bigserial);
CREATE TABLE industry_breach_costs (avg_breach_cost numeric, industry text);
CREATE TABLE integration_connections (
    last_error text, last_synced_at timestamptz, token_expires_at timestamptz, refresh_token_name text,
    access_token_name text, auth_type text, status text, provider_id int, tenant_id uuid, id uuid PRIMARY KEY);
SELECT securatlas.install('bad', schedule_jobs => false);
-- The two that were made refer to the rest.
SELECT conrelid::regclass, confrelid::regclass FROM pg_constraint
 WHERE contype = 'f' AND connamespace = 'bad'::regnamespace ORDER BY 1, 2;

CREATE FUNCTION pg_temp.t(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
INSERT INTO tenants (id, name, industry, annual_revenue) VALUES
    (pg_temp.t(1), 'sound', 'technology', 1000000),
    (pg_temp.t(2), 'empty', NULL, NULL),
    (pg_temp.t(3), 'maturity out of range', NULL, 0),
    (pg_temp.t(4), 'unknown severities', NULL, -5),
    (pg_temp.t(5), 'bad weights', NULL, 'NaN'),
    (pg_temp.t(6), 'controls without category', 'negative', 'Infinity'),
    (pg_temp.t(7), 'unknown controls and status', NULL, 1e300),
    (pg_temp.t(8), 'frameworks without requirements', NULL, '-Infinity'),
    (pg_temp.t(9), 'no status of the subscription', NULL, NULL),
    (pg_temp.t(10), 'evidence without meaning', NULL, NULL);
INSERT INTO tenant_subscriptions (tenant_id, plan, status)
SELECT id, NULL, CASE name WHEN 'no status of the subscription' THEN NULL ELSE 'active' END FROM tenants;
INSERT INTO tenant_subscriptions VALUES ('active', 'premium', NULL), ('active', 'premium', pg_temp.t(99));
INSERT INTO unified_controls (id, category) VALUES
    (1, 'Access Control'), (2, 'Access Control'), (3, NULL), (4, ''), (5, ' -- ');
INSERT INTO tenant_controls (tenant_id, control_id, status, maturity) VALUES
    (pg_temp.t(1), 1, 'implemented', 4), (pg_temp.t(1), 2, 'in_progress', 1),
    -- 2.5 is sound, the rest is not: 50
    (pg_temp.t(3), 1, 'implemented', 6), (pg_temp.t(3), 2, 'implemented', -1), (pg_temp.t(3), 3, 'implemented', NULL),
    (pg_temp.t(3), 4, 'implemented', 'NaN'), (pg_temp.t(3), 5, 'implemented', 2.5),
    (pg_temp.t(6), 1, 'implemented', 5), (pg_temp.t(6), 3, 'implemented', 1),
    (pg_temp.t(6), 4, 'implemented', 2), (pg_temp.t(6), 5, 'implemented', 3),
    (pg_temp.t(7), 77, 'implemented', 5), (pg_temp.t(7), NULL, 'implemented', 5), (pg_temp.t(7), 1, 'unsure', 5),
    (pg_temp.t(7), 2, NULL, 5), (pg_temp.t(7), 3, 'not_applicable', 9), (NULL, 1, 'implemented', 3),
    (pg_temp.t(10), 1, 'implemented', 5), (pg_temp.t(10), 2, 'implemented', 5);
INSERT INTO tenant_evidence_items (id, tenant_id, status, expires_at) VALUES
    (1, pg_temp.t(1), 'accepted', NULL), (2, pg_temp.t(10), 'fine', NULL), (3, pg_temp.t(10), NULL, NULL),
    (4, NULL, 'accepted', NULL), (5, pg_temp.t(10), 'accepted', 'infinity'), (6, pg_temp.t(10), 'accepted', '-infinity');
INSERT INTO control_evidence_links (evidence_item_id, control_id) VALUES
    (1, 1), (1, 1), (1, 77), (2, 1), (3, 1), (4, 1), (5, 2), (6, 1), (NULL, 1), (5, NULL);
INSERT INTO compliance_frameworks VALUES (1), (2);
INSERT INTO framework_requirements (framework_id, id) VALUES (1, 1), (1, 2), (NULL, 3);
INSERT INTO control_framework_map (requirement_id, control_id) VALUES
    (1, 1), (2, 1), (2, 77), (2, NULL), (NULL, 1);
-- 77 is no control that anybody has, or it is.
INSERT INTO tenant_framework_selections (tenant_id, framework_id, weight) VALUES
    (pg_temp.t(1), 1, 1), (pg_temp.t(7), 1, 1),
    (pg_temp.t(5), 1, NULL), (pg_temp.t(5), 1, -1), (pg_temp.t(5), 1, 'NaN'), (pg_temp.t(5), 1, 'Infinity'),
    (pg_temp.t(8), 2, 1), (pg_temp.t(8), 88, 1), (pg_temp.t(8), NULL, 1), (NULL, 1, 1);
-- The connection is of a provider that does not exist.
INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type, refresh_token_name, token_expires_at)
VALUES (pg_temp.t(50), pg_temp.t(4), 4711, 'active', 'oauth', 'a_token', now());
INSERT INTO integration_findings (tenant_id, connection_id, severity, status) VALUES
    (pg_temp.t(4), pg_temp.t(50), 'high', 'open'), (pg_temp.t(4), pg_temp.t(50), 'catastrophic', 'open'),
    (pg_temp.t(4), pg_temp.t(50), NULL, 'open'), (pg_temp.t(4), NULL, 'CRITICAL', 'open'),
    (pg_temp.t(4), NULL, 'low', 'resolved'), (pg_temp.t(4), NULL, 'low', NULL), (pg_temp.t(4), NULL, 'odd', 'resolved'),
    (NULL, NULL, 'low', 'open');
INSERT INTO industry_breach_costs (industry, avg_breach_cost) VALUES
    ('default', 1000000), ('default', 500000), ('technology', 200000), ('technology', NULL), ('negative', -7),
    ('negative', 'NaN'), (NULL, 1);

SELECT fn_recompute_all_tenant_risk_scores();
-- 4: 100 - 5; 10: the second control is proven.
SELECT t.name, s.risk_score_1_100 AS score, s.annualized_loss_expectancy AS loss, s.category_breakdown
  FROM tenants t LEFT JOIN tenant_risk_snapshots s ON s.tenant_id = t.id ORDER BY t.id;
-- One of them counts its own rows only.
SELECT fn_recompute_tenant_risk_score(pg_temp.t(4));
SELECT fn_recompute_tenant_risk_score(pg_temp.t(2));

-- ==== sync and tokens of a deleted provider ====================================================
ALTER ROLE CURRENT_USER SET app.settings.edge_function_url = 'https://edge.invalid';
ALTER ROLE CURRENT_USER SET app.settings.service_role_key = 'not-a-real-key';
BEGIN;
SELECT fn_trigger_nightly_sync();
SELECT connection_id, status FROM integration_sync_jobs;
ROLLBACK;
BEGIN;
INSERT INTO integration_providers (id, key, token_endpoint) VALUES
    (1, 'none', NULL), (2, 'empty', ''), (3, 'odd', 'gopher://x'), (4, 'sound', 'https://sound.invalid/token');
INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type, refresh_token_name, token_expires_at)
SELECT pg_temp.t(50 + p.id), pg_temp.t(1), p.id, 'active', 'oauth', 'a_token', now() + interval '1 hour' FROM integration_providers p;
INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type, token_expires_at)
VALUES (pg_temp.t(55), pg_temp.t(1), 4, 'active', 'oauth', '-infinity');
-- What an endpoint answers; the rest is in the unit tests.
SELECT a.* FROM unnest(ARRAY['{"access_token": "a", "refresh_token": "r", "expires_in": "90"}', '{"error": "invalid_grant"}',
                             '{"error": "a-token"}', '<html>', '{"access_token": "Z\u00fcrich"}', NULL]) AS body, securatlas._token_answer(body) AS a;
SELECT net.set_secret('bad_token', 'not-a-real-token');
INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type, refresh_token_name, token_expires_at)
VALUES (pg_temp.t(56), pg_temp.t(1), 4, 'active', 'oauth', 'bad_token', now());
SELECT fn_refresh_expiring_tokens();
SELECT id, last_error FROM integration_connections ORDER BY id;
SELECT url, idempotency_key FROM net.http_request_queue WHERE idempotency_key LIKE 'token_refresh/%';
ROLLBACK;

-- ==== what our own tables refuse ===============================================================
CREATE SCHEMA checked;
SELECT securatlas.install('checked', schedule_jobs => false);
SET search_path = checked;
\set VERBOSITY terse
INSERT INTO tenants (id, name) VALUES (pg_temp.t(1), 'one');
INSERT INTO unified_controls (control_key, title, severity) VALUES ('A-1', 'no category', 1);
INSERT INTO unified_controls (id, control_key, title, category, severity) VALUES (pg_temp.t(1), 'A-1', 'a', 'b', 1);
INSERT INTO tenant_controls VALUES (pg_temp.t(1), pg_temp.t(1), 'implemented', 6);
INSERT INTO tenant_controls VALUES (pg_temp.t(1), pg_temp.t(1), 'unsure', 1);
INSERT INTO compliance_frameworks VALUES (pg_temp.t(1), 'f', 'F');
INSERT INTO tenant_framework_selections VALUES (pg_temp.t(1), pg_temp.t(1), -1);
INSERT INTO tenant_framework_selections VALUES (pg_temp.t(1), pg_temp.t(1), 'NaN');
INSERT INTO integration_providers (id, key) VALUES (pg_temp.t(1), 'aws');
INSERT INTO integration_connections (id, tenant_id, provider_id, auth_type) VALUES (pg_temp.t(1), pg_temp.t(1), pg_temp.t(1), 'api_key');
INSERT INTO integration_findings (connection_id, tenant_id, severity) VALUES (pg_temp.t(1), pg_temp.t(1), 'catastrophic');
INSERT INTO industry_breach_costs VALUES ('x', -1);
INSERT INTO industry_breach_costs VALUES ('x', 'NaN');
DELETE FROM integration_providers;

ALTER ROLE CURRENT_USER RESET app.settings.edge_function_url;
ALTER ROLE CURRENT_USER RESET app.settings.service_role_key;
RESET search_path;
DROP SCHEMA bad, checked CASCADE;
