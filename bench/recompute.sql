-- What bench/recompute works on, in psql: tenants with 64 controls, 40 evidence items, 50 findings
-- and two frameworks each (variable n), and the same rules as a loop over the tenants.
SET session_replication_role = replica;    -- no foreign key needs a check
SET synchronous_commit = off;

TRUNCATE tenants, unified_controls, compliance_frameworks, integration_providers CASCADE;

CREATE FUNCTION pg_temp.item(kind int, a int, b int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(kind), 8, '0') || lpad(to_hex(a), 12, '0') || lpad(to_hex(b), 12, '0'))::uuid $$;

INSERT INTO unified_controls (id, control_key, title, category, severity)
SELECT pg_temp.item(1, 0, c), 'C-' || c, 'Control ' || c, 'Category ' || c % 8, 1 + c % 5
  FROM generate_series(0, 63) AS c;
INSERT INTO compliance_frameworks (id, key, name)
SELECT pg_temp.item(2, 0, f), 'f' || f, 'Framework ' || f FROM generate_series(0, 4) AS f;
INSERT INTO framework_requirements (id, framework_id, requirement_key)
SELECT pg_temp.item(3, f, r), pg_temp.item(2, 0, f), 'R-' || r
  FROM generate_series(0, 4) AS f, generate_series(0, 19) AS r;
INSERT INTO control_framework_map (control_id, requirement_id)
SELECT pg_temp.item(1, 0, (f * 20 + r * 3 + m * 7) % 64), pg_temp.item(3, f, r)
  FROM generate_series(0, 4) AS f, generate_series(0, 19) AS r, generate_series(0, 2) AS m
 WHERE m <= r % 3;
INSERT INTO integration_providers (id, key) VALUES (pg_temp.item(4, 0, 0), 'aws');

INSERT INTO tenants (id, name, industry, annual_revenue)
SELECT pg_temp.item(5, 0, t), 'Tenant ' || t,
       (ARRAY['healthcare', 'technology', 'retail', 'unheard of'])[1 + t % 4], 1e6 * (t % 100)
  FROM generate_series(1, :n) AS t;
INSERT INTO tenant_subscriptions (tenant_id, plan, status)
SELECT t.id, 'business', 'active' FROM tenants t;
INSERT INTO tenant_controls (tenant_id, control_id, status, maturity)
SELECT pg_temp.item(5, 0, t), pg_temp.item(1, 0, c),
       CASE WHEN (t * 31 + c * 17) % 23 = 0 THEN 'not_applicable'
            WHEN (t * 13 + c * 7) % 9 < 1 + t % 8 THEN 'implemented' ELSE 'in_progress' END,
       (t * 7 + c * 11 + t % 3 * c) % 6
  FROM generate_series(1, :n) AS t, generate_series(0, 63) AS c;
INSERT INTO tenant_evidence_items (id, tenant_id, status, expires_at)
SELECT pg_temp.item(6, t, e), pg_temp.item(5, 0, t),
       CASE WHEN (t + e) % 7 = 0 THEN 'pending' ELSE 'accepted' END,
       CASE WHEN e % 3 = 0 THEN now() + ((t + e) % 100 - 20) * interval '1 day' END
  FROM generate_series(1, :n) AS t, generate_series(0, 39) AS e;
INSERT INTO control_evidence_links (tenant_id, evidence_item_id, control_id)
SELECT pg_temp.item(5, 0, t), pg_temp.item(6, t, e), pg_temp.item(1, 0, (t + e * 5) % 64)
  FROM generate_series(1, :n) AS t, generate_series(0, 39) AS e;
INSERT INTO tenant_framework_selections (tenant_id, framework_id, weight)
SELECT pg_temp.item(5, 0, t), pg_temp.item(2, 0, (t + f * 2) % 5), 1 + f
  FROM generate_series(1, :n) AS t, generate_series(0, 1) AS f;
