// What a user may change about an index without changing the library.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

namespace cowindex {

/// Places where the concurrent protocol hands control to `Policy::sync_point`, so that a test can
/// choose which thread takes the next step of the real code.
enum class SyncPoint : std::uint8_t {
    pin_loaded,         ///< a reader has an idea which version is the latest; not in its slot yet
    pin_stored,         ///< the slot names a version that was not yet checked to be the latest
    unpin,              ///< a reader is about to clear its slot
    promote_owned,      ///< a view has become a snapshot, its pin still stands
    snapshot_loaded,    ///< the owning pointer is loaded, not yet compared with the raw one
    commit_prepared,    ///< everything that may throw is done, the lock is not yet taken
    commit_retry,       ///< the latest version moved, more nodes are being reserved
    publish_between,    ///< the raw pointer is published, the owning one is not (lock held)
    commit_published,   ///< both are published (lock held)
    reclaim_barrier,    ///< the horizon is read, the barrier has not run
    reclaim_scanned,    ///< slots are read, owners are not (lock held)
    reclaim_letting_go, ///< our owner of a version seems to be the last, or was just dropped (lock
                        ///< held)
    reclaim_unlinked,   ///< garbage is unlinked, about to be freed, no lock held
    teardown_closing,   ///< the last user is gone, the owners are about to be dropped
    teardown_counted,   ///< a record is counted as a survivor, not yet told to report its death
    teardown_survivor,  ///< a record died in a closed index
    owner_released,     ///< a record's last owner is gone, its memory is about to be given up
    ticket_wait,        ///< a committer gives way to an update that waits longer
    room_wait,          ///< a committer without room gives way to those who hold a version briefly
    slot_borrow,        ///< `read(fn)` is about to take a slot that it may find
    slots_idle, ///< all slots of `read(fn)` seem to idle, none is taken back yet (lock held)
};

namespace detail {

// How long a thread that has lost so many times in a row stays away, 0.1 ms to 1.6 ms. Zero: it
// yields.
[[nodiscard]] constexpr std::chrono::microseconds pause_after(int tries) noexcept {
    return std::chrono::microseconds(tries < 2 ? 0 : 100 << std::min(tries - 2, 4));
}

} // namespace detail

/// Everything an index asks of its surroundings. Derive, hide what should differ, and pass the
/// derived class as the second template argument. All members are static.
///
/// A policy may have a second way to copy besides `clone`,
///
///     static void assign(Shard& retired, const Shard& shard) { retired = shard; }
///
/// which makes a shard that no version needs any more equal to `shard`, so that the memory which it
/// owns is used again. Each writer then keeps up to 32 retired shards of 256 KiB together
/// (`MemoryStats::pooled_bytes`), whose destructors run later: not for shards that own more than
/// memory. As `clone`, it may throw and use the index; `retired` must then still be good for
/// another `assign`, and for its end.
template <class Shard>
struct DefaultPolicy {
    /// Rebound for every shard, tree node and version record; an instance goes into `Options`.
    using Allocator = std::allocator<std::byte>;

    /// Guards the short commit section; any default-constructible Lockable (fibers bring their
    /// own).
    using Mutex = std::mutex;

    /// Copies a shard for a writer. May throw; is never called while a lock is held. May use the
    /// index, but not the writer that asks for the copy.
    static Shard clone(const Shard& shard)
        requires std::copy_constructible<Shard>
    {
        return Shard(shard);
    }

    /// Bytes that one shard occupies, itself included: its size, plus `shard.memory_usage()` where
    /// that exists, plus the heap capacity of a contiguous standard container. Called once for each
    /// shard of a commit, before the commit section. May throw.
    static std::size_t bytes(const Shard& shard) {
        if constexpr (requires {
                          { shard.memory_usage() } -> std::convertible_to<std::size_t>;
                      }) {
            return sizeof(Shard) + static_cast<std::size_t>(shard.memory_usage());
        } else if constexpr (requires {
                                 typename Shard::value_type;
                                 { shard.data() } -> std::convertible_to<const void*>;
                                 { shard.capacity() } -> std::convertible_to<std::size_t>;
                             }) {
            // A string may keep its characters inside itself.
            const auto self = reinterpret_cast<std::uintptr_t>(std::addressof(shard));
            const auto data = reinterpret_cast<std::uintptr_t>(shard.data());
            const bool inside = data >= self && data < self + sizeof(Shard);
            return sizeof(Shard) +
                   (inside ? 0 : shard.capacity() * sizeof(typename Shard::value_type));
        } else {
            return sizeof(Shard);
        }
    }

    /// Whether one in so many clones and commits is timed (`Options::time_every`). False compiles
    /// the timing away: the durations in `CowMetrics::Values` stay zero.
    static constexpr bool timing = true;

    /// While readers are registered, replaced versions wait in groups for a barrier, which
    /// interrupts every running thread of the process. A group has at least and at most so many
    /// versions; in between, more the dearer the barrier was.
    static constexpr std::size_t barrier_min_versions = 16;
    /// The upper of the two bounds, in versions.
    static constexpr std::size_t barrier_max_versions = 256;

    /// Where nobody has called `CowIndex::read(fn)` for so long, and there is no `Reader`, commits
    /// become as cheap again as in an index that nobody reads, when one next looks for pins; a
    /// thread's next call then takes the commit lock, and waits for whoever has it. Not negative.
    /// `nanoseconds::max()`: a slot once lent stays claimed.
    static constexpr std::chrono::nanoseconds idle_read_time = std::chrono::seconds(1);

    /// Called by an `update()` that has lost `tries` times in a row (a few more are said where
    /// others stay away as well, four for nine of them), and by commits that give way to one, or
    /// wait a moment for room under the budget; no lock is held. Threads that fight for one shard
    /// keep fetching it from each other's caches; one that stays away for a moment lets the others
    /// commit many times. May return at once; must not throw, nor use the index.
    static void back_off(int tries) noexcept {
        if (const auto pause = detail::pause_after(tries); pause.count() > 0)
            std::this_thread::sleep_for(pause);
        else
            std::this_thread::yield();
    }

    /// Hook for deterministic schedulers; compiles to nothing. Must not throw.
    static void sync_point(SyncPoint) noexcept {}
};

} // namespace cowindex
