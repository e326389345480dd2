# Functions that the benchmarks of requests share. To be sourced by bash. shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# Prints a free port of 127.0.0.1.
free_port() {
    perl -MIO::Socket::INET -e \
        'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}

# start_nginx DIR [LOCATION]...: a server that answers at once; sets $port and $nginx (its pid).
start_nginx() {
    local dir=$1
    shift
    need_packages nginx-light
    port=$(free_port)
    cat >"$dir/nginx.conf" <<CONFIG
daemon off;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_max_body_size 100m;
    log_format arrival '\$msec \$request_uri';
    client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
    server {
        listen 127.0.0.1:$port;
        location / { return 200 "ok"; }
        $*
    }
}
CONFIG
    nginx -e "$dir/nginx.log" -c "$dir/nginx.conf" &
    nginx=$!
    wait_until 10 answers || die 'nginx does not run'
}
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# Memory that a process has for itself, in MB: not shared buffers, not the pages of libraries.
own_memory_mb() { awk '/^RssAnon/ { printf "%d", $2 / 1024 }' "/proc/$1/status"; }

http_worker_pid() {
    psql_in "$1" -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'securatlas_sched http worker'"
}
