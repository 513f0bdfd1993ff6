#include <cowindex/detail/object_store.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"

using namespace cowindex::detail;

namespace {

using Allocator = test::CountingAllocator<std::byte>;
using Pool = NodePool<int, Allocator>;

struct alignas(256) Wide {
    explicit Wide(bool fail) {
        if (fail) throw std::runtime_error("no");
    }
    char character = 'w';
};

struct NoAssign {};
struct Assign {
    static void assign(int& retired, const int& shard) { retired = shard; }
};
struct AssignToCopy {
    static void assign(int, const int&) noexcept {}
};
struct AssignToConstant {
    static void assign(const int&, const int&) {}
};
struct AssignToPointer {
    static void assign(int*, const int&) {}
};
struct AssignToAny {
    static void assign(auto&& retired, const auto& shard) { retired = shard; }
};
struct AssignOther {
    static void assign(Wide&, const Wide&) {}
};

} // namespace

TEST_CASE("objects are made and freed through the allocator, with their alignment") {
    test::AllocationAccount account;
    const Allocator allocator(account);
    Wide* wide = make_object<Wide>(allocator, false);
    REQUIRE(reinterpret_cast<std::uintptr_t>(wide) % 256 == 0);
    REQUIRE(account.live_bytes == sizeof(Wide));
    destroy_object(allocator, wide);
    REQUIRE(account.live_bytes == 0);
    REQUIRE_FALSE(account.mismatched);
}

TEST_CASE("a constructor that throws gives its memory back") {
    test::AllocationAccount account;
    REQUIRE_THROWS_AS(make_object<Wide>(Allocator(account), true), std::runtime_error);
    REQUIRE(account.live_bytes == 0);
    REQUIRE(account.allocations == 1);
}

TEST_CASE("objects know their bytes and their kind") {
    ShardBox<int> box([] { return 7; });
    REQUIRE(box.shard == 7);
    REQUIRE_FALSE(box.is_node());
    REQUIRE(box.bytes() == sizeof(ShardBox<int>));
    box.set_bytes(12345);
    REQUIRE(box.bytes() == 12345);
    REQUIRE_FALSE(box.is_node());
    REQUIRE(box_overhead<int> + sizeof(int) == sizeof(ShardBox<int>));
    const Leaf<int> leaf;
    REQUIRE(leaf.is_node());
    REQUIRE(leaf.bytes() == sizeof(Leaf<int>));
    const Inner inner;
    REQUIRE(inner.is_node());
    REQUIRE(inner.bytes() == sizeof(Inner));
    REQUIRE(inner.birth == unborn);
}

TEST_CASE("up to 32 retired shards of up to 256 KiB are kept") {
    using Box = ShardBox<int>;
    test::AllocationAccount account;
    const Allocator allocator(account);
    {
        SparePool<Box, Allocator> pool(allocator);
        const auto box_of = [&](std::size_t bytes) {
            Box* box = make_object<Box>(allocator, [] { return 1; });
            box->set_bytes(bytes);
            return box;
        };
        constexpr std::size_t most = std::size_t{256} << 10;
        Box* more = box_of(1001);
        SECTION("bytes") {
            REQUIRE(pool.give_if_room(box_of(most - 1000)));
            REQUIRE_FALSE(pool.give_if_room(more));
            more->set_bytes(1000);
        }
        SECTION("shards") {
            for (int i = 0; i < 32; ++i) REQUIRE(pool.give_if_room(box_of(1)));
            REQUIRE_FALSE(pool.give_if_room(more));
            destroy_object(allocator, pool.take());
        }
        REQUIRE(pool.give_if_room(more));
    }
    REQUIRE(account.live_bytes == 0);
}

TEST_CASE("a pool reserves what is missing and hands it out") {
    test::AllocationAccount account;
    Pool pool{Allocator(account)};
    pool.reserve({3, 2});
    REQUIRE(account.allocations == 5);
    REQUIRE(pool.holds({3, 2}));
    REQUIRE_FALSE(pool.holds({4, 2}));
    REQUIRE_FALSE(pool.holds({3, 3}));
    REQUIRE(pool.bytes() == account.live_bytes);
    pool.reserve({2, 2});
    REQUIRE(account.allocations == 5);

    Node* leaf = pool.take_leaf();
    Node* inner = pool.take_inner(4);
    REQUIRE(leaf->level == 0);
    REQUIRE(inner->level == 4);
    REQUIRE(pool.holds({2, 1}));
    REQUIRE_FALSE(pool.holds({3, 1}));
    REQUIRE(pool.bytes() == 2 * sizeof(Leaf<int>) + sizeof(Inner));
    pool.give(leaf);
    pool.give(inner);
    REQUIRE(pool.holds({3, 2}));
    pool.trim({1, 0});
    REQUIRE_FALSE(pool.holds({2, 0}));
    REQUIRE(account.live_bytes == sizeof(Leaf<int>));
    REQUIRE(pool.bytes() == account.live_bytes);
}

