--- only when installed
\echo Use "CREATE EXTENSION securatlas_sched" to load this file. \quit
--- also when updated

-- ==== schema cron: whose what is =============================================================
-- What is marked as "only when installed" is left out of the scripts that update older versions.
-- They have all else, with CREATE OR REPLACE: see doc/design.md, "Versions".

--- only when installed
CREATE SCHEMA cron;
--- also when updated
COMMENT ON SCHEMA cron IS 'Jobs that run on a schedule, and the history of their runs. USAGE is the right to use it.';

-- Not immutable in truth, but of use in a generated column alone: computed when a row is written, and
-- neither dumped nor replicated, it means a role of this very cluster.
CREATE FUNCTION cron._role_named(username text) RETURNS oid
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_role_named';
COMMENT ON FUNCTION cron._role_named(text) IS 'The role of this name; NULL: there is none.';
CREATE FUNCTION cron._may_manage(roleid oid) RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_may_manage';
COMMENT ON FUNCTION cron._may_manage(oid) IS 'True if the current role is this one or a member of it that may become it. What belongs to nobody is a superuser''s.';
CREATE FUNCTION cron._may_see(roleid oid) RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_may_see';
COMMENT ON FUNCTION cron._may_see(oid) IS 'As _may_manage, and true for members of pg_read_all_data and pg_monitor.';
