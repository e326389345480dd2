# The faults that scripts/chaos crash induces around a server. To be sourced by crash.sh. shellcheck shell=bash
#
# Each function induces its fault, waits until it is felt, removes it, and sets $seen to what was seen
# meanwhile. What is promised is looked at afterwards.
FAULTS=(wal_full disk_full no_workers no_connections no_locks network clock receiver no_shared_memory)

# Whether the log says it more often than before.
is_logged() { [ "$(log_count "$1")" -gt "$2" ]; }

in_namespaces() {
    [ -n "${CHAOS_NAMESPACES-}" ] && return
    seen="left out: it needs root and namespaces"
    return 1
}

# Takes all that is left of the disk of a directory.
fill() { dd if=/dev/zero of="$1/filler" bs=64k status=none 2>/dev/null || true; }

# A server without room ends, at once or when it recovers; then somebody has to start it.
comes_back() {
    answers && return
    as_postgres "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null 2>&1
    answers
}

# The server cannot write WAL, which ends it. It recovers when there is room.
fault_wal_full() {
    in_namespaces || return 0
    local panics
    panics=$(log_count 'PANIC:')
    fill "$dir/wal"
    writes_until_panic() { sql 'SELECT pg_switch_wal()' >/dev/null 2>&1; is_logged 'PANIC:' "$panics"; }
    wait_until 60 writes_until_panic || return
    rm "$dir/wal/filler"
    wait_until 60 comes_back || return
    seen="PANIC $(($(log_count 'PANIC:') - panics)) times, recovered"
}

# No table can grow: neither those of jobs nor the history.
fault_disk_full() {
    in_namespaces || return 0
    local errors
    errors=$(log_count 'No space left on device')
    fill "$dir/data"
    wait_until 60 is_logged 'No space left on device' $((errors + 20)) || return
    rm "$dir/data/filler"
    wait_until 60 comes_back || return
    seen="$(($(log_count 'No space left on device') - errors)) errors in the log"
}

# Two slots are left beside launcher, schedulers and PostgreSQL's own launcher: one for runs, and one that the
# http worker keeps as long as a request waits, be it for its next attempt.
fault_no_workers() {
    local before lines slots
    lines=$(log_count 'no background worker slot is free')
    slots=$((2 + $(sql "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched scheduler'") + 2))
    sql "ALTER SYSTEM SET max_worker_processes = $slots" >/dev/null
    restart_cluster "$dir"
    before=$(succeeded '')
    wait_until 60 is_logged 'no background worker slot is free' "$lines" || return
    wait_until 60 more_than succeeded '' $((before + 30)) || return
    sql 'ALTER SYSTEM RESET max_worker_processes' >/dev/null
    restart_cluster "$dir"
    seen="with $slots worker processes runs went on, and the log said why they wait"
}

# All connections are taken by others. Runs do not need one.
fault_no_connections() {
    local crowd=() before i
    sql "DO 'BEGIN CREATE ROLE crowd LOGIN; EXCEPTION WHEN duplicate_object THEN END'" >/dev/null
    as_crowd() { "$("$PG_CONFIG" --bindir)/psql" -X -q -h "$dir" -U crowd -d postgres -c "$1" >/dev/null 2>&1; }
    # Who is refused tries again, and takes the place of whoever held one when it was full.
    for i in {1..30}; do
        until as_crowd 'SELECT pg_sleep(600)'; do sleep 0.1; done &
        crowd+=($!)
    done
    is_full() {
        ! as_crowd 'SELECT 1' &&
            [ "$(sql "SELECT count(*) > 5 FROM pg_stat_activity WHERE usename = 'crowd'")" = t ]
    }
    wait_until 30 is_full || return
    before=$(succeeded '')
    wait_until 60 more_than succeeded '' $((before + 50)) || return
    wait_until 30 is_full || return
    kill "${crowd[@]}" 2>/dev/null || true
    wait "${crowd[@]}" 2>/dev/null || true
    sql "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'crowd'" >/dev/null
    seen='runs went on'
}

# A session holds all entries of the lock table: no transaction can lock an extension or a table.
fault_no_locks() {
    local holder errors
    errors=$(log_count 'out of shared memory')
    psql_in "$dir" -d postgres -c "DO \$\$ BEGIN
        FOR i IN 1 .. 1000000 LOOP PERFORM pg_advisory_lock(i); END LOOP;
        EXCEPTION WHEN out_of_memory THEN PERFORM pg_sleep(600); END \$\$" >/dev/null 2>&1 &
    holder=$!
    wait_until 60 is_logged 'out of shared memory' $((errors + 5)) || return
    # Its session by its title, because no view can be read.
    pkill -TERM -P "$(head -n 1 "$dir/data/postmaster.pid")" -f '\] DO$' || return
    wait "$holder" 2>/dev/null || true
    seen="$(($(log_count 'out of shared memory') - errors)) errors in the log"
}

