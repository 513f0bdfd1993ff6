#include <cowindex/detail/snapshot_label.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using Labels = std::vector<std::string>;

namespace {

struct Policy : cowindex::DefaultPolicy<std::string> {
    using Allocator = test::CountingAllocator<std::byte>;
};
using Index = cowindex::CowIndex<std::string, Policy>;
using Snapshot = Index::Snapshot;

const std::string long_label = "a label that does not fit into the string itself";

// Of the oldest version held.
Labels labels(const Index& index) {
    const auto pins = index.pins();
    if (pins.empty()) return {};
    Labels labels = pins[0].labels;
    std::sort(labels.begin(), labels.end());
    return labels;
}

} // namespace

TEST_CASE("a label is shown as long as any copy of its snapshot lives") {
    Index index(3, "a");
    std::optional<Snapshot> first(index.snapshot("report"));
    REQUIRE(index.pins().empty()); // of the latest version nobody needs to be told
    std::optional<Snapshot> copy(*first);
    std::optional<Snapshot> plain(index.snapshot());
    index.replace(0, "b");
    REQUIRE(labels(index) == Labels{"report"});
    REQUIRE(index.pins()[0].holders == 3);
    REQUIRE(index.active_readers() == 3);
    REQUIRE(test::validate(index) == "");

    first.reset();
    REQUIRE(labels(index) == Labels{"report"});
    REQUIRE(index.pins()[0].holders == 2);
    Snapshot moved = std::move(*copy);
    copy.reset();
    REQUIRE(labels(index) == Labels{"report"});
    REQUIRE(moved == *plain);
    REQUIRE(moved[0] == "a");

    // Assigned over: the label goes with its last snapshot, the version stays.
    moved = *plain;
    REQUIRE(labels(index).empty());
    REQUIRE(index.pins()[0].holders == 2);
    moved = {};
    plain.reset();
    REQUIRE(index.pins().empty());
    REQUIRE(index.active_readers() == 0);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("several labels on one version are listed each, whichever goes first") {
    for (std::size_t gone = 0; gone < 3; ++gone) {
        Index index(3, "a");
        std::vector<Snapshot> held;
        for (const char* name : {"one", "two", "three"}) held.push_back(index.snapshot(name));
        auto reader = index.reader("four");
        const auto view = reader.pin();
        held.push_back(view.snapshot("five"));
        index.replace(0, "b");
        REQUIRE(labels(index) == Labels{"five", "four", "one", "three", "two"});
        REQUIRE(index.pins()[0].holders == 5);
        Labels left{"five", "four", "one", "three", "two"};
        left.erase(std::find(left.begin(), left.end(),
                             gone == 0   ? "one"
                             : gone == 1 ? "two"
                                         : "three"));
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(gone));
        REQUIRE(labels(index) == left);
        REQUIRE(test::validate(index) == "");
        held.erase(held.begin(), held.begin() + 2);
        REQUIRE(labels(index) == Labels{"five", "four"});
        held.clear();
        REQUIRE(labels(index) == Labels{"four"});
    }
}

TEST_CASE("a shared shard keeps the label of the snapshot that it came from") {
    Index index(3, "a");
    std::shared_ptr<const std::string> shard = index.snapshot("cache").share(1);
    index.replace(1, "b");
    REQUIRE(labels(index) == Labels{"cache"});
    REQUIRE(index.pins()[0].holders == 0);
    REQUIRE(*shard == "a");
    std::weak_ptr<const std::string> weak = shard;
    shard.reset();
    REQUIRE(weak.expired());
    REQUIRE(index.pins().empty());
    index.reclaim();
    // A weak pointer keeps the label's memory, but no longer the version's record.
    REQUIRE(index.memory_usage().reclaimable_bytes == 0);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("an empty label is none") {
    Index index(3, "a");
    const Snapshot snapshot = index.snapshot("");
    index.replace(0, "b");
    REQUIRE(index.pins()[0].labels.empty());
    REQUIRE(index.pins()[0].holders == 1);
}

TEST_CASE("labelled snapshots outlive the index, and go in any order") {
    for (int order = 0; order < 6; ++order) {
        test::AllocationAccount account;
        cowindex::Options<Policy> options;
        options.allocator = test::CountingAllocator<std::byte>(account);
        std::vector<Snapshot> held;
        std::shared_ptr<const std::string> shard;
        {
            Index index(3, "a", options);
            held.push_back(index.snapshot(long_label));
            held.push_back(held[0]);
            index.replace(0, "b");
            shard = index.snapshot(long_label).share(0);
            held.push_back(index.snapshot("latest"));
            if (order % 2 == 0) index.replace(1, "c");
        }
        for (int i = order % 3; i > 0; --i) std::rotate(held.begin(), held.begin() + 1, held.end());
        if (order < 3) shard.reset();
        while (!held.empty()) {
            REQUIRE(held.back()[0] == (held.back().version() == 0 ? "a" : "b"));
            held.pop_back();
        }
        if (shard != nullptr) REQUIRE(*shard == "b");
        shard.reset();
        REQUIRE(account.live_bytes == 0);
        REQUIRE_FALSE(account.mismatched);
    }
}

TEST_CASE("labels come and go in many threads, while versions do") {
    Index index(8, "a");
    std::vector<std::thread> threads;
    for (int n = 0; n < 3; ++n)
        threads.emplace_back([&index, n] {
            auto reader = index.reader();
            std::vector<Snapshot> kept;
            for (int i = 0; i < 2000; ++i) {
                kept.push_back(i % 2 == 0 ? index.snapshot("taken")
                                          : reader.pin().snapshot(long_label));
                if (i % 3 == 0) kept.push_back(kept.front());
                if (kept.size() > 4) kept.erase(kept.begin(), kept.begin() + 2);
                if (i % 100 == n) static_cast<void>(index.pins());
            }
        });
    for (int i = 0; i < 2000; ++i) index.replace(static_cast<cowindex::ShardId>(i % 8), "b");
    for (auto& thread : threads) thread.join();
    index.reclaim();
    REQUIRE(index.pins().empty());
    REQUIRE(index.active_readers() == 0);
    REQUIRE(index.memory_usage().retained_bytes == 0);
    REQUIRE(test::validate(index) == "");
}
