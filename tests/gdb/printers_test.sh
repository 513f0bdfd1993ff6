#!/bin/sh
# What gdb shows of snapshots, views and writers.
#
#   printers_test.sh <gdb> <the program printed> <cowindex_printers.py>
set -u

gdb=$1
program=$2
printers=$3
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

"$gdb" -batch -nx -ex 'python print("has python")' >"$work/python" 2>&1
grep -q 'has python' "$work/python" || {
    echo "skipped: this gdb has no Python"
    exit 0
}

cat >"$work/commands" <<COMMANDS
set pagination off
set style enabled off
set print pretty off
source $printers
break stop_here
run
up
echo stopped\n
print snapshot
print view
print writer
print far
print aligned
print one
print moved
print gone
print nothing
print none
kill
COMMANDS
"$gdb" -batch -nx -x "$work/commands" "$program" >"$work/out" 2>&1
# Containers may forbid it.
if grep -q -i 'ptrace\|Could not trace' "$work/out" && ! grep -q '^Breakpoint 1, ' "$work/out"; then
    echo "skipped: gdb may not run programs here"
    exit 0
fi

failures=0
shows() {
    grep -qF "$1" "$work/out" || {
        echo "gdb does not show: $1"
        failures=$((failures + 1))
    }
}
shows ' = cowindex::Snapshot: version 1, 3 shards = {[0] = {x = 0, y = 0}, [1] = {x = 7, y = 8}, [2] = {x = 0, y = 0}}'
shows ' = cowindex::View: version 1, 3 shards = {[0] = {x = 0, y = 0}, [1] = {x = 7, y = 8}, [2] = {x = 0, y = 0}}'
shows ' = cowindex::IndexWriter: based on version 1, 2 shards = {[1] = {x = 7, y = 8}, [2] = {x = 5, y = 6}}'
shows ' = cowindex::Snapshot: version 1, 3 shards = {[5] = -5, [64] = -64, [1000000] = -6}'
shows ' = cowindex::Snapshot: version 0, 2 shards = {[0] = {value = 42}, [1] = {value = 42}}'
shows ' = cowindex::Snapshot: version 0, 1 shard = {[0] = 9}'
shows ' = cowindex::IndexWriter: moved from'
shows ' = cowindex::View: moved from'
shows ' = cowindex::Snapshot: empty'
shows ' = cowindex::Snapshot: version 0, 0 shards'
! grep -i 'python exception\|traceback\|^error' "$work/out" || failures=$((failures + 1))

[ "$failures" = 0 ] || {
    cat "$work/out"
    exit 1
}
echo "gdb shows what it should"
