-- Schema securatlas: random tenants, and every snapshot compared with the page written a second
-- time, slowly, in exact arithmetic. The seed is another one each time; it is shown if it matters.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
CREATE SCHEMA random;
SELECT securatlas.install('random', schedule_jobs => false);
SET search_path = random;
SELECT random() AS seed \gset
SELECT setseed(:seed);

CREATE FUNCTION pg_temp.any_of(choice anyarray) RETURNS anyelement LANGUAGE sql VOLATILE AS
    $$ SELECT choice[1 + floor(random() * cardinality(choice))::int] $$;
INSERT INTO tenants (name, industry, annual_revenue)
SELECT 'T' || n, pg_temp.any_of('{healthcare,retail,odd,NULL}'::text[]),
       pg_temp.any_of('{NULL,-100,0,1,1234567.89,1e7,1e12,NaN,Infinity}'::numeric[])
  FROM generate_series(1, 150) AS n;
INSERT INTO tenant_subscriptions
SELECT t.id, 'any', pg_temp.any_of('{active,trialing,past_due,canceled}'::text[])
  FROM tenants t, generate_series(1, 3) AS n WHERE random() < 0.6;
INSERT INTO unified_controls (control_key, title, category, severity)
SELECT 'C-' || n, 't', pg_temp.any_of('{Access Control,access-control,Data Protection,"  ",Zz9}'::text[]), 1
  FROM generate_series(1, 40) AS n;
INSERT INTO tenant_controls
SELECT t.id, u.id, pg_temp.any_of('{not_started,in_progress,implemented,implemented,implemented,not_applicable}'::text[]),
       floor(random() * 6)
  FROM (SELECT id, random() ^ 2 AS share FROM tenants) AS t, unified_controls u WHERE random() < t.share;
INSERT INTO tenant_evidence_items (tenant_id, status, expires_at)
SELECT t.id, pg_temp.any_of('{accepted,accepted,accepted,pending,rejected}'::text[]),
       pg_temp.any_of(ARRAY[NULL, NULL, now(), now() - interval '1 s', now() + interval '1 day', 'infinity', '-infinity'])
  FROM tenants t, generate_series(1, 15) AS n WHERE random() < 0.5;
INSERT INTO control_evidence_links (tenant_id, evidence_item_id, control_id)
SELECT e.tenant_id, e.id, u.id FROM tenant_evidence_items e, unified_controls u WHERE random() < 0.04;
INSERT INTO compliance_frameworks (key, name) SELECT 'f' || n, 'F' FROM generate_series(1, 6) AS n;
INSERT INTO framework_requirements (framework_id, requirement_key)
SELECT f.id, 'R' || n FROM compliance_frameworks f, generate_series(1, 7) AS n WHERE f.key <> 'f1' AND random() < 0.7;
INSERT INTO control_framework_map (control_id, requirement_id)
SELECT u.id, r.id FROM framework_requirements r, unified_controls u WHERE random() < 0.04;
INSERT INTO tenant_framework_selections
SELECT t.id, f.id, pg_temp.any_of('{0,0.5,1,1,2,3.25}'::numeric[]) FROM tenants t, compliance_frameworks f WHERE random() < 0.3;
INSERT INTO integration_providers (key) VALUES ('aws');
INSERT INTO integration_connections (tenant_id, provider_id, auth_type) SELECT t.id, p.id, 'api_key' FROM tenants t, integration_providers p;
INSERT INTO integration_findings (connection_id, tenant_id, severity, status)
SELECT c.id, c.tenant_id, pg_temp.any_of('{critical,high,medium,low,low,low}'::text[]), pg_temp.any_of('{open,resolved,suppressed}'::text[])
  FROM (SELECT *, 40 * random() ^ 3 AS many FROM integration_connections) AS c, generate_series(1, 40) AS n WHERE n < c.many;

