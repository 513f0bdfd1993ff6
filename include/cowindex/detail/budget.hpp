// Staying within the memory budget, and waiting for versions to come.
#pragma once

#include <cowindex/detail/core.hpp>
#include <cowindex/errors.hpp>

namespace cowindex::detail {

// Past the soft limit: frees all it can and says so, once for each crossing. Then finds out whether
// what this commit replaces will be free at once, which the section counts on when it looks at the
// hard limit. A reader that pins the latest version in between can make the index exceed that limit
// by what the commit replaces, until it lets go.
template <class Shard, class Policy>
COWINDEX_COLD void Core<Shard, Policy>::make_room(Batch& batch) {
    const MemoryBudget& budget = settings_.budget;
    batch.room_expected = 0;
    {
        const Guard guard(lock_);
        if (needed_bytes(batch) <= budget.soft_bytes) {
            under_pressure_ = false;
            return;
        }
    }
    reclaim();
    const bool replaces_only = only_batch_holds_latest(batch);
    const std::size_t replaced = replaces_only ? batch.replaced_bytes() + sizeof(Record) : 0;
    MemoryStats stats;
    bool call = false;
    {
        Guard guard(lock_);
        batch.room_expected = replaced;
        const bool over = needed_bytes(batch) > budget.soft_bytes;
        call = over && !under_pressure_ && budget.on_pressure;
        under_pressure_ = over;
        stats = stats_locked();
    }
    if (!call) return;
    batch.room_expected = 0;
    budget.on_pressure(stats);
    reclaim(); // what it has let go of
    if (only_batch_holds_latest(batch))
        batch.room_expected = batch.replaced_bytes() + sizeof(Record);
}

// True when the latest version goes as soon as this batch replaces it.
template <class Shard, class Policy>
bool Core<Shard, Policy>::only_batch_holds_latest(const Batch& batch) {
    const Owner owner = publication_.load();
    if (owner.get() != batch.base || owner.use_count() != 2) return false; // the cell's and ours
    if (!publication_.fence().heavy()) return false;
    const Guard guard(lock_);
    registry_.scan(publication_, nullptr);
    const bool held = registry_.is_pinned(owner.get()) || batch.base->writers != 1 ||
                      batch.base->older != nullptr;
    registry_.forget_scan();
    return !held;
}

template <class Shard, class Policy>
void Core<Shard, Policy>::throw_over_budget(Batch& batch) {
    const std::vector<PinInfo> held = pins();
    MemoryStats stats;
    std::size_t needed = 0;
    {
        Guard guard(lock_);
        stats = stats_locked();
        needed = needed_bytes(batch);
    }
    detail::throw_over_budget(settings_.budget.hard_bytes, needed, stats.retained_bytes,
                              held.empty() ? nullptr : &held.front());
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
