// First committer wins, shard by shard; and nothing that was acknowledged is lost.

#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/validate.hpp"

using cowindex::CommitStatus;
using cowindex::ShardId;

namespace {

using Index = cowindex::CowIndex<int>;

std::vector<ShardId> conflicts_of(Index::Writer& writer) {
    const auto result = writer.try_commit();
    REQUIRE(result.status() == CommitStatus::conflict);
    REQUIRE_FALSE(static_cast<bool>(result));
    return result.conflicts();
}

using Ids = std::vector<ShardId>;

// Calls a function at a chosen moment of a commit, as another thread might.
struct Interrupted : cowindex::DefaultPolicy<int> {
    static inline std::function<void()> on_bytes;
    static inline std::function<void()> on_lock;
    static inline int locks_until = 0;
    struct Mutex {
        bool try_lock() {
            if (on_lock && --locks_until == 0) std::exchange(on_lock, nullptr)();
            return mutex.try_lock();
        }
        void lock() { mutex.lock(); }
        void unlock() { mutex.unlock(); }
        std::mutex mutex;
    };
    static std::size_t bytes(const int&) {
        if (on_bytes) std::exchange(on_bytes, nullptr)();
        return sizeof(int);
    }
};

} // namespace

TEST_CASE("commits of different shards both succeed, of the same shard only the first") {
    Index index(10);
    auto a = index.writer();
    auto b = index.writer();
    auto c = index.writer();
    a.edit(1) = 1;
    b.edit(2) = 2;
    c.edit(1) = 3;
    c.edit(4) = 3;
    REQUIRE(a.commit() == 1);
    REQUIRE(b.commit() == 2);
    REQUIRE(conflicts_of(c) == Ids{1});
    REQUIRE(index.snapshot()[1] == 1);
    REQUIRE(index.snapshot()[2] == 2);
    REQUIRE(index.snapshot()[4] == 0); // no half of it
}

TEST_CASE("every kind of change of the same shard conflicts, also with itself") {
    const std::vector<std::function<void(Index::Writer&)>> kinds{
        [](Index::Writer& w) { w.edit(3) = 1; },
        [](Index::Writer& w) { w.replace(3, 2); },
        [](Index::Writer& w) { w.emplace(3, 3); },
        [](Index::Writer& w) { w.erase(3); },
        [](Index::Writer& w) {
            w.erase(3);
            w.insert(3, 4);
        },
    };
    for (const auto& first : kinds)
        for (const auto& second : kinds) {
            Index index(5);
            auto winner = index.writer();
            auto loser = index.writer();
            first(winner);
            second(loser);
            winner.commit();
            REQUIRE(conflicts_of(loser) == Ids{3});
            REQUIRE(index.version() == 1);
        }
}

TEST_CASE("a shard that was changed and changed back has still been changed") {
    Index index(5);
    auto writer = index.writer();
    writer.edit(3) = 1;
    index.replace(3, 9);
    index.replace(3, 0);
    REQUIRE(conflicts_of(writer) == Ids{3});
    auto eraser = index.writer();
    eraser.erase(3);
    eraser.commit();
    auto restorer = index.writer();
    restorer.insert(3, 0);
    restorer.commit();
    REQUIRE(conflicts_of(writer) == Ids{3});
}

TEST_CASE("two inserts of one id conflict, appends never do") {
    Index index(5);
    auto a = index.writer();
    auto b = index.writer();
    a.insert(100, 1);
    b.insert(100, 2);
    a.commit();
    REQUIRE(conflicts_of(b) == Ids{100});
    b.discard();
    const ShardId first = a.append(1);
    const ShardId second = b.append(2);
    REQUIRE(first != second);
    b.commit();
    a.commit();
    REQUIRE(index.snapshot()[first] == 1);
    REQUIRE(index.snapshot()[second] == 2);
    REQUIRE(index.size() == 8);
}

TEST_CASE("write skew happens without require() and is prevented with it") {
    for (const bool required : {false, true}) {
        Index index(2, 1); // at least one is to stay 1
        auto a = index.writer();
        auto b = index.writer();
        if (required) {
            a.require(1);
            b.require(0);
        }
        REQUIRE(a[1] + b[0] == 2);
        a.edit(0) = 0;
        b.edit(1) = 0;
        a.commit();
        REQUIRE(static_cast<bool>(b.try_commit()) == !required);
        REQUIRE(index.snapshot()[0] + index.snapshot()[1] == (required ? 1 : 0));
    }
}

