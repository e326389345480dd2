-- ==== the report page ========================================================================
-- One HTML page of what the caller may see. The functions run with the caller's rights and read the
-- tables under row security; a screen whose tables the caller may not read is left out or says so.
-- What is shown is bounded, whatever is there (jobs, bars, groups of failures, the length of texts, and
-- the bytes of jobs and failures together), so that the page has 1 MB at most.

--- only when installed
-- PostgREST serves what a function returns as a domain of this name with that content type.
CREATE DOMAIN cron."text/html" AS text;
--- also when updated
COMMENT ON DOMAIN cron."text/html" IS 'An HTML page: PostgREST takes the name of the type as content type.';

-- The page without its data, from report/page.html.
CREATE FUNCTION cron._report_page() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $report_function$ SELECT $report_page$
@report_page@
$report_page$ $report_function$;
COMMENT ON FUNCTION cron._report_page() IS 'The page of cron.report() without its data.';

CREATE FUNCTION cron._seconds(instant timestamptz) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN pg_catalog.round((extract(epoch FROM instant))::pg_catalog.numeric, 3);
COMMENT ON FUNCTION cron._seconds(timestamptz) IS 'Seconds since 1970 with milliseconds, as the report page takes them.';
CREATE FUNCTION cron._seconds(duration interval) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN pg_catalog.round((extract(epoch FROM duration))::pg_catalog.numeric, 4);
COMMENT ON FUNCTION cron._seconds(interval) IS 'An interval in seconds, as the report page takes it.';

CREATE FUNCTION cron._page_size(value jsonb) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN pg_catalog.octet_length(pg_catalog.replace(value::pg_catalog.text, '<', '\u003c'));
COMMENT ON FUNCTION cron._page_size(jsonb) IS 'How many bytes of the report page a value takes.';

