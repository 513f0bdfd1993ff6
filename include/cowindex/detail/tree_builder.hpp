// Builds the next tree of one writer by copying paths of a published one. The first change may
// wait, with nothing copied, until somebody asks for the tree (put_late).
//
// Nodes made here stay `unborn` until the commit stamps them: a node is copied at most once for a
// whole batch, and an unborn node that a builder can reach is always its own, since published nodes
// are never unborn and other writers' nodes are never published unborn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cowindex/detail/counter.hpp>
#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/shard_tree.hpp>

namespace cowindex::detail {

struct TestAccess;

template <class Shard, class Allocator>
class TreeBuilder {
  public:
    using Box = ShardBox<Shard>;
    using Pool = NodePool<Shard, Allocator>;

    TreeBuilder(const ShardTree<Shard>& base, Pool& pool) noexcept : tree_(base), pool_(&pool) {}
    TreeBuilder(const TreeBuilder&) = delete;
    TreeBuilder& operator=(const TreeBuilder&) = delete;
    ~TreeBuilder() { recycle(); }

    // Makes a late put first; so do need() and find(), one of which precedes every other change.
    [[nodiscard]] const ShardTree<Shard>& tree() noexcept {
        link_late();
        return tree_;
    }

    // Hints, as those of the tree.
    COWINDEX_INLINE void fetch_ahead(ShardId id) const noexcept { tree_.fetch_ahead(id); }
    COWINDEX_INLINE void fetch_leaf_ahead(ShardId id) const noexcept { tree_.fetch_leaf_ahead(id); }

    // The nodes that put() or remove() of `id` will take: those of its path that are not own yet.
    [[nodiscard]] NodeCount need(ShardId id) noexcept {
        link_late();
        NodeCount count;
        const unsigned height = std::max(tree_.height, height_for(id));
        if (tree_.root != nullptr) count.inners = height - tree_.height; // new roots above the old
        const Node* node = height_for(id) > tree_.height ? nullptr : tree_.root;
        unsigned level = node == nullptr ? below_new_roots(height) : tree_.height;
        for (; level > 0; --level) {
            if (node == nullptr || node->birth != unborn) ++count.inners;
            if (node != nullptr)
                node = static_cast<const Inner*>(node)->child[child_index(id, level)];
        }
        if (node == nullptr || node->birth != unborn) ++count.leaves;
        return count;
    }

    // The nodes that lead to a shard, from the root down. Below a published one all are published.
    struct Path {
        Node* node[path_length];
        unsigned own = 0; // how many are the builder's own
    };

    // The box of `id`, and the path to it; null where it is absent, the path is then useless.
    [[nodiscard]] Box* find(ShardId id, Path& path) noexcept {
        link_late();
        if (id >= tree_.id_bound) return nullptr;
        return tree_.height < ShardTree<Shard>::fetched_height ? descend<false>(id, path)
                                                               : descend<true>(id, path);
    }

    // As need() of an id, for one that is present.
    [[nodiscard]] NodeCount need(const Path& path) const noexcept {
        if (path.own > tree_.height) return {0, 0};
        return {1, tree_.height - path.own};
    }

    // Whether the leaf at the end of `path` was born in version `since` or later.
    [[nodiscard]] bool is_leaf_born_since(const Path& path, Version since) const noexcept {
        return since == 0 || path.node[tree_.height]->birth >= since;
    }

    // Effect: `id`, present at the end of `path`, maps to `box`. Precondition: the pool holds
    // need(path), and nothing was changed since the path was found.
    void put(ShardId id, const Path& path, Box* box) noexcept {
        Node* leaf = path.node[tree_.height];
        if (path.own <= tree_.height) {
            unsigned level = tree_.height - path.own;
            Node** link = &tree_.root;
            if (path.own > 0) {
                auto* parent = static_cast<Inner*>(path.node[path.own - 1]);
                link = &parent->child[child_index(id, level + 1)];
            }
            for (Node* const* from = path.node + path.own; level > 0; ++from, --level) {
                Inner* inner = copy(*static_cast<Inner*>(*from), pool_->take_inner(level));
                *link = inner;
                link = &inner->child[child_index(id, level)];
            }
            *link = leaf = copy(*static_cast<Leaf<Shard>*>(leaf), pool_->take_leaf());
        }
        static_cast<Leaf<Shard>*>(leaf)->child[leaf_index(id)] = box;
    }

