// An owned, immutable version of the index.
#pragma once

#include <memory>
#include <utility>

#include <cowindex/detail/core.hpp>
#include <cowindex/policy.hpp>
#include <cowindex/reading.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

namespace detail {
struct SnapshotPair; // diff.hpp compares the trees
}

/// One version of an index, held for as long as the snapshot lives. Reading interface: see
/// `ShardReading` (size, id_bound, contains, operator[], at, find, iteration, items, range).
///
/// Made by `CowIndex::snapshot()` or `View::snapshot()`; a default-made or moved-from one is empty.
/// Outlives the index if need be. A copy keeps the label, if there is one.
///
/// *Thread safety* any number of threads may read one snapshot; copying it is a read. *Complexity*
/// copying and dropping: constant. Dropping never destroys a shard, unless the index is gone and
/// this was the last that held any of it.
template <class Shard, class Policy = DefaultPolicy<Shard>>
class Snapshot : public ShardReading<Snapshot<Shard, Policy>, Shard> {
  public:
    Snapshot() = default;
    /// Holds the same version.
    Snapshot(const Snapshot& other) noexcept : Snapshot(other.record_) {}
    /// Leaves `other` empty.
    Snapshot(Snapshot&& other) noexcept : record_(std::move(other.record_)) {
        other.record_.reset();
    }
    /// Lets go of this snapshot's version and holds that of `other`.
    Snapshot& operator=(Snapshot other) noexcept {
        record_.swap(other.record_);
        return *this;
    }
    ~Snapshot() {
        if (record_ == nullptr) return;
        // Before the record is let go: its memory may be used again at once.
        record_->snapshots.subtract();
        // Destructors that the last survivor runs find a snapshot that was moved from.
        const auto last = std::exchange(record_, nullptr);
    }

    /// *Returns* whether it holds a version: not default-made, not moved from.
    [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }

    /// *Returns* the number of this version; 0, which may also be that of a version, where it holds
    /// none.
    [[nodiscard]] Version version() const noexcept {
        return record_ == nullptr ? 0 : record_->version;
    }

    /// *Returns* the shard, in a pointer that keeps its whole version. *Exceptions*
    /// `std::out_of_range` naming the id and the bound.
    [[nodiscard]] std::shared_ptr<const Shard> share(ShardId id) const {
        return std::shared_ptr<const Shard>(record_, &this->at(id));
    }

    /// True where both are the same version of the same index.
    friend bool operator==(const Snapshot& a, const Snapshot& b) noexcept {
        return a.record_ == b.record_;
    }

  private:
    using Core = detail::Core<Shard, Policy>;
    using Owner = typename Core::Owner;

    friend class ShardReading<Snapshot, Shard>;
    template <class, class>
    friend class CowIndex;
    template <class, class>
    friend class View;
    friend struct detail::SnapshotPair;
    friend struct detail::TestAccess;

    explicit Snapshot(Owner record) noexcept : record_(std::move(record)) {
        if (record_ != nullptr) record_->snapshots.add();
    }

    [[nodiscard]] const detail::ShardTree<Shard>& tree() const noexcept {
        static constexpr detail::ShardTree<Shard> nothing{};
        return record_ == nullptr ? nothing : record_->tree;
    }

    Owner record_;
};

} // namespace cowindex
