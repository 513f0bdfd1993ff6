// Policies that assign to retired shards instead of making new ones.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/faults.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using test::Faults;

namespace {

// Owns memory, and says so.
struct Words {
    static inline std::int64_t alive = 0;
    static inline std::uint64_t assigned = 0;

    explicit Words(std::size_t count = 8) : words(count, std::string(40, 'w')) { ++alive; }
    Words(const Words& other) : number(other.number), words(other.words) { ++alive; }
    Words(Words&& other) noexcept : number(other.number), words(std::move(other.words)) { ++alive; }
    Words& operator=(const Words& other) {
        number = -1; // until all is done
        words = other.words;
        Faults::call();
        number = other.number;
        ++assigned;
        return *this;
    }
    ~Words() { --alive; }

    [[nodiscard]] std::size_t memory_usage() const { return words.size() * 64; }

    int number = 0;
    std::vector<std::string> words;
};

struct Recycling : cowindex::DefaultPolicy<Words> {
    static void assign(Words& retired, const Words& shard) { retired = shard; }
};
using Index = cowindex::CowIndex<Words, Recycling>;

std::size_t pooled(const Index& index) { return index.memory_usage().pooled_bytes; }

} // namespace

TEST_CASE("with assign, commits in a steady state allocate nothing, whatever the shards own") {
    Index index(100);
    auto writer = index.writer();
    const auto commit = [&](ShardId id) {
        ++writer.edit(id % 100).number;
        writer.commit();
    };
    for (ShardId id = 0; id < 1000; ++id) commit(id);
    Words::assigned = 0;
    const std::uint64_t allocations = Faults::allocations;
    for (ShardId id = 0; id < 1000; ++id) commit(id);
    REQUIRE(Faults::allocations == allocations);
    REQUIRE(Words::assigned == 1000);
    REQUIRE(index.metrics().clone_operations == 2000);
    for (ShardId id = 0; id < 100; ++id) REQUIRE(index.snapshot()[id].number == 20);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("with assign, no version that somebody holds changes") {
    Index index(20);
    std::mt19937_64 random(5);
    std::vector<std::pair<Index::Snapshot, std::vector<int>>> held;
    std::vector<int> numbers(20);
    auto reader = index.reader();
    for (int step = 1; step <= 2000; ++step) {
        index.update([&](Index::Writer& writer) {
            for (int i = 0; i < 3; ++i) {
                const auto id = static_cast<ShardId>(random() % 20);
                numbers[id] = writer.edit(id).number = step * 10 + i;
                if (random() % 4 == 0) writer.revert(id);
                numbers[id] = writer[id].number;
                if (random() % 8 == 0) {
                    writer.replace(id, Words(2));
                    numbers[id] = 0;
                }
            }
        });
        static_cast<void>(reader.pin());
        if (random() % 10 == 0) held.emplace_back(index.snapshot(), numbers);
        if (held.size() > 5) held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % 5));
        for (const auto& [snapshot, expected] : held)
            for (ShardId id = 0; id < 20; ++id)
                REQUIRE(snapshot[id].number == expected[static_cast<std::size_t>(id)]);
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("few retired shards are kept, none that is large, all of them counted") {
    const std::int64_t before = Words::alive;
    {
        Index small(200, Words(1));
        auto writer = small.writer();
        for (int round = 0; round < 5; ++round) {
            for (ShardId id = 0; id < 200; ++id) ++writer.edit(id).number;
            writer.commit();
        }
        small.reclaim();
        REQUIRE(Words::alive - before > 200);
        REQUIRE(Words::alive - before <= 200 + 32);
        REQUIRE(pooled(small) > 32 * 64);

        Index large(10, Words(100));
        auto other = large.writer();
        const std::int64_t then = Words::alive;
        const std::size_t empty = pooled(large);
        for (int round = 0; round < 5; ++round) {
            for (ShardId id = 0; id < 10; ++id) ++other.edit(id).number;
            other.commit();
        }
        large.reclaim();
        REQUIRE(Words::alive > then);
        REQUIRE(pooled(large) - empty >= static_cast<std::size_t>(Words::alive - then) * 6400);

        Index huge(4, Words(10000));
        auto third = huge.writer();
        const std::int64_t live = Words::alive;
        for (ShardId id = 0; id < 100; ++id) {
            ++third.edit(id % 4).number;
            third.commit();
        }
        huge.reclaim();
        REQUIRE(Words::alive == live);
    }
    REQUIRE(Words::alive == before);
}

TEST_CASE("retired shards are kept up to a quarter of a megabyte") {
    Index index(100, Words(1000)); // some 64 KB each
    const std::int64_t before = Words::alive;
    auto writer = index.writer();
    for (int round = 0; round < 3; ++round) {
        for (ShardId id = 0; id < 100; ++id) ++writer.edit(id).number;
        writer.commit();
    }
    index.reclaim();
    REQUIRE(Words::alive - before == 4);
}

TEST_CASE("whatever fails while assigning, everything is as before and the writer goes on") {
    const std::int64_t before = Words::alive;
    for (const bool for_ever : {false, true}) {
        for (std::uint64_t k = 0;; ++k) {
            Index index(50);
            auto writer = index.writer();
            for (ShardId id = 0; id < 20; ++id) {
                ++writer.edit(id).number;
                writer.commit();
            }
            // More words than any retired shard has room for.
            index.replace(30, Words(50));
            writer.discard();
            const std::size_t stock = pooled(index);
            const std::int64_t live = Words::alive;
            bool failed = false;
            Faults::arm(k, for_ever);
            try {
                ++writer.edit(30).number;
            } catch (...) {
                failed = true;
            }
            const bool fired = Faults::fired > 0;
            Faults::disarm();
            REQUIRE(failed == fired);
            if (failed) {
                REQUIRE_FALSE(writer.has_changes());
                REQUIRE(Words::alive == live);
                REQUIRE(pooled(index) == stock);
                REQUIRE(test::validate(index) == "");
                ++writer.edit(30).number;
            }
            writer.commit();
            REQUIRE(index.snapshot()[30].number == 1);
            REQUIRE(index.snapshot()[30].words.size() == 50);
            REQUIRE(test::validate(index) == "");
            if (!failed) {
                REQUIRE(k > 10);
                break;
            }
        }
    }
    REQUIRE(Words::alive == before);
}

TEST_CASE("other writes use no retired shard, and leave them for the next copy") {
    Index index(10);
    index.edit(0, [](Words& shard) { ++shard.number; });
    index.edit(1, [](Words& shard) { ++shard.number; });
    const std::uint64_t assigned = Words::assigned;
    index.replace(2, Words(3));
    const ShardId id = index.append(Words(4));
    index.erase(5);
    REQUIRE(Words::assigned == assigned);
    REQUIRE(index.snapshot()[2].words.size() == 3);
    REQUIRE(index.snapshot()[id].words.size() == 4);
    index.edit(id, [](Words& shard) { ++shard.number; });
    REQUIRE(Words::assigned == assigned + 1);
    REQUIRE(index.snapshot()[id].words.size() == 4);
}

namespace {

struct Watched {
    static inline std::function<void()> on_destruction;
    explicit Watched(bool its_armed = false) : armed(its_armed) {}
    Watched(const Watched& other) = default;
    Watched(Watched&& other) noexcept : armed(std::exchange(other.armed, false)) {}
    Watched& operator=(const Watched&) { return *this; } // stays armed
    ~Watched() {
        if (armed && on_destruction) on_destruction();
    }
    bool armed;
};
struct Counted : cowindex::DefaultPolicy<Watched> {
    using Allocator = test::CountingAllocator<std::byte>;
    static void assign(Watched& retired, const Watched& shard) { retired = shard; }
};

} // namespace

TEST_CASE("what a writer had in stock is in the accounts until it is freed") {
    constexpr int writers = 10; // more than are kept idle
    const auto allocated = [] { return Counted::Allocator::common().live_bytes; };
    cowindex::CowIndex<Watched, Counted> index(60, [](ShardId) { return Watched(true); });
    std::vector<std::optional<decltype(index)::Writer>> open(writers);
    for (auto& writer : open) writer.emplace(index.writer());
    for (ShardId id = 0; id < 60; ++id) {
        for (auto& writer : open) writer->discard();
        auto& writer = open[id % writers];
        writer->edit(id);
        writer->commit();
    }
    REQUIRE(allocated() == index.memory_usage().total_bytes());
    int looks = 0;
    Watched::on_destruction = [&] {
        ++looks;
        REQUIRE(allocated() <= index.memory_usage().total_bytes());
    };
    for (auto& writer : open) writer.reset();
    REQUIRE(looks > 0);
    Watched::on_destruction = nullptr;
    REQUIRE(allocated() == index.memory_usage().total_bytes());
}
