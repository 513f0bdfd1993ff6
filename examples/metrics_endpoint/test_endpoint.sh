#!/bin/sh
# Starts the server, fetches one page as Prometheus would, and looks at what it says.
#
#   test_endpoint.sh <the program> <cmake>
set -u

program=$1
cmake=$2
here=$(cd "$(dirname "$0")" && pwd) || exit 2
work=$(mktemp -d) || exit 2
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

! "$program" 70000 2>/dev/null || fail "a port of 70000 was accepted"
! "$program" 0 1 surplus 2>/dev/null || fail "a third argument was accepted"

"$program" 0 1 >"$work/address" &
server=$!
tries=0
until grep -q '/metrics$' "$work/address"; do
    tries=$((tries + 1))
    [ "$tries" -le 100 ] || fail "the server does not say where it is"
    sleep 0.1
done

"$cmake" "-DURL=$(cat "$work/address")" "-DFILE=$work/page" -P "$here/fetch.cmake" || exit 1
for line in '# TYPE cowindex_commits_total counter' \
    'cowindex_commits_total{index="routes"} [0-9]' \
    'cowindex_clone_time_seconds{index="counts",quantile="0.99"} '; do
    grep -q "^$line" "$work/page" || fail "the page lacks '$line'"
done
if command -v promtool >/dev/null; then
    promtool check metrics <"$work/page" || fail "promtool does not like the page"
fi

wait "$server"
status=$?
server=
[ "$status" = 0 ] || fail "the server ended with $status"
echo "one page of $(wc -l <"$work/page") lines"
