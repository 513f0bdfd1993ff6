// How a batch goes on that was not published: to the latest version, with its edits or without
// them, at once or after it has kept out of the way of others.
#pragma once

#include <cstddef>
#include <vector>

#include <cowindex/detail/core.hpp>
#include <cowindex/detail/tree_diff.hpp>

namespace cowindex::detail {

// Everything that another commit changed and that this batch changed or requires.
template <class Shard, class Policy>
std::vector<ShardId> Core<Shard, Policy>::conflicts(const Batch& batch,
                                                    const Record& latest) const {
    if (!batch.changes.requires_all()) return batch.changes.conflicts_with(latest.tree);
    std::vector<ShardId> ids;
    for_each_difference(batch.base->tree, latest.tree,
                        [&](ShardId id, const auto*, const auto*) { ids.push_back(id); });
    return ids;
}

template <class Shard, class Policy>
bool Core<Shard, Policy>::rebase(Batch& batch) {
    const Hold latest(*this);
    if (latest.record == batch.base) return true;
    if (!batch.changes.agrees_with(latest.record->tree)) {
        batch.conflicts = conflicts(batch, *latest.record);
        return false;
    }
    batch.rebuild(latest.record->tree);
    Guard guard(lock_);
    move_base(batch, latest.record);
    return true;
}

template <class Shard, class Policy>
void Core<Shard, Policy>::discard(Batch& batch, Counting counting) noexcept {
    const Busy busy(*this, batch);
    if (counting == counted && batch.has_changes()) metrics_.record_discard();
    Trash dropped;
    take_edits(batch, dropped);
    {
        Guard guard(lock_);
        move_base(batch, chain_.latest());
    }
    batch.builder.restart(batch.base->tree);
    if (!dropped.objects.empty()) free_counted(dropped);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::retarget(Batch& batch) {
    const Hold latest(*this);
    batch.retarget(latest.record->tree);
    Guard guard(lock_);
    move_base(batch, latest.record);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::discard_but_box(Batch& batch, ShardId id) {
    const Hold latest(*this);
    batch.changes[0].id = id;
    batch.retarget(latest.record->tree);
    Guard guard(lock_);
    move_base(batch, latest.record);
}

template <class Shard, class Policy>
bool Core<Shard, Policy>::lost_try(const Batch& batch, ActiveUpdate& update, int tries) {
    metrics_.record_retry();
    return tries >= TicketLine<Policy>::free_tries &&
           tickets_.stand(update.ticket, batch.changes.touched(), batch.changes.requires_all(),
                          lock_);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::stay_away(Batch& batch, int tries) {
    let_go_of_base(batch);
    tickets_.back_off(tries);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::let_go_of_base(Batch& batch) noexcept {
    Guard guard(lock_);
    move_base(batch, nullptr);
}

// Two writers that hold the version which the other must set free to have room refuse each other,
// and would do so again if they came back together. So each comes back when it finds the latest
// version free, and holds it before anybody else looks. It waits longer while others get on.
template <class Shard, class Policy>
COWINDEX_COLD bool Core<Shard, Policy>::let_others_go(Batch& batch) {
    static constexpr int patience = TicketLine<Policy>::patience;
    static constexpr int longest = 2 * patience;
    Version seen = batch.base->version;
    int quiet = 0; // turns since a commit was seen
    for (int turns = 1;; ++turns) {
        let_go_of_base(batch);
        Policy::back_off(turns);
        Policy::sync_point(SyncPoint::room_wait);
        const Guard guard(lock_);
        Record* const latest = chain_.latest();
        const bool alone = latest->writers == 0;
        quiet = latest->version == seen ? quiet + 1 : 0;
        seen = latest->version;
        if (alone || turns == longest || quiet == patience) {
            move_base(batch, latest);
            return alone;
        }
    }
}

} // namespace cowindex::detail
