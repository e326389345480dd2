
-- ==== as users of pg_net know it ==============================================================
-- Everybody may make requests, and see and remove its own.
GRANT USAGE ON SCHEMA net TO PUBLIC;
GRANT EXECUTE ON FUNCTION net.worker_restart() TO PUBLIC;