TEST_CASE("a pool keeps of each kind what a commit of the size it was fitted to takes") {
    test::AllocationAccount account;
    const Allocator allocator(account);
    Pool pool{allocator};
    const auto kept = [&](auto make) {
        for (std::size_t n = 0;; ++n) {
            Node* node = make();
            if (pool.give_if_room(node)) continue;
            cowindex::detail::destroy_node<int>(allocator, node);
            return n;
        }
    };
    const auto leaves = [&] { return cowindex::detail::make_object<Leaf<int>>(allocator); };
    const auto inners = [&] { return cowindex::detail::make_object<Inner>(allocator); };
    pool.fit({50, 1}, 32);
    REQUIRE(kept(leaves) == 50);
    REQUIRE(kept(inners) == 32);
    pool.fit({1, 50}, 32);
    REQUIRE(pool.stock().leaves == 32);
    REQUIRE(kept(leaves) == 0);
    REQUIRE(kept(inners) == 18);
    pool.fit({1, 1}, 60); // as many of each kind anyway
    REQUIRE(kept(leaves) == 28);
    REQUIRE(kept(inners) == 10);
    pool.fit({1, 1}, 60);
    REQUIRE(pool.stock().leaves == 60);
    pool.fit({1, 1}, 32);
    REQUIRE(pool.stock().leaves == 32);
    REQUIRE(pool.stock().inners == 32);
    pool.reserve({50, 0});
    pool.fit({1, 1}, 32); // already fitted to that
    REQUIRE(pool.stock().leaves == 32);
    pool.reserve({0, 50});
    pool.fit({1, 1}, 32);
    REQUIRE(pool.stock().inners == 32);
    pool.reserve({50, 50});
    pool.fit({1, 1}, 32);
    REQUIRE(pool.stock().leaves == 32);
    REQUIRE(pool.stock().inners == 32);
    pool.fit({1, 1}, 100'000); // within bounds
    REQUIRE(kept(leaves) == 2048 - 32);
}

TEST_CASE("reserving that fails leaves the pool as it was") {
    test::AllocationAccount account;
    Pool pool{Allocator(account)};
    pool.reserve({1, 1});
    const std::size_t bytes = account.live_bytes;
    for (std::uint64_t fail = 0; fail < 9; ++fail) {
        account.refuse_from = account.allocations + fail;
        REQUIRE_THROWS_AS(pool.reserve({6, 6}), std::bad_alloc);
        account.refuse_from = ~std::uint64_t{0};
        REQUIRE(account.live_bytes == bytes);
        REQUIRE(pool.bytes() == bytes);
        REQUIRE(pool.holds({1, 1}));
    }
}

TEST_CASE(
    "a pool that keeps running out of leaves gets more at a time, and fewer after a failure") {
    test::AllocationAccount account;
    Pool pool{Allocator(account)};
    const auto leaves_for_one = [&] {
        pool.trim({});
        pool.reserve({1, 0});
        return pool.stock().leaves;
    };
    for (const std::size_t leaves : {1U, 2U, 4U, 8U, 16U, 32U, 32U}) {
        REQUIRE(leaves_for_one() == leaves);
        pool.reserve({leaves, leaves}); // inner nodes alone
        REQUIRE(pool.stock().leaves == leaves);
        REQUIRE(pool.stock().inners == leaves);
    }
    pool.trim({});
    pool.reserve({40, 0}); // never more than 32 beyond what is needed
    REQUIRE(pool.stock().leaves == 40);
    pool.trim({});
    account.refuse_from = account.allocations + 1;
    account.refuse_until = account.refuse_from + 1;
    REQUIRE_THROWS_AS(pool.reserve({1, 0}), std::bad_alloc);
    REQUIRE(pool.stock().leaves == 0);
    REQUIRE(leaves_for_one() == 1);
    REQUIRE(leaves_for_one() == 2);
}

TEST_CASE("a pool keeps about as much as the last commit took, within bounds") {
    test::AllocationAccount account;
    Pool pool{Allocator(account)};
    pool.reserve({5000, 5000});
    pool.fit({100, 1}, 32);
    REQUIRE(pool.holds({100, 1}));
    REQUIRE_FALSE(pool.holds({101, 0}));
    pool.fit({1, 50}, 32);
    pool.reserve({0, 5000});
    pool.fit({1, 50}, 32);
    REQUIRE(pool.holds({1, 50}));
    REQUIRE_FALSE(pool.holds({0, 51}));
    pool.reserve({5000, 0});
    pool.fit({1000000, 0}, 32);
    REQUIRE_FALSE(pool.holds({4999, 0}));
    pool.fit({0, 0}, 32);
    REQUIRE(pool.bytes() > 0);
    // Full: a node that is offered is refused.
    Node* node = make_object<Leaf<int>>(Allocator(account));
    REQUIRE_FALSE(pool.give_if_room(node));
    REQUIRE(pool.give_if_room(pool.take_leaf()));
    destroy_node<int>(Allocator(account), node);
    node = make_object<Inner>(Allocator(account));
    REQUIRE_FALSE(pool.give_if_room(node));
    REQUIRE(pool.give_if_room(pool.take_inner(1)));
    destroy_node<int>(Allocator(account), node);
}

TEST_CASE("a pool frees what it holds") {
    test::AllocationAccount account;
    {
        Pool pool{Allocator(account)};
        pool.reserve({10, 10});
    }
    REQUIRE(account.live_bytes == 0);
    REQUIRE(account.live_objects == 0);
}

TEST_CASE("a pool of memory for shards hands out what it was given, and no more than it may keep") {
    using Box = ShardBox<Wide>;
    test::AllocationAccount account;
    {
        BoxPool<Box, Allocator> pool{Allocator(account)};
        std::vector<Box*> boxes;
        for (int i = 0; i < 100; ++i) boxes.push_back(pool.take());
        REQUIRE(account.live_objects == 100);
        std::sort(boxes.begin(), boxes.end());
        REQUIRE(std::adjacent_find(boxes.begin(), boxes.end()) == boxes.end());
        REQUIRE(pool.bytes() == 0);

        for (Box* box : boxes) pool.give(box);
        REQUIRE(pool.bytes() == account.live_bytes);
        REQUIRE(account.live_objects <= 32);
        const auto kept = account.live_objects;
#if !defined(COWINDEX_ADDRESS_SANITIZER)
        REQUIRE(kept > 0);
#endif
        const auto allocations = account.allocations;
        std::vector<Box*> again;
        for (std::size_t i = 0; i < kept; ++i) again.push_back(pool.take());
        REQUIRE(account.allocations == allocations);
        REQUIRE(pool.bytes() == 0);
        for (Box* box : again) {
            REQUIRE(std::binary_search(boxes.begin(), boxes.end(), box));
            REQUIRE(reinterpret_cast<std::uintptr_t>(box) % alignof(Box) == 0);
            pool.give(box);
        }
    }
    REQUIRE(account.live_bytes == 0);
    REQUIRE_FALSE(account.mismatched);
}

#if !defined(COWINDEX_ADDRESS_SANITIZER)
TEST_CASE("a pool of memory for shards keeps as many as it was fitted to") {
    using Box = ShardBox<int>;
    test::AllocationAccount account;
    BoxPool<Box, Allocator> pool{Allocator(account)};
    const auto offer = [&](int count) {
        std::vector<Box*> boxes;
        for (int i = 0; i < count; ++i)
            boxes.push_back(cowindex::detail::allocate_one<Box>(Allocator(account)));
        for (Box* box : boxes) pool.give(box);
        REQUIRE(pool.bytes() == account.live_bytes);
        return account.live_objects;
    };
    REQUIRE(offer(100) == 32);
    pool.fit(32);
    REQUIRE(offer(1) == 32);
    pool.fit(100);
    REQUIRE(account.live_objects == 32);
    REQUIRE(offer(100) == 100);
    pool.fit(100);
    REQUIRE(account.live_objects == 100);
    pool.fit(40);
    REQUIRE(account.live_objects == 40);
    REQUIRE(offer(10) == 40);
    pool.fit(1'000'000);
    REQUIRE(offer(20'000) == (128 << 10) / sizeof(Box)); // within bounds
    pool.fit(32);
    REQUIRE(account.live_objects == 32);
}
#endif

TEST_CASE("a pool of memory for shards is bounded by bytes where they are large") {
    struct Large {
        char bytes[50000];
    };
    using Box = ShardBox<Large>;
    test::AllocationAccount account;
    BoxPool<Box, Allocator> pool{Allocator(account)};
    std::vector<Box*> boxes;
    for (int i = 0; i < 10; ++i) boxes.push_back(pool.take());
    for (Box* box : boxes) pool.give(box);
    REQUIRE(account.live_bytes <= 128 * 1024);
    REQUIRE(pool.bytes() == account.live_bytes);
}

TEST_CASE("an assign() that would change nothing is known") {
    REQUIRE(assign_is_right<int, NoAssign>());
    REQUIRE(assign_is_right<int, Assign>());
    REQUIRE(assign_is_right<int, AssignToAny>());
    REQUIRE_FALSE(assign_is_right<int, AssignToCopy>());
    REQUIRE_FALSE(assign_is_right<int, AssignToConstant>());
    REQUIRE_FALSE(assign_is_right<int, AssignToPointer>());
    REQUIRE_FALSE(assign_is_right<int, AssignOther>());
}
