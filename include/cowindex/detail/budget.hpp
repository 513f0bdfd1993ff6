// Staying within the memory budget, and waiting for versions to come.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
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
    const std::size_t nodes = batch.own_nodes.read();
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
        const bool over = needed_bytes(batch, nodes).after > budget.soft_bytes;
        const bool call = over && !under_pressure_ && budget.on_pressure;
        under_pressure_ = over;
        if (!call) return;
        stats = stats_locked();
    }
    budget.on_pressure(stats);
    if (!freeing_shards) reclaim(); // what it has let go of
}

// Whether the commit may be published, with `node_bytes` of nodes. Where it makes an index smaller
// that is above its limit already, as the first content may be, it may.
// Precondition: the lock is held, and is not let go of before the publication.
template <class Shard, class Policy>
COWINDEX_COLD bool Core<Shard, Policy>::fits(Batch& batch, std::size_t node_bytes) {
    const Needed needed = needed_bytes(batch, node_bytes);
    const std::size_t hard = settings_.budget.hard_bytes;
    batch.counts_on_room = needed.at_most > hard;
    batch.refused_bytes = needed.after;
    return needed.after <= hard || needed.after < chain_.total_bytes();
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
        const Needed needed = needed_bytes(batch, batch.own_nodes.read());
        const std::size_t held =
            chain_.dead_bytes() + batch.replaced_bytes(nullptr) + chain_.length() * sizeof(Record);
        if (needed.at_most - std::min(needed.at_most, held) > settings_.budget.hard_bytes)
            return false;
    }
    Policy::sync_point(SyncPoint::room_wait);
    std::this_thread::yield();
    reclaim();
    return true;
}

// What the index holds if the batch is published now. Precondition: the lock is held.
template <class Shard, class Policy>
typename Core<Shard, Policy>::Needed Core<Shard, Policy>::needed_bytes(const Batch& batch,
                                                                       std::size_t node_bytes) {
    Needed needed{};
    needed.at_most = chain_.total_bytes() + batch.uncommitted.read() + node_bytes + sizeof(Record);
    needed.after = needed.at_most;
    const MemoryBudget& budget = settings_.budget;
    if (needed.at_most > std::min(budget.soft_bytes, budget.hard_bytes))
        needed.after -= std::min(needed.after, set_free_by(batch));
    return needed;
}

// The bytes that nobody can hold any more once the batch has moved on from its base.
// Precondition: the lock is held.
template <class Shard, class Policy>
std::size_t Core<Shard, Policy>::set_free_by(const Batch& batch) {
    const Record* const base = batch.base;
    if (base->writers != 1 || freeing_shards) return 0;
    const bool replaces = base == chain_.latest();
    {
        const Owner owner = replaces ? publication_.load() : base->owner;
        if (owner.get() != base || owner.use_count() != 2) return 0; // the index's and this one
    }
    registry_.scan(publication_, nullptr);
    const bool pinned = registry_.is_pinned(base);
    registry_.forget_scan();
    if (pinned) return 0;
    if (!replaces) return Chain::alone_bytes(*base);
    const Record* const older = base->older;
    return batch.replaced_bytes(older == nullptr ? nullptr : &older->version) + sizeof(Record);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::throw_over_budget(Batch& batch) {
    const std::vector<PinInfo> held = pins();
    MemoryStats stats;
    {
        const Guard guard(lock_);
        stats = stats_locked();
    }
    detail::throw_over_budget(settings_.budget.hard_bytes, batch.refused_bytes,
                              stats.retained_bytes, held.empty() ? nullptr : &held.front());
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