CREATE FUNCTION pg_temp.slow_score(tenant uuid, OUT score int, OUT breakdown jsonb, OUT loss numeric)
LANGUAGE plpgsql AS $$
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
    FOR c IN SELECT CASE u.category WHEN 'Data Protection' THEN 'data_protection' WHEN '  ' THEN 'uncategorized'
                                    WHEN 'Zz9' THEN 'zz9' ELSE 'access_control' END AS key,
                    sum(tc.maturity) AS sum, count(*) AS n
               FROM tenant_controls tc JOIN unified_controls u ON u.id = tc.control_id
              WHERE tc.tenant_id = tenant AND tc.status <> 'not_applicable' GROUP BY 1 LOOP
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
        IF asked > 0 THEN framework := framework + f.weight * 100.0 * met / asked; END IF;
        weights := weights + f.weight;
    END LOOP;
    IF weights > 0 THEN framework := framework / weights; END IF;
    FOR f IN SELECT * FROM integration_findings WHERE tenant_id = tenant AND status = 'open' LOOP
        findings := findings - CASE f.severity WHEN 'critical' THEN 10 WHEN 'high' THEN 5
                                               WHEN 'medium' THEN 2 ELSE 0.5 END;
    END LOOP;
    findings := greatest(findings, 0);
    score := round(round(0.35 * maturity + 0.25 * evidence + 0.25 * framework + 0.15 * findings, 9));
    breakdown := jsonb_build_object('control_maturity', round(round(maturity, 9)),
        'evidence_coverage', round(round(evidence, 9)), 'framework_compliance', round(round(framework, 9)),
        'integration_findings', round(findings), 'subcategories', parts);
    SELECT avg_breach_cost INTO cost FROM industry_breach_costs
     WHERE industry = (SELECT industry FROM tenants WHERE id = tenant);
    IF NOT FOUND THEN
        SELECT avg_breach_cost INTO cost FROM industry_breach_costs WHERE industry = 'default';
    END IF;
    SELECT annual_revenue INTO revenue FROM tenants WHERE id = tenant;
    IF revenue <= 0 OR revenue = 'NaN' THEN revenue := NULL; END IF;
    loss := (0.80 - 0.75 * score / 100) * least(cost, 0.30 * revenue);
END $$;

SELECT fn_recompute_all_tenant_risk_scores() = count(*) AS one_a_tenant FROM tenants t
 WHERE EXISTS (SELECT FROM tenant_subscriptions s
                WHERE s.tenant_id = t.id AND s.status IN ('active', 'trialing'));
-- The others are scored one by one.
SELECT count(*) > 0 AS inactive, bool_and(fn_recompute_tenant_risk_score(t.id) IS NOT NULL) AS scored
  FROM tenants t WHERE NOT EXISTS (SELECT FROM tenant_risk_snapshots s WHERE s.tenant_id = t.id);
CREATE TEMP TABLE compared AS
SELECT t.name, s.risk_score_1_100 AS score, slow.score AS slow_score,
       s.category_breakdown AS breakdown, slow.breakdown AS slow_breakdown,
       s.annualized_loss_expectancy AS loss, slow.loss AS slow_loss
  FROM tenants t JOIN tenant_risk_snapshots s ON s.tenant_id = t.id, pg_temp.slow_score(t.id) AS slow;
SELECT count(*) AS compared, count(DISTINCT score) > 15 AS varied FROM compared;
SELECT :seed AS seed, * FROM compared
 WHERE score <> slow_score OR breakdown <> slow_breakdown
    OR abs(loss - slow_loss) > 1e-9 * slow_loss OR (loss IS NULL) <> (slow_loss IS NULL);

-- The view says the same of the frameworks as the score.
SELECT :seed AS seed, t.name, s.category_breakdown -> 'framework_compliance' AS score, v.readiness
  FROM tenants t
  JOIN tenant_risk_snapshots s ON s.tenant_id = t.id
  LEFT JOIN (SELECT r.tenant_id, round(round(sum(r.readiness * f.weight) / nullif(sum(f.weight), 0), 9)) AS readiness
               FROM v_framework_readiness r JOIN tenant_framework_selections f USING (tenant_id, framework_id)
              GROUP BY r.tenant_id) AS v ON v.tenant_id = t.id
 WHERE (s.category_breakdown ->> 'framework_compliance')::numeric <> coalesce(v.readiness, 0);

-- Computed by parallel workers: the plan is one for them, and the scores are the same.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION pg_temp.is_parallel(query text, sign text DEFAULT '"Partial Mode": "Finalize"') RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (VERBOSE, FORMAT json) ' || query INTO plan;
    RETURN plan::text ~ sign;
END $$;
SELECT pg_temp.is_parallel($$ SELECT f.tenant_id, securatlas._tenant_facts(f.kind, f.id, NULL, f.status, NULL, NULL, NULL)
    FROM (SELECT e.tenant_id, 2 AS kind, e.id, e.status FROM tenant_evidence_items e
          UNION ALL SELECT c.tenant_id, 1, c.control_id, c.status FROM tenant_controls c) AS f GROUP BY 1 $$) AS facts;
