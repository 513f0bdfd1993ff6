#!/bin/sh
# Replays a history in which everything is unusual and compares every version with git.
#
#   test_history.sh <code_search>
set -eu
program=$1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GIT_CONFIG_GLOBAL="$work/config" GIT_CONFIG_NOSYSTEM=1 GIT_CEILING_DIRECTORIES="$work" LC_ALL=C
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a

fail() {
    echo "test_history: $*" >&2
    exit 1
}

# expect <status> <command>...: what it prints is in the file "out".
expect() {
    wanted=$1
    shift
    status=0
    "$@" >"$work/out" 2>&1 || status=$?
    [ "$status" -eq "$wanted" ] || {
        cat "$work/out" >&2
        fail "exit status $status instead of $wanted: $*"
    }
}

# What a user may have set must not change what is read.
cat >config <<'END'
[log]
    showSignature = true
    diffMerges = off
    decorate = full
    follow = true
[diff]
    renames = copies
    ignoreSubmodules = all
    noprefix = true
[core]
    abbrev = 4
    quotePath = true
[color]
    ui = always
[format]
    pretty = fuller
END

blob() { git hash-object -w --stdin; }

# put <mode> <id> <path as a format of printf>; without an index entry the path need not be one
# that this file system can hold.
put() {
    # shellcheck disable=SC2059
    { printf '%s %s\t' "$1" "$2" && printf -- "$3" && printf '\0'; } | git update-index -z --index-info
}

remove() { put 0 "$none" "$1"; }

# commit [<parent>...]: prints the id of a commit of the index.
commit() {
    tree=$(git write-tree)
    for parent in "$@"; do
        set -- "$@" -p "$parent"
        shift
    done
    echo "commit $tree" | git commit-tree "$tree" "$@"
}

# Makes a history in a new clone "$1" with ids of the kind "$2".
make_history() {
    git init -q --object-format="$2" "$1"
    cd "$1"
    text=$(printf 'needle one\nsecond line\nneedle two\n' | blob)
    other=$(printf 'another\r\ntext needle' | blob)
    binary=$(printf 'needle\0binary' | blob)
    target=$(printf 'to/needle/target' | blob)
    empty=$(printf '' | blob)
    none=$(echo "$text" | tr '0-9a-f' 0)

    # A root commit with thousands of files.
    i=0
    while [ "$i" -lt 3000 ]; do
        printf '100644 %s\tmany/file %d\0' "$text" "$i"
        i=$((i + 1))
    done | git update-index -z --index-info
    root=$(commit)

    put 100644 "$text" 'with space'
    put 100644 "$text" ' leading and trailing '
    put 100644 "$text" 'quotes "double" and '\''single'\'
    put 100644 "$text" 'line\nfeed'
    put 100644 "$text" '\nleading line feed'
    put 100644 "$text" 'tab\tbackslash\\'
    put 100644 "$text" 'not UTF-8: \377\376'
    put 100644 "$text" ':100644 like a change'
    put 100644 "$text" '-option'
    put 100644 "$text" "$text"
    put 100644 "$binary" 'binary'
    put 100644 "$empty" 'empty'
    put 120000 "$target" 'link'
    put 160000 "$root" 'submodule'
    head=$(commit "$root")

    head=$(commit "$head") # changes nothing

    # Other modes, other types, and directories in the place of files.
    put 100755 "$text" 'with space'
    put 120000 "$target" 'line\nfeed'
    put 100644 "$other" 'link'
    put 100644 "$binary" 'empty'
    put 100644 "$text" 'binary'
    put 100644 "$text" 'submodule'
    put 160000 "$root" '-option'
    remove 'not UTF-8: \377\376'
    put 100644 "$text" 'not UTF-8: \377\376/below'
    main=$(commit "$head")

    # A side branch, and a merge that brings its changes and one of its own.
    git read-tree "$head"
    put 100644 "$other" 'side \303'
    remove 'many/file 7'
    side=$(commit "$head")
    git read-tree "$main"
    put 100644 "$other" 'side \303'
    remove 'many/file 7'
    put 160000 "$main" '-option'
    put 100644 "$other" 'of the merge'
    head=$(commit "$main" "$side")

    # A side branch that merges the main one: the first parent is what counts.
    head=$(commit "$side" "$head")

    git ls-files -z 'many/*' | git update-index -z --force-remove --stdin
    head=$(commit "$head")
    git read-tree --empty
    head=$(commit "$head") # holds nothing
    put 100644 "$other" 'the only one'
    put 100644 "$text" 'last\nfile'
    head=$(commit "$head")
    git update-ref HEAD "$head"
    commits=$(git rev-list --first-parent --count HEAD)
    cd ..
}

