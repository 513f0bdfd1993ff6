#!/bin/sh
# Plants known bugs in a copy of the headers, one at a time, and demands that the scheduler tests
# find each. An edit that no longer applies is a failure: the test would show nothing.
#
#   planted_bugs.sh <source directory> <work directory> <C++ compiler> [<name of a bug>]
set -u
LC_ALL=C
export LC_ALL

source=$1
work=$2
compiler=$3
only=${4-}
schedules=5000

# The standard library's headers are read once.
mkdir -p "$work"
standard=$work/standard.hpp
grep -hoE '^#include <[a-z_]+>' -r "$source/include" "$source/tests/concurrency" \
    "$source/tests/support" | sort -u >"$standard"
$compiler -std=c++20 -O0 -w -x c++-header "$standard" -o "$standard.gch" -pthread || exit 2

failures=0
fail() {
    failures=$((failures + 1))
    printf 'planted: %s\n' "$*" >&2
}

# edit <header> <old> <new>: replaces the only occurrence of a text within one line.
edit() {
    file=$tree/include/cowindex/$1
    OLD=$2 NEW=$3 awk '
        {
            at = index($0, ENVIRON["OLD"])
            if (at > 0) {
                count++
                $0 = substr($0, 1, at - 1) ENVIRON["NEW"] substr($0, at + length(ENVIRON["OLD"]))
            }
            print
        }
        END { exit count != 1 }' "$file" >"$file.new" || {
        echo "$bug: '$2' does not stand exactly once in $1" >>"$tree/failed"
    }
    mv "$file.new" "$file"
}

# plant <bug> <scenarios that find it>, then edit ..., then demand_found: copies, builds, runs.
plant() {
    bug=$1
    scenarios=$2
    tree=$work/$bug
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -R "$source/include" "$tree/"
}

# Runs as a job of its own: two of them at a time.
try() {
    if [ -s "$tree/failed" ]; then return; fi
    # The others would be most of what there is to compile.
    table=
    for scenario in $scenarios; do table="$table{\"$scenario\", test::scenarios::$scenario},"; done
    if ! $compiler -std=c++20 -O0 -w -include "$standard" "-DPLANTED_SCENARIOS=$table" \
        -I "$tree/include" -I "$source/tests" \
        "$source/tests/concurrency/planted_bugs.cpp" -o "$tree/program" -pthread \
        >"$tree/log" 2>&1; then
        echo "$bug: does not compile: $(tail -n 3 "$tree/log")" >"$tree/failed"
        return
    fi
    for scenario in $scenarios; do
        # A crash is a find as well, and so is a corrupted list that is walked for ever.
        (ulimit -c 0; ulimit -t 6; exec "$tree/program" "$schedules" "$scenario") \
            >"$tree/log" 2>&1
        status=$?
        case $status in
        0) echo "$bug: $scenario does not find it" >>"$tree/failed" ;;
        2) echo "$bug: $scenario was not run" >>"$tree/failed" ;;
        *) echo "$bug: found by $scenario: $(head -n 1 "$tree/log") [$status]" >>"$tree/found" ;;
        esac
    done
}

jobs=''
bugs=''
demand_found() {
    if [ -n "$only" ] && [ "$only" != "$bug" ]; then return; fi
    bugs="$bugs $bug"
    try 2>/dev/null & # the shell would tell of each crash
    # At most two at a time: wait for the one before the last.
    [ -z "$jobs" ] || wait "$jobs"
    jobs=$!
}

plant none 'same_shard promotion teardown' # the control: nothing is found
if [ -z "$only" ]; then
    try
    grep -q 'does not find it' "$tree/failed" && ! [ -e "$tree/found" ] ||
        fail "without a bug: $(cat "$tree/failed" "$tree/found" "$tree/log" 2>&1)"
fi

plant skip_validation 'same_shard required_shards'
edit detail/change_list.hpp 'return !require_all_ && std::all_of(list_' 'return true || std::all_of(list_'
demand_found

