// Handles, readers, views, snapshots, writers and shared shards outlive each other in every order.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;

namespace {

struct Counted {
    static inline std::int64_t alive = 0;
    explicit Counted(int its_value = 0) : value(its_value) { ++alive; }
    Counted(const Counted& other) : value(other.value) { ++alive; }
    Counted(Counted&& other) noexcept : value(other.value) { ++alive; }
    Counted& operator=(const Counted&) = default;
    ~Counted() { --alive; }
    int value;
};

struct Policy : cowindex::DefaultPolicy<Counted> {
    using Allocator = test::CountingAllocator<std::byte>;
};
using Index = cowindex::CowIndex<Counted, Policy>;

// One of everything that can hold an index or a part of it.
struct Everything {
    explicit Everything(test::AllocationAccount& account) {
        cowindex::Options<Policy> options;
        options.allocator = test::CountingAllocator<std::byte>(account);
        handle.emplace(100U, Counted(1), options);
        old.emplace(handle->snapshot());
        shared = old->share(5);
        handle->replace(5, Counted(2));
        reader.emplace(handle->reader());
        view.emplace(reader->pin());
        handle->replace(6, Counted(3));
        clean_writer.emplace(handle->writer());
        writer.emplace(handle->writer());
        writer->edit(7).value = 4;
        handle->erase(8);
        latest.emplace(handle->snapshot());
        second.emplace(*handle);
    }

    // Lets go of the n-th, then looks whether what is left can be read.
    void drop(std::size_t n) {
        switch (n) {
        case 0: handle.reset(); break;
        case 1: second.reset(); break;
        case 2: reader.reset(); break;
        case 3: view.reset(); break;
        case 4: old.reset(); break;
        case 5: latest.reset(); break;
        case 6: shared.reset(); break;
        case 7: writer.reset(); break;
        default: clean_writer.reset();
        }
        if (old) REQUIRE((*old)[5].value == 1);
        if (shared) REQUIRE(shared->value == 1);
        if (view) REQUIRE((*view)[5].value + (*view)[6].value == 3);
        if (latest) REQUIRE_FALSE(latest->contains(8));
        if (writer) REQUIRE((*writer)[7].value == 4);
        if (clean_writer) REQUIRE((*clean_writer)[6].value == 3);
    }
    static constexpr std::size_t count = 9;

    std::optional<Index> handle, second;
    std::optional<Index::Reader> reader;
    std::optional<Index::View> view;
    std::optional<Index::Snapshot> old, latest;
    std::shared_ptr<const Counted> shared;
    std::optional<Index::Writer> writer, clean_writer;
};

} // namespace

TEST_CASE("everything outlives everything else, in many orders") {
    std::array<std::size_t, Everything::count> order{};
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::uint64_t random = 88172645463325252U;
    for (int round = 0; round < 600; ++round) {
        for (std::size_t i = order.size() - 1; i > 0; --i) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::swap(order[i], order[random % (i + 1)]);
        }
        test::AllocationAccount account;
        {
            Everything all(account);
            for (const std::size_t n : order) all.drop(n);
            REQUIRE(account.live_bytes == 0);
            REQUIRE_FALSE(account.mismatched);
        }
        REQUIRE(Counted::alive == 0);
    }
}

TEST_CASE("a writer commits after every handle is gone") {
    std::optional<Index> index(std::in_place, 10U, Counted(1));
    auto writer = index->writer();
    auto reader = index->reader();
    index.reset();
    writer.edit(3).value = 5;
    REQUIRE(writer.commit() == 1);
    REQUIRE(reader.pin()[3].value == 5);
    auto snapshot = reader.pin().snapshot();
    writer.edit(3).value = 6;
    writer.commit();
    REQUIRE(snapshot[3].value == 5);
}

