-- ==== schema net: cancelling and monitoring requests =========================================

CREATE FUNCTION net.cancel_request(request_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_cancel_request';
COMMENT ON FUNCTION net.cancel_request(bigint) IS 'Removes a request from the queue and records it as cancelled; an attempt in flight is aborted at commit. False: the caller has no such request in the queue.
request_id: id that the function which made the request has returned.';

CREATE FUNCTION net._requests_in_flight() RETURNS bigint[]
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_requests_in_flight';
COMMENT ON FUNCTION net._requests_in_flight() IS 'Ids of the requests that the http worker has in flight: at most 1024, at most 50 milliseconds old. Members of pg_read_all_stats get all of them, others those that they may see in the queue.';
CREATE FUNCTION net._wait_reason(host text, ready_at timestamptz, attempts int) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'securatlas_wait_reason';
COMMENT ON FUNCTION net._wait_reason(text, timestamptz, int) IS 'Why a request that is not in flight waits, as far as the caller may know; NULL: unknown, or it is about to be sent.';
CREATE FUNCTION net._worker_status(
        OUT pid int, OUT started timestamptz, OUT in_flight bigint, OUT waiting bigint,
        OUT sent bigint, OUT failed bigint, OUT last_error text, OUT updated timestamptz,
        OUT sends boolean)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_http_worker_status';
COMMENT ON FUNCTION net._worker_status() IS 'Behind net.worker_status: what the http worker of this database publishes about itself.';
CREATE FUNCTION net._host_status(
        OUT host text, OUT in_flight int, OUT requests bigint, OUT failures bigint,
        OUT limited boolean, OUT breaker text, OUT next_try timestamptz,
        OUT p50_ms double precision, OUT p95_ms double precision, OUT last_error text,
        OUT updated timestamptz)
    RETURNS SETOF record
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'securatlas_host_status';
COMMENT ON FUNCTION net._host_status() IS 'Behind net.host_status: the hosts that the caller may see.';

--- only when installed
ALTER TABLE net._http_response ADD CONSTRAINT _http_response_state_check
    CHECK (state IN ('succeeded', 'failed', 'expired', 'cancelled'));
--- also when updated

-- The state of each part is a constant or restricted by a CHECK constraint, so that the planner
-- leaves out the parts that a condition on the state rules out. ORDER BY id merges the parts by
-- their indexes. All run with the caller's rights.
CREATE VIEW net.requests WITH (security_invoker = true) AS
SELECT q.id, 'in_flight' AS state, q.method, q.url, q.host::text AS host, q.created, q.ready_at,
       q.attempts, q.max_attempts, NULL::int AS status_code, q.last_error AS error,
       NULL::double precision AS duration_ms, NULL::timestamptz AS finished_at, q.runid,
       q.created_by::regrole AS created_by, q.idempotency_key, NULL::text AS callback_state,
       NULL::text AS reason
  FROM net.http_request_queue q
 WHERE q.id = ANY (net._requests_in_flight())
UNION ALL
SELECT q.id, 'waiting', q.method, q.url, q.host::text, q.created, q.ready_at, q.attempts,
       q.max_attempts, NULL, q.last_error, NULL, NULL, q.runid, q.created_by::regrole,
       q.idempotency_key, NULL, CASE WHEN q.replicated_ready_at IS NOT NULL
            THEN 'came by replication: net.take_over() sends it'
            ELSE net._wait_reason(q.host, q.ready_at, q.attempts) END
  FROM net.http_request_queue q
 WHERE q.attempts = 0 AND q.id NOT IN (SELECT pg_catalog.unnest(net._requests_in_flight()))
UNION ALL
SELECT q.id, 'retrying', q.method, q.url, q.host::text, q.created, q.ready_at, q.attempts,
       q.max_attempts, NULL, q.last_error, NULL, NULL, q.runid, q.created_by::regrole,
       q.idempotency_key, NULL, CASE WHEN q.replicated_ready_at IS NOT NULL
            THEN 'came by replication: net.take_over() sends it'
            ELSE net._wait_reason(q.host, q.ready_at, q.attempts) END
  FROM net.http_request_queue q
 WHERE q.attempts > 0 AND q.id NOT IN (SELECT pg_catalog.unnest(net._requests_in_flight()))
UNION ALL
SELECT r.id, r.state, r.method, r.url, r.host::text, r.requested_at, NULL, r.attempts, NULL,
       r.status_code, r.error_msg, r.duration_ms, r.created, r.runid, r.created_by::regrole,
       r.idempotency_key, r.callback_state, NULL
  FROM net._http_response r;
COMMENT ON VIEW net.requests IS 'Every request that the caller may see, waiting, in flight or ended.';
COMMENT ON COLUMN net.requests.id IS 'Id of the request.';
COMMENT ON COLUMN net.requests.state IS 'waiting, in_flight, retrying (between two attempts), succeeded, failed, expired or cancelled.';
COMMENT ON COLUMN net.requests.method IS 'GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.';
COMMENT ON COLUMN net.requests.url IS 'Where it is sent to, including the query.';
COMMENT ON COLUMN net.requests.host IS 'Scheme, host and port of the URL.';
COMMENT ON COLUMN net.requests.created IS 'When the request was made.';
COMMENT ON COLUMN net.requests.ready_at IS 'It is not sent before this time; NULL once it has ended.';
COMMENT ON COLUMN net.requests.attempts IS 'Number of attempts that have ended.';
COMMENT ON COLUMN net.requests.max_attempts IS 'Maximal number of attempts; NULL once it has ended.';
COMMENT ON COLUMN net.requests.status_code IS 'HTTP status code; NULL: there is no response.';
COMMENT ON COLUMN net.requests.error IS 'Why the last attempt failed without a response; NULL: it did not.';
COMMENT ON COLUMN net.requests.duration_ms IS 'Duration of the last attempt in milliseconds; NULL until the request has ended.';
COMMENT ON COLUMN net.requests.finished_at IS 'When its end was recorded.';
COMMENT ON COLUMN net.requests.runid IS 'The run that made it; NULL: it was not made by a run.';
COMMENT ON COLUMN net.requests.created_by IS 'Role that made it.';
COMMENT ON COLUMN net.requests.idempotency_key IS 'Sent as Idempotency-Key with every attempt.';
COMMENT ON COLUMN net.requests.callback_state IS 'State of the callback: waiting, done, failed; NULL: there is none.';
COMMENT ON COLUMN net.requests.reason IS 'Why it waits, as far as that is known; NULL if it does not.';

CREATE VIEW net.worker_status WITH (security_invoker = true) AS
SELECT pid, started, in_flight, waiting, sent, failed, last_error, updated, sends
  FROM net._worker_status();
COMMENT ON VIEW net.worker_status IS 'One row: the http worker of this database.';
COMMENT ON COLUMN net.worker_status.pid IS 'Its process id; NULL: it is not running, as when there is nothing to send.';
COMMENT ON COLUMN net.worker_status.started IS 'When it started.';
COMMENT ON COLUMN net.worker_status.in_flight IS 'Number of requests in flight.';
COMMENT ON COLUMN net.worker_status.waiting IS 'Number of requests that it has read from the queue and that are not in flight.';
COMMENT ON COLUMN net.worker_status.sent IS 'Number of attempts that have ended since the server started.';
COMMENT ON COLUMN net.worker_status.failed IS 'How many of them failed.';
COMMENT ON COLUMN net.worker_status.last_error IS 'Error of the last failed attempt; visible to members of pg_read_all_stats.';
COMMENT ON COLUMN net.worker_status.updated IS 'When the worker published these figures.';
COMMENT ON COLUMN net.worker_status.sends IS 'True: requests are sent. False: they wait, because net.send_requests is off.';

CREATE VIEW net.host_status WITH (security_invoker = true) AS
SELECT host, in_flight, requests, failures, limited, breaker, next_try, p50_ms, p95_ms, last_error,
       updated
  FROM net._host_status();
COMMENT ON VIEW net.host_status IS 'Hosts that requests of this database were sent to recently. Members of pg_read_all_stats (such as pg_monitor) see all of them; others see those for which a request that they may see waits.';
COMMENT ON COLUMN net.host_status.host IS 'Scheme, host and port.';
COMMENT ON COLUMN net.host_status.in_flight IS 'Number of requests in flight.';
COMMENT ON COLUMN net.host_status.requests IS 'Number of attempts that have ended since the http worker started.';
COMMENT ON COLUMN net.host_status.failures IS 'How many of them failed.';
COMMENT ON COLUMN net.host_status.limited IS 'True: requests wait for a free connection to it, or for its rate limit.';
COMMENT ON COLUMN net.host_status.breaker IS 'closed: requests are sent. open: the host has failed too often, and no requests are sent. half_open: one request is in flight to test whether it has recovered.';
COMMENT ON COLUMN net.host_status.next_try IS 'When an open breaker lets the next request through.';
COMMENT ON COLUMN net.host_status.p50_ms IS 'Median duration of the last attempts in milliseconds.';
COMMENT ON COLUMN net.host_status.p95_ms IS '95th percentile of the durations of the last attempts in milliseconds.';
COMMENT ON COLUMN net.host_status.last_error IS 'Error of the last failed attempt; visible to members of pg_read_all_stats.';
COMMENT ON COLUMN net.host_status.updated IS 'When the worker published these figures.';
GRANT SELECT ON net.worker_status TO PUBLIC;
--- only when installed
GRANT SELECT ON net.requests, net.host_status TO PUBLIC;
--- also when updated
