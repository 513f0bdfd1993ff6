#!/bin/sh
# Gives the demo command lines, most of them wrong ones.
#
#   test_options.sh <code_search>
set -eu
program=$1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "test_options: $*" >&2
    exit 1
}

# refuse <text> <argument>...: exit status 2 and one line that contains the text.
refuse() {
    text=$1
    shift
    status=0
    "$program" "$@" >"$work/out" 2>&1 || status=$?
    [ "$status" -eq 2 ] || fail "exit status $status instead of 2: $*"
    [ "$(wc -l <"$work/out")" -eq 1 ] || fail "not one line: $(cat "$work/out")"
    grep -qF -- "code_search: $text" "$work/out" || fail "not '$text': $(cat "$work/out")"
}

"$program" --help >"$work/out"
for option in --seconds --readers --check-every --query --help; do
    grep -q -- "^  $option " "$work/out" || fail "--help does not explain $option"
done

refuse "unknown option '--wrong', see --help" --wrong
refuse "unknown option '-q', see --help" -q
refuse "unknown option '--help=please', see --help" --help=please
refuse "--seconds needs a value" --seconds
refuse "--seconds takes a whole number from 1 to 86400, not '0'" --seconds 0
refuse "--seconds takes a whole number from 1 to 86400, not '1.5'" --seconds=1.5
refuse "--readers takes a whole number from 0 to 256, not '-1'" --readers -1
refuse "--check-every takes a whole number from 1 to" --check-every ''
refuse "--check-every takes a whole number from 1 to" --check-every 99999999999999999999
refuse "--query needs a text that is not empty" --query=
refuse "one PATH at most, '$work' is too many" "$work" "$work"
refuse "PATH is empty" ''
refuse "'$work/none' is not a directory" "$work/none"
refuse "'$work/out' is not a directory" -- "$work/out"
refuse "'/a?b' is not a directory" '/a
b'
mkdir "$work/empty"
refuse "there is nothing to index in the files of $work/empty/" "$work/empty"

echo "test_options: all held"
