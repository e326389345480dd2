-- ==== schema securatlas: the tables that install() makes =====================================

-- Each unique key of a table with data of tenants holds the tenant, and so do foreign keys between such
-- tables: then the tables can be distributed by tenant. What is looked up by its id has the id first in
-- its key.
CREATE FUNCTION securatlas._tables(
    OUT ordinal int, OUT name text, OUT tenant_data boolean, OUT required text[],
    OUT definition text, OUT remark text
) RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
(1, 'tenants', true,
 '{id uuid,name text,industry text,annual_revenue number,created_at time}'::text[], $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    industry text,
    annual_revenue numeric,
    created_at timestamptz NOT NULL DEFAULT now()
)$$, 'One row for each tenant.'),
(2, 'tenant_subscriptions', true,
 '{tenant_id uuid,plan text,status text}', $$(
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    plan text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'trialing', 'past_due', 'canceled'))
)$$, 'A tenant is active while one of its subscriptions is active or trialing.'),
(3, 'unified_controls', false,
 '{id any,control_key text,title text,category text,severity any}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    control_key text NOT NULL UNIQUE,
    title text NOT NULL,
    category text NOT NULL,
    severity int NOT NULL CHECK (severity BETWEEN 1 AND 5)
)$$, 'The catalogue of controls, the same for all tenants.'),
(4, 'tenant_controls', true,
 '{tenant_id uuid,control_id any,status text,maturity number}', $$(
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    control_id uuid NOT NULL REFERENCES unified_controls (id),
    status text NOT NULL DEFAULT 'not_started'
        CHECK (status IN ('not_started', 'in_progress', 'implemented', 'not_applicable')),
    maturity int NOT NULL DEFAULT 0 CHECK (maturity BETWEEN 0 AND 5),
    PRIMARY KEY (tenant_id, control_id)
)$$, 'How far a tenant has implemented a control.'),
(5, 'tenant_evidence_items', true,
 '{id any,tenant_id uuid,status text,expires_at time}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'accepted', 'rejected')),
    expires_at timestamptz,
    PRIMARY KEY (id, tenant_id)
)$$, 'Evidence that a tenant has submitted for its controls.'),
(6, 'control_evidence_links', true,
 '{evidence_item_id any,control_id any,tenant_id uuid optional}', $$(
    evidence_item_id uuid NOT NULL,
    control_id uuid NOT NULL REFERENCES unified_controls (id),
    tenant_id uuid NOT NULL,
    PRIMARY KEY (evidence_item_id, control_id, tenant_id),
    FOREIGN KEY (tenant_id, evidence_item_id) REFERENCES tenant_evidence_items (tenant_id, id)
        ON DELETE CASCADE
)$$, 'The controls that an evidence item proves.'),
(7, 'compliance_frameworks', false,
 '{id any}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE,
    name text NOT NULL
)$$, 'The frameworks that a tenant may select.'),
(8, 'framework_requirements', false,
 '{id any,framework_id any}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    framework_id uuid NOT NULL REFERENCES compliance_frameworks (id) ON DELETE CASCADE,
    requirement_key text NOT NULL,
    UNIQUE (framework_id, requirement_key)
)$$, 'The requirements of a framework.'),
(9, 'control_framework_map', false,
 '{control_id any,requirement_id any}', $$(
    control_id uuid NOT NULL REFERENCES unified_controls (id),
    requirement_id uuid NOT NULL REFERENCES framework_requirements (id) ON DELETE CASCADE,
    PRIMARY KEY (requirement_id, control_id)
)$$, 'The controls that a requirement asks for.'),
(10, 'tenant_framework_selections', true,
 '{tenant_id uuid,framework_id any,weight number}', $$(
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    framework_id uuid NOT NULL REFERENCES compliance_frameworks (id),
    weight numeric NOT NULL DEFAULT 1 CHECK (weight >= 0 AND weight < 'Infinity'),
    PRIMARY KEY (tenant_id, framework_id)
)$$, 'The frameworks that a tenant is measured by.'),
(11, 'integration_providers', false,
 '{id any,key text,token_endpoint text,client_id text,client_secret_name text}', $$(
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE,
    token_endpoint text,
    client_id text,
    client_secret_name text
)$$, 'The providers that can be connected. client_secret_name is the name of a secret.'),
(12, 'integration_connections', true,
 '{id uuid,tenant_id uuid,provider_id any,status text,auth_type text,access_token_name text,refresh_token_name text,token_expires_at time,last_synced_at time,last_error text}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    provider_id uuid NOT NULL REFERENCES integration_providers (id),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'active', 'error', 'reauth_required', 'disabled')),
    auth_type text NOT NULL CHECK (auth_type IN ('oauth', 'api_key')),
    access_token_name text,
    refresh_token_name text,
    token_expires_at timestamptz,
    last_synced_at timestamptz,
    last_error text,
    PRIMARY KEY (id, tenant_id)
)$$, 'The integrations that a tenant has connected. The token columns hold names of secrets, never tokens.'),
(13, 'integration_findings', true,
 '{id any,connection_id uuid,tenant_id uuid,severity text,status text}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    connection_id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    severity text NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'resolved', 'suppressed')),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES integration_connections (tenant_id, id)
        ON DELETE CASCADE
)$$, 'Findings that a sync has imported from a provider.'),
(14, 'integration_sync_jobs', true,
 '{id uuid,connection_id uuid,status text,request_id number,attempts number,error text,created_at time,dispatched_at time,completed_at time,tenant_id uuid optional}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    connection_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'dispatched', 'failed', 'completed')),
    request_id bigint,
    attempts int NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    dispatched_at timestamptz,
    completed_at timestamptz,
    tenant_id uuid NOT NULL,
    PRIMARY KEY (id, tenant_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES integration_connections (tenant_id, id)
        ON DELETE CASCADE
)$$, 'One row for each requested sync. request_id is the HTTP request that asks for it.'),
(15, 'tenant_risk_snapshots', true,
 '{id uuid,tenant_id uuid,risk_score_1_100 number,category_breakdown json,annualized_loss_expectancy number,computed_at time,snapshot_type text}', $$(
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    risk_score_1_100 int NOT NULL CHECK (risk_score_1_100 BETWEEN 0 AND 100),
    category_breakdown jsonb NOT NULL,
    annualized_loss_expectancy numeric,
    computed_at timestamptz NOT NULL DEFAULT now(),
    snapshot_type text NOT NULL CHECK (snapshot_type IN ('nightly', 'manual', 'event')),
    PRIMARY KEY (tenant_id, id)
)$$, 'The risk scores over time. 0 is the worst posture, 100 the best.'),
(16, 'industry_breach_costs', false,
 '{industry text,avg_breach_cost number}', $$(
    industry text PRIMARY KEY,
    avg_breach_cost numeric NOT NULL CHECK (avg_breach_cost >= 0 AND avg_breach_cost < 'Infinity')
)$$, 'What a breach costs on average. The row "default" is for tenants of any other industry.')
$fn$;
COMMENT ON FUNCTION securatlas._tables() IS 'The tables of the SecurAtlas jobs: the columns that they must have (those that are optional may be missing), with the kind of their type, and the definition with which install() creates them.';