-- Everything about jobs and runs in one statement, so that one snapshot is shown and the runs of the
-- window are read once. Of a job with few runs each is drawn (bars); of the others the page gets a
-- character for each of 144 parts of the window (cells): 'A' plus 6 times the worst that happened
-- (nothing, skipped, missed, failed) plus the number of runs (0, 1, up to 4, 16, 64, more). The letters of the
-- statuses are those of the page: succeeded, failed, skipped (k), missed, running, waiting.
CREATE FUNCTION cron._report_runs(since timestamptz, until timestamptz) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH run AS MATERIALIZED (
        SELECT d.jobid, d.runid, d.jobname, d.scheduled_at, d.attempt, d.trigger, d.status, d.sqlstate,
               d.reason, d.start_time, d.end_time, COALESCE(d.start_time, d.scheduled_at) AS at,
               -- Where in the window, from 0 to 1.
               extract(epoch FROM d.start_time - since)::float8 / extract(epoch FROM until - since)::float8 AS place,
               CASE d.status WHEN 'succeeded' THEN 's' WHEN 'failed' THEN 'f' WHEN 'running' THEN 'r'
                             WHEN 'skipped' THEN CASE WHEN starts_with(d.reason, 'missed: ') THEN 'm' ELSE 'k' END
                             ELSE 'w' END AS code,
               CASE WHEN d.status = 'skipped' AND starts_with(d.reason, 'missed: ')
                    THEN COALESCE(substring(d.reason FROM '\((\d+) occurrences\)$')::bigint, 1) END AS lost,
               -- Negative of a run that was asked for early; 0 of what never started.
               CASE WHEN d.status IN ('succeeded', 'failed', 'running') AND d.trigger IN ('schedule', 'once')
                    THEN greatest(d.start_time - d.scheduled_at, interval '0') END AS lag,
               CASE WHEN d.status = 'failed' THEN left(d.return_message, 2000)
                    WHEN d.status = 'skipped' THEN d.reason END AS message
          FROM cron.job_run_details d
         WHERE d.start_time BETWEEN since AND until
            OR d.status IN ('starting', 'running') AND d.start_time IS NULL
    ), totals AS (
        SELECT jsonb_build_object(
                   'runs', count(*) FILTER (WHERE code IN ('s', 'f', 'r')),
                   'failed', count(*) FILTER (WHERE code = 'f'),
                   'skipped', count(*) FILTER (WHERE code = 'k'),
                   'missed', COALESCE(sum(run.lost), 0),
                   'running', count(*) FILTER (WHERE code = 'r'),
                   'late', count(*) FILTER (WHERE lag > COALESCE(j.jitter, '0') + interval '10 seconds'),
                   'lag_p99', cron._seconds(percentile_disc(0.99) WITHIN GROUP (ORDER BY lag))) AS value
          FROM run LEFT JOIN cron.job j USING (jobid)
    ), part AS (
        SELECT p AS place, count(r.runid) FILTER (WHERE code IN ('s', 'f', 'r')) AS runs,
               count(*) FILTER (WHERE code = 'f') AS failed, COALESCE(sum(lost), 0) AS lost,
               COALESCE(cron._seconds(max(lag)), 0) AS lag
          FROM generate_series(0, 47) AS p
          LEFT JOIN run r ON p = least(47, floor(r.place * 48)::int)
         GROUP BY p
    ), of_job AS (
        SELECT jobid, count(*) AS rows, count(*) FILTER (WHERE code IN ('s', 'f', 'r')) AS runs,
               count(*) FILTER (WHERE code = 's') AS ok, count(*) FILTER (WHERE code = 'f') AS failed,
               count(*) FILTER (WHERE code = 'k') AS skipped, COALESCE(sum(lost), 0) AS lost,
               percentile_disc(0.95) WITHIN GROUP (ORDER BY end_time - start_time)
                   FILTER (WHERE code IN ('s', 'f')) AS p95,
               max(end_time - start_time) FILTER (WHERE code IN ('s', 'f')) AS max
          FROM run GROUP BY jobid
    ), job AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY j.active AND last.status = 'failed' DESC NULLS LAST, o.lost DESC NULLS LAST,
                                           o.failed DESC NULLS LAST, j.active DESC, o.runs DESC NULLS LAST, j.jobid) AS rank,
               j.*, o.rows, o.runs, o.ok, o.failed, o.skipped, o.lost, o.p95, o.max, last.status AS last_status,
               last.start_time AS last_start, COALESCE(j.jobname, 'job ' || j.jobid) AS title
          FROM cron.job j
          LEFT JOIN of_job o USING (jobid)
          LEFT JOIN LATERAL (SELECT d.status, d.start_time FROM cron.job_run_details d
                              WHERE d.jobid = j.jobid AND d.status IN ('succeeded', 'failed')
                              ORDER BY d.scheduled_at DESC, d.attempt DESC LIMIT 1) last ON true
         ORDER BY rank LIMIT 1000
    ), drawn AS (
        -- The jobs with the fewest runs, up to 4,000 bars together.
        SELECT jobid FROM (SELECT jobid, rows, sum(rows) OVER (ORDER BY rows, jobid) AS together
                             FROM job WHERE rows > 0) AS s
         WHERE rows <= 100 AND together <= 4000
    ), bars AS (
        SELECT r.jobid, jsonb_agg(jsonb_build_array(
                   round(cron._seconds(r.at) - cron._seconds(since), 1),
                   CASE WHEN r.lag > interval '1 second' THEN round(cron._seconds(r.lag), 1) ELSE 0 END,
                   CASE WHEN code NOT IN ('r', 'w') THEN round(cron._seconds(r.end_time - r.start_time), 3) END,
                   code, r.runid, left(COALESCE(r.message, CASE WHEN code = 'w' THEN r.reason END), 120)) ORDER BY r.at, r.runid) AS value
          FROM run r JOIN drawn USING (jobid) GROUP BY r.jobid
    ), cell AS (
        SELECT r.jobid, least(143, floor(r.place * 144)::int) AS place,
               max(CASE code WHEN 'f' THEN 3 WHEN 'm' THEN 2 WHEN 'k' THEN 1 ELSE 0 END) AS worst,
               count(*) FILTER (WHERE code IN ('s', 'f', 'r')) AS runs
          FROM run r JOIN job j USING (jobid)
         WHERE code <> 'w' AND NOT EXISTS (SELECT FROM drawn d WHERE d.jobid = r.jobid)
         GROUP BY 1, 2
    ), cells AS (
        SELECT many.jobid, string_agg(COALESCE(chr(65 + 6 * c.worst
                   + CASE WHEN c.runs < 2 THEN c.runs WHEN c.runs <= 4 THEN 2 WHEN c.runs <= 16 THEN 3 WHEN c.runs <= 64 THEN 4 ELSE 5 END::int), '.'), ''
                   ORDER BY p) AS value
          FROM (SELECT DISTINCT jobid FROM cell) many CROSS JOIN generate_series(0, 143) AS p
          LEFT JOIN cell c ON c.jobid = many.jobid AND c.place = p
         GROUP BY many.jobid
    ), strip AS (
        SELECT jobid, string_agg(code, '' ORDER BY at, runid) AS value
          FROM (SELECT jobid, code, at, runid, row_number() OVER (PARTITION BY jobid ORDER BY at DESC, runid DESC) AS n
                  FROM run) AS s
         WHERE n <= 30 GROUP BY jobid
    ), failure AS (
        SELECT jobid, max(at) AS last, max(runid) AS run, jsonb_build_object(
                   'job', left(COALESCE(max(jobname), 'job ' || jobid), 100), 'sqlstate', sqlstate,
                   'message', COALESCE(message, ''), 'count', count(*), 'first', cron._seconds(min(at)),
                   'last', cron._seconds(max(at)), 'run', max(runid)) AS value
          FROM run WHERE code = 'f'
         GROUP BY jobid, sqlstate, message ORDER BY max(at) DESC, jobid LIMIT 100
    ), entry AS MATERIALIZED (
        SELECT value FROM (
            SELECT value, sum(cron._page_size(value)) OVER (ORDER BY rank) AS together FROM (
                SELECT j.rank, jsonb_strip_nulls(jsonb_build_object(
                           'id', j.jobid, 'name', left(j.title, 100), 'schedule', left(j.schedule, 100),
                           'words', left(CASE WHEN next.at IS NOT NULL THEN regexp_replace(
                                        cron.explain_schedule(j.schedule, j.timezone),
                                        CASE WHEN j.timezone IS NULL THEN ', in [^ ,]+$' ELSE '^$' END, '') END, 150),
                           'command', left(j.command, 200), 'active', j.active, 'note', left(j.note, 200),
                           'held', cron._held(j.replicated),
                           'next', CASE WHEN j.active AND cron._held(j.replicated) IS NULL
                                   THEN COALESCE((SELECT jsonb_agg(cron._seconds(t)) FROM unnest(next.at) AS t), '[]') ELSE '[]' END,
                           'runs', COALESCE(j.runs, 0), 'ok', COALESCE(j.ok, 0), 'ended', COALESCE(j.ok + j.failed, 0),
                           'failed', COALESCE(j.failed, 0), 'skipped', COALESCE(j.skipped, 0), 'missed', COALESCE(j.lost, 0),
                           'p95', cron._seconds(j.p95), 'max', cron._seconds(j.max),
                           'streak', COALESCE(streak.count, 0), 'since', cron._seconds(streak.since),
                           'last', CASE WHEN j.last_status IS NOT NULL
                                   THEN jsonb_build_array(cron._seconds(j.last_start), left(j.last_status, 1)) END,
                           'strip', COALESCE(strip.value, ''), 'cells', cells.value, 'bars', bars.value)) AS value
                  FROM job j
                  LEFT JOIN bars USING (jobid) LEFT JOIN cells USING (jobid) LEFT JOIN strip USING (jobid)
                 CROSS JOIN LATERAL (SELECT cron._try_next_runs(j.schedule, 3, NULL, j.timezone, j.planned_from)) AS next(at)
                  -- Failures in a row, as in cron.jobs: of the runs that the schedule asked for.
                  LEFT JOIN LATERAL (
                       SELECT count(DISTINCT d.scheduled_at) AS count, min(d.start_time) AS since
                         FROM cron.job_run_details d
                        WHERE j.last_status = 'failed' AND d.jobid = j.jobid AND d.status = 'failed'
                          AND d.trigger <> 'manual' AND d.reason IS DISTINCT FROM 'cancelled'
                          AND d.scheduled_at <= 'infinity' AND d.scheduled_at >
                              COALESCE((SELECT max(s.scheduled_at) FROM cron.job_run_details s
                                         WHERE s.jobid = j.jobid AND s.status = 'succeeded' AND s.trigger <> 'manual'),
                                       '-infinity')) streak ON true) AS each) AS sized
         WHERE together <= 750000
    )
    SELECT jsonb_build_object(
        'totals', (SELECT value FROM totals)
                  || (SELECT jsonb_build_object('jobs', count(*), 'active', count(*) FILTER (WHERE active)) FROM cron.job),
        'jobs_left_out', (SELECT count(*) FROM cron.job) - (SELECT count(*) FROM entry),
        'series', (SELECT jsonb_build_object('runs', jsonb_agg(runs ORDER BY place), 'failed', jsonb_agg(failed ORDER BY place),
                                             'missed', jsonb_agg(lost ORDER BY place), 'lag', jsonb_agg(lag ORDER BY place)) FROM part),
        'jobs', (SELECT COALESCE(jsonb_agg(value ORDER BY (value ->> 'id')::bigint), '[]') FROM entry),
        'failures', (SELECT COALESCE(jsonb_agg(value ORDER BY last DESC, jobid), '[]')
                       FROM (SELECT value, last, jobid, sum(cron._page_size(value)) OVER (ORDER BY last DESC, jobid, run) AS together
                               FROM failure) AS sized WHERE together <= 100000))