TEST_CASE("requirements alone publish nothing and never conflict") {
    Index index(5);
    auto writer = index.writer();
    writer.require(1);
    writer.require_all();
    index.replace(1, 1);
    REQUIRE(writer.try_commit().status() == CommitStatus::unchanged);
    REQUIRE(index.version() == 1);
}

TEST_CASE("require_all() conflicts with anything, and names all of it") {
    Index index(5);
    auto writer = index.writer();
    writer.edit(1) = 1;
    writer.require_all();
    index.replace(4, 1);
    index.append(9);
    index.erase(0);
    REQUIRE(conflicts_of(writer) == Ids{0, 4, 5});
    writer.discard();
    writer.edit(1) = 1;
    index.replace(4, 2); // require_all() ended with the discard
    REQUIRE(writer.commit() == 5);
}

TEST_CASE("require_all() sees what came and went, however empty the index was") {
    Index index;
    auto writer = index.writer();
    writer.append(1);
    writer.require_all();
    auto other = index.writer();
    other.insert(ShardId{1} << 62, 2);
    other.commit();
    other.erase(ShardId{1} << 62);
    other.commit();
    REQUIRE(conflicts_of(writer).empty());
    REQUIRE_THROWS_AS(writer.commit(), cowindex::ConflictError);
}

TEST_CASE("after a conflict a writer goes on without the shards that were in conflict") {
    Index index(5);
    auto writer = index.writer();
    writer.edit(1) = 1;
    writer.edit(2) = 2;
    writer.require(3);
    index.replace(1, 9);
    index.replace(3, 9);
    REQUIRE(conflicts_of(writer) == Ids{1, 3});
    REQUIRE(conflicts_of(writer) == Ids{1, 3}); // again
    REQUIRE_THROWS_AS(writer.rebase(), cowindex::ConflictError);
    REQUIRE(writer.base_version() == 0);
    writer.revert(1);
    writer.revert(3);
    writer.rebase();
    REQUIRE(writer.base_version() == 2);
    REQUIRE(writer[1] == 9);
    REQUIRE(writer[2] == 2);
    REQUIRE(writer.commit() == 3);
    REQUIRE(index.snapshot()[1] == 9);
    REQUIRE(index.snapshot()[2] == 2);
}

