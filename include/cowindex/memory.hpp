// What an index says about the memory it holds, and who makes it hold it.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cowindex/version.hpp>

namespace cowindex {

/// Bytes held by one index, all of them. live + retained + reclaimable + pooled + uncommitted is
/// what the index has allocated for shards, tree nodes and version records, as far as
/// `Policy::bytes` is right. While destructors run, what is freed with them still counts, except
/// for a shard of a writer's own that it replaces, reverts or erases, which no longer does. While a
/// copy is being made, its memory does not count yet. While other threads edit or commit, what they
/// move at that instant may count twice or not at all, also in the peak.
struct MemoryStats {
    std::size_t live_bytes = 0;        ///< reachable from the latest version
    std::size_t retained_bytes = 0;    ///< held only by older versions that somebody holds
    std::size_t reclaimable_bytes = 0; ///< held by nobody, not yet freed
    std::size_t spine_bytes = 0;       ///< tree nodes and records among the three above
    std::size_t pooled_bytes = 0; ///< memory of nodes, records and shards kept for reuse, capped
    std::size_t uncommitted_bytes = 0; ///< clones and nodes of open writers
    std::size_t peak_bytes = 0;        ///< highest sum seen by a reading or, without pools and open
                                       ///< writers, at a commit

    /// Everything that is allocated now.
    [[nodiscard]] std::size_t total_bytes() const noexcept {
        return live_bytes + retained_bytes + reclaimable_bytes + pooled_bytes + uncommitted_bytes;
    }
};

/// Anything that can be called with a `const MemoryStats&`; empty by default. Copies share it.
class PressureCallback {
  public:
    PressureCallback() = default;

    /// Keeps a copy of `fn`.
    template <class Fn>
        requires(!std::same_as<std::remove_cvref_t<Fn>, PressureCallback> &&
                 std::invocable<std::decay_t<Fn>&, const MemoryStats&>)
    PressureCallback(Fn&& fn) // NOLINT(google-explicit-constructor): a lambda is what it is for
        : object_(std::make_shared<std::decay_t<Fn>>(std::forward<Fn>(fn))),
          call_([](void* object, const MemoryStats& stats) {
              (*static_cast<std::decay_t<Fn>*>(object))(stats);
          }) {}

    /// *Returns* whether there is anything to call.
    explicit operator bool() const noexcept { return call_ != nullptr; }
    /// *Preconditions* not empty.
    void operator()(const MemoryStats& stats) const { call_(object_.get(), stats); }

  private:
    std::shared_ptr<void> object_;
    void (*call_)(void*, const MemoryStats&) = nullptr;
};

/// How much memory an index may hold: live, retained and reclaimable bytes together, with the edits
/// that are being committed. What a commit sets free at once does not count against it: a full
/// index can still be changed, as long as nobody else holds the version that is replaced. The first
/// content is not checked; above its limit, an index lets through only commits after which it holds
/// less than before.
struct MemoryBudget {
    /// No limit.
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    /// Past this a commit frees all it can, without the usual bound, and calls `on_pressure`.
    std::size_t soft_bytes = unlimited;
    /// A commit that would end above this even so is refused with `MemoryBudgetError`.
    std::size_t hard_bytes = unlimited;
    /// Called by a committing thread before it publishes, outside any lock, at most once for each
    /// crossing of `soft_bytes`. May use the index. What it throws passes through the commit.
    PressureCallback on_pressure{};
};

/// One version that is no longer the latest and that somebody still holds.
struct PinInfo {
    Version version = 0;     ///< its number
    std::size_t holders = 0; ///< pinned readers, snapshots and open writers; for a moment, at the
                             ///< beginning of a pin, a reader may count for what it had last
    std::vector<std::string>
        labels; ///< of the holders that have one; copies of a snapshot share one
    std::chrono::nanoseconds age{}; ///< time since it stopped being the latest
    std::size_t retained_bytes = 0; ///< exactly what would be freed if it alone were let go
};

} // namespace cowindex