$$;
COMMENT ON FUNCTION cron._report_runs(timestamptz, timestamptz) IS 'Jobs, runs and failures of a window, as the report page takes them.';

CREATE FUNCTION cron._report_requests(since timestamptz, until timestamptz) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT (has_schema_privilege('net', 'USAGE') AND has_table_privilege('net._http_response', 'SELECT')
            AND has_table_privilege('net.http_request_queue', 'SELECT')
            AND has_table_privilege('net.host_status', 'SELECT')) THEN
        RETURN NULL;
    END IF;
    RETURN (
        WITH response AS MATERIALIZED (
            SELECT r.id, r.host, r.state, r.created, r.attempts, r.duration_ms / 1000.0 AS took, r.runid,
                   r.state IN ('failed', 'expired') AS failed,
                   left(COALESCE(r.error_msg, 'HTTP status ' || r.status_code), 200) AS error
              FROM net._http_response r WHERE r.created BETWEEN since AND until
        ), part AS (
            SELECT p, count(r.id) AS total FROM generate_series(1, 48) AS p
              LEFT JOIN response r ON p = width_bucket(cron._seconds(r.created), cron._seconds(since),
                                                       cron._seconds(until) + 0.001, 48)
             GROUP BY p
        ), host AS (
            SELECT COALESCE(r.host::text, h.host) AS host, h.breaker, h.last_error, COALESCE(r.total, 0) AS total,
                   COALESCE(r.failed, 0) AS failed, COALESCE(r.repeated, 0) AS repeated, r.p50, r.p95
              FROM (SELECT host, count(*) AS total, count(*) FILTER (WHERE failed) AS failed,
                           count(*) FILTER (WHERE attempts > 1) AS repeated,
                           percentile_disc(0.5) WITHIN GROUP (ORDER BY took) AS p50,
                           percentile_disc(0.95) WITHIN GROUP (ORDER BY took) AS p95
                      FROM response GROUP BY host) AS r
              FULL JOIN net.host_status h ON h.host = r.host::text
             ORDER BY h.breaker = 'open' DESC NULLS LAST, r.failed DESC NULLS LAST, r.total DESC NULLS LAST, 1
             LIMIT 60
        ), failure AS (
            SELECT host, error, count(*) AS count, min(created) AS first, max(created) AS last,
                   max(runid) AS run
              FROM response WHERE failed GROUP BY host, error ORDER BY max(created) DESC LIMIT 60
        ), made AS (
            SELECT runid, count(*) AS total, count(*) FILTER (WHERE failed) AS failed
              FROM response WHERE runid IS NOT NULL GROUP BY runid ORDER BY runid DESC LIMIT 50
        )
        SELECT jsonb_build_object(
            'total', (SELECT count(*) FROM response), 'failed', (SELECT count(*) FROM response WHERE failed),
            'waiting', (SELECT count(*) FROM net.http_request_queue),
            'oldest', (SELECT cron._seconds(min(created)) FROM net.http_request_queue),
            'kept', current_setting('net.ttl', true),
            'series', (SELECT jsonb_agg(total ORDER BY p) FROM part),
            'hosts', (SELECT COALESCE(jsonb_agg(jsonb_build_object('host', left(host, 200), 'breaker', COALESCE(breaker, 'closed'),
                          'total', total, 'failed', failed, 'repeated', repeated, 'p50', round(p50::numeric, 4),
                          'p95', round(p95::numeric, 4), 'error', left(last_error, 200))), '[]') FROM host),
            'failures', (SELECT COALESCE(jsonb_agg(jsonb_build_object('host', left(f.host::text, 200), 'error', f.error, 'count', f.count,
                          'first', cron._seconds(f.first), 'last', cron._seconds(f.last), 'run', f.run,
                          'job', left(d.jobname, 100)) ORDER BY f.last DESC), '[]')
                           FROM failure f LEFT JOIN cron.job_run_details d ON d.runid = f.run),
            'runs', (SELECT COALESCE(jsonb_agg(jsonb_build_object('run', m.runid, 'job', left(COALESCE(d.jobname, 'job ' || d.jobid), 100),
                          'start', cron._seconds(d.start_time), 'total', m.total, 'failed', m.failed,
                          'waiting', (SELECT count(*) FROM net.http_request_queue q WHERE q.runid = m.runid)) ORDER BY m.runid DESC), '[]')
                       FROM made m JOIN cron.job_run_details d USING (runid))));
