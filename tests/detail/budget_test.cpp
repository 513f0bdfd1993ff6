#include <cowindex/detail/budget.hpp>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::CommitStatus;
using cowindex::MemoryBudget;
using cowindex::MemoryBudgetError;
using cowindex::MemoryStats;
using cowindex::ShardId;

namespace {

struct Block {
    int value = 0;
    char rest[1000] = {};
};

struct Policy : cowindex::DefaultPolicy<Block> {
    using Allocator = test::CountingAllocator<std::byte>;
    static void back_off(int) noexcept { ++backed_off; }
    static inline int backed_off = 0;
};
using Index = cowindex::CowIndex<Block, Policy>;

constexpr std::size_t count = 64;

std::size_t bytes_at_first() { return Index(count).memory_usage().live_bytes; }

Index limited(MemoryBudget budget) {
    cowindex::Options<Policy> options;
    options.budget = std::move(budget);
    return Index(count, options);
}

} // namespace

TEST_CASE("a commit above the hard limit is refused, until a reader lets go") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 20000;
    Index index = limited(budget);
    auto reader = index.reader("a slow reader");
    std::optional<Index::View> view(reader.pin());
    auto writer = index.writer();
    std::size_t committed = 0;
    for (ShardId id = 0; id < count; ++id) {
        writer.edit(id).value = 1;
        if (writer.try_commit().status() != CommitStatus::committed) break;
        ++committed;
    }
    REQUIRE(committed > 10);
    REQUIRE(committed < 20);
    REQUIRE(index.version() == committed);

    const auto refused = writer.try_commit();
    REQUIRE(refused.status() == CommitStatus::over_budget);
    REQUIRE_FALSE(static_cast<bool>(refused));
    REQUIRE(refused.version() == committed);
    REQUIRE_THROWS_AS(writer.commit(), MemoryBudgetError);
    try {
        writer.commit();
    } catch (const MemoryBudgetError& error) {
        REQUIRE(error.budget_bytes() == budget.hard_bytes);
        REQUIRE(error.needed_bytes() > budget.hard_bytes);
        REQUIRE_THAT(error.what(), test::contains_text(std::to_string(budget.hard_bytes)));
        REQUIRE_THAT(error.what(), test::contains_text(std::to_string(error.needed_bytes())));
        REQUIRE_THAT(error.what(), test::contains_text("'a slow reader'"));
        REQUIRE_THAT(error.what(), test::contains_text("version 0"));
    }
    REQUIRE(index.version() == committed);
    REQUIRE(writer.modified_count() == 1);
    REQUIRE((*view)[0].value == 0);
    REQUIRE(test::validate(index) == "");

    view.reset();
    REQUIRE(writer.commit() == committed + 1);
    REQUIRE(index.snapshot()[committed].value == 1);
    REQUIRE(test::validate(index) == "");
}

namespace {

// The smallest bound, up to `most`, for which `fits` says so.
template <class Fits>
std::size_t smallest(std::size_t most, Fits&& fits) {
    std::size_t least = bytes_at_first() / 2;
    while (least < most) {
        const std::size_t middle = least + (most - least) / 2;
        if (fits(middle))
            most = middle;
        else
            least = middle + 1;
    }
    return least;
}

std::size_t bytes_of(const MemoryStats& stats) {
    return stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes;
}

} // namespace

TEST_CASE("the limits are met to the byte") {
    for (const bool held : {false, true}) {
        // What an index of that budget holds after a commit; nothing where it is refused.
        const auto bytes_after = [held](MemoryBudget budget) -> std::optional<std::size_t> {
            Index index = limited(std::move(budget));
            const auto snapshot = held ? index.snapshot() : Index::Snapshot();
            auto writer = index.writer();
            writer.edit(0).value = 1;
            writer.edit(63).value = 1;
            if (!writer.try_commit()) return std::nullopt;
            return bytes_of(index.memory_usage());
        };
        const std::size_t bytes = *bytes_after({});
        REQUIRE((bytes > bytes_at_first() + 2000) == held);
        REQUIRE(smallest(2 * bytes, [&](std::size_t hard) {
                    MemoryBudget budget;
                    budget.hard_bytes = hard;
                    return bytes_after(budget).has_value();
                }) == bytes);
        REQUIRE(smallest(2 * bytes, [&](std::size_t soft) {
                    bool called = false;
                    MemoryBudget budget;
                    budget.soft_bytes = soft;
                    budget.on_pressure = [&](const MemoryStats&) { called = true; };
                    bytes_after(budget);
                    return !called;
                }) == bytes);
    }
}

TEST_CASE("a commit gives way to others only where it would fit without them") {
    // How often a commit, which is refused for a snapshot, has given way.
    const auto times = [](std::size_t hard) {
        MemoryBudget budget;
        budget.hard_bytes = hard;
        Index index = limited(budget);
        const auto held = index.snapshot();
        auto writer = index.writer();
        writer.append(Block());
        Policy::backed_off = 0;
        REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
        return Policy::backed_off;
    };
    Index larger(count);
    larger.append(Block());
    const std::size_t alone = bytes_of(larger.memory_usage());
    REQUIRE(times(alone) > 0);
    REQUIRE(times(alone) < 100);
    REQUIRE(times(alone - 1) == 0);
}

TEST_CASE("past the soft limit all that nobody holds is freed before anybody is called") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 20000;
    int calls = 0;
    budget.on_pressure = [&](const MemoryStats&) { ++calls; };
    Index index = limited(budget);
    auto reader = index.reader();
    std::optional<Index::View> view(reader.pin());
    for (ShardId id = 0; id < 12; ++id) index.edit(id, [](Block& block) { block.value = 1; });
    view.reset();
    index.update([](auto& writer) {
        for (int i = 0; i < 10; ++i) writer.append(Block());
    });
    REQUIRE(calls == 0);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("what the callback lets go of makes room at once") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 20000;
    budget.hard_bytes = budget.soft_bytes + 2000;
    std::optional<Index::Snapshot> held;
    budget.on_pressure = [&](const MemoryStats&) { held.reset(); };
    Index index = limited(budget);
    held.emplace(index.snapshot());
    index.update([](auto& writer) {
        for (ShardId id = 0; id < 12; ++id) writer.edit(id).value = 1;
    });
    REQUIRE(held.has_value());
    Policy::backed_off = 0;
    index.update([](auto& writer) {
        for (int i = 0; i < 10; ++i) writer.append(Block());
    });
    REQUIRE_FALSE(held.has_value());
    REQUIRE(Policy::backed_off == 0);
}

