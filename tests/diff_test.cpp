#include <cowindex/diff.hpp>

#include <chrono>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include <support/catch.hpp>

using cowindex::Diff;
using cowindex::ShardId;

namespace {

using Index = cowindex::CowIndex<int>;
using Ids = std::vector<ShardId>;

// A shard of which nobody can say whether two are equal.
struct Incomparable {
    int value = 0;
    bool operator==(const Incomparable&) const = delete;
};

} // namespace

TEST_CASE("a version does not differ from itself") {
    const Index index(1000, 1);
    REQUIRE(diff(index.snapshot(), index.snapshot()).empty());
    const Index without_shards;
    REQUIRE(diff(without_shards.snapshot(), without_shards.snapshot()).empty());
}

TEST_CASE("shards are added, removed or changed, ids ascending") {
    Index index(1000, 0);
    const auto older = index.snapshot();
    auto writer = index.writer();
    for (const ShardId id : Ids{900, 5, 64}) writer.edit(id) = 1;
    writer.replace(63, 0);
    for (const ShardId id : Ids{999, 3}) writer.erase(id);
    for (const ShardId id : Ids{7000, 2000}) writer.insert(id, 1);
    writer.commit();
    const auto newer = index.snapshot();

    const Diff difference = diff(older, newer);
    REQUIRE(difference.added == Ids{2000, 7000});
    REQUIRE(difference.removed == Ids{3, 999});
    REQUIRE(difference.changed == Ids{5, 63, 64, 900}); // 63 too, though it is equal
    REQUIRE(difference.size() == 8);
    REQUIRE_FALSE(difference.empty());
}

TEST_CASE("the callback sees both shards, or null where there is none") {
    Index index(10, 7);
    const auto older = index.snapshot();
    index.edit(2, [](int& value) { value = 8; });
    index.erase(4);
    const ShardId added = index.append(9);
    const auto newer = index.snapshot();

    Ids ids;
    for_each_difference(older, newer, [&](ShardId id, const int* before, const int* after) {
        ids.push_back(id);
        REQUIRE(before == older.find(id));
        REQUIRE(after == newer.find(id));
    });
    REQUIRE(ids == Ids{2, 4, added});
}

TEST_CASE("shards need not be comparable, and what the callback throws passes through") {
    cowindex::CowIndex<Incomparable> index(3);
    const auto older = index.snapshot();
    index.replace(1, Incomparable{});
    const auto newer = index.snapshot();
    REQUIRE(diff(older, newer).changed == Ids{1});
    REQUIRE_THROWS_AS(
        for_each_difference(
            older, newer, [](ShardId, const auto*, const auto*) { throw std::runtime_error(""); }),
        std::runtime_error);
}

TEST_CASE("compared with an empty snapshot, everything is added") {
    Index index(2, 0);
    const cowindex::Snapshot<int> nothing;
    REQUIRE(diff(nothing, index.snapshot()).added == Ids{0, 1});
    for (const ShardId id : Ids{700, 1'000'000, ~ShardId{1}})
        index.update([&](auto& writer) { writer.insert(id, int{1}); });
    index.erase(1);
    const auto newer = index.snapshot();

    Ids ids;
    for_each_difference(nothing, newer, [&](ShardId id, const int* before, const int* after) {
        ids.push_back(id);
        REQUIRE(before == nullptr);
        REQUIRE(after == newer.find(id));
    });
    REQUIRE(ids == Ids{0, 700, 1'000'000, ~ShardId{1}});
    REQUIRE(diff(nothing, Index().snapshot()).empty());
}