plant skip_requirements 'required_shards'
edit detail/change_list.hpp 'std::all_of(requirements_.begin(), requirements_.end(), same);' 'true;'
demand_found

plant owner_unchecked 'mixed_versions'
edit detail/publication.hpp 'if (latest_.load(std::memory_order_acquire) == owner.get()) {' 'if (owner != nullptr) {'
demand_found

plant owner_left_in_the_cell 'mixed_versions promotion'
edit detail/publication.hpp 'if (!owned_) return owner_.exchange(nullptr);' 'if (!owned_) return nullptr;'
edit detail/publication.hpp 'owned_ = ahead_ > 0;' 'owned_ = false;'
demand_found

plant two_first_owners 'promotion'
edit detail/lifetime.hpp 'if (pinned->owner == nullptr) pinned->owner' 'pinned->owner'
demand_found

plant two_owners_of_the_latest 'mixed_versions'
edit detail/publication.hpp 'if (!owned_) {' 'if (true) {'
demand_found

plant pin_without_check 'pin_and_reclaim'
edit detail/publication.hpp 'if (latest == guess) [[likely]]' 'if (true)'
edit detail/publication.hpp 'if (latest == guess) return latest;' 'return latest;'
demand_found

plant pin_of_what_was_had_last 'pin_and_reclaim'
edit detail/publication.hpp 'if (latest == guess) [[likely]]' 'if (guess != nullptr) return guess;'
demand_found

plant pin_within_a_pin_unnoticed 'nested_pins'
edit detail/pin_registry.hpp 'guess = std::exchange(last, nullptr);' 'guess = last;'
edit detail/pin_registry.hpp 'if (last != nullptr) *last = record;' ''
edit reader.hpp 'last_(&last) {}' 'last_(&last) { last = record_; }'
demand_found

plant owners_before_slots 'promotion'
edit detail/version_record.hpp 'Stage stage = Stage::latest;' 'Stage stage = Stage::latest; bool alone = false;'
edit detail/reclaim.hpp 'const Version horizon = chain_.latest()->version;' 'const Version horizon = chain_.latest()->version; chain_.for_each_record([](Record& r) { r.alone = r.owner != nullptr && r.owner.use_count() == 1; });'
edit detail/version_chain.hpp 'if (record.owner.use_count() != 1) return false;' 'if (!record.alone && record.owner.use_count() != 1) return false;'
edit detail/version_chain.hpp 'return record.owners.is_expired();' 'return record.alone || record.owners.is_expired();'
demand_found

plant no_scan 'pin_and_reclaim nested_pins reader_churn'
edit detail/version_chain.hpp 'const bool pinned = is_pinned(record);' 'const bool pinned = false && is_pinned(record);'
demand_found

plant readers_overlooked 'pin_and_reclaim'
edit detail/commit.hpp '!registry_.anyone() && !freeing_shards' '!freeing_shards'
demand_found

plant dropped_with_what_older_ones_hold 'old_base'
edit detail/version_chain.hpp 'if (record->older != nullptr) keep_for_older(*record, retired);' ''
demand_found

plant ahead_of_the_section 'many_changes'
edit detail/commit.hpp 'if (ahead.has_value() && latest != ahead->onto.record)' 'if (false)'
demand_found

plant lock_kept 'many_changes'
edit detail/commit.hpp 'look_for_pins(guard);' 'look_for_pins(guard); return;'
demand_found

plant in_place_under_readers 'reader_churn pin_and_reclaim'
edit detail/core.hpp 'return !registry_.anyone() &&' 'return'
demand_found

plant slots_lent_and_taken_back 'lent_slots'
edit detail/pin_registry.hpp 'if (Slot* slot = entry.slot.exchange(nullptr)) take_back(slot);' 'if (Slot* slot = entry.slot.load()) take_back(slot);'
demand_found

plant in_place_under_snapshots 'weak_pointers'
edit detail/core.hpp '&& !publication_.is_owned() &&' '&&'
demand_found

