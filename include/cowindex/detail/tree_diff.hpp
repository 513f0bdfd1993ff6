// What differs between two versions of one index.
#pragma once

#include <cstddef>

#include <cowindex/detail/shard_tree.hpp>

namespace cowindex::detail {

// Calls fn(id, before, after) for each id whose box differs, ascending; null where it is absent.
// Takes time in proportion to the differences: a subtree that both share is skipped whole.
// Precondition: both trees are of one index and held.
template <class Shard, class Fn>
class TreeDiff {
  public:
    using Tree = ShardTree<Shard>;

    TreeDiff(const Tree& before, const Tree& after, Fn& fn) : fn_(fn) {
        const unsigned height = before.height > after.height ? before.height : after.height;
        compare(raised(before, height), raised(after, height), height, 0);
    }

  private:
    // A subtree, or `lift` imaginary levels above one, of which it is the first child.
    struct Place {
        const Node* node;
        unsigned lift;
    };

    static Place raised(const Tree& tree, unsigned height) noexcept {
        return {tree.root, height - tree.height};
    }

    static Place child(Place place, std::size_t index) noexcept {
        if (place.node == nullptr) return place;
        if (place.lift > 0) return {index == 0 ? place.node : nullptr, place.lift - 1};
        return {static_cast<const Inner*>(place.node)->child[index], 0};
    }

    // Shared, or absent on both sides however high the trees are. Both are at one level, so a node
    // that they share is as far below it on either side.
    static bool same(Place before, Place after) noexcept { return before.node == after.node; }

    void compare(Place before, Place after, unsigned level, ShardId first) {
        if (same(before, after)) return;
        if (level == 0) {
            for (std::size_t i = 0; i < leaf_width; ++i) {
                const auto* old_box = box(before, i);
                const auto* new_box = box(after, i);
                if (old_box != new_box) fn_(first + i, old_box, new_box);
            }
            return;
        }
        const unsigned shift = leaf_bits + inner_bits * (level - 1);
        const std::size_t width =
            shift + inner_bits > 64 ? std::size_t{1} << (64 - shift) : inner_width;
        for (std::size_t i = 0; i < width; ++i) {
            const Place old_child = child(before, i);
            const Place new_child = child(after, i);
            // Most are shared: not worth a call.
            if (same(old_child, new_child)) continue;
            compare(old_child, new_child, level - 1, first | (ShardId{i} << shift));
        }
    }

    static const ShardBox<Shard>* box(Place place, std::size_t index) noexcept {
        if (place.node == nullptr) return nullptr;
        return static_cast<const Leaf<Shard>*>(place.node)->child[index];
    }

    Fn& fn_;
};

template <class Shard, class Fn>
void for_each_difference(const ShardTree<Shard>& before, const ShardTree<Shard>& after, Fn&& fn) {
    TreeDiff<Shard, Fn>(before, after, fn);
}

} // namespace cowindex::detail
