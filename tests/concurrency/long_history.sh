#!/bin/sh
# The histories of free threads, long enough to mean something under ThreadSanitizer: for each
# compiler, standard library and way of pinning that this machine has, at least a million commits
# and a hundred million reads, each of which is checked.
#
#   long_history.sh <work directory> [<configuration>...]
#
# COWINDEX_OPERATIONS says how many operations each of the six threads does on each of three heaps.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
work=${1:?usage: long_history.sh <work directory> [<configuration>...]}
shift
wanted=" $* "
mkdir -p "$work" || exit 2
operations=${COWINDEX_OPERATIONS:-250000}
portable='-DCOWINDEX_PORTABLE_PINS=1 -DCOWINDEX_SHARED_CELL_STANDIN=1'
failed=0

# The ThreadSanitizer of g++ 12 cannot live with much randomisation of addresses.
fixed=
if setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed="setarch $(uname -m) -R"
fi

# configuration <name> <compiler> <flag>...
configuration() {
    name=$1 compiler=$2
    shift 2
    case $wanted in "  " | *" $name "*) ;; *) return ;; esac
    if ! command -v "$compiler" >/dev/null 2>&1; then
        printf '%-28s skipped: no %s\n' "$name" "$compiler"
        return
    fi
    set -- "$compiler" -std=c++20 -O1 -g1 -pthread -fsanitize=thread -I "$root/include" \
        -I "$root/tests" "$@"
    if ! echo '#include <catch2/catch.hpp>
int main() {}' | "$@" -x c++ - -o "$work/$name.empty" >"$work/$name.log" 2>&1; then
        printf '%-28s skipped: no libraries for it\n' "$name"
        return
    fi
    if ! "$@" "$root/tests/support/main.cpp" "$root/tests/concurrency/history_test.cpp" \
        -o "$work/$name" >"$work/$name.log" 2>&1; then
        tail -n 15 "$work/$name.log"
        printf '%-28s FAILED to compile\n' "$name"
        failed=1
        return
    fi
    start=$(date +%s)
    verdict=passed
    # shellcheck disable=SC2086
    TSAN_OPTIONS="halt_on_error=0 second_deadlock_stack=1 $TSAN_OPTIONS" \
        COWINDEX_OPERATIONS=$operations $fixed "$work/$name" >"$work/$name.log" 2>&1 ||
        verdict=FAILED
    seconds=$(($(date +%s) - start))
    reports=$(grep -c '^WARNING: ThreadSanitizer' "$work/$name.log")
    if [ "$verdict" != passed ] || [ "$reports" != 0 ]; then
        failed=1
        tail -n 40 "$work/$name.log"
    fi
    awk -v name="$name" -v verdict="$verdict" -v reports="$reports" -v seconds="$seconds" '
        / commits, .* shards read/ { commits += $1; versions += $3; shards += $6 }
        END {
            printf "%-28s %s: %d commits, %d versions read, %d shards read in them, ", name,
                verdict, commits, versions, shards
            printf "%d s, %d reports\n", seconds, reports
        }' "$work/$name.log"
}

TSAN_OPTIONS=${TSAN_OPTIONS:-}
# shellcheck disable=SC2086
{
    configuration clang-19-membarrier clang++-19
    configuration clang-19-portable clang++-19 $portable
    configuration clang-19-libc++-membarrier clang++-19 -stdlib=libc++
    configuration clang-19-libc++-portable clang++-19 -stdlib=libc++ $portable
    configuration g++-membarrier g++
    configuration g++-portable g++ $portable
}
exit "$failed"
