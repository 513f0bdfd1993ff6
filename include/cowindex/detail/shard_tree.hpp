// The persistent wide tree from ids to shards, as readers see it.
//
// Every version has a tree of its own that shares all it can with its neighbours: a commit copies
// the nodes on the path to each shard it touches, unless nobody can tell the versions apart. Nodes
// and shards are plain pointers without reference counts; the version at which each was born, and
// the dead lists of the versions (version_chain.hpp), decide when one may be freed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <cowindex/version.hpp>

namespace cowindex::detail {

// Children of a leaf (shards) and of an inner node. 64 keeps the leaf that every commit copies
// at 512 bytes; 128 above it keeps a million shards at three levels.
inline constexpr unsigned leaf_bits = 6;
inline constexpr unsigned inner_bits = 7;
inline constexpr std::size_t leaf_width = std::size_t{1} << leaf_bits;
inline constexpr std::size_t inner_width = std::size_t{1} << inner_bits;
inline constexpr unsigned max_height = 9;                  // 6 + 9 * 7 >= 64
inline constexpr std::size_t path_length = max_height + 1; // a node for each level, and the leaf

// The birth of what only its writer can see. Stamped with the version by the commit.
inline constexpr Version unborn = ~Version{0};
inline constexpr Version last_version = unborn - 1;

// A hint: the lines of these bytes will be read soon.
COWINDEX_INLINE inline void prefetch([[maybe_unused]] const void* begin,
                                     [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__GNUC__)
    for (std::size_t offset = 0; offset < bytes; offset += 64)
        __builtin_prefetch(static_cast<const char*>(begin) + offset);
#endif
}

// A condition that holds about as often as not, whose branch is to be out of the other's way, not
// far off as that of an [[unlikely]] one.
[[nodiscard]] COWINDEX_INLINE constexpr bool lay_aside(bool condition) noexcept {
#if defined(__has_builtin)
#if __has_builtin(__builtin_expect_with_probability)
    return __builtin_expect_with_probability(static_cast<long>(condition), 0, 0.6) != 0;
#endif
#endif
    return condition;
}

// What shards and tree nodes have in common: all that decides about their lifetimes.
struct Object {
    explicit Object(std::uint64_t its_bytes_and_kind) noexcept
        : bytes_and_kind(its_bytes_and_kind) {}

    Version birth = unborn;
    union {
        Object* next = nullptr; // on a dead list, in a pool, or among a writer's own nodes
        std::size_t change;     // of an unborn shard: its place in the writer's list of changes
    };

    // What it is accounted for, its header included.
    [[nodiscard]] std::size_t bytes() const noexcept {
        return static_cast<std::size_t>(bytes_and_kind & ~node_kind);
    }
    // The same of a node; none of a shard.
    [[nodiscard]] std::size_t node_bytes() const noexcept { return is_node() ? bytes() : 0; }
    // Precondition: it is a shard.
    void set_bytes(std::size_t bytes) noexcept { bytes_and_kind = bytes & ~node_kind; }
    [[nodiscard]] bool is_node() const noexcept { return (bytes_and_kind & node_kind) != 0; }

    static constexpr std::uint64_t node_kind = std::uint64_t{1} << 63;
    std::uint64_t bytes_and_kind;
};

template <class Shard>
struct ShardBox : Object {
    template <class Make>
    explicit ShardBox(Make&& make) : Object(sizeof(ShardBox)), shard(std::forward<Make>(make)()) {}

    // As of any object; it is known to be no node.
    [[nodiscard]] std::size_t bytes() const noexcept {
        return static_cast<std::size_t>(bytes_and_kind);
    }

    Shard shard;
};

struct Node : Object {
    Node(unsigned its_level, std::size_t size) noexcept
        : Object(node_kind | size), level(static_cast<std::uint16_t>(its_level)) {}

    Node* origin = nullptr; // while unborn: the published node that this one was copied from
    std::uint16_t level;
    std::uint16_t used = 0;   // children present
    std::uint16_t extent = 0; // one past the last child that was ever set; null from there on
};

// Children are copied in pieces of so many bytes. None crosses a line where the first begins at a
// multiple of that; one that does takes several cycles, a fifth of a small commit together.
inline constexpr std::size_t copied_at_once = 16;

template <class Shard>
struct Leaf : Node {
    using Child = ShardBox<Shard>;
    static constexpr std::size_t width = leaf_width;
    Leaf() noexcept : Node(0, sizeof(Leaf)) {}
    alignas(copied_at_once) Child* child[width] = {};
};

struct Inner : Node {
    using Child = Node;
    static constexpr std::size_t width = inner_width;
    Inner() noexcept : Node(1, sizeof(Inner)) {}
    alignas(copied_at_once) Child* child[width] = {};
};

// The levels (inner nodes above the leaf) that a tree must have to hold `id`.
[[nodiscard]] constexpr unsigned height_for(ShardId id) noexcept {
    unsigned height = 0;
    for (id >>= leaf_bits; id != 0; id >>= inner_bits) ++height;
    return height;
}

static_assert(height_for(unborn) == max_height);

// Which child of a node at `level` (1 is just above the leaves) leads to `id`.
[[nodiscard]] constexpr std::size_t child_index(ShardId id, unsigned level) noexcept {
    return (id >> (leaf_bits + inner_bits * (level - 1))) & (inner_width - 1);
}
[[nodiscard]] constexpr std::size_t leaf_index(ShardId id) noexcept {
    return id & (leaf_width - 1);
}

// One version's map. Copying it copies five words, not shards.
// Invariant: every id below id_bound fits into `height` levels.
template <class Shard>
struct ShardTree {
    using Box = ShardBox<Shard>;