# Three of ten packets to and from the receiver are lost, then all of them.
fault_network() {
    in_namespaces || return 0
    local good dropped before
    good=$(cat "$dir/good.port")
    before=$(arrived)
    local lossy=(-p tcp -m statistic --mode random --probability 0.3 -j DROP)
    iptables -A INPUT --protocol tcp --dport "$good" "${lossy[@]:2}"
    iptables -A INPUT --protocol tcp --sport "$good" "${lossy[@]:2}"
    wait_until 60 more_than arrived '' $((before + 30)) || return
    iptables -A INPUT -p tcp --dport "$good" -j DROP
    fails() { [ "$(sql "SELECT count(*) FROM net.requests WHERE url LIKE '%:$good/%' AND (attempts > 0 AND status_code IS NULL)")" -gt 0 ]; }
    wait_until 90 fails || return
    dropped=$(iptables -nvxL INPUT | awk '/DROP/ { n += $1 } END { print n }')
    iptables -F INPUT
    seen="$dropped packets lost"
}

# The clock goes on by an hour, back by two, and to where it was.
fault_clock() {
    local preload at before
    preload=$(dpkg -L libfaketime 2>/dev/null | grep '/libfaketime.so.1$') || { seen='left out: there is no libfaketime'; return 0; }
    [ -e "$dir/plain_waits.so" ] || cc -shared -fPIC -O2 -o "$dir/plain_waits.so" "$ROOT/test/support/plain_waits.c"
    chmod a+rX "$dir/plain_waits.so"
    echo +0 >"$dir/clock"
    chmod a+r "$dir/clock"
    stop_cluster "$dir"
    start_server LD_PRELOAD="$dir/plain_waits.so $preload" FAKETIME_TIMESTAMP_FILE="$dir/clock" FAKETIME_NO_CACHE=1 \
        FAKETIME_DONT_FAKE_MONOTONIC=1
    for at in +0 +3600 -3600 +0; do
        echo "$at" >"$dir/clock"
        clock_is_there() { [ "$(sql "SELECT abs(extract(epoch FROM clock_timestamp()) - $(date +%s) - ($at)) < 60")" = t ]; }
        wait_until 30 clock_is_there || return
        before=$(succeeded '')
        wait_until 90 more_than succeeded '' $((before + 100)) || return
    done
    put_off() { sql "SELECT count(*) FROM net.http_request_queue WHERE ready_at > now() + interval '10 minutes' AND attempts > 0"; }
    none_put_off() { [ "$(put_off)" = 0 ]; }
    wait_until 60 none_put_off || { echo "$(put_off) retries wait for the time of the clock that was ahead"; return 1; }
    stop_cluster "$dir"
    start_server
    seen='runs went on after each step, and nothing waits for the time of the clock that was ahead'
}

# One receiver hangs, sends what is not HTTP, headers and bodies without end, and half of its answers.
fault_receiver() {
    local bad before port
    start_receiver bad
    bad=${helpers[-1]}
    before=$(arrived)
    sql "SELECT count(net.http_request('GET', 'http://127.0.0.1:$port' || path, timeout_milliseconds => 2000, max_attempts => 2, retry => 'always'))
           FROM unnest('{/delay/60000,/garbage,/endless-headers,/endless-body,/truncated,/reset,/close,/bytes/3000000,/gzip/100000000}'::text[]) path,
                generate_series(1, 5)" >/dev/null
    tried() { [ "$(sql "SELECT count(*) FROM net.requests WHERE url LIKE '%:$port/%' AND attempts = 0")" = 0 ]; }
    wait_until 120 tried || return
    wait_until 60 more_than arrived '' $((before + 10)) || return
    kill "$bad"
    unset 'helpers[-1]'
    seen="others were sent; $(sql "SELECT string_agg(n || ' x ' || state, ', ') FROM (
        SELECT state, count(*) AS n FROM net.requests WHERE url LIKE '%:$port/%' GROUP BY 1) s")"
}

# The file system of dynamic shared memory is full; orders for other databases are in such memory.
fault_no_shared_memory() {
    in_namespaces || return 0
    local before errors
    errors=$(log_count 'could not resize shared memory segment')
    fill /dev/shm
    wait_until 60 is_logged 'could not resize shared memory segment' "$errors" || return
    before=$(sql "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded' AND database = 'postgres'")
    wait_until 60 more_than succeeded "AND database = 'postgres'" $((before + 30)) || return
    rm /dev/shm/filler
    seen='runs in this database went on'
}
