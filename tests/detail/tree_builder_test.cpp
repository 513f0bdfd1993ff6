#include <cowindex/detail/tree_builder.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "support/catch.hpp"

using namespace cowindex::detail;
using cowindex::ShardId;
using cowindex::Version;

namespace {

using Allocator = std::allocator<std::byte>;
using Box = ShardBox<int>;
using Tree = ShardTree<int>;
using Builder = TreeBuilder<int, Allocator>;
using Pool = NodePool<int, Allocator>;

// Published trees, and whatever was retired from them.
struct Trees {
    Trees() : pool(Allocator()) {}
    ~Trees() {
        for (Node* node : retired) destroy_node<int>(Allocator(), node);
        destroy(tree.root);
    }
    Trees(const Trees&) = delete;
    Trees& operator=(const Trees&) = delete;

    static void destroy(Node* node) {
        if (node == nullptr) return;
        if (node->level > 0)
            for (Node* child : static_cast<Inner*>(node)->child) destroy(child);
        destroy_node<int>(Allocator(), node);
    }

    Box* box(int value) {
        boxes.push_back(std::make_unique<Box>([&] { return value; }));
        return boxes.back().get();
    }

    // Publishes what `builder` holds. Returns how many nodes it took.
    std::size_t publish(Builder& builder) {
        const std::size_t bytes = builder.own_bytes();
        tree = builder.tree();
        const std::size_t kept =
            builder.publish(++version, [&](Node* node) { retired.push_back(node); });
        REQUIRE(kept <= bytes);
        builder.restart(tree);
        return kept;
    }

    Pool pool;
    Tree tree;
    Version version = 0;
    std::vector<Node*> retired;
    std::vector<std::unique_ptr<Box>> boxes;
};

std::size_t count_stock(Pool& pool) { return pool.bytes(); }

} // namespace

TEST_CASE("a builder takes exactly the nodes that it said it needs") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    std::mt19937_64 random(3);
    for (int i = 0; i < 400; ++i) {
        const ShardId id = random() >> (random() % 63 + 1);
        const NodeCount need = builder.need(id);
        const std::size_t before = builder.own_bytes();
        trees.pool.reserve(need);
        const std::size_t stock = count_stock(trees.pool);
        if (builder.tree().find(id) != nullptr && i % 2 == 0)
            builder.remove(id);
        else
            builder.put(id, trees.box(i));
        const std::size_t taken = need.leaves * sizeof(Leaf<int>) + need.inners * sizeof(Inner);
        REQUIRE(builder.own_bytes() - before == taken);
        const NodeCount own = builder.own_count();
        REQUIRE(builder.own_bytes() == own.leaves * sizeof(Leaf<int>) + own.inners * sizeof(Inner));
        REQUIRE(stock - count_stock(trees.pool) == taken);
        if (i % 50 == 49) trees.publish(builder);
    }
    trees.publish(builder);
}

TEST_CASE("a path that was found needs and takes the same as its id") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    for (const ShardId id : {ShardId{1}, ShardId{70}, ShardId{9000}}) {
        trees.pool.reserve(builder.need(id));
        builder.put(id, trees.box(1));
    }
    trees.publish(builder);
    Builder::Path path;
    REQUIRE(builder.find(2, path) == nullptr);
    REQUIRE(builder.find(1 << 20, path) == nullptr);
    REQUIRE(builder.find(70, path) == trees.tree.find(70));
    REQUIRE(builder.need(path).leaves == 1);
    REQUIRE(builder.need(path).inners == 2);
    trees.pool.reserve(builder.need(path));
    Box* box = trees.box(5);
    builder.put(70, path, box);
    REQUIRE(builder.tree().find(70) == box);
    REQUIRE(builder.tree().size == 3);
    REQUIRE(builder.find(70, path) == box);
    REQUIRE(builder.need(path).leaves == 0);
    REQUIRE(builder.need(path).inners == 0);
    trees.publish(builder);
}

