/// Real threads in short meetings: every public operation against every other, the end of an index
/// from every side, readers that live as long as their threads, and many updates of one hot shard.
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <exception>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/environment.hpp>
#include <support/scheduler.hpp>
#include <support/validate.hpp>

#include "ledger.hpp"

namespace {

using cowindex::Version;
using test::Ledger;
using test::LedgerIndex;
using test::Random;
using test::Reading;
using test::ShardId;
using test::Trouble;

using Writer = LedgerIndex::Writer;
using View = LedgerIndex::View;
using Reader = LedgerIndex::Reader;
using Snapshot = LedgerIndex::Snapshot;

std::uint64_t factor() { return test::number_from_environment("COWINDEX_RACES", 1); }

// One side of a meeting: the index, and what this thread keeps from one call to the next.
struct Side {
    LedgerIndex& index;
    Random random;
    Reader reader = index.reader("side");
    Snapshot held{};
    std::optional<Writer> open{};

    ShardId any() { return random.below(4); } // these are never erased
};

struct Operation {
    const char* name;
    void (*run)(Side&);
};

const Operation operations[] = {
    {"snapshot", [](Side& side) { side.held = side.index.snapshot(); }},
    {"labelled snapshot",
     [](Side& side) {
         const Reading guard;
         side.held = side.index.snapshot("kept");
         const Snapshot copy = side.held;
         static_cast<void>(side.reader.pin().snapshot("dropped at once"));
     }},
    {"diff",
     [](Side& side) {
         const Snapshot older = side.index.snapshot();
         const auto differ = cowindex::diff(older, side.index.snapshot());
         static_cast<void>(differ.size());
     }},
    {"wait",
     [](Side& side) {
         const Version seen = side.index.version();
         Trouble::expect(side.index.wait_for_version(seen, std::chrono::hours(1)),
                         "what was seen is waited for");
         if (side.reader.wait_for_newer(seen, std::chrono::microseconds(20)))
             Trouble::expect(side.reader.pin().version() > seen, "nothing newer after the wait");
     }},
    {"commit_for",
     [](Side& side) {
         Writer writer = side.index.writer();
         writer.append(Ledger(1));
         writer.commit_for(std::chrono::hours(1));
     }},
    {"read snapshot",
     [](Side& side) {
         const Reading guard;
         static_cast<void>(test::digest_of(side.held));
         for (const auto& item : side.held.items()) static_cast<void>(item.shard.digest());
     }},
    {"share",
     [](Side& side) {
         const Reading guard;
         static_cast<void>(side.index.snapshot().share(side.any())->digest());
     }},
    {"pin",
     [](Side& side) {
         const Reading guard;
         static_cast<void>(test::digest_of(side.reader.pin()));
     }},
    {"nested pin",
     [](Side& side) {
         const Reading guard;
         const View outer = side.reader.pin();
         const View inner = side.reader.pin();
         Trouble::expect(outer.version() == inner.version(), "a nested pin moves");
         static_cast<void>(test::digest_of(inner));
     }},
    {"promote",
     [](Side& side) {
         const Reading guard;
         side.held = side.reader.pin().snapshot();
     }},
    {"read",
     [](Side& side) {
         const Reading guard;
         side.index.read([](const View& view) { static_cast<void>(test::digest_of(view)); });
     }},
    {"new reader",
     [](Side& side) {
         side.reader = side.index.reader("again");
         static_cast<void>(side.reader.pin().size());
     }},
    {"copy handle",
     [](Side& side) {
         LedgerIndex copy = side.index;
         const LedgerIndex moved = std::move(copy);
         static_cast<void>(moved.empty());
     }},
    {"version", [](Side& side) { static_cast<void>(side.index.version() + side.index.size()); }},
    {"update",
     [](Side& side) {
         side.index.update([&](Writer& writer) {
             writer.edit(side.any()).enter(1, 1);
             writer.edit(side.any()).enter(2, -1);
         });
     }},
    {"edit", [](Side& side) { side.index.edit(side.any(), [](Ledger& l) { l.enter(3, 0); }); }},
    {"replace", [](Side& side) { side.index.replace(side.any(), Ledger(5)); }},
    {"append and erase",
     [](Side& side) {
         const cowindex::ShardId id = side.index.append(Ledger(7));
         try {
             side.index.erase(id);
         } catch (const std::out_of_range&) { // an assign() has come in between
         }
     }},
    {"assign",
     [](Side& side) {
         // Ledgers move by copying; the five there are enough for any().
         std::vector<Ledger> ledgers;
         ledgers.reserve(5);
         for (int i = 0; i < 5; ++i) ledgers.emplace_back(i);
         side.index.assign(std::move(ledgers));
     }},
    {"try_commit",
     [](Side& side) {
         Writer writer = side.index.writer("hand");
         writer.edit(side.any()).enter(4, 0);
         writer.require(side.any());
         static_cast<void>(writer.try_commit());
     }},
    {"keep a writer open",
     [](Side& side) {
         if (!side.open) side.open.emplace(side.index.writer("open"));
         if (const auto id = side.any(); side.open->contains(id)) side.open->edit(id).enter(5, 0);
         if (!side.open->try_commit()) side.open.reset();
     }},
    {"rebase",
     [](Side& side) {
         Writer writer = side.index.writer();
         writer.edit(side.any()).enter(6, 0);
         try {
             writer.rebase();
         } catch (const cowindex::ConflictError& error) {
             for (const ShardId id : error.shards()) writer.revert(id);
             writer.discard();
         }
     }},
    {"insert many and discard",
     [](Side& side) {
         Writer writer = side.index.writer();
         for (int i = 0; i < 12; ++i) writer.append(Ledger(i));
         writer.discard();
     }},
    {"reclaim", [](Side& side) { static_cast<void>(side.index.reclaim()); }},
    {"metrics", [](Side& side) { static_cast<void>(side.index.metrics()); }},
    {"memory_usage", [](Side& side) { static_cast<void>(side.index.memory_usage()); }},
    {"pins", [](Side& side) { static_cast<void>(side.index.pins()); }},
    {"active_readers", [](Side& side) { static_cast<void>(side.index.active_readers()); }},
};

} // namespace