    // Effect: as put(), but not before somebody asks for the tree: until then nothing is copied,
    // and nothing at all where put_in_base() is called instead. Preconditions: those of put(), the
    // pool keeps what it holds for as long, and no node is own.
    void put_late(ShardId id, const Path& path, Box* box) noexcept {
        late_ = box;
        late_id_ = id;
        late_leaf_ = static_cast<Leaf<Shard>*>(path.node[tree_.height]);
    }
    // Effect: what was put late takes its place in the tree that the builder started from, of which
    // there is no other user. False: nothing was, or its leaf was born before `own_since`, so that
    // an older version has it, too. Where that is 0, the leaf need not be looked at: often it is
    // not in the caches.
    [[nodiscard]] bool put_in_base(Version own_since) noexcept {
        if (late_ == nullptr) return false;
        if (own_since != 0 && late_leaf_->birth < own_since) return false;
        late_leaf_->child[leaf_index(late_id_)] = std::exchange(late_, nullptr);
        return true;
    }
    [[nodiscard]] bool has_own() const noexcept { return own_nodes_ != nullptr; }

    // Effect: `id` maps to `box`. Precondition: the pool holds need(id).
    void put(ShardId id, Box* box) noexcept {
        grow(height_for(id));
        Node** link = &tree_.root;
        Node* parent = nullptr;
        std::size_t index = 0;
        for (unsigned level = tree_.height;; --level) {
            Node* node = own(*link, level);
            if (*link == nullptr && parent != nullptr) count_child(*parent, index);
            *link = node;
            if (level == 0) break;
            parent = node;
            index = child_index(id, level);
            link = &static_cast<Inner*>(node)->child[index];
        }
        auto* leaf = static_cast<Leaf<Shard>*>(*link);
        Box*& slot = leaf->child[leaf_index(id)];
        if (slot == nullptr) {
            count_child(*leaf, leaf_index(id));
            ++tree_.size;
        }
        slot = box;
        tree_.id_bound = std::max(tree_.id_bound, id + 1);
    }

    // Effect: no shard has `id`; nodes that hold nothing any more leave the tree.
    // Preconditions: `id` is present, the pool holds need(id).
    void remove(ShardId id) noexcept {
        Node** links[path_length];
        Node** link = &tree_.root;
        for (unsigned level = tree_.height;; --level) {
            *link = own(*link, level);
            links[level] = link;
            if (level == 0) break;
            link = &static_cast<Inner*>(*link)->child[child_index(id, level)];
        }
        static_cast<Leaf<Shard>*>(*link)->child[leaf_index(id)] = nullptr;
        --tree_.size;
        for (unsigned level = 0; level <= tree_.height; ++level) {
            if (--(*links[level])->used != 0) break;
            if ((*links[level])->origin == nullptr) ++barren_;
            *links[level] = nullptr; // stays among own nodes as an empty one
        }
        if (barren_ <= max_barren) return;
        if (const NodeCount own = own_count(); barren_ > (own.leaves + own.inners) / 2)
            drop_barren();
    }

    // Gives the own nodes their birth and hands them over to the published tree. Calls retire(node)
    // for each published node that is not part of it. Returns the bytes of the own nodes in the
    // tree. Constant work for each node copied.
    template <class Retire>
    [[nodiscard]] std::size_t publish(Version birth, Retire&& retire) noexcept {
        if (own_nodes_ == nullptr) return 0;
        std::size_t bytes = own_bytes();
        for (Node* node = own_nodes_; node != nullptr;) {
            Node* next = static_cast<Node*>(node->next);
            if (node->origin != nullptr) retire(node->origin);
            node->birth = birth;
            if (node->used == 0) { // emptied by removals, not in the tree
                bytes -= node->bytes();
                pool_->give(node);
            }
            node = next;
        }
        forget_own();
        return bytes;
    }

