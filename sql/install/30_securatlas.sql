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

-- ==== sets and summaries of controls =========================================================
-- A set of controls is a bytea with one bit for each control, at the place of the control, counted
-- from 1. A summary is what include/securatlas/core/securatlas/control_summary.hpp says. To compare
-- them costs almost nothing; the joins in their place would cost more than the rest of the
-- recompute.

CREATE FUNCTION securatlas._add_place(state bytea, place int, places int) RETURNS bytea
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_place';
COMMENT ON FUNCTION securatlas._add_place(bytea, int, int) IS 'Of the aggregate _place_set(): adds a place.';
CREATE FUNCTION securatlas._add_set(state bytea, other bytea) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_set';
COMMENT ON FUNCTION securatlas._add_set(bytea, bytea) IS 'Of the aggregate _place_set(): unites two sets.';
CREATE AGGREGATE securatlas._place_set(place int, places int) (
    SFUNC = securatlas._add_place, STYPE = bytea, COMBINEFUNC = securatlas._add_set, PARALLEL = SAFE);
COMMENT ON AGGREGATE securatlas._place_set(int, int) IS 'The set of these places, all less than places (the same in each row).';

CREATE FUNCTION securatlas._add_control(
        state bytea, place int, places int, category int, categories int, status text, maturity float8)
    RETURNS bytea LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_control';
COMMENT ON FUNCTION securatlas._add_control(bytea, int, int, int, int, text, float8) IS 'Of the aggregate _control_summary(): adds a row of tenant_controls.';
CREATE FUNCTION securatlas._add_controls(state bytea, other bytea) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_add_controls';
COMMENT ON FUNCTION securatlas._add_controls(bytea, bytea) IS 'Of the aggregate _control_summary(): adds up two summaries.';
CREATE AGGREGATE securatlas._control_summary(
        place int, places int, category int, categories int, status text, maturity float8) (
    SFUNC = securatlas._add_control, STYPE = bytea, COMBINEFUNC = securatlas._add_controls, PARALLEL = SAFE);
COMMENT ON AGGREGATE securatlas._control_summary(int, int, int, int, text, float8) IS 'The summary of the controls of a tenant. Categories are counted from 0; place and category are NULL for a control that is not known. places and categories are the same in each row.';

CREATE FUNCTION securatlas._average_maturity(summary bytea) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_average_maturity';
COMMENT ON FUNCTION securatlas._average_maturity(bytea) IS 'Average maturity of the assessed controls, 0 to 5; NULL: there are none.';
CREATE FUNCTION securatlas._share_in(summary bytea, controls bytea) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_share_in';
COMMENT ON FUNCTION securatlas._share_in(bytea, bytea) IS 'Share of the assessed controls that is in the set, 0 to 1; NULL: there are none.';
CREATE FUNCTION securatlas._readiness(summary bytea, requirements bytea) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_readiness';
COMMENT ON FUNCTION securatlas._readiness(bytea, bytea) IS 'Share of the requirements, which are sets of controls one after the other, of which every control is implemented or not applicable, 0 to 100.';
CREATE FUNCTION securatlas._breakdown(summary bytea, categories text[]) RETURNS jsonb
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_breakdown';
COMMENT ON FUNCTION securatlas._breakdown(bytea, text[]) IS 'The maturity of each category that has assessed controls, 0 to 100, under its name.';
CREATE FUNCTION securatlas._bad_rows(summary bytea) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_bad_rows';
COMMENT ON FUNCTION securatlas._bad_rows(bytea) IS 'Number of the rows of tenant_controls that are left out: status or maturity out of range, or control unknown.';
