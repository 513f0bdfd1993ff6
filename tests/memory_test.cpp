#include <cowindex/memory.hpp>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"

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
