# Kills processes of a server under load, at random moments, and induces faults around it; then looks
# whether everything is as promised: cron.check_invariants() is empty, each success has left its effect
# once, each failure was told once, and each committed request has arrived or has a response that says
# why not. To be sourced by scripts/chaos. shellcheck shell=bash
#
# Every one to five seconds one of these is killed: a job worker, the scheduler, the http worker or any
# other process of the server with SIGKILL (all processes restart), a worker or the scheduler with SIGTERM,
# or the postmaster (the server is started again). Between them come the faults of faults.sh, in turn.
source "$ROOT/test/chaos/faults.sh"

minutes=10 seed=$RANDOM only=
options=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=$2 ;;
    --seed) seed=$2 ;;
    --only) only=$2 ;;
    *) die "unknown option: $1" ;;
    esac
    shift 2
done
[[ -z $only || $only == kill || " ${FAULTS[*]} " == *" $only "* ]] || die "no such fault; there are: kill ${FAULTS[*]}"

# Small disks and a network that drops are in namespaces of their own, which end with this process.
if [ "$(id -u)" -eq 0 ] && [ -z "${CHAOS_NAMESPACES-}" ]; then
    need_build_packages iptables libfaketime
    build_and_install
    if unshare --mount --net true 2>/dev/null; then
        CHAOS_NAMESPACES=1 exec unshare --mount --net "$0" crash "${options[@]}" --seed "$seed"
    fi
fi
RANDOM=$seed
[ -n "${CHAOS_NAMESPACES-}" ] || build_and_install

dir=$(make_workdir)
chmod 755 "$dir"
helpers=()
clean_up() {
    kill "${helpers[@]}" 2>/dev/null || true
    stop_cluster "$dir" 2>/dev/null
    if [ -n "${CHAOS_NAMESPACES-}" ]; then umount "$dir/data" "$dir/wal"; fi
    rm -rf "$dir"
}
trap clean_up EXIT

sql() { psql_in "$dir" -d postgres -c "$1"; }
answers() { sql 'SELECT 1' >/dev/null 2>&1; }
are_gone() { ! kill -0 "$@" 2>/dev/null; }
log_count() { grep -cE "$1" "$dir/log" || true; }

# start_server [NAME=VALUE]...: with these variables in its environment.
start_server() {
    rm -f "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*
    as_postgres env "$@" "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null
    wait_until 60 answers || die "the server does not come back (seed $seed)"
}

# start_receiver NAME: sets $port.
start_receiver() {
    perl "$ROOT/test/support/http_stub.pl" --log "$dir/$1.log" --port-file "$dir/$1.port" >/dev/null &
    helpers+=($!)
    wait_until 10 test -s "$dir/$1.port" || die 'the receiver does not start'
    port=$(cat "$dir/$1.port")
}

make_server() {
    if [ -n "${CHAOS_NAMESPACES-}" ]; then
        ip link set lo up
        mount -t tmpfs -o size=16m,mode=1777 tmpfs /dev/shm
        as_postgres mkdir -m 700 "$dir/data" "$dir/wal"
        mount -t tmpfs -o size=300m,mode=700,uid=postgres tmpfs "$dir/data"
        mount -t tmpfs -o size=160m,mode=700,uid=postgres tmpfs "$dir/wal"
    fi
    start_cluster "$dir" "shared_preload_libraries = 'securatlas_sched'" 'restart_after_crash = on' \
        'autovacuum_naptime = 1' 'max_worker_processes = 20' 'max_connections = 30' \
        'max_locks_per_transaction = 20' 'min_wal_size = 32MB' 'max_wal_size = 64MB' "net.ttl = '1 day'"
    if [ -n "${CHAOS_NAMESPACES-}" ]; then
        stop_cluster "$dir"
        as_postgres bash -c "mv '$dir'/data/pg_wal/* '$dir/wal' && rmdir '$dir/data/pg_wal' && ln -s '$dir/wal' '$dir/data/pg_wal'"
        start_server
    fi
}

make_load() {
    local effect="INSERT INTO effects SELECT current_setting('cron.job_id')::bigint, current_setting('cron.scheduled_at')::timestamptz"
    start_receiver good
    sql 'CREATE DATABASE elsewhere' >/dev/null
    psql_in "$dir" -d elsewhere -c 'CREATE TABLE effects (jobid bigint, scheduled_at timestamptz)' >/dev/null
    sql 'CREATE EXTENSION securatlas_sched' >/dev/null
    sql "CREATE TABLE effects (jobid bigint, scheduled_at timestamptz);
         CREATE TABLE made (run bigint, request bigint);
         CREATE TABLE told (run bigint);
         CREATE FUNCTION tell(event jsonb) RETURNS void LANGUAGE sql AS
             'INSERT INTO public.told VALUES ((event->>''runid'')::bigint)';
         SELECT cron.add_alert('all', '{failed}', function => 'tell(jsonb)', remind_after => '0')" >/dev/null
    make_jobs() {
        sql "SELECT count(cron.schedule('$1 ' || n, '1 second', \$c\$$3\$c\$)) FROM generate_series(1, $2) n" >/dev/null
    }
    make_jobs effect 20 "$effect"
    make_jobs slow 5 "$effect; SELECT pg_sleep(0.3)"
    make_jobs refused 1 "$effect; SELECT net.http_get('http://127.0.0.1:1/')"
    make_jobs request 5 "$effect; INSERT INTO made SELECT current_setting('cron.run_id')::bigint,
        net.http_get('http://127.0.0.1:$port/made/' || current_setting('cron.run_id'))"
    make_jobs fails 1 'SELECT 1/0'
    sql "SELECT count(cron.schedule_in_database('elsewhere ' || n, '1 second', \$c\$$effect\$c\$, 'elsewhere'))
           FROM generate_series(1, 2) n" >/dev/null
}

