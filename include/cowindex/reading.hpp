// The reading interface that snapshots, views and writers share.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <iterator>
#include <type_traits>

#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/errors.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

/// A shard and its id, as `items()` yields them.
template <class Shard>
struct Item {
    ShardId id;         ///< its id
    const Shard& shard; ///< valid as long as what it was read from
};

namespace detail {

// Walks the shards present in id order, child by child, and fetches the next leaf while it is in
// one; past the last shard it points nowhere.
template <class Shard>
class TreeCursor {
  public:
    TreeCursor() = default;
    TreeCursor(const ShardTree<Shard>& tree, ShardId first, ShardId end) noexcept
        : tree_(&tree), end_(end) {
        settle(first);
    }

    [[nodiscard]] ShardId id() const noexcept {
        return leaf_end_id_ - static_cast<ShardId>(leaf_end_ - child_);
    }
    [[nodiscard]] const Shard& shard() const noexcept { return (*child_)->shard; }

    void advance() noexcept {
        ++child_;
        if (child_ == leaf_end_ || *child_ == nullptr) [[unlikely]]
            settle(id());
    }

    friend bool operator==(const TreeCursor& a, const TreeCursor& b) noexcept {
        return a.child_ == b.child_;
    }

  private:
    using Child = ShardBox<Shard>* const*;

    // Effect: points to the first shard at or after `id`.
    void settle(ShardId id) noexcept {
        const Leaf<Shard>* leaf = id < end_ ? tree_->seek(id) : nullptr;
        if (leaf == nullptr || id >= end_) {
            child_ = leaf_end_ = nullptr;
            return;
        }
        child_ = leaf->child + leaf_index(id);
        const ShardId left = std::min<ShardId>(leaf_width - leaf_index(id), end_ - id);
        leaf_end_ = child_ + left;
        leaf_end_id_ = id + left;
        if (const Leaf<Shard>* next = tree_->leaf_behind(id); next != nullptr)
            prefetch(next->child, sizeof(next->child));
    }

    Child child_ = nullptr;
    Child leaf_end_ = nullptr; // of the leaf, or of the range
    ShardId leaf_end_id_ = 0;
    const ShardTree<Shard>* tree_ = nullptr;
    ShardId end_ = 0;
};

} // namespace detail

/// Forward iterator over the shards present, in id order. Compare only iterators of one range.
/// Yields what `Value` is: `Shard`, as a const reference, or `Item<Shard>`. Valid as long as what
/// it came from.
template <class Shard, class Value>
class ReadingIterator {
    static constexpr bool with_ids = std::is_same_v<Value, Item<Shard>>;

  public:
    /// @{
    /// As of any forward iterator.
    using iterator_concept = std::forward_iterator_tag;
    // Of old, an iterator that yields values and not references is no forward iterator.
    using iterator_category =
        std::conditional_t<with_ids, std::input_iterator_tag, std::forward_iterator_tag>;
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using pointer = std::conditional_t<with_ids, void, const Shard*>;
    using reference = std::conditional_t<with_ids, Item<Shard>, const Shard&>;
    /// @}

    ReadingIterator() = default;
    /// Begins where `cursor` is.
    explicit ReadingIterator(detail::TreeCursor<Shard> cursor) noexcept : cursor_(cursor) {}

    /// *Returns* the id of the shard it points to.
    [[nodiscard]] ShardId id() const noexcept { return cursor_.id(); }

    /// @{
    /// As of any forward iterator. *Progress* wait-free.
    reference operator*() const noexcept {
        if constexpr (with_ids)
            return {cursor_.id(), cursor_.shard()};
        else
            return cursor_.shard();
    }
    pointer operator->() const noexcept
        requires(!with_ids)
    {
        return &cursor_.shard();
    }
    ReadingIterator& operator++() noexcept {
        cursor_.advance();
        return *this;
    }
    ReadingIterator operator++(int) noexcept {
        ReadingIterator before = *this;
        cursor_.advance();
        return before;
    }
    friend bool operator==(const ReadingIterator& a, const ReadingIterator& b) noexcept {
        return a.cursor_ == b.cursor_;
    }
    /// @}

  private:
    detail::TreeCursor<Shard> cursor_;
};

/// What `begin()` and `range()` yield.
template <class Shard>
using ShardIterator = ReadingIterator<Shard, Shard>;

/// What `items()` yields.
template <class Shard>
using ItemIterator = ReadingIterator<Shard, Item<Shard>>;

/// A pair of iterators.
template <class Iterator>
class ShardRange {
  public:
    /// From `first` up to `last`, which is not a part of it.
    ShardRange(Iterator first, Iterator last) noexcept : first_(first), last_(last) {}
    /// *Returns* the first.
    [[nodiscard]] Iterator begin() const noexcept { return first_; }
    /// *Returns* the end.
    [[nodiscard]] Iterator end() const noexcept { return last_; }
    /// *Returns* whether there is no shard in it.
    [[nodiscard]] bool empty() const noexcept { return first_ == last_; }

  private:
    Iterator first_;
    Iterator last_;
};

