#!/bin/sh
# The rules of the source tree that no compiler checks.
#
#   check.sh tree <source directory>                       all rules
#   check.sh output <document> <example> <its program>     the document shows the true output
#
# A rule that finds nothing to look at has failed: it would not notice a violation either.
set -u
LC_ALL=C
export LC_ALL

failures=0
fail() {
    failures=$((failures + 1))
    printf 'style: %s\n' "$*" >&2
}

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# Layers from the lowest to the highest, one a line. A header includes only headers of lower lines.
# Files joined by + are one unit: a class, and the files that define its members, which it includes.
layers() {
    cat <<'LAYERS'
version.hpp policy.hpp detail/asymmetric_fence.hpp detail/clock.hpp detail/counter.hpp
memory.hpp detail/commit_lock.hpp detail/shard_tree.hpp detail/shared_cell.hpp
errors.hpp detail/dead_list.hpp detail/latency_histogram.hpp detail/publication.hpp detail/snapshot_label.hpp detail/tickets.hpp
cow_metrics.hpp detail/garbage.hpp detail/object_store.hpp detail/pin_registry.hpp reading.hpp detail/tree_diff.hpp
detail/change_list.hpp detail/initial_tree.hpp detail/metric_fields.hpp detail/tree_builder.hpp detail/version_record.hpp
stream.hpp prometheus.hpp detail/version_chain.hpp detail/write_batch.hpp
detail/core.hpp+detail/budget.hpp+detail/commit.hpp+detail/lifetime.hpp+detail/rebase.hpp+detail/reclaim.hpp
snapshot.hpp index_writer.hpp
reader.hpp diff.hpp
cow_index.hpp
cowindex.hpp
LAYERS
}

# Where orders of memory may be named.
order_files='detail/publication.hpp detail/shared_cell.hpp detail/asymmetric_fence.hpp detail/commit_lock.hpp detail/counter.hpp'
longest=420
forbidden='ranges functional regex iostream'

