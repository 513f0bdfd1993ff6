#!/bin/sh
# Explores the models completely with GenMC, where that is found, under RC11 and under IMM.
#
#   run.sh [<genmc>]     default: $GENMC, else genmc on the path
#
# Each model must be free of errors. Each mutant that weakens it must be found by one of the two
# (only RC11 looks for data races), but those that are listed as equivalent, which must not: README.md
# says why. Prints a table.
set -u
cd "$(dirname "$0")" || exit 2
genmc=${1:-${GENMC:-genmc}}
if ! command -v "$genmc" >/dev/null 2>&1; then
    echo "skipped: no genmc"
    exit 0
fi
out=$(mktemp) || exit 2
trap 'rm -f "$out"' EXIT
wrong=0

# explore <rc11|imm> <model> <flags> <mutant>: sets `verdict`, `executions` and `seconds`
explore() {
    # shellcheck disable=SC2086
    "$genmc" --disable-estimation "--$1" -- -I. -DGENMC $3 "-DMUTANT=$4" "$2.c" >"$out" 2>&1
    case $? in
    0) verdict=clean ;;
    42) verdict=found ;;
    *) verdict=broken ;;
    esac
    executions=$(sed -n 's/^Number of complete executions explored: //p' "$out")
    seconds=$(sed -n 's/^Total wall-clock time: //p' "$out")
    [ -n "$executions" ] || [ "$verdict" != clean ] || verdict=broken
}
complain() {
    echo "WRONG: $*" >&2
    tail -n 20 "$out" >&2
    wrong=1
}

# model <name> <flags> <mutants to be found> <equivalent mutants>
model() {
    for memory in rc11 imm; do
        explore "$memory" "$1" "$2" 0
        [ "$verdict" = clean ] || complain "$1 $2 under $memory: $verdict"
        eval "$memory='$executions in $seconds'"
    done
    for mutant in $3; do
        explore rc11 "$1" "$2" "$mutant"
        [ "$verdict" = found ] || explore imm "$1" "$2" "$mutant"
        [ "$verdict" = found ] || complain "$1 $2, mutant $mutant: $verdict"
    done
    for mutant in $4; do
        for memory in rc11 imm; do
            explore "$memory" "$1" "$2" "$mutant"
            [ "$verdict" = clean ] || complain "$1 $2, equivalent $mutant under $memory: $verdict"
        done
    done
    # shellcheck disable=SC2154
    printf '| `%s` | %s | %s | %s | %s | %s |\n' "$1" "$2" "$rc11" "$imm" "$3" "$4"
}

"$genmc" --version 2>&1 | grep -i -E 'GenMC v|LLVM'
echo '| model | flags | executions, RC11 | executions, IMM | mutants found | equivalent |'
echo '|---|---|---|---|---|---|'
model pin_reclaim '-DPINS=1' '1 7 8 9 201 202 203 204' ''
model pin_reclaim '-DPINS=2 -DREADERS=1 -DVERSIONS=3 -DINTERRUPT' '1 6 7 8 9 202 203 204' ''
model pin_reclaim '-DPINS=1 -DPORTABLE' '101 106 107 109 8 203 204' ''
model pin_reclaim '-DPINS=2 -DREADERS=1 -DVERSIONS=3' '1 7 8 9 201 202 203 204' ''
model slots '-DVERSIONS=1' '1 8 9 201 202 221 222 223 224' ''
model publish_snapshot '-DAHEAD=0 -DTRIES=2' '1 21 22 205 236 237 238' '4 206 235'
model publish_snapshot '-DAHEAD=1 -DTRIES=2' '1 21 22 205 236 237 238' '4 206 235'
model knowledge '-DWAYS=121 -DAHEAD=0 -DOWNED=1 -DTRIES=2' '1 21 22 205 236 238' '4 206 235'
model knowledge '-DWAYS=121 -DAHEAD=1 -DOWNED=1 -DTRIES=2' '1 21 22 205 236 238' '4 206 235'
model knowledge '-DWAYS=212 -DAHEAD=1' '1 21 22 205 236 237 238' '4 206 235'
model knowledge '-DWAYS=231 -DAHEAD=0 -DOWNED=1 -DTRIES=2 -DBY_LOCK' '1 21 22 236 238' '4 206 235'
model knowledge '-DWAYS=322 -DAHEAD=0 -DREUSE' '21 22 227 236 237 238' '4 206'
model knowledge '-DWAYS=322 -DAHEAD=1 -DREUSE' '21 22 227 236 237 238' '4 206'
model in_place '-DWAYS=110 -DCOMMITS=2' '1 7 8 9 26 27 201 202 221 223 224 246 251 252 253' ''
model in_place '-DWAYS=441 -DCOMMITS=0' '1 7 8 9 26 27 201 202 221 223 224 246 251 252 253' ''
model in_place '-DWAYS=120 -DCOMMITS=2 -DAHEAD=0 -DTRIES=2' '1 7 8 9 26 27 201 202 221 223 224 236 241 246 247 249 251 252 253 254' ''
model in_place '-DWAYS=220 -DCOMMITS=3 -DAHEAD=0 -DTRIES=2' '21 22 26 27 224 236 238 241 247 249 251 254' '4 206 235'
model in_place '-DWAYS=220 -DCOMMITS=3 -DTRIES=2' '21 22 26 27 224 236 237 238 241 247 249 251 254' '4 206 235'
model in_place '-DWAYS=201 -DCOMMITS=1 -DAHEAD=0' '1 8 9 26 27 201 202 221 223 224 236 237 241 246 247 250 251 252 253' ''
model in_place '-DWAYS=250 -DCOMMITS=2 -DAHEAD=0' '21 22 26 27 201 202 221 223 224 236 238 241 247 249 250 251 252 253 254' ''
model in_place '-DWAYS=402 -DCOMMITS=2' '26 27 224 236 237 241 247 248 249 251 254' ''
model in_place '-DWAYS=403 -DCOMMITS=1' '26 27 224 248 249 251 254' ''
model in_place '-DWAYS=110 -DCOMMITS=2 -DLENT' '1 7 8 9 19 20 26 27 201 202 224 225 246 251 253 255' ''
model in_place '-DWAYS=101 -DCOMMITS=1 -DLENT' '1 8 9 19 20 26 27 201 202 224 225 246 251 253 255' ''
model commit_commit '' '207 208 209' ''
model snapshot_reclaim '-DVIEWERS=1 -DOWNED=0' '10 12 210 211 213 236 239 243' ''
model snapshot_reclaim '-DVIEWERS=1 -DOWNED=1' '10 12 21 22 210 211 212 213 235 236 239 242 243' ''
model snapshot_reclaim '-DVIEWERS=2 -DOWNED=0' '21 22 210 213 235 236 240 241 242' ''
model snapshot_reclaim '-DVIEWERS=2 -DOWNED=1' '21 22 210 213 235 236 242' ''
model splice '' '1 215 216 217' ''
model teardown '' '11 311 12 13 313 413 16 316 416 214 244 245' '411'
model tickets '' '218 219' '23'
model lender '' '19 20 225 226 255' ''
model waiting '-DWAITS=1' '231 232 233 234' ''
exit "$wrong"
