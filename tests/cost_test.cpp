// What a commit costs, counted: clones, nodes and allocations, never time.

#include <cstdint>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/faults.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using cowindex::detail::inner_width;
using cowindex::detail::leaf_width;

namespace {

struct Counted {
    static inline std::uint64_t copies = 0;
    static inline std::uint64_t moves = 0;
    static inline std::uint64_t destroyed = 0;
    static inline std::uint64_t measured = 0;

    Counted() = default;
    Counted(const Counted& other) : value(other.value) { ++copies; }
    Counted(Counted&& other) noexcept : value(other.value) { ++moves; }
    Counted& operator=(const Counted&) = delete;
    ~Counted() { ++destroyed; }

    int value = 0;
};

struct CountedPolicy : cowindex::DefaultPolicy<Counted> {
    using Allocator = test::CountingAllocator<std::byte>;
    static std::size_t bytes(const Counted&) {
        ++Counted::measured;
        return sizeof(Counted);
    }
};
using Index = cowindex::CowIndex<Counted, CountedPolicy>;

std::size_t height_of(const Index& index) {
    return test::TestAccess::tree(index.snapshot()).height;
}

// The nodes and shards that one commit makes and retires.
std::size_t bytes_of_one_commit(Index& index, ShardId id) {
    auto writer = index.writer();
    writer.edit(id).value = 1;
    const std::size_t bytes = writer.memory_overhead();
    writer.commit();
    return bytes;
}

constexpr std::size_t box = sizeof(cowindex::detail::ShardBox<Counted>);
constexpr std::size_t leaf = sizeof(cowindex::detail::Leaf<Counted>);
constexpr std::size_t inner = sizeof(cowindex::detail::Inner);

} // namespace

