#include <cowindex/index_writer.hpp>

#include <cstdint>
#include <forward_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"

using cowindex::CommitStatus;
using cowindex::ShardId;

namespace {
using Index = cowindex::CowIndex<std::string>;
} // namespace

TEST_CASE("a writer shows its own edits, the index does not until the commit") {
    Index index(3, "a");
    auto writer = index.writer();
    REQUIRE(writer.base_version() == 0);
    REQUIRE(writer.version() == 0);
    REQUIRE_FALSE(writer.has_changes());
    writer.edit(0) += "b";
    writer.replace(1, "c");
    writer.emplace(2, 3U, 'd');
    const ShardId appended = writer.append("e");
    REQUIRE(appended == 3);
    writer.insert(10, "f");
    REQUIRE(writer.size() == 5);
    REQUIRE(writer.id_bound() == 11);
    REQUIRE(std::vector<std::string>(writer.begin(), writer.end()) ==
            std::vector<std::string>{"ab", "c", "ddd", "e", "f"});
    REQUIRE(writer.modified_count() == 5);
    REQUIRE(writer.has_changes());
    REQUIRE(index.size() == 3);
    REQUIRE(index.snapshot()[0] == "a");
    REQUIRE(writer.commit() == 1);
    REQUIRE(index.snapshot()[10] == "f");
    REQUIRE(index.snapshot()[0] == "ab");
    REQUIRE(writer.base_version() == 1);
    REQUIRE_FALSE(writer.has_changes());
    REQUIRE(index.append("g") == 11); // the sequence went past what was inserted
}

TEST_CASE("a writer is used again after a commit, a discard and a conflict") {
    Index index(3, "a");
    auto writer = index.writer();
    for (int i = 0; i < 5; ++i) {
        writer.edit(0) = std::to_string(i);
        REQUIRE(writer.commit() == static_cast<cowindex::Version>(i + 1));
    }
    writer.edit(0) = "dropped";
    writer.discard();
    REQUIRE(writer[0] == "4");
    REQUIRE(writer.try_commit().status() == CommitStatus::unchanged);
    writer.edit(0) = "lost";
    index.replace(0, "won");
    REQUIRE_THROWS_AS(writer.commit(), cowindex::ConflictError);
    REQUIRE(writer[0] == "lost");
    REQUIRE_THROWS_AS(writer.commit(), cowindex::ConflictError);
    writer.discard();
    REQUIRE(writer[0] == "won");
    REQUIRE(writer.base_version() == 6);
}

TEST_CASE("nothing is committed by a destructor") {
    Index index(1, "a");
    {
        auto writer = index.writer();
        writer.edit(0) = "b";
    }
    REQUIRE(index.version() == 0);
    REQUIRE(index.snapshot()[0] == "a");
}

TEST_CASE("many shards are edited in the order of their ids' range") {
    Index index(500, "a");
    auto writer = index.writer();
    std::vector<ShardId> order;
    const auto append_b = [&](ShardId id, std::string& shard) {
        order.push_back(id);
        shard += "b";
    };
    std::vector<ShardId> ids;
    for (ShardId i = 0; i < 50; ++i) ids.push_back(i * 7 % 50 * 10);
    ids.push_back(490); // twice
    writer.edit_each(ids, append_b);
    REQUIRE(order == ids);
    REQUIRE(writer.modified_count() == 50);
    REQUIRE(writer[490] == "abb");
    writer.commit();
    for (ShardId id = 0; id < 500; ++id)
        REQUIRE(index.snapshot()[id] == (id == 490 ? "abb" : id % 10 == 0 ? "ab" : "a"));

    order.clear();
    writer.edit_each(std::vector<ShardId>(), append_b);
    REQUIRE_FALSE(writer.has_changes());
    const std::forward_list<std::uint8_t> few{3, 1};
    writer.edit_each(few, append_b);
    REQUIRE(order == std::vector<ShardId>{3, 1});
}

TEST_CASE("editing many shards stops at an absent one and keeps what was edited") {
    Index index(3, "a");
    auto writer = index.writer();
    const auto change = [](ShardId, std::string& shard) { shard = "b"; };
    REQUIRE_THROWS_AS(writer.edit_each(std::vector<ShardId>{1, 3, 2}, change), std::out_of_range);
    REQUIRE(writer.modified_count() == 1);
    REQUIRE(writer.commit() == 1);
    REQUIRE(index.snapshot()[1] == "b");
    REQUIRE(index.snapshot()[2] == "a");
}

TEST_CASE("references stay valid through failed commits and moves of the writer") {
    Index index(100, "a");
    auto writer = index.writer();
    std::string& first = writer.edit(1);
    first = "mine";
    for (ShardId id = 20; id < 60; ++id) writer.edit(id) = "more";
    index.replace(1, "theirs");
    REQUIRE_FALSE(writer.try_commit());
    auto moved = std::move(writer);
    first = "still mine";
    REQUIRE(moved[1] == "still mine");
    REQUIRE(&moved.edit(1) == &first);
    moved.revert(1);
    std::string& other = moved.edit(20);
    moved.rebase();
    other = "after";
    REQUIRE(moved.commit() == 2);
    REQUIRE(index.snapshot()[20] == "after");
    REQUIRE(index.snapshot()[1] == "theirs");
}

