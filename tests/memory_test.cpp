#include <cowindex/memory.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"

namespace {

// Exact for any string: what is on the heap is left out of both accounts.
struct Policy : cowindex::DefaultPolicy<std::string> {
    using Allocator = test::CountingAllocator<std::byte>;
    static std::size_t bytes(const std::string&) { return sizeof(std::string); }
};

} // namespace

TEST_CASE("the total is the sum of what is allocated, each byte once") {
    cowindex::MemoryStats stats;
    REQUIRE(stats.total_bytes() == 0);
    stats.live_bytes = 1;
    stats.retained_bytes = 10;
    stats.reclaimable_bytes = 100;
    stats.pooled_bytes = 1000;
    stats.uncommitted_bytes = 10000;
    stats.spine_bytes = 5;     // part of the first three
    stats.peak_bytes = 999999; // the past
    REQUIRE(stats.total_bytes() == 11111);
}

TEST_CASE("a pin that nobody has filled in holds nothing") {
    const cowindex::PinInfo pin;
    REQUIRE(pin.version == 0);
    REQUIRE(pin.holders == 0);
    REQUIRE(pin.labels.empty());
    REQUIRE(pin.age.count() == 0);
    REQUIRE(pin.retained_bytes == 0);
}

TEST_CASE("each byte is accounted for by its reason") {
    cowindex::CowIndex<int> index(1000);
    const auto at_first = index.memory_usage();
    REQUIRE(at_first.live_bytes > 1000 * sizeof(int));
    REQUIRE(at_first.retained_bytes == 0);
    REQUIRE(at_first.reclaimable_bytes == 0);
    REQUIRE(at_first.uncommitted_bytes == 0);
    REQUIRE(at_first.spine_bytes < at_first.live_bytes);
    REQUIRE(at_first.peak_bytes >= at_first.total_bytes());

    auto writer = index.writer();
    writer.edit(1) = 1;
    const auto editing = index.memory_usage();
    REQUIRE(editing.uncommitted_bytes == writer.memory_overhead());
    REQUIRE(editing.uncommitted_bytes > 0);
    REQUIRE(editing.live_bytes == at_first.live_bytes);

    auto old = index.snapshot();
    writer.commit();
    const auto held = index.memory_usage();
    REQUIRE(held.uncommitted_bytes == 0);
    REQUIRE(held.live_bytes == at_first.live_bytes);
    REQUIRE(held.retained_bytes > 0);
    REQUIRE(held.reclaimable_bytes == 0);
    REQUIRE(index.pins().front().retained_bytes == held.retained_bytes);

    old = {};
    const auto dropped = index.memory_usage();
    REQUIRE(dropped.retained_bytes == 0);
    REQUIRE(dropped.reclaimable_bytes > 0);
    REQUIRE(index.reclaim() == dropped.reclaimable_bytes);
    const auto after = index.memory_usage();
    REQUIRE(after.reclaimable_bytes == 0);
    REQUIRE(after.live_bytes == at_first.live_bytes);
    REQUIRE(after.peak_bytes >= held.total_bytes());
    REQUIRE(after.peak_bytes >= at_first.peak_bytes);
}

TEST_CASE("records that are too many for the pool leave the accounts when a commit frees them") {
    test::AllocationAccount account;
    cowindex::Options<Policy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    cowindex::CowIndex<std::string, Policy> index(3, "text", options);
    auto writer = index.writer();
    std::vector<cowindex::CowIndex<std::string, Policy>::Snapshot> held;
    for (int i = 0; i < 200; ++i) {
        held.push_back(index.snapshot());
        writer.edit(1) = "other";
        writer.commit();
    }
    held.clear();
    const std::size_t before = account.live_bytes;
    for (int i = 0; i < 400; ++i) {
        writer.edit(2) = "more";
        writer.commit();
    }
    REQUIRE(account.live_bytes < before);
    REQUIRE(index.memory_usage().reclaimable_bytes == 0);
    REQUIRE(index.memory_usage().total_bytes() == account.live_bytes);
}

TEST_CASE("the peak is remembered, whether or not somebody looked at the time") {
    cowindex::CowIndex<std::vector<char>> index(1);
    constexpr std::size_t large = 100'000;
    SECTION("of what was published") {
        index.replace(0, std::vector<char>(large));
        index.replace(0, {});
        REQUIRE(index.memory_usage().live_bytes < large);
    }
    SECTION("of what a writer has given up") {
        {
            auto writer = index.writer();
            for (int i = 0; i < 1000; ++i) writer.append(std::vector<char>(100));
            const auto stats = index.memory_usage();
            REQUIRE(stats.uncommitted_bytes > 1000 * sizeof(std::vector<char>));
            REQUIRE(stats.peak_bytes >= stats.total_bytes());
        }
        index.replace(0, std::vector<char>(large));
    }
    REQUIRE(index.memory_usage().peak_bytes >= large);
}

TEST_CASE("a pin's retained bytes are what is freed when it alone goes") {
    using Index = cowindex::CowIndex<std::string, Policy>;
    test::AllocationAccount account;
    cowindex::Options<Policy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    Index index(300, std::string(), options);
    const auto allocated = [&] { // for anything but reuse
        index.reclaim();
        const auto stats = index.memory_usage();
        REQUIRE(stats.total_bytes() == account.live_bytes);
        REQUIRE(stats.reclaimable_bytes == 0);
        return account.live_bytes - stats.pooled_bytes;
    };
    std::vector<Index::Snapshot> held;
    std::uint64_t random = 88172645463325252U;
    const auto below = [&](std::size_t bound) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return static_cast<std::size_t>(random % bound);
    };
    std::size_t let_go = 0;
    for (int step = 0; step < 2000; ++step) {
        switch (below(4)) {
        case 0: held.push_back(index.snapshot(below(2) == 0 ? "labelled" : "")); break;
        case 1:
            index.update([&](auto& writer) {
                for (std::size_t i = below(5); i > 0; --i) writer.edit(below(300)) += 'x';
            });
            break;
        case 2: index.replace(below(300), std::string()); break;
        default:
            if (held.empty()) break;
            const std::size_t i = below(held.size());
            const cowindex::Version version = held[i].version();
            std::size_t expected = 0; // shared with another holder, or the latest: nothing
            for (const auto& pin : index.pins())
                if (pin.version == version && pin.holders == 1) expected = pin.retained_bytes;
            const std::size_t before = allocated();
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
            REQUIRE(before - allocated() == expected);
            if (expected > 0) ++let_go;
        }
    }
    REQUIRE(let_go > 100);
}

TEST_CASE(
    "a pressure callback is made of what can be called with statistics, and of nothing else") {
    using cowindex::PressureCallback;
    const auto takes_stats = [](const cowindex::MemoryStats&) {};
    const auto takes_text = [](const std::string&) {};
    REQUIRE(std::is_constructible_v<PressureCallback, decltype(takes_stats)>);
    REQUIRE_FALSE(std::is_constructible_v<PressureCallback, decltype(takes_text)>);
    REQUIRE_FALSE(std::is_constructible_v<PressureCallback, int>);
    REQUIRE(std::is_copy_constructible_v<PressureCallback>);
}
