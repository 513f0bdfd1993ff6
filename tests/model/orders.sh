#!/bin/sh
# The orders of the models are those of the headers.
#
#   orders.sh [<source directory>]     default: that of this script
#
# Every order of memory that a header names must have a number, be of the kind that the words behind
# the number say, and be in some model with the same operation, or in the list below with a reason.
# The models may name no other. Needs no GenMC.
set -u
LC_ALL=C
export LC_ALL
root=$(cd "${1:-$(dirname "$0")/../..}" && pwd) || exit 2

# In no model: <header> <number> <operation> <order>, and why.
not_modelled() {
    cat <<'LIST'
publication.hpp 2 store relaxed: by the last user of an index, when no other thread is left
shared_cell.hpp 3 load acquire: std::atomic<std::shared_ptr>, whose inside is not ours
shared_cell.hpp 4 exchange acq_rel: the same
publication.hpp 18 load relaxed: a hint, whether owners are worth making ahead
publication.hpp 18 store relaxed: the same
LIST
}
# Headers without numbers: all that may be there is this.
unnumbered() {
    cat <<'LIST'
counter.hpp fetch_add relaxed: it counts and orders nothing
counter.hpp fetch_sub relaxed: the same
counter.hpp compare_exchange_weak relaxed: the same
counter.hpp store relaxed: the same
counter.hpp load relaxed: the same
asymmetric_fence.hpp atomic_signal_fence seq_cst: binds the compiler alone; LIGHT() in model.h
LIST
}

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
    failures=$((failures + 1))
    printf 'orders: %s\n' "$*" >&2
}
# complain <file of lines> <what is wrong with each>
complain() {
    while read -r line; do
        fail "$2: $line"
    done <"$1"
}

