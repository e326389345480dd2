-- The schedule language: next_runs, explain_schedule, and every part of its errors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS securatlas_sched;
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';
\set SHOW_CONTEXT never

-- What a command is refused with: sqlstate | message | detail | hint.
CREATE FUNCTION pg_temp.refusal(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'NOT REFUSED';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', state, message, detail, hint);
END $$;
-- The next runs after an instant, on one line, in UTC.
CREATE FUNCTION pg_temp.runs(schedule text, after timestamptz, timezone text DEFAULT NULL, n int DEFAULT 3)
RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(r, 'YYYY-MM-DD HH24:MI:SS'), ', ' ORDER BY r)
      FROM cron.next_runs(schedule, n, after, timezone) AS r
$$;

-- ==== next_runs ================================================================================
SELECT * FROM cron.next_runs('0 2 * * *', after => '2026-11-23 00:00Z');
SELECT * FROM cron.next_runs('0 */6 * * *', 3, '2026-11-23 05:59Z');
-- An instant that matches is not after itself.
SELECT * FROM cron.next_runs('0 3 * * *', 1, '2026-11-23 03:00Z');
SELECT * FROM cron.next_runs('0 3 * * *', 1, '2026-11-23 02:59:59.999999Z');
SELECT * FROM cron.next_runs('0 3 * * *', 0, '2026-11-23 03:00Z');
-- By default: five, from now on.
SELECT count(*), min(r) > now() AS later, max(r) - min(r) AS span FROM cron.next_runs('0 2 * * *') AS r;

-- Fields.
SELECT schedule, pg_temp.runs(schedule, '2026-11-23 12:55Z') FROM (VALUES
    ('*/7 * * * *'), ('50-10/5 * * * *'), ('5/20 * * * *'), ('0 22-2 * * *'), ('0,30 9 * * *'),
    ('0 0 L * *'), ('0 0 $ * *'), ('0 0 31 * *'), ('0 9 L-2 * *'), ('0 9 15W * *'), ('0 9 LW * *'),
    ('0 0 29 2 *'), ('0 0 1 nov-feb *'), ('0 0 1 JAN,Jul ?'),
    ('0 0 * * 7'), ('0 0 * * 0'), ('0 0 * * sat-sun'), ('0 0 * * fri-mon'), ('0 0 * * */5'),
    ('0 9 * * 5L'), ('0 9 * * 5#2'), ('0 9 * * mon#5'),
    (E'\t0  2 *\t* *  ')) AS v(schedule);
-- Both days restricted: either; one of them starred: both.
SELECT schedule, pg_temp.runs(schedule, '2026-11-23Z') FROM (VALUES
    ('0 0 1 * 1'), ('0 0 */2 * 1'), ('0 0 1 * */2'), ('0 0 1,15 * fri'), ('0 0 ? * 1')) AS v(schedule);
-- Macros and intervals.
SELECT schedule, pg_temp.runs(schedule, '2026-11-23 12:34:56Z') FROM (VALUES
    ('@yearly'), ('@annually'), ('@monthly'), ('@weekly'), ('@daily'), ('@midnight'), ('@Hourly'),
    ('30 seconds'), ('1 second'), ('59 SECONDS'), ('  7  Seconds '),
    ('@every 90 seconds'), ('@every 1 day'), ('@every 1 month'), ('@every 1:30'),
    ('@at 2027-01-01 00:00:00+00'), ('@at 2020-01-01 00:00:00+00'), ('@reboot'), ('@restart'))
    AS v(schedule);

-- Zones: the argument, or the schedule's own; daylight saving.
SELECT schedule, zone, pg_temp.runs(schedule, after::timestamptz, zone) FROM (VALUES
    ('30 2 * * *', 'America/New_York', '2026-03-07 12:00Z'),       -- a gap
    ('30 1 * * *', 'America/New_York', '2026-10-31 12:00Z'),       -- twice
    ('*/30 * * * *', 'America/New_York', '2026-11-01 04:45Z'),     -- elapsed time
    ('*/15 2 * * *', 'Europe/Berlin', '2026-03-28 12:00Z'),        -- all that fell into the gap is one
    ('0 2-3 * * *', 'Europe/Berlin', '2026-03-28 12:00Z'),         -- or is due at its end
    ('0 0 * * *', 'America/Havana', '2026-03-07 12:00Z'),          -- a day without a midnight
    ('0 12 * * *', 'Pacific/Apia', '2011-12-28 12:00Z'),           -- a day that was not there
    ('30 2 * * *', 'Africa/Casablanca', '2026-02-14 00:00Z'),
    ('CRON_TZ=Asia/Kolkata 0 12 * * mon-fri', NULL, '2026-11-27 12:00Z'),
    ('TZ=Asia/Kolkata 0 12 * * mon-fri', 'America/New_York', '2026-11-27 12:00Z'),
    ('@daily', 'asia/kathmandu', '2026-11-23 00:00Z'),
    ('@at 2027-01-01 00:00', 'Asia/Tokyo', '2026-11-23 00:00Z'),
    ('CRON_TZ=Asia/Tokyo @at 2027-01-01 00:00', 'UTC', '2026-11-23 00:00Z'))
    AS v(schedule, zone, after);
