// Finding out what nobody can reach any more, freeing it, and saying who holds the rest.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/core.hpp>

namespace cowindex::detail {

template <class Shard, class Policy>
bool Core<Shard, Policy>::barrier_due() const noexcept {
    return chain_.superseded_count() >= barrier_versions_ ||
           chain_.superseded_objects() >= barrier_versions_ * barrier_objects ||
           (chain_.superseded_bytes() >= barrier_bytes && chain_.superseded_count() >= 4);
}

// Effect: versions that were superseded before this call are sorted by who has them pinned.
// The order is all: a version is superseded, then the barrier runs, then the slots are read, and
// only then (in settle) the owners, since a reader takes an owner before it clears its slot.
template <class Shard, class Policy>
void Core<Shard, Policy>::look_for_pins(Guard<Lock>& guard) {
    const Version horizon = chain_.latest()->version;
    if (registry_.anyone())
        lender_.let_go_of_idle(registry_.claimed(), coarse_now(),
                               [this](Slot* slot) { registry_.take_back(slot); });
    if (registry_.anyone()) {
        Policy::sync_point(SyncPoint::reclaim_barrier);
        guard.unlock();
        const auto start = std::chrono::steady_clock::now();
        const bool ordered = publication_.fence().heavy();
        const auto cost = std::chrono::steady_clock::now() - start;
        guard.relock();
        if (!ordered) return; // nothing may be freed
        // Not from one to the other end at once: a barrier is dear now and then, since a thread was
        // interrupted.
        const auto wanted = std::clamp(static_cast<std::size_t>(cost / barrier_share),
                                       Policy::barrier_min_versions, Policy::barrier_max_versions);
        const std::size_t twice = std::max(barrier_versions_, barrier_versions_ * 2); // may wrap
        barrier_versions_ = std::clamp(wanted, barrier_versions_ / 2, twice);
        chain_.keep_records(barrier_versions_);
    }
    sort_superseded(horizon);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::sort_superseded(Version horizon) noexcept {
    registry_.scan(publication_, chain_.latest());
    Policy::sync_point(SyncPoint::reclaim_scanned);
    chain_.sort_superseded(horizon,
                           [this](const Record* record) { return registry_.is_pinned(record); });
}

// Effect: every version that nobody holds is dropped; lets go of the lock now and then.
template <class Shard, class Policy>
void Core<Shard, Policy>::settle_all(Guard<Lock>& guard) {
    typename Chain::Limit limit{lock_objects, chain_.owned_count()};
    while (chain_.settle(limit)) {
        limit.objects = lock_objects;
        guard.unlock();
        guard.relock();
    }
    chain_.revisit_dropped(chain_.dropped_count());
}

// Effect: after this, only what some held version can reach is on the lists of versions.
// Versions that are superseded meanwhile would be left over: tried again, a few times.
template <class Shard, class Policy>
void Core<Shard, Policy>::collect_unheld(Guard<Lock>& guard) {
    for (int tries = 0; tries < 3; ++tries) {
        look_for_pins(guard);
        settle_all(guard);
        if (chain_.superseded_count() == 0) return;
    }
}

template <class Shard, class Policy>
std::size_t Core<Shard, Policy>::reclaim() {
    Trash trash;
    {
        Guard guard(lock_);
        collect_unheld(guard);
        chain_.take_all_garbage(trash);
        unlinked_.add(trash.bytes());
        metrics_.record_turn({0, 0, 0, trash.bytes()});
    }
    Policy::sync_point(SyncPoint::reclaim_unlinked);
    const std::size_t bytes = trash.bytes();
    free_counted(trash);
    return bytes;
}

// Effect: the batch's edits are on `dropped`, to be freed by free_counted().
template <class Shard, class Policy>
void Core<Shard, Policy>::take_edits(Batch& batch, Trash& dropped) noexcept {
    batch.take_edits(dropped.objects);
    if (!dropped.objects.empty()) unlinked_.add(dropped.bytes());
}

// Effect: as free_garbage(), for what unlinked_ counts.
template <class Shard, class Policy>
void Core<Shard, Policy>::free_counted(Trash& trash) noexcept {
    const std::size_t bytes = trash.bytes();
    free_garbage(trash, nullptr);
    unlinked_.subtract(bytes);
}

// Effect: destroys shards and gives back memory, some of it to `reuse`, whose `unlinked` counts
// what of it there still is. Precondition: the lock is not held.
template <class Shard, class Policy>
inline void Core<Shard, Policy>::free_objects(Object* list, Batch* reuse) noexcept {
    const FreeingShards freeing;
    while (list != nullptr) {
        Object* const object = std::exchange(list, list->next);
        if (object->is_node()) {
            auto* node = static_cast<Node*>(object);
            if (reuse != nullptr)
                reuse->reuse(node);
            else
                destroy_node<Shard>(settings_.allocator, node);
        } else {
            auto* box = static_cast<ShardBox<Shard>*>(object);
            if (reuse != nullptr)
                reuse->reuse(box);
            else
                destroy_object(settings_.allocator, box);
        }
    }
}

// The same for records, too.
template <class Shard, class Policy>
void Core<Shard, Policy>::free_garbage(Trash& trash, Batch* reuse) noexcept {
    free_objects(trash.objects.detach(), reuse);
    for (Record* record = std::exchange(trash.records, nullptr); record != nullptr;) {
        Record* next = record->next;
        free_record(record);
        if (reuse != nullptr) reuse->unlinked.subtract_alone(sizeof(Record));
        record = next;
    }
}

template <class Shard, class Policy>
MemoryStats Core<Shard, Policy>::memory_usage() {
    Guard guard(lock_);
    collect_unheld(guard);
    return stats_locked();
}

// Precondition: collect_unheld() was just called.
template <class Shard, class Policy>
MemoryStats Core<Shard, Policy>::stats_locked() noexcept {
    MemoryStats stats;
    const std::size_t older = chain_.length() - 1;
    stats.live_bytes = chain_.live().shards + chain_.live().nodes + sizeof(Record);
    stats.retained_bytes = chain_.dead_bytes() + older * sizeof(Record);
    stats.reclaimable_bytes =
        chain_.garbage().bytes() + chain_.dropped_count() * sizeof(Record) + unlinked_.read();
    stats.spine_bytes = chain_.live().nodes + chain_.dead_nodes_bytes() +
                        chain_.garbage().node_bytes() +
                        (1 + older + chain_.dropped_count()) * sizeof(Record);
    stats.pooled_bytes = chain_.pooled_count() * sizeof(Record);
    const auto add_pool = [&](const Batch& batch) {
        stats.pooled_bytes += batch.pooled_bytes() + (batch.spare == nullptr ? 0 : sizeof(Record));
    };
    for (const Batch* batch = idle_; batch != nullptr; batch = batch->next) add_pool(*batch);
    for (const Batch* batch = open_; batch != nullptr; batch = batch->next) {
        add_pool(*batch);
        stats.uncommitted_bytes += batch->uncommitted_bytes();
        stats.reclaimable_bytes += batch->unlinked.read();
    }
    peak_bytes_ = std::max(peak_bytes_, stats.total_bytes());
    stats.peak_bytes = peak_bytes_;
    return stats;
}

// Who holds a version, the writer of `but` left aside. Precondition: the slots were scanned.
template <class Shard, class Policy>
PinInfo Core<Shard, Policy>::holders_of(const Record& record, const Batch* but) const {
    PinInfo pin;
    pin.version = record.version;
    pin.holders = record.snapshots.read() + record.writers;
    registry_.for_each_pin(&record, [&](const Slot& slot) {
        ++pin.holders;
        if (!slot.label.empty()) pin.labels.push_back(slot.label);
    });
    if (record.writers != 0) {
        for (const Batch* batch = open_; batch != nullptr; batch = batch->next) {
            if (batch->base != &record) continue;
            if (batch == but)
                --pin.holders;
            else if (!batch->label.empty())
                pin.labels.push_back(batch->label);
        }
    }
    for (const LabelLink* label = record.labels; label != nullptr; label = label->next)
        pin.labels.push_back(label->text);
    return pin;
}

template <class Shard, class Policy>
std::vector<PinInfo> Core<Shard, Policy>::pins() {
    Guard guard(lock_);
    collect_unheld(guard);
    // The lock was let go of since the slots were read. No barrier is needed again: whoever has an
    // older version pinned had it pinned then.
    registry_.scan(publication_, nullptr);
    return held_versions();
}

// What nobody but the writer of `but` holds is left out. Precondition: as holders_of(),
// collect_unheld() was just called.
template <class Shard, class Policy>
std::vector<PinInfo> Core<Shard, Policy>::held_versions(const Batch* but) {
    std::vector<PinInfo> pins;
    const auto now = coarse_now();
    for (const Record* record = chain_.oldest(); record != chain_.latest();
         record = record->newer) {
        PinInfo pin = holders_of(*record, but);
        if (pin.holders == 0 && but != nullptr && record == but->base) continue;
        // Superseded or let go of while we looked, and in no slot by now: most likely nobody's.
        const bool sorted = record->stage != Stage::superseded && record->stage != Stage::pinned;
        if (pin.holders == 0 && !sorted) continue;
        pin.age = std::max(now - record->superseded_at, std::chrono::nanoseconds(0));
        pin.retained_bytes = Chain::alone_bytes(*record);
        pins.push_back(std::move(pin));
    }
    return pins;
}

template <class Shard, class Policy>
std::size_t Core<Shard, Policy>::active_readers() {
    Guard guard(lock_);
    std::size_t readers = registry_.count_pinned(publication_);
    for (const Record* record = chain_.oldest(); record != nullptr; record = record->newer)
        readers += record->snapshots.read();
    return readers;
}

template <class Shard, class Policy>
CowMetrics::Values Core<Shard, Policy>::metrics() {
    Guard guard(lock_);
    collect_unheld(guard);
    const MemoryStats stats = stats_locked();
    CowMetrics::Values values = metrics_.counts();
    values.active_readers = registry_.count_pinned(publication_);
    for (const Record* record = chain_.oldest(); record != nullptr; record = record->newer)
        values.active_readers += record->snapshots.read();
    values.pending_writers = open_count_;
    values.memory_usage_bytes = stats.total_bytes();
    values.peak_memory_bytes = stats.peak_bytes;
    values.retained_bytes = stats.retained_bytes;
    values.retained_versions = chain_.length() - 1;
    values.oldest_pinned_version = chain_.oldest()->version;
    values.uncommitted_bytes = stats.uncommitted_bytes;
    for (const Batch* list : {open_, idle_})
        for (const Batch* batch = list; batch != nullptr; batch = batch->next) {
            values.commits += batch->commits.read();
            values.reclaimed_bytes += batch->reclaimed.read();
            values.clone_operations += batch->clones.read();
            values.bytes_cloned += batch->bytes_cloned.read();
        }
    guard.unlock();
    metrics_.read_times(values); // takes a few microseconds
    return values;
}

} // namespace cowindex::detail
