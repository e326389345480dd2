-- Schema securatlas: install() into schemas that are not empty, by whom it may be, and again.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
CREATE ROLE regress_install_owner LOGIN;
CREATE ROLE regress_install_tables;
CREATE ROLE regress_install_other;
CREATE ROLE regress_install_boss SUPERUSER;
GRANT USAGE ON SCHEMA securatlas, cron, net TO regress_install_owner;

-- ==== one error lists all ======================================================================
CREATE SCHEMA "Full House" AUTHORIZATION regress_install_tables;
GRANT USAGE ON SCHEMA "Full House" TO regress_install_owner;
SET ROLE regress_install_tables;
SET search_path = "Full House";
CREATE TABLE tenants (id bigint, name text, industry int, annual_revenue text);
CREATE VIEW tenant_subscriptions AS SELECT 1 AS id;
CREATE TABLE unified_controls (id int PRIMARY KEY, control_key text, title text, category text, severity int);
CREATE TABLE integration_sync_jobs (id uuid, connection_id uuid, status text, request_id bigint, attempts int, error text,
    created_at timestamptz, dispatched_at timestamptz, completed_at timestamptz, region text NOT NULL, n int GENERATED ALWAYS AS IDENTITY,
    d int NOT NULL DEFAULT 1);
CREATE SEQUENCE industry_breach_costs;
CREATE TABLE v_risk_trend (a int);
CREATE VIEW v_framework_readiness AS SELECT 1 AS tenant_id;
CREATE FUNCTION fn_trigger_nightly_sync() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE fn_queue_sync(boolean) LANGUAGE sql AS 'SELECT 1';
RESET search_path;
SET ROLE regress_install_owner;
SELECT securatlas.install('"Full House"');
RESET ROLE;
SELECT count(*) AS relations FROM pg_class WHERE relnamespace = '"Full House"'::regnamespace AND relkind IN ('r', 'v', 'S');
-- Of the owner's role itself less is wrong.
GRANT USAGE ON SCHEMA securatlas, cron, net TO regress_install_tables;
SET ROLE regress_install_tables;
SELECT securatlas.install('"Full House"');
RESET ROLE;
DROP SCHEMA "Full House" CASCADE;

-- ==== a schema in which others make things =====================================================
CREATE SCHEMA open_house AUTHORIZATION regress_install_owner;
GRANT CREATE ON SCHEMA open_house TO PUBLIC, regress_install_other;
SET ROLE regress_install_owner;
SELECT securatlas.install('open_house', schedule_jobs => false);
RESET ROLE;
-- Nor where another role owns it, but where a superuser does.
REVOKE CREATE ON SCHEMA open_house FROM PUBLIC;
SET ROLE regress_install_boss;
SELECT securatlas.install('open_house', schedule_jobs => false);
RESET ROLE;
REVOKE CREATE ON SCHEMA open_house FROM regress_install_other;
ALTER SCHEMA open_house OWNER TO CURRENT_USER;
GRANT USAGE, CREATE ON SCHEMA open_house TO regress_install_owner;
SET ROLE regress_install_owner;
SELECT securatlas.install('open_house', schedule_jobs => false);
RESET ROLE;
DROP SCHEMA open_house CASCADE;

-- ==== tables of another owner ==================================================================
CREATE SCHEMA shared_house;
GRANT USAGE, CREATE ON SCHEMA shared_house TO regress_install_owner;
GRANT USAGE ON SCHEMA shared_house TO regress_install_tables;
CREATE TABLE shared_house.tenants (more int[] NOT NULL DEFAULT '{}', created_at timestamptz, annual_revenue numeric, industry text, name text,
    id uuid PRIMARY KEY DEFAULT gen_random_uuid());
CREATE TABLE shared_house.tenant_risk_snapshots (snapshot_type varchar(20) NOT NULL, computed_at timestamptz NOT NULL, annualized_loss_expectancy float8,
    category_breakdown json, risk_score_1_100 smallint, tenant_id uuid, id uuid PRIMARY KEY, note text);
ALTER TABLE shared_house.tenants OWNER TO regress_install_tables;
ALTER TABLE shared_house.tenant_risk_snapshots OWNER TO regress_install_tables;
ALTER TABLE shared_house.tenants ENABLE ROW LEVEL SECURITY;
SET ROLE regress_install_owner;
SELECT securatlas.install('shared_house');
RESET ROLE;
GRANT SELECT, REFERENCES ON shared_house.tenants TO regress_install_owner;
GRANT SELECT, INSERT, DELETE ON shared_house.tenant_risk_snapshots TO regress_install_owner;
SET ROLE regress_install_owner;
SELECT securatlas.install('shared_house');
RESET ROLE;
ALTER TABLE shared_house.tenants DISABLE ROW LEVEL SECURITY;
-- Default privileges give nobody a function.
ALTER DEFAULT PRIVILEGES FOR ROLE regress_install_owner IN SCHEMA shared_house GRANT EXECUTE ON FUNCTIONS TO regress_install_other;
SET ROLE regress_install_owner;
SELECT securatlas.install('shared_house');
GRANT EXECUTE ON FUNCTION shared_house.fn_recompute_tenant_risk_score TO regress_install_other;
-- Again, which leaves what was granted since.
SELECT securatlas.install('shared_house');
RESET ROLE;
SELECT p.proname, p.proowner::regrole, a.grantee::regrole
  FROM pg_proc p CROSS JOIN aclexplode(p.proacl) AS a
 WHERE p.pronamespace = 'shared_house'::regnamespace AND a.grantee <> p.proowner;
INSERT INTO shared_house.tenants (id, name) VALUES ('00000000-0000-0000-0000-000000000001', 'one');
SET ROLE regress_install_owner;
INSERT INTO shared_house.tenant_subscriptions VALUES ('00000000-0000-0000-0000-000000000001', 'premium', 'active');
SELECT shared_house.fn_recompute_all_tenant_risk_scores();
SELECT stored FROM shared_house.fn_store_risk_snapshots(NULL, 'nightly');
SELECT stored FROM shared_house.fn_store_risk_snapshots(NULL, 'nightly');
SELECT risk_score_1_100, level, change FROM shared_house.v_risk_trend;
SELECT snapshot_type, risk_score_1_100, category_breakdown FROM shared_house.tenant_risk_snapshots ORDER BY 1;
SELECT shared_house.fn_refresh_expiring_tokens();
SELECT securatlas.uninstall('shared_house');
SELECT count(*) FROM cron.job WHERE username = current_user;
RESET ROLE;
SELECT proname FROM pg_proc WHERE pronamespace = 'shared_house'::regnamespace;
SELECT count(*) FROM shared_house.tenant_risk_snapshots;
-- After it, once more.
SET ROLE regress_install_owner;
SELECT securatlas.install('shared_house', schedule_jobs => false);
SELECT count(*) FROM cron.job WHERE username = current_user;
SELECT shared_house.fn_recompute_all_tenant_risk_scores();
RESET ROLE;

DROP SCHEMA shared_house CASCADE;
DROP OWNED BY regress_install_owner, regress_install_tables, regress_install_other, regress_install_boss;
DROP ROLE regress_install_owner, regress_install_tables, regress_install_other, regress_install_boss;
