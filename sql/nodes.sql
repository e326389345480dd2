-- All nodes of a cluster of Citus: without it this server is the only one.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
\set SHOW_CONTEXT never
SELECT count(*), count(node) FROM cron.schedulers_of_all_nodes();
CREATE ROLE regress_nodes;
GRANT USAGE ON SCHEMA net, cron TO regress_nodes;
BEGIN;
SELECT count(net.http_get('https://host.invalid/' || n)) FROM generate_series(1, 3) AS n;
SET LOCAL ROLE regress_nodes;
SELECT count(net.http_get('https://host.invalid/mine')) FROM generate_series(1, 2) AS n;
SELECT node, state, url, created_by, attempts, id = max(id) OVER () AS newest FROM net.requests_of_all_nodes(1);
SELECT count(*) AS visible FROM net.requests_of_all_nodes();
RESET ROLE;
SELECT count(*) > 4 AS all_of_them FROM net.requests_of_all_nodes();
SELECT count(*) FROM net.requests_of_all_nodes(newest => 0);
SAVEPOINT before_errors;
SELECT * FROM net.requests_of_all_nodes(-1);
ROLLBACK TO before_errors;
SELECT * FROM net.requests_of_all_nodes(NULL);
ROLLBACK;
-- Nothing is distributed without it.
SELECT securatlas.distribute();
DROP OWNED BY regress_nodes;
DROP ROLE regress_nodes;