check_headers() {
    (cd "$root/include/cowindex" && find . -type f | sed 's,^\./,,' | sort) >"$work/headers"
    if [ "$(wc -l <"$work/headers")" -lt 10 ]; then
        fail "include/cowindex holds fewer than ten headers"
        return
    fi

    # The list in CMakeLists.txt and the layers are those of the directory.
    sed -n 's,^ *include/cowindex/\([a-z_/]*\.hpp\))*$,\1,p' "$root/CMakeLists.txt" |
        sort >"$work/listed"
    diff "$work/listed" "$work/headers" >"$work/diff" ||
        fail "CMakeLists.txt (<) does not list the headers of include/ (>): $(cat "$work/diff")"
    layers | tr ' +' '\n\n' | sort >"$work/layered"
    diff "$work/layered" "$work/headers" >"$work/diff" ||
        fail "the layers of check.sh (<) are not the headers of include/ (>): $(cat "$work/diff")"

    find "$root/tests" -name '*.cpp' -exec cat {} + >"$work/tests"

    while read -r header; do
        grep -qF "cowindex/$header" "$work/tests" || fail "no test names cowindex/$header"
    done <"$work/headers"

    # One pass over the layers and then over all headers.
    layers >"$work/layers"
    (
        cd "$root/include/cowindex" &&
            tr '\n' '\0' <"$work/headers" |
            xargs -0 awk -v longest="$longest" -v forbidden="$forbidden" -v order_files="$order_files" '
            BEGIN {
                count = split(forbidden, names, " ")
                for (i = 1; i <= count; i++) is_forbidden["<" names[i] ">"] = 1
                count = split(order_files, names, " ")
                for (i = 1; i <= count; i++) may_order[names[i]] = 1
            }
            FILENAME == ARGV[1] {
                for (i = 1; i <= NF; i++) {
                    count = split($i, names, "+")
                    for (k = 1; k <= count; k++) { layer[names[k]] = FNR; unit[names[k]] = $i }
                }
                next
            }
            { lines[FILENAME]++ }
            $0 == "#pragma once" { guards[FILENAME]++ }
            /memory_order/ {
                if (FILENAME in may_order) orders++
                else print FILENAME ":" FNR " names an order of memory: " $0
            }
            /^ *# *include/ {
                included = $0
                sub(/^ *# *include */, "", included)
                sub(/[ \t].*/, "", included)
                if (included in is_forbidden) print FILENAME " includes " included
                if (included !~ /^</) print FILENAME " includes a file by a relative name: " included
                if (included !~ /^<cowindex\//) next
                includes++
                included = substr(included, 11, length(included) - 11)
                if (!(included in layer))
                    print FILENAME " includes " included ", which is in no layer"
                else if (FILENAME in layer && unit[included] != unit[FILENAME] &&
                         layer[included] >= layer[FILENAME])
                    print FILENAME " (layer " layer[FILENAME] ") includes " included \
                        " (layer " layer[included] ")"
            }
            END {
                for (i = 2; i < ARGC; i++) {
                    if (lines[ARGV[i]] + 0 == 0) print ARGV[i] " is empty"
                    if (lines[ARGV[i]] > longest)
                        print ARGV[i] " has " lines[ARGV[i]] " lines, more than " longest
                    if (guards[ARGV[i]] != 1) print ARGV[i] " lacks #pragma once"
                }
                if (!includes) print "no header includes another"
                if (!orders) print "no header names an order of memory"
            }' "$work/layers"
    ) >"$work/violations" || fail "the headers could not be read"
    while read -r violation; do
        fail "$violation"
    done <"$work/violations"
}

# Lists the fenced blocks of a document as "<line> <language> <source> <part>", source and part
# being '-' without a line '<!-- from <source> [<part>] -->' before the block, and writes the text
# of the one that starts on line $2, if that is given.
blocks() {
    awk -v wanted="${2-}" '
        inside && /^```/ { inside = 0; next }
        inside { if (start == wanted) print; next }
        /^```/ {
            inside = 1
            start = FNR
            language = substr($0, 4)
            if (wanted == "") print FNR, (language == "" ? "-" : language), source, part
            source = "-"; part = "-"
            next
        }
        /^<!-- from [^ ]+ \[[^ ]+\] -->$/ {
            source = $3
            part = substr($4, 2, length($4) - 2)
            next
        }
        { source = "-"; part = "-" }
        BEGIN { source = "-"; part = "-" }
    ' "$1"
}

# The lines of file $1 between the comments [$2] and [/$2], without the indentation of the former;
# the whole file for [all].
extract() {
    if [ "$2" = all ]; then
        cat "$1"
        return
    fi
    awk -v part="$2" '
        { line = $0; sub(/^ *(\/\/|#) */, "", line) }
        line == "[/" part "]" { inside = 0 }
        inside { text = $0; if (substr(text, 1, indent) ~ /^ *$/) text = substr(text, indent + 1); print text }
        line == "[" part "]" { inside = 1; match($0, /^ */); indent = RLENGTH }
    ' "$1"
}

# Whether the tests compile $1: a source that a CMakeLists.txt names, a header that one includes.
compiled() {
    directory=$root/${1%/*}
    file=${1##*/}
    case $file in
    *.cpp) grep -qF "$file" "$root/examples/CMakeLists.txt" "$directory/CMakeLists.txt" 2>/dev/null ;;
    *.hpp) grep -qF "#include \"$file\"" "$directory"/*.cpp ;;
    *) true ;;
    esac
}

# Addresses within documents, as web pages of repositories make them of headings: lists those of the
# lines "<document> <file> <address>" in file $1 that no heading of the file yields.
lost_anchors() {
    awk '
        FNR == 1 { file = FILENAME; sub(/.*\//, "", file); inside = 0 }
        FILENAME == ARGV[ARGC - 1] {
            if (!(($2, $3) in known)) print $1 " links to #" $3 ", which is no heading of " $2
            next
        }
        /^```/ { inside = !inside }
        !inside && /^##* / {
            heading = tolower($0)
            sub(/^##* /, "", heading)
            gsub(/[^a-z0-9_ -]/, "", heading)
            gsub(/ /, "-", heading)
            known[file, heading] = 1
        }' "$root/README.md" "$root"/docs/*.md "$1"
}

check_documents() {
    code_blocks=0
    links=0
    : >"$work/wanted"
    for document in "$root/README.md" "$root"/docs/*.md "$root"/.github/*.md; do
        [ -f "$document" ] || continue
        name=${document#"$root"/}
        blocks "$document" >"$work/blocks"
        while read -r line language source part; do
            if [ "$source" = - ]; then
                case $language in
                cpp | c++ | cmake) fail "$name:$line: this $language comes from no compiled file" ;;
                esac
                continue
            fi
            code_blocks=$((code_blocks + 1))
            if [ ! -f "$root/$source" ]; then
                fail "$name:$line: there is no $source"
                continue
            fi
            compiled "$source" || fail "$name:$line: no test compiles $source"
            extract "$root/$source" "$part" >"$work/expected"
            blocks "$document" "$line" >"$work/shown"
            if [ ! -s "$work/expected" ]; then
                fail "$name:$line: $source has no part [$part]"
            elif ! diff "$work/shown" "$work/expected" >"$work/diff"; then
                fail "$name:$line: the block (<) is not [$part] of $source (>): $(cat "$work/diff")"
            fi
        done <"$work/blocks"

        # Links to files of this tree lead somewhere.
        awk '
            /^```/ { inside = !inside }
            !inside {
                rest = $0
                while (match(rest, /\]\([^): ]+\)/)) {
                    link = substr(rest, RSTART + 2, RLENGTH - 3)
                    anchor = link
                    if (!sub(/^[^#]*#/, "", anchor)) anchor = "-"
                    sub(/#.*/, "", link)
                    print (link == "" ? "-" : link), anchor
                    rest = substr(rest, RSTART + RLENGTH)
                }
            }' "$document" >"$work/links"
        while read -r link anchor; do
            links=$((links + 1))
            target=$(dirname "$document")/$link
            [ "$link" != - ] || target=$document
            if [ ! -e "$target" ]; then
                fail "$name links to $link, which is not there"
            elif [ "$anchor" != - ]; then
                echo "$name ${target##*/} $anchor" >>"$work/wanted"
            fi
        done <"$work/links"
    done
    lost_anchors "$work/wanted" >"$work/lost"
    while read -r line; do
        fail "$line"
    done <"$work/lost"
    [ "$code_blocks" -gt 0 ] || fail "no document shows code of a compiled file"
    [ "$links" -gt 0 ] || fail "no document links to a file"
}