# ---- killing -----------------------------------------------------------------------------------

# Sets $pid and $signal: what is killed next.
choose_victim() {
    local whom
    signal=KILL
    case $((RANDOM % 8)) in
    0 | 1) whom="backend_type = 'securatlas_sched job worker'" ;;
    2) whom="backend_type = 'securatlas_sched job worker'" signal=TERM ;;
    3) whom="backend_type = 'securatlas_sched scheduler'" ;;
    4) whom="backend_type = 'securatlas_sched scheduler'" signal=TERM ;;
    5) whom="backend_type IN ('securatlas_sched http worker', 'pg_net worker')" ;;
    6) whom="pid <> pg_backend_pid()" ;;
    7)
        pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null || true)
        return
        ;;
    esac
    pid=$(sql "SELECT pid FROM pg_stat_activity WHERE $whom ORDER BY random() LIMIT 1" 2>/dev/null || true)
}

kill_one() {
    local pid signal children=()
    choose_victim
    [ -n "$pid" ] || return 0
    local is_postmaster=
    if [ "$pid" = "$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)" ]; then
        is_postmaster=1
        mapfile -t children < <(pgrep -P "$pid")
    fi
    kill -s "$signal" "$pid" 2>/dev/null || return 0
    kills=$((kills + 1))
    if [ -n "$is_postmaster" ]; then
        wait_until 60 are_gone "$pid" "${children[@]}" || die "children of a killed postmaster stay"
        start_server
    fi
    # Until the postmaster has seen it, the server answers as if nothing had happened.
    wait_until 60 are_gone "$pid" || die "$pid does not end (seed $seed)"
    wait_until 60 answers || die "the server does not come back (seed $seed)"
}

# ---- the faults --------------------------------------------------------------------------------

arrived() { grep -c '"path":"/made/' "$dir/good.log" || true; }
succeeded() { sql "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded' $1" 2>/dev/null || echo 0; }
elsewhere="AND database = 'elsewhere'"

# more_than COMMAND ARGUMENT NUMBER: whether the count that the command prints is greater.
more_than() { [ "$("$1" "$2")" -gt "$3" ]; }

# Runs here and in the other database, and requests, go on after the fault.
goes_on() {
    local runs=$(($(succeeded '') + 50)) others requests
    others=$(succeeded "$elsewhere")
    requests=$(arrived)
    wait_until 90 more_than succeeded '' "$runs" || die "no runs after $1 (seed $seed)"
    wait_until 90 more_than succeeded "$elsewhere" "$others" || die "no runs elsewhere after $1 (seed $seed)"
    wait_until 90 more_than arrived '' "$requests" || die "no requests after $1 (seed $seed)"
}

try_fault() {
    local fault=$1 last failed
    seen=
    last=$(sql 'SELECT max(runid) FROM cron.job_run_details')
    "fault_$fault" || { tail -20 "$dir/log"; die "fault $fault was not felt, or not survived (seed $seed)"; }
    goes_on "$fault"
    failed=$(sql "SELECT string_agg(n || ' x ' || sqlstate, ', ') FROM (
        SELECT COALESCE(sqlstate, reason) AS sqlstate, count(*) AS n FROM cron.job_run_details
         WHERE runid > $last AND status IN ('failed', 'skipped') AND sqlstate IS DISTINCT FROM '22012' GROUP BY 1) f")
    say "$fault: $seen; runs that did not succeed: ${failed:-none}"
}

# ---- looking -----------------------------------------------------------------------------------