TEST_CASE("without readers a full index can still be changed, and cannot grow") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 4000;
    Index index = limited(budget);
    for (int i = 0; i < 1000; ++i)
        index.edit(static_cast<ShardId>(i) % count, [&](Block& block) { block.value = i; });
    REQUIRE(index.version() == 1000);
    REQUIRE_THROWS_AS(
        [&] {
            for (int i = 0; i < 10; ++i) index.append(Block());
        }(),
        MemoryBudgetError);
    REQUIRE(index.size() > count);
    REQUIRE(index.size() < count + 5);
    index.erase(0);
    index.append(Block());
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("past the soft limit the callback is called once for each crossing") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 20000;
    int calls = 0;
    std::optional<Index::Snapshot> held;
    Index* used = nullptr;
    std::size_t bytes_told = 0;
    bool let_go = false;
    budget.on_pressure = [&](const MemoryStats& stats) {
        ++calls;
        bytes_told = stats.total_bytes();
        static_cast<void>(used->memory_usage()); // no lock is held
        if (let_go) held.reset();
    };
    Index index = limited(budget);
    used = &index;
    for (int round = 1; round <= 3; ++round) {
        held.emplace(index.snapshot());
        for (ShardId id = 0; id < 40; ++id)
            index.edit(id, [&](Block& block) { block.value = round; });
        REQUIRE(calls == round);
        REQUIRE(bytes_told > 0);
        held.reset();
        index.reclaim();
        index.edit(50, [&](Block& block) { block.value = round; });
    }
    let_go = true;
    held.emplace(index.snapshot());
    for (ShardId id = 0; id < 40; ++id) index.edit(id, [](Block& block) { block.value = 9; });
    REQUIRE(calls == 4);
    REQUIRE_FALSE(held.has_value());
    REQUIRE(index.memory_usage().retained_bytes == 0);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a limit that is crossed by one commit is told each time") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 20000;
    int calls = 0;
    budget.on_pressure = [&](const MemoryStats&) { ++calls; };
    Index index = limited(budget);
    for (int round = 1; round <= 3; ++round) {
        auto held = std::make_optional(index.snapshot());
        index.update([&](auto& writer) {
            for (ShardId id = 0; id < 40; ++id) writer.edit(id).value = round;
        });
        REQUIRE(calls == round);
        held.reset();
        index.reclaim();
        index.edit(50, [&](Block& block) { block.value = round; }); // far below again
    }
}

TEST_CASE("what the callback throws passes through, and nothing is published") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 20000;
    budget.on_pressure = [](const MemoryStats&) { throw std::runtime_error("no room"); };
    Index index = limited(budget);
    const auto held = index.snapshot();
    auto writer = index.writer();
    bool thrown = false;
    for (ShardId id = 0; id < count && !thrown; ++id) {
        writer.edit(id).value = 1;
        const auto version = index.version();
        try {
            writer.commit();
        } catch (const std::runtime_error&) {
            thrown = true;
            REQUIRE(index.version() == version);
            REQUIRE(writer.modified_count() == 1);
        }
    }
    REQUIRE(thrown);
    REQUIRE(test::validate(index) == "");
    writer.commit(); // once for each crossing: the next commit is not asked about
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("an index that begins above its limit can be made smaller, and nothing else") {
    for (const bool idle_reader : {false, true}) {
        MemoryBudget budget;
        budget.hard_bytes = bytes_at_first() - 10000;
        Index index = limited(budget);
        std::optional<Index::Reader> reader;
        if (idle_reader) reader.emplace(index.reader());
        REQUIRE_THROWS_AS(index.edit(0, [](Block& block) { block.value = 1; }), MemoryBudgetError);
        REQUIRE_THROWS_AS(index.append(Block()), MemoryBudgetError);
        REQUIRE(index.version() == 0);

        ShardId erased = 0;
        while (index.memory_usage().live_bytes > budget.hard_bytes) {
            const std::size_t before = index.memory_usage().live_bytes;
            index.erase(erased++);
            const MemoryStats after = index.memory_usage();
            REQUIRE(after.live_bytes < before);
            REQUIRE(after.retained_bytes + after.reclaimable_bytes == 0); // freed at once
        }
        REQUIRE(erased > 5);
        REQUIRE(erased < 15);
        for (int i = 0; i < 10; ++i) index.edit(60, [](Block& block) { ++block.value; });
        REQUIRE(index.snapshot()[60].value == 10);
        REQUIRE_THROWS_AS(
            [&] {
                for (int i = 0; i < 3; ++i) index.append(Block());
            }(),
            MemoryBudgetError);
        REQUIRE(index.memory_usage().live_bytes <= budget.hard_bytes);
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("above the limit, an erasure that frees nothing yet is refused until it would") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() - 10000;
    Index index = limited(budget);
    std::optional<Index::Snapshot> held(index.snapshot("backup"));
    auto writer = index.writer();
    writer.erase(1);
    REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
    held.reset();
    REQUIRE(writer.commit() == 1);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("the oldest version held is named with its snapshot's label") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 2500;
    Index index = limited(budget);
    const auto held = index.snapshot("last week's backup");
    index.edit(0, [](Block& block) { block.value = 1; });
    REQUIRE_THROWS_WITH(index.edit(1, [](Block& block) { block.value = 1; }),
                        test::contains_text("'last week's backup'"));
    std::size_t retained = 0;
    try {
        index.edit(1, [](Block& block) { block.value = 1; });
    } catch (const MemoryBudgetError& error) {
        retained = error.retained_bytes();
    }
    REQUIRE(retained == index.memory_usage().retained_bytes);
    REQUIRE(retained > sizeof(Block));
}

TEST_CASE("pressure on an update may be answered by erasing") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 500;
    std::optional<Index> index;
    budget.on_pressure = [&](const MemoryStats&) { index->erase(5); };
    index.emplace(limited(budget));
    const auto add = [](Index::Writer& writer) {
        writer.append(Block());
        writer.append(Block());
    };
    const auto way = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(way);
    index->update([&](Index::Writer& writer) {
        switch (way) {
        case 0: add(writer); break;
        case 1: { // moved away and back
            Index::Writer moved = std::move(writer);
            writer = std::move(moved);
            add(writer);
            break;
        }
        case 2: writer = index->writer(), add(writer); break;
        case 3: index->append(Block()); break;
        default: { // another writer's commit inside
            Index::Writer other = index->writer();
            add(other);
            other.commit();
        }
        }
    });
    REQUIRE_FALSE(index->snapshot().contains(5));
    REQUIRE(test::validate(*index) == "");
}

