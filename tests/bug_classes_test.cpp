// Bugs that others of this kind have had, as far as no other file is about them:
// docs/verification.md says which test is for which bug. CTest's time limit is the watchdog of
// those that could hang.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/validate.hpp"

#if defined(__unix__)
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif

namespace {

using Index = cowindex::CowIndex<std::string>;

// Says so when it is destroyed.
struct Chained {
    explicit Chained(std::uint64_t its_value) : value(its_value) {}
    std::uint64_t value;
};
using Chain = cowindex::CowIndex<Chained>;

bool every_gauge_is_sane(const cowindex::CowMetrics::Values& values) {
    constexpr std::uint64_t absurd = std::uint64_t{1} << 63;
    return values.active_readers < absurd && values.pending_writers < absurd &&
           values.memory_usage_bytes < absurd && values.retained_bytes < absurd &&
           values.retained_versions < absurd && values.uncommitted_bytes < absurd &&
           values.peak_memory_bytes < absurd;
}

} // namespace

// folly 628, nethermind 10717: counters that wrap.
TEST_CASE("ten million handles, snapshots and pins come and go") {
    Index index(1, std::string("a"));
    auto reader = index.reader();
#if defined(TEST_SANITIZED)
    constexpr std::uint64_t times = 100000;
#else
    constexpr std::uint64_t times = 10000000;
#endif
    for (std::uint64_t i = 0; i < times; ++i) {
        const Index handle(index); // NOLINT(performance-unnecessary-copy-initialization)
        if (i % 8 == 0) static_cast<void>(handle.snapshot());
        const auto view = reader.pin();
        if (i % 1024 == 0) REQUIRE(view[0] == "a");
    }
    REQUIRE(index.active_readers() == 0);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("versions that start near the end are dense up to the last, and read as ever") {
    Index::Options options;
    options.first_version = ~cowindex::Version{0} - 2; // 2^64 - 3
    Index index(2, std::string("a"), options);
    const auto first = index.snapshot();
    auto reader = index.reader();
    const auto view = reader.pin();
    REQUIRE(index.replace(0, "b") == ~cowindex::Version{0} - 1);
    REQUIRE_THROWS_AS(index.replace(0, "c"), std::overflow_error);
    REQUIRE_THROWS_AS(index.update([](Index::Writer& writer) { writer.edit(1) = "c"; }),
                      std::overflow_error);
    REQUIRE(first[0] == "a");
    REQUIRE(view[0] == "a");
    REQUIRE(index.snapshot()[0] == "b");
    REQUIRE(index.pins().size() == 1);
    REQUIRE(test::validate(index) == "");
    static_cast<void>(index.reclaim());
    REQUIRE(test::validate(index) == "");
}

// slatedb 1733: dropped in the middle of a commit.
TEST_CASE("a writer may be destroyed after a throw and after a conflict") {
    Index index(2, std::string("a"));
    {
        auto loser = index.writer("loser");
        loser.edit(0) = "lost";
        index.replace(0, "won");
        REQUIRE_THROWS_AS(loser.commit(), cowindex::ConflictError);
    }
    {
        auto thrower = index.writer("thrower");
        thrower.edit(0) = "half";
        REQUIRE_THROWS_AS(thrower.edit(7), std::out_of_range);
    }
    REQUIRE(index.metrics().pending_writers == 0);
    REQUIRE(index.pins().empty());
    REQUIRE(index.snapshot()[0] == "won");
    REQUIRE(test::validate(index) == "");
}

// seastar 139, dragonfly 5914: gauges that pass below zero.
TEST_CASE("no gauge is ever absurd, and all are zero at rest") {
    Index index(3, std::string("a"));
    const auto look = [&] { REQUIRE(every_gauge_is_sane(index.metrics())); };
    for (int round = 0; round < 50; ++round) {
        auto writer = index.writer();
        auto reader = index.reader();
        auto view = std::make_unique<Index::View>(reader.pin());
        look();
        writer.edit(0) = std::string(static_cast<std::size_t>(round) * 10, 'x'); // grows
        look();
        writer.edit(0).clear();
        look();
        writer.erase(1);
        writer.revert(1);
        look();
        for (int again = 0; again < 100; ++again) { // what is taken away twice has to show
            writer.insert(9, "new");
            writer.erase(9);
            look();
        }
        const auto snapshot = view->snapshot();
        if (round % 3 == 0) writer.discard();
        static_cast<void>(writer.commit());
        look();
        view.reset();
        look();
        static_cast<void>(index.reclaim());
        look();
    }
    static_cast<void>(index.reclaim());
    const auto values = index.metrics();
    REQUIRE(values.active_readers == 0);
    REQUIRE(values.pending_writers == 0);
    REQUIRE(values.retained_bytes == 0);
    REQUIRE(values.retained_versions == 0);
    REQUIRE(values.uncommitted_bytes == 0);
}

// cbmc 9043: destruction that recurses.
#if defined(__unix__) && !defined(TEST_SANITIZED)
TEST_CASE("a chain of a million versions ends on a stack of 64 KiB") {
    const auto run = [](void* done) -> void* {
        constexpr std::uint64_t versions = 1000000;
        std::vector<Chain::Snapshot> held;
        held.reserve(versions / 20);
        {
            Chain index(1, Chained(0));
            for (std::uint64_t i = 1; i <= versions; ++i) {
                // Many at a time, let go of from the newest, the oldest, and with the index gone.
                if (i % 20 == 0) held.push_back(index.snapshot());
                index.replace(0, Chained(i));
                if (held.size() == versions / 40) held.clear();
            }
        }
        *static_cast<bool*>(done) = held.empty() || held.back()[0].value > 0;
        held.clear();
        return nullptr;
    };
    bool done = false;
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, 64U << 10) == 0);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, &attributes, run, &done) == 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
    REQUIRE(done);
}
#endif

// rocksdb 2006, redis 4830: what a forked child finds.
#if defined(__unix__) && !defined(TEST_SANITIZED)
TEST_CASE("a forked child reads its snapshot, and may let go of it") {
    Index index(2, std::string("a"));
    auto snapshot = index.snapshot();
    index.replace(0, "b");
    const pid_t child = fork();
    if (child == 0) {
        alarm(20); // the watchdog: a child that hangs has failed
        bool good = snapshot[0] == "a" && index.snapshot()[0] == "b";
        snapshot = {};
        index.replace(1, "c"); // one thread was left: it may write, too
        good = good && index.snapshot()[1] == "c" && test::validate(index).empty();
        _exit(good ? 0 : 1);
    }
    REQUIRE(child > 0);
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    REQUIRE(index.snapshot()[1] == "a");
}
#endif
