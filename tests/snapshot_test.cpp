#include <cowindex/snapshot.hpp>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"

using cowindex::ShardId;

namespace {
using Index = cowindex::CowIndex<std::string>;
using Snapshot = cowindex::Snapshot<std::string>;
} // namespace

TEST_CASE("an empty snapshot reads as a version without shards") {
    const Snapshot empty;
    REQUIRE_FALSE(empty);
    REQUIRE(empty.version() == 0);
    REQUIRE(empty.empty());
    REQUIRE(empty.size() == 0);
    REQUIRE(empty.id_bound() == 0);
    REQUIRE_FALSE(empty.contains(0));
    REQUIRE(empty.find(0) == nullptr);
    REQUIRE(empty.begin() == empty.end());
    REQUIRE(empty.items().empty());
    REQUIRE(empty.range(0, 100).empty());
    REQUIRE_THROWS_AS(empty.at(0), std::out_of_range);
    REQUIRE_THROWS_AS(empty.share(0), std::out_of_range);
    REQUIRE(empty == Snapshot());
    const Snapshot copy = empty; // NOLINT: the copy is the point
    REQUIRE(copy == empty);
    REQUIRE(copy.empty());
}

TEST_CASE("a snapshot reads its version, however the index goes on") {
    Index index(3, "a");
    const Snapshot snapshot = index.snapshot();
    index.edit(1, [](std::string& s) { s = "b"; });
    index.append("c");
    index.erase(0);
    REQUIRE(snapshot);
    REQUIRE(snapshot.version() == 0);
    REQUIRE(snapshot.size() == 3);
    REQUIRE(snapshot.id_bound() == 3);
    REQUIRE(snapshot[1] == "a");
    REQUIRE(snapshot.at(0) == "a");
    REQUIRE_FALSE(snapshot.contains(3));
    REQUIRE(std::count(snapshot.begin(), snapshot.end(), "a") == 3);
    const Snapshot now = index.snapshot();
    REQUIRE(now.version() == 3);
    REQUIRE(now.size() == 3);
    REQUIRE(now.id_bound() == 4);
    REQUIRE(now[1] == "b");
    REQUIRE(&now[2] == &snapshot[2]); // what was not touched is shared
    REQUIRE(&now[1] != &snapshot[1]);
}

TEST_CASE("copies are the same snapshot, moved-from ones are empty") {
    Index index(2, "a");
    Snapshot first = index.snapshot();
    Snapshot second = first;
    REQUIRE(first == second);
    REQUIRE(first == index.snapshot());
    REQUIRE(index.active_readers() == 2);
    Snapshot third = std::move(first);
    REQUIRE(third == second);
    REQUIRE(first.empty()); // NOLINT: moved-from ones are empty
    REQUIRE(first == Snapshot());
    REQUIRE(index.active_readers() == 2);
    first = third;
    REQUIRE(index.active_readers() == 3);
    Snapshot& alias = third;
    third = alias;
    REQUIRE(third == second);
    first = std::move(second);
    third = Snapshot();
    REQUIRE(index.active_readers() == 1);
    index.replace(0, "b");
    REQUIRE_FALSE(first == index.snapshot());
    Index other(2, "a");
    REQUIRE_FALSE(first == other.snapshot());
    std::swap(first, third);
    REQUIRE(third[0] == "a");
    third = {};
    REQUIRE(index.active_readers() == 0);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Snapshot>);
    STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<Snapshot>);
}

TEST_CASE("a shared shard keeps its whole version") {
    Index index(2, "a");
    std::shared_ptr<const std::string> shared = index.snapshot().share(1);
    index.replace(1, "b");
    index.replace(0, "b");
    index.reclaim();
    REQUIRE(*shared == "a");
    REQUIRE(index.active_readers() == 0);
    REQUIRE(index.pins().size() == 1);
    REQUIRE(index.pins().front().holders == 0);
    REQUIRE_THROWS_AS(index.snapshot().share(9), std::out_of_range);
    shared.reset();
    index.reclaim();
    REQUIRE(index.pins().empty());
}