TEST_CASE("pressure may end, drop or commit what is being committed") {
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 500;
    budget.hard_bytes = bytes_at_first() + 6000;
    std::optional<Index::Writer> writer;
    std::function<void()> act;
    bool acted = false;
    budget.on_pressure = [&](const MemoryStats&) { act(); };
    std::optional<Index> index(limited(budget));
    const auto fill = [&](std::size_t blocks) {
        writer.emplace(index->writer());
        for (std::size_t i = 0; i < blocks; ++i) writer->append(Block());
    };
    SECTION("end the writer: it is committed all the same") {
        act = [&] { writer.reset(); };
        fill(2);
        REQUIRE(writer->commit() == 1);
        REQUIRE(index->size() == count + 2);
    }
    SECTION("end the writer, which is then refused") {
        act = [&] { writer.reset(); };
        fill(20);
        SECTION("at once") { REQUIRE_THROWS_AS(writer->commit(), MemoryBudgetError); }
        SECTION("without waiting for room that it no longer needs") {
            REQUIRE_THROWS_AS(writer->commit_for(std::chrono::hours(1)), MemoryBudgetError);
        }
        REQUIRE(index->size() == count);
    }
    SECTION("end the writer of an update, which is then refused") {
        Index::Writer* inside = nullptr;
        act = [&] { const Index::Writer ended(std::move(*inside)); };
        // While another writer is open an update is tried again, if it has its own still.
        const bool shared = GENERATE(false, true);
        std::optional<Index::Writer> other;
        if (shared) other.emplace(index->writer());
        REQUIRE_THROWS_AS(index->update([&](Index::Writer& updating) {
            inside = &updating;
            for (ShardId id = 0; shared && id < 8; ++id) updating.edit(id).value = 1;
            for (int i = 0; !shared && i < 20; ++i) updating.append(Block());
        }),
                          MemoryBudgetError);
        REQUIRE(index->version() == 0);
    }
    SECTION("move the writer: its commit goes on waiting for room") {
        std::optional<Index::Snapshot> held(index->snapshot());
        std::optional<Index::Writer> taken;
        std::thread other;
        act = [&] {
            if (std::exchange(acted, true)) return;
            taken.emplace(std::move(*writer));
            other = std::thread([&] {
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                held.reset();
            });
        };
        fill(3);
        for (ShardId id = 0; id < 4; ++id) writer->replace(id, Block()); // two of each until then
        const cowindex::Version version = writer->commit_for(std::chrono::hours(1));
        other.join();
        REQUIRE(version == 1);
        REQUIRE(taken->base_version() == 1);
        REQUIRE(index->size() == count + 3);
    }
    SECTION("drop the edits: nothing is published") {
        act = [&] { writer->discard(); };
        fill(2);
        REQUIRE(writer->try_commit().status() == CommitStatus::unchanged);
        REQUIRE(index->version() == 0);
    }
    SECTION("commit them: nothing is left to publish") {
        const auto held = index->snapshot(); // so that the next version needs a record of its own
        act = [&] {
            if (std::exchange(acted, true)) return;
            writer->commit();
        };
        fill(2);
        const auto result = writer->try_commit();
        REQUIRE(result.status() == CommitStatus::unchanged);
        REQUIRE(result.version() == 1);
        REQUIRE(index->size() == count + 2);
    }
    SECTION("commit them, and add more") {
        const auto held = index->snapshot();
        act = [&] {
            if (std::exchange(acted, true)) return;
            writer->commit();
            writer->append(Block());
        };
        fill(2);
        REQUIRE(writer->commit() == 2);
        REQUIRE(index->size() == count + 3);
    }
    SECTION("add an id and take it back: it is in no version") {
        act = [&] {
            writer->insert(5'000'000, Block());
            writer->erase(5'000'000);
        };
        fill(2);
        REQUIRE(writer->commit() == 1);
        REQUIRE(index->snapshot().id_bound() == count + 2);
    }
    writer.reset();
    REQUIRE(index->metrics().pending_writers == 0);
    REQUIRE(test::validate(*index) == "");
}

TEST_CASE("growth that a writer has taken back is no pressure") {
    int calls = 0;
    MemoryBudget budget;
    budget.soft_bytes = bytes_at_first() + 5000;
    budget.on_pressure = [&](const MemoryStats&) { ++calls; };
    Index index = limited(budget);
    auto writer = index.writer();
    writer.insert(ShardId{1} << 60, Block());
    writer.erase(ShardId{1} << 60); // the new roots are there still
    writer.edit(0).value = 1;
    REQUIRE(writer.commit() == 1);
    REQUIRE(calls == 0);
}