CREATE FUNCTION securatlas._indexes(OUT table_name text, OUT definition text)
    RETURNS SETOF record LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
VALUES
    ('tenant_subscriptions', '(tenant_id)'),
    ('tenant_evidence_items', '(tenant_id)'),
    ('integration_connections', '(tenant_id)'),
    ('integration_findings', $$(tenant_id) WHERE status = 'open'$$),
    ('integration_findings', '(connection_id)'),
    ('integration_sync_jobs', '(connection_id, created_at)'),
    ('tenant_risk_snapshots', '(tenant_id, computed_at DESC)')
$fn$;
COMMENT ON FUNCTION securatlas._indexes() IS 'The indexes that install() adds to the tables it makes.';

-- Tables that existed before install() may lack the tenant: they have it only where it is NOT NULL.
-- Without SET clauses: names are those of search_path.
CREATE FUNCTION securatlas._with_tenant(statement text) RETURNS text LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT t.name FROM securatlas._tables() AS t WHERE t.tenant_data LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = pg_catalog.to_regclass(name) AND a.attname = 'tenant_id'
                      AND a.attnotnull AND NOT a.attisdropped) THEN
            statement := pg_catalog.regexp_replace(statement, '/\*' || name || ':\s(.*?)\*/', '\1', 'g');
        ELSE
            statement := pg_catalog.regexp_replace(statement, '/\*not ' || name || ':\s(.*?)\*/', '\1', 'g');
        END IF;
    END LOOP;
    RETURN statement;