TEST_CASE("every operation may run against every other") {
    const std::uint64_t turns = 100 * factor();
    LedgerIndex index(5);
    std::barrier meet(2);
    // Both threads go through all pairs in the same order; each takes one part.
    const auto go_through = [&](bool second) {
        Side side{index, Random(second ? 2 : 1)};
        for (const Operation& a : operations)
            for (const Operation& b : operations) {
                const Operation& mine = second ? b : a;
                meet.arrive_and_wait();
                for (std::uint64_t turn = 0; turn < turns; ++turn) {
                    try {
                        mine.run(side);
                    } catch (const std::exception&) {
                        Trouble::expect(false, mine.name);
                    }
                }
                side.held = Snapshot();
                side.open.reset();
            }
    };
    std::thread other([&] { go_through(true); });
    go_through(false);
    other.join();
    REQUIRE(Trouble::take() == "");
    REQUIRE(test::unrest(index) == "");
}

TEST_CASE("the last handle goes while others hold parts of the index") {
    const std::uint64_t rounds = 1'000 * factor();
    std::barrier meet(3);
    std::optional<LedgerIndex> index;
    std::optional<Snapshot> old;
    std::optional<Snapshot> latest;
    std::optional<Writer> writer;
    std::optional<Reader> reader;
    std::optional<View> view;
    const auto prepare = [&](Random& random) {
        index.emplace(4);
        if (random.coin()) old.emplace(index->snapshot());
        index->edit(0, [](Ledger& ledger) { ledger.enter(1, 1); });
        if (random.coin()) {
            reader.emplace(index->reader());
            view.emplace(reader->pin());
        }
        index->edit(1, [](Ledger& ledger) { ledger.enter(1, 1); });
        if (random.coin()) writer.emplace(index->writer());
        if (random.coin()) latest.emplace(index->snapshot());
    };
    const auto hold = [&](bool second) {
        Random random(second ? 5 : 6);
        for (std::uint64_t round = 0; round < rounds; ++round) {
            meet.arrive_and_wait();
            if (second) {
                if (old) static_cast<void>(test::digest_of(*old));
                if (old && random.coin()) static_cast<void>(old->share(0)->digest());
                old.reset();
                if (writer) {
                    writer->edit(2).enter(3, 3);
                    static_cast<void>(writer->try_commit());
                    writer.reset();
                }
            } else {
                reader.reset();
                std::optional<Snapshot> promoted;
                if (view) {
                    if (random.coin()) promoted.emplace(view->snapshot());
                    static_cast<void>(test::digest_of(*view));
                    view.reset();
                }
                if (promoted) static_cast<void>(test::digest_of(*promoted));
                if (latest) static_cast<void>(test::digest_of(*latest));
                latest.reset();
            }
            meet.arrive_and_wait();
        }
    };
    std::thread first([&] { hold(false); });
    std::thread second([&] { hold(true); });
    Random random(7);
    bool leaked = false;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        prepare(random);
        meet.arrive_and_wait();
        if (random.coin()) static_cast<void>(index->reclaim());
        index.reset();
        meet.arrive_and_wait();
        leaked = leaked || test::Store::in_use() != 0 || Ledger::alive_count() != 0;
    }
    first.join();
    second.join();
    REQUIRE_FALSE(leaked);
    REQUIRE(Trouble::take() == "");
}

