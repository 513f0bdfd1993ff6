// The worst day: many writers at once, readers that never let go, batches that are too large. What
// the index holds must stay bounded by what is really held, and it must say who holds it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/validate.hpp>

#include <cowindex/cowindex.hpp>

using cowindex::MemoryStats;
using cowindex::ShardId;
using cowindex::Version;

namespace {

using Shard = std::vector<char>;
using Index = cowindex::CowIndex<Shard>;

constexpr std::size_t shard_bytes = 1000;

void rewrite(Index& index, ShardId id) { index.replace(id, Shard(shard_bytes)); }

} // namespace

TEST_CASE("ten thousand writers may be open on one index") {
    Index index(100, Shard(shard_bytes));
    std::vector<Index::Writer> writers;
    for (int i = 0; i < 10000; ++i) writers.push_back(index.writer());
    REQUIRE(index.metrics().pending_writers == 10000);
    REQUIRE(index.memory_usage().uncommitted_bytes == 0);

    // Each has an edit of its own; the first for each shard wins.
    for (std::size_t i = 0; i < writers.size(); ++i) writers[i].edit(i % 100)[0] = 1;
    REQUIRE(index.metrics().clone_operations == 10000);
    REQUIRE(index.memory_usage().uncommitted_bytes >= 10000 * shard_bytes);
    std::size_t committed = 0;
    for (auto& writer : writers)
        if (writer.try_commit()) ++committed;
    REQUIRE(committed == 100);
    REQUIRE(index.version() == 100);
    REQUIRE(index.metrics().conflicts == 9900);

    writers.clear();
    index.reclaim();
    const auto values = index.metrics();
    REQUIRE(values.pending_writers == 0);
    REQUIRE(values.uncommitted_bytes == 0);
    REQUIRE(values.retained_bytes == 0);
    REQUIRE(values.discards == 9900);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a writer kept open for ever holds its base, no more, and is named") {
    Index index(100, Shard(shard_bytes));
    auto forgotten = index.writer("nightly import");
    for (int round = 0; round < 50; ++round)
        for (ShardId id = 0; id < 100; ++id) rewrite(index, id);
    index.reclaim();
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.retained_bytes < 2 * 100 * shard_bytes);
    const auto pins = index.pins();
    REQUIRE(pins.size() == 1);
    REQUIRE(pins[0].version == 0);
    REQUIRE(pins[0].labels == std::vector<std::string>{"nightly import"});
    REQUIRE(pins[0].retained_bytes == stats.retained_bytes);
    forgotten.discard();
    index.reclaim();
    REQUIRE(index.memory_usage().retained_bytes == 0);
}

TEST_CASE("a slow reader holds the one version it reads, a leaked one likewise") {
    Index index(100, Shard(shard_bytes));
    auto slow = index.reader("report");
    auto leaked = index.reader("lost");
    const auto lost = leaked.pin();
    for (int round = 0; round < 20; ++round) {
        const auto view = slow.pin();
        const Version seen = view.version();
        for (ShardId id = 0; id < 100; ++id) rewrite(index, id);
        REQUIRE(view.version() == seen);
        for (const Shard& shard : view) REQUIRE(shard.size() == shard_bytes);
        const auto pins = index.pins();
        REQUIRE(pins.front().version == 0);
        REQUIRE(pins.front().holders == (round == 0 ? 2U : 1U));
        REQUIRE(std::count(pins.front().labels.begin(), pins.front().labels.end(), "lost") == 1);
        REQUIRE(pins.size() <= 2);
        // Two old versions at most, each with a hundred shards of its own.
        REQUIRE(index.memory_usage().retained_bytes < 3 * 100 * shard_bytes);
    }
}

TEST_CASE("a leaked labelled snapshot is named, whatever copy of it was leaked") {
    Index index(100, Shard(shard_bytes));
    std::vector<cowindex::Snapshot<Shard>> cache;
    {
        const auto snapshot = index.snapshot("cache of last week's report");
        cache.push_back(snapshot);
    }
    for (int round = 0; round < 50; ++round)
        for (ShardId id = 0; id < 100; ++id) rewrite(index, id);
    index.reclaim();
    const auto pins = index.pins();
    REQUIRE(pins.size() == 1);
    REQUIRE(pins[0].version == 0);
    REQUIRE(pins[0].holders == 1);
    REQUIRE(pins[0].labels == std::vector<std::string>{"cache of last week's report"});
    REQUIRE(pins[0].retained_bytes == index.memory_usage().retained_bytes);
    REQUIRE(pins[0].retained_bytes > 100 * shard_bytes);
    REQUIRE(pins[0].retained_bytes < 2 * 100 * shard_bytes);
    cache.clear();
    REQUIRE(index.reclaim() > 100 * shard_bytes);
    REQUIRE(index.memory_usage().retained_bytes == 0);
    REQUIRE(index.pins().empty());
}