TEST_CASE("reverting restores the base's shard, an erased one, and takes back a new one") {
    Index index(5, 1);
    auto writer = index.writer();
    writer.edit(1) = 7;
    writer.erase(2);
    const ShardId added = writer.append(7);
    writer.revert(1);
    writer.revert(2);
    writer.revert(added);
    writer.revert(4); // nothing was done to it
    REQUIRE(writer[1] == 1);
    REQUIRE(writer[2] == 1);
    REQUIRE_FALSE(writer.contains(added));
    REQUIRE_FALSE(writer.has_changes());
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("an update retries until it wins, from the latest version each time") {
    Index index(5);
    int runs = 0;
    const auto version = index.update([&](Index::Writer& writer) {
        writer.edit(1) += 1;
        if (++runs <= 6) { // more often than it takes for a ticket
            auto winner = index.writer();
            winner.edit(1) += 10;
            winner.commit();
        }
    });
    REQUIRE(runs == 7);
    REQUIRE(version == 7);
    REQUIRE(index.snapshot()[1] == 61);
    REQUIRE(index.metrics().retries == 6);
}

TEST_CASE("an update returns what its function returns, and publishes nothing when that throws") {
    Index index(5);
    REQUIRE(index.update([](Index::Writer& w) { return std::to_string(w.edit(1) = 5); }) == "5");
    REQUIRE(index.version() == 1);
    REQUIRE_THROWS_AS(index.update([](Index::Writer& w) {
        w.edit(1) = 6;
        throw std::runtime_error("no");
    }),
                      std::runtime_error);
    REQUIRE(index.version() == 1);
    REQUIRE(index.metrics().pending_writers == 0);
    REQUIRE(index.update([](Index::Writer&) {}) == 1); // nothing to publish
}

TEST_CASE("one-line writes keep what was moved into them when they lose") {
    using Strings = cowindex::CowIndex<std::string>;
    struct Policy : cowindex::DefaultPolicy<std::string> {
        static std::function<void()>& hook() {
            static std::function<void()> function;
            return function;
        }
        static std::size_t bytes(const std::string&) {
            if (hook()) std::exchange(hook(), nullptr)();
            return 1;
        }
    };
    cowindex::CowIndex<std::string, Policy> index(5);
    const std::string text = "long enough not to fit into the string itself";
    Policy::hook() = [&] {
        auto winner = index.writer();
        winner.replace(1, "theirs");
        winner.commit();
    };
    REQUIRE(index.replace(1, text) == 2);
    REQUIRE(index.snapshot()[1] == text);

    Policy::hook() = [&] {
        auto winner = index.writer();
        winner.replace(0, "theirs");
        winner.append("one more, which must go");
        winner.commit();
    };
    REQUIRE(index.assign({text, text + "2"}) == 4);
    REQUIRE(index.size() == 2);
    REQUIRE(index.snapshot()[0] == text);
    REQUIRE(index.snapshot()[1] == text + "2");

    Policy::hook() = [&] {
        auto winner = index.writer();
        winner.erase(0);
        winner.commit();
    };
    REQUIRE_THROWS_AS(index.replace(0, text), std::out_of_range);
    REQUIRE(test::validate(index) == "");
    static_cast<void>(Strings());
}

TEST_CASE("an append never overwrites an insert that came first, whenever it comes") {
    using Indexed = cowindex::CowIndex<int, Interrupted>;
    for (int moment = 1; moment < 16; ++moment) {
        Indexed index;
        bool inserted = false;
        Interrupted::on_bytes = [&] {
            auto first = index.writer();
            first.insert(0, 111); // the id that append() has chosen
            first.commit();
            Interrupted::locks_until = moment;
            Interrupted::on_lock = [&] {
                auto second = index.writer();
                if (second.contains(1)) return;
                second.insert(1, 222); // the one that it chooses next
                second.commit();
                inserted = true;
            };
        };
        const ShardId id = index.append(7);
        Interrupted::on_lock = nullptr;
        REQUIRE(index.snapshot()[0] == 111);
        REQUIRE(index.snapshot()[id] == 7);
        if (inserted) REQUIRE(index.snapshot()[1] == 222);
        REQUIRE(index.size() == (inserted ? 3U : 2U));
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("assign replaces everything in one version, also sparse ids") {
    Index index(5, 1);
    auto writer = index.writer();
    writer.insert(ShardId{1} << 60, 2);
    writer.commit();
    const auto before = index.snapshot();
    REQUIRE(index.assign({7, 8}) == 2);
    REQUIRE(index.size() == 2);
    REQUIRE(index.snapshot().id_bound() == (ShardId{1} << 60) + 1);
    REQUIRE(before.size() == 6);
    REQUIRE(index.assign({}) == 3);
    REQUIRE(index.empty());
    REQUIRE(index.assign({}) == 3);
    REQUIRE(index.assign(std::vector<int>(200, 5)) == 4);
    REQUIRE(index.size() == 200);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a large batch on an outdated base lets go of the lock, whatever becomes of it") {
    constexpr cowindex::ShardId count = 20; // enough to be replayed before the lock is taken
    const auto edit_many = [](auto& writer) {
        for (cowindex::ShardId id = 0; id < count; ++id) writer.edit(id) += 1;
    };
    SECTION("published, with a barrier for a reader at the end of some commit") {
        cowindex::CowIndex<int> index(100);
        auto reader = index.reader();
        auto writer = index.writer();
        for (int round = 1; round <= 600; ++round) {
            edit_many(writer);
            index.replace(99, round);
            writer.commit();
        }
        REQUIRE(reader.pin()[0] == 600);
    }
    SECTION("refused because versions are used up") {
        cowindex::CowIndex<int>::Options options;
        options.first_version = ~cowindex::Version{0} - 2;
        cowindex::CowIndex<int> index(100, options);
        auto writer = index.writer();
        edit_many(writer);
        index.replace(99, 1);
        REQUIRE_THROWS_AS(writer.commit(), std::overflow_error);
        REQUIRE(writer.modified_count() == count);
    }
    SECTION("refused for lack of room") {
        cowindex::CowIndex<std::vector<char>>::Options options;
        options.budget.hard_bytes = 100000;
        cowindex::CowIndex<std::vector<char>> index(100, options);
        auto writer = index.writer();
        for (cowindex::ShardId id = 0; id < count; ++id) writer.edit(id).resize(10000);
        index.replace(99, std::vector<char>(1));
        REQUIRE(writer.try_commit().status() == cowindex::CommitStatus::over_budget);
        REQUIRE(writer.modified_count() == count);
    }
    SECTION("refused because of a conflict") {
        cowindex::CowIndex<int> index(100);
        auto writer = index.writer();
        edit_many(writer);
        index.replace(0, 1);
        REQUIRE(writer.try_commit().status() == cowindex::CommitStatus::conflict);
    }
}

namespace {

struct PatientPolicy : cowindex::DefaultPolicy<int> {
    static inline std::vector<int> waits;
    static inline std::function<void()> meanwhile;   // while an update stays away
    static inline std::function<void()> before_lock; // of the next commit
    static void back_off(int tries) noexcept {
        waits.push_back(tries);
        if (meanwhile) meanwhile();
    }
    static void sync_point(cowindex::SyncPoint where) noexcept {
        if (where == cowindex::SyncPoint::commit_prepared && before_lock)
            std::exchange(before_lock, nullptr)();
    }
};

} // namespace

TEST_CASE("an update that loses backs off as its policy says, once for each try") {
    cowindex::CowIndex<int, PatientPolicy> index(2);
    auto rival = index.writer();
    int calls = 0;
    index.update([&](auto& writer) {
        writer.edit(1) += 10;
        if (++calls == 4) return;
        rival.edit(1) += 1;
        rival.commit();
    });
    REQUIRE(index.snapshot()[1] == 13);
    REQUIRE(PatientPolicy::waits == std::vector<int>{1, 2, 3});
    REQUIRE(index.metrics().retries == 3);
    index.edit(0, [](int& value) { ++value; }); // without a conflict there is nothing to wait for
    REQUIRE(PatientPolicy::waits.size() == 3);
}

TEST_CASE("an update stays away for longer where another does, too") {
    cowindex::CowIndex<int, PatientPolicy> index(2);
    const auto lose_once = [&] {
        PatientPolicy::before_lock = [&] {
            auto writer = index.writer();
            ++writer.edit(1);
            writer.commit();
        };
        index.edit(1, [](int& value) { value += 10; });
    };
    PatientPolicy::waits.clear();
    PatientPolicy::meanwhile = [&] {
        PatientPolicy::meanwhile = nullptr;
        std::thread(lose_once).join();
    };
    lose_once();
    lose_once(); // alone again
    REQUIRE(index.snapshot()[1] == 33);
    REQUIRE(PatientPolicy::waits == std::vector<int>{1, 2, 1});
}

TEST_CASE("an update that stays away holds no version") {
    cowindex::CowIndex<int, PatientPolicy> index(2);
    const auto rival = [&](ShardId id) {
        auto writer = index.writer();
        ++writer.edit(id);
        writer.commit();
    };
    std::vector<std::size_t> held;
    PatientPolicy::meanwhile = [&] {
        rival(0);
        held.push_back(index.metrics().retained_versions);
    };
    PatientPolicy::before_lock = [&] { rival(1); };
    SECTION("update") {
        index.edit(1, [](int& value) { value += 10; });
        REQUIRE(index.snapshot()[1] == 11);
    }
    SECTION("replace") {
        index.replace(1, 20);
        REQUIRE(index.snapshot()[1] == 20);
    }
    SECTION("assign") {
        index.assign({7, 8, 9});
        REQUIRE(index.snapshot()[1] == 8);
        REQUIRE(index.size() == 3);
    }
    PatientPolicy::meanwhile = nullptr;
    REQUIRE(held == std::vector<std::size_t>{0});
    REQUIRE(index.metrics().retries == 1);
    REQUIRE(test::validate(index) == "");
}