TEST_CASE("a shard can be erased and come back") {
    Index index(3, "a");
    auto writer = index.writer();
    writer.erase(1);
    REQUIRE_FALSE(writer.contains(1));
    REQUIRE_THROWS_AS(writer.edit(1), std::out_of_range);
    REQUIRE_THROWS_AS(writer.erase(1), std::out_of_range);
    writer.insert(1, "b");
    REQUIRE(writer[1] == "b");
    REQUIRE(writer.modified_count() == 1);
    writer.commit();
    REQUIRE(index.snapshot()[1] == "b");
    REQUIRE(index.size() == 3);
}

TEST_CASE("an own shard that is erased again is as if it had never been") {
    Index index(1, "a");
    auto writer = index.writer();
    const ShardId id = writer.append("b");
    writer.erase(id);
    REQUIRE_FALSE(writer.has_changes());
    REQUIRE(writer.try_commit().status() == CommitStatus::unchanged);
    REQUIRE(index.version() == 0);
    REQUIRE(writer.append("c") == id + 1); // ids are not used again
}

TEST_CASE("a commit without changes publishes nothing and names the latest version") {
    Index index(2, "a");
    auto writer = index.writer();
    writer.require(0);
    index.replace(0, "b");
    const auto result = writer.try_commit();
    REQUIRE(result.status() == CommitStatus::unchanged);
    REQUIRE(static_cast<bool>(result));
    REQUIRE(result.version() == 1);
    REQUIRE(result.conflicts().empty());
    REQUIRE(writer.commit() == 1);
    REQUIRE(writer.base_version() == 0);
}

TEST_CASE("a clone counts as much as what it was copied from, until it is committed") {
    cowindex::CowIndex<std::string> index(1, std::string(1000, 'x'));
    auto writer = index.writer();
    writer.edit(0).shrink_to_fit();
    REQUIRE(writer.memory_overhead() >= 1000);
    REQUIRE(index.memory_usage().uncommitted_bytes == writer.memory_overhead());
}

TEST_CASE("memory_overhead counts clones and nodes") {
    Index index(100, "a");
    auto writer = index.writer();
    REQUIRE(writer.memory_overhead() == 0);
    writer.edit(1);
    const std::size_t one = writer.memory_overhead();
    REQUIRE(one > sizeof(std::string));
    writer.edit(2);
    const std::size_t two = writer.memory_overhead();
    REQUIRE(two > one);
    REQUIRE(two - one < one); // the path is shared
    writer.revert(2);
    REQUIRE(writer.memory_overhead() == one);
    writer.discard();
    REQUIRE(writer.memory_overhead() == 0);
}

TEST_CASE("a commit measures what was edited, also one that is refused") {
    cowindex::CowIndex<std::vector<int>> index(10);
    auto writer = index.writer();
    std::vector<int>& shard = writer.edit(1);
    const std::size_t guessed = writer.memory_overhead();
    shard.reserve(1000);
    index.replace(1, {});
    REQUIRE_FALSE(writer.try_commit());
    REQUIRE(writer.memory_overhead() == guessed + shard.capacity() * sizeof(int));
    REQUIRE(index.metrics().uncommitted_bytes == writer.memory_overhead());
    writer.revert(1);
    REQUIRE(writer.memory_overhead() < guessed);
    writer.discard();
    REQUIRE(writer.memory_overhead() == 0);
    const auto before = index.memory_usage().live_bytes;
    index.edit(1, [](std::vector<int>& values) { values.reserve(500); });
    REQUIRE(index.memory_usage().live_bytes ==
            before + index.snapshot()[1].capacity() * sizeof(int));
}

TEST_CASE("ids at the upper end") {
    constexpr ShardId last = std::numeric_limits<ShardId>::max() - 1;
    Index index;
    auto writer = index.writer();
    writer.insert(last, "end");
    REQUIRE(writer.id_bound() == last + 1);
    REQUIRE_THROWS_AS(writer.insert(last + 1, "x"), std::length_error);
    REQUIRE_THROWS_AS(writer.append("x"), std::length_error);
    REQUIRE_THROWS_WITH(writer.append("x"), test::contains_text("2^64 - 2"));
    REQUIRE(writer.modified_count() == 1);
    writer.commit();
    REQUIRE(index.snapshot()[last] == "end");
    REQUIRE(index.snapshot().begin().id() == last);
    REQUIRE(index.size() == 1);
    REQUIRE_THROWS_AS(index.append("x"), std::length_error);
}

TEST_CASE("what was offered is untouched when the id is refused") {
    Index index(1, "a");
    auto writer = index.writer();
    std::string text = "a string that is too long to be kept inside itself";
    const std::string copy = text;
    REQUIRE_THROWS_AS(writer.replace(7, std::move(text)), std::out_of_range);
    REQUIRE(text == copy); // NOLINT: on purpose
    REQUIRE_THROWS_AS(writer.insert(0, std::move(text)), std::invalid_argument);
    REQUIRE(text == copy); // NOLINT
}
