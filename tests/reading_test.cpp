#include <cowindex/reading.hpp>

#include <string>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"

namespace {

using Index = cowindex::CowIndex<std::string>;
using cowindex::ShardId;

// All that can be read, in one order: for snapshots, views and writers alike.
template <class Reading>
std::vector<std::string> all_of(const Reading& reading) {
    std::vector<std::string> seen{std::to_string(reading.size()),
                                  std::to_string(reading.id_bound())};
    for (const std::string& shard : reading) seen.push_back(shard);
    for (const auto& [id, shard] : reading.items()) seen.push_back(std::to_string(id) + shard);
    const auto range = reading.range(1, 200);
    for (auto it = range.begin(); it != range.end(); ++it)
        seen.push_back(std::to_string(it.id()) + *it);
    for (ShardId id = 0; id < 310; ++id) {
        reading.prefetch(id);
        if (reading.contains(id)) seen.push_back(reading[id] + reading.at(id) + *reading.find(id));
    }
    return seen;
}

} // namespace

TEST_CASE("a snapshot, a view and a writer read alike") {
    Index index(3, "a");
    index.update([](Index::Writer& writer) {
        writer.insert(300, "far");
        writer.insert(100, "near");
        writer.erase(1);
    });
    auto reader = index.reader();
    const auto view = reader.pin();
    const auto expected = all_of(view);
    REQUIRE(expected.size() == 2 + 4 + 4 + 2 + 4);
    REQUIRE(all_of(index.snapshot()) == expected);
    REQUIRE(all_of(index.writer()) == expected);
}

TEST_CASE("what is fetched ahead need not be there") {
    Index index(3);
    const auto snapshot = index.snapshot();
    for (const ShardId id : {ShardId{3}, ShardId{64}, ~ShardId{0}}) snapshot.prefetch(id);
    Index::Snapshot().prefetch(0);
    auto writer = index.writer();
    writer.prefetch(7);
    auto moved = std::move(writer);
    writer.prefetch(0); // NOLINT(bugprone-use-after-move): reads as a version without shards
    REQUIRE_FALSE(moved.has_changes());
}
