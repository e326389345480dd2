# Runs failover.pl as whoever runs PostgreSQL. To be sourced by scripts/chaos. shellcheck shell=bash
need_build_packages "${FAILOVER_PACKAGES[@]}"
build_and_install
dir=$(make_workdir)
# A copy, because that user may not be able to read the project.
mkdir "$dir/test"
cp -r "$ROOT/test/chaos" "$ROOT/test/support" "$dir/test"
chmod -R a+rX "$dir/test"
if as_postgres perl "$dir/test/chaos/failover.pl" --directory "$dir" --bindir "$("$PG_CONFIG" --bindir)" "$@"; then
    rm -rf "$dir"
else
    die "logs: $dir"
fi