for kind in sha1 sha256; do
    make_history "$kind" "$kind"
    expect 0 "$program" --check-every 1 --readers 2 "$kind"
    grep -q "^  checks .* $commits versions equal git ls-tree, " out ||
        fail "not $commits versions were checked: $(cat out)"
    grep -q "^Replayed the history of $kind to its end" out || fail "not to the end: $(cat out)"
    git clone -q --bare "$kind" "$kind.bare"
    expect 0 "$program" --check-every 1 "$kind.bare"
done

# The text of the newest version.
expect 0 "$program" --query needle sha1
cat >expected <<'END'
last
file:1: needle one
last
file:3: needle two
the only one:2: text needle
END
grep -v 'found in' out | diff expected - || fail "these are other matches"
expect 0 "$program" --query ne sha1
grep -q 'the only one:2: text needle' out || fail "a text shorter than a trigram is not found"
expect 0 "$program" --query 'no such text' sha1
grep -q '^0 lines in 0 files' out || fail "found what is not there: $(cat out)"

# A directory tree.
mkdir -p tree/below
echo 'needle in a file' >'tree/below/with space'
printf 'needle\0' >tree/binary
ln -s below tree/link
expect 0 "$program" --seconds 1 --check-every 20 --readers 2 tree
grep -q 'now 2 files with 17 B of text' out || fail "not two files: $(cat out)"
expect 0 "$program" --query needle tree
grep -qx 'below/with space:1: needle in a file' out || fail "no match in a tree: $(cat out)"

# A git that disagrees is a mismatch. It hides one line of every listing.
mkdir bin
real=$(command -v git)
cat >bin/git <<END
#!/bin/sh
case " \$* " in
*" ls-tree "*) "$real" "\$@" | tr '\\\\0\\\\n' '\\\\n\\\\0' | sed 1d | tr '\\\\0\\\\n' '\\\\n\\\\0' ;;
*) exec "$real" "\$@" ;;
esac
END
chmod +x bin/git
expect 1 env PATH="$work/bin:$PATH" "$program" --check-every 1 sha1
grep -q '^code_search: mismatch: version 1 .*is in the index, but should not be$' out ||
    fail "a mismatch is not named: $(cat out)"

# A git that fails, in different places: one line, status 2.
expect_error() {
    expect 2 "$@"
    [ "$(wc -l <out)" -eq 1 ] || fail "not one line: $(cat out)"
}
git init -q unborn
expect_error "$program" unborn
grep -q '^code_search: git rev-list: fatal: ' out || fail "git is not quoted: $(cat out)"
mkdir -p broken/.git
expect_error "$program" broken
expect_error env PATH="$work/none" "$program" sha1
grep -q '^code_search: cannot run git: ' out || fail "a missing git is not named: $(cat out)"
for command in log cat-file ls-tree; do
    cat >bin/git <<END
#!/bin/sh
case " \$* " in
*" $command "*) echo 'warning: about to fail' >&2; echo 'fatal: no $command today' >&2; exit 128 ;;
*) exec "$real" "\$@" ;;
esac
END
    expect_error env PATH="$work/bin:$PATH" "$program" --check-every 1 sha1
    grep -qx "code_search: git $command: fatal: no $command today" out ||
        fail "git $command is not quoted: $(cat out)"
done

# Contents that the clone lacks count as not searchable.
cp -r sha1 lacking
lost=$(git -C lacking rev-parse 'HEAD:the only one')
chmod -R u+w lacking
rm "lacking/.git/objects/$(echo "$lost" | cut -c 1-2)/$(echo "$lost" | cut -c 3-)"
expect 0 "$program" --check-every 1 lacking

# Ctrl-C ends a run in order, with its table.
"$program" --seconds 60 tree >out 2>&1 &
running=$!
sleep 1
kill -INT "$running"
status=0
wait "$running" || status=$?
[ "$status" -eq 0 ] || fail "exit status $status after an interrupt: $(cat out)"
grep -q 'until interrupted' out || fail "no table after an interrupt: $(cat out)"

echo "test_history: all held"
