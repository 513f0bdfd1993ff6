#!/bin/sh
# Plants known bugs in a copy of the headers and demands that the scheduler tests find each. All are
# compiled into one program, which has one of them at a time: the bug whose number it is given. An
# edit that does not apply any more is a failure: the test would show nothing.
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

tree=$work/include
rm -rf "$work"
mkdir -p "$work"
cp -R "$source/include" "$work/"

failures=0
fail() {
    failures=$((failures + 1))
    printf 'planted: %s\n' "$*" >&2
}

# plant <bug> <scenarios that find it>, then edit ...
count=0
bugs='' # number:name:scenario,scenario...
everything=''
plant() {
    count=$((count + 1))
    bug=$1
    bugs="$bugs $count:$bug:$(echo "$2" | tr ' ' ',')"
    everything="$everything $2"
}

# edit <header> <old> <new>: replaces the only occurrence of a text within one line. BUG in the new
# text is true in a program that has this bug.
edit() {
    file=$tree/cowindex/$1
    OLD=$2 NEW=$3 awk -v bug="(::planted_bug == $count)" '
        BEGIN { new = ENVIRON["NEW"]; gsub(/BUG/, bug, new) }
        {
            at = index($0, ENVIRON["OLD"])
            if (at > 0) {
                count++
                $0 = substr($0, 1, at - 1) new substr($0, at + length(ENVIRON["OLD"]))
            }
            print
        }
        END { exit count != 1 }' "$file" >"$file.new" ||
        fail "$bug: '$2' does not stand exactly once in $1"
    mv "$file.new" "$file"
}

plant skip_validation 'same_shard required_shards'
edit detail/change_list.hpp \
    'return !require_all_ && std::all_of(list_' \
    'return BUG || !require_all_ && std::all_of(list_'

plant skip_requirements 'required_shards'
edit detail/change_list.hpp \
    'std::all_of(requirements_.begin(), requirements_.end(), same);' \
    '(BUG || std::all_of(requirements_.begin(), requirements_.end(), same));'

plant owner_unchecked 'mixed_versions'
edit detail/publication.hpp \
    'if (latest_.load(std::memory_order_acquire) == owner.get()) {' \
    'if (BUG ? owner != nullptr : latest_.load(std::memory_order_acquire) == owner.get()) {'

plant owner_left_in_the_cell 'mixed_versions promotion'
edit detail/publication.hpp \
    'if (!owned_) return owner_.exchange(nullptr);' \
    'if (BUG && !owned_) return nullptr; if (!owned_) return owner_.exchange(nullptr);'
edit detail/publication.hpp \
    'owned_ = ahead_ > 0;' \
    'owned_ = !BUG && ahead_ > 0;'

plant two_first_owners 'promotion'
edit detail/lifetime.hpp \
    'if (pinned->owner == nullptr) pinned->owner' \
    'if (BUG || pinned->owner == nullptr) pinned->owner'

plant two_owners_of_the_latest 'mixed_versions'
edit detail/publication.hpp \
    'if (!owned_) {' \
    'if (BUG || !owned_) {'

plant pin_of_what_was_had_last 'pin_and_reclaim'
edit detail/publication.hpp \
    'if (latest == guess) [[likely]]' \
    'if (BUG && guess != nullptr) return guess; if (latest == guess) [[likely]]'

plant pin_without_check 'pin_and_reclaim'
edit detail/publication.hpp \
    'if (latest == guess) [[likely]]' \
    'if (BUG || latest == guess) [[likely]]'
edit detail/publication.hpp \
    'if (latest == guess) return latest;' \
    'if (BUG || latest == guess) return latest;'

plant pin_within_a_pin_unnoticed 'nested_pins'
edit detail/pin_registry.hpp \
    'guess = std::exchange(last, nullptr);' \
    'guess = BUG ? last : std::exchange(last, nullptr);'
edit detail/pin_registry.hpp \
    'if (last != nullptr) *last = record;' \
    'if (!BUG && last != nullptr) *last = record;'
edit reader.hpp \
    'last_(&last) {}' \
    'last_(&last) { if (BUG) last = record_; }'

plant owners_before_slots 'promotion'
edit detail/version_record.hpp \
    'Stage stage = Stage::latest;' \
    'Stage stage = Stage::latest; bool alone = false;'