TEST_CASE("an update outlives its writer and every handle") {
    enum class Fate { moved_away, moved_back, replaced, replaced_by_another };
    const auto fate =
        GENERATE(Fate::moved_away, Fate::moved_back, Fate::replaced, Fate::replaced_by_another);
    Index other(3, Counted(1));
    {
        auto index = std::make_optional<Index>(100U, Counted(1));
        std::int64_t alive = 0;
        const auto end_index = [&](Index::Writer& writer) {
            writer.edit(7).value = 2;
            switch (fate) {
            case Fate::moved_away: static_cast<void>(Index::Writer(std::move(writer))); break;
            case Fate::moved_back: {
                Index::Writer kept(std::move(writer));
                writer = std::move(kept);
                break;
            }
            case Fate::replaced: writer = index->writer(); break;
            case Fate::replaced_by_another: writer = other.writer(); break;
            }
            index.reset();
            alive = Counted::alive;
        };
        if (fate == Fate::moved_away)
            REQUIRE_THROWS_AS(index->update(end_index), std::logic_error);
        else
            index->update(end_index);
        REQUIRE(alive >= 103); // the index is there until its update has ended
    }
    REQUIRE(Counted::alive == 3);
    REQUIRE(test::validate(other) == "");
    REQUIRE(other.metrics().pending_writers == 0);
}

namespace {

// Runs a function when one is destroyed that was armed, or measured.
struct Hooked {
    static inline std::function<void()> when_destroyed;
    static inline std::int64_t alive = 0;
    explicit Hooked(bool is_armed = false) : armed(is_armed) { ++alive; }
    Hooked(const Hooked&) { ++alive; }
    Hooked(Hooked&& other) noexcept : armed(std::exchange(other.armed, false)) { ++alive; }
    Hooked& operator=(const Hooked&) = delete;
    ~Hooked() {
        if (armed) when_destroyed();
        --alive;
    }
    bool armed = false;
};

struct HookedPolicy : cowindex::DefaultPolicy<Hooked> {
    static inline std::function<void()> when_measured;
    static std::size_t bytes(const Hooked&) {
        if (when_measured) std::exchange(when_measured, nullptr)();
        return sizeof(Hooked);
    }
};
using HookedIndex = cowindex::CowIndex<Hooked, HookedPolicy>;

} // namespace

TEST_CASE("reclaim() outlives every handle") {
    auto index = std::make_optional<HookedIndex>(100U, [](ShardId) { return Hooked(); });
    auto snapshot = std::make_optional(index->snapshot());
    index->replace(7, Hooked(true));
    snapshot.emplace(index->snapshot());
    index->replace(7, Hooked());
    snapshot.reset();
    std::int64_t left = 0;
    Hooked::when_destroyed = [&] {
        index.reset();
        left = Hooked::alive;
    };
    REQUIRE(index->reclaim() > 0);
    REQUIRE_FALSE(index.has_value());
    REQUIRE(left >= 100); // the index is there until reclaim() has ended
    REQUIRE(Hooked::alive == 0);
}

TEST_CASE("append() outlives its handle") {
    HookedIndex first(3, [](ShardId) { return Hooked(); });
    HookedIndex second(50, [](ShardId) { return Hooked(); });
    HookedIndex handle = first;
    HookedPolicy::when_measured = [&] { // with the id chosen
        handle = second;
        auto writer = first.writer();
        writer.insert(3, Hooked());
        writer.commit();
    };
    REQUIRE(handle.append(Hooked()) == 4);
    REQUIRE(first.size() == 5);
    REQUIRE(first.metrics().pending_writers == 0);
    REQUIRE(second.version() == 0);
    REQUIRE(test::validate(first) == "");
}

TEST_CASE("a weak_ptr to a shared shard may outlive all") {
    test::AllocationAccount account;
    cowindex::Options<Policy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    for (const bool superseded : {false, true}) {
        std::weak_ptr<const Counted> weak;
        {
            Index index(10U, Counted(1), options);
            weak = index.snapshot().share(3);
            if (superseded) {
                index.replace(3, Counted(2));
                index.reclaim();
                REQUIRE(weak.expired());
                REQUIRE(test::validate(index) == "");
            } else {
                REQUIRE(weak.lock()->value == 1);
            }
        }
        REQUIRE(weak.lock() == nullptr);
        REQUIRE(Counted::alive == 0);
        REQUIRE(account.live_bytes > 0); // the record, where the weak_ptr's count is
        weak.reset();
        REQUIRE(account.live_bytes == 0);
    }
}