INSERT INTO integration_connections (id, tenant_id, provider_id, status, auth_type)
SELECT pg_temp.item(7, 0, t), pg_temp.item(5, 0, t), pg_temp.item(4, 0, 0), 'active', 'api_key'
  FROM generate_series(1, :n) AS t;
INSERT INTO integration_findings (id, connection_id, tenant_id, severity, status)
SELECT pg_temp.item(8, t, f), pg_temp.item(7, 0, t), pg_temp.item(5, 0, t),
       (ARRAY['critical', 'high', 'medium', 'low', 'low'])[1 + (t + f) % 5],
       CASE WHEN (t * 5 + f) % 9 < t % 6 THEN 'open' ELSE 'resolved' END
  FROM generate_series(1, :n) AS t, generate_series(0, 49) AS f;

-- The rules as one would write them without the extension: for each tenant a query a category.
CREATE OR REPLACE FUNCTION loop_scores() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    t record;
    maturity numeric; evidence numeric; framework numeric; penalty numeric; score int;
    parts jsonb; cost numeric; made bigint := 0;
BEGIN
    FOR t IN SELECT * FROM tenants WHERE EXISTS (
                 SELECT FROM tenant_subscriptions s
                  WHERE s.tenant_id = tenants.id AND s.status IN ('active', 'trialing')) LOOP
        SELECT coalesce(avg(c.maturity) * 20, 0),
               coalesce(avg(EXISTS (SELECT FROM control_evidence_links l
                                      JOIN tenant_evidence_items e ON e.id = l.evidence_item_id
                                     WHERE l.control_id = c.control_id AND e.tenant_id = t.id
                                       AND e.status = 'accepted'
                                       AND (e.expires_at IS NULL OR e.expires_at > now()))::int) * 100, 0)
          INTO maturity, evidence
          FROM tenant_controls c WHERE c.tenant_id = t.id AND c.status <> 'not_applicable';
        SELECT coalesce(jsonb_object_agg(p.key, p.value), '{}') INTO parts
          FROM (SELECT lower(replace(u.category, ' ', '_')) AS key, round(avg(c.maturity) * 20) AS value
                  FROM tenant_controls c JOIN unified_controls u ON u.id = c.control_id
                 WHERE c.tenant_id = t.id AND c.status <> 'not_applicable' GROUP BY 1) AS p;
        SELECT coalesce(sum(r.readiness * s.weight) / nullif(sum(s.weight), 0), 0) INTO framework
          FROM tenant_framework_selections s
          JOIN v_framework_readiness r ON r.tenant_id = s.tenant_id AND r.framework_id = s.framework_id
         WHERE s.tenant_id = t.id;
        SELECT coalesce(sum(CASE f.severity WHEN 'critical' THEN 10 WHEN 'high' THEN 5
                                            WHEN 'medium' THEN 2 ELSE 0.5 END), 0) INTO penalty
          FROM integration_findings f WHERE f.tenant_id = t.id AND f.status = 'open';
        score := round(0.35 * maturity + 0.25 * evidence + 0.25 * framework
                       + 0.15 * greatest(100 - penalty, 0));
        SELECT avg_breach_cost INTO cost FROM industry_breach_costs WHERE industry = t.industry;
        IF NOT FOUND THEN
            SELECT avg_breach_cost INTO cost FROM industry_breach_costs WHERE industry = 'default';
        END IF;
        INSERT INTO tenant_risk_snapshots (tenant_id, risk_score_1_100, category_breakdown,
                                           annualized_loss_expectancy, snapshot_type)
        VALUES (t.id, score, jsonb_build_object('control_maturity', round(maturity),
                    'evidence_coverage', round(evidence), 'framework_compliance', round(framework),
                    'integration_findings', round(greatest(100 - penalty, 0)), 'subcategories', parts),
                (0.80 - 0.75 * score / 100)
                    * least(cost, CASE WHEN t.annual_revenue > 0 THEN 0.30 * t.annual_revenue END),
                'event');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
