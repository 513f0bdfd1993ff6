// The tree of an index's first version, built in one pass: nobody sees it before it is complete.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

template <class Shard, class Policy>
class InitialTree {
  public:
    using Allocator = typename Policy::Allocator;
    using Tree = ShardTree<Shard>;

    InitialTree(const Allocator& allocator, Version birth) : allocator_(allocator), birth_(birth) {}
    InitialTree(const InitialTree&) = delete;
    InitialTree& operator=(const InitialTree&) = delete;
    ~InitialTree() {
        if (tree_.root != nullptr) destroy(tree_.root);
    }

    // Effect: ids 0 to count - 1 map to what make(id) returns. Precondition: the tree is empty.
    // On failure, what was built is freed with this object.
    template <class Make>
    void fill(ShardId count, Make&& make) {
        if (count == 0) return;
        tree_.set_height(height_for(count - 1));
        tree_.id_bound = count;
        make_node(tree_.root, tree_.height);
        fill(tree_.root, tree_.height, 0, make);
    }

    // Hands over the tree. The caller frees it from now on.
    [[nodiscard]] Tree release() noexcept { return std::exchange(tree_, {}); }

    [[nodiscard]] std::size_t shard_bytes() const noexcept { return shard_bytes_; }
    [[nodiscard]] std::size_t node_bytes() const noexcept { return node_bytes_; }

  private:
    // Effect: `node`, whose ids begin with `first`, has its children and all below them.
    //
    // The children are made together, before anything below them: nodes that lie side by side share
    // pages. With each leaf among its shards instead, a random read of a million shards took 1.3
    // to 1.9 times as long. Each is linked as it is made, so nothing is lost if something throws.
    template <class Make>
    void fill(Node* node, unsigned level, ShardId first, Make& make) {
        const ShardId ids = tree_.id_bound - first;
        if (level == 0) {
            auto* leaf = static_cast<Leaf<Shard>*>(node);
            for (ShardId i = 0; i < std::min<ShardId>(leaf_width, ids); ++i) {
                leaf->child[i] = make_box(first + i, make);
                count_child(*leaf);
            }
            return;
        }
        auto* inner = static_cast<Inner*>(node);
        const unsigned span_bits = leaf_bits + inner_bits * (level - 1);
        const ShardId children = std::min<ShardId>(inner_width, ((ids - 1) >> span_bits) + 1);
        for (ShardId i = 0; i < children; ++i) {
            make_node(inner->child[i], level - 1);
            count_child(*inner);
        }
        for (ShardId i = 0; i < children; ++i)
            fill(inner->child[i], level - 1, first + (i << span_bits), make);
    }

    // Effect: `link` leads to a node without children.
    void make_node(Node*& link, unsigned level) {
        if (level == 0)
            link = make_object<Leaf<Shard>>(allocator_);
        else
            link = make_object<Inner>(allocator_);
        link->level = static_cast<std::uint16_t>(level);
        link->birth = birth_;
        node_bytes_ += link->bytes();
    }

    static void count_child(Node& node) noexcept { node.extent = ++node.used; }

    template <class Make>
    ShardBox<Shard>* make_box(ShardId id, Make& make) {
        auto* box = make_object<ShardBox<Shard>>(allocator_, [&]() -> Shard { return make(id); });
        Rollback rollback([&]() noexcept { destroy_object(allocator_, box); });
        box->set_bytes(Policy::bytes(box->shard) + box_overhead<Shard>);
        rollback.done();
        box->birth = birth_;
        shard_bytes_ += box->bytes();
        ++tree_.size;
        return box;
    }

    void destroy(Node* node) noexcept {
        const FreeingShards freeing;
        if (node->level == 0) {
            auto* leaf = static_cast<Leaf<Shard>*>(node);
            for (std::size_t i = 0; i < leaf->used; ++i) destroy_object(allocator_, leaf->child[i]);
        } else {
            auto* inner = static_cast<Inner*>(node);
            for (std::size_t i = 0; i < inner->used; ++i) destroy(inner->child[i]);
        }
        destroy_node<Shard>(allocator_, node);
    }

    Allocator allocator_;
    Version birth_;
    Tree tree_;
    std::size_t shard_bytes_ = 0;
    std::size_t node_bytes_ = 0;
};

} // namespace cowindex::detail
