// Bad use gets an answer that names the culprit and the remedy.

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/validate.hpp"

#if defined(__unix__) && !defined(NDEBUG)
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>
#endif

using cowindex::ShardId;

namespace {

struct Throwing {
    static inline bool fail = false;
    Throwing() = default;
    Throwing(const Throwing& other) : value(other.value) {
        if (fail) throw std::runtime_error("the copy failed");
    }
    Throwing(Throwing&&) = default;
    Throwing& operator=(const Throwing&) = default;
    int value = 0;
};

using Index = cowindex::CowIndex<int>;

} // namespace

#if defined(__unix__) && !defined(NDEBUG)
TEST_CASE("without NDEBUG the brackets refuse an absent id") {
    const Index index(3);
    const auto snapshot = index.snapshot();
    const ShardId id = GENERATE(ShardId{2}, ShardId{3});
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);
        ::close(STDERR_FILENO);
        ::_exit(snapshot[id]);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    const bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    REQUIRE(aborted == (id == 3));
}
#endif

TEST_CASE("an absent id is named, with the bound, and changes nothing") {
    Index index(17);
    index.erase(3);
    auto writer = index.writer();
    auto reader = index.reader();
    const auto view = reader.pin();
    const auto snapshot = index.snapshot();
    for (const ShardId absent : {ShardId{3}, ShardId{17}, ShardId{123456}, ~ShardId{0}}) {
        const std::vector<std::function<void()>> uses{
            [&] { static_cast<void>(snapshot.at(absent)); },
            [&] { static_cast<void>(view.at(absent)); },
            [&] { static_cast<void>(writer.at(absent)); },
            [&] { static_cast<void>(snapshot.share(absent)); },
            [&] { writer.edit(absent); },
            [&] { writer.replace(absent, 1); },
            [&] { writer.emplace(absent, 1); },
            [&] { writer.erase(absent); },
            [&] { writer.require(absent); },
            [&] { index.edit(absent, [](int&) {}); },
            [&] { index.replace(absent, 1); },
            [&] { index.erase(absent); },
        };
        for (const auto& use : uses) {
            REQUIRE_THROWS_AS(use(), std::out_of_range);
            REQUIRE_THROWS_WITH(use(), test::contains_text("id " + std::to_string(absent) + " ") &&
                                           test::contains_text("17") &&
                                           test::contains_text("contains(id)"));
        }
        REQUIRE_FALSE(writer.has_changes());
    }
    REQUIRE(index.version() == 1);
    REQUIRE(index.metrics().pending_writers == 1);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("inserting what is present says what to use instead") {
    Index index(3);
    auto writer = index.writer();
    REQUIRE_THROWS_AS(writer.insert(1, 5), std::invalid_argument);
    REQUIRE_THROWS_WITH(writer.insert(1, 5),
                        test::contains_text("1") && test::contains_text("replace()"));
    REQUIRE_FALSE(writer.has_changes());
}

TEST_CASE("a moved-from writer says what it is, whatever is asked of it") {
    Index index(3);
    auto writer = index.writer();
    auto other = std::move(writer);
    const std::vector<std::function<void()>> uses{
        [&] { writer.edit(0); },
        [&] { writer.replace(0, 1); },
        [&] { writer.emplace(0, 1); },
        [&] { writer.insert(7, 1); },
        [&] { writer.append(1); },
        [&] { writer.erase(0); },
        [&] { writer.revert(0); },
        [&] { writer.require(0); },
        [&] { writer.require_all(); },
        [&] { writer.commit(); },
        [&] { static_cast<void>(writer.try_commit()); },
        [&] { writer.rebase(); },
        [&] { writer.discard(); },
    };
    for (const auto& use : uses) {
        REQUIRE_THROWS_AS(use(), std::logic_error);
        REQUIRE_THROWS_WITH(use(), test::contains_text("IndexWriter") &&
                                       test::contains_text("moved from"));
    }
    REQUIRE(writer.empty()); // NOLINT: it reads as nothing
    REQUIRE_FALSE(writer.has_changes());
    REQUIRE(writer.modified_count() == 0);
    REQUIRE(writer.memory_overhead() == 0);
    REQUIRE(writer.base_version() == 0);
    other.edit(0) = 1;
    writer = std::move(other);
    REQUIRE(writer.commit() == 1);
}

TEST_CASE("a moved-from reader says what it is") {
    Index index(3);
    auto reader = index.reader();
    const auto other = std::move(reader);
    REQUIRE_THROWS_WITH(reader.pin(), test::contains_text("Reader"));
    REQUIRE_THROWS_WITH(reader.wait_for_newer(0, std::chrono::seconds(0)),
                        test::contains_text("Reader"));
}

TEST_CASE("a moved-from handle says what it is") {
    Index index(3);
    const Index other = std::move(index);
    const std::vector<std::function<void()>> uses{
        [&] { static_cast<void>(index.snapshot()); },
        [&] { static_cast<void>(index.reader()); },
        [&] { static_cast<void>(index.writer()); },
        [&] { static_cast<void>(index.version()); },
        [&] { static_cast<void>(index.size()); },
        [&] { static_cast<void>(index.metrics()); },
        [&] { static_cast<void>(index.pins()); },
        [&] { static_cast<void>(index.memory_usage()); },
        [&] { static_cast<void>(index.active_readers()); },
        [&] { index.reclaim(); },
        [&] { index.update([](Index::Writer&) {}); },
        [&] { index.read([](const Index::View&) {}); },
        [&] { static_cast<void>(index.append(1)); },
        [&] { index.replace(0, 1); },
        [&] { index.assign({}); },
    };
    for (const auto& use : uses) {
        REQUIRE_THROWS_AS(use(), std::logic_error);
        REQUIRE_THROWS_WITH(use(), test::contains_text("CowIndex"));
    }
}

TEST_CASE("a conflict names its shards") {
    Index index(100);
    auto writer = index.writer();
    for (ShardId id = 10; id < 13; ++id) writer.edit(id) = 1;
    index.replace(10, 2);
    index.replace(12, 2);
    REQUIRE_THROWS_WITH(writer.commit(), test::contains_text("shards 10, 12 "));
}

TEST_CASE("a clone that throws leaves the writer as it was") {
    cowindex::CowIndex<Throwing> index(5);
    auto writer = index.writer();
    writer.edit(1).value = 1;
    Throwing::fail = true;
    REQUIRE_THROWS_WITH(writer.edit(2), test::contains_text("the copy failed"));
    REQUIRE_THROWS_AS(index.edit(2, [](Throwing&) {}), std::runtime_error);
    Throwing::fail = false;
    REQUIRE(writer.modified_count() == 1);
    REQUIRE(test::validate(index) == "");
    writer.edit(2).value = 2;
    REQUIRE(writer.commit() == 1);
    REQUIRE(index.snapshot()[2].value == 2);
}

TEST_CASE("options that make no sense are refused") {
    cowindex::Options<cowindex::DefaultPolicy<int>> options;
    options.time_every = 0;
    REQUIRE_THROWS_AS(Index(options), std::invalid_argument);
    REQUIRE_THROWS_WITH(Index(options), test::contains_text("time_every"));
}