/// What can be asked of one version. `Derived` provides `tree()`.
///
/// *Complexity* of looking up an id: the height of the tree, at most three steps up to a million
/// shards. *Progress* wait-free. *Exceptions* none but those of `at()`. *Allocation* none.
template <class Derived, class Shard>
class ShardReading {
  public:
    using value_type = Shard;              ///< what iterators point to
    using iterator = ShardIterator<Shard>; ///< reads only, as nothing here is ever written
    using const_iterator = iterator;       ///< the same

    /// *Returns* how many shards are present.
    [[nodiscard]] COWINDEX_INLINE std::size_t size() const noexcept { return tree().size; }
    /// *Returns* whether none is.
    [[nodiscard]] COWINDEX_INLINE bool empty() const noexcept { return tree().size == 0; }

    /// *Returns* one past the largest id ever used up to this version. Never falls from one version
    /// to the next.
    [[nodiscard]] COWINDEX_INLINE ShardId id_bound() const noexcept { return tree().id_bound; }

    /// *Returns* whether a shard has that id.
    [[nodiscard]] COWINDEX_INLINE bool contains(ShardId id) const noexcept {
        return tree().find(id) != nullptr;
    }

    /// *Preconditions* contains(id), asserted unless `NDEBUG` is defined. Where it may be absent
    /// use `find()` or `at()`.
    [[nodiscard]] COWINDEX_INLINE const Shard& operator[](ShardId id) const noexcept
        COWINDEX_LIFETIMEBOUND {
        assert(contains(id) && "cowindex: operator[] of an absent id; use find() or at()");
        return tree().get(id)->shard;
    }

    /// *Exceptions* `std::out_of_range` naming the id and the bound.
    [[nodiscard]] COWINDEX_INLINE const Shard& at(ShardId id) const COWINDEX_LIFETIMEBOUND {
        const auto* box = tree().find(id);
        if (box == nullptr) detail::throw_absent(id, tree().id_bound);
        return box->shard;
    }

    /// *Returns* null where no shard has that id.
    [[nodiscard]] COWINDEX_INLINE const Shard* find(ShardId id) const noexcept
        COWINDEX_LIFETIMEBOUND {
        const auto* box = tree().find(id);
        return box == nullptr ? nullptr : &box->shard;
    }

    /// Hint: `id` will be read or edited soon. Effect: its shard is on its way to the caches while
    /// this thread goes on; none where no shard has that id. Worth it where the index does not fit
    /// into the caches and ids are known some steps ahead.
    COWINDEX_INLINE void prefetch(ShardId id) const noexcept { tree().fetch_ahead(id); }

    /// *Returns* an iterator to the shard with the lowest id.
    [[nodiscard]] COWINDEX_INLINE iterator begin() const noexcept COWINDEX_LIFETIMEBOUND {
        return iterator(cursor(0, tree().id_bound));
    }
    /// *Returns* the end of all shards.
    [[nodiscard]] COWINDEX_INLINE iterator end() const noexcept COWINDEX_LIFETIMEBOUND {
        return iterator(cursor(tree().id_bound, tree().id_bound));
    }

    /// *Returns* the shards present with their ids, in id order.
    [[nodiscard]] COWINDEX_INLINE ShardRange<ItemIterator<Shard>> items() const& noexcept
        COWINDEX_LIFETIMEBOUND {
        const ShardId end = tree().id_bound;
        return {ItemIterator<Shard>(cursor(0, end)), ItemIterator<Shard>(cursor(end, end))};
    }

    /// Not of a temporary, which is gone before a loop over its items begins: give the snapshot,
    /// view or writer a name.
    void items() const&& = delete; // of a temporary: give it a name, or it is gone too early

    /// *Returns* the shards present whose ids are in [first, last), in id order; `it.id()` tells
    /// the id. Lets threads divide one scan among themselves.
    [[nodiscard]] COWINDEX_INLINE ShardRange<iterator> range(
        ShardId first, ShardId last) const& noexcept COWINDEX_LIFETIMEBOUND {
        const ShardId end = std::min(last, tree().id_bound);
        return {iterator(cursor(std::min(first, end), end)), iterator(cursor(end, end))};
    }

    /// Not of a temporary either.
    void range(ShardId, ShardId) const&& = delete; // of a temporary: give it a name, as above

  protected:
    /// @{
    /// For `Derived` alone.
    ShardReading() = default;
    ~ShardReading() = default;
    ShardReading(const ShardReading&) = default;
    ShardReading(ShardReading&&) = default;
    ShardReading& operator=(const ShardReading&) = default;
    ShardReading& operator=(ShardReading&&) = default;
    /// @}

  private:
    [[nodiscard]] COWINDEX_INLINE const detail::ShardTree<Shard>& tree() const noexcept {
        return static_cast<const Derived&>(*this).tree();
    }
    [[nodiscard]] COWINDEX_INLINE detail::TreeCursor<Shard> cursor(ShardId first,
                                                                   ShardId end) const noexcept {
        return {tree(), first, end};
    }
};

} // namespace cowindex