    // Starts again from `base`; own nodes go back to the pool.
    void restart(const ShardTree<Shard>& base) noexcept {
        recycle();
        tree_ = base;
    }

    // Takes over what `other` has built with the same pool.
    void adopt(TreeBuilder& other) noexcept {
        restart(other.tree_);
        own_nodes_ = other.own_nodes_;
        own_leaves_.set(other.own_leaves_.read());
        own_inners_.set(other.own_inners_.read());
        barren_ = other.barren_;
        other.forget_own();
    }

    // The published nodes, born after version `held`, that the new tree does not share; all where
    // that is null.
    [[nodiscard]] std::size_t replaced_bytes(const Version* held) const noexcept {
        std::size_t bytes = 0;
        for (const Node* node = own_nodes_; node != nullptr;
             node = static_cast<const Node*>(node->next))
            if (node->origin != nullptr && (held == nullptr || node->origin->birth > *held))
                bytes += node->origin->bytes();
        return bytes;
    }

    // Those of the own nodes that removals have emptied: publish() gives them back.
    [[nodiscard]] std::size_t emptied_bytes() const noexcept {
        std::size_t bytes = 0;
        for (const Node* node = own_nodes_; node != nullptr;
             node = static_cast<const Node*>(node->next))
            if (node->used == 0) bytes += node->bytes();
        return bytes;
    }

    // Any thread.
    [[nodiscard]] std::size_t own_bytes() const noexcept { return bytes_of<Shard>(own_count()); }
    [[nodiscard]] NodeCount own_count() const noexcept {
        return {static_cast<std::size_t>(own_leaves_.read()),
                static_cast<std::size_t>(own_inners_.read())};
    }

  private:
    friend struct TestAccess;

    void link_late() noexcept {
        if (late_ != nullptr) [[unlikely]]
            link();
    }
    COWINDEX_COLD void link() noexcept {
        Box* const box = std::exchange(late_, nullptr);
        Path path;
        static_cast<void>(find(late_id_, path));
        put(late_id_, path, box);
    }

    template <bool fetched>
    [[nodiscard]] Box* descend(ShardId id, Path& path) const noexcept {
        Node* node = tree_.root;
        unsigned depth = 0;
        for (unsigned shift = tree_.root_shift; node != nullptr; shift -= inner_bits) {
            const bool leaf = shift == ShardTree<Shard>::leaf_only;
            // Both will be copied; fetched now, they arrive while the shard itself does.
            if (fetched && depth + 1 >= tree_.height)
                prefetch(node, leaf ? sizeof(Leaf<Shard>) : sizeof(Inner));
            path.node[depth] = node;
            if (leaf) {
                path.own = 0; // the path may have been used before
                if (own_nodes_ != nullptr)
                    while (path.own <= depth && path.node[path.own]->birth == unborn) ++path.own;
                return static_cast<Leaf<Shard>*>(node)->child[leaf_index(id)];
            }
            ++depth;
            node = static_cast<Inner*>(node)->child[(id >> shift) & (inner_width - 1)];
        }
        return nullptr;
    }

    // So many empty nodes that nothing was copied into may wait among the own ones; half of them
    // may.
    static constexpr std::size_t max_barren = 32;

    // Where a tree must grow to `height`, the new root's first child leads to the old root; the
    // path to the id leaves it at the topmost level, and every level below is new.
    [[nodiscard]] unsigned below_new_roots(unsigned height) const noexcept {
        return tree_.root != nullptr ? height - 1 : height;
    }

    void grow(unsigned height) noexcept {
        if (tree_.root == nullptr) {
            tree_.set_height(std::max(tree_.height, height));
            return;
        }
        while (tree_.height < height) {
            Inner* root = blank(pool_->take_inner(tree_.height + 1));
            root->child[0] = tree_.root;
            root->used = root->extent = 1;
            tree_.root = root;
            tree_.set_height(tree_.height + 1);
        }
    }