edit detail/reclaim.hpp \
    'const Version horizon = chain_.latest()->version;' \
    'const Version horizon = chain_.latest()->version; if (BUG) chain_.for_each_record([](Record& r) { r.alone = r.owner != nullptr && r.owner.use_count() == 1; });'
edit detail/version_chain.hpp \
    'if (record.owner.use_count() != 1) return false;' \
    'if (!record.alone && record.owner.use_count() != 1) return false;'
edit detail/version_chain.hpp \
    'return record.owners.is_expired();' \
    'return record.alone || record.owners.is_expired();'

plant no_scan 'pin_and_reclaim nested_pins reader_churn'
edit detail/version_chain.hpp \
    'const bool pinned = is_pinned(record);' \
    'const bool pinned = !BUG && is_pinned(record);'

plant readers_overlooked 'pin_and_reclaim'
edit detail/commit.hpp \
    '!registry_.anyone() && !freeing_shards' \
    '(BUG || !registry_.anyone()) && !freeing_shards'

plant dropped_with_what_older_ones_hold 'old_base'
edit detail/version_chain.hpp \
    'if (record->older != nullptr) keep_for_older(*record, retired);' \
    'if (!BUG && record->older != nullptr) keep_for_older(*record, retired);'

plant ahead_of_the_section 'many_changes'
edit detail/commit.hpp \
    'if (ahead.has_value() && latest != ahead->onto.record)' \
    'if (!BUG && ahead.has_value() && latest != ahead->onto.record)'

plant lock_kept 'many_changes'
edit detail/commit.hpp \
    'look_for_pins(guard);' \
    'look_for_pins(guard); if (BUG) return;'

plant in_place_under_readers 'reader_churn pin_and_reclaim'
edit detail/core.hpp \
    'return !registry_.anyone() &&' \
    'return (BUG || !registry_.anyone()) &&'

plant slots_lent_and_taken_back 'lent_slots'
edit detail/publication.hpp \
    'return mine ? found : nullptr;' \
    'if (BUG && mine) word_.store(found); return mine ? found : nullptr;'

plant taken_places_taken 'last_place'
edit detail/publication.hpp \
    'return found != taken();' \
    'if (BUG && found == taken()) found = nullptr; return BUG || found != taken();'

plant in_place_under_snapshots 'weak_pointers'
edit detail/core.hpp \
    '&& !publication_.is_owned() &&' \
    '&& (BUG || !publication_.is_owned()) &&'

plant in_place_under_writers 'same_shard'
edit detail/core.hpp \
    'chain_.latest()->writers == 1 &&' \
    '(BUG || chain_.latest()->writers == 1) &&'

plant in_place_above_older_versions 'old_base above_older'
edit detail/version_chain.hpp \
    'return latest_->older == nullptr ? 0 : latest_->older->version + 1;' \
    'return BUG || latest_->older == nullptr ? 0 : latest_->older->version + 1;'

plant in_place_in_leaves_of_older_versions 'above_older'
edit detail/tree_builder.hpp \
    'if (own_since != 0 && late_leaf_->birth < own_since) return false;' \
    'if (!BUG && own_since != 0 && late_leaf_->birth < own_since) return false;'

plant dead_for_the_oldest_in_place 'above_older'
edit detail/version_chain.hpp \
    'Record& older = *latest_->older;' \
    'Record& older = BUG ? *oldest_ : *latest_->older;'

plant horizon_too_far 'pin_and_reclaim'
edit detail/reclaim.hpp \
    'registry_.scan(publication_, chain_.latest());' \
    'if (!BUG) registry_.scan(publication_, chain_.latest());'
edit detail/reclaim.hpp \
    'Policy::sync_point(SyncPoint::reclaim_barrier);' \
    'if (BUG) registry_.scan(publication_, chain_.latest()); else Policy::sync_point(SyncPoint::reclaim_barrier);'
edit detail/reclaim.hpp \
    'sort_superseded(horizon);' \
    'sort_superseded(BUG ? chain_.latest()->version : horizon);'

plant retire_nodes_of_the_base 'disjoint_shards'
edit detail/tree_builder.hpp \
    'void restart(const ShardTree<Shard>& base) noexcept {' \
    'void take_origins(const TreeBuilder& other) noexcept { Node* theirs = other.own_nodes_; for (Node* mine = own_nodes_; mine && theirs; mine = static_cast<Node*>(mine->next), theirs = static_cast<Node*>(theirs->next)) mine->origin = theirs->origin; } void restart(const ShardTree<Shard>& base) noexcept {'