TEST_CASE("the base is untouched, and each node on the path is retired once") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    for (ShardId id = 0; id < 200; ++id) {
        trees.pool.reserve(builder.need(id));
        builder.put(id, trees.box(static_cast<int>(id)));
    }
    trees.publish(builder);
    REQUIRE(trees.retired.empty());

    const Tree old = trees.tree;
    for (const ShardId id : {ShardId{0}, ShardId{1}, ShardId{70}}) {
        trees.pool.reserve(builder.need(id));
        builder.put(id, trees.box(-1));
    }
    REQUIRE(old.find(0)->shard == 0);
    REQUIRE(old.find(70)->shard == 70);
    REQUIRE(builder.tree().find(70)->shard == -1);
    REQUIRE(builder.tree().find(150) == old.find(150));
    trees.publish(builder);
    // Two leaves and the root.
    REQUIRE(trees.retired.size() == 3);
    REQUIRE(std::set<Node*>(trees.retired.begin(), trees.retired.end()).size() == 3);
    REQUIRE(std::count(trees.retired.begin(), trees.retired.end(), old.root) == 1);
}

TEST_CASE("nodes that erasing empties leave the tree") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    const auto put = [&](ShardId id) {
        trees.pool.reserve(builder.need(id));
        builder.put(id, trees.box(1));
    };
    const auto remove = [&](ShardId id) {
        trees.pool.reserve(builder.need(id));
        builder.remove(id);
    };
    put(1);
    put(ShardId{1} << 30);
    trees.publish(builder);
    remove(ShardId{1} << 30);
    REQUIRE(builder.tree().size == 1);
    REQUIRE(builder.tree().id_bound == (ShardId{1} << 30) + 1);
    const std::size_t kept = trees.publish(builder);
    REQUIRE(static_cast<Inner*>(trees.tree.root)->used == 1);
    REQUIRE(kept == sizeof(Inner)); // the root alone was copied and stays

    remove(1);
    REQUIRE(builder.tree().root == nullptr);
    REQUIRE(builder.tree().size == 0);
    REQUIRE(trees.publish(builder) == 0);
    put(5);
    REQUIRE(builder.tree().find(5) != nullptr);
    REQUIRE(builder.tree().find(1) == nullptr);
    trees.publish(builder);
    REQUIRE(trees.tree.size == 1);
}

TEST_CASE("what is discarded goes back to the pool, blank") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    for (ShardId id = 0; id < 64; ++id) {
        trees.pool.reserve(builder.need(id));
        builder.put(id, trees.box(1));
    }
    const std::size_t own = builder.own_bytes();
    const std::size_t stock = trees.pool.bytes();
    builder.restart(trees.tree);
    REQUIRE(builder.own_bytes() == 0);
    REQUIRE(trees.pool.bytes() == stock + own);
    // The leaf is used again: nothing of its former life shows.
    trees.pool.reserve(builder.need(3));
    builder.put(3, trees.box(7));
    for (ShardId id = 0; id < 64; ++id)
        REQUIRE((builder.tree().root == nullptr ||
                 static_cast<Leaf<int>*>(builder.tree().root)->child[id] != nullptr) == (id == 3));
    trees.publish(builder);
}

TEST_CASE("adopting takes over another builder's work") {
    Trees trees;
    Builder first(trees.tree, trees.pool);
    trees.pool.reserve(first.need(1));
    first.put(1, trees.box(1));
    {
        Builder second(trees.tree, trees.pool);
        trees.pool.reserve(second.need(2));
        second.put(2, trees.box(2));
        first.adopt(second);
    }
    REQUIRE(first.tree().find(1) == nullptr);
    REQUIRE(first.tree().find(2) != nullptr);
    REQUIRE(first.own_bytes() == sizeof(Leaf<int>));
    REQUIRE(first.own_count().leaves == 1);
    trees.publish(first);
}

