#!/bin/sh
# What including the library costs a compiler: the time to parse cowindex.hpp against that of the
# standard headers which it includes.
#
#   header_cost.sh [<compiler> [<runs>]]     $CXX, else c++; 15 runs, an odd number
#
# Prints one line of JSON. Medians, both taken in turns.
set -eu
compiler=${1:-${CXX:-c++}}
runs=${2:-15}
include=$(cd "$(dirname "$0")/../include" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo '#include <cowindex/cowindex.hpp>' >"$work/umbrella.cpp"
# Those that it really includes, not those of headers that a user includes by themselves.
"$compiler" -std=c++20 -I "$include" -M "$work/umbrella.cpp" | tr ' \\' '\n\n' |
    grep '/cowindex/' | sort -u | xargs sed -n 's/^ *# *include *\(<[a-z_]*>\).*/#include \1/p' |
    sort -u >"$work/standard.cpp"
[ "$(wc -l <"$work/standard.cpp")" -gt 5 ]

run=0
while [ "$run" -lt "$runs" ]; do
    for what in umbrella standard; do
        start=$(date +%s%N)
        "$compiler" -std=c++20 -I "$include" -fsyntax-only "$work/$what.cpp"
        echo $((($(date +%s%N) - start) / 1000)) >>"$work/$what"
    done
    run=$((run + 1))
done
umbrella=$(sort -n "$work/umbrella" | sed -n "$((runs / 2 + 1))p")
standard=$(sort -n "$work/standard" | sed -n "$((runs / 2 + 1))p")
awk -v u="$umbrella" -v s="$standard" 'BEGIN {
    printf "{\"umbrella_ms\": %.1f, \"standard_includes_ms\": %.1f, \"ratio\": %.2f}\n",
        u / 1000, s / 1000, u / s }'
