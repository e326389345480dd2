# Functions that the scripts share: packages, building, temporary clusters. To be sourced by bash.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${PG_CONFIG:=pg_config}"

say() { printf '\n==> %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Debian packages, by name. Only root can install; anybody else is told what is missing.
need_packages() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || die "these packages are missing: ${missing[*]}"
    say "Installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
}

# The PostgreSQL to build for: that of $PG_CONFIG or, where there is none yet, of this Debian.
postgresql_major() {
    if command -v "$PG_CONFIG" >/dev/null; then
        "$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/'
    else
        apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p'
    fi
}

# Server and headers, as packages; nothing for a PostgreSQL that was not installed by packages.
postgresql_packages() {
    local major path
    path=$(command -v "$PG_CONFIG") && { dpkg-query -S "$path" >/dev/null 2>&1 || return 0; }
    major=$(postgresql_major)
    [ -n "$major" ] || { apt-get update -qq && major=$(postgresql_major); }
    echo "postgresql-$major" "postgresql-server-dev-$major"
}

# need_build_packages [PACKAGE]...: what building needs, and these.
need_build_packages() {
    # shellcheck disable=SC2046
    need_packages $(postgresql_packages) "${BUILD_PACKAGES[@]}" "$@"
}

BUILD_PACKAGES=(g++ make cmake libcurl4-openssl-dev libssl-dev zlib1g-dev nlohmann-json3-dev
    libgtest-dev perl)
TEST_PACKAGES=(libipc-run-perl tzdata nginx-light openssl faketime)
FAILOVER_PACKAGES=(patroni python3-etcd etcd-server)
# For TAP tests that are skipped without them.
TAP_PACKAGES=(chromium prometheus prometheus-postgres-exporter prometheus-sql-exporter python3-prometheus-client "${FAILOVER_PACKAGES[@]}")

# PostgreSQL refuses to run as root: root hands over to the user postgres, who may have no access to
# this directory.
as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && exec runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

# A directory that belongs to whoever runs PostgreSQL.
make_workdir() {
    local dir
    dir=$(mktemp -d "${TMPDIR:-/tmp}/securatlas.XXXXXX")
    [ "$(id -u)" -eq 0 ] && chown postgres "$dir"
    printf '%s' "$dir"
}

# Whether the server has the pg_cron or pg_net that this extension stands for.
has_originals() {
    local name control
    for name in pg_cron pg_net; do
        control=$("$PG_CONFIG" --sharedir)/extension/$name.control
        if [ -e "$control" ] && ! grep -q securatlas_sched "$control"; then return 0; fi
    done
    return 1
}

# Builds the extension and installs it into the server's directories, if they are writable or hold
# the same build already; under the other two names as well, unless the originals have them.
build_and_install() {
    make -s -j"$(nproc)" -f "$ROOT/Makefile.pgxs" -C "$ROOT" PG_CONFIG="$PG_CONFIG"
    if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then
        make -s -f "$ROOT/Makefile.pgxs" -C "$ROOT" PG_CONFIG="$PG_CONFIG" install
        has_originals ||
            make -s -f "$ROOT/Makefile.pgxs" -C "$ROOT" PG_CONFIG="$PG_CONFIG" install-compat
    else
        for library in securatlas_sched.so securatlas_sched_http.so; do
            cmp -s "$ROOT/$library" "$("$PG_CONFIG" --pkglibdir)/$library" ||
                die "the extension has to be installed first: make -f Makefile.pgxs install"
        done
    fi
}

# start_cluster DIR [CONFIGURATION LINE]...: a new cluster in DIR that listens on a Unix socket in
# DIR only, so that no port of the machine is taken. $TEMP_CONFIG is a file of settings for all of them.
start_cluster() {
    local dir=$1 bin
    shift
    bin=$("$PG_CONFIG" --bindir)
    as_postgres "$bin/initdb" -D "$dir/data" -A trust -U postgres --encoding=UTF8 --locale=C \
        --no-sync >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$dir'"
        echo "max_worker_processes = 64"
        printf '%s\n' "$@"
        [ -z "${TEMP_CONFIG-}" ] || cat "$TEMP_CONFIG"
    } | as_postgres tee -a "$dir/data/postgresql.conf" >/dev/null
    as_postgres "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null ||
        { tail -20 "$dir/log" >&2; die "the server did not start"; }
}

