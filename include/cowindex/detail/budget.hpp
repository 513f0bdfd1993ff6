// Staying within the memory budget, and waiting for versions to come.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

#include <cowindex/detail/core.hpp>
#include <cowindex/errors.hpp>

namespace cowindex::detail {

// What is left of an index may never end above the hard limit, and there may be nobody who could
// refuse a reader: one that pins the version that is about to be replaced keeps both copies of what
// a commit changes. So a commit that leaves room for both is let through at once. Any other is, if
// nobody holds its base at the moment it publishes, and frees what it has replaced before it
// returns. A reader who pins in the very instant between that look and the publication can make the
// index exceed the limit by what this one commit adds, until it lets go.

// Past the soft limit: frees all it can and says so, once for each crossing.
template <class Shard, class Policy>
COWINDEX_COLD void Core<Shard, Policy>::make_room(Batch& batch) {
    const MemoryBudget& budget = settings_.budget;
    {
        const Guard guard(lock_);
        if (chain_.total_bytes() + batch.uncommitted_bytes() + sizeof(Record) <=
            budget.soft_bytes) {
            under_pressure_ = false;
            return;
        }
    }
    // A destructor's commit reclaims nothing: destructors could nest without bound.
    if (!freeing_shards) reclaim();
    MemoryStats stats;
    {
        const Guard guard(lock_);
        const bool over = needed_bytes(batch, batch.builder, 0).after > budget.soft_bytes;
        const bool call = over && !under_pressure_ && budget.on_pressure;
        under_pressure_ = over;
        if (!call) return;
        stats = stats_locked();
    }
    {
        const CallingBack calling;
        budget.on_pressure(stats); // if it throws, this crossing has been told all the same
    }
    if (!freeing_shards) reclaim(); // what it has let go of
}

// Whether what was built may be published; `holds` is how often this thread holds the latest
// version besides. Where it makes an index smaller that is above its limit already, as the first
// content may be, it may. Precondition: the lock is held, and is not let go of before the
// publication.
template <class Shard, class Policy>
COWINDEX_COLD bool Core<Shard, Policy>::fits(Batch& batch, const typename Batch::Builder& built,
                                             std::size_t holds) {
    const Needed needed = needed_bytes(batch, built, holds);
    const std::size_t hard = settings_.budget.hard_bytes;
    batch.counts_on_room = needed.at_most > hard;
    batch.refused_bytes = needed.after;
    batch.held_up = batch.held_up || (open_count_ > 1 && !freeing_shards);
    // Where weak_ptrs keep records for good, they may keep the next one as well.
    const std::size_t kept = chain_.dropped_count() == 0 ? 0 : sizeof(Record);
    return needed.after <= hard || needed.after + kept < chain_.total_bytes();
}

// Effect: makes good what a commit has counted on. After a refused one, gives way to threads that
// hold a version for a moment. Returns true if that may have helped.
template <class Shard, class Policy>
COWINDEX_COLD bool Core<Shard, Policy>::tries_again(Batch& batch, CommitOutcome outcome,
                                                    int& tries) {
    static constexpr int enough = 8;
    if (outcome == CommitOutcome::committed && batch.counts_on_room) reclaim();
    if (outcome != CommitOutcome::over_budget || freeing_shards || ++tries > enough) return false;
    {
        const Guard guard(lock_);
        // What would be left if nobody held anything.
        const Needed needed = needed_bytes(batch, batch.builder, 0);
        const std::size_t held = chain_.dead_bytes() + chain_.garbage().bytes() +
                                 batch.replaced_bytes(batch.builder, nullptr) +
                                 (chain_.length() + chain_.dropped_count()) * sizeof(Record);
        const std::size_t left = needed.at_most - std::min(needed.at_most, held);
        if (left > settings_.budget.hard_bytes && left >= chain_.total_bytes()) {
            batch.held_up = false;
            return false;
        }
    }
    Policy::sync_point(SyncPoint::room_wait);
    Policy::back_off(tries);
    reclaim();
    return true;
}

// What the index holds if `built` is published now. Precondition: the lock is held.
template <class Shard, class Policy>
typename Core<Shard, Policy>::Needed Core<Shard, Policy>::needed_bytes(
    const Batch& batch, const typename Batch::Builder& built, std::size_t holds) {
    Needed needed{};
    needed.at_most =
        chain_.total_bytes() + batch.uncommitted.read() + built.own_bytes() + sizeof(Record);
    const bool much = needed.at_most > settings_.budget.soft_bytes;
    if (much) needed.at_most -= built.emptied_bytes();
    needed.after = needed.at_most;
    if (much) needed.after -= std::min(needed.after, set_free_by(batch, built, holds));
    return needed;
}

// The bytes that nobody can hold any more once the batch has moved on from its base to what was
// built: of the latest version, what that replaces, and of an older base all that it alone held.
// Precondition: the lock is held.
template <class Shard, class Policy>
std::size_t Core<Shard, Policy>::set_free_by(const Batch& batch,
                                             const typename Batch::Builder& built,
                                             std::size_t holds) {
    if (freeing_shards) return 0;
    const Record* const base = batch.base;
    const Record* const latest = chain_.latest();
    const Owner owner = publication_.owner();
    const Owner base_owner = base == latest ? Owner() : base->owner;
    // The slots, then the owners, as always; and nothing that waits from here to the publication.
    registry_.scan(publication_, nullptr);
    const auto held_by_writers_only = [this](const Record* record, const Owner& its_owner) {
        return !registry_.is_pinned(record) &&
               its_owner.use_count() <= 2; // the index's and this one, or none
    };
    std::size_t bytes = 0;
    const Record* below = latest->older; // the newest version that keeps what the latest shares
    if (base != latest && base->writers == 1 && held_by_writers_only(base, base_owner)) {
        bytes += Chain::alone_bytes(*base);
        if (below == base) below = base->older; // both go
    }
    if (latest->writers == (base == latest ? 1 : holds) && held_by_writers_only(latest, owner))
        bytes += batch.replaced_bytes(built, below == nullptr ? nullptr : &below->version) +
                 sizeof(Record);
    return bytes;
}

template <class Shard, class Policy>
void Core<Shard, Policy>::throw_over_budget(Batch& batch) {
    std::vector<PinInfo> held;
    PinInfo replaced;
    std::size_t retained = 0;
    {
        Guard guard(lock_);
        collect_unheld(guard);
        registry_.scan(publication_, nullptr);
        held = held_versions(&batch);
        replaced = holders_of(*chain_.latest(), &batch);
        retained = stats_locked().retained_bytes;
        // The commit lets go of its own base.
        if (batch.base != chain_.latest() && holders_of(*batch.base, &batch).holders == 0)
            retained -= Chain::alone_bytes(*batch.base);
    }
    detail::throw_over_budget(settings_.budget.hard_bytes, batch.refused_bytes, retained,
                              held.empty() ? nullptr : &held.front(), replaced);
}

// The count of waiters is guarded by the commit lock: a committer either publishes before this
// thread looks, which then sees the version, or after, and then sees the waiter.
template <class Shard, class Policy>
bool Core<Shard, Policy>::wait_for(Version version,
                                   std::chrono::steady_clock::time_point deadline) {
    const auto reached = [&](std::size_t waiters) {
        const Guard guard(lock_);
        if (chain_.latest()->version >= version) return true;
        waiters_ += waiters;
        return false;
    };
    if (reached(1)) return true;
    struct Waiting {
        ~Waiting() {
            const Guard guard(core.lock_);
            --core.waiters_;
        }
        Core& core;
    } waiting{*this};
    std::unique_lock<std::mutex> lock(news_mutex_);
    while (!reached(0)) {
        if (news_.wait_until(lock, deadline) == std::cv_status::timeout) return reached(0);
    }
    return true;
}

// A waiter holds the mutex from its last look to its sleep, so it cannot miss this.
template <class Shard, class Policy>
COWINDEX_COLD void Core<Shard, Policy>::announce() noexcept {
    {
        const std::lock_guard<std::mutex> lock(news_mutex_);
    }
    news_.notify_all();
}

} // namespace cowindex::detail
