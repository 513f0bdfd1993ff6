#!/bin/sh
# Which lines of include/ the tests reach, and which outcomes of its conditions, by llvm-cov of
# clang 19. Ends with 1 if any is left that unreachable.txt does not list with a reason.
#
#   run.sh <work directory>
#
# All tests are built and run with the pins and the cell that this machine has; those that the
# choice matters to once more with the portable ones. The HTML report is in <work directory>/html.
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
failed=0

# The programs of a build, one a line.
programs() {
    find "$1/tests" -type f -perm -u+x ! -path '*/CMakeFiles/*' ! -path '*/planted/*' | sort
}

# suite <name> <targets> <labels of tests> <names of tests> <cmake argument>...
suite() {
    build=$work/$1 targets=$2 labels=$3 tests=$4
    shift 4
    log=$build.log
    cmake -S "$root" -B "$build" -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Debug \
        -DCMAKE_CXX_FLAGS_DEBUG="-O0 -g1 -fprofile-instr-generate -fcoverage-mapping" \
        -DCOWINDEX_BUILD_TESTS=ON -DCOWINDEX_BUILD_EXAMPLES=OFF "$@" >"$log"
    # shellcheck disable=SC2086
    cmake --build "$build" --parallel "${COWINDEX_JOBS:-2}" --target $targets >>"$log" 2>&1 || {
        tail -n 30 "$log"
        exit 1
    }
    rm -rf "$build/profile" "$build/export"
    mkdir "$build/profile" "$build/export"
    # A schedule is a schedule: a few of each scenario reach what all would.
    COWINDEX_SCHEDULES=${COWINDEX_SCHEDULES:-300} COWINDEX_OPERATIONS=${COWINDEX_OPERATIONS:-5000} \
        LLVM_PROFILE_FILE="$build/profile/%m.profraw" \
        ctest --test-dir "$build" -L "$labels" -R "$tests" --output-on-failure >>"$log" 2>&1 || {
        grep -A 20 -e '\*\*\*' "$log" | tail -n 40
        echo "some tests failed: see $log"
        failed=1
    }
    llvm-profdata-19 merge -sparse "$build"/profile/*.profraw -o "$build/all.profdata"
    # One by one: of a function that several programs have, llvm-cov looks at one only, which may be
    # the one that nothing calls.
    for program in $(programs "$build"); do
        llvm-cov-19 export "$program" -instr-profile="$build/all.profdata" -skip-functions \
            -skip-expansions "$headers" >"$build/export/$(basename "$program").json" 2>/dev/null ||
            rm "$build/export/$(basename "$program").json" # nothing of the headers in it
    done
}

suite as-it-is 'cowindex_unit_tests cowindex_concurrent_tests' '^(unit|concurrent)$' .
suite portable 'publication_test pin_registry_test reader_test core_test race_test' \
    '^(unit|concurrent)$' '^(publication|pin_registry|reader|core|race)_test$' \
    -DCOWINDEX_PIN_MODE=portable -DCOWINDEX_SHARED_CELL=standin

set --
for program in $(programs "$work/as-it-is"); do set -- "$@" -object "$program"; done
shift
llvm-cov-19 show "$@" -instr-profile="$work/as-it-is/all.profdata" -format=html \
    -show-branches=count -output-dir="$work/html" "$headers" 2>/dev/null || true

python3 "$root/tests/coverage/unreached.py" "$headers" "$root/tests/coverage/unreachable.txt" \
    "$work"/*/export/*.json || failed=1
exit "$failed"