-- That of the recompute, too: several aggregates that are executed at the same time.
SELECT securatlas._catalogue_query() AS query \gset
CREATE TEMP TABLE known AS SELECT c.catalogue FROM (:query) AS c (catalogue);
CREATE TEMP TABLE asked AS SELECT DISTINCT tenant_id AS id FROM tenant_subscriptions WHERE status IN ('active', 'trialing');
CREATE FUNCTION pg_temp.query_of(in_memory boolean) RETURNS text LANGUAGE sql AS $$
    SELECT replace(replace(regexp_replace(replace(securatlas._with_tenant(securatlas._risk_query(in_memory)), 'only_tenant', 'NULL::uuid'),
                                          'catalogue([,)])', format('decode(%L, ''hex'')\1', encode(k.catalogue, 'hex')), 'g'),
                           'asked)', format('%L::uuid[])', (SELECT array_agg(id) FROM asked))),
                   'weights, penalties', format('%L::float8[], %L::float8[]', securatlas.risk_weights(), securatlas.risk_penalties()))
      FROM known k $$;
SELECT pg_temp.is_parallel(pg_temp.query_of(true), '"Node Type": "Append",.*"Parallel Aware": true.*_facts_of_tenants.*_facts_of_tenants') AS in_memory;
-- Rows of one aggregate for all tenants may be read by several processes, too.
SELECT format($$ WITH cost AS NOT MATERIALIZED (SELECT NULL::text AS industry, NULL::float8 AS breach)
    SELECT securatlas._facts_of_tenants(f.tenant_id, f.kind, f.item, f.control, f.word, f.number, f.other, %L, %L) AS facts FROM (%s) AS f $$,
    k.catalogue, (SELECT array_agg(id) FROM asked), substring(pg_temp.query_of(false) FROM 'AS result\s+FROM \((.*)\) AS f\s+GROUP BY')) AS query
  FROM known k \gset
SELECT pg_temp.is_parallel(:'query') AS all_in_one;
CREATE TEMP TABLE in_one AS :query;
SELECT :seed AS seed, c.*
  FROM in_one, known, securatlas._tenant_scores(facts, catalogue, securatlas.risk_weights(), securatlas.risk_penalties()) AS s
  JOIN tenants t ON t.id = s.tenant_id JOIN compared c ON c.name = t.name
 WHERE (s.score, s.breakdown) IS DISTINCT FROM (c.slow_score, c.slow_breakdown);
SELECT (SELECT count(*) FROM in_one, known, securatlas._tenant_scores(facts, catalogue, securatlas.risk_weights(), securatlas.risk_penalties()))
       = (SELECT count(*) FROM asked) AS all_of_them;
DELETE FROM tenant_risk_snapshots;
SELECT fn_recompute_all_tenant_risk_scores() > 0 AS parallel;
SELECT :seed AS seed, c.* FROM tenants t JOIN tenant_risk_snapshots s ON s.tenant_id = t.id JOIN compared c ON c.name = t.name
 WHERE (s.risk_score_1_100, s.category_breakdown) IS DISTINCT FROM (c.slow_score, c.slow_breakdown);
-- The same with a group for each tenant, because the others do not fit into this.
ALTER FUNCTION fn_compute_risk_scores(uuid, uuid[]) SET work_mem = '64kB';
SELECT NOT securatlas._facts_fit(count(*), (SELECT catalogue FROM known), 'tenant_evidence_items', 'control_evidence_links') AS too_many
  FROM asked, LATERAL set_config('work_mem', '64kB', true);
DELETE FROM tenant_risk_snapshots;
SELECT fn_recompute_all_tenant_risk_scores() > 0 AS parallel;
SELECT :seed AS seed, c.* FROM tenants t JOIN tenant_risk_snapshots s ON s.tenant_id = t.id JOIN compared c ON c.name = t.name
 WHERE (s.risk_score_1_100, s.category_breakdown) IS DISTINCT FROM (c.slow_score, c.slow_breakdown);
RESET enable_bitmapscan;
RESET enable_indexscan;
RESET min_parallel_table_scan_size;
RESET parallel_tuple_cost;
RESET parallel_setup_cost;

RESET search_path;
DROP SCHEMA random CASCADE;
