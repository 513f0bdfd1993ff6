// What changed from one version of an index to another.
#pragma once

#include <concepts>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <cowindex/detail/tree_diff.hpp>
#include <cowindex/snapshot.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

/// The ids that differ between two versions, each list ascending.
struct Diff {
    std::vector<ShardId> added;   ///< present in the newer one alone
    std::vector<ShardId> removed; ///< present in the older one alone
    std::vector<ShardId> changed; ///< present in both; edited or replaced in between

    /// *Returns* whether nothing differs.
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    /// *Returns* how many shards differ.
    [[nodiscard]] std::size_t size() const noexcept {
        return added.size() + removed.size() + changed.size();
    }
};

namespace detail {

// Two versions of one index, the older first, or nothing and a version. Looks into snapshots on
// their behalf.
struct SnapshotPair {
    template <class Snapshot>
    static void check(const Snapshot& older, const Snapshot& newer) {
        if (newer.record_ == nullptr)
            raise(std::invalid_argument("cowindex: the newer snapshot is empty (default-made or "
                                        "moved from); only the older one may be"));
        if (older.record_ == nullptr) return;
        if (older.record_->core != newer.record_->core)
            raise(std::invalid_argument(
                "cowindex: only snapshots of one index can be compared; these are of two"));
        if (older.version() > newer.version())
            raise(std::invalid_argument("cowindex: the older snapshot comes first; these are of "
                                        "versions " +
                                        std::to_string(older.version()) + " and " +
                                        std::to_string(newer.version())));
    }

    template <class Snapshot, class Fn>
    static void compare(const Snapshot& older, const Snapshot& newer, Fn&& fn) {
        check(older, newer);
        for_each_difference(older.tree(), newer.tree(), fn);
    }
};

} // namespace detail

/// Effect: calls `fn(id, before, after)` for each shard that differs, ascending by id; `before` is
/// null for an added shard, `after` for a removed one. A shard differs if a commit in between
/// edited, replaced, or erased and inserted it, whether or not it is equal now: shards are not
/// compared. An empty `older` (default-made) stands for no shards: all of `newer` are added.
/// *Preconditions* `fn` keeps the pointers no longer than the snapshots live. *Complexity*
/// proportional to the shards that differ, independent of how many there are and of the versions in
/// between. *Progress* wait-free, but for `fn`. *Exceptions* `std::invalid_argument` for snapshots
/// of two indexes, for an empty `newer`, and where `older` is the newer one; those of `fn`.
/// *Allocation* none.
template <class Shard, class Policy, class Fn>
    requires std::invocable<Fn&, ShardId, const Shard*, const Shard*>
void for_each_difference(const Snapshot<Shard, Policy>& older, const Snapshot<Shard, Policy>& newer,
                         Fn&& fn) {
    const auto shard_of = [](const auto* box) { return box == nullptr ? nullptr : &box->shard; };
    detail::SnapshotPair::compare(older, newer,
                                  [&](ShardId id, const auto* before, const auto* after) {
                                      fn(id, shard_of(before), shard_of(after));
                                  });
}

/// *Returns* the ids of the shards that differ. As `for_each_difference`, but allocates the lists.
template <class Shard, class Policy>
[[nodiscard]] Diff diff(const Snapshot<Shard, Policy>& older,
                        const Snapshot<Shard, Policy>& newer) {
    Diff difference;
    for_each_difference(older, newer, [&](ShardId id, const Shard* before, const Shard* after) {
        auto& ids = before == nullptr  ? difference.added
                    : after == nullptr ? difference.removed
                                       : difference.changed;
        ids.push_back(id);
    });
    return difference;
}

} // namespace cowindex