-- The session's own settings mean nothing to a schedule.
SET TIME ZONE 'Asia/Tokyo';
SET datestyle = 'SQL, DMY';
SELECT cron.next_runs('@at 2027-02-01 00:00', 1, '2026-11-23 00:00Z') = '2027-02-01 00:00Z' AS utc,
       cron.next_runs('0 2 * * *', 1, '2026-11-23 00:00Z') = '2026-11-23 02:00Z' AS gmt;
SET TIME ZONE 'UTC';
SET datestyle = 'ISO, YMD';

-- ==== explain_schedule =========================================================================
SELECT cron.explain_schedule('0 2 * * *', 'UTC');
SELECT cron.explain_schedule('0 2 * * *');
SELECT schedule, cron.explain_schedule(schedule) FROM (VALUES
    ('* * * * *'), ('*/5 * * * *'), ('*/7 * * * *'), ('0 * * * *'), ('0 */6 * * *'), ('*/15 9-17 * * mon-fri'),
    ('0 0 1 * 1'), ('0 0 */2 * 1'), ('0 0 1,15 jan,jul *'), ('0 0 L * *'), ('0 9 L-2 * *'), ('0 9 15W * *'),
    ('0 9 LW * *'), ('0 9 * * 5L'), ('0 9 * * 5#2'), ('0 0 * dec sat,sun'),
    ('@yearly'), ('@hourly'), ('@reboot'), ('@every 90 seconds'), ('@every 1 mon 2 days'),
    ('@every 1.5 seconds'), ('1 second'), ('45 seconds'), ('@at 2027-01-01 12:30+02'),
    ('CRON_TZ=Asia/Tokyo 30 6 * * *')) AS v(schedule);