END $$;
COMMENT ON FUNCTION cron._report_requests(timestamptz, timestamptz) IS 'Requests of a window, as the report page takes them; NULL: the caller may not read them.';

-- Reads tables only, with columns of the types that install() gives them: a view of that name could be
-- somebody's who wants his functions called by whoever looks at the report.
CREATE FUNCTION cron._report_risk() RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place regnamespace;
    answer jsonb;
BEGIN
    SELECT c.relnamespace INTO place
      FROM pg_class c
     WHERE c.relname = 'tenant_risk_snapshots' AND c.relkind IN ('r', 'p')
       AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
       AND (SELECT count(*) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND (a.attname, a.atttypid) IN (
                   ('id', 'uuid'::regtype), ('tenant_id', 'uuid'::regtype), ('risk_score_1_100', 'int'::regtype),
                   ('computed_at', 'timestamptz'::regtype))) = 4
       AND EXISTS (SELECT FROM pg_class t
                    WHERE t.relname = 'tenants' AND t.relnamespace = c.relnamespace AND t.relkind IN ('r', 'p')
                      AND has_table_privilege(t.oid, 'SELECT')
                      AND (SELECT count(*) FROM pg_attribute a
                            WHERE a.attrelid = t.oid AND (a.attname, a.atttypid) IN (
                                  ('id', 'uuid'::regtype), ('name', 'text'::regtype))) = 2)
     ORDER BY c.oid LIMIT 1;
    IF place IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format($query$
        WITH score AS MATERIALIZED (
            SELECT t.name, latest.score, latest.computed_at, month.score AS before
              FROM %1$s.tenants t
             CROSS JOIN LATERAL (SELECT s.risk_score_1_100 AS score, s.computed_at FROM %1$s.tenant_risk_snapshots s
                                  WHERE s.tenant_id = t.id ORDER BY s.computed_at DESC, s.id LIMIT 1) AS latest
              LEFT JOIN LATERAL (SELECT s.risk_score_1_100 AS score FROM %1$s.tenant_risk_snapshots s
                                  WHERE s.tenant_id = t.id AND s.computed_at <= now() - interval '30 days'
                                  ORDER BY s.computed_at DESC, s.id LIMIT 1) AS month ON true)
        SELECT jsonb_build_object(
            'tenants', (SELECT count(*) FROM score), 'computed', (SELECT cron._seconds(max(computed_at)) FROM score),
            'levels', (SELECT jsonb_agg(jsonb_build_object('level', l.level, 'scores', l.low || '-' || l.high,
                           'now', (SELECT count(*) FROM score s WHERE s.score BETWEEN l.low AND l.high),
                           'before', (SELECT count(*) FROM score s WHERE s.before BETWEEN l.low AND l.high)) ORDER BY l.low)
                         FROM (VALUES ('critical', 0, 20), ('high', 21, 40), ('medium', 41, 60), ('moderate', 61, 80),
                                      ('low', 81, 100)) AS l(level, low, high)),
            'fell', (SELECT COALESCE(jsonb_agg(jsonb_build_object('tenant', left(f.name, 100), 'score', f.score,
                           'change', f.score - f.before) ORDER BY f.score - f.before, f.name), '[]')
                       FROM (SELECT * FROM score WHERE score < before ORDER BY score - before, name LIMIT 10) AS f))
        $query$, place) INTO answer;
    RETURN CASE WHEN (answer ->> 'tenants')::bigint > 0 THEN answer END;
