#!/bin/sh
# Runs the given test programs in turn until the time is over.
#
#   soak.sh <seconds> <program>...
#
# The programs themselves demand that gauges return to zero and that no memory is left.
set -u
end=$(($(date +%s) + ${1:?usage: soak.sh <seconds> <program>...}))
shift
round=0
while [ "$(date +%s)" -lt "$end" ]; do
    round=$((round + 1))
    for program in "$@"; do
        "$program" >/dev/null || {
            echo "round $round: $program failed"
            exit 1
        }
    done
    echo "round $round passed, $((end - $(date +%s))) s left"
done
