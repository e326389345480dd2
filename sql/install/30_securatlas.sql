-- ==== schema securatlas: the scoring rule ====================================================

--- only when installed
CREATE SCHEMA securatlas;
--- also when updated
COMMENT ON SCHEMA securatlas IS 'The SecurAtlas jobs: risk recompute, integration sync, token refresh. Its functions run with the rights of their caller.';
-- pg_dump locks every table of an extension, even those that it does not dump, and needs USAGE for
-- that.
GRANT USAGE ON SCHEMA securatlas TO PUBLIC;

--- only when installed
CREATE TABLE securatlas.risk_rule (
    kind   text NOT NULL,
    name   text NOT NULL,
    value  numeric NOT NULL CHECK (value >= 0 AND value < 'Infinity'),
    PRIMARY KEY (kind, name),
    CONSTRAINT risk_rule_names CHECK (
        (kind = 'weight' AND name IN ('control_maturity', 'evidence_coverage',
                                      'framework_compliance', 'integration_findings'))
        OR (kind = 'penalty' AND name IN ('critical', 'high', 'medium', 'low')))
);
--- also when updated
COMMENT ON TABLE securatlas.risk_rule IS 'Weights of the four categories and penalties for open findings. Checked at commit: all eight rows exist, and the weights sum to 1.';
COMMENT ON COLUMN securatlas.risk_rule.kind IS 'weight or penalty.';
COMMENT ON COLUMN securatlas.risk_rule.name IS 'A category (for weights) or the severity of a finding (for penalties).';
COMMENT ON COLUMN securatlas.risk_rule.value IS 'The weight of the category in the score, or the points that each open finding costs.';
--- only when installed
GRANT SELECT ON securatlas.risk_rule TO PUBLIC;

INSERT INTO securatlas.risk_rule (kind, name, value) VALUES
    ('weight', 'control_maturity', 0.35),
    ('weight', 'evidence_coverage', 0.25),
    ('weight', 'framework_compliance', 0.25),
    ('weight', 'integration_findings', 0.15),
    ('penalty', 'critical', 10),
    ('penalty', 'high', 5),
    ('penalty', 'medium', 2),
    ('penalty', 'low', 0.5);
--- also when updated

-- For restored dumps: their rows replace those that CREATE EXTENSION has inserted.
CREATE FUNCTION securatlas._replace_risk_rule() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    DELETE FROM securatlas.risk_rule r WHERE r.kind = NEW.kind AND r.name = NEW.name;
    RETURN NEW;
END
$fn$;
COMMENT ON FUNCTION securatlas._replace_risk_rule() IS 'Makes an INSERT into risk_rule replace the row with the same key.';

CREATE FUNCTION securatlas._check_risk_rule() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    total numeric;
    entries bigint;
BEGIN
    SELECT count(*), sum(r.value) FILTER (WHERE r.kind = 'weight')
      INTO entries, total FROM securatlas.risk_rule r;
    IF entries <> 8 THEN
        RAISE EXCEPTION 'risk_rule must keep its four weights and four penalties'
            USING ERRCODE = 'check_violation',
                  DETAIL = format('It would have %s rows.', entries);
    ELSIF total <> 1 THEN
        RAISE EXCEPTION 'the weights in risk_rule must sum to 1'
            USING ERRCODE = 'check_violation',
                  DETAIL = format('They would sum to %s.', total),
                  HINT = 'Change all weights in one transaction.';
    END IF;
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION securatlas._check_risk_rule() IS 'Rejects, at commit, a rule that is incomplete or whose weights do not sum to 1.';

CREATE TRIGGER risk_rule_replace BEFORE INSERT ON securatlas.risk_rule
    FOR EACH ROW EXECUTE FUNCTION securatlas._replace_risk_rule();
--- only when installed
CREATE CONSTRAINT TRIGGER risk_rule_check AFTER INSERT OR UPDATE OR DELETE ON securatlas.risk_rule
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION securatlas._check_risk_rule();
--- also when updated
CREATE TRIGGER risk_rule_truncate AFTER TRUNCATE ON securatlas.risk_rule
    FOR EACH STATEMENT EXECUTE FUNCTION securatlas._check_risk_rule();
