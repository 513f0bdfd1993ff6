// Versions are immutable, complete, dense and increasing.

#include <limits>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using cowindex::Version;

namespace {
using Index = cowindex::CowIndex<int>;
} // namespace

TEST_CASE("every version stays as it was, however long it is held") {
    Index index(300, 0);
    std::vector<std::pair<Index::Snapshot, std::map<ShardId, int>>> history;
    std::map<ShardId, int> expected;
    for (ShardId id = 0; id < 300; ++id) expected[id] = 0;
    std::uint64_t random = 12345;
    for (int i = 1; i <= 150; ++i) {
        history.emplace_back(index.snapshot(), expected);
        index.update([&](Index::Writer& writer) {
            for (int j = 0; j < 4; ++j) {
                random = random * 6364136223846793005U + 1442695040888963407U;
                const ShardId id = (random >> 33) % 400;
                if (!writer.contains(id))
                    writer.insert(id, int{i});
                else if (random % 3 == 0)
                    writer.erase(id);
                else
                    writer.edit(id) = i;
                if (writer.contains(id))
                    expected[id] = writer[id];
                else
                    expected.erase(id);
            }
        });
        if (i % 3 == 0)
            history.erase(history.begin() +
                          static_cast<std::ptrdiff_t>((random >> 40) % history.size()));
        if (i % 10 == 0) index.reclaim();
    }
    for (const auto& [snapshot, state] : history) {
        std::map<ShardId, int> found;
        for (const auto item : snapshot.items()) found[item.id] = item.shard;
        REQUIRE(found == state);
    }
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("versions are dense and grow by one with each commit") {
    Index index(5);
    auto writer = index.writer();
    auto other = index.writer();
    Version version = 0;
    for (int i = 0; i < 100; ++i) {
        writer.edit(1) = i;
        REQUIRE(writer.commit() == ++version);
        other.edit(2) = i;
        REQUIRE(other.commit() == ++version);
        REQUIRE(index.version() == version);
        REQUIRE(index.snapshot().version() == version);
        REQUIRE(index.read([](const auto& view) { return view.version(); }) == version);
        REQUIRE(index.reader().pin().version() == version);
        other.edit(3) = i;
        other.discard();
        REQUIRE_FALSE(other.has_changes());
        REQUIRE(index.version() == version);
    }
}

TEST_CASE("id_bound never falls, size counts what is there") {
    Index index(10);
    auto writer = index.writer();
    writer.insert(5000, 1);
    writer.commit();
    REQUIRE(index.snapshot().id_bound() == 5001);
    for (ShardId id = 0; id < 10; ++id) index.erase(id);
    index.erase(5000);
    REQUIRE(index.empty());
    REQUIRE(index.size() == 0);
    REQUIRE(index.snapshot().id_bound() == 5001);
    REQUIRE(index.snapshot().begin() == index.snapshot().begin());
    REQUIRE(index.append(1) == 5001);
    REQUIRE(index.size() == 1);
}

TEST_CASE("what was taken back before the commit leaves no trace in the version") {
    for (const bool overtaken : {false, true}) {
        Index index(10);
        auto writer = index.writer();
        writer.insert(ShardId{1} << 40, 1);
        writer.revert(ShardId{1} << 40);
        writer.edit(1) = 1;
        if (overtaken) index.replace(2, 2);
        writer.commit();
        REQUIRE(index.snapshot().id_bound() == 10);
        REQUIRE(test::TestAccess::tree(index.snapshot()).height == 0);
    }
}

TEST_CASE("versions may start anywhere, and are not used beyond the last") {
    constexpr Version most = std::numeric_limits<Version>::max();
    cowindex::Options<cowindex::DefaultPolicy<int>> options;
    options.first_version = most - 3;
    Index index(5, 0, options);
    REQUIRE(index.version() == most - 3);
    REQUIRE(index.snapshot().version() == most - 3);
    auto keep = index.snapshot();
    index.replace(1, 1);
    index.reclaim();
    index.replace(1, 2); // 2^64 - 2, the last
    index.reclaim();
    REQUIRE(index.version() == most - 1);
    REQUIRE(index.snapshot()[1] == 2);
    REQUIRE(keep[1] == 0);
    auto writer = index.writer();
    writer.edit(2) = 7;
    REQUIRE_THROWS_AS(writer.commit(), std::overflow_error);
    REQUIRE_THROWS_WITH(writer.commit(), test::contains_text("2^64 - 2"));
    REQUIRE_THROWS_AS(index.replace(1, 3), std::overflow_error);
    REQUIRE_THROWS_AS(index.update([](Index::Writer& w) { w.edit(1) = 3; }), std::overflow_error);
    REQUIRE(writer[2] == 7);
    REQUIRE(index.snapshot()[2] == 0);
    REQUIRE(test::validate(index) == "");
    keep = {};
    index.reclaim();
    REQUIRE(index.pins().size() == 0);
    options.first_version = most;
    REQUIRE_THROWS_AS(Index(1, 0, options), std::overflow_error);
}
