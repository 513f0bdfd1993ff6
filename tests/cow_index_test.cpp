#include <cowindex/cow_index.hpp>
#include <cowindex/cowindex.hpp>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::CowIndex;
using cowindex::ShardId;

namespace {

struct alignas(256) Wide {
    int value = 0;
};

struct Immovable {
    explicit Immovable(ShardId id) : value(static_cast<int>(id)) {}
    Immovable(const Immovable&) = delete;
    Immovable& operator=(const Immovable&) = delete;
    int value;
};

template <class Handle>
concept Writes = requires(Handle& handle) { handle.writer(); } || requires(Handle& handle) {
    handle.append(1);
} || requires(Handle& handle) { handle.assign({}); };
template <class Handle>
concept Reclaims = requires(Handle& handle) { handle.reclaim(); };

struct WidePolicy : cowindex::DefaultPolicy<Wide> {
    using Allocator = test::CountingAllocator<std::byte>;
};

} // namespace

TEST_CASE("an index is made empty, of defaults, of copies, of a factory, of a vector") {
    REQUIRE(CowIndex<int>().empty());
    REQUIRE(CowIndex<int>().snapshot().id_bound() == 0);
    REQUIRE(CowIndex<int>(3).size() == 3);
    REQUIRE(CowIndex<int>(3).snapshot()[2] == 0);
    REQUIRE(CowIndex<std::string>(3, "x").snapshot()[2] == "x");
    const CowIndex<int> squares(4, [](ShardId id) { return static_cast<int>(id * id); });
    REQUIRE(squares.snapshot()[3] == 9);
    std::vector<std::unique_ptr<int>> shards;
    shards.push_back(std::make_unique<int>(7));
    const CowIndex<std::unique_ptr<int>> moved(std::move(shards));
    REQUIRE(*moved.snapshot()[0] == 7);
    REQUIRE(CowIndex<int>(0).empty());
    CowIndex<int> index(5);
    REQUIRE(index.append(1) == 5);
    REQUIRE(CowIndex<int>(200).snapshot().id_bound() == 200);
}

TEST_CASE("a const handle reads, and does not write") {
    const CowIndex<int> index(3, 1);
    REQUIRE(index.version() == 0);
    REQUIRE(index.size() == 3);
    REQUIRE(index.snapshot()[0] == 1);
    REQUIRE(index.reader("r").pin()[0] == 1);
    REQUIRE(index.read([](const auto& view) { return view[0]; }) == 1);
    REQUIRE(index.pins().empty());
    REQUIRE(index.metrics().commits == 0);
    STATIC_REQUIRE_FALSE(Writes<const CowIndex<int>>);
    STATIC_REQUIRE_FALSE(Reclaims<const CowIndex<int>>);
    STATIC_REQUIRE(Writes<CowIndex<int>>);
    STATIC_REQUIRE(Reclaims<CowIndex<int>>);
}

TEST_CASE("read() returns what its function returns, by reference too") {
    CowIndex<int> index(3, 1);
    static int somewhere = 5;
    int& result = index.read([](const auto&) -> int& { return somewhere; });
    REQUIRE(&result == &somewhere);
    index.read([](const auto&) {});
    REQUIRE_THROWS_AS(index.read([](const auto&) { throw std::runtime_error("no"); }),
                      std::runtime_error);
    REQUIRE(index.active_readers() == 0);
    index.read([&](const auto& outer) {
        index.replace(0, 2);
        index.read([&](const auto& inner) {
            REQUIRE(outer[0] == 1);
            REQUIRE(inner[0] == 2);
            REQUIRE(index.active_readers() == 2);
        });
    });
    REQUIRE(index.active_readers() == 0);
    index.reclaim();
    REQUIRE(index.pins().empty());
}

TEST_CASE("one-line writes") {
    CowIndex<std::string> index(3, "a");
    REQUIRE(index.edit(0, [](std::string& s) { s += "b"; }) == 1);
    REQUIRE(index.replace(1, "c") == 2);
    REQUIRE(index.append("d") == 3);
    REQUIRE(index.erase(2) == 4);
    const auto snapshot = index.snapshot();
    REQUIRE(std::vector<std::string>(snapshot.begin(), snapshot.end()) ==
            std::vector<std::string>{"ab", "c", "d"});
}

