-- ==== schema securatlas: demo data ===========================================================

-- Every value of the demo depends on the seed and on the key of its row only, never on the order in
-- which a plan visits rows.
CREATE FUNCTION securatlas._demo_id(seed int, kind text, item text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.md5(seed::text || '/' || kind || '/' || item)::uuid;
COMMENT ON FUNCTION securatlas._demo_id(int, text, text) IS 'The id of a row of the demo data.';

CREATE FUNCTION securatlas._demo_draw(seed int, kind text, item text) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || pg_catalog.substr(pg_catalog.md5(seed::text || '/' || kind || '/' || item), 1, 8))
       ::bit(32)::bigint / 4294967296.0::float8;
COMMENT ON FUNCTION securatlas._demo_draw(int, text, text) IS 'A pseudo-random number in [0, 1), always the same for the same arguments.';

CREATE FUNCTION securatlas._demo_tenants(
    tenants int, seed int, OUT index int, OUT id uuid, OUT quality float8
) RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT i, securatlas._demo_id(seed, 'tenant', i::text),
           securatlas._demo_draw(seed, 'quality', i::text)
      FROM generate_series(1, tenants) AS i
$fn$;
COMMENT ON FUNCTION securatlas._demo_tenants(int, int) IS 'The tenants of the demo data. quality, 0 to 1, is how good their posture tends to be.';

CREATE FUNCTION securatlas._load_demo_catalogue() RETURNS void LANGUAGE plpgsql
AS $fn$
BEGIN
    INSERT INTO unified_controls (id, control_key, title, category, severity)
    SELECT securatlas._demo_id(0, 'control', c.key), c.key, c.title, c.category,
           1 + floor(5 * securatlas._demo_draw(0, 'severity', c.key))::int
      FROM (SELECT g.prefix || '-' || t.n AS key, t.title, g.category
              FROM (VALUES
                ('AC', 'Access Control', ARRAY['Account management', 'Least privilege',
                    'Multi-factor authentication', 'Session lock', 'Remote access']),
                ('DP', 'Data Protection', ARRAY['Encryption at rest', 'Encryption in transit',
                    'Data classification', 'Key management', 'Retention and disposal']),
                ('IR', 'Incident Response', ARRAY['Response plan', 'Incident reporting',
                    'Response exercises', 'Forensic readiness', 'Lessons learned']),
                ('AU', 'Audit & Logging', ARRAY['Event logging', 'Log protection', 'Log review',
                    'Time synchronisation', 'Log retention']),
                ('CM', 'Change Management', ARRAY['Baseline configuration', 'Change approval',
                    'Release separation', 'Code review', 'Asset inventory']),
                ('NS', 'Network Security', ARRAY['Segmentation', 'Boundary protection',
                    'Intrusion detection', 'Wireless security', 'Name service protection']),
                ('BC', 'Business Continuity', ARRAY['Backups', 'Restore tests', 'Recovery plan',
                    'Redundancy', 'Crisis communication']),
                ('VM', 'Vendor Management', ARRAY['Vendor inventory', 'Vendor assessment',
                    'Contract clauses', 'Vendor monitoring', 'Vendor exit'])
              ) AS g (prefix, category, titles)
             CROSS JOIN unnest(g.titles) WITH ORDINALITY AS t (title, n)) AS c
    ON CONFLICT DO NOTHING;
    INSERT INTO compliance_frameworks (id, key, name)
    SELECT securatlas._demo_id(0, 'framework', f.key), f.key, f.name
      FROM (VALUES ('soc2', 'SOC 2'), ('iso27001', 'ISO/IEC 27001'), ('nist_csf', 'NIST CSF'),
                   ('hipaa', 'HIPAA'), ('pci_dss', 'PCI DSS')) AS f (key, name)
    ON CONFLICT DO NOTHING;
    INSERT INTO framework_requirements (id, framework_id, requirement_key)
    SELECT securatlas._demo_id(0, 'requirement', f.key || n), f.id, 'R-' || n
      FROM compliance_frameworks f CROSS JOIN generate_series(1, 20) AS n
     WHERE f.id = securatlas._demo_id(0, 'framework', f.key)
    ON CONFLICT DO NOTHING;
    INSERT INTO control_framework_map (control_id, requirement_id)
    SELECT pick.control_id, pick.requirement_id
      FROM (SELECT u.id AS control_id, r.id AS requirement_id,
                   row_number() OVER (PARTITION BY r.id ORDER BY
                       securatlas._demo_draw(0, 'map', r.id || u.control_key), u.id) AS position
              FROM framework_requirements r
              JOIN compliance_frameworks f
                ON f.id = r.framework_id AND f.id = securatlas._demo_id(0, 'framework', f.key)
             CROSS JOIN unified_controls u
             WHERE u.id = securatlas._demo_id(0, 'control', u.control_key)) AS pick
     WHERE pick.position
           <= 1 + floor(3 * securatlas._demo_draw(0, 'breadth', pick.requirement_id::text))
    ON CONFLICT DO NOTHING;
    -- Hosts below .invalid do not exist: no demo connection ever reaches a provider.
    INSERT INTO integration_providers (id, key, token_endpoint, client_id, client_secret_name)
    SELECT securatlas._demo_id(0, 'provider', p.key), p.key,
           CASE WHEN p.oauth THEN 'https://' || replace(p.key, '_', '-') || '.invalid/token' END,
           CASE WHEN p.oauth THEN 'demo-client' END,
           CASE WHEN p.oauth THEN 'demo_' || p.key || '_client_secret' END
      FROM (VALUES ('azure_ad', true), ('google_workspace', true), ('okta', true),
                   ('github', true), ('aws', false)) AS p (key, oauth)
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_catalogue() IS 'The part of load_demo() that is the same for all tenants.';