TEST_CASE("the last snapshots of a dead index go in any order") {
    for (int first = 0; first < 3; ++first) {
        test::AllocationAccount account;
        cowindex::Options<Policy> options;
        options.allocator = test::CountingAllocator<std::byte>(account);
        std::vector<Index::Snapshot> held;
        {
            Index index(200U, Counted(0), options);
            for (int i = 1; i < 10; ++i) {
                if (i % 3 == 0) held.push_back(index.snapshot());
                for (ShardId id = 0; id < 200; id += 30) index.replace(id, Counted(i));
            }
        }
        REQUIRE(account.live_bytes > 0);
        std::rotate(held.begin(), held.begin() + first, held.end());
        while (!held.empty()) {
            for (const auto& snapshot : held)
                REQUIRE(snapshot[30].value * 7 + 7 == static_cast<int>(snapshot.version()) + 7);
            held.pop_back();
        }
        REQUIRE(account.live_bytes == 0);
    }
}

TEST_CASE("handles share one index; moved-from ones can be assigned to") {
    Index index(3U, Counted(1));
    Index copy = index;
    copy.replace(0, Counted(2));
    REQUIRE(index.snapshot()[0].value == 2);
    Index moved = std::move(copy);
    REQUIRE_THROWS_AS(copy.version(), std::logic_error); // NOLINT: on purpose
    const Index copied = copy;                           // as little of an index
    REQUIRE_THROWS_AS(copied.version(), std::logic_error);
    copy = moved;
    REQUIRE(copy.version() == 1);
    Index& alias = copy;
    copy = alias;
    REQUIRE(copy.version() == 1);
    index = Index(1U, Counted(9));
    REQUIRE(index.size() == 1);
    REQUIRE(moved.size() == 3);
}

TEST_CASE("a million readers come and go in flat memory") {
    Index index(10U, Counted(1));
    static_cast<void>(index.reader().pin());
    const auto total = index.memory_usage().total_bytes();
    auto& core = test::TestAccess::core(index);
    auto& registry = test::TestAccess::registry(core);
    for (int i = 0; i < 1000000; ++i) {
        auto reader = index.reader();
        if (i % 1000 == 0) REQUIRE(reader.pin()[0].value == 1);
    }
    REQUIRE(test::TestAccess::slots_made(registry) == 1);
    REQUIRE_FALSE(registry.anyone());
    REQUIRE(index.memory_usage().total_bytes() == total);
}

TEST_CASE("one pin against a million commits holds no more than its own version") {
    test::AllocationAccount account;
    cowindex::Options<Policy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    Index index(100U, Counted(1), options);
    const std::size_t alone = account.live_bytes;
    auto reader = index.reader("forgotten");
    const auto view = reader.pin();
    const auto held = index.snapshot();
    auto writer = index.writer();
    std::size_t most = 0;
    std::size_t one_commit = 0;
    for (int i = 0; i < 1000000; ++i) {
        writer.emplace(static_cast<ShardId>(i % 100), i);
        one_commit = std::max(one_commit, writer.memory_overhead());
        writer.commit();
        if (i % 4096 == 0) most = std::max(most, account.live_bytes);
    }
    // What waits for the next barrier, not a million versions.
    one_commit += sizeof(cowindex::detail::Core<Counted, Policy>::Record);
    REQUIRE(most < 2 * alone + 512 * one_commit);
    index.reclaim();
    REQUIRE(index.memory_usage().retained_bytes < 2 * alone);
    const auto pins = index.pins();
    REQUIRE(pins.size() == 1);
    REQUIRE(pins[0].version == 0);
    REQUIRE(pins[0].holders == 2);
    REQUIRE(pins[0].labels == std::vector<std::string>{"forgotten"});
    REQUIRE(view[50].value == 1);
}

TEST_CASE("a chain of very many versions ends without deep recursion") {
    std::vector<Index::Snapshot> all;
    {
        Index index(2U, Counted(1));
        for (int i = 0; i < 100000; ++i) {
            all.push_back(index.snapshot());
            index.replace(0, Counted(i));
        }
        REQUIRE(index.pins().size() == 100000);
    }
    REQUIRE(all.back()[0].value == 99998);
    all.clear();
    REQUIRE(Counted::alive == 0);
}