TEST_CASE("nodes that were made and emptied again do not pile up") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    const auto put = [&](ShardId id) {
        trees.pool.reserve(builder.need(id));
        builder.put(id, trees.box(1));
    };
    for (ShardId id = 0; id < 64; ++id) put(id);
    int given_back = 0;
    for (int i = 0; i < 1000; ++i) { // a leaf of its own each time
        put(64 + static_cast<ShardId>(i) * 64);
        const std::size_t own = builder.own_bytes();
        const std::size_t all = own + trees.pool.bytes();
        builder.remove(64 + static_cast<ShardId>(i) * 64);
        given_back += builder.own_bytes() < own ? 1 : 0;
        REQUIRE(builder.own_bytes() + trees.pool.bytes() == all);
        REQUIRE(builder.own_count().leaves < 80);
    }
    // Many at a time: all own nodes are looked at for that.
    REQUIRE(given_back > 0);
    REQUIRE(given_back < 1000 / 16);
    // Not looked for while most nodes hold something.
    for (ShardId leaf = 2; leaf < 102; ++leaf) put(leaf * 64);
    for (ShardId leaf = 200; leaf < 236; ++leaf) {
        put(leaf * 64);
        builder.remove(leaf * 64);
    }
    REQUIRE(builder.own_count().leaves >= 137);
    put(64);
    trees.publish(builder);
    REQUIRE(trees.tree.size == 165);
    REQUIRE(trees.retired.empty());
}

TEST_CASE("nodes that were emptied are counted for each batch, and by whoever adopts it") {
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    const auto put = [&](Builder& to, ShardId id) {
        trees.pool.reserve(to.need(id));
        to.put(id, trees.box(1));
    };
    const auto make_empty = [&](Builder& in, ShardId leaves) {
        for (ShardId i = 1; i <= leaves; ++i) {
            put(in, 64 * i);
            in.remove(64 * i);
        }
    };
    put(builder, 0);
    make_empty(builder, 30);
    REQUIRE(builder.own_count().leaves == 31); // too few to be given back
    builder.restart(trees.tree);
    put(builder, 0);
    make_empty(builder, 30);
    REQUIRE(builder.own_count().leaves == 31);
    Builder adopting(trees.tree, trees.pool);
    adopting.adopt(builder);
    make_empty(adopting, 10);
    REQUIRE(adopting.own_count().leaves < 31);
}

TEST_CASE("a random history of trees is as a history of maps") {
    std::mt19937_64 random(11);
    Trees trees;
    Builder builder(trees.tree, trees.pool);
    std::map<ShardId, int> model;
    std::vector<std::pair<Tree, std::map<ShardId, int>>> versions;
    for (int i = 0; i < 3000; ++i) {
        const ShardId id = random() % 3 == 0 ? random() >> (1 + random() % 63) : random() % 300;
        trees.pool.reserve(builder.need(id));
        if (model.count(id) != 0 && random() % 2 == 0) {
            builder.remove(id);
            model.erase(id);
        } else {
            builder.put(id, trees.box(i));
            model[id] = i;
        }
        if (random() % 60 != 0) continue;
        trees.publish(builder);
        versions.emplace_back(trees.tree, model);
    }
    trees.publish(builder);
    for (const auto& [tree, expected] : versions) {
        std::map<ShardId, int> found;
        for (ShardId id = 0; tree.seek(id) != nullptr; ++id) found[id] = tree.get(id)->shard;
        REQUIRE(found == expected);
        REQUIRE(tree.size == expected.size());
    }
}

namespace {

// Three published leaves below one inner node, and a late put into the second of them.
struct Late {
    Late() : builder({}, trees.pool) {
        trees.pool.reserve({4, 4});
        for (const int id : {1, 2, 70, 150}) builder.put(static_cast<ShardId>(id), trees.box(id));
        trees.publish(builder);
        Builder::Path path;
        REQUIRE(builder.find(70, path) == before());
        trees.pool.reserve(builder.need(path));
        stock = trees.pool.bytes();
        builder.put_late(70, path, box);
    }
    Box* made(int value) const {
        return std::find_if(trees.boxes.begin(), trees.boxes.end(),
                            [&](const auto& one) { return one->shard == value; })
            ->get();
    }
    Box* before() const { return made(70); }

    Trees trees;
    Builder builder;
    std::size_t stock = 0;
    Box* box = trees.box(-1);
};

} // namespace