-- For replication too, which copies the publisher's rows into the same table.
ALTER TABLE securatlas.risk_rule ENABLE ALWAYS TRIGGER risk_rule_replace;
COMMENT ON TRIGGER risk_rule_replace ON securatlas.risk_rule IS 'Lets a dump be restored over the default rows.';
COMMENT ON TRIGGER risk_rule_check ON securatlas.risk_rule IS 'Checks at commit that the rule is complete and its weights sum to 1.';
COMMENT ON TRIGGER risk_rule_truncate ON securatlas.risk_rule IS 'Rejects TRUNCATE, which would leave the rule incomplete.';

SELECT pg_catalog.pg_extension_config_dump('securatlas.risk_rule', '');

CREATE FUNCTION securatlas.risk_weights() RETURNS float8[] LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY[max(value) FILTER (WHERE name = 'control_maturity'),
                 max(value) FILTER (WHERE name = 'evidence_coverage'),
                 max(value) FILTER (WHERE name = 'framework_compliance'),
                 max(value) FILTER (WHERE name = 'integration_findings')]::float8[]
      FROM securatlas.risk_rule WHERE kind = 'weight'
$fn$;
COMMENT ON FUNCTION securatlas.risk_weights() IS 'The weights of control_maturity, evidence_coverage, framework_compliance and integration_findings, in this order.';

CREATE FUNCTION securatlas.risk_penalties() RETURNS float8[] LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY[max(value) FILTER (WHERE name = 'critical'),
                 max(value) FILTER (WHERE name = 'high'),
                 max(value) FILTER (WHERE name = 'medium'),
                 max(value) FILTER (WHERE name = 'low')]::float8[]
      FROM securatlas.risk_rule WHERE kind = 'penalty'
$fn$;
COMMENT ON FUNCTION securatlas.risk_penalties() IS 'The penalties for one critical, high, medium and low open finding, in this order.';

-- NULL means "no data". include/securatlas/core/securatlas/risk_score.hpp has the formula.
CREATE FUNCTION securatlas.risk_score(
    average_maturity float8,
    evidence_share float8,
    framework_readiness float8,
    critical bigint,
    high bigint,
    medium bigint,
    low bigint,
    breach_cost float8,
    annual_revenue float8,
    weights float8[],
    penalties float8[],
    OUT score int,
    OUT control_maturity int,
    OUT evidence_coverage int,
    OUT framework_compliance int,
    OUT integration_findings int,
    OUT annualized_loss_expectancy float8
) LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_risk_score';
COMMENT ON FUNCTION securatlas.risk_score(float8, float8, float8, bigint, bigint, bigint, bigint, float8, float8, float8[], float8[]) IS 'Computes the score of one tenant, the rounded values of its categories, and its annualized loss expectancy. NULL arguments mean "no data".
average_maturity: mean maturity of the controls, 0 to 5.
evidence_share: share of the controls with valid evidence, 0 to 1.
framework_readiness: mean share of the requirements that are met, 0 to 100.
critical: number of open findings that are critical.
high: number of open findings that are high.
medium: number of open findings that are medium.
low: number of open findings that are low.
breach_cost: what a breach costs on average.
annual_revenue: revenue of the tenant in a year.
weights: as risk_weights() returns them.
penalties: as risk_penalties() returns them.';