# A test that nobody builds cannot fail.
check_tests() {
    find "$root/tests" -name CMakeLists.txt -exec cat {} + >"$work/lists"
    find "$root/tests" -name '*_test.cpp' | sed 's,.*/,,; s,\.cpp$,,' >"$work/names"
    [ -s "$work/names" ] || fail "there are no tests"
    while read -r name; do
        grep -q "^ *cowindex_test($name[ )]" "$work/lists" || fail "no CMakeLists.txt builds $name"
    done <"$work/names"
}

check_version() {
    version=$(sed -n -E 's/^#define COWINDEX_VERSION_(MAJOR|MINOR|PATCH) +([0-9]+)$/\2/p' \
        "$root/include/cowindex/version.hpp" | paste -s -d . -)
    grep -qF "## [$version]" "$root/docs/CHANGELOG.md" ||
        fail "docs/CHANGELOG.md has no section [$version]"
}

check_output() {
    document=$1
    example=$2
    program=$3
    awk -v marker="<!-- output of $example -->" '
        inside && /^```/ { exit }
        inside { print; next }
        marked && /^```/ { inside = 1; next }
        { marked = ($0 == marker) }
    ' "$document" >"$work/shown"
    "$program" >"$work/printed" || fail "$example exits with $?"
    [ -s "$work/shown" ] || fail "$document does not show the output of $example"
    diff "$work/shown" "$work/printed" >"$work/diff" ||
        fail "$document (<) does not show what $example prints (>): $(cat "$work/diff")"
}

case ${1-} in
tree)
    root=$(cd "$2" && pwd) || exit 2
    check_headers
    check_tests
    check_documents
    check_version
    ;;
output)
    check_output "$2" "$3" "$4"
    ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

[ "$failures" -eq 0 ] || {
    printf 'style: %d violations\n' "$failures" >&2
    exit 1
}
echo "style: no violations"
