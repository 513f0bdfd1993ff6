// Waiting: for room within the memory budget, and for versions to come.
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <support/catch.hpp>
#include <support/validate.hpp>

#include <cowindex/cowindex.hpp>
#include <cowindex/detail/clock.hpp>

using namespace std::chrono_literals;
using cowindex::MemoryBudget;
using cowindex::MemoryBudgetError;

namespace {

using Shard = std::vector<char>;
using Index = cowindex::CowIndex<Shard>;

constexpr std::size_t kilobyte = 1000;

Index::Options with_budget(MemoryBudget budget) {
    Index::Options options;
    options.budget = std::move(budget);
    return options;
}

// Ten shards of `bytes` each.
Index make_index(const Index::Options& options, std::size_t bytes) {
    return Index(10, Shard(bytes), options);
}

void rewrite(Index::Writer& writer, cowindex::ShardId id, std::size_t bytes) {
    writer.replace(id, Shard(bytes));
}

} // namespace

TEST_CASE("what nobody holds does not count against the hard limit") {
    Index index = make_index(with_budget({.hard_bytes = 150 * kilobyte}), 10 * kilobyte);
    for (int round = 0; round < 50; ++round)
        index.update([&](Index::Writer& writer) {
            for (cowindex::ShardId id = 0; id < 4; ++id) rewrite(writer, id, 10 * kilobyte);
        });
    REQUIRE(index.version() == 50);
}

TEST_CASE("update() passes the budget error on and does not try again") {
    Index index = make_index(with_budget({.hard_bytes = 120 * kilobyte}), 10 * kilobyte);
    int runs = 0;
    const auto grow = [&](Index::Writer& writer) {
        ++runs;
        writer.append(Shard(50 * kilobyte));
    };
    REQUIRE_THROWS_AS(index.update(grow), MemoryBudgetError);
    REQUIRE(runs == 1);
    REQUIRE(index.version() == 0);
    REQUIRE_THROWS_AS(index.append(Shard(50 * kilobyte)), MemoryBudgetError);
    REQUIRE_THROWS_AS(index.replace(1, Shard(50 * kilobyte)), MemoryBudgetError);
    REQUIRE(index.metrics().uncommitted_bytes == 0);
}

TEST_CASE("commit_for waits for room and gives up in time, with the writer as it was") {
    Index index = make_index(with_budget({.hard_bytes = 150 * kilobyte}), 10 * kilobyte);
    auto held = index.snapshot();
    index.update([](Index::Writer& writer) {
        for (cowindex::ShardId id = 0; id < 4; ++id) rewrite(writer, id, 10 * kilobyte);
    });
    auto writer = index.writer(); // of other shards, which the snapshot holds too
    for (cowindex::ShardId id = 4; id < 8; ++id) rewrite(writer, id, 10 * kilobyte);
    REQUIRE_THROWS_AS(writer.commit_for(0ms), MemoryBudgetError);
    REQUIRE_THROWS_AS(writer.commit_for(1ms), MemoryBudgetError);
    REQUIRE(writer.modified_count() == 4);
    std::thread letting_go([&] { held = {}; });
    REQUIRE(writer.commit_for(1h) == 2);
    letting_go.join();
    REQUIRE_THROWS_AS(writer.commit_for(-1ns), std::invalid_argument);

    auto late = index.writer();
    rewrite(late, 1, 10);
    index.replace(1, Shard(20));
    REQUIRE_THROWS_AS(late.commit_for(1h), cowindex::ConflictError);
}

TEST_CASE("commit_for looks for room again soon, however long it has waited and may wait") {
    struct Watched : cowindex::DefaultPolicy<Shard> {
        static std::function<void()>& look() {
            static std::function<void()> function;
            return function;
        }
        static std::size_t bytes(const Shard& shard) {
            if (look()) look()();
            return shard.size();
        }
        static void back_off(int) noexcept {}
    };
    cowindex::Options<Watched> options;
    options.budget.hard_bytes = 150 * kilobyte;
    cowindex::CowIndex<Shard, Watched> index(10, Shard(10 * kilobyte), options);
    std::optional held(index.snapshot());
    index.update([](auto& writer) {
        for (cowindex::ShardId id = 0; id < 4; ++id) writer.replace(id, Shard(10 * kilobyte));
    });
    auto writer = index.writer();
    writer.replace(4, Shard(20 * kilobyte));
    int looks = 0;
    Watched::look() = [&] {
        if (++looks == 20) held.reset(); // pauses that went on growing would come to an hour
    };
    REQUIRE(writer.commit_for(1h) == 2);
    REQUIRE(looks == 20);
    Watched::look() = nullptr;
}

TEST_CASE("waiting for a version ends when it is there, or at the deadline") {
    Index index(4);
    REQUIRE(index.wait_for_version(0, 0s));
    REQUIRE_FALSE(index.wait_for_version(1, 1ms));
    REQUIRE_THROWS_AS(index.wait_for_version(1, -1ns), std::invalid_argument);

    auto reader = index.reader();
    const cowindex::Version seen = reader.pin().version();
    REQUIRE_FALSE(reader.wait_for_newer(seen, 0s));
    REQUIRE_THROWS_AS(reader.wait_for_newer(seen, -1ns), std::invalid_argument);
    index.replace(0, Shard(1));
    REQUIRE(reader.wait_for_newer(seen, 0s));
}

TEST_CASE("a timeout that ends after all time is none") {
    using cowindex::detail::deadline_after;
    using Clock = std::chrono::steady_clock;
    REQUIRE(deadline_after(std::chrono::nanoseconds::max()) == Clock::time_point::max());
    const auto before = Clock::now();
    const auto deadline = deadline_after(1h);
    const auto after = Clock::now();
    REQUIRE(deadline >= before + 1h);
    REQUIRE(deadline <= after + 1h);
}

TEST_CASE("who waits is known as long as it waits") {
    Index index(1);
    auto& core = test::TestAccess::core(index);
    REQUIRE(index.wait_for_version(0, 0s));
    REQUIRE(test::TestAccess::waiters(core) == 0);
    REQUIRE_FALSE(index.wait_for_version(1, 1ms));
    REQUIRE(test::TestAccess::waiters(core) == 0);
    std::thread waiting([&] { static_cast<void>(index.wait_for_version(1, 1h)); });
    while (test::TestAccess::waiters(core) == 0) std::this_thread::yield();
    index.replace(0, Shard(1));
    waiting.join();
    REQUIRE(test::TestAccess::waiters(core) == 0);
}

TEST_CASE("no wake is missed") {
    // Two threads hand versions to each other; each waits for the other's. A missed wake ends in
    // the watchdog.
    Index index(2);
    constexpr cowindex::Version rounds = 2000;
    const auto player = [&](cowindex::Version first) {
        for (cowindex::Version version = first; version < rounds; version += 2) {
            REQUIRE(index.wait_for_version(version, 1h));
            index.replace(first, Shard(1));
        }
    };
    std::thread odd([&] { player(1); });
    player(0);
    odd.join();
    REQUIRE(index.version() == rounds);
}
