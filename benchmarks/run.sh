#!/bin/sh
# Measures everything and draws the plots of docs/ anew; some five minutes on two cores.
#
#   benchmarks/run.sh                                    builds build/benchmark, draws into docs/
#   benchmarks/run.sh <build directory> <plot directory>     runs what was built there
#
# RUN is put before each program (none takes much more than a minute), FILTER is passed on as
# --benchmark_filter, ONLY names the programs to run, REPETITIONS and MIN_TIME say how thoroughly.
# Results go to <build directory>/results, as Google Benchmark's JSON; summary.md there holds all
# medians, with their spread.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
cd "$source"
build=${1:-build/benchmark}
plots=${2:-docs}
python=${PYTHON:-/usr/bin/python3} # python3-matplotlib comes from the system's packages
repetitions=${REPETITIONS:-5}
min_time=${MIN_TIME:-0.05}
only=${ONLY:-reading first_read tails commit writers mixed access building drop memory}

if [ -z "${1-}" ]; then
    cmake --preset benchmark >/dev/null
    cmake --build --preset benchmark
fi
results=$build/results
mkdir -p "$results"
for name in $only; do
    echo "$name" >&2
    # Not all at once: what the one before has left behind should not show in the next.
    # shellcheck disable=SC2086
    ${RUN-} "$build/benchmarks/${name}_benchmark" \
        --benchmark_repetitions="$repetitions" --benchmark_min_time="$min_time" \
        --benchmark_filter="${FILTER:-.}" \
        --benchmark_out="$results/$name.json" --benchmark_out_format=json \
        >"$results/$name.log" 2>&1 || {
        cat "$results/$name.log" >&2
        exit 1
    }
done
benchmarks/header_cost.sh "${CXX:-c++}" $((2 * repetitions + 1)) >"$results/header_cost.txt"
"$python" benchmarks/summary.py "$results" >"$results/summary.md"
if "$python" -c 'import matplotlib' 2>/dev/null; then
    "$python" benchmarks/plot.py "$results" "$plots"
else
    echo "skipped: no plots without python3-matplotlib" >&2
fi
echo "$results/summary.md"
