#!/bin/sh
# Which lines and branches of include/ the tests reach, by llvm-cov of clang 19.
#
#   run.sh <build directory>
#
# Prints a table for each header and lists the lines that no test reached; leaves an HTML report in
# <build directory>/html. A template counts as reached when one of its instances is.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?usage: run.sh <build directory>}"
build=$(cd "$1" && pwd)
for tool in clang++-19 llvm-cov-19 llvm-profdata-19; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "skipped: no $tool"
        exit 0
    fi
done

cmake -S "$root" -B "$build" -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1 -fprofile-instr-generate -fcoverage-mapping" \
    -DCOWINDEX_BUILD_TESTS=ON -DCOWINDEX_BUILD_EXAMPLES=OFF >"$build.log"
cmake --build "$build" --parallel "${COWINDEX_JOBS:-2}" \
    --target cowindex_unit_tests cowindex_concurrent_tests >>"$build.log"
rm -f "$build"/profile/*
# All that a crash test kills on purpose leaves no profile: that is so.
COWINDEX_SCHEDULES=300 COWINDEX_OPERATIONS=5000 LLVM_PROFILE_FILE="$build/profile/%p-%m.profraw" \
    ctest --test-dir "$build" -L '^(unit|concurrent)$' --output-on-failure >>"$build.log" ||
    echo "some tests failed: see $build.log"
llvm-profdata-19 merge -sparse "$build"/profile/*.profraw -o "$build/all.profdata"

objects=$(find "$build/tests" -type f -perm -u+x \( -name '*_test' -o -name fuzz_replay \) |
    sed 's/^/-object /')
# shellcheck disable=SC2086
set -- $objects
shift
sources="$root/include/cowindex"
llvm-cov-19 report "$@" -instr-profile="$build/all.profdata" "$sources"
llvm-cov-19 show "$@" -instr-profile="$build/all.profdata" -format=html -show-branches=count \
    -output-dir="$build/html" "$sources"
echo "Lines that no test reached:"
llvm-cov-19 export "$@" -instr-profile="$build/all.profdata" -format=lcov "$sources" |
    awk -F'[:,]' '/^SF:/ { file = $2; sub(/.*\/include\//, "", file) }
        /^DA:/ && $3 == 0 { print file ":" $2; lines++ }
        /^BRDA:/ { place = file ":" $2; taken[place " branch " $4] += ($5 == "-" ? 0 : $5) }
        END {
            if (!lines) print "none"
            print "Branches that no test took:"
            for (branch in taken) if (!taken[branch]) { print branch; branches++ }
            if (!branches) print "none"
        }'