    Node* root = nullptr; // null: no shard present
    unsigned height = 0;
    unsigned root_shift = leaf_only; // where the root's part of an id begins, less one
    ShardId size = 0;                // shards present
    ShardId id_bound = 0;            // one past the largest id ever used; never falls

    void set_height(unsigned levels) noexcept {
        height = levels;
        root_shift = levels * inner_bits + leaf_only;
    }

    // The shift at a level is 7 * level - 1, so this is that of the leaves.
    static_assert(leaf_bits + 1 == inner_bits);
    static constexpr unsigned leaf_only = ~0U;

    // Precondition: contains `id`. One leaf alone is read without a jump, and the step into a leaf
    // has a constant shift: a pin with its read takes a quarter less in a small tree.
    [[nodiscard]] COWINDEX_INLINE Box* get(ShardId id) const noexcept {
        Node* node = root;
        if (unsigned shift = root_shift; lay_aside(shift != leaf_only)) {
            for (; shift != leaf_bits; shift -= inner_bits) node = child_at(node, id, shift);
            node = child_at(node, id, leaf_bits);
        }
        return static_cast<Leaf<Shard>*>(node)->child[leaf_index(id)];
    }

    // The leaf that has a place for `id`; null where there is none. O(height).
    [[nodiscard]] Leaf<Shard>* leaf_of(ShardId id) const noexcept {
        if (id >= id_bound) return nullptr;
        Node* node = root;
        for (unsigned level = height; level > 0 && node != nullptr; --level)
            node = static_cast<Inner*>(node)->child[child_index(id, level)];
        return static_cast<Leaf<Shard>*>(node);
    }

    // Null where no shard has that id. O(height).
    [[nodiscard]] Box* find(ShardId id) const noexcept {
        const Leaf<Shard>* leaf = leaf_of(id);
        return leaf == nullptr ? nullptr : leaf->child[leaf_index(id)];
    }

    // A hint: `id` will be looked up soon. Fetches the first lines of its shard.
    COWINDEX_INLINE void fetch_ahead(ShardId id) const noexcept {
        static constexpr std::size_t most = 256; // from there on the processor fetches by itself
        if (const Box* box = find(id); box != nullptr) prefetch(box, std::min(most, sizeof(Box)));
    }
    // A hint: `id` will be edited soon. Fetches its leaf, which will be copied.
    COWINDEX_INLINE void fetch_leaf_ahead(ShardId id) const noexcept {
        if (height < fetched_height) return;
        if (const auto* leaf = leaf_of(id); leaf != nullptr) prefetch(leaf, sizeof(*leaf));
    }

    // Trees lower than this fit into the nearer caches.
    static constexpr unsigned fetched_height = 2;

    // The leaf of the ids that follow those of the leaf of `id`; null where there is none.
    [[nodiscard]] const Leaf<Shard>* leaf_behind(ShardId id) const noexcept {
        id |= leaf_width - 1;
        return id >= id_bound - 1 ? nullptr : leaf_of(id + 1);
    }

    // Moves `id` to the first shard present at or after it and returns the leaf that holds it; null
    // when there is none. Skips empty subtrees whole.
    [[nodiscard]] const Leaf<Shard>* seek(ShardId& id) const noexcept {
        while (root != nullptr && id < id_bound) {
            const Node* node = root;
            unsigned level = height;
            while (level > 0) {
                const auto* inner = static_cast<const Inner*>(node);
                const std::size_t wanted = child_index(id, level);
                const std::size_t found = first_child(*inner, wanted);
                if (found == inner_width) break;
                if (found != wanted) id = start_of_child(id, level, found);
                node = inner->child[found];
                --level;
            }
            if (level == 0) {
                const auto* leaf = static_cast<const Leaf<Shard>*>(node);
                const std::size_t found = first_child(*leaf, leaf_index(id));
                if (found != leaf_width) {
                    id = (id & ~ShardId{leaf_width - 1}) | found;
                    return leaf;
                }
            }
            if (!skip_node(id, level)) return nullptr;
        }
        return nullptr;
    }

    // The first child at or after `from`; the node's width when there is none.
    template <class AnyNode>
    [[nodiscard]] static std::size_t first_child(const AnyNode& node, std::size_t from) noexcept {
        while (from < AnyNode::width && node.child[from] == nullptr) ++from;
        return from;
    }

  private:
    [[nodiscard]] COWINDEX_INLINE static Node* child_at(Node* inner, ShardId id,
                                                        unsigned shift) noexcept {
        return static_cast<Inner*>(inner)->child[(id >> shift) & (inner_width - 1)];
    }

    [[nodiscard]] static ShardId start_of_child(ShardId id, unsigned level,
                                                std::size_t index) noexcept {
        const unsigned shift = leaf_bits + inner_bits * (level - 1);
        const unsigned above = shift + inner_bits;
        const ShardId prefix = above >= 64 ? 0 : (id >> above) << above;
        return prefix | (ShardId{index} << shift);
    }

    // Moves `id` behind everything that the node at `level` on its path covers.
    [[nodiscard]] static bool skip_node(ShardId& id, unsigned level) noexcept {
        const unsigned span = leaf_bits + inner_bits * level;
        if (span >= 64) return false;
        id = ((id >> span) + 1) << span;
        return id != 0;
    }
};

} // namespace cowindex::detail