edit detail/commit.hpp \
    'batch.changes.replay(built);' \
    'batch.changes.replay(built); if (BUG) built.take_origins(batch.builder);'

plant free_the_older_versions_own 'two_reclaimers'
edit detail/version_chain.hpp \
    'birth > record.older->version;' \
    'birth + (BUG ? 1 : 0) > record.older->version;'

plant slot_cleared_before_promotion 'promotion'
edit reader.hpp \
    'Snapshot<Shard, Policy> owned(slot_->core->promote(record_));' \
    'if (BUG) slot_->word.clear(); Snapshot<Shard, Policy> owned(slot_->core->promote(record_));'

plant writers_hold_nothing 'old_base'
edit detail/version_chain.hpp \
    'if (record.writers != 0) return false;' \
    'if (!BUG && record.writers != 0) return false;'

plant inner_unpin_clears 'nested_pins'
edit detail/pin_registry.hpp \
    'special -= one_pin;' \
    'special -= one_pin; if (BUG) word.clear();'

plant no_survivors 'teardown'
edit detail/lifetime.hpp \
    'if (survivors_.drop()) delete this;' \
    'if (survivors_.drop() || BUG) delete this;'

plant budget_overlooks_readers 'budget'
edit detail/budget.hpp \
    'return !registry_.is_pinned(record) &&' \
    'return (BUG || !registry_.is_pinned(record)) &&'

plant budget_overlooks_writers 'budget'
edit detail/budget.hpp \
    'latest->writers == (base == latest ? 1 : holds)' \
    '(BUG || latest->writers == (base == latest ? 1 : holds))'

plant budget_refuses_at_a_glance 'budget_at_a_glance'
edit detail/budget.hpp \
    'static constexpr int enough = 8;' \
    'const int enough = BUG ? 0 : 8;'

plant full_updates_keep_their_versions 'full_updates'
edit index_writer.hpp \
    '(!edits.held_up || edits.closing || refusals++ == enough_refusals)' \
    '(BUG || !edits.held_up || edits.closing || refusals++ == enough_refusals)'

[ "$failures" -eq 0 ] || exit 1

echo 'inline int planted_bug = 0;' >"$work/planted_bug.hpp"
$compiler -std=c++20 -O0 -w -include "$work/planted_bug.hpp" -I "$tree" -I "$source/tests" \
    "$source/tests/concurrency/planted_bugs.cpp" -o "$work/program" -pthread >&2 || exit 1

# look <number of a bug> <scenario>: true where the scenario goes well. A crash is a find as well,
# and so is a corrupted list that is walked for ever.
look() (
    ulimit -c 0
    ulimit -t 6
    exec "$work/program" "$1" "$schedules" "$2" >"$work/$1.$2.log" 2>&1
)

# demand_found <number of a bug> <its name> <scenario>...
demand_found() {
    number=$1
    name=$2
    shift 2
    for scenario in "$@"; do
        look "$number" "$scenario"
        status=$?
        case $status in
        0) echo "$name: $scenario does not find it" >>"$work/failed" ;;
        2) echo "$name: $scenario was not run" >>"$work/failed" ;;
        *) echo "$name: found by $scenario: $(head -n 1 "$work/$number.$scenario.log") [$status]" \
            >>"$work/found" ;;
        esac
    done
}

# Two at a time.
first=''
tried=0
for entry in $bugs; do
    number=${entry%%:*}
    rest=${entry#*:}
    [ -z "$only" ] || [ "$only" = "${rest%%:*}" ] || continue
    tried=$((tried + 1))
    # shellcheck disable=SC2046
    demand_found "$number" "${rest%%:*}" $(echo "${rest#*:}" | tr ',' ' ') \
        2>/dev/null & # the shell would tell of each crash
    [ -z "$first" ] || wait "$first"
    first=$!
done
wait

# The control: without a bug nothing is found.
for scenario in $(printf '%s\n' $everything | sort -u); do
    look 0 "$scenario" || fail "without a bug: $(cat "$work/0.$scenario.log")"
done

touch "$work/found" "$work/failed"
cat "$work/found"
[ "$tried" -gt 0 ] || fail "there is no bug $only"
while read -r line; do fail "$line"; done <"$work/failed"
[ "$failures" -eq 0 ] || exit 1
echo "planted: all $tried found"