END $$;
COMMENT ON FUNCTION cron._report_risk() IS 'Scores of the tenants now and 30 days ago, as the report page takes them; NULL: there are none that the caller may read.';

-- Compiling the statements takes longer than executing them.
CREATE FUNCTION cron.report(hours int DEFAULT 24) RETURNS cron."text/html"
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    made timestamptz := clock_timestamp();
    since timestamptz;
    requests jsonb;
    data jsonb;
BEGIN
    IF hours IS NULL OR hours NOT BETWEEN 1 AND 8784 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('invalid number of hours: %s', COALESCE(hours::text, 'NULL')),
            HINT = 'Use a number from 1 to 8784 (a year).';
    END IF;
    since := made - make_interval(hours => hours);
    requests := cron._report_requests(since, made);
    data := cron._report_runs(since, made);
    data := jsonb_build_object(
        'database', current_database(), 'user', current_user,
        'version', (SELECT extversion FROM pg_extension WHERE extname = 'securatlas_sched'),
        'made', cron._seconds(made), 'from', cron._seconds(since), 'hours', hours, 'cells', 144, 'late_after', 10,
        'sees_all', pg_has_role('pg_read_all_stats', 'USAGE'),
        'scheduler', (SELECT jsonb_build_object('alive', s.pid IS NOT NULL, 'held', s.held, 'last_error', left(s.last_error, 500),
                                 'waiting', s.waiting, 'oldest_wait', cron._seconds(s.oldest_wait)) FROM cron.scheduler_status s),
        'requests', requests - 'series', 'risk', cron._report_risk())
        || jsonb_set(data, '{series,requests}', COALESCE(requests -> 'series', '[]'));
    -- "<" occurs in strings only, and without it nothing in them ends the element that holds the data.
    RETURN replace(cron._report_page(), '@report_data@', replace(data::text, '<', '\u003c'));
END $$;
COMMENT ON FUNCTION cron.report(int) IS 'An HTML page, without external resources, of the last hours: what ran, failed, waits and comes next, as far as the caller may see it.
hours: 1 to 8784.
Error 22023: hours is out of range or NULL.';