    // `node` itself where it is own, else an own copy of it (of nothing where it is null).
    Node* own(Node* node, unsigned level) noexcept {
        if (node != nullptr && node->birth == unborn) return node;
        if (level == 0) return own(static_cast<Leaf<Shard>*>(node), pool_->take_leaf());
        return own(static_cast<Inner*>(node), pool_->take_inner(level));
    }
    template <class AnyNode>
    AnyNode* own(AnyNode* from, AnyNode* to) noexcept {
        return from == nullptr ? blank(to) : copy(*from, to);
    }

    // Copies the children, never the header: the published node's header may be written meanwhile
    // by whoever retires it. In blocks of one line, which compilers copy in place: a call of memcpy
    // for a leaf took one and a half times as long, and std::copy_n is one of memmove.
    template <class AnyNode>
    AnyNode* copy(AnyNode& from, AnyNode* to) noexcept {
        static constexpr std::size_t block = 64 / sizeof(void*);
        static_assert(AnyNode::width % block == 0);
        const std::uint16_t extent = from.extent;
        std::size_t copied = 0;
        for (; copied < extent; copied += block) // what is behind the extent is null
            std::memcpy(static_cast<void*>(to->child + copied),
                        static_cast<const void*>(from.child + copied),
                        block * sizeof(to->child[0]));
        clear(*to, copied);
        to->extent = extent;
        to->used = from.used;
        return remember(to, &from);
    }

    template <class AnyNode>
    AnyNode* blank(AnyNode* node) noexcept {
        clear(*node, 0);
        node->extent = node->used = 0;
        return remember(node, nullptr);
    }

    // Makes the stale children of a pooled node null from `from` on.
    template <class AnyNode>
    static void clear(AnyNode& node, std::size_t from) noexcept {
        if (from < node.extent) std::fill(node.child + from, node.child + node.extent, nullptr);
    }

    static void count_child(Node& node, std::size_t index) noexcept {
        ++node.used;
        node.extent = std::max(node.extent, static_cast<std::uint16_t>(index + 1));
    }

    template <class AnyNode>
    AnyNode* remember(AnyNode* node, Node* origin) noexcept {
        node->birth = unborn;
        node->origin = origin;
        node->next = std::exchange(own_nodes_, node);
        (std::is_same_v<AnyNode, Inner> ? own_inners_ : own_leaves_).add_alone();
        return node;
    }

    // Gives back the nodes that were made and emptied again: a writer may add and take back shards
    // for ever. Those with an origin stay, since it is to be retired.
    COWINDEX_COLD void drop_barren() noexcept {
        Node* kept = nullptr;
        for (Node* node = std::exchange(own_nodes_, nullptr); node != nullptr;) {
            Node* next = static_cast<Node*>(node->next);
            if (node->used == 0 && node->origin == nullptr) {
                (node->level == 0 ? own_leaves_ : own_inners_).subtract_alone();
                pool_->give(node);
            } else {
                node->next = std::exchange(kept, node);
            }
            node = next;
        }
        own_nodes_ = kept;
        barren_ = 0;
    }

    void forget_own() noexcept {
        own_nodes_ = nullptr;
        own_leaves_.set(0);
        own_inners_.set(0);
        barren_ = 0;
    }

    void recycle() noexcept {
        for (Node* node = own_nodes_; node != nullptr;) {
            Node* next = static_cast<Node*>(node->next);
            pool_->give(node);
            node = next;
        }
        forget_own();
        late_ = nullptr;
    }

    ShardTree<Shard> tree_;
    Pool* pool_;
    Node* own_nodes_ = nullptr; // linked through next
    Counter own_leaves_;
    Counter own_inners_;
    std::size_t barren_ = 0; // own nodes that are empty and have no origin

    Box* late_ = nullptr; // null: no put is late
    ShardId late_id_ = 0;
    Leaf<Shard>* late_leaf_ = nullptr; // published
};

} // namespace cowindex::detail