# The headers. A number counts from its comment to the next blank line or end of a member function.
# shellcheck disable=SC2016
(cd "$root/include/cowindex" && grep -rl memory_order . | sort | xargs awk '
    FNR == 1 { number = ""; operation = "?"; file = FILENAME; sub(/.*\//, "", file) }
    /^ *$/ { number = "" }
    {
        code = $0
        comment = ""
        if (at = index($0, "//")) {
            code = substr($0, 1, at - 1)
            comment = substr($0, at + 3)
        }
        rest = comment
        while (match(rest, /\([0-9]+\)( (Relaxed|Release|Acquire)|[.]? *$)/)) {
            found = substr(rest, RSTART, RLENGTH)
            # A bare number only where the comment begins with it.
            if (found ~ /[a-z]$/ || (rest == comment && RSTART == 1)) {
                number = substr(found, 2, index(found, ")") - 2)
                kind = found ~ /[a-z]$/ ? tolower(substr(found, index(found, ")") + 2)) : ""
            }
            rest = substr(rest, RSTART + RLENGTH)
        }
        while (match(code, /[A-Za-z_]+/)) {
            word = substr(code, RSTART, RLENGTH)
            before = RSTART > 1 ? substr(code, RSTART - 1, 1) : ""
            code = substr(code, RSTART + RLENGTH)
            if (word ~ /^memory_order_/) {
                order = substr(word, 14)
                print file, (number == "" ? "-" : number), operation, order
                if (number != "" && kind != "" && order != kind && order != "seq_cst" &&
                    !(order == "acq_rel" && kind != "relaxed"))
                    print "WRONG", file ":" FNR " says (" number ") " kind " and has " order
            } else if (substr(code, 1, 1) == "(" && (before ~ /[.>]/ || word ~ /fence$/) &&
                       word ~ /^(load|store|exchange|compare_exchange_.*|fetch_.*|.*_fence)$/) {
                operation = word
            }
        }
    }
    /^    }/ { number = "" }') >"$work/all" || fail "the headers could not be read"
sed -n 's/^WRONG //p' "$work/all" >"$work/wrong"
complain "$work/wrong" "the comment and the order differ"
grep -v -e '^WRONG' -e ' - ' "$work/all" | sort -u >"$work/headers"
sed -n 's/ - / /p' "$work/all" | sort -u >"$work/bare"

# The models: what each macro of model.h stands for, then who uses it for which operation.
(cd "$root/tests/model" && awk '
    BEGIN {
        long["RLX"] = "relaxed"; long["ACQ"] = "acquire"; long["REL"] = "release"
        long["ACQ_REL"] = "acq_rel"; long["SC"] = "seq_cst"
    }
    FILENAME == "model.h" {
        if ($1 != "#define" || $2 !~ /^(CELL_|LOCK_)?ORDER_[0-9]+$/) next
        text = $0
        sub(/^#define [A-Z_0-9]+ /, "", text)
        if (text in long) {
            orders[$2] = long[text]
        } else if (match(text, /^BOTH\([0-9]+\)$/)) {
            orders[$2] = "acq_rel"
        } else if (text ~ /^(S|WEAK)\([0-9]+, [A-Z_]+, RLX\)$/) {
            split(text, part, ", ")
            orders[$2] = long[part[2]] (text ~ /^S/ ? " seq_cst" : "")
        } else {
            print "WRONG", $2 " is no order that this script understands: " text
        }
        if (text ~ /\(/) {
            mutant = text
            gsub(/^[A-Z]+\(|[,)].*/, "", mutant)
            number = $2
            sub(/.*_/, "", number)
            if (mutant != number + ($2 ~ /^CELL/ ? 20 : $2 ~ /^LOCK/ ? 25 : 0)) print "WRONG", $2 " has the mutant " mutant
        }
        next
    }
    {
        code = $0
        sub(/\/\/.*/, "", code)
        while (match(code, /[A-Za-z_][A-Za-z_0-9]*/)) {
            word = substr(code, RSTART, RLENGTH)
            code = substr(code, RSTART + RLENGTH)
            if (word ~ /^atomic_.*_explicit$/) {
                operation = word
                gsub(/^atomic_|_explicit$/, "", operation)
                used = 0
            } else if (word ~ /^(CELL_|LOCK_)?ORDER_[0-9]+$/) {
                if (!(word in orders)) { print "WRONG", FILENAME ":" FNR " uses " word ", which model.h lacks"; continue }
                file = word ~ /^CELL/ ? "shared_cell.hpp" : word ~ /^LOCK/ ? "commit_lock.hpp" : "publication.hpp"
                number = word
                sub(/.*_/, "", number)
                count = split(orders[word], each, " ")
                for (i = 1; i <= count; i++) print file, number, operation, each[i]
            } else if (word == "LIBRARY_ORDER" || word == "DEFAULT_ORDER") {
                sub(/^\([^)]*\)/, "", code)
            } else if (word in long) {
                print "WRONG", FILENAME ":" FNR " names " word " instead of a number"
            }
        }
    }' model.h ./*.c) >"$work/all" || fail "the models could not be read"
sed -n 's/^WRONG //p' "$work/all" >"$work/wrong"
complain "$work/wrong" "model"
grep -v '^WRONG' "$work/all" | sort -u >"$work/models"
not_modelled | sed 's/:.*//' | sort >"$work/listed"
unnumbered | sed 's/:.*//' | sort >"$work/listed_bare"

[ "$(wc -l <"$work/headers")" -ge 16 ] || fail "fewer than 16 numbered orders in the headers"
[ "$(wc -l <"$work/models")" -ge 12 ] || fail "fewer than 12 orders in the models"
comm -12 "$work/models" "$work/listed" >"$work/wrong"
complain "$work/wrong" "in a model, and listed as in none"
sort -u "$work/models" "$work/listed" >"$work/known"
comm -23 "$work/headers" "$work/known" >"$work/wrong"
complain "$work/wrong" "in a header, in no model, and not listed"
comm -13 "$work/headers" "$work/models" >"$work/wrong"
complain "$work/wrong" "in a model and in no header"
comm -13 "$work/headers" "$work/listed" >"$work/wrong"
complain "$work/wrong" "listed and in no header"
comm -23 "$work/bare" "$work/listed_bare" >"$work/wrong"
complain "$work/wrong" "in a header, without a number"
comm -13 "$work/bare" "$work/listed_bare" >"$work/wrong"
complain "$work/wrong" "listed as without a number, and in no header"

[ "$failures" -eq 0 ] || exit 1
echo "orders: $(wc -l <"$work/headers") in the headers, $(wc -l <"$work/models") of them in models"
