// Batches, their changes and cursors through the smallest index that has them, checked from the
// inside.
#include <cowindex/detail/change_list.hpp>
#include <cowindex/reading.hpp>
#include <cowindex/detail/write_batch.hpp>

#include <initializer_list>
#include <iterator>
#include <limits>
#include <random>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using test::TestAccess;

namespace {

using Index = cowindex::CowIndex<int>;

std::vector<ShardId> changed(const Index::Writer& writer) {
    std::vector<ShardId> ids;
    for (const auto& change : TestAccess::batch(writer).changes) ids.push_back(change.id);
    return ids;
}

} // namespace

TEST_CASE("a batch lists one change for each shard, whatever was done to it") {
    Index index(100);
    auto writer = index.writer();
    writer.edit(1) = 1;
    writer.edit(1) = 2;
    writer.replace(1, 3);
    writer.erase(1);
    writer.insert(1, 4);
    writer.erase(1);
    writer.insert(1, 5);
    writer.edit(1) = 6;
    REQUIRE(changed(writer) == std::vector<ShardId>{1});
    REQUIRE(test::validate(index) == "");
    const auto& change = TestAccess::batch(writer).changes[0];
    REQUIRE(change.before == TestAccess::tree(index.snapshot()).find(1));
    REQUIRE(change.after->shard == 6);
    writer.commit();
    REQUIRE(index.snapshot()[1] == 6);
}

TEST_CASE("changes that are taken back leave the others where they can be found") {
    Index index(100);
    auto writer = index.writer();
    for (const ShardId id : std::initializer_list<ShardId>{1, 2, 3, 4, 5, 6}) writer.edit(id) = 1;
    for (const ShardId id : std::initializer_list<ShardId>{11, 12, 13}) writer.erase(id);
    const ShardId appended = writer.append(7);
    writer.revert(2);  // the appended one moves into its place
    writer.revert(12); // an erased one does
    writer.revert(11);
    writer.revert(99);       // was not changed
    writer.revert(12345678); // was never there
    REQUIRE(test::validate(index) == "");
    REQUIRE(writer.modified_count() == 7);
    writer.insert(13, 13);
    writer.erase(appended);
    REQUIRE(writer.modified_count() == 6);
    REQUIRE(test::validate(index) == "");
    for (const ShardId id : std::initializer_list<ShardId>{1, 3, 4, 5, 6, 13}) writer.revert(id);
    REQUIRE_FALSE(writer.has_changes());
    REQUIRE(test::validate(index) == "");
    REQUIRE(writer.try_commit().status() == cowindex::CommitStatus::unchanged);
}

TEST_CASE("an id that came back is found at its new place when it is erased again") {
    Index index(10);
    auto writer = index.writer();
    SECTION("came back by an insertion") {
        writer.erase(1);
        writer.erase(2);
        writer.insert(2, 20);
        writer.revert(1); // the change of 2 moves
    }
    SECTION("came back by a revert") {
        writer.edit(3) = 30;
        writer.erase(2);
        writer.revert(2);
    }
    writer.edit(4) = 40;
    writer.edit(5) = 50;
    writer.erase(2);
    writer.insert(2, 21);
    REQUIRE(test::validate(index) == "");
    REQUIRE(writer[4] == 40);
    REQUIRE(writer[5] == 50);
    writer.commit();
    REQUIRE(index.snapshot()[2] == 21);
    REQUIRE(index.snapshot()[4] == 40);
    REQUIRE(index.snapshot()[5] == 50);
}

