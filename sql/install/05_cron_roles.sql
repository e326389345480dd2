-- ==== schema cron: roles and rights ==========================================================
-- Parts marked "only when installed" are left out of the update scripts, which run all the rest
-- with CREATE OR REPLACE: see doc/design.md, "Versions".

--- only when installed
CREATE SCHEMA cron;
--- also when updated
COMMENT ON SCHEMA cron IS 'Jobs that run on a schedule, and the history of their runs. USAGE on the schema is the right to use it.';

CREATE FUNCTION cron._role_named(username text) RETURNS oid
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_role_named';
COMMENT ON FUNCTION cron._role_named(text) IS 'The oid of the role with this name; NULL: there is none.';
CREATE FUNCTION cron._may_manage(roleid oid) RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_may_manage';
COMMENT ON FUNCTION cron._may_manage(oid) IS 'True if the current role is this one, or a member of it that may SET ROLE to it. What belongs to no role (NULL or 0) only superusers may manage.';
CREATE FUNCTION cron._may_see_support(internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_may_see_support';
COMMENT ON FUNCTION cron._may_see_support(internal) IS 'Lets the planner use an index on the role where a policy calls _may_see().';
CREATE FUNCTION cron._may_see(roleid oid) RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE SUPPORT cron._may_see_support AS 'MODULE_PATHNAME', 'securatlas_may_see';
COMMENT ON FUNCTION cron._may_see(oid) IS 'True if _may_manage() is, and for members of pg_read_all_data and pg_monitor.';