TEST_CASE("versions that cannot be compared are refused with a reason") {
    Index index(4, 0);
    Index another(4, 0);
    const auto older = index.snapshot();
    index.replace(1, 1);
    auto newer = index.snapshot();
    const auto ignore = [](ShardId, const int*, const int*) {};

    REQUIRE_THROWS_AS(diff(newer, older), std::invalid_argument);
    REQUIRE_THROWS_WITH(diff(newer, older),
                        test::contains_text("older") && test::contains_text("versions 1 and 0"));
    REQUIRE_THROWS_AS(diff(older, another.snapshot()), std::invalid_argument);
    REQUIRE_THROWS_WITH(diff(older, another.snapshot()), test::contains_text("one index"));
    REQUIRE_THROWS_AS(for_each_difference(older, another.snapshot(), ignore),
                      std::invalid_argument);

    const cowindex::Snapshot<int> moved_to = std::move(newer);
    REQUIRE_THROWS_AS(diff(older, newer), std::invalid_argument);
    REQUIRE_THROWS_WITH(diff(older, newer), test::contains_text("newer snapshot is empty"));
    REQUIRE_THROWS_AS(diff(cowindex::Snapshot<int>(), newer), std::invalid_argument);
    REQUIRE(diff(older, moved_to).changed == Ids{1});
}

TEST_CASE("snapshots of an index that is gone can be compared") {
    std::optional<Index> index(std::in_place, 4, 0);
    const auto older = index->snapshot();
    index->replace(1, 1);
    const auto newer = index->snapshot();
    index.reset();
    REQUIRE(diff(older, newer).changed == Ids{1});
    // A new index may well be where the old one was.
    const Index another(4, 0);
    REQUIRE_THROWS_AS(diff(older, another.snapshot()), std::invalid_argument);
}

TEST_CASE("applying each difference in turn rebuilds every version") {
    std::mt19937_64 random(3);
    Index index(50, 0);
    std::vector<cowindex::Snapshot<int>> versions{index.snapshot()};
    for (int i = 1; i < 60; ++i) {
        index.update([&](auto& writer) {
            for (int j = 0; j < 4; ++j) {
                const ShardId id = random() % 200;
                if (!writer.contains(id))
                    writer.insert(id, int{i});
                else if (random() % 3 == 0)
                    writer.erase(id);
                else
                    writer.edit(id) = i;
            }
        });
        versions.push_back(index.snapshot());
    }
    for (const std::size_t step : {1U, 7U}) {
        std::map<ShardId, int> copy;
        for (const auto item : versions[0].items()) copy[item.id] = item.shard;
        for (std::size_t i = step; i < versions.size(); i += step) {
            const Diff difference = diff(versions[i - step], versions[i]);
            for (const ShardId id : difference.removed) REQUIRE(copy.erase(id) == 1);
            for (const ShardId id : difference.added)
                REQUIRE(copy.emplace(id, versions[i].at(id)).second);
            for (const ShardId id : difference.changed) copy.at(id) = versions[i].at(id);
            std::map<ShardId, int> expected;
            for (const auto item : versions[i].items()) expected[item.id] = item.shard;
            REQUIRE(copy == expected);
        }
    }
}

TEST_CASE("comparing takes time for the differences, not for the shards") {
    const auto time_of = [](std::size_t shards) {
        Index index(shards, 0);
        const auto older = index.snapshot();
        auto writer = index.writer();
        for (ShardId i = 0; i < 10; ++i) writer.replace(i * (shards / 10), 1);
        writer.commit();
        const auto newer = index.snapshot();
        auto best = std::chrono::nanoseconds::max();
        std::size_t differences = 0;
        for (int run = 0; run < 20; ++run) {
            const auto start = std::chrono::steady_clock::now();
            differences = diff(older, newer).size();
            best =
                std::min<std::chrono::nanoseconds>(best, std::chrono::steady_clock::now() - start);
        }
        REQUIRE(differences == 10);
        return best;
    };
    const auto few = time_of(2'000);
    const auto many = time_of(500'000);
    INFO(few.count() << " ns of 2000 shards, " << many.count() << " ns of 500000");
    // Going through 250 times as many shards would take 250 times as long.
    REQUIRE(many < 20 * few);
}
