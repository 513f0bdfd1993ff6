#!/bin/sh
# The library under other compilers, languages, processors and checkers: for each configuration that
# this machine has tools for, the fuzz histories and threads that meet are compiled and run.
#
#   run.sh <work directory> [<configuration>...]
#
# A configuration whose compiler, libraries or runner are missing is reported as skipped.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
work=${1:?usage: run.sh <work directory> [<configuration>...]}
shift
wanted=" $* "
mkdir -p "$work" || exit 2
failed=0

# configuration <name> <runner> <random histories> <thread operations> <compiler> <flag>...
# With 0 random histories, the fuzz histories are left out: they need exceptions.
configuration() {
    name=$1 runner=$2 histories=$3 operations=$4 compiler=$5
    shift 5
    case $wanted in "  " | *" $name "*) ;; *) return ;; esac
    for tool in "$compiler" ${runner%% *}; do
        if ! command -v "$tool" >/dev/null 2>&1; then
            printf '%-18s skipped: no %s\n' "$name" "$tool"
            return
        fi
    done
    log=$work/$name.log
    start=$(date +%s)
    verdict=passed
    set -- "$compiler" -std=c++20 -g1 -Wall -Wextra -Werror -pthread -I "$root/include" \
        -I "$root/tests" "$@"
    if ! echo '#include <string>
int main() {}' | "$@" -x c++ - -o "$work/$name.empty" >"$log" 2>&1; then
        printf '%-18s skipped: no libraries for it\n' "$name"
        return
    fi
    {
        if [ "$histories" != 0 ]; then
            "$@" "$root/tests/fuzz/replay.cpp" "$root/tests/fuzz/index_fuzz.cpp" \
                -o "$work/$name.fuzz" &&
                $runner "$work/$name.fuzz" "$root"/tests/fuzz/corpus/* &&
                $runner "$work/$name.fuzz" --random "$histories"
        fi &&
            "$@" "$root/tests/portability/threads.cpp" -o "$work/$name.threads" &&
            $runner "$work/$name.threads" "$operations"
    } >"$log" 2>&1 || verdict=FAILED
    [ "$verdict" = passed ] || failed=1
    [ "$verdict" = passed ] || tail -n 15 "$log"
    printf '%-18s %s, %d s\n' "$name" "$verdict" $(($(date +%s) - start))
}

native=3000
many=30000
slow=300
configuration O0 '' $native $many g++ -O0
configuration O3 '' $native $many g++ -O3 -DNDEBUG
configuration c++23 '' $native $many g++ -std=c++23 -O1
configuration no-exceptions '' 0 $many g++ -std=c++23 -O1 -fno-exceptions -fno-rtti
configuration no-rtti '' $native $many g++ -O1 -fno-rtti
configuration clang-14 '' $native $many clang++-14 -O1
configuration clang-19 '' $native $many clang++-19 -O2
configuration clang-19-libc++ '' $native $many clang++-19 -O1 -stdlib=libc++
configuration clang-19-c++23 '' $native $many clang++-19 -O1 -std=c++2b
configuration portable '' $native $many g++ -O1 -DCOWINDEX_PORTABLE_PINS -DCOWINDEX_SHARED_CELL_STANDIN
# The kernel's headers of 64 bits serve 32: gcc-multilib, which would bring them, excludes all cross
# compilers; lib32stdc++-12-dev and libc6-dev-i386 do not.
configuration m32 '' $native $many g++ -O1 -m32 -idirafter /usr/include/x86_64-linux-gnu
configuration aarch64 'qemu-aarch64 -L /usr/aarch64-linux-gnu' $slow $native aarch64-linux-gnu-g++ -O1
configuration s390x 'qemu-s390x -L /usr/s390x-linux-gnu' $slow $native s390x-linux-gnu-g++ -O1
# The standard library's own object code is not instrumented: its templates are compiled here, and what
# needs its trees is left out.
configuration msan '' $native $many clang++-19 -O1 -fsanitize=memory -fno-sanitize-recover=all \
    -D_GLIBCXX_EXTERN_TEMPLATE=0 -DFUZZ_WITHOUT_VALIDATION
configuration memcheck 'valgrind -q --error-exitcode=9 --leak-check=full' 100 100 g++ -O1
exit "$failed"