namespace {

// With the default policy, and no part of the books of the other tests.
using Numbers = cowindex::CowIndex<std::vector<std::uint64_t>>;

Numbers& static_index() {
    static Numbers index(4, std::vector<std::uint64_t>(8, 1));
    return index;
}

Numbers::Reader& reader_of_this_thread() {
    thread_local Numbers::Reader reader = static_index().reader("thread");
    return reader;
}

void expect_uniform(const Numbers::View& view) {
    for (const auto& numbers : view)
        for (const std::uint64_t number : numbers)
            Trouble::expect(number == numbers.front(), "a shard is half of one version");
}

} // namespace

TEST_CASE("readers may be thread_local") {
    Numbers& index = static_index();
    expect_uniform(reader_of_this_thread().pin()); // this reader lives to the program's end
    const std::uint64_t threads = 300 * factor();
    std::thread writer([&] {
        for (std::uint64_t i = 0; i < threads; ++i) {
            index.edit(i % 4, [](std::vector<std::uint64_t>& numbers) {
                for (std::uint64_t& number : numbers) ++number;
            });
            static_cast<void>(index.reclaim());
        }
    });
    for (std::uint64_t i = 0; i < threads; ++i)
        std::thread([&] {
            expect_uniform(reader_of_this_thread().pin());
            index.read([](const Numbers::View& view) { expect_uniform(view); });
        }).join();
    writer.join();
    REQUIRE(Trouble::take() == "");
    REQUIRE(index.active_readers() == 0);
    static_cast<void>(index.reclaim());
    REQUIRE(index.memory_usage().retained_bytes == 0);
}

namespace {

// Slots lent for read() are taken back as soon as they can be, and commits then made in place.
struct FleetingPolicy : cowindex::DefaultPolicy<std::vector<std::uint64_t>> {
    static constexpr std::size_t barrier_min_versions = 1;
    static constexpr std::size_t barrier_max_versions = 4;
    static constexpr std::chrono::nanoseconds idle_read_time{0};
};

} // namespace

TEST_CASE("read() is called now and then beside commits that take its slots back") {
    using Index = cowindex::CowIndex<std::vector<std::uint64_t>, FleetingPolicy>;
    Index index(4, std::vector<std::uint64_t>(16));
    std::atomic<int> reading{2};
    const auto read_now_and_then = [&](std::uint64_t pause) {
        Version last = 0;
        for (std::uint64_t i = 0; i < 2000 * factor(); ++i) {
            index.read([&](const Index::View& view) {
                Trouble::expect(view.version() >= last, "versions go back");
                last = view.version();
                for (const auto& numbers : view)
                    for (const std::uint64_t number : numbers)
                        Trouble::expect(number == last, "a version is torn");
            });
            if (i % pause == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
        --reading;
    };
    std::thread one(read_now_and_then, 3);
    std::thread other(read_now_and_then, 5);
    auto writer = index.writer();
    while (reading != 0) {
        for (ShardId id = 0; id < 4; ++id)
            for (std::uint64_t& number : writer.edit(id)) ++number;
        writer.commit();
    }
    one.join();
    other.join();
    REQUIRE(Trouble::take() == "");
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a reader, a view and a writer may move from thread to thread") {
    LedgerIndex index(4);
    for (std::uint64_t round = 0; round < 100; ++round) {
        Reader reader = index.reader();
        std::optional<View> view(reader.pin());
        Writer writer = index.writer();
        writer.edit(0).enter(1, 1);
        std::thread([&] {
            static_cast<void>(test::digest_of(*view));
            view.reset();
            static_cast<void>(writer.try_commit());
            const Writer mine = std::move(writer);
            Reader moved = std::move(reader);
            static_cast<void>(test::digest_of(moved.pin()));
        }).join();
        static_cast<void>(index.reclaim());
    }
    REQUIRE(Trouble::take() == "");
    REQUIRE(index.version() == 100);
    REQUIRE(test::unrest(index) == "");
}

TEST_CASE("ten threads that update one shard all finish, and nothing is lost") {
    constexpr std::uint64_t threads = 10;
    const std::uint64_t updates = 2'000 * factor();
    LedgerIndex index(1);
    std::latch together(threads);
    std::vector<std::thread> hammers;
    for (std::uint64_t i = 0; i < threads; ++i)
        hammers.emplace_back([&] {
            together.arrive_and_wait();
            for (std::uint64_t n = 0; n < updates; ++n)
                index.update([](Writer& writer) { writer.edit(0).enter(1, 1); });
        });
    for (std::thread& hammer : hammers) hammer.join();
    REQUIRE(index.version() == threads * updates);
    REQUIRE(index.snapshot()[0].balance() == static_cast<std::int64_t>(threads * updates));
    const auto metrics = index.metrics();
    REQUIRE(metrics.commits == threads * updates);
    REQUIRE(metrics.retries == metrics.conflicts);
    REQUIRE(Trouble::take() == "");
}