TEST_CASE("a commit of one shard copies one path, whatever the number of shards") {
    constexpr std::size_t two_levels = leaf_width * inner_width; // the most below one inner node
    const std::pair<std::size_t, std::size_t> sizes[] = {
        {1, 0},
        {leaf_width - 1, 0},
        {leaf_width, 0},
        {leaf_width + 1, 1},
        {two_levels - 1, 1},
        {two_levels, 1},
        {two_levels + 1, 2},
        {3 * two_levels, 2},
    };
    for (const auto& [count, height] : sizes) {
        CAPTURE(count);
        Index index(count);
        REQUIRE(height_of(index) == height);
        for (const ShardId id : {ShardId{0}, ShardId{count / 2}, ShardId{count - 1}}) {
            REQUIRE(bytes_of_one_commit(index, id) == box + leaf + height * inner);
        }
        REQUIRE(index.append(Counted()) == count);
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("appending one shard at a height boundary adds one level") {
    for (const std::size_t full : {leaf_width, leaf_width * inner_width}) {
        Index index(full);
        const std::size_t height = height_of(index);
        const auto old = index.snapshot();
        index.append(Counted());
        REQUIRE(height_of(index) == height + 1);
        REQUIRE(index.size() == full + 1);
        REQUIRE(old.size() == full);
        REQUIRE_FALSE(old.contains(full));
        REQUIRE(index.snapshot().contains(full));
        REQUIRE(index.snapshot().contains(full - 1));
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("a batch copies each node once") {
    Index index(leaf_width * 4);
    auto writer = index.writer();
    for (ShardId id = 0; id < leaf_width; ++id) writer.edit(id).value = 1;
    REQUIRE(writer.memory_overhead() == leaf_width * box + leaf + inner);
    writer.edit(leaf_width).value = 1;
    REQUIRE(writer.memory_overhead() == (leaf_width + 1) * box + 2 * leaf + inner);
    writer.commit();
    REQUIRE(writer.memory_overhead() == 0);
}

TEST_CASE("only the first touch of a shard clones it") {
    Index index(100);
    Counted::copies = 0;
    auto writer = index.writer();
    REQUIRE(Counted::copies == 0);
    for (int i = 0; i < 10; ++i) writer.edit(5).value = i;
    static_cast<void>(writer[6]);
    static_cast<void>(writer.at(7));
    for (const Counted& shard : writer) static_cast<void>(shard);
    REQUIRE(Counted::copies == 1);
    writer.commit();
    writer.edit(5).value = 10;
    REQUIRE(Counted::copies == 2);
    writer.replace(6, Counted());
    writer.emplace(7);
    writer.append(Counted());
    writer.erase(8);
    writer.require(9);
    writer.commit();
    REQUIRE(Counted::copies == 2);
    REQUIRE(index.metrics().clone_operations == 2);
    REQUIRE(index.metrics().bytes_cloned == 2 * sizeof(Counted));
}

TEST_CASE("a commit by replay and a rebase clone nothing again") {
    Index index(1000);
    auto writer = index.writer();
    for (ShardId id = 0; id < 20; ++id) writer.edit(id * 10).value = 1;
    Counted::copies = 0;
    Counted::moves = 0;
    index.replace(999, Counted());
    const std::uint64_t moved = Counted::moves;
    writer.rebase();
    index.append(Counted());
    writer.commit();
    REQUIRE(Counted::copies == 0);
    REQUIRE(Counted::moves <= moved + 2);
    for (ShardId id = 0; id < 20; ++id) REQUIRE(index.snapshot()[id * 10].value == 1);
}

TEST_CASE("the policy measures each committed shard once") {
    Index index(100);
    auto writer = index.writer();
    Counted::measured = 0;
    writer.edit(1).value = 1;
    writer.edit(1).value = 2;
    writer.edit(2).value = 1;
    writer.erase(3);
    REQUIRE(Counted::measured == 0);
    writer.commit();
    REQUIRE(Counted::measured == 2);
}

TEST_CASE("reading clones nothing, allocates nothing") {
    Index index(5000);
    auto reader = index.reader();
    int sum = 0;
    index.read([&](const Index::View& view) { sum += view[1].value; }); // the slot is lent now
    Counted::copies = 0;
    const std::uint64_t allocations = test::Faults::allocations;
    for (int i = 0; i < 100; ++i) {
        const auto view = reader.pin();
        const auto nested = reader.pin();
        const auto snapshot = index.snapshot();
        const auto promoted = view.snapshot();
        const auto copy = snapshot;
        const auto shared = copy.share(3);
        for (const Counted& shard : view) sum += shard.value;
        for (const auto item : snapshot.items()) sum += item.shard.value;
        for (const Counted& shard : nested.range(100, 200)) sum += shard.value;
        sum += promoted.at(7).value + view.find(8)->value + shared->value;
        index.read([&](const Index::View& borrowed) { sum += borrowed[1].value; });
        sum += static_cast<int>(index.version() + index.size() + index.active_readers());
    }
    REQUIRE(test::Faults::allocations == allocations);
    REQUIRE(Counted::copies == 0);
    REQUIRE(sum > 0);
}

TEST_CASE("commits in a steady state allocate next to nothing") {
    Index index(100000);
    const auto commit_one = [&](ShardId id) {
        index.update([&](Index::Writer& writer) { writer.edit(id).value += 1; });
    };
    for (ShardId id = 0; id < 1000; ++id) commit_one(id * 97);
    const std::uint64_t allocations = test::Faults::allocations;
    for (ShardId id = 0; id < 1000; ++id) commit_one(id * 89);
#if defined(COWINDEX_ADDRESS_SANITIZER)
    REQUIRE(test::Faults::allocations <=
            allocations + 1000); // fewer where memory is pooled // it is to see each shard freed
#else
    REQUIRE(test::Faults::allocations <= allocations + 32); // nodes that a first leaf needs
#endif

    // Also with a writer that stays open, and with a reader about.
    auto writer = index.writer();
    auto reader = index.reader();
    for (ShardId id = 0; id < 2000; ++id) {
        static_cast<void>(reader.pin());
        writer.edit(id * 31).value += 1;
        writer.commit();
    }
    const std::uint64_t before = test::Faults::allocations;
    for (ShardId id = 0; id < 2000; ++id) {
        static_cast<void>(reader.pin());
        writer.edit(id * 37).value += 1;
        writer.commit();
    }
    // Versions wait for a barrier in groups, so some of their nodes go round by the allocator.
    const std::uint64_t per_commit_rounded_up = (test::Faults::allocations - before + 1999) / 2000;
    REQUIRE(per_commit_rounded_up <= 5);
}

TEST_CASE("opening, requiring and dropping writers costs no clone and, once, no allocation") {
    Index index(1000);
    for (int i = 0; i < 3; ++i) index.writer().discard();
    Counted::copies = 0;
    std::size_t overhead = 0;
    const std::uint64_t allocations = test::Faults::allocations;
    for (int i = 0; i < 100; ++i) {
        auto writer = index.writer();
        writer.require_all();
        overhead += writer.memory_overhead() + writer.modified_count();
    }
    REQUIRE(test::Faults::allocations == allocations);
    REQUIRE(Counted::copies == 0);
    REQUIRE(overhead == 0);
}

TEST_CASE("every shard is destroyed exactly once") {
    std::uint64_t made = 0;
    {
        Counted::copies = Counted::moves = Counted::destroyed = 0;
        Index index(500, [&](ShardId) {
            ++made;
            return Counted();
        });
        const auto keep = index.snapshot();
        for (ShardId id = 0; id < 500; id += 3)
            index.edit(id, [](Counted& shard) { shard.value = 1; });
        index.erase(1);
        index.reclaim();
    }
    REQUIRE(Counted::destroyed == made + Counted::copies + Counted::moves);
}