-- ==== errors ===================================================================================
-- Message and hint are what users of pg_cron see.
\set VERBOSITY default
SELECT cron.next_runs('60 * * * *');
SELECT cron.explain_schedule('* * 0 * *');
SELECT cron.schedule('refused', '100 seconds', 'SELECT 1');
-- Message and hint are the same for all that follow; the detail tells.
SELECT schedule, split_part(said, ' | ', 3) AS detail,
       split_part(said, ' | ', 1) AS sqlstate,
       split_part(said, ' | ', 2) = 'invalid schedule: ' || schedule AS message,
       split_part(said, ' | ', 4) = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''' AS hint
  FROM (VALUES
    (''), (' '), ('* * * *'), ('* * * * * *'), ('x * * * *'), ('60 * * * *'), ('* 24 * * *'),
    ('* * 32 * *'), ('* * 0 * *'), ('* * * 13 *'), ('* * * 0 *'), ('* * * foo *'), ('* * * * 8'),
    ('* * * * mun'), ('-1 * * * *'), ('4294967296 * * * *'), ('99999999999999999999999999 * * * *'),
    ('*/0 * * * *'), ('*/60 * * * *'), ('1-2-3 * * * *'), ('1, * * * *'), (',1 * * * *'), ('1- * * * *'),
    ('1/ * * * *'), ('L * * * *'), ('* * L-31 * *'), ('* * 32W * *'), ('* * * * 5#6'), ('* * * * 5#0'),
    ('0 0 30 2 *'), ('0 0 31 2,4,6,9,11 *'), ('0 0 30W 2 *'),
    ('@never'), ('@daily x'), ('@every'), ('@every x'), ('@every -1 day'), ('@every 0 seconds'),
    ('@every 500 ms'), ('@at'), ('@at x'), ('@at tomorrow'), ('@at now'), ('@at infinity'),
    ('@at 10000-01-01'),
    ('0 seconds'), ('60 seconds'), ('1 minute'), ('1.5 seconds'), ('5 seconds x'),
    ('CRON_TZ= * * * * *'), ('CRON_TZ=UTC'), ('UTC * * * * *'))
    AS v(schedule), LATERAL pg_temp.refusal(format('SELECT cron.next_runs(%L)', schedule)) AS said;
-- What is not printable is shown as bytes; what is long is cut.
SELECT pg_temp.refusal(format('SELECT cron.next_runs(%L)', E'0 2\n* * *'));
-- Ends of lines around it mean nothing, and so does a comment.
SELECT cron.explain_schedule(E'\n  0 2 * * *  # each night\r\n'), cron.explain_schedule(E'# often\n5 seconds\n');
SELECT pg_temp.refusal(format('SELECT cron.next_runs(%L)', E'\xC3\xA9 * * * *'));
SELECT pg_temp.refusal(format('SELECT cron.next_runs(%L)', repeat('1,', 497) || '1 * * * *'));
SELECT length(said), split_part(said, ' | ', 3) FROM pg_temp.refusal(format('SELECT cron.next_runs(%L)', repeat('x', 1000000))) AS said;
SELECT pg_temp.runs(repeat('1,', 495) || '1 * * * *', '2026-11-23Z', n => 1);
-- What pg_cron takes and does not do as it is written is refused by schedule(), which says what pg_cron makes
-- of it; alter_job() and an UPDATE refuse it as well.
SELECT cron.schedule('misread', '@daily', 'SELECT 1') > 0 AS scheduled;
SELECT schedule, concat_ws(' | ', s.sqlstate, s.detail, s.hint) AS refused, a.said = s.said AS by_alter_job, u.said = s.said AS by_update
  FROM (VALUES
    ('0 0 12 * * *'), ('* * * * * *'), ('*10 * * * *'), ('* * * * *x'), ('*/90 * * * *'), ('0 */36 * * *'),
    ('@daily junk'), (E'@daily\n@hourly'), (E'0 3 * * *\n0 4 * * *'),
    ('0 0 30 2 *'), ('0 0 31 4 *'), ('0 0 31 2,4,6,9,11 *')) AS v(schedule),
    LATERAL (SELECT said, split_part(said, ' | ', 1), split_part(said, ' | ', 3), split_part(said, ' | ', 4)
               FROM pg_temp.refusal(format('SELECT cron.schedule(''misread'', %L, ''SELECT 2'')', schedule)) AS said)
        AS s(said, sqlstate, detail, hint),
    LATERAL pg_temp.refusal(format('SELECT cron.alter_job(jobid, schedule => %L) FROM cron.job WHERE jobname = ''misread''', schedule)) AS a(said),
    LATERAL pg_temp.refusal(format('UPDATE cron.job SET schedule = %L WHERE jobname = ''misread''', schedule)) AS u(said);
SELECT schedule, command, cron.unschedule(jobname) FROM cron.job WHERE jobname = 'misread';
-- Zones.
SELECT zone, pg_temp.refusal(format('SELECT cron.next_runs(''@daily'', timezone => %L)', zone)) FROM (VALUES
    ('Mars/Olympus'), ('XYZ5'), ('+02'), ('../etc/passwd'), ('')) AS v(zone);
SELECT pg_temp.refusal($$SELECT cron.next_runs('CRON_TZ=Mars/Olympus * * * * *')$$);
SELECT pg_temp.refusal($$SELECT cron.explain_schedule('@daily', 'Mars/Olympus')$$);
SELECT pg_temp.refusal(format('SELECT cron.explain_schedule(''@daily'', %L)', repeat('x', 300))) LIKE '22023 | time zone "xxx%" not recognized | %' AS refused;
-- Arguments.
SELECT pg_temp.refusal($$SELECT cron.next_runs(NULL)$$);
SELECT pg_temp.refusal($$SELECT cron.explain_schedule(NULL)$$);
SELECT pg_temp.refusal($$SELECT cron.next_runs('@daily', NULL)$$);
SELECT pg_temp.refusal($$SELECT cron.next_runs('@daily', -1)$$);
SELECT pg_temp.refusal($$SELECT cron.next_runs('@daily', 10001)$$);
SELECT pg_temp.refusal($$SELECT cron.next_runs('@daily', after => NULL)$$);
-- The end of time.
SELECT count(*) FROM cron.next_runs('@daily', after => 'infinity');
SELECT schedule, (SELECT count(*) FROM cron.next_runs(schedule, after => after)) AS runs
  FROM unnest('{@daily,* * * * *,@every 1 hour,@at 2000-01-01}'::text[]) AS schedule,
       unnest('{294276-12-31 00:00Z,294247-01-10 04:00:54.775806Z,294247-01-10 04:00:54.775807Z,100000-01-01Z}'::timestamptz[]) AS after
 ORDER BY 1, after;
-- Nothing was left behind by what was refused.
SELECT count(*) FROM cron.job WHERE jobname = 'refused';
