#include <cowindex/detail/initial_tree.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include <cowindex/policy.hpp>

using namespace cowindex::detail;
using cowindex::ShardId;

namespace {

int alive = 0;

// Counts itself, and says how large it is.
struct Shard {
    explicit Shard(ShardId its_id) : id(its_id) { ++alive; }
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;
    ~Shard() { --alive; }
    std::size_t memory_usage() const {
        if (id == unmeasurable) throw std::runtime_error("no size");
        return 100 + id % 3;
    }

    static inline ShardId unmeasurable = ~ShardId{0};
    ShardId id;
};

struct Policy : cowindex::DefaultPolicy<Shard> {
    using Allocator = test::CountingAllocator<std::byte>;
};
using Initial = InitialTree<Shard, Policy>;
constexpr auto make = [](ShardId id) { return Shard(id); };
constexpr ShardId first_inner = leaf_width * inner_width;

// Walks a tree, frees it, and returns the bytes of its nodes.
std::size_t check_and_free(Node* node, unsigned level, std::vector<ShardId>& ids) {
    REQUIRE(node->level == level);
    REQUIRE(node->birth == 7);
    REQUIRE(node->used == node->extent);
    REQUIRE(node->used > 0);
    std::size_t bytes = node->bytes();
    for (std::size_t i = 0; i < node->used; ++i)
        if (level > 0) {
            bytes += check_and_free(static_cast<Inner*>(node)->child[i], level - 1, ids);
        } else {
            auto* box = static_cast<Leaf<Shard>*>(node)->child[i];
            REQUIRE(box->birth == 7);
            REQUIRE(box->bytes() == sizeof(*box) + 100 + box->shard.id % 3);
            ids.push_back(box->shard.id);
            destroy_object(Policy::Allocator(), box);
        }
    destroy_node<Shard>(Policy::Allocator(), node);
    return bytes;
}

} // namespace

TEST_CASE("an initial tree maps each id to the shard that was made for it") {
    for (const ShardId count :
         {ShardId{1}, ShardId{leaf_width}, ShardId{leaf_width + 1}, ShardId{leaf_width * 2},
          first_inner, first_inner + 1, first_inner * 3 + 5}) {
        Initial initial({}, 7);
        initial.fill(count, make);
        REQUIRE(alive == static_cast<int>(count));
        const std::size_t node_bytes = initial.node_bytes();
        std::size_t shard_bytes = 0;
        const auto tree = initial.release();
        REQUIRE(tree.size == count);
        REQUIRE(tree.id_bound == count);
        REQUIRE(tree.height == height_for(count - 1));
        for (ShardId id = 0; id < count; ++id) {
            REQUIRE(tree.get(id)->shard.id == id);
            shard_bytes += tree.get(id)->bytes();
        }
        REQUIRE(initial.shard_bytes() == shard_bytes);
        std::vector<ShardId> ids;
        REQUIRE(check_and_free(tree.root, tree.height, ids) == node_bytes);
        REQUIRE(ids.size() == count);
        REQUIRE(alive == 0);
    }
}

TEST_CASE("an initial tree of nothing is empty") {
    Initial initial({}, 7);
    initial.fill(0, make);
    const auto tree = initial.release();
    REQUIRE(tree.root == nullptr);
    REQUIRE(tree.size == 0);
    REQUIRE(tree.id_bound == 0);
}

TEST_CASE("a shard that cannot be made or measured leaves nothing behind") {
    for (const ShardId failing : {ShardId{0}, ShardId{63}, ShardId{64}, first_inner + 9}) {
        {
            Initial initial({}, 7);
            REQUIRE_THROWS_AS(initial.fill(first_inner + 10,
                                           [&](ShardId id) {
                                               if (id == failing) throw std::bad_alloc();
                                               return Shard(id);
                                           }),
                              std::bad_alloc);
            REQUIRE(alive == static_cast<int>(failing));
        }
        REQUIRE(alive == 0);
        Shard::unmeasurable = failing;
        {
            Initial initial({}, 7);
            REQUIRE_THROWS_AS(initial.fill(first_inner + 10, make), std::runtime_error);
        }
        REQUIRE(alive == 0);
        REQUIRE(Policy::Allocator::common().live_bytes == 0);
        Shard::unmeasurable = ~ShardId{0};
    }
}

namespace {

// Has memory for so many objects.
template <class T>
struct ScarceAllocator {
    using value_type = T;
    ScarceAllocator() = default;
    template <class U>
    ScarceAllocator(const ScarceAllocator<U>&) noexcept {}
    T* allocate(std::size_t n) {
        if (ScarceAllocator<int>::left-- == 0) throw std::bad_alloc();
        ++ScarceAllocator<int>::in_use;
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* memory, std::size_t n) noexcept {
        --ScarceAllocator<int>::in_use;
        std::allocator<T>().deallocate(memory, n);
    }
    friend bool operator==(const ScarceAllocator&, const ScarceAllocator&) { return true; }
    static inline int left = 0;
    static inline int in_use = 0;
};

struct ScarcePolicy : cowindex::DefaultPolicy<Shard> {
    using Allocator = ScarceAllocator<std::byte>;
};

} // namespace

TEST_CASE("an initial tree whose memory runs out at any object leaves nothing behind") {
    using Scarce = ScarceAllocator<int>;
    constexpr ShardId count = 2 * leaf_width + 1; // three leaves below an inner node
    constexpr int objects = static_cast<int>(count) + 4;
    for (int enough_for = 0; enough_for < objects; ++enough_for) {
        Scarce::left = enough_for;
        {
            InitialTree<Shard, ScarcePolicy> initial({}, 7);
            REQUIRE_THROWS_AS(initial.fill(count, make), std::bad_alloc);
            REQUIRE(Scarce::in_use == enough_for);
        }
        REQUIRE(Scarce::in_use == 0);
        REQUIRE(alive == 0);
    }
    Scarce::left = objects;
    {
        InitialTree<Shard, ScarcePolicy> initial({}, 7);
        initial.fill(count, make);
        REQUIRE(Scarce::in_use == objects);
    }
    REQUIRE(Scarce::in_use == 0);
}

TEST_CASE("the leaves below an inner node are made together, before their shards") {
    using Scarce = ScarceAllocator<int>;
    Scarce::left = 1'000'000;
    InitialTree<Shard, ScarcePolicy> initial({}, 7);
    constexpr int leaves = static_cast<int>(inner_width);
    initial.fill(first_inner + 1, [&](ShardId id) {
        // The root, its two children, the leaves of the first or of both of them, and memory for
        // each shard up to this one.
        if (id == 0) REQUIRE(Scarce::in_use == 3 + leaves + 1);
        if (id == first_inner)
            REQUIRE(Scarce::in_use == 3 + leaves + 1 + static_cast<int>(first_inner) + 1);
        return Shard(id);
    });
}