TEST_CASE("a late put copies nothing until the tree is asked for") {
    Late late;
    REQUIRE(late.builder.own_bytes() == 0);
    REQUIRE(late.trees.pool.bytes() == late.stock);
    REQUIRE_FALSE(late.builder.has_own());
    SECTION("by tree()") { REQUIRE(late.builder.tree().find(70) == late.box); }
    SECTION("by find()") {
        Builder::Path path;
        REQUIRE(late.builder.find(71, path) == nullptr);
        REQUIRE(late.builder.find(2, path) == late.made(2));
        REQUIRE(path.own == 1); // the root is, the leaf is not
        REQUIRE(late.builder.find(70, path) == late.box);
        REQUIRE(path.own == 2);
    }
    SECTION("by need()") {
        const NodeCount need = late.builder.need(2); // its leaf; the root is own by then
        REQUIRE(need.leaves == 1);
        REQUIRE(need.inners == 0);
    }
    REQUIRE(late.builder.own_bytes() == sizeof(Leaf<int>) + sizeof(Inner));
    REQUIRE(late.trees.pool.bytes() + late.builder.own_bytes() == late.stock);
    REQUIRE(late.builder.tree().find(70) == late.box);
    REQUIRE(late.builder.tree().find(1) == late.made(1));
    REQUIRE(late.trees.tree.find(70) == late.before()); // what was published is as it was
    REQUIRE_FALSE(late.builder.put_in_base(0));
    REQUIRE(late.trees.tree.find(70) == late.before());
    late.trees.publish(late.builder);
    REQUIRE(late.trees.tree.find(70) == late.box);
}

TEST_CASE("a late put can take its place in the base, and is over with that") {
    Late late;
    const Node* const root = late.trees.tree.root;
    REQUIRE(late.builder.put_in_base(0));
    REQUIRE_FALSE(late.builder.has_own());
    REQUIRE(late.trees.tree.find(70) == late.box);
    REQUIRE(late.trees.tree.root == root);
    REQUIRE_FALSE(late.builder.put_in_base(0));
    REQUIRE(late.builder.tree().root == root);
    REQUIRE(late.builder.own_bytes() == 0);
    int retired = 0;
    REQUIRE(late.builder.publish(9, [&](Node*) { ++retired; }) == 0);
    REQUIRE(retired == 0);
}

TEST_CASE("a late put stays out of a leaf that an older version has, too") {
    Late late;
    const Node* const root = late.trees.tree.root;
    const Node* const leaf = static_cast<const Inner*>(root)->child[1];
    const cowindex::Version birth = leaf->birth;
    Builder::Path path;
    REQUIRE(Builder(late.trees.tree, late.trees.pool).find(70, path) == late.before());
    REQUIRE(late.builder.is_leaf_born_since(path, 0));
    REQUIRE(late.builder.is_leaf_born_since(path, birth));
    REQUIRE_FALSE(late.builder.is_leaf_born_since(path, birth + 1));

    REQUIRE_FALSE(late.builder.put_in_base(birth + 1));
    REQUIRE(late.trees.tree.find(70) == late.before());
    REQUIRE_FALSE(late.builder.has_own()); // and is late still
    SECTION("but takes its place in one that only the base has") {
        REQUIRE(late.builder.put_in_base(birth));
        REQUIRE(late.trees.tree.root == root);
    }
    SECTION("and in a copy where the tree is asked for") {
        REQUIRE(late.builder.tree().find(70) == late.box);
        REQUIRE(late.trees.tree.find(70) == late.before());
        late.trees.publish(late.builder);
    }
    REQUIRE(late.trees.tree.find(70) == late.box);
}

TEST_CASE("a late put is forgotten where the builder starts again") {
    Late late;
    SECTION("from the same tree") {
        late.builder.restart(late.trees.tree);
        REQUIRE(late.builder.tree().find(70) == late.before());
    }
    SECTION("with what another has built") {
        Builder other(late.trees.tree, late.trees.pool);
        late.trees.pool.reserve(other.need(1));
        other.put(1, late.box);
        late.builder.adopt(other);
        REQUIRE(late.builder.tree().find(1) == late.box);
        REQUIRE(late.builder.tree().find(70) == late.before());
    }
    REQUIRE_FALSE(late.builder.put_in_base(0));
    REQUIRE(late.trees.tree.find(70) == late.before());
}