TEST_CASE("pins name the versions held, by whom, oldest first") {
    CowIndex<int> index(3, 1);
    auto reader = index.reader("slow reader");
    const auto view = reader.pin();
    const auto first = index.snapshot();
    index.replace(0, 2);
    auto writer = index.writer("slow writer");
    index.replace(0, 3);
    const auto unlabelled = index.writer();
    const auto latest = index.snapshot();
    const auto pins = index.pins();
    REQUIRE(pins.size() == 2);
    REQUIRE(pins[0].version == 0);
    REQUIRE(pins[0].holders == 2);
    REQUIRE(pins[0].labels == std::vector<std::string>{"slow reader"});
    REQUIRE(pins[1].version == 1);
    REQUIRE(pins[1].holders == 1);
    REQUIRE(pins[1].labels == std::vector<std::string>{"slow writer"});
    REQUIRE(pins[0].age >= pins[1].age);
    REQUIRE(pins[0].retained_bytes > 0);
}

TEST_CASE("a pin's bytes are what goes when it alone is let go") {
    CowIndex<int> index(500, 0);
    std::vector<CowIndex<int>::Snapshot> held;
    for (int i = 0; i < 12; ++i) {
        held.push_back(index.snapshot());
        for (ShardId id = 0; id < 500; id += static_cast<ShardId>(17 + i)) index.replace(id, i);
    }
    while (!held.empty()) {
        const std::size_t which = (held.size() * 7) % held.size();
        index.reclaim();
        const auto pins = index.pins();
        REQUIRE(pins.size() == held.size());
        REQUIRE(pins[which].version == held[which].version());
        const auto before = index.memory_usage();
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
        index.reclaim();
        const auto after = index.memory_usage();
        REQUIRE(before.retained_bytes - after.retained_bytes == pins[which].retained_bytes);
        REQUIRE(before.total_bytes() - before.pooled_bytes ==
                after.total_bytes() - after.pooled_bytes + pins[which].retained_bytes);
    }
}

TEST_CASE("over-aligned shards, with an allocator of one's own") {
    test::AllocationAccount account;
    {
        cowindex::Options<WidePolicy> options;
        options.allocator = test::CountingAllocator<std::byte>(account);
        CowIndex<Wide, WidePolicy> index(100, options);
        for (ShardId id = 0; id < 100; ++id) index.edit(id, [](Wide& wide) { wide.value = 1; });
        auto writer = index.writer();
        writer.append(Wide{5});
        writer.commit();
        for (const Wide& wide : index.snapshot())
            REQUIRE(reinterpret_cast<std::uintptr_t>(&wide) % 256 == 0);
        REQUIRE(account.live_bytes == index.memory_usage().total_bytes());
        REQUIRE(test::CountingAllocator<int>::common().allocations == 0);
    }
    REQUIRE(account.live_bytes == 0);
    REQUIRE_FALSE(account.misaligned);
}

TEST_CASE("shards that can only be moved are replaced, appended and erased") {
    CowIndex<std::unique_ptr<int>> index(2);
    index.replace(0, std::make_unique<int>(1));
    const ShardId id = index.append(std::make_unique<int>(2));
    auto writer = index.writer();
    writer.insert(50, std::make_unique<int>(3));
    writer.erase(1);
    writer.commit();
    const auto old = index.snapshot();
    std::vector<std::unique_ptr<int>> all;
    all.push_back(std::make_unique<int>(9));
    index.assign(std::move(all));
    REQUIRE(*old[0] == 1);
    REQUIRE(*old[id] == 2);
    REQUIRE(*old[50] == 3);
    REQUIRE(*index.snapshot()[0] == 9);
}

TEST_CASE("shards that can not even be moved are made in place") {
    CowIndex<Immovable> index(5, [](ShardId id) { return Immovable(id); });
    auto writer = index.writer();
    writer.emplace(2, ShardId{20});
    writer.erase(3);
    writer.commit();
    REQUIRE(index.snapshot()[2].value == 20);
    REQUIRE(index.size() == 4);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("an index of one shard, and of none") {
    CowIndex<int> one(1, 5);
    one.edit(0, [](int& value) { value = 6; });
    REQUIRE(one.snapshot()[0] == 6);
    {
        const auto held = one.snapshot();
        one.erase(0);
        REQUIRE(one.empty());
        REQUIRE(one.reclaim() == 0);
        REQUIRE(held[0] == 6);
    }
    REQUIRE(one.reclaim() > 0);
    CowIndex<int> none;
    REQUIRE(none.reclaim() == 0);
    const auto nothing = none.snapshot();
    REQUIRE(nothing.items().empty());
    REQUIRE_THROWS_AS(none.erase(0), std::out_of_range);
    REQUIRE(none.append(1) == 0);
}