TEST_CASE("a commit that nobody is in the way of does not blame its own base") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 6000;
    Index index = limited(budget);
    auto writer = index.writer("mine");
    for (int i = 0; i < 10; ++i) writer.append(Block());
    index.edit(1, [](Block& block) { block.value = 1; });
    std::size_t retained = 1;
    std::string message;
    const auto refuse = [&] {
        try {
            writer.commit();
        } catch (const MemoryBudgetError& error) {
            retained = error.retained_bytes();
            message = error.what();
        }
    };
    refuse();
    REQUIRE(retained == 0);
    REQUIRE_THAT(message, test::contains_text("nobody holds anything back"));
    const auto held = index.pins();
    const auto backup = index.snapshot("backup");
    index.edit(2, [](Block& block) { block.value = 1; });
    refuse();
    REQUIRE_THAT(message, test::contains_text("'backup'") && !test::contains_text("'mine'"));
    REQUIRE(retained + held.front().retained_bytes == index.memory_usage().retained_bytes);
}

TEST_CASE("whoever holds the version that a commit replaces is named, its own writer is not") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 500; // no room for a second copy
    Index index = limited(budget);
    auto writer = index.writer("mine");
    writer.edit(1).value = 1;
    const auto message = [&]() -> std::string {
        try {
            writer.commit();
        } catch (const MemoryBudgetError& error) {
            return error.what();
        }
        return "";
    };
    {
        auto reader = index.reader("search");
        const auto view = reader.pin();
        const auto snapshot = index.snapshot("backup");
        const auto other = index.writer("theirs");
        REQUIRE_THAT(message(), test::contains_text("version 0, which it replaces, is held by 3 "
                                                    "holder(s) 'search', 'theirs', 'backup'"));
    }
    REQUIRE(message() == "");
    for (ShardId id = 0; id < 8; ++id) writer.append(Block());
    REQUIRE_THROWS_WITH(writer.commit(), test::contains_text("nobody holds anything back"));
}

