-- ==== runs and the requests that they made ===================================================
-- Whoever may see a run may see the results of its requests, even if another role made them (a
-- SECURITY DEFINER function, a webhook). So the view runs with its owner's rights and checks the
-- caller itself. Each run is looked up in both tables by an index. The ORDER BY is here because the
-- planner does not push an outer ORDER BY ... LIMIT through a security barrier: with it the last 20
-- runs cost 20 lookups.

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
COMMENT ON VIEW cron.run_requests IS 'Results of the HTTP requests that runs made: one row for each run that the caller may see and that made some.';
COMMENT ON COLUMN cron.run_requests.runid IS 'Id of the run.';
COMMENT ON COLUMN cron.run_requests.jobid IS 'Id of the job.';
COMMENT ON COLUMN cron.run_requests.jobname IS 'Name of the job.';
COMMENT ON COLUMN cron.run_requests.scheduled_at IS 'The occurrence of the schedule that it runs for.';
COMMENT ON COLUMN cron.run_requests.status IS 'Status of the run itself.';
COMMENT ON COLUMN cron.run_requests.requests IS 'Number of requests that it made, without those whose response was deleted (net.ttl).';
COMMENT ON COLUMN cron.run_requests.waiting IS 'How many of them have not ended, including those in flight.';
COMMENT ON COLUMN cron.run_requests.succeeded IS 'How many were answered with a status below 400.';
COMMENT ON COLUMN cron.run_requests.failed IS 'How many failed.';
COMMENT ON COLUMN cron.run_requests.expired IS 'How many expired before they were sent.';
COMMENT ON COLUMN cron.run_requests.cancelled IS 'How many were cancelled.';
COMMENT ON COLUMN cron.run_requests.first_error IS 'Error of the first request that failed or expired.';
COMMENT ON COLUMN cron.run_requests.last_finished_at IS 'When the end of the last one was recorded.';
GRANT SELECT ON cron.run_requests TO PUBLIC;