CREATE FUNCTION securatlas._load_demo_tenants(demo_tenants int, demo_seed int) RETURNS void
    LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
BEGIN
    INSERT INTO tenants (id, name, industry, annual_revenue, created_at)
    SELECT d.id,
           format('%s %s %s',
                  ('{Alder,Birch,Cedar,Dogwood,Elm,Fir,Hazel,Juniper,Larch,Maple}'::text[])
                      [1 + d.index % 10],
                  ('{Analytics,Bank,Care,Freight,Labs,Energy,Works}'::text[])
                      [1 + floor(7 * securatlas._demo_draw(demo_seed, 'name', d.index::text))::int],
                  d.index),
           ('{healthcare,financial_services,technology,energy,manufacturing,retail,education,public_sector,agriculture,NULL}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'industry', d.index::text))::int],
           CASE WHEN securatlas._demo_draw(demo_seed, 'private', d.index::text) >= 0.1 THEN
               round((1e6 * 1000 ^ securatlas._demo_draw(demo_seed, 'revenue', d.index::text))::numeric, -3)
           END,
           date_trunc('day', now()) - interval '1 day'
               * floor(30 + 1000 * securatlas._demo_draw(demo_seed, 'age', d.index::text))
      FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
    ON CONFLICT DO NOTHING;
    INSERT INTO tenant_subscriptions (tenant_id, plan, status)
    SELECT d.id,
           ('{starter,business,premium}'::text[])
               [1 + floor(3 * securatlas._demo_draw(demo_seed, 'plan', d.index::text))::int],
           ('{active,active,active,active,active,active,active,trialing,past_due,canceled}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'paid', d.index::text))::int]
      FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
     WHERE d.id NOT IN (SELECT s.tenant_id FROM tenant_subscriptions s WHERE s.tenant_id IS NOT NULL);
    INSERT INTO tenant_framework_selections (tenant_id, framework_id, weight)
    SELECT d.id, f.id,
           1 + floor(3 * securatlas._demo_draw(demo_seed, 'weight', d.index || f.key))
      FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
     CROSS JOIN compliance_frameworks f
     WHERE f.id = securatlas._demo_id(0, 'framework', f.key)
       AND securatlas._demo_draw(demo_seed, 'select', d.index || f.key) < 0.5
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_tenants(int, int) IS 'The part of load_demo() that creates tenants, their subscriptions and frameworks.';

CREATE FUNCTION securatlas._load_demo_posture(demo_tenants int, demo_seed int) RETURNS void
    LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
DECLARE
    evidence CONSTANT text := $sql$
        SELECT securatlas._demo_id($2, 'evidence', place.item) AS id,
               d.id AS tenant_id, u.id AS control_id, place.item
          FROM securatlas._demo_tenants($1, $2) AS d
         CROSS JOIN unified_controls u
         CROSS JOIN generate_series(1, 2) AS n
         CROSS JOIN LATERAL (SELECT d.index || u.control_key || '/' || n AS item) AS place
         WHERE u.id = securatlas._demo_id(0, 'control', u.control_key)
           AND securatlas._demo_draw($2, 'proof', place.item) < 0.1 + 0.5 * d.quality $sql$;
BEGIN
    INSERT INTO tenant_controls (tenant_id, control_id, status, maturity)
    SELECT c.tenant_id, c.control_id,
           CASE WHEN c.luck >= 0.93 THEN 'not_applicable'
                WHEN c.maturity = 0 THEN 'not_started'
                WHEN c.maturity <= 2 THEN 'in_progress'
                ELSE 'implemented' END,
           c.maturity
      FROM (SELECT d.id AS tenant_id, u.id AS control_id, draw.luck,
                   floor(greatest(0, least(5, 4.5 * d.quality + 3.5 * draw.luck - 0.5)))::int
                       AS maturity
              FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
             CROSS JOIN unified_controls u
             CROSS JOIN LATERAL (SELECT securatlas._demo_draw(
                                    demo_seed, 'control', d.index || u.control_key) AS luck
                                 OFFSET 0) AS draw
             WHERE u.id = securatlas._demo_id(0, 'control', u.control_key)) AS c
    ON CONFLICT DO NOTHING;

    -- Two statements, since Citus refuses one that writes to two distributed tables.
    EXECUTE format($sql$
        INSERT INTO tenant_evidence_items (id, tenant_id, status, expires_at)
        SELECT e.id, e.tenant_id,
               ('{accepted,accepted,accepted,accepted,accepted,accepted,accepted,pending,pending,rejected}'::text[])
                   [1 + floor(10 * securatlas._demo_draw($2, 'review', e.item))::int],
               CASE WHEN securatlas._demo_draw($2, 'forever', e.item) >= 0.2 THEN
                   date_trunc('day', now()) + interval '1 day'
                       * (1.5 + floor(300 * securatlas._demo_draw($2, 'expiry', e.item) - 50))
               END
          FROM (%s) AS e
        ON CONFLICT DO NOTHING $sql$, evidence) USING demo_tenants, demo_seed;
    EXECUTE securatlas._with_tenant(format($sql$
        INSERT INTO control_evidence_links (/*control_evidence_links: tenant_id,*/ evidence_item_id, control_id)
        SELECT /*control_evidence_links: e.tenant_id,*/ e.id, e.control_id FROM (%s) AS e
        ON CONFLICT DO NOTHING $sql$, evidence)) USING demo_tenants, demo_seed;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_posture(int, int) IS 'The part of load_demo() that creates the states of controls, and evidence.';

CREATE FUNCTION securatlas._load_demo_integrations(demo_tenants int, demo_seed int) RETURNS void
    LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
BEGIN
    INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type,
                                         access_token_name, refresh_token_name, token_expires_at)
    SELECT c.id, c.tenant_id, c.provider_id,
           ('{active,active,active,active,active,active,pending,error,reauth_required,disabled}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'state', c.item))::int],
           CASE WHEN c.oauth THEN 'oauth' ELSE 'api_key' END,
           'demo_access_' || c.id,
           CASE WHEN c.oauth THEN 'demo_refresh_' || c.id END,
           CASE WHEN c.oauth THEN date_trunc('hour', now()) + interval '1 hour'
               * (1 + floor(72 * securatlas._demo_draw(demo_seed, 'token', c.item))) END
      FROM (SELECT securatlas._demo_id(demo_seed, 'connection', d.index || p.key) AS id,
                   d.id AS tenant_id, p.id AS provider_id, d.index || p.key AS item,
                   p.token_endpoint IS NOT NULL AS oauth
              FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
             CROSS JOIN integration_providers p
             WHERE p.id = securatlas._demo_id(0, 'provider', p.key)
               AND securatlas._demo_draw(demo_seed, 'connect', d.index || p.key) < 0.5) AS c
    ON CONFLICT DO NOTHING;

    INSERT INTO integration_findings (id, connection_id, tenant_id, severity, status)
    SELECT securatlas._demo_id(demo_seed, 'finding', f.item), f.connection_id, f.tenant_id,
           ('{critical,high,high,medium,medium,medium,low,low,low,low}'::text[])
               [1 + floor(10 * securatlas._demo_draw(demo_seed, 'severity', f.item))::int],
           ('{open,open,open,resolved,suppressed}'::text[])
               [1 + floor(5 * securatlas._demo_draw(demo_seed, 'fixed', f.item))::int]
      FROM (SELECT c.id AS connection_id, c.tenant_id, c.id || '/' || n AS item
              FROM securatlas._demo_tenants(demo_tenants, demo_seed) AS d
              JOIN integration_connections c ON c.tenant_id = d.id
             CROSS JOIN LATERAL generate_series(1, floor(12 * (1 - d.quality)
                 * securatlas._demo_draw(demo_seed, 'findings', c.id::text))::int) AS n) AS f
    ON CONFLICT DO NOTHING;
END
$fn$;
COMMENT ON FUNCTION securatlas._load_demo_integrations(int, int) IS 'The part of load_demo() that creates connections and findings.';

CREATE FUNCTION securatlas.load_demo(
    tenants int DEFAULT 100, seed int DEFAULT 1, target_schema regnamespace DEFAULT 'public'
) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    absent text;
BEGIN
    IF tenants IS NULL OR tenants < 1 OR seed IS NULL THEN
        RAISE EXCEPTION 'load_demo() needs a positive number of tenants and a seed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT string_agg(t.name, ', ' ORDER BY t.ordinal) INTO absent
      FROM securatlas._tables() AS t
     WHERE NOT EXISTS (SELECT FROM pg_class c
                        WHERE c.relname = t.name AND c.relnamespace = target_schema);
    IF absent IS NOT NULL THEN
        RAISE EXCEPTION 'schema % lacks tables of the SecurAtlas jobs', target_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('These tables are missing: %s.', absent),
                  HINT = 'Run securatlas.install() first.';
    END IF;
    PERFORM set_config('search_path', target_schema || ', pg_temp', true);
    PERFORM securatlas._load_demo_catalogue();
    PERFORM securatlas._load_demo_tenants(tenants, seed);
    PERFORM securatlas._load_demo_posture(tenants, seed);
    PERFORM securatlas._load_demo_integrations(tenants, seed);
END
$fn$;
COMMENT ON FUNCTION securatlas.load_demo(int, int, regnamespace) IS 'Fills the tables with plausible tenants, the same for the same seed; times are relative to the day of the call.
tenants: how many tenants.
seed: the same seed makes the same tenants.
target_schema: where the tables, views and functions are.';