END
$fn$;
COMMENT ON FUNCTION securatlas._with_tenant(text) IS 'The statement, with the parts that stand in it as /*TABLE: ... */ if that table has the column tenant_id, and those as /*not TABLE: ... */ if it has not.';

CREATE FUNCTION securatlas._create_tables(target_schema regnamespace) RETURNS void
    LANGUAGE plpgsql
AS $fn$
DECLARE
    made text[] := '{}';
    target text;
    unprotected text;
    t record;
BEGIN
    FOR t IN
        SELECT d.* FROM securatlas._tables() AS d
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                            WHERE c.relname = d.name AND c.relnamespace = target_schema)
         ORDER BY d.ordinal
    LOOP
        -- A table that existed before may be unique by its id alone.
        FOR target IN SELECT r[1] FROM regexp_matches(t.definition, 'REFERENCES (\w+) \(tenant_id, id\)', 'g') AS r
        LOOP
            IF NOT securatlas._has_unique_key(target::regclass, 'tenant_id', 'id') THEN
                t.definition := regexp_replace(t.definition,
                    '\(tenant_id, (\w+)\) REFERENCES ' || target || ' \(tenant_id, id\)',
                    '(\1) REFERENCES ' || target || ' (id)');
            END IF;
        END LOOP;
        EXECUTE format('CREATE TABLE %I %s', t.name, t.definition);
        EXECUTE format('COMMENT ON TABLE %I IS %L', t.name, t.remark);
        IF t.tenant_data THEN
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t.name);
        END IF;
        made := made || t.name;
    END LOOP;
    FOR t IN SELECT i.* FROM securatlas._indexes() AS i WHERE i.table_name = ANY (made) LOOP
        EXECUTE format('CREATE INDEX ON %I %s', t.table_name, t.definition);
    END LOOP;
    IF 'industry_breach_costs' = ANY (made) THEN
        INSERT INTO industry_breach_costs (industry, avg_breach_cost) VALUES
            ('default', 4880000), ('healthcare', 9770000), ('financial_services', 6080000),
            ('technology', 5450000), ('energy', 5290000), ('manufacturing', 5560000),
            ('retail', 3480000), ('education', 3500000), ('public_sector', 2550000);
    END IF;
    SELECT string_agg(d.name, ', ' ORDER BY d.ordinal) INTO unprotected
      FROM securatlas._tables() AS d
      JOIN pg_catalog.pg_class c ON c.relname = d.name AND c.relnamespace = target_schema
     WHERE d.tenant_data AND NOT c.relrowsecurity;
    IF unprotected IS NOT NULL THEN
        RAISE WARNING 'row level security is not enabled on: %', unprotected
            USING HINT = 'These tables existed before and were not changed. Enable it for every table that holds data of tenants.';
    END IF;
END
$fn$;
COMMENT ON FUNCTION securatlas._create_tables(regnamespace) IS 'The part of install() that creates the missing tables, in the first schema of search_path.';
