#!/bin/sh
# Which lines of include/ the tests reach, and which outcomes of its conditions, by llvm-cov of
# clang 19. Ends with 1 if any is left that unreachable.txt does not list with a reason.
#
#   run.sh <work directory>
#
# Needs a kernel that has membarrier and lets a thread refuse it to itself: the tests then run both
# kinds of pins. The HTML report is in <work directory>/html.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?usage: run.sh <work directory>}"
work=$(cd "$1" && pwd)
for tool in cmake clang++-19 llvm-cov-19 llvm-profdata-19 python3; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "skipped: no $tool"
        exit 0
    fi
done
echo 'int main() {}' >"$work/empty.cpp"
if ! clang++-19 -fprofile-instr-generate "$work/empty.cpp" -o "$work/empty" 2>/dev/null; then
    echo "skipped: clang++-19 has no runtime for profiles (on Debian: libclang-rt-19-dev)"
    exit 0
fi
headers=$root/include/cowindex
build=$work/build
log=$work/log.txt
failed=0

cmake -S "$root" -B "$build" -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS_DEBUG="-O0 -g1 -fprofile-instr-generate -fprofile-update=atomic -fcoverage-mapping" \
    -DCOWINDEX_BUILD_TESTS=ON -DCOWINDEX_BUILD_EXAMPLES=OFF >"$log"
cmake --build "$build" --parallel "${COWINDEX_JOBS:-2}" \
    --target cowindex_unit_tests cowindex_concurrent_tests >>"$log" 2>&1 || {
    tail -n 30 "$log"
    exit 1
}
rm -rf "$work/profile" "$work/export"
mkdir "$work/profile" "$work/export"
# A schedule is a schedule: a few of each scenario reach what all would.
COWINDEX_SCHEDULES=${COWINDEX_SCHEDULES:-300} COWINDEX_OPERATIONS=${COWINDEX_OPERATIONS:-5000} \
    LLVM_PROFILE_FILE="$work/profile/%m.profraw" \
    ctest --test-dir "$build" -L '^(unit|concurrent)$' -E '^gdb_printers$' --no-tests=error --output-on-failure \
    >>"$log" 2>&1 || {
    grep '(Failed)\|(Timeout)\|(SEGFAULT)\|Subprocess aborted' "$log" || tail -n 30 "$log"
    echo "some tests failed: see $log"
    failed=1
}
llvm-profdata-19 merge -sparse "$work"/profile/*.profraw -o "$work/all.profdata"

# One by one: of a function that several programs have, llvm-cov looks at one only, which may be the
# one that nothing calls.
set --
for program in $(find "$build/tests" -type f -perm -u+x ! -path '*/CMakeFiles/*' | sort); do
    export=$work/export/$(basename "$program").json
    if llvm-cov-19 export "$program" -instr-profile="$work/all.profdata" -skip-functions \
        -skip-expansions "$headers" >"$export" 2>/dev/null; then
        set -- "$@" -object "$program"
    else
        rm "$export" # nothing of the headers in it
    fi
done
shift
llvm-cov-19 show "$@" -instr-profile="$work/all.profdata" -format=html -show-branches=count \
    -output-dir="$work/html" "$headers" 2>/dev/null
python3 "$root/tests/coverage/unreached.py" "$headers" "$root/tests/coverage/unreachable.txt" \
    "$work"/export/*.json || failed=1
exit "$failed"
