-- ==== runs and the requests that they made ===================================================
-- Who may see a run may see what its requests came to, whoever they were made by (a function with
-- the rights of its owner, a webhook). Therefore the view has the rights of its owner, and checks
-- for itself. A run is looked up in both tables by an index. The order is for the planner, which
-- would not look for it inside a security barrier: the last 20 runs are found without the others.

--- only when installed
CREATE INDEX http_request_queue_runid_idx ON net.http_request_queue (runid) WHERE runid IS NOT NULL;
--- also when updated

CREATE VIEW cron.run_requests WITH (security_barrier) AS
SELECT d.runid, d.jobid, d.jobname, d.scheduled_at, d.status,
       queued.count + ended.count AS requests, queued.count AS waiting, ended.succeeded,
       ended.failed, ended.expired, ended.cancelled,
       (SELECT COALESCE(r.error_msg, 'HTTP status ' || r.status_code)
          FROM net._http_response r WHERE r.id = ended.first_failure) AS first_error,
       ended.last_finished_at
  FROM cron.job_run_details d
  CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS count
        FROM net.http_request_queue q WHERE q.runid = d.runid) queued
  CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS count,
             pg_catalog.count(*) FILTER (WHERE r.state = 'succeeded') AS succeeded,
             pg_catalog.count(*) FILTER (WHERE r.state = 'failed') AS failed,
             pg_catalog.count(*) FILTER (WHERE r.state = 'expired') AS expired,
             pg_catalog.count(*) FILTER (WHERE r.state = 'cancelled') AS cancelled,
             pg_catalog.min(r.id) FILTER (WHERE r.state IN ('failed', 'expired')) AS first_failure,
             pg_catalog.max(r.created) AS last_finished_at
        FROM net._http_response r WHERE r.runid = d.runid) ended
 WHERE queued.count + ended.count > 0 AND cron._may_see(d.roleid)
 ORDER BY d.runid DESC;
COMMENT ON VIEW cron.run_requests IS 'What the HTTP requests of each run came to, for runs that the caller may see and that made some: one row a run.';
COMMENT ON COLUMN cron.run_requests.runid IS 'Number of the run.';
COMMENT ON COLUMN cron.run_requests.jobid IS 'The job.';
COMMENT ON COLUMN cron.run_requests.jobname IS 'Name of the job.';
COMMENT ON COLUMN cron.run_requests.scheduled_at IS 'The instant that it ran for.';
COMMENT ON COLUMN cron.run_requests.status IS 'Status of the run itself.';
COMMENT ON COLUMN cron.run_requests.requests IS 'Requests that it made and whose end is not forgotten (net.ttl).';
COMMENT ON COLUMN cron.run_requests.waiting IS 'Those that have not ended, in flight included.';
COMMENT ON COLUMN cron.run_requests.succeeded IS 'Those that were answered with a status below 400.';
COMMENT ON COLUMN cron.run_requests.failed IS 'Those that failed.';
COMMENT ON COLUMN cron.run_requests.expired IS 'Those that were not sent in time.';
COMMENT ON COLUMN cron.run_requests.cancelled IS 'Those that were cancelled.';
COMMENT ON COLUMN cron.run_requests.first_error IS 'Why the first of those that failed or expired did.';
COMMENT ON COLUMN cron.run_requests.last_finished_at IS 'When the last end was recorded.';
GRANT SELECT ON cron.run_requests TO PUBLIC;