stop_cluster() {
    as_postgres "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$1/data" -m fast -w stop >/dev/null || true
}

restart_cluster() {
    as_postgres "$("$PG_CONFIG" --bindir)/pg_ctl" -D "$1/data" -l "$1/log" -m fast -w restart >/dev/null
}

# psql_in DIR [psql arguments]...: unaligned output without decoration.
psql_in() {
    local dir=$1
    shift
    "$("$PG_CONFIG" --bindir)/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$dir" -U postgres "$@"
}

# wait_until SECONDS COMMAND...: polls until the command succeeds.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

# Roots of Debian suites: directories made by debootstrap, kept for the next time.
: "${SUITE_ROOTS:=/var/tmp/securatlas_suites}"

# The first site that apt has for packages, of Debian itself.
mirror() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | head -1
}

# make_root SUITE DIRECTORY: fails if the mirror cannot be reached. The suite experimental is sid with
# the PostgreSQL that is to come.
make_root() {
    local suite=$1 root=$2
    [ -e "$root/.complete" ] && return
    need_packages debootstrap || return
    rm -rf "$root"
    # debootstrap checks signatures; a mirror that is a copy of a past day is as good.
    mkdir -p "$root/etc/apt/apt.conf.d"
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/10past-day"
    debootstrap --variant=minbase --include=ca-certificates "${suite/#experimental/sid}" "$root" "$(mirror)" ||
        return
    [ "$suite" != experimental ] || add_experimental "$root" || return
    touch "$root/.complete"
}

# add_experimental DIRECTORY: the newest PostgreSQL of experimental, and nothing else of that suite.
add_experimental() {
    local root=$1 major
    echo "deb $(mirror) experimental main" >"$root/etc/apt/sources.list.d/experimental.list"
    update_packages "$root" || return
    major=$(in_root "$root" apt-cache pkgnames postgresql-server-dev- | sed -n 's/.*-\([0-9]*\)$/\1/p' | sort -n | tail -1)
    printf '%s\n' "Package: postgresql*-$major libpq* libecpg* libpgtypes*" \
        'Pin: release a=experimental' 'Pin-Priority: 500' >"$root/etc/apt/preferences.d/postgresql"
    in_root "$root" apt-get install -y -q --no-install-recommends "postgresql-$major" "postgresql-server-dev-$major"
}

# copy_project DIRECTORY: the tree as it is, without what was built.
copy_project() {
    rm -rf "$1"
    mkdir -p "$1"
    if git -C "$ROOT" rev-parse >/dev/null 2>&1; then
        (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
            tar --null -T - -cf -)
    else
        tar -C "$ROOT" --exclude=./build --exclude=./obj --exclude='./*.so' --exclude='./securatlas_sched--*.sql' -cf - .
    fi | tar -C "$1" -xf -
}

# in_root DIRECTORY COMMAND...: in process and mount namespaces that end with the command, and with
# NETWORK=none in a network namespace that has a loopback interface only.
in_root() {
    local root=$1 namespaces=(--mount --pid --fork --kill-child)
    shift
    [ "${NETWORK-}" != none ] || namespaces+=(--net)
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    unshare "${namespaces[@]}" bash -ec '
        root=$1
        shift
        [ "${NETWORK-}" != none ] || ip link set lo up
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive CI="${CI-}" "$@"
    ' in_root "$root" "$@"
}

# update_packages DIRECTORY: the root's lists of packages; fails if the mirror cannot be reached.
update_packages() { in_root "$1" apt-get -o APT::Update::Error-Mode=any update -qq; }

# clean_root SUITE DIRECTORY: a copy of the suite's root in which packages start no service and make no
# cluster; fails if the mirror cannot be reached.
clean_root() {
    local suite=$1 root=$2
    make_root "$suite" "$SUITE_ROOTS/$suite-clean" || return
    cp -a "$SUITE_ROOTS/$suite-clean/." "$root" || return
    update_packages "$root" || return
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    mkdir -p "$root/etc/postgresql-common/createcluster.d"
    echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.d/trial.conf"
}