CREATE FUNCTION securatlas._snake_case(title text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT lower(trim(BOTH '_' FROM regexp_replace(
               regexp_replace(title, '([[:lower:][:digit:]])([[:upper:]])', '\1_\2', 'g'),
               '[^[:alnum:]]+', '_', 'g')))
$fn$;
COMMENT ON FUNCTION securatlas._snake_case(text) IS 'Converts a title to snake case: "Access Control" becomes "access_control".';

-- ==== facts of tenants =======================================================================
-- What the scores refer to and what is known of a tenant are blocks of memory that core makes:
-- include/securatlas/core/securatlas/catalogue.hpp and tenant_facts.hpp say what is in them.

-- Inlined, so that a table whose ids are UUIDs, as in tables of install(), is read without a call.
CREATE FUNCTION securatlas._key(id uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT id';
COMMENT ON FUNCTION securatlas._key(uuid) IS 'An id as a UUID.';
CREATE FUNCTION securatlas._key_of_text(id text) RETURNS uuid
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_key_of_text';
COMMENT ON FUNCTION securatlas._key_of_text(text) IS 'A UUID that stands for a text: the text itself if it has up to 15 bytes, otherwise made of its SHA-256.';
CREATE FUNCTION securatlas._key(id anyelement) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT securatlas._key_of_text(id::pg_catalog.text)';
COMMENT ON FUNCTION securatlas._key(anyelement) IS 'A UUID that stands for an id of any other type; ids with the same text are the same.';

CREATE FUNCTION securatlas._catalogue(
        controls uuid[], categories text[], frameworks uuid[], requirements uuid[], asked uuid[])
    RETURNS bytea LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_catalogue';
COMMENT ON FUNCTION securatlas._catalogue(uuid[], text[], uuid[], uuid[], uuid[]) IS 'What scores refer to: controls with their categories, and requirements with their frameworks and a control that each asks for, or NULL.';

CREATE FUNCTION securatlas._add_fact(
        state internal, kind int, item uuid, control uuid, word text, number float8, other float8, catalogue bytea)
    RETURNS internal LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_fact';
COMMENT ON FUNCTION securatlas._add_fact(internal, int, uuid, uuid, text, float8, float8, bytea) IS 'Of the aggregate _tenant_facts(): adds a row.';
CREATE FUNCTION securatlas._add_facts(state internal, other internal) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_facts';
COMMENT ON FUNCTION securatlas._add_facts(internal, internal) IS 'Of the aggregate _tenant_facts(): unites what two processes have read.';
CREATE FUNCTION securatlas._write_facts(state internal) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_write_facts';
COMMENT ON FUNCTION securatlas._write_facts(internal) IS 'Of the aggregate _tenant_facts(): for another process.';
CREATE FUNCTION securatlas._read_facts(written bytea, unused internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_read_facts';
COMMENT ON FUNCTION securatlas._read_facts(bytea, internal) IS 'Of the aggregate _tenant_facts(): from another process.';
CREATE FUNCTION securatlas._facts_if_wanted(state internal) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_facts_if_wanted';
COMMENT ON FUNCTION securatlas._facts_if_wanted(internal) IS 'Of the aggregate _tenant_facts(): its result.';
CREATE AGGREGATE securatlas._tenant_facts(
        kind int, item uuid, control uuid, word text, number float8, other float8, catalogue bytea) (
    SFUNC = securatlas._add_fact, STYPE = internal, SSPACE = 2000, COMBINEFUNC = securatlas._add_facts,
    SERIALFUNC = securatlas._write_facts, DESERIALFUNC = securatlas._read_facts,
    FINALFUNC = securatlas._facts_if_wanted, PARALLEL = SAFE);
COMMENT ON AGGREGATE securatlas._tenant_facts(int, uuid, uuid, text, float8, float8, bytea) IS 'What is known of a tenant; NULL if it does not exist or its score is not asked for. The catalogue is the same in each row. kind: 1 a control with its status and maturity; 2 an item of evidence that is valid; 3 a link of an item to a control; 4 an open finding with its severity; 5 a selected framework with its weight; 6 the score is asked for; 7 the tenant, with its revenue and what a breach costs.';

CREATE FUNCTION securatlas._tenant_score(
    facts bytea, catalogue bytea, weights float8[], penalties float8[],
    OUT score int, OUT breakdown jsonb, OUT loss numeric, OUT bad_controls bigint, OUT bad_findings bigint
) LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_tenant_score';
COMMENT ON FUNCTION securatlas._tenant_score(bytea, bytea, float8[], float8[]) IS 'The score of a tenant with its breakdown and annualized loss expectancy, and how many rows of its controls and findings are left out: status, maturity or severity out of range, or control unknown.';

-- The same of many tenants: their rows feed one aggregate, which finds the tenant of a row faster than
-- a hash table of groups does. It does not know work_mem: who uses it must know that they fit.
CREATE FUNCTION securatlas._add_fact_of(
        state internal, tenant uuid, kind int, item uuid, control uuid, word text, number float8, other float8,
        catalogue bytea, tenants uuid[])
    RETURNS internal LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_fact_of';
COMMENT ON FUNCTION securatlas._add_fact_of(internal, uuid, int, uuid, uuid, text, float8, float8, bytea, uuid[]) IS 'Of the aggregate _facts_of_tenants(): adds a row.';
CREATE FUNCTION securatlas._add_facts_of(state internal, other internal) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_read';
COMMENT ON FUNCTION securatlas._add_facts_of(internal, internal) IS 'Of the aggregate _facts_of_tenants(): adds what another process has read.';
CREATE FUNCTION securatlas._write_facts_of(state internal) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_write_table';
COMMENT ON FUNCTION securatlas._write_facts_of(internal) IS 'Of the aggregate _facts_of_tenants(): for another process.';
CREATE FUNCTION securatlas._read_facts_of(written bytea, unused internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_read_table';
COMMENT ON FUNCTION securatlas._read_facts_of(bytea, internal) IS 'Of the aggregate _facts_of_tenants(): from another process.';
CREATE FUNCTION securatlas._settle_facts_of(state internal) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_settle_table';
COMMENT ON FUNCTION securatlas._settle_facts_of(internal) IS 'Of the aggregates _facts_of_tenants() and _collected_facts(): their result, after which nothing more is known.';
CREATE AGGREGATE securatlas._facts_of_tenants(
        tenant uuid, kind int, item uuid, control uuid, word text, number float8, other float8,
        catalogue bytea, tenants uuid[]) (
    SFUNC = securatlas._add_fact_of, STYPE = internal, COMBINEFUNC = securatlas._add_facts_of,
    SERIALFUNC = securatlas._write_facts_of, DESERIALFUNC = securatlas._read_facts_of,
    FINALFUNC = securatlas._settle_facts_of, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE securatlas._facts_of_tenants(uuid, int, uuid, uuid, text, float8, float8, bytea, uuid[]) IS 'What is known of these tenants, of whom each is named once, with all their evidence and links or none of these. Catalogue and tenants are the same in each row; otherwise the arguments are those of _tenant_facts().';

CREATE FUNCTION securatlas._add_collected(state internal, facts bytea) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_written';
COMMENT ON FUNCTION securatlas._add_collected(internal, bytea) IS 'Of the aggregate _collected_facts(): adds the result of _facts_of_tenants().';
CREATE AGGREGATE securatlas._collected_facts(facts bytea) (
    SFUNC = securatlas._add_collected, STYPE = internal, FINALFUNC = securatlas._settle_facts_of,
    FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE securatlas._collected_facts(bytea) IS 'Puts together what several _facts_of_tenants() have collected from different rows.';

CREATE FUNCTION securatlas._facts_size(catalogue bytea) RETURNS int
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_facts_size';
COMMENT ON FUNCTION securatlas._facts_size(bytea) IS 'How many bytes _facts_of_tenants() needs for each tenant, without its evidence and links.';

CREATE FUNCTION securatlas._tenant_scores(
    facts bytea, catalogue bytea, weights float8[], penalties float8[],
    OUT tenant_id uuid, OUT score int, OUT breakdown jsonb, OUT loss numeric, OUT bad_controls bigint,
    OUT bad_findings bigint
) RETURNS SETOF record LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10000
    AS 'MODULE_PATHNAME', 'securatlas_tenant_scores';
COMMENT ON FUNCTION securatlas._tenant_scores(bytea, bytea, float8[], float8[]) IS 'The scores of those tenants of _facts_of_tenants() or _collected_facts() that exist and are asked for, as _tenant_score() computes them.';
