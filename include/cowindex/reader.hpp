// The fast way to read: a slot of one's own, and scoped pins on the latest version.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/core.hpp>
#include <cowindex/errors.hpp>
#include <cowindex/policy.hpp>
#include <cowindex/reading.hpp>
#include <cowindex/snapshot.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

/// One version, pinned for a scope. Reading interface: see `ShardReading`.
///
/// Movable; keeps its reader's slot, so it stays valid when its reader is moved or destroyed.
/// Precondition of every member but destruction and assignment: not moved from.
///
/// *Thread safety* several threads may read one view while it lives. Of one reader and all its
/// views one thread at a time may pin, move, assign or end any, also when the reader is gone.
template <class Shard, class Policy = DefaultPolicy<Shard>>
class View : public ShardReading<View<Shard, Policy>, Shard> {
  public:
    // A view may outlive its reader, and its slot then says so: no reason for a warning.
#if defined(__GNUC__) && __GNUC__ >= 12
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"
#endif
    /// Takes over the pin.
    View(View&& other) noexcept
        : record_(other.record_), slot_(std::exchange(other.slot_, nullptr)), last_(other.last_) {}
    /// Lets go of this view's pin and takes over that of `other`.
    View& operator=(View&& other) noexcept {
        View taken(std::move(other));
        std::swap(record_, taken.record_);
        std::swap(slot_, taken.slot_);
        std::swap(last_, taken.last_);
        return *this;
    }
    View(const View&) = delete;
    View& operator=(const View&) = delete;
    COWINDEX_INLINE ~View() {
        if (slot_ != nullptr && slot_->unpin(record_, last_)) [[unlikely]] {
            Slot* const slot = std::exchange(slot_, nullptr);
            slot->core->give_back(slot);
        }
    }

    /// *Returns* the number of this version.
    [[nodiscard]] COWINDEX_INLINE Version version() const noexcept { return record_->version; }

    /// *Returns* an owned snapshot of this very version. *Progress* as `CowIndex::snapshot()`;
    /// where the version is not the latest any more, takes the commit lock. *Allocation* none.
    [[nodiscard]] Snapshot<Shard, Policy> snapshot() const {
        Snapshot<Shard, Policy> owned(slot_->core->promote(record_));
        Policy::sync_point(SyncPoint::promote_owned);
        return owned;
    }

    /// As `snapshot()`, with a name in `pins()`; see `CowIndex::snapshot(label)`.
    [[nodiscard]] Snapshot<Shard, Policy> snapshot(std::string label) const {
        Core& core = *slot_->core;
        Snapshot<Shard, Policy> owned(core.labelled(core.promote(record_), std::move(label)));
        Policy::sync_point(SyncPoint::promote_owned);
        return owned;
    }

  private:
    using Core = detail::Core<Shard, Policy>;
    using Slot = typename Core::Slot;
    using Record = typename Core::Record;

    friend class ShardReading<View, Shard>;
    template <class, class>
    friend class Reader;
    template <class, class>
    friend class CowIndex;

    explicit View(Slot* slot) noexcept : record_(slot->pin()), slot_(slot), last_(nullptr) {}
    COWINDEX_INLINE View(Slot* slot, const typename Slot::Source& source,
                         const Record*& last) noexcept
        : record_(slot->pin(source, last)), slot_(slot), last_(&last) {}
#if defined(__GNUC__) && __GNUC__ >= 12
#pragma GCC diagnostic pop
#endif

    [[nodiscard]] COWINDEX_INLINE const detail::ShardTree<Shard>& tree() const noexcept {
        return record_->tree;
    }

    const Record* record_;
    Slot* slot_;
    const Record** last_; // the reader's, as long as the slot does not tell otherwise
};

/// A reading thread's place in an index. Make one for each thread (or task) and keep it. A class
/// that pins in const functions has a `mutable` one; it is not default-made, so a class sets it in
/// its constructors, or has a `std::optional` of it.
///
/// *Thread safety* one thread at a time, its views' ends included. A reader with no live view holds
/// nothing, however long it idles. It may lie beside another thread's: they share no cache line.
template <class Shard, class Policy = DefaultPolicy<Shard>>
class Reader {
  public:
    /// Live views stay valid.
    Reader(Reader&& other) noexcept
        : slot_(std::exchange(other.slot_, nullptr)), source_(other.source_), last_(other.last_) {
        if (slot_ != nullptr && last_ == nullptr) slot_->move();
    }
    /// As if the reader that was here were destroyed, then that of `other` moved here.
    Reader& operator=(Reader&& other) noexcept {
        Reader taken(std::move(other));
        std::swap(slot_, taken.slot_);
        source_ = taken.source_;
        last_ = taken.last_;
        return *this;
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    COWINDEX_INLINE ~Reader() {
        // Where a view is left, that one gives the slot back. Destructors that the last user runs
        // find a reader that was moved from.
        if (Slot* const slot = std::exchange(slot_, nullptr); slot != nullptr)
            detail::Core<Shard, Policy>::leave(slot);
    }

    /// *Returns* a view of the latest version; within the life of another view of this reader, of
    /// that view's version. *Progress* lock-free: looks once more if a version was published since
    /// this reader's last pin, and again only if one was meanwhile. *Complexity* constant. No lock,
    /// no allocation, no system call, no write that another reader could notice. *Exceptions*
    /// `std::logic_error` if this reader was moved from.
    [[nodiscard]] COWINDEX_INLINE View<Shard, Policy> pin() {
        if (slot_ == nullptr) detail::throw_moved_from("Reader");
        return View<Shard, Policy>(slot_, *source_, last_);
    }

    /// Effect: waits until something newer than version `seen` is published, up to `timeout`.
    /// *Returns* false if nothing was. *Exceptions* `std::invalid_argument` for a negative timeout;
    /// as `pin()`.
    [[nodiscard]] bool wait_for_newer(Version seen, std::chrono::nanoseconds timeout) {
        if (slot_ == nullptr) detail::throw_moved_from("Reader");
        if (timeout < std::chrono::nanoseconds(0)) detail::throw_negative_timeout("wait_for_newer");
        const Version next = seen + (seen != detail::unborn ? 1 : 0); // nothing is newer than that
        return slot_->core->wait_for(next, detail::deadline_after(timeout));
    }

  private:
    template <class, class>
    friend class CowIndex;
    friend struct detail::TestAccess;

    using Slot = typename detail::Core<Shard, Policy>::Slot;
    using Record = typename detail::Core<Shard, Policy>::Record;

    explicit Reader(Slot* slot) noexcept : slot_(slot), source_(slot->source) {}

    // A cache line of nothing on either side, since pins write here and the neighbour may be
    // another thread's. No alignment: compilers do not keep it in frames of coroutines.
    struct Apart {
        unsigned char nothing[detail::line_size];
    };

    // In registers where the reader is local. The address of `last_` is in views alone, and nothing
    // that is not inlined is given it.
    [[maybe_unused]] Apart before_;
    Slot* slot_;
    const typename Slot::Source* source_; // the slot's
    const Record* last_ = nullptr; // what was pinned last, maybe freed since; null: ask the slot
    [[maybe_unused]] Apart behind_;
};

} // namespace cowindex
