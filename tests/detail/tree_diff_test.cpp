#include <cowindex/detail/tree_diff.hpp>

#include <map>
#include <random>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;

namespace {

using Index = cowindex::CowIndex<int>;

struct Difference {
    ShardId id;
    int before; // -1: absent
    int after;
    bool operator==(const Difference&) const = default;
};

std::vector<Difference> differences(const cowindex::Snapshot<int>& before,
                                    const cowindex::Snapshot<int>& after) {
    std::vector<Difference> all;
    cowindex::detail::for_each_difference(
        test::TestAccess::tree(before), test::TestAccess::tree(after),
        [&](ShardId id, const auto* old_box, const auto* new_box) {
            all.push_back({id, old_box == nullptr ? -1 : old_box->shard,
                           new_box == nullptr ? -1 : new_box->shard});
        });
    return all;
}

} // namespace

TEST_CASE("a version does not differ from itself") {
    const Index index(1000, 1);
    REQUIRE(differences(index.snapshot(), index.snapshot()).empty());
    const Index empty;
    REQUIRE(differences(empty.snapshot(), empty.snapshot()).empty());
}

TEST_CASE("differences come in id order, with what was and what is") {
    Index index(10000, 0);
    const auto before = index.snapshot();
    index.update([](Index::Writer& writer) {
        writer.replace(9000, 9);
        writer.replace(3, 1);
        writer.erase(64);
    });
    index.append(5);
    const auto after = index.snapshot();
    const std::vector<Difference> expected{{3, 0, 1}, {64, 0, -1}, {9000, 0, 9}, {10000, -1, 5}};
    REQUIRE(differences(before, after) == expected);
    const std::vector<Difference> back{{3, 1, 0}, {64, -1, 0}, {9000, 9, 0}, {10000, 5, -1}};
    REQUIRE(differences(after, before) == back);
}

TEST_CASE("trees of different heights are compared in time that their shards take") {
    Index index;
    const auto empty = index.snapshot();
    auto writer = index.writer();
    writer.insert(1, 1);
    writer.commit();
    const auto low = index.snapshot();
    writer.insert(ShardId{1} << 62, 2);
    writer.commit();
    const auto high = index.snapshot();
    writer.erase(1);
    writer.erase(ShardId{1} << 62);
    writer.commit();
    const auto high_and_empty = index.snapshot();
    REQUIRE(differences(low, high) == std::vector<Difference>{{ShardId{1} << 62, -1, 2}});
    REQUIRE(differences(high, low) == std::vector<Difference>{{ShardId{1} << 62, 2, -1}});
    REQUIRE(differences(empty, high) ==
            std::vector<Difference>{{1, -1, 1}, {ShardId{1} << 62, -1, 2}});
    REQUIRE(differences(empty, high_and_empty).empty());
    REQUIRE(differences(high_and_empty, empty).empty());
    REQUIRE(differences(high_and_empty, low) == std::vector<Difference>{{1, -1, 1}});
}

TEST_CASE("differences agree with a comparison shard by shard") {
    std::mt19937_64 random(5);
    Index index(100, 0);
    std::vector<cowindex::Snapshot<int>> versions{index.snapshot()};
    for (int i = 1; i < 25; ++i) {
        index.update([&](Index::Writer& writer) {
            for (int j = 0; j < 5; ++j) {
                const ShardId id =
                    random() % 4 == 0 ? random() >> (1 + random() % 63) : random() % 150;
                if (!writer.contains(id))
                    writer.insert(id, i * 10 + j);
                else if (random() % 2 == 0)
                    writer.erase(id);
                else
                    writer.replace(id, i * 10 + j);
            }
        });
        versions.push_back(index.snapshot());
    }
    for (const auto& before : versions)
        for (const auto& after : versions) {
            std::map<ShardId, Difference> expected;
            for (const auto item : before.items()) expected[item.id] = {item.id, item.shard, -1};
            for (const auto item : after.items())
                expected.try_emplace(item.id, Difference{item.id, -1, -1}).first->second.after =
                    item.shard;
            std::vector<Difference> list;
            for (const auto& [id, difference] : expected)
                if (difference.before != difference.after) list.push_back(difference);
            REQUIRE(differences(before, after) == list);
        }
}
