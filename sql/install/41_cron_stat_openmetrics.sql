-- ==== OpenMetrics ===============================================================================
-- The bodies are parsed when the functions are made: whoever calls them needs USAGE on no schema but
-- this one.

-- Labels are text, a comma after each: they are the same for many samples.
CREATE FUNCTION cron_stat._label(name text, content text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN name || '="' || replace(replace(replace(COALESCE(content, ''), '\', '\\'), E'\n', '\n'), '"', '\"') || '",';
COMMENT ON FUNCTION cron_stat._label(text, text) IS 'A label of OpenMetrics, and a comma.';

-- What each sample has behind its own labels.
CREATE FUNCTION cron_stat._tail() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN rtrim(cron_stat._label('database', current_database()), ',') || '} ';
COMMENT ON FUNCTION cron_stat._tail() IS 'The last label of all samples, and what follows it.';

-- A sample: name{labels,database="..."} value. NULL if there is no value.
CREATE FUNCTION cron_stat._sample(name text, labels text, tail text, value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN name || '{' || labels || tail || value || E'\n';
COMMENT ON FUNCTION cron_stat._sample(text, text, text, text) IS 'One line of OpenMetrics; labels is of texts of _label(), tail is _tail().';

CREATE FUNCTION cron_stat._family(name text, type text, unit text, help text, samples text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '# HELP ' || name || ' ' || help || E'\n# TYPE ' || name || ' ' || type || E'\n'
        || CASE WHEN unit = '' THEN '' ELSE '# UNIT ' || name || ' ' || unit || E'\n' END
        || COALESCE(samples, '');
COMMENT ON FUNCTION cron_stat._family(text, text, text, text, text) IS 'A metric family of OpenMetrics.';

CREATE FUNCTION cron_stat._histogram(name text, labels text, tail text, counts bigint[], sum double precision)
    RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
SELECT string_agg(cron_stat._sample(name || '_bucket', labels || cron_stat._label('le', b.bound), tail, b.total::text), ''
                  ORDER BY b.number)
    || cron_stat._sample(name || '_sum', labels, tail, sum::text)
    || cron_stat._sample(name || '_count', labels, tail, max(b.total)::text)
  FROM (SELECT e.bound, e.number, sum(counts[e.number]) OVER (ORDER BY e.number) AS total
          FROM unnest(cron_stat._bounds()) WITH ORDINALITY AS e(bound, number)) b;
    END;
COMMENT ON FUNCTION cron_stat._histogram(text, text, text, bigint[], double precision) IS 'The samples of a histogram.';

CREATE FUNCTION cron_stat._openmetrics_of_jobs(max_jobs int) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
WITH jobs AS MATERIALIZED (
    SELECT s.*, cron_stat._label('job', COALESCE(s.jobname, s.jobid::text)) || cron_stat._label('jobid', s.jobid::text) AS labels
      FROM cron_stat.top_jobs(max_jobs) s
)
SELECT cron_stat._family('cron_job_runs', 'counter', '', 'Runs that have ended.',
           string_agg(cron_stat._sample('cron_job_runs_total', labels || 'status="succeeded",', tail, succeeded::text)
                   || cron_stat._sample('cron_job_runs_total', labels || 'status="failed",', tail, failed::text)
                   || cron_stat._sample('cron_job_runs_total', labels || 'status="cancelled",', tail, cancelled::text), ''))
    || cron_stat._family('cron_job_skipped', 'counter', '', 'Occurrences that were skipped.',
           string_agg(cron_stat._sample('cron_job_skipped_total', labels, tail, skipped::text), ''))
    || cron_stat._family('cron_job_missed', 'counter', '', 'Occurrences that were missed and not made up for.',
           string_agg(cron_stat._sample('cron_job_missed_total', labels, tail, missed::text), ''))
    || cron_stat._family('cron_job_retries', 'counter', '', 'Runs that were second or later attempts.',
           string_agg(cron_stat._sample('cron_job_retries_total', labels, tail, retries::text), ''))
    || cron_stat._family('cron_job_run_seconds', 'counter', 'seconds', 'Time that runs took.',
           string_agg(cron_stat._sample('cron_job_run_seconds_total', labels, tail, total_time::text), ''))
    || cron_stat._family('cron_job_last_success_timestamp_seconds', 'gauge', 'seconds', 'When the last run ended that succeeded.',
           string_agg(cron_stat._sample('cron_job_last_success_timestamp_seconds', labels, tail, extract(epoch FROM last_success)::text), ''))
    || cron_stat._family('cron_job_next_run_timestamp_seconds', 'gauge', 'seconds', 'When the job runs next.',
           string_agg(cron_stat._sample('cron_job_next_run_timestamp_seconds', labels, tail, extract(epoch FROM next_run_at)::text), ''))
    || cron_stat._family('cron_job_interval_seconds', 'gauge', 'seconds', 'Time between the next two runs of the schedule.',
           string_agg(cron_stat._sample('cron_job_interval_seconds', labels, tail, extract(epoch FROM run_interval)::text), ''))
    || cron_stat._family('cron_job_consecutive_failures', 'gauge', '', 'Occurrences that failed since one succeeded.',
           string_agg(cron_stat._sample('cron_job_consecutive_failures', labels, tail, consecutive_failures::text), ''))
    || cron_stat._family('cron_job_overdue_seconds', 'gauge', 'seconds', 'For how long an occurrence has been due that has not started.',
           string_agg(cron_stat._sample('cron_job_overdue_seconds', labels, tail, COALESCE(extract(epoch FROM overdue_by), 0)::text), ''))
  FROM jobs CROSS JOIN (SELECT cron_stat._tail() AS tail OFFSET 0) t;
    END;
COMMENT ON FUNCTION cron_stat._openmetrics_of_jobs(int) IS 'The part of cron_stat.openmetrics() that is about jobs.';

CREATE FUNCTION cron_stat._openmetrics_of_runs() RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
SELECT cron_stat._family('cron_job_start_lag_seconds', 'histogram', 'seconds', 'How much later than scheduled runs started.',
           cron_stat._histogram('cron_job_start_lag_seconds', '', tail, d.lags, d.total_lag))
    || cron_stat._family('cron_job_duration_seconds', 'histogram', 'seconds', 'Time that runs took.',
           cron_stat._histogram('cron_job_duration_seconds', '', tail, d.durations, d.total_time))
    || (SELECT cron_stat._family('cron_occurrences_lost', 'counter', '', 'Occurrences that were skipped or missed.',
                   string_agg(cron_stat._sample('cron_occurrences_lost_total', cron_stat._label('reason', r.reason), tail, (r.skipped + r.missed)::text), ''))
            || cron_stat._family('cron_runs_waiting', 'gauge', '', 'Runs that wait, by reason.',
                   string_agg(cron_stat._sample('cron_runs_waiting', cron_stat._label('reason', r.reason), tail, r.waiting::text), ''))
          FROM cron_stat.reasons r)
    || cron_stat._family('cron_workers', 'gauge', '', 'Job workers, and how many there may be.',
           cron_stat._sample('cron_workers', 'state="busy",', tail, s.workers_busy::text)
        || cron_stat._sample('cron_workers', 'state="idle",', tail, s.workers_idle::text)
        || cron_stat._sample('cron_workers', 'state="limit",', tail, s.workers_limit::text))
    || cron_stat._family('cron_scheduler_up', 'gauge', '', 'Whether the scheduler is running; a standby has none.',
           cron_stat._sample('cron_scheduler_up', '', tail, CASE WHEN s.pid IS NOT NULL THEN '1' WHEN NOT pg_is_in_recovery() THEN '0' END))
    || cron_stat._family('cron_scheduler_restarts', 'counter', '', 'How often the scheduler was started again.',
           cron_stat._sample('cron_scheduler_restarts_total', '', tail, d.restarts::text))
    || cron_stat._family('cron_jobs', 'gauge', '', 'Number of jobs.',
           COALESCE(cron_stat._sample('cron_jobs', '', tail, s.jobs::text), ''))
    || cron_stat._family('cron_history_rows', 'gauge', '', 'Rows of the history, as the planner estimates them.',
           cron_stat._sample('cron_history_rows', '', tail, (
               SELECT GREATEST(c.reltuples, 0)::bigint::text FROM pg_class c WHERE c.oid = 'cron.job_run_details'::regclass)))
    || cron_stat._family('cron_history_bytes', 'gauge', 'bytes', 'Size of the history with its indexes.',
           cron_stat._sample('cron_history_bytes', '', tail, pg_total_relation_size('cron.job_run_details')::text))
  FROM cron_stat._database() d CROSS JOIN cron._scheduler_status() s
 CROSS JOIN (SELECT cron_stat._tail() AS tail OFFSET 0) t;
    END;
COMMENT ON FUNCTION cron_stat._openmetrics_of_runs() IS 'The part of cron_stat.openmetrics() that is about all runs and the scheduler.';

CREATE FUNCTION cron_stat._openmetrics_of_requests(max_hosts int) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
WITH hosts AS MATERIALIZED (
    SELECT h.*, cron_stat._label('host', h.host) AS labels FROM cron_stat.hosts h
     ORDER BY h.breaker <> 'closed' DESC, h.attempts DESC, h.host LIMIT max_hosts
)
SELECT cron_stat._family('net_requests', 'counter', '', 'Requests that have ended.',
           string_agg(cron_stat._sample('net_requests_total', labels || 'outcome="succeeded",', tail, succeeded::text)
                   || cron_stat._sample('net_requests_total', labels || 'outcome="failed",', tail, failed::text), ''))
    || cron_stat._family('net_attempts', 'counter', '', 'How often requests were sent.',
           string_agg(cron_stat._sample('net_attempts_total', labels, tail, attempts::text), ''))
    || cron_stat._family('net_request_duration_seconds', 'histogram', 'seconds', 'Time that attempts took.',
           string_agg(cron_stat._histogram('net_request_duration_seconds', labels, tail, durations, total_time), ''))
    || cron_stat._family('net_breaker_open', 'gauge', '', 'Whether requests are held back because the host has failed.',
           string_agg(cron_stat._sample('net_breaker_open', labels, tail, CASE WHEN breaker = 'closed' THEN '0' ELSE '1' END), ''))
    || (SELECT cron_stat._family('net_queue_requests', 'gauge', '', 'Requests that the http worker has.',
                   cron_stat._sample('net_queue_requests', 'state="waiting",', tail, r.waiting::text)
                || cron_stat._sample('net_queue_requests', 'state="in_flight",', tail, r.in_flight::text))
            || cron_stat._family('net_queue_oldest_seconds', 'gauge', 'seconds', 'For how long the oldest ready request has waited.',
                   cron_stat._sample('net_queue_oldest_seconds', '', tail, COALESCE(extract(epoch FROM r.oldest_wait), 0)::text))
            || cron_stat._family('net_requests_made', 'counter', '', 'Requests that were made.',
                   cron_stat._sample('net_requests_made_total', '', tail, r.made::text))
            || cron_stat._family('net_sent_bytes', 'counter', 'bytes', 'Bytes of bodies that were sent.',
                   cron_stat._sample('net_sent_bytes_total', '', tail, r.bytes_out::text))
            || cron_stat._family('net_received_bytes', 'counter', 'bytes', 'Bytes of bodies that were received.',
                   cron_stat._sample('net_received_bytes_total', '', tail, r.bytes_in::text))
            || cron_stat._family('net_callbacks_failed', 'counter', '', 'Callbacks that failed for good.',
                   cron_stat._sample('net_callbacks_failed_total', '', tail, r.callbacks_failed::text))
            || cron_stat._family('net_callbacks_waiting', 'gauge', '', 'Callbacks that wait.',
                   cron_stat._sample('net_callbacks_waiting', '', tail, r.callbacks_waiting::text))
          FROM cron_stat.requests r CROSS JOIN (SELECT cron_stat._tail() AS tail OFFSET 0) t)
  FROM hosts CROSS JOIN (SELECT cron_stat._tail() AS tail OFFSET 0) t;
    END;
COMMENT ON FUNCTION cron_stat._openmetrics_of_requests(int) IS 'The part of cron_stat.openmetrics() that is about HTTP requests.';

-- Reads tables only, with columns of the types that securatlas.install() gives them, as the caller: a view
-- of that name could be somebody's who wants his functions called by whoever watches the server. One look
-- into an index for each tenant; more than ten thousand tenants are not counted.
CREATE FUNCTION cron_stat._openmetrics_of_tenants() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    place regnamespace;
    samples text;
BEGIN
    SELECT c.relnamespace INTO place
      FROM pg_class c
      JOIN pg_class t ON t.relname = 'tenants' AND t.relnamespace = c.relnamespace AND t.relkind IN ('r', 'p')
     WHERE c.relname = 'tenant_risk_snapshots' AND c.relkind IN ('r', 'p') AND t.reltuples <= 10000
       AND has_schema_privilege(c.relnamespace, 'USAGE')
       AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(t.oid, 'SELECT')
       AND (SELECT count(*) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND (a.attname, a.atttypid) IN (
                   ('tenant_id', 'uuid'::regtype), ('risk_score_1_100', 'int'::regtype),
                   ('computed_at', 'timestamptz'::regtype))) = 3
       AND EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = t.oid AND (a.attname, a.atttypid) = ('id', 'uuid'::regtype))
     ORDER BY c.oid LIMIT 1;
    IF place IS NULL THEN
        RETURN '';
    END IF;
    EXECUTE format($query$
        WITH score AS MATERIALIZED (
            SELECT latest.score
              FROM %1$s.tenants t
             CROSS JOIN LATERAL (SELECT s.risk_score_1_100 AS score FROM %1$s.tenant_risk_snapshots s
                                  WHERE s.tenant_id = t.id ORDER BY s.computed_at DESC LIMIT 1) AS latest)
        SELECT string_agg(cron_stat._sample('securatlas_tenants', cron_stat._label('level', l.level), tail, (
                   SELECT count(*) FROM score s WHERE s.score BETWEEN l.low AND l.high)::text), '' ORDER BY l.low)
          FROM (VALUES ('critical', 0, 20), ('high', 21, 40), ('medium', 41, 60), ('moderate', 61, 80),
                       ('low', 81, 100)) AS l(level, low, high)
         CROSS JOIN cron_stat._tail() AS tail
        $query$, place)
       INTO samples;
    RETURN cron_stat._family('securatlas_tenants', 'gauge', '', 'Tenants by the level of their latest risk score.', samples);
END $$;
COMMENT ON FUNCTION cron_stat._openmetrics_of_tenants() IS 'The part of cron_stat.openmetrics() that is about the tenants of schema securatlas'' tables; empty if there are none, more than 10,000, or none that the caller may read.';

CREATE FUNCTION cron_stat.openmetrics(max_jobs int DEFAULT 100, max_hosts int DEFAULT 100) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
SELECT cron_stat._openmetrics_of_jobs(GREATEST(max_jobs, 0)) || cron_stat._openmetrics_of_runs()
    || cron_stat._openmetrics_of_requests(GREATEST(max_hosts, 0)) || cron_stat._openmetrics_of_tenants()
    || E'# EOF\n';
    END;
COMMENT ON FUNCTION cron_stat.openmetrics(int, int) IS 'The statistics of this database as OpenMetrics text; of so many jobs (first those that fail, then the busiest) and hosts (first those whose breaker is open, then the busiest).
max_jobs: how many jobs are shown, those that fail and the busiest first.
max_hosts: how many hosts are shown.';