TEST_CASE("a writer that adds and takes back shards for ever holds no more for it") {
    test::AllocationAccount account;
    struct Policy : cowindex::DefaultPolicy<int> {
        using Allocator = test::CountingAllocator<std::byte>;
    };
    cowindex::Options<Policy> options;
    options.allocator = Policy::Allocator(account);
    cowindex::CowIndex<int, Policy> index(64, options);
    auto writer = index.writer();
    for (int i = 0; i < 500; ++i) {
        const ShardId id = writer.append(1);
        if (i % 2 == 0)
            writer.erase(id);
        else
            writer.revert(id);
        REQUIRE(writer.memory_overhead() < 100'000);
        REQUIRE(writer.memory_overhead() == TestAccess::batch(writer).builder.own_bytes());
        REQUIRE(index.memory_usage().total_bytes() == account.live_bytes);
    }
    REQUIRE_FALSE(writer.has_changes());
}

TEST_CASE("replaying needs no more nodes than were reserved, in any order of ids") {
    std::mt19937_64 random(9);
    for (int round = 0; round < 60; ++round) {
        Index index(150);
        auto writer = index.writer();
        auto other = index.writer();
        for (int i = 0; i < 6; ++i) { // few: replayed in the section itself
            const ShardId id = random() % 2 == 0 ? random() % 150 : random() >> (1 + random() % 63);
            if (!writer.contains(id))
                writer.insert(id, 1);
            else if (random() % 2 == 0)
                writer.erase(id);
            else
                writer.edit(id) = 2;
        }
        // A disjoint change that makes the tree higher or empties other leaves.
        const ShardId far = (ShardId{1} << 61) + random() % 1000;
        if (!writer.contains(far)) other.insert(far, 3);
        for (ShardId id = 64; id < 128; ++id)
            if (writer.contains(id) && writer[id] == 0) other.erase(id);
        if (!other.try_commit()) continue;
        const auto expected = writer.modified_count();
        REQUIRE(expected > 0);
        const auto result = writer.try_commit();
        REQUIRE(test::validate(index) == "");
        if (result) REQUIRE(result.version() == 2);
    }
}

TEST_CASE("a batch reserves exactly what ascending ids take in a replay") {
    Index index(1000);
    auto writer = index.writer();
    const auto& changes = TestAccess::batch(writer).changes;
    writer.edit(1) = 1;
    REQUIRE(changes.replay_need(1).leaves == 1);
    REQUIRE(changes.replay_need(1).inners == 1);
    writer.edit(2) = 1;
    REQUIRE(changes.replay_need(1).leaves == 1);
    writer.edit(70) = 1;
    REQUIRE(changes.replay_need(1).leaves == 2);
    REQUIRE(changes.replay_need(1).inners == 1);
    REQUIRE(changes.replay_need(3).inners == 3);
    writer.erase(900);
    REQUIRE(changes.replay_need(1).leaves == 3);
    REQUIRE(changes.replay_need(1).inners == 2);
    writer.insert(ShardId{1} << 20, 1);
    REQUIRE(changes.replay_need(1).leaves == 4);
}

TEST_CASE("changes are sorted by id, and found where they then are") {
    Index index(200);
    auto writer = index.writer();
    for (const ShardId id : std::initializer_list<ShardId>{70, 1, 71, 2}) writer.edit(id) = 1;
    writer.erase(72);
    writer.erase(3);
    auto& changes = TestAccess::batch(writer).changes;
    TestAccess::batch(writer).reserve_replay(1);
    REQUIRE(changed(writer) == std::vector<ShardId>{1, 2, 3, 70, 71, 72});
    REQUIRE(changes.replay_need(1).leaves == 4); // erasures are replayed apart
    REQUIRE(test::validate(index) == "");
    writer.revert(1);
    writer.revert(72);
    writer.insert(3, 9);
    writer.revert(70);
    REQUIRE(test::validate(index) == "");
    writer.commit();
    const auto snapshot = index.snapshot();
    for (const ShardId id : std::initializer_list<ShardId>{1, 70, 72}) REQUIRE(snapshot[id] == 0);
    for (const ShardId id : std::initializer_list<ShardId>{2, 71}) REQUIRE(snapshot[id] == 1);
    REQUIRE(snapshot[3] == 9);
}

TEST_CASE("changes that are placed on another version are found where they then are") {
    Index index(10);
    auto writer = index.writer();
    writer.erase(1);
    for (const ShardId id : std::initializer_list<ShardId>{2, 3, 4}) writer.edit(id) = 1;
    const auto latest = index.snapshot();
    TestAccess::batch(writer).retarget(TestAccess::tree(latest)); // the erasure is forgotten
    REQUIRE(changed(writer) == std::vector<ShardId>{2, 3, 4});
    REQUIRE(test::validate(index) == "");
    writer.revert(3);
    REQUIRE(changed(writer) == std::vector<ShardId>{2, 4});
    writer.erase(1);
    writer.insert(1, 9);
    REQUIRE(writer[1] == 9);
    REQUIRE(writer[2] == 1);
    REQUIRE(test::validate(index) == "");
    writer.commit();
    const auto snapshot = index.snapshot();
    REQUIRE(std::vector<int>(snapshot.begin(), snapshot.end()) ==
            std::vector<int>{0, 9, 1, 0, 1, 0, 0, 0, 0, 0});
}

TEST_CASE("a revert forgets the requirement of its shard alone") {
    Index index(10);
    auto writer = index.writer();
    writer.require(2);
    writer.require(3);
    writer.revert(2);
    REQUIRE(TestAccess::batch(writer).changes.touched() == std::vector<ShardId>{3});
}

TEST_CASE("requirements are compared and reported with the changes") {
    Index index(10);
    auto writer = index.writer();
    writer.edit(1) = 1;
    writer.require(2);
    writer.require(2);
    writer.require(1);
    const auto& changes = TestAccess::batch(writer).changes;
    REQUIRE(changes.touched() == std::vector<ShardId>{1, 2});
    REQUIRE(changes.agrees_with(TestAccess::tree(index.snapshot())));
    index.replace(2, 5);
    REQUIRE_FALSE(changes.agrees_with(TestAccess::tree(index.snapshot())));
    REQUIRE(changes.conflicts_with(TestAccess::tree(index.snapshot())) == std::vector<ShardId>{2});
    index.replace(1, 5);
    REQUIRE(changes.conflicts_with(TestAccess::tree(index.snapshot())) ==
            std::vector<ShardId>{1, 2});
}

namespace {

struct Failing {
    static inline bool fails = false;
    Failing() = default;
    Failing(const Failing&) {
        if (fails) throw std::runtime_error("no");
    }
};

} // namespace

TEST_CASE("a shard that cannot be made leaves the pool of nodes as it was") {
    cowindex::CowIndex<Failing> index(1);
    auto writer = index.writer();
    const auto& pool = TestAccess::batch(writer).pool;
    const auto before = pool.bytes();
    Failing::fails = true;
    REQUIRE_THROWS_AS(writer.edit(0), std::runtime_error);
    Failing::fails = false;
    REQUIRE(pool.bytes() == before);
    REQUIRE_FALSE(writer.has_changes());
}

TEST_CASE("iterators are forward iterators, and items a forward range") {
    using Iterator = Index::Snapshot::iterator;
    STATIC_REQUIRE(std::forward_iterator<Iterator>);
    STATIC_REQUIRE(std::is_same_v<std::iterator_traits<Iterator>::reference, const int&>);
    using Items = decltype(std::declval<const Index::Snapshot&>().items().begin());
    STATIC_REQUIRE(std::forward_iterator<Items>);
    STATIC_REQUIRE(std::is_default_constructible_v<Iterator>);
    REQUIRE(Iterator() == Iterator());

    Index index(std::vector<int>{10, 11, 12});
    const auto snapshot = index.snapshot();
    auto it = snapshot.begin();
    const auto first = it++;
    REQUIRE(*first == 10);
    REQUIRE(first.id() == 0);
    REQUIRE(*it == 11);
    REQUIRE(++it == snapshot.range(2, 3).begin());
    REQUIRE(it.operator->() == &snapshot[2]);
    REQUIRE(++it == snapshot.end());
    const auto items = snapshot.items();
    auto item = items.begin();
    REQUIRE((*item++).id == 0);
    REQUIRE((*item).shard == 11);
    REQUIRE(std::distance(items.begin(), items.end()) == 3);
    REQUIRE_FALSE(items.empty());
}

TEST_CASE("ranges divide the shards, over gaps and boundaries") {
    Index index(300);
    for (ShardId id = 60; id < 200; ++id)
        if (id % 3 != 0) index.erase(id);
    auto writer = index.writer();
    writer.insert(std::numeric_limits<ShardId>::max() - 1, 1);
    writer.commit();
    const auto snapshot = index.snapshot();
    for (const ShardId step : std::initializer_list<ShardId>{1, 7, 63, 64, 65, 128}) {
        std::vector<ShardId> ids;
        for (ShardId first = 0; first < 320; first += step) {
            const auto range = snapshot.range(first, first + step);
            for (auto it = range.begin(); it != range.end(); ++it) ids.push_back(it.id());
        }
        std::vector<ShardId> expected;
        for (const auto item : snapshot.items())
            if (item.id < 320) expected.push_back(item.id);
        REQUIRE(ids == expected);
    }
    REQUIRE(snapshot.range(61, 63).empty());
    REQUIRE(snapshot.range(5, 5).empty());
    REQUIRE(snapshot.range(9, 5).empty());
    REQUIRE(snapshot.range(1 << 20, std::numeric_limits<ShardId>::max()).begin().id() ==
            std::numeric_limits<ShardId>::max() - 1);
}

TEST_CASE("looking up an absent id says so in each way") {
    Index index(3);
    index.erase(1);
    const auto snapshot = index.snapshot();
    REQUIRE(snapshot.find(1) == nullptr);
    REQUIRE(snapshot.find(3) == nullptr);
    REQUIRE_FALSE(snapshot.contains(1));
    REQUIRE(snapshot.contains(2));
    REQUIRE_THROWS_AS(snapshot.at(1), std::out_of_range);
    REQUIRE_THROWS_WITH(snapshot.at(17),
                        test::contains_text("17") && test::contains_text("below 3"));
}