TEST_CASE("a commit is refused for what others hold, not for what it sets free itself") {
    MemoryBudget budget;
    SECTION("an old version is held, but not what was written since") {
        budget.hard_bytes = bytes_at_first() + 6000;
        Index index = limited(budget);
        const auto held = index.snapshot();
        auto writer = index.writer();
        for (int i = 1; i < 100; ++i) {
            writer.edit(0).value = i;
            writer.edit(1).value = i;
            writer.commit();
            REQUIRE(index.memory_usage().retained_bytes < 6000);
        }
        REQUIRE(held[0].value == 0);
        REQUIRE_THROWS_AS(
            [&] {
                for (ShardId id = 2; id < 5; ++id)
                    index.edit(id, [](Block& block) { block.value = 1; });
            }(),
            MemoryBudgetError);
        REQUIRE(index.memory_usage().total_bytes() > budget.hard_bytes - 3000);
        REQUIRE(test::validate(index) == "");
    }
    SECTION("the writer itself holds the old version") {
        budget.hard_bytes = bytes_at_first() + 4000;
        Index index = limited(budget);
        auto writer = index.writer();
        writer.edit(0).value = 1;
        writer.edit(1).value = 1;
        for (int i = 0; i < 10; ++i) index.edit(2, [](Block& block) { ++block.value; });
        const MemoryStats before = index.memory_usage();
        REQUIRE(before.live_bytes + before.retained_bytes + writer.memory_overhead() >
                budget.hard_bytes);
        REQUIRE(writer.commit() == 11);
        const MemoryStats after = index.memory_usage();
        REQUIRE(after.retained_bytes == 0);
        REQUIRE(after.live_bytes + after.reclaimable_bytes <= budget.hard_bytes);
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("a writer's own base makes room for what it adds, where nobody else holds it") {
    enum class Holder { nobody, snapshot, writer };
    for (const Holder holder : {Holder::nobody, Holder::snapshot, Holder::writer}) {
        MemoryBudget budget;
        budget.hard_bytes = bytes_at_first() + 3000; // for the new shard and its nodes, no more
        Index index = limited(budget);
        auto writer = index.writer();
        writer.append(Block());
        auto snapshot = holder == Holder::snapshot ? index.snapshot() : Index::Snapshot();
        std::optional<Index::Writer> other;
        if (holder == Holder::writer) other.emplace(index.writer());
        index.edit(2, [](Block& block) { block.value = 1; });
        REQUIRE(writer.base_version() == 0);
        if (holder != Holder::nobody) {
            REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
            snapshot = {};
            other.reset();
        }
        REQUIRE(writer.commit() == 2);
        const MemoryStats after = index.memory_usage();
        REQUIRE(after.live_bytes + after.reclaimable_bytes <= budget.hard_bytes);
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("a refused commit leaves a writer on an older base as it was") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 12000;
    Index index = limited(budget);
    const auto held = index.snapshot();
    auto writer = index.writer();
    for (ShardId id = 0; id < 9; ++id) writer.edit(id).value = 1; // enough to replay them ahead
    index.edit(20, [](Block& block) { block.value = 2; });
    index.edit(21, [](Block& block) { block.value = 2; });
    for (int i = 0; i < 3; ++i) {
        REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
        REQUIRE(writer.base_version() == 0);
        REQUIRE(writer.modified_count() == 9);
        REQUIRE(writer[20].value == 0);
        REQUIRE(index.version() == 2);
        REQUIRE(test::validate(index) == "");
    }
    for (ShardId id = 3; id < 9; ++id) writer.revert(id);
    REQUIRE(writer.commit() == 3);
    REQUIRE(index.snapshot()[2].value == 1);
    REQUIRE(index.snapshot()[20].value == 2);
    REQUIRE(test::validate(index) == "");
}

namespace {

// Commits when it is destroyed.
struct Restless {
    static inline cowindex::CowIndex<Restless>* index = nullptr;
    static inline int commits_left = 0;
    static inline int depth = 0;
    static inline int deepest = 0;

    Restless() = default;
    Restless(const Restless&) = default;
    Restless& operator=(const Restless&) = default;
    ~Restless() {
        if (index == nullptr || commits_left == 0) return;
        --commits_left;
        deepest = std::max(deepest, ++depth);
        // The first leaves something to reclaim to the second.
        for (int i = 0; i < 2; ++i) index->update([](auto& writer) { writer.emplace(0); });
        --depth;
    }
};

} // namespace

TEST_CASE("commits past the soft limit inside destructors do not nest") {
    MemoryBudget budget;
    budget.soft_bytes = 1;
    cowindex::Options<cowindex::DefaultPolicy<Restless>> options;
    options.budget = budget;
    cowindex::CowIndex<Restless> index(3, options);
    Restless::index = &index;
    Restless::commits_left = 1000;
    index.update([](auto& writer) { writer.emplace(1); });
    while (Restless::commits_left > 0) index.reclaim();
    Restless::index = nullptr;
    REQUIRE(Restless::deepest <= 2);
    REQUIRE(test::validate(index) == "");
}

namespace {

// Calls what it is told when it is destroyed.
struct Talkative {
    static inline void (*tell)() = nullptr;
    ~Talkative() {
        if (tell != nullptr) std::exchange(tell, nullptr)();
    }
};

} // namespace

TEST_CASE("a commit inside a destructor does not count on what it replaces: nothing is freed") {
    MemoryBudget budget;
    budget.hard_bytes = bytes_at_first() + 1500; // not for a shard and its path
    Index index = limited(budget);
    static Index* full = nullptr;
    static CommitStatus status = CommitStatus::committed;
    full = &index;
    {
        const cowindex::CowIndex<Talkative> other(1);
        Talkative::tell = [] {
            auto writer = full->writer();
            writer.edit(0).value = 1;
            status = writer.try_commit().status();
        };
    }
    REQUIRE(Talkative::tell == nullptr);
    REQUIRE(status == CommitStatus::over_budget);
    index.edit(0, [](Block& block) { block.value = 1; });
    REQUIRE(index.version() == 1);
}

TEST_CASE("budgets that make no sense are refused") {
    MemoryBudget budget;
    budget.hard_bytes = 0;
    REQUIRE_THROWS_AS(limited(budget), std::invalid_argument);
    REQUIRE_THROWS_WITH(limited(budget), test::contains_text("0 bytes"));
    budget = {};
    budget.soft_bytes = 0;
    REQUIRE_THROWS_AS(limited(budget), std::invalid_argument);
    REQUIRE_THROWS_WITH(limited(budget), test::contains_text("0 bytes"));
    budget.hard_bytes = 100000;
    budget.soft_bytes = 200000;
    REQUIRE_THROWS_AS(limited(budget), std::invalid_argument);
    REQUIRE_THROWS_WITH(limited(budget), test::contains_text("200000"));
}

namespace {

// A shard that says how large it is.
struct Claim {
    std::size_t claimed = 1000;
    int value = 0;
    std::size_t memory_usage() const { return claimed; }
};

} // namespace

TEST_CASE("a commit on another version than its base counts what it replaces there") {
    constexpr std::size_t large = 200000;
    const auto make = [](ShardId id) { return Claim{id == 0 ? large : 1000}; };
    cowindex::Options<cowindex::DefaultPolicy<Claim>> options;
    options.budget.hard_bytes =
        cowindex::CowIndex<Claim>(count, make).memory_usage().live_bytes + large / 10;
    cowindex::CowIndex<Claim> index(count, make, options);
    const auto others = static_cast<ShardId>(GENERATE(1, 3));
    const auto changes = static_cast<ShardId>(GENERATE(1, 12)); // many are replayed ahead
    CAPTURE(others, changes);

    auto writer = index.writer();
    for (ShardId id = 0; id < changes; ++id) writer.edit(id).value = 1;
    for (ShardId id = 0; id < others; ++id)
        index.edit(40 + id, [](Claim& claim) { claim.value = 2; });
    REQUIRE(writer.try_commit().status() == CommitStatus::committed);
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.total_bytes() <= options.budget.hard_bytes);
    REQUIRE(index.snapshot()[0].value == 1);
    REQUIRE(index.snapshot()[40].value == 2);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a commit on another version than its base counts on nothing that others hold") {
    constexpr std::size_t large = 200000;
    const auto make = [](ShardId id) { return Claim{id == 0 ? large : 1000}; };
    cowindex::Options<cowindex::DefaultPolicy<Claim>> options;
    options.budget.hard_bytes =
        cowindex::CowIndex<Claim>(count, make).memory_usage().live_bytes + large / 10;
    cowindex::CowIndex<Claim> index(count, make, options);
    auto writer = index.writer();
    writer.edit(0).value = 1;

    const auto change_elsewhere = [&](ShardId id) {
        index.edit(id, [](Claim& claim) { claim.value = 2; });
    };
    const auto refused = [&] { return writer.try_commit().status() == CommitStatus::over_budget; };

    SECTION("a snapshot holds the base") {
        auto held = std::make_optional(index.snapshot());
        change_elsewhere(40);
        REQUIRE(refused());
        held.reset();
    }
    SECTION("a reader has the base pinned") {
        auto reader = index.reader();
        auto view = std::make_optional(reader.pin());
        change_elsewhere(40);
        REQUIRE(refused());
        view.reset();
    }
    SECTION("another writer has the same base") {
        auto other = std::make_optional(index.writer());
        change_elsewhere(40);
        REQUIRE(refused());
        other.reset();
    }
    SECTION("a snapshot holds a version in between") {
        change_elsewhere(40);
        auto held = std::make_optional(index.snapshot());
        change_elsewhere(41);
        REQUIRE(refused());
        held.reset();
    }
    SECTION("a snapshot holds the latest") {
        change_elsewhere(40);
        auto held = std::make_optional(index.snapshot());
        REQUIRE(refused());
        held.reset();
    }
    REQUIRE(writer.try_commit().status() == CommitStatus::committed);
    REQUIRE(index.memory_usage().total_bytes() <= options.budget.hard_bytes);
    REQUIRE(test::validate(index) == "");
}

namespace {

// Runs a function when it is destroyed, if it was armed.
struct LastWords {
    static inline std::function<void()> said;
    LastWords() = default;
    LastWords(const LastWords&) {}
    LastWords& operator=(const LastWords&) = delete;
    ~LastWords() {
        if (armed) std::exchange(said, nullptr)();
    }
    bool armed = false;
};

// Counts how often a thread gives others time to let go.
struct PatientPolicy : cowindex::DefaultPolicy<Block> {
    static inline int waits = 0;
    static inline std::function<void()> at_wait;
    static void back_off(int) noexcept {
        ++waits;
        if (at_wait) at_wait();
    }
};

} // namespace

TEST_CASE("a destructor's commit that does not fit is refused at once, others wait a moment") {
    cowindex::CowIndex<Block, PatientPolicy>::Options options;
    options.budget.hard_bytes = bytes_at_first() + 4000;
    cowindex::CowIndex<Block, PatientPolicy> full(count, options);
    const auto held = full.snapshot();
    auto writer = full.writer();
    for (ShardId id = 0; id < 8; ++id) writer.edit(id).value = 1;
    PatientPolicy::waits = 0;
    REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
    REQUIRE(PatientPolicy::waits > 0); // whoever holds the version may be about to let go

    PatientPolicy::waits = 0;
    std::optional<CommitStatus> status;
    bool refused = false;
    LastWords::said = [&] {
        status = writer.try_commit().status();
        try {
            full.update([](auto& update) {
                for (ShardId id = 0; id < 8; ++id) update.edit(id).value = 1;
            });
        } catch (const MemoryBudgetError&) {
            refused = true; // though a writer is open
        }
    };
    cowindex::CowIndex<LastWords> other(3);
    other.edit(0, [](LastWords& shard) { shard.armed = true; });
    other.erase(0);
    other.reclaim();
    REQUIRE(status == CommitStatus::over_budget);
    REQUIRE(refused);
    REQUIRE(PatientPolicy::waits == 0);
    REQUIRE(writer.modified_count() == 8);
}

TEST_CASE("a write that other writers leave no room lets go of its version and comes back") {
    using FullIndex = cowindex::CowIndex<Block, PatientPolicy>;
    constexpr int tries = 8;
    cowindex::Options<PatientPolicy> options;
    options.budget.hard_bytes = bytes_at_first() + 500;
    FullIndex index(count, options);
    std::optional<FullIndex::Writer> writer = index.writer();
    int runs = 0;
    const auto edit = [&](auto& update) {
        ++runs;
        update.edit(1).value = 1;
    };
    PatientPolicy::waits = 0;
    PatientPolicy::at_wait = nullptr;
    SECTION("when they have let go") {
        PatientPolicy::at_wait = [&] {
            if (PatientPolicy::waits == tries + 2) writer.reset();
        };
        SECTION("update") {
            index.update(edit);
            REQUIRE(runs == 2);
        }
        SECTION("replace") { index.replace(1, Block{1}); }
        REQUIRE(index.snapshot()[1].value == 1);
        REQUIRE(PatientPolicy::waits == tries + 2);
        REQUIRE(index.metrics().retries == 0); // which counts conflicts
    }
    SECTION("append") {
        options.budget.hard_bytes = FullIndex(61).memory_usage().live_bytes + 500;
        FullIndex shorter(60, options);
        writer = shorter.writer();
        std::size_t holding = 1;
        PatientPolicy::at_wait = [&] {
            if (PatientPolicy::waits != tries + 2) return;
            writer.reset();
            holding = test::TestAccess::chain(test::TestAccess::core(shorter)).latest()->writers;
        };
        REQUIRE(shorter.append(Block()) == 60);
        REQUIRE(holding == 0);
        REQUIRE(PatientPolicy::waits == tries + 2);
        REQUIRE(shorter.snapshot().contains(60));
        REQUIRE(test::validate(shorter) == "");
    }
    SECTION("without what its function has returned") {
        std::size_t held = 1;
        PatientPolicy::at_wait = [&] {
            if (PatientPolicy::waits != tries + 2) return;
            held = index.active_readers();
            writer.reset();
        };
        static_cast<void>(index.update([&](auto& update) {
            edit(update);
            return runs == 1 ? index.snapshot() : FullIndex::Snapshot();
        }));
        REQUIRE(runs == 2);
        REQUIRE(held == 0);
    }
    SECTION("not if they never let go") {
        REQUIRE_THROWS_AS(index.update(edit), MemoryBudgetError);
        REQUIRE(runs == 2);
        REQUIRE(PatientPolicy::waits == 2 * tries + 32);
    }
    SECTION("not if it would not fit though they let go") {
        const auto append = [&](auto& update) {
            ++runs;
            update.append(Block());
        };
        REQUIRE_THROWS_AS(index.update(append), MemoryBudgetError);
        REQUIRE(runs == 1);
        REQUIRE(PatientPolicy::waits == 0);
    }
    SECTION("when there is room, though they did not let go") {
        options.budget.hard_bytes = bytes_at_first() + 4000;
        FullIndex roomy(count, options);
        auto held = std::make_optional(roomy.snapshot());
        roomy.edit(0, [](Block&) {});
        const auto idle = roomy.writer();
        PatientPolicy::waits = 0;
        PatientPolicy::at_wait = [&] {
            if (PatientPolicy::waits == tries + 5) held.reset();
        };
        roomy.update([&](auto& update) {
            ++runs;
            for (ShardId id = 0; id < 2; ++id) update.edit(id).value = 1;
        });
        REQUIRE(runs == 2);
    }
    SECTION("not if others keep coming") {
        PatientPolicy::at_wait = [&] {
            if (runs != 1 || PatientPolicy::waits <= tries) return;
            writer.emplace(index.writer());
            writer->edit(0);
            REQUIRE(writer->try_commit()); // it stays open, and holds the latest version
        };
        REQUIRE_THROWS_AS(index.update(edit), MemoryBudgetError);
        REQUIRE(runs == 2);
        REQUIRE(index.version() == 64);
    }
    SECTION("not if they come once more, and stay") {
        PatientPolicy::at_wait = [&] {
            if (PatientPolicy::waits != tries + 1) return;
            writer.emplace(index.writer());
            writer->edit(0);
            REQUIRE(writer->try_commit());
        };
        REQUIRE_THROWS_AS(index.update(edit), MemoryBudgetError);
        REQUIRE(PatientPolicy::waits == 2 * tries + 33); // patience begins anew with that commit
    }
    SECTION("not if they let go in vain") {
        const auto held = index.snapshot();
        PatientPolicy::at_wait = [&] {
            if (PatientPolicy::waits == tries + 2) writer.reset();
        };
        REQUIRE_THROWS_AS(index.update(edit), MemoryBudgetError);
        REQUIRE(runs == 2);
    }
    SECTION("not where there are none") {
        writer.reset();
        const auto held = index.snapshot();
        REQUIRE_THROWS_AS(index.update(edit), MemoryBudgetError);
        REQUIRE(runs == 1);
        REQUIRE(PatientPolicy::waits == tries);
    }
    PatientPolicy::at_wait = nullptr;
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("two updates of a full index do not refuse each other") {
    constexpr int rounds = 20;
    cowindex::Options<cowindex::DefaultPolicy<Block>> options;
    options.budget.hard_bytes = bytes_at_first() + 500;
    cowindex::CowIndex<Block> index(count, options);
    std::barrier meet(2);
    std::atomic<int> refused{0};
    std::vector<std::thread> threads;
    for (ShardId id = 0; id < 2; ++id)
        threads.emplace_back([&, id] {
            for (int i = 0; i < rounds; ++i) {
                bool first = true;
                try {
                    index.edit(id, [&](Block& block) {
                        ++block.value;
                        if (std::exchange(first, false)) meet.arrive_and_wait(); // on one base
                    });
                } catch (const MemoryBudgetError&) {
                    ++refused;
                }
                meet.arrive_and_wait();
            }
        });
    for (std::thread& thread : threads) thread.join();
    REQUIRE(index.snapshot()[0].value + index.snapshot()[1].value + refused == 2 * rounds);
    REQUIRE(refused <= 2); // about one in each round, if they did not let go
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes <=
            options.budget.hard_bytes);
}

TEST_CASE("what others let go of while a commit waits is freed for it") {
    cowindex::Options<PatientPolicy> options;
    {
        cowindex::CowIndex<Block, PatientPolicy> probe(count);
        const auto held = probe.snapshot();
        probe.edit(0, [](Block&) {});
        options.budget.hard_bytes = probe.memory_usage().total_bytes() + 500;
    }
    cowindex::CowIndex<Block, PatientPolicy> index(count, options);
    auto held = std::make_optional(index.snapshot());
    index.edit(0, [](Block&) {});
    PatientPolicy::waits = 0;
    PatientPolicy::at_wait = [&] {
        if (PatientPolicy::waits == 2) held.reset();
    };
    index.edit(1, [](Block&) {}); // cannot free what the held version shares with its base
    PatientPolicy::at_wait = nullptr;
    REQUIRE(PatientPolicy::waits == 2);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a commit without room waits eight times") {
    cowindex::Options<PatientPolicy> options;
    options.budget.hard_bytes = bytes_at_first() + 300;
    cowindex::CowIndex<Block, PatientPolicy> index(count, options);
    const auto held = index.snapshot();
    auto writer = index.writer();
    writer.edit(1).value = 1;
    PatientPolicy::waits = 0;
    REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
    REQUIRE(PatientPolicy::waits == 8);
}

TEST_CASE("a commit that just reaches the limit frees no more than others do") {
    using Small = cowindex::CowIndex<int>;
    using Record =
        cowindex::detail::VersionRecord<int,
                                        cowindex::detail::Core<int, cowindex::DefaultPolicy<int>>>;
    cowindex::Options<cowindex::DefaultPolicy<int>> options;
    for (const bool measures : {true, false}) {
        Small index(64, 0, options);
        const auto reader = index.reader();
        auto writer = index.writer();
        writer.edit(0) = 1;
        writer.commit(); // what it replaced waits for a barrier
        writer.edit(1) = 1;
        if (measures) {
            const MemoryStats stats = index.memory_usage(); // which takes one record out
            options.budget.hard_bytes = stats.live_bytes + stats.retained_bytes +
                                        stats.reclaimable_bytes + writer.memory_overhead() +
                                        2 * sizeof(Record);
        } else {
            writer.commit();
            REQUIRE(index.metrics().reclaimed_bytes == 0);
        }
    }
}

TEST_CASE("commit_for() looks for room now and then, not all the time") {
    struct Counted : cowindex::DefaultPolicy<Block> {
        static int& measured() {
            static int times = 0;
            return times;
        }
        static std::size_t bytes(const Block&) {
            ++measured();
            return sizeof(Block);
        }
        static void back_off(int) noexcept {}
    };
    cowindex::Options<Counted> options;
    options.budget.hard_bytes = bytes_at_first() + 100;
    cowindex::CowIndex<Block, Counted> index(count, options);
    auto writer = index.writer();
    writer.append(Block());
    Counted::measured() = 0;
    REQUIRE_THROWS_AS(writer.commit_for(std::chrono::milliseconds(50)), MemoryBudgetError);
    REQUIRE(Counted::measured() > 1);
    REQUIRE(Counted::measured() <= 20); // pauses of 50 us, 100 us and so on to 5 ms
}

TEST_CASE("above its limit an index may shrink, though somebody holds the version for a moment") {
    struct Brief : Policy {
        static std::function<void()>& at_wait() {
            static std::function<void()> function;
            return function;
        }
        static void sync_point(cowindex::SyncPoint where) noexcept {
            if (where == cowindex::SyncPoint::room_wait && at_wait()) at_wait()();
        }
    };
    cowindex::Options<Brief> options;
    options.budget.hard_bytes = bytes_at_first() - 20000;
    cowindex::CowIndex<Block, Brief> index(count, options);
    auto held = std::make_optional(index.snapshot());
    Brief::at_wait() = [&] { held.reset(); };
    auto writer = index.writer();
    writer.erase(1);
    REQUIRE(writer.try_commit().status() == CommitStatus::committed);
    Brief::at_wait() = nullptr;
}

TEST_CASE("above its limit an index is told at once that a change as large as before is none") {
    cowindex::Options<PatientPolicy> options;
    options.budget.hard_bytes = bytes_at_first() - 20000;
    cowindex::CowIndex<Block, PatientPolicy> index(count, options);
    PatientPolicy::waits = 0;
    auto writer = index.writer();
    writer.edit(0);
    REQUIRE(writer.try_commit().status() == CommitStatus::over_budget);
    REQUIRE(PatientPolicy::waits == 0); // nobody could let go of anything
}

TEST_CASE("nodes that a writer has emptied again are not counted") {
    const auto insert = [](Index& index) {
        index.update([](auto& writer) { writer.insert(1000, Block()); });
    };
    Index wide(count);
    insert(wide);
    MemoryBudget budget;
    budget.hard_bytes = wide.memory_usage().live_bytes;
    Index index = limited(budget);
    insert(index);
    auto writer = index.writer();
    writer.edit(0).value = 1;
    for (int i = 0; i < 20; ++i) { // too few to be given back before the commit
        writer.insert(500, Block());
        writer.erase(500);
    }
    REQUIRE(writer.try_commit().status() == CommitStatus::committed);
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes <= budget.hard_bytes);
}

namespace {

// One large shard in each leaf; the others are empty.
using Bytes = std::vector<char>;
Bytes large_in_each_leaf(ShardId id) { return Bytes(id % 64 == 0 ? 1000 : 0); }

struct Prepared : cowindex::DefaultPolicy<Bytes> {
    static void back_off(int) noexcept {}
    static inline std::function<void()> then;
    static void sync_point(cowindex::SyncPoint where) noexcept {
        if (where == cowindex::SyncPoint::commit_prepared && then) then();
    }
};

} // namespace

TEST_CASE("a refusal blames nobody who has let go while the commit looked for room") {
    cowindex::Options<Prepared> options;
    options.budget.hard_bytes = 100000;
    cowindex::CowIndex<Bytes, Prepared> index(64, large_in_each_leaf, options);
    auto snapshot = index.snapshot();
    index.replace(0, Bytes(1000));
    auto writer = index.writer();
    writer.append(Bytes(options.budget.hard_bytes)); // too much, whatever the others do
    Prepared::then = [&] { snapshot = {}; };
    try {
        writer.commit();
        REQUIRE(false);
    } catch (const MemoryBudgetError& error) {
        REQUIRE(error.retained_bytes() == 0);
        REQUIRE_THAT(error.what(), test::contains_text("nobody holds anything back"));
    }
    Prepared::then = nullptr;
}

TEST_CASE("what was replayed ahead in vain does not hold the latest version") {
    using BytesIndex = cowindex::CowIndex<Bytes, Prepared>;
    const std::size_t live = BytesIndex(640, large_in_each_leaf).memory_usage().live_bytes;
    std::size_t raced = 0;
    for (std::size_t room = 0; room < 40000; room += 1000) {
        cowindex::Options<Prepared> options;
        options.budget.hard_bytes = live + room;
        BytesIndex index(640, large_in_each_leaf, options);
        auto late = index.writer();
        for (ShardId i = 1; i < 40; ++i) late.insert(8192 * i, Bytes());
        late.discard(); // with nodes in its pool
        for (ShardId id = 0; id < 640; id += 64) late.edit(id)[0] = 1;
        auto small = index.writer();
        small.edit(20);
        if (!small.try_commit()) continue;
        auto other = index.writer();
        const auto between = index.snapshot();
        int commits = 0;
        Prepared::then = [&] {
            if (++commits != 2) return; // the second time the replay is done
            for (ShardId id = 1; id < 640; id += 64) other.edit(id);
            if (other.try_commit()) ++raced; // it stays open, based on the latest version
        };
        static_cast<void>(late.try_commit());
        Prepared::then = nullptr;
        const MemoryStats stats = index.memory_usage();
        REQUIRE(stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes <=
                options.budget.hard_bytes);
    }
    REQUIRE(raced > 10);
}

TEST_CASE("what was replayed ahead in vain is back in the pool when the commit returns") {
    struct Counted : Prepared {
        using Allocator = test::CountingAllocator<std::byte>;
    };
    cowindex::CowIndex<Bytes, Counted> index(640, [](ShardId) { return Bytes(); });
    auto late = index.writer();
    for (ShardId i = 1; i < 40; ++i) late.insert(8192 * i, Bytes());
    late.discard(); // with nodes in its pool
    for (ShardId id = 0; id < 640; id += 64) late.edit(id);
    const auto commit_one = [&](ShardId id) { index.replace(id, Bytes()); };
    commit_one(1);
    int commits = 0;
    Prepared::then = [&] {
        if (++commits == 2) commit_one(2); // late has replayed
    };
    REQUIRE(late.commit() == 3);
    Prepared::then = nullptr;
    REQUIRE(commits >= 2);
    REQUIRE(index.memory_usage().pooled_bytes > 0);
    REQUIRE(index.memory_usage().total_bytes() == Counted::Allocator::common().live_bytes);
}

TEST_CASE("an index above its limit does not grow by the records that weak_ptrs keep") {
    cowindex::Options<Prepared> options;
    const std::size_t live =
        cowindex::CowIndex<Bytes, Prepared>(64, Bytes(10000)).memory_usage().live_bytes;
    options.budget.hard_bytes = live - 20000;
    cowindex::CowIndex<Bytes, Prepared> index(64, Bytes(10000), options);
    std::vector<std::weak_ptr<const Bytes>> weak;
    for (std::size_t size = 9999; size > 9000; --size) {
        weak.push_back(index.snapshot().share(0));
        auto writer = index.writer();
        writer.replace(0, Bytes(size));
        static_cast<void>(writer.try_commit());
    }
    const MemoryStats stats = index.memory_usage();
    REQUIRE(stats.live_bytes + stats.retained_bytes + stats.reclaimable_bytes < live + 2000);
    index.erase(1); // what frees more may go through
}
