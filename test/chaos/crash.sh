# Kills processes of a server under load, at random moments, and then looks whether everything is as
# promised: cron.check_invariants() is empty, each success has left its effect once, and each failure was
# told once. To be sourced by scripts/chaos. shellcheck shell=bash
#
# Every one to five seconds one of these is killed: a job worker, the scheduler, the http worker or any
# other process of the server with SIGKILL (all processes restart), a worker or the scheduler with SIGTERM,
# or the postmaster (the server is started again).
minutes=10 seed=$RANDOM
while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=$2 ;;
    --seed) seed=$2 ;;
    *) die "unknown option: $1" ;;
    esac
    shift 2
done
RANDOM=$seed
build_and_install
dir=$(make_workdir)
trap 'stop_cluster "$dir" 2>/dev/null; rm -rf "$dir"' EXIT
start_cluster "$dir" "shared_preload_libraries = 'securatlas_sched'" 'restart_after_crash = on' \
    'autovacuum_naptime = 1' 'max_worker_processes = 20'
sql() { psql_in "$dir" -d postgres -c "$1"; }
answers() { sql 'SELECT 1' >/dev/null 2>&1; }
are_gone() { ! kill -0 "$@" 2>/dev/null; }

sql "CREATE EXTENSION securatlas_sched" >/dev/null
sql "CREATE TABLE effects (jobid bigint, scheduled_at timestamptz);
     CREATE TABLE told (run bigint);
     CREATE FUNCTION tell(event jsonb) RETURNS void LANGUAGE sql AS
         'INSERT INTO public.told VALUES ((event->>''runid'')::bigint)';
     SELECT cron.add_alert('all', '{failed}', function => 'tell(jsonb)', remind_after => '0')" >/dev/null
effect="INSERT INTO effects SELECT current_setting('cron.job_id')::bigint, current_setting('cron.scheduled_at')::timestamptz"
sql "SELECT count(cron.schedule('effect ' || n, '1 second', \$c\$$effect\$c\$)) FROM generate_series(1, 20) n" >/dev/null
sql "SELECT count(cron.schedule('slow ' || n, '1 second', \$c\$$effect; SELECT pg_sleep(0.3)\$c\$)) FROM generate_series(1, 5) n" >/dev/null
sql "SELECT count(cron.schedule('request ' || n, '1 second', \$c\$$effect; SELECT net.http_get('http://127.0.0.1:1/')\$c\$)) FROM generate_series(1, 5) n" >/dev/null
sql "SELECT cron.schedule('fails', '1 second', 'SELECT 1/0')" >/dev/null

say "Killing for $minutes minutes, seed $seed"
kills=0
end=$((SECONDS + 60 * minutes))
while [ $SECONDS -lt $end ]; do
    sleep "$((1 + RANDOM % 4)).$((RANDOM % 10))"
    signal=KILL
    case $((RANDOM % 8)) in
    0 | 1) whom="backend_type = 'securatlas_sched job worker'" ;;
    2) whom="backend_type = 'securatlas_sched job worker'" signal=TERM ;;
    3) whom="backend_type = 'securatlas_sched scheduler'" ;;
    4) whom="backend_type = 'securatlas_sched scheduler'" signal=TERM ;;
    5) whom="backend_type IN ('securatlas_sched http worker', 'pg_net worker')" ;;
    6) whom="pid <> pg_backend_pid()" ;;
    7) whom='' ;;
    esac
    if [ -z "$whom" ]; then
        pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null || true)
    else
        pid=$(sql "SELECT pid FROM pg_stat_activity WHERE $whom ORDER BY random() LIMIT 1" 2>/dev/null || true)
    fi
    [ -z "$whom" ] && mapfile -t children < <(pgrep -P "${pid:-0}")
    if [ -z "$pid" ] || ! kill -s "$signal" "$pid" 2>/dev/null; then continue; fi
    kills=$((kills + 1))
    if [ -z "$whom" ]; then
        wait_until 60 are_gone "$pid" "${children[@]}" || die "children of a killed postmaster stay"
        rm -f "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*
        as_postgres "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null
    fi
    wait_until 60 answers || die "the server does not come back (seed $seed)"
done

say "$kills processes killed; looking"
settled() { [ "$(sql "SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')" 2>/dev/null)" = 0 ]; }
wait_until 60 answers || die "the server does not answer"
sql "SELECT count(cron.pause(jobid)) FROM cron.job" >/dev/null
wait_until 120 settled || die "runs do not end (seed $seed)"
untold() { [ "$(sql 'SELECT count(*) FROM cron.alert_event')" = 0 ]; }
wait_until 60 untold || die "events are not told (seed $seed)"
clean() { [ -z "$(sql "SELECT v FROM cron.check_invariants('10 seconds') v")" ]; }
wait_until 60 clean || { sql "SELECT v FROM cron.check_invariants('10 seconds') v"; die "invariants are violated (seed $seed)"; }
wrong=$(sql "
    SELECT 'effect twice', jobid, scheduled_at FROM effects GROUP BY 2, 3 HAVING count(*) > 1
    UNION ALL
    SELECT 'outcome and effect differ', COALESCE(d.jobid, e.jobid), COALESCE(d.scheduled_at, e.scheduled_at)
      FROM (SELECT jobid, scheduled_at FROM cron.job_run_details WHERE status = 'succeeded') d
      FULL JOIN effects e USING (jobid, scheduled_at) WHERE d.jobid IS NULL OR e.jobid IS NULL
    UNION ALL
    SELECT 'told twice', run, NULL FROM told GROUP BY 2 HAVING count(*) > 1
    UNION ALL
    SELECT 'not told', d.runid, d.scheduled_at FROM cron.job_run_details d
     WHERE d.sqlstate = '22012' AND NOT EXISTS (SELECT FROM told t WHERE t.run = d.runid)")
[ -z "$wrong" ] || { echo "$wrong"; die "a promise is broken (seed $seed)"; }
say "$(sql "SELECT count(*) || ' runs succeeded, ' || (SELECT count(*) FROM told) || ' failures were told' FROM cron.job_run_details WHERE status = 'succeeded'"); all is as promised"