TEST_CASE("a huge batch is published whole and leaves nothing behind") {
    Index index(50000, Shard(10));
    const std::size_t before = index.memory_usage().live_bytes;
    index.update([](Index::Writer& writer) {
        for (ShardId id = 0; id < 50000; ++id) writer.edit(id)[0] = 1;
    });
    index.reclaim();
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.live_bytes == before);
    REQUIRE(stats.retained_bytes + stats.reclaimable_bytes + stats.uncommitted_bytes == 0);
    REQUIRE(stats.pooled_bytes < before);
    for (const Shard& shard : index.snapshot()) REQUIRE(shard[0] == 1);
}

TEST_CASE("letting go of a version that alone holds much never makes one commit free it all") {
    constexpr std::size_t many = 20000;
    Index index(many, Shard(10));
    auto held = index.snapshot();
    index.update([](Index::Writer& writer) {
        for (ShardId id = 0; id < many; ++id) writer.edit(id)[0] = 1;
    });
    held = {};
    // Counted, not timed: what one commit frees is bounded, and all of it goes in the end.
    std::uint64_t reclaimed = index.metrics().reclaimed_bytes;
    std::uint64_t most = 0;
    int commits = 0;
    for (; index.memory_usage().reclaimable_bytes > 0 && commits < 100000; ++commits) {
        rewrite(index, 0);
        const std::uint64_t now = index.metrics().reclaimed_bytes;
        most = std::max(most, now - reclaimed);
        reclaimed = now;
    }
    REQUIRE(commits > 100);
    REQUIRE(commits < 100000);
    REQUIRE(most < 100 * (shard_bytes + 2000));
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("readers and writers under load leave an index as small as its content") {
    Index index(64, Shard(shard_bytes));
    const std::size_t content = index.memory_usage().live_bytes;
    std::vector<std::thread> threads;
    for (ShardId writer = 0; writer < 4; ++writer)
        threads.emplace_back([&index, writer] {
            for (int i = 0; i < 500; ++i)
                index.update([&](Index::Writer& edits) {
                    edits.edit(writer * 16 + static_cast<ShardId>(i % 16))[0] = 1;
                });
        });
    for (int reader = 0; reader < 4; ++reader)
        threads.emplace_back([&index] {
            auto own = index.reader();
            std::vector<cowindex::Snapshot<Shard>> kept;
            for (int i = 0; i < 500; ++i) {
                const auto view = own.pin();
                if (i % 10 == 0) kept.push_back(view.snapshot());
                if (kept.size() > 5) kept.erase(kept.begin());
            }
        });
    for (auto& thread : threads) thread.join();
    index.reclaim();
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.live_bytes == content);
    REQUIRE(stats.retained_bytes + stats.reclaimable_bytes + stats.uncommitted_bytes == 0);
    REQUIRE(index.active_readers() == 0);
    REQUIRE(index.metrics().commits == 2000);
    REQUIRE(test::validate(index) == "");
}

namespace {

// A shard that says how large it is.
struct Claim {
    std::size_t claimed = 0;
    std::size_t memory_usage() const { return claimed; }
};

} // namespace

// What waits to be freed is looked at once, at the end: asking for it earlier would have sorted out
// what nobody holds, which is the commits' business here.
TEST_CASE("few large shards and many small ones in turn do not pile up") {
    constexpr std::size_t large = std::size_t{2} << 20;
    cowindex::CowIndex<Claim> index(1004);
    const auto reader = index.reader(); // so that versions wait, and garbage with them
    auto writer = index.writer();
    for (int cycle = 0; cycle < 300; ++cycle) {
        for (ShardId id = 0; id < 4; ++id) {
            writer.edit(id).claimed = large;
            writer.commit();
        }
        for (ShardId id = 4; id < 1004; ++id) writer.edit(id);
        writer.commit();
    }
    REQUIRE(index.memory_usage().reclaimable_bytes < 30 * large);
    REQUIRE(test::validate(index) == "");
}