plant in_place_under_writers 'same_shard'
edit detail/core.hpp 'chain_.latest()->writers == 1 &&' ''
demand_found

plant in_place_above_older_versions 'old_base above_older'
edit detail/version_chain.hpp 'return latest_->older == nullptr ? 0 : latest_->older->version + 1;' 'return 0;'
demand_found

plant in_place_in_leaves_of_older_versions 'above_older'
edit detail/tree_builder.hpp 'if (own_since != 0 && late_leaf_->birth < own_since) return false;' ''
demand_found

plant dead_for_the_oldest_in_place 'above_older'
edit detail/version_chain.hpp 'Record& older = *latest_->older;' 'Record& older = *oldest_;'
demand_found

plant horizon_too_far 'pin_and_reclaim'
edit detail/reclaim.hpp 'registry_.scan(publication_, chain_.latest());' ''
edit detail/reclaim.hpp 'Policy::sync_point(SyncPoint::reclaim_barrier);' 'registry_.scan(publication_, chain_.latest());'
edit detail/reclaim.hpp 'sort_superseded(horizon);' 'sort_superseded(chain_.latest()->version);'
demand_found

plant retire_nodes_of_the_base 'disjoint_shards'
edit detail/tree_builder.hpp 'void restart(const ShardTree<Shard>& base) noexcept {' 'void take_origins(const TreeBuilder& other) noexcept { Node* theirs = other.own_nodes_; for (Node* mine = own_nodes_; mine && theirs; mine = static_cast<Node*>(mine->next), theirs = static_cast<Node*>(theirs->next)) mine->origin = theirs->origin; } void restart(const ShardTree<Shard>& base) noexcept {'
edit detail/commit.hpp 'batch.changes.replay(built);' 'batch.changes.replay(built); built.take_origins(batch.builder);'
demand_found

plant free_the_older_versions_own 'two_reclaimers'
edit detail/version_chain.hpp 'birth > record.older->version;' 'birth >= record.older->version;'
demand_found

plant slot_cleared_before_promotion 'promotion'
edit reader.hpp 'Snapshot<Shard, Policy> owned(slot_->core->promote(record_));' 'slot_->word.clear(); Snapshot<Shard, Policy> owned(slot_->core->promote(record_));'
demand_found

plant writers_hold_nothing 'old_base'
edit detail/version_chain.hpp 'if (record.writers != 0) return false;' ''
demand_found

plant inner_unpin_clears 'nested_pins'
edit detail/pin_registry.hpp 'special -= one_pin;' 'special -= one_pin; word.clear();'
demand_found

plant no_survivors 'teardown'
edit detail/lifetime.hpp 'if (survivors_.drop()) delete this;' 'static_cast<void>(survivors_.drop()); delete this;'
demand_found

plant budget_overlooks_readers 'budget'
edit detail/budget.hpp 'return !registry_.is_pinned(record) &&' 'return'
demand_found

plant budget_overlooks_writers 'budget'
edit detail/budget.hpp 'latest->writers == (base == latest ? 1 : holds)' 'true'
demand_found

plant budget_refuses_at_a_glance 'budget_at_a_glance'
edit detail/budget.hpp 'int enough = 8;' 'int enough = 0;'
demand_found

plant full_updates_keep_their_versions 'full_updates'
edit index_writer.hpp '(!edits.held_up || edits.closing || refusals++ == enough_refusals)' 'true'
demand_found

wait
for bug in $bugs; do
    [ ! -s "$work/$bug/found" ] || cat "$work/$bug/found"
    if [ -s "$work/$bug/failed" ]; then
        fail "$(cat "$work/$bug/failed")"
    elif [ ! -s "$work/$bug/found" ]; then
        fail "$bug: nothing came of it"
    fi
done
[ -n "$bugs" ] || fail "there is no bug $only"
[ "$failures" -eq 0 ] || exit 1
echo "planted: all found"