settled() { [ "$(sql "SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')" 2>/dev/null)" = 0 ]; }
untold() { [ "$(sql 'SELECT count(*) FROM cron.alert_event' 2>/dev/null)" = 0 ]; }
answered() { [ "$(sql 'SELECT count(*) FROM net.http_request_queue' 2>/dev/null)" = 0 ]; }
clean() { [ -z "$(sql "SELECT v FROM cron.check_invariants('10 seconds') v")" ]; }

look() {
    wait_until 60 answers || die "the server does not answer"
    sql "SELECT count(cron.pause(jobid)) FROM cron.job" >/dev/null
    wait_until 120 settled || die "runs do not end (seed $seed)"
    wait_until 60 untold || die "events are not told (seed $seed)"
    wait_until 120 answered || {
        sql "SELECT state, host, attempts, error, reason, ready_at, created, count(*) FROM net.requests
              WHERE state IN ('waiting', 'retrying', 'in_flight') GROUP BY 1, 2, 3, 4, 5, 6, 7 LIMIT 20"
        die "requests are not answered (seed $seed)"
    }
    wait_until 60 clean || { sql "SELECT v FROM cron.check_invariants('10 seconds') v"; die "invariants are violated (seed $seed)"; }
    local wrong
    # Number and key of each request that has arrived.
    sed -n 's|.*"path":"/made/\([0-9]*\)".*"idempotency-key":"\([^"]*\)".*|\1\t\2|p' "$dir/good.log" >"$dir/arrived"
    psql_in "$dir" -d elsewhere -c "COPY effects TO STDOUT" >"$dir/elsewhere"
    wrong=$(psql_in "$dir" -d postgres <<SQL
    CREATE TEMP TABLE arrived (run bigint, key text);
    CREATE TEMP TABLE elsewhere (jobid bigint, scheduled_at timestamptz);
    \copy arrived from '$dir/arrived'
    \copy elsewhere from '$dir/elsewhere'
    SELECT 'effect twice', jobid, scheduled_at FROM effects GROUP BY 2, 3 HAVING count(*) > 1
    UNION ALL
    SELECT 'outcome and effect differ', COALESCE(d.jobid, e.jobid), COALESCE(d.scheduled_at, e.scheduled_at)
      FROM (SELECT jobid, scheduled_at FROM cron.job_run_details
             WHERE status = 'succeeded' AND database = 'postgres') d
      FULL JOIN effects e USING (jobid, scheduled_at) WHERE d.jobid IS NULL OR e.jobid IS NULL
    UNION ALL
    SELECT 'effect twice elsewhere', jobid, scheduled_at FROM elsewhere GROUP BY 2, 3 HAVING count(*) > 1
    UNION ALL
    SELECT 'success without effect elsewhere', d.jobid, d.scheduled_at FROM cron.job_run_details d
     WHERE d.status = 'succeeded' AND d.database = 'elsewhere' AND NOT EXISTS (
           SELECT FROM elsewhere e WHERE (e.jobid, e.scheduled_at) = (d.jobid, d.scheduled_at))
    UNION ALL
    SELECT 'told twice', run, NULL FROM told GROUP BY 2 HAVING count(*) > 1
    UNION ALL
    SELECT 'not told', d.runid, d.scheduled_at FROM cron.job_run_details d
     WHERE d.sqlstate = '22012' AND NOT EXISTS (SELECT FROM told t WHERE t.run = d.runid)
    UNION ALL
    SELECT 'request without response', m.run, NULL FROM made m
     WHERE NOT EXISTS (SELECT FROM net._http_response r WHERE r.id = m.request)
    UNION ALL
    SELECT 'answered and not arrived', m.run, NULL FROM made m JOIN net._http_response r ON r.id = m.request
     WHERE r.status_code = 200 AND NOT EXISTS (SELECT FROM arrived a WHERE a.run = m.run)
    UNION ALL
    SELECT 'arrived and not committed', a.run, NULL FROM arrived a
     WHERE NOT EXISTS (SELECT FROM made m WHERE m.run = a.run)
    UNION ALL
    SELECT 'two keys', run, NULL FROM arrived GROUP BY run HAVING count(DISTINCT key) > 1
    UNION ALL
    SELECT 'key of two requests', min(run), NULL FROM arrived GROUP BY key HAVING count(DISTINCT run) > 1
     LIMIT 20
SQL
    )
    [ -z "$wrong" ] || { echo "$wrong"; die "a promise is broken (seed $seed)"; }
    say "$(sql "SELECT count(*) || ' runs succeeded, ' || (SELECT count(*) FROM told) || ' failures were told, '
                   || (SELECT count(*) FROM made) || ' requests' FROM cron.job_run_details WHERE status = 'succeeded'"); all is as promised"
}

# ---- the way through it ------------------------------------------------------------------------

make_server
make_load
wait_until 60 more_than arrived '' 10 || die 'there is no load'
say "Breaking things for $minutes minutes, seed $seed"
kills=0 turn=0
faults=("${FAULTS[@]}")
[ -z "$only" ] || faults=("$only")
end=$((SECONDS + 60 * minutes))
while [ $SECONDS -lt $end ]; do
    if [ "$only" = kill ] || { [ -z "$only" ] && [ $((RANDOM % 6)) -ne 0 ]; }; then
        sleep "$((1 + RANDOM % 4)).$((RANDOM % 10))"
        kill_one
    else
        try_fault "${faults[turn++ % ${#faults[@]}]}"
        [ -z "$only" ] || break
    fi
done
say "$kills processes killed, $turn other faults; looking"
look
