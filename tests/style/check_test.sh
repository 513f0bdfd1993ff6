#!/bin/sh
# Plants each kind of violation in a copy of the tree and looks whether check.sh finds it.
#
#   check_test.sh <source directory>
set -u

source=$(cd "$1" && pwd) || exit 2
check=$source/tests/style/check.sh
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
planted=0
missed=0

# plant <what check.sh must say> <command to spoil the tree>: the command runs in the copy.
plant() {
    planted=$((planted + 1))
    rm -rf "$work/tree"
    mkdir "$work/tree"
    cp -R "$source/include" "$source/tests" "$source/docs" "$source/examples" \
        "$source/.github" "$source/CMakeLists.txt" "$source/README.md" "$work/tree"
    (cd "$work/tree" && eval "$2" && find . -name '*.old' -exec rm {} +) || {
        echo "could not plant: $2"
        missed=$((missed + 1))
        return
    }
    if sh "$check" tree "$work/tree" >"$work/out" 2>&1; then
        echo "check.sh accepts: $2"
        missed=$((missed + 1))
    elif ! grep -q "$1" "$work/out"; then
        echo "check.sh does not say '$1' after: $2"
        missed=$((missed + 1))
    fi
}

headers=include/cowindex
plant 'snapshot.hpp:[0-9]* names an order' "echo '// memory_order_relaxed' >>$headers/snapshot.hpp"
plant 'snapshot.hpp has [0-9]* lines' "yes '//' | head -n 500 >>$headers/snapshot.hpp"
plant 'snapshot.hpp includes <functional>' "echo '#include <functional>' >>$headers/snapshot.hpp"
plant 'snapshot.hpp includes <ranges>' "echo '# include <ranges>' >>$headers/snapshot.hpp"
plant 'snapshot.hpp (layer [0-9]*) includes cow_index.hpp' \
    "echo '#include <cowindex/cow_index.hpp>' >>$headers/snapshot.hpp"
plant 'which is in no layer' "echo '#include <cowindex/nowhere.hpp>' >>$headers/snapshot.hpp"
plant 'by a relative name' "echo '#include \"version.hpp\"' >>$headers/snapshot.hpp"
plant 'lacks #pragma once' "sed -i.old '/pragma once/d' $headers/snapshot.hpp"
plant 'CMakeLists.txt (<) does not list' "cp $headers/snapshot.hpp $headers/another.hpp"
plant 'the layers of check.sh (<) are not' "cp $headers/snapshot.hpp $headers/another.hpp"
plant 'snapshot.hpp is empty' ": >$headers/snapshot.hpp"
plant 'no header names an order' "sed -i.old 's/memory_order/order/g' $headers/*.hpp $headers/*/*.hpp"
plant 'no header includes another' "sed -i.old 's/include <cow/include <cwo/' $headers/*.hpp $headers/*/*.hpp"
plant 'the layers of check.sh (<) are not' "rm $headers/snapshot.hpp"
plant 'fewer than ten headers' "rm -r include && mkdir -p $headers && touch $headers/version.hpp"
plant 'no test names cowindex/version.hpp' "find tests -name '*.cpp' -exec rm {} +"
plant 'no CMakeLists.txt builds forgotten_test' "touch tests/forgotten_test.cpp"
plant 'there are no tests' "find tests -name '*_test.cpp' -exec rm {} +"
plant 'the block (<) is not \[.*\] of examples/quick_start.cpp' \
    "sed -i.old 's/#include <cowindex/#include <cowidnex/' README.md"
plant 'has no part \[find_package\]' "sed -i.old 's/\[find_pack/[fnid_pack/' tests/consumer/CMakeLists.txt"
plant 'there is no examples/quick_start.cpp' "rm examples/quick_start.cpp"
plant 'comes from no compiled file' "sed -i.old '/^<!-- from/d' README.md"
plant 'no document shows code' "sed -i.old '/^<!-- from/d' README.md docs/*.md"
plant 'which is not there' "echo '[gone](docs/gone.md)' >>README.md"
plant 'is no heading of design.md' "echo '[gone](docs/design.md#gone)' >>README.md"
plant 'is no heading of README.md' "echo '[gone](#gone)' >>README.md"
plant 'no test compiles examples/quick_start.cpp' \
    "sed -i.old 's/quick_start.cpp/slow_start.cpp/' examples/CMakeLists.txt"
plant 'no test compiles examples/migration/rcu.hpp' \
    "sed -i.old 's/#include \"rcu.hpp\"//' examples/migration/main.cpp"
plant 'CHANGELOG.md has no section' "sed -i.old 's/^## .*//' docs/CHANGELOG.md"

# The other mode: a document against what a program prints.
# prints <accepted|refused> <name in the document> <line>...
prints() {
    planted=$((planted + 1))
    wanted=$1
    name=$2
    shift 2
    printf '%s\n' "$@" >"$work/printed"
    printf '#!/bin/sh\ncat "%s"\n' "$work/printed" >"$work/program"
    chmod +x "$work/program"
    verdict=refused
    if sh "$check" output "$work/document" "$name" "$work/program" >"$work/out" 2>&1; then
        verdict=accepted
    fi
    if [ "$verdict" != "$wanted" ]; then
        echo "output '$*' for '$name' was $verdict: $(cat "$work/out")"
        missed=$((missed + 1))
    fi
}
printf '<!-- output of shown -->\n```text\none\ntwo\n```\n' >"$work/document"
prints accepted shown one two
prints refused shown one
prints refused shown one 2
prints refused shown one two three
prints refused absent one two

[ "$missed" -eq 0 ] || exit 1
echo "check.sh answers rightly to all of $planted changes"
