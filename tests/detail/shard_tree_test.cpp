#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/detail/tree_builder.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "support/catch.hpp"

using namespace cowindex::detail;
using cowindex::ShardId;

namespace {

// A tree made by hand, with the boxes in it.
struct Grown {
    using Allocator = std::allocator<std::byte>;

    Grown() : pool(Allocator()), builder({}, pool) {}

    void put(ShardId id) {
        boxes.push_back(std::make_unique<ShardBox<ShardId>>([&] { return id; }));
        pool.reserve(builder.need(id));
        builder.put(id, boxes.back().get());
    }
    void put(std::initializer_list<ShardId> ids) {
        for (const ShardId id : ids) put(id);
    }

    const ShardTree<ShardId>& tree() { return builder.tree(); }

    // The ids that seek() leads to, from `first` on.
    std::vector<ShardId> walk(ShardId first) {
        std::vector<ShardId> ids;
        for (ShardId id = first; tree().seek(id) != nullptr; ++id) ids.push_back(id);
        return ids;
    }

    NodePool<ShardId, Allocator> pool;
    TreeBuilder<ShardId, Allocator> builder;
    std::vector<std::unique_ptr<ShardBox<ShardId>>> boxes;
};

// A node with more behind its children.
struct Row {
    static constexpr std::size_t width = 3;
    const int* child[width + 2] = {};
};

constexpr ShardId largest = std::numeric_limits<ShardId>::max() - 1;

} // namespace

TEST_CASE("the height follows the id") {
    STATIC_REQUIRE(height_for(0) == 0);
    STATIC_REQUIRE(height_for(63) == 0);
    STATIC_REQUIRE(height_for(64) == 1);
    STATIC_REQUIRE(height_for(64 * 128 - 1) == 1);
    STATIC_REQUIRE(height_for(64 * 128) == 2);
    STATIC_REQUIRE(height_for(ShardId{64} * 128 * 128 - 1) == 2);
    STATIC_REQUIRE(height_for(ShardId{64} * 128 * 128) == 3);
    STATIC_REQUIRE(height_for(largest) == max_height);
}

TEST_CASE("the path to an id is its digits") {
    const ShardId id = (ShardId{3} << 13) | (ShardId{5} << 6) | 7;
    REQUIRE(leaf_index(id) == 7);
    REQUIRE(child_index(id, 1) == 5);
    REQUIRE(child_index(id, 2) == 3);
    REQUIRE(child_index(id, 3) == 0);
    REQUIRE(child_index(largest, max_height) == 3);
}

TEST_CASE("an empty tree finds nothing") {
    const ShardTree<ShardId> tree;
    REQUIRE(tree.find(0) == nullptr);
    REQUIRE(tree.find(largest) == nullptr);
    ShardId id = 0;
    REQUIRE(tree.seek(id) == nullptr);
}

TEST_CASE("find and get agree, and know what is absent") {
    Grown grown;
    const std::vector<ShardId> present{0,      1, 63, 64, 8191, 8192, 1 << 20, ShardId{1} << 62,
                                       largest};
    for (const ShardId id : present) grown.put(id);
    REQUIRE(grown.tree().size == present.size());
    REQUIRE(grown.tree().id_bound == largest + 1);
    for (const ShardId id : present) {
        REQUIRE(grown.tree().find(id) != nullptr);
        REQUIRE(grown.tree().find(id) == grown.tree().get(id));
        REQUIRE(grown.tree().find(id)->shard == id);
    }
    for (const ShardId id : {ShardId{2}, ShardId{62}, ShardId{65}, ShardId{8190}, ShardId{8193},
                             (ShardId{1} << 62) + 1, largest - 1, largest + 1})
        REQUIRE(grown.tree().find(id) == nullptr);
}

TEST_CASE("seek finds the next shard across every boundary") {
    Grown grown;
    grown.put({5, 63, 64, 8191, 8192, 1 << 20, ShardId{1} << 62, (ShardId{3} << 62) | 9, largest});
    REQUIRE(grown.walk(0) == std::vector<ShardId>{5, 63, 64, 8191, 8192, 1 << 20, ShardId{1} << 62,
                                                  (ShardId{3} << 62) | 9, largest});
    REQUIRE(grown.walk(6).front() == 63);
    REQUIRE(grown.walk(65).front() == 8191);
    REQUIRE(grown.walk(8193).front() == 1 << 20);
    REQUIRE(grown.walk((1 << 20) + 1).front() == ShardId{1} << 62);
    REQUIRE(grown.walk(largest) == std::vector<ShardId>{largest});
    REQUIRE(grown.walk(largest + 1).empty());
}

TEST_CASE("the leaf behind another is the next one, whether or not the id is its last") {
    Grown grown;
    grown.put({0, 63, 64, 200, 8191, 8192, 1 << 20});
    const auto behind = [&](ShardId id) { return grown.tree().leaf_behind(id); };
    for (const ShardId id : {ShardId{0}, ShardId{5}, ShardId{63}}) {
        REQUIRE(behind(id) != nullptr);
        REQUIRE(behind(id)->child[0] == grown.tree().find(64));
    }
    REQUIRE(behind(130)->child[leaf_index(200)] == grown.tree().find(200));
    REQUIRE(behind(8191)->child[0] == grown.tree().find(8192));
    REQUIRE(behind(64) == nullptr);            // a gap of a leaf
    REQUIRE(behind(64 * 128 * 2) == nullptr);  // and of a subtree
    REQUIRE(behind(1 << 20) == nullptr);       // the last one
    REQUIRE(behind((1 << 20) - 1) != nullptr); // just before it
    REQUIRE(behind(largest) == nullptr);

    Grown full; // nothing but its leaves
    for (ShardId id = 0; id < leaf_width; ++id) full.put(id);
    REQUIRE(full.tree().leaf_behind(0) == nullptr);
    full.put(leaf_width);
    REQUIRE(full.tree().leaf_behind(0)->child[0] == full.tree().find(leaf_width));
}

TEST_CASE("the first child is looked for within the node") {
    Row row;
    REQUIRE(ShardTree<ShardId>::first_child(row, 0) == 3);
    REQUIRE(ShardTree<ShardId>::first_child(row, 3) == 3);
    const int shard = 0;
    row.child[2] = &shard;
    REQUIRE(ShardTree<ShardId>::first_child(row, 0) == 2);
    REQUIRE(ShardTree<ShardId>::first_child(row, 2) == 2);
}

TEST_CASE("seek agrees with a sorted set") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 30; ++round) {
        Grown grown;
        std::set<ShardId> ids;
        for (int i = 0; i < 60; ++i) {
            const ShardId id = (random() >> (random() % 64)) & largest;
            if (ids.insert(id).second) grown.put(id);
        }
        REQUIRE(grown.walk(0) == std::vector<ShardId>(ids.begin(), ids.end()));
        for (int i = 0; i < 50; ++i) {
            const ShardId from = random() >> (random() % 64);
            const auto expected = ids.lower_bound(from);
            ShardId id = from;
            const auto* leaf = grown.tree().seek(id);
            REQUIRE((leaf == nullptr) == (expected == ids.end()));
            if (leaf == nullptr) continue;
            REQUIRE(id == *expected);
            REQUIRE(leaf->child[leaf_index(id)] == grown.tree().find(id));
        }
    }
}
