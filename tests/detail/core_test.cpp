// The core's own parts: beginning, committing, reclaiming and ending, seen from the inside.
#include <cowindex/detail/commit.hpp>
#include <cowindex/detail/core.hpp>
#include <cowindex/detail/lifetime.hpp>
#include <cowindex/detail/rebase.hpp>
#include <cowindex/detail/reclaim.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/no_membarrier.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using cowindex::SyncPoint;
using cowindex::detail::last_version;
using cowindex::detail::unborn;
using test::TestAccess;

namespace {

// Runs a function once after it was let go of next.
struct HookMutex {
    static inline std::function<void()> after_unlock;
    static inline std::atomic<int> unlocks{0};
    static inline unsigned deepest = 0; // in callbacks
    bool try_lock() {
        deepest = std::max(deepest, cowindex::detail::callback_depth());
        return mutex.try_lock();
    }
    void lock() { mutex.lock(); }
    void unlock() {
        ++unlocks;
        mutex.unlock();
        if (after_unlock) std::exchange(after_unlock, nullptr)();
    }
    std::mutex mutex;
};

// Runs a function once when the protocol reaches a chosen place.
struct HookPolicy : cowindex::DefaultPolicy<int> {
    using Allocator = test::CountingAllocator<std::byte>;
    using Mutex = HookMutex;
    static inline SyncPoint where = SyncPoint::unpin;
    static inline std::function<void()> what;
    static void sync_point(SyncPoint point) noexcept {
        if (what && point == where) std::exchange(what, nullptr)();
    }
    static void at(SyncPoint point, std::function<void()> then) {
        where = point;
        what = std::move(then);
    }
};
using Index = cowindex::CowIndex<int, HookPolicy>;

std::size_t chain_length(const Index& index) {
    return TestAccess::chain(TestAccess::core(index)).length();
}

} // namespace

TEST_CASE("a commit overtaken after its preparation is replayed on the newer version") {
    Index index(100);
    auto writer = index.writer();
    writer.edit(1) = 10;
    HookPolicy::at(SyncPoint::commit_prepared, [&] { index.replace(2, 20); });
    REQUIRE(writer.commit() == 2);
    REQUIRE(index.snapshot()[1] == 10);
    REQUIRE(index.snapshot()[2] == 20);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("replaced shards are replayed on the newer version, near and far from what changed") {
    for (const ShardId changes : {ShardId{1}, ShardId{20}}) { // some are replayed without the lock
        Index index(100000);
        auto writer = index.writer();
        for (ShardId i = 0; i < changes; ++i) writer.edit(i * 5000) = 10;
        index.replace(1, 20);     // beside one of them
        index.replace(70, 21);    // in the next leaf
        index.replace(99999, 22); // far away
        REQUIRE(writer.commit() == 4);
        const auto snapshot = index.snapshot();
        for (ShardId i = 0; i < changes; ++i) REQUIRE(snapshot[i * 5000] == 10);
        REQUIRE(std::count(snapshot.begin(), snapshot.end(), 10) ==
                static_cast<std::ptrdiff_t>(changes));
        REQUIRE(snapshot[1] + snapshot[70] + snapshot[99999] == 63);
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("a batch that was overtaken again by others is replayed on the newest version") {
    Index index(1000);
    auto writer = index.writer();
    for (ShardId id = 0; id < 1000; id += 50) writer.edit(id) = 10;
    index.replace(1, 20);
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        HookPolicy::at(SyncPoint::commit_prepared, [&] { index.replace(2, 30); });
    });
    SECTION("which it agrees with") {
        REQUIRE(writer.commit() == 3);
        REQUIRE(index.snapshot()[50] == 10);
        REQUIRE(index.snapshot()[1] + index.snapshot()[2] == 50);
    }
    SECTION("or refused") {
        HookPolicy::at(SyncPoint::commit_prepared, [&] {
            HookPolicy::at(SyncPoint::commit_prepared, [&] { index.replace(50, 30); });
        });
        REQUIRE(writer.try_commit().conflicts() == std::vector<ShardId>{50});
        writer.revert(50);
        writer.rebase();
        REQUIRE(writer.commit() == 3);
        REQUIRE(index.snapshot()[50] == 30);
        REQUIRE(index.snapshot()[100] == 10);
    }
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a shard that was put back, or whose leaf was emptied, does not stop a replay") {
    Index index(65); // the last shard has a leaf of its own
    auto writer = index.writer();
    SECTION("by this writer, which has erased it and put it back") {
        writer.erase(64);
        writer.revert(64);
        writer.edit(0) = 1;
        index.update([](Index::Writer& other) { other.insert(70, 5); });
        REQUIRE(writer.commit() == 2);
        REQUIRE(index.snapshot()[0] == 1);
        REQUIRE(index.snapshot()[64] == 0);
        REQUIRE(index.snapshot()[70] == 5);
    }
    SECTION("by another one") {
        index.update([](Index::Writer& first) { first.insert(100, 5); });
        writer.discard();
        writer.edit(64) = 1;
        index.update([](Index::Writer& other) {
            other.erase(100);
            other.erase(64);
            other.revert(64);
        });
        REQUIRE(writer.commit() == 3);
        REQUIRE(index.snapshot()[64] == 1);
        REQUIRE(index.size() == 65);
    }
    SECTION("emptied by another one after this writer had taken its edit back") {
        writer.edit(64) = 1;
        writer.revert(64);
        writer.edit(0) = 1;
        index.erase(64);
        REQUIRE(writer.commit() == 2);
        REQUIRE(index.snapshot()[0] == 1);
        REQUIRE_FALSE(index.snapshot().contains(64));
    }
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a commit overtaken after its preparation by the same shard is refused") {
    Index index(100);
    auto writer = index.writer();
    writer.edit(1) = 10;
    HookPolicy::at(SyncPoint::commit_prepared, [&] { index.replace(1, 20); });
    const auto result = writer.try_commit();
    REQUIRE(result.status() == cowindex::CommitStatus::conflict);
    REQUIRE(result.conflicts() == std::vector<ShardId>{1});
    REQUIRE(writer[1] == 10);
    REQUIRE(test::validate(index) == "");
    writer.edit(1) = 11; // no second clone: it is still this writer's own
    REQUIRE(index.metrics().clone_operations == 1);
}

TEST_CASE("a commit that finds the tree higher than it reserved for tops up and goes on") {
    Index index(1);
    auto writer = index.writer();
    writer.edit(0) = 10;
    bool topped_up = false;
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        auto other = index.writer();
        other.insert(ShardId{1} << 60, 1);
        other.commit();
        // The pool holds enough by chance only if it was filled before.
        HookPolicy::at(SyncPoint::commit_retry, [&] { topped_up = true; });
    });
    REQUIRE(writer.commit() == 2);
    HookPolicy::what = nullptr;
    REQUIRE(topped_up);
    REQUIRE(index.snapshot()[0] == 10);
    REQUIRE(index.size() == 2);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a large batch is replayed before the lock is taken, and again if that was in vain") {
    for (const bool overtaken : {false, true}) {
        Index index(1000);
        auto writer = index.writer();
        for (ShardId id = 0; id < 20; ++id) writer.edit(980 - id * 40) = 1;
        writer.erase(990);
        index.replace(1, 5);
        bool topped_up = false; // with nodes, for which it lets go of the lock again
        HookPolicy::at(SyncPoint::commit_prepared, [&] {
            HookPolicy::at(SyncPoint::commit_prepared, [&] {
                if (overtaken) {
                    index.replace(2, 6);
                    auto other = index.writer();
                    other.insert(ShardId{1} << 50, 7);
                    other.commit();
                }
                HookPolicy::at(SyncPoint::commit_retry, [&] { topped_up = true; });
            });
        });
        REQUIRE(writer.commit() == (overtaken ? 4U : 2U));
        HookPolicy::what = nullptr;
        REQUIRE(topped_up == overtaken);
        for (ShardId id = 0; id < 20; ++id) REQUIRE(index.snapshot()[980 - id * 40] == 1);
        REQUIRE(index.snapshot()[1] == 5);
        REQUIRE(index.size() == (overtaken ? 1000U : 999U));
        REQUIRE(test::validate(index) == "");
    }
}

TEST_CASE("a batch that was overtaken while it was replayed goes on with the nodes it has") {
    Index index(65536);
    auto writer = index.writer();
    for (int i = 0; i < 4; ++i) { // paths through many nodes: they are kept for later
        for (ShardId id = 0; id < 65536; id += 8192) writer.edit(id) = i;
        writer.commit();
    }
    for (ShardId id = 0; id < 8; ++id) writer.edit(id) = 10;
    index.replace(60000, 1);
    bool topped_up = false;
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        HookPolicy::at(SyncPoint::commit_prepared, [&] {
            index.replace(50000, 2);
            HookPolicy::at(SyncPoint::commit_retry, [&] { topped_up = true; });
        });
    });
    REQUIRE(writer.commit() == 7);
    HookPolicy::what = nullptr;
    REQUIRE_FALSE(topped_up);
    for (ShardId id = 0; id < 8; ++id) REQUIRE(index.snapshot()[id] == 10);
    REQUIRE(index.snapshot()[60000] == 1);
    REQUIRE(index.snapshot()[50000] == 2);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a batch that is overtaken by the last version of all is refused and kept") {
    cowindex::Options<HookPolicy> options;
    options.first_version = cowindex::detail::last_version - 2;
    Index index(100, 0, options);
    auto writer = index.writer();
    for (ShardId id = 0; id < 10; ++id) writer.edit(id) = 1; // enough to be replayed ahead
    index.replace(50, 1);
    const auto end = [&] { index.replace(51, 1); };
    SECTION("while it is replayed") {
        HookPolicy::at(SyncPoint::commit_prepared,
                       [&] { HookPolicy::at(SyncPoint::commit_prepared, end); });
    }
    SECTION("before it is") {
        HookPolicy::at(SyncPoint::commit_prepared, [&] { HookMutex::after_unlock = end; });
    }
    REQUIRE_THROWS_AS(writer.commit(), std::overflow_error);
    HookPolicy::what = nullptr;
    REQUIRE(index.version() == cowindex::detail::last_version);
    REQUIRE(index.snapshot()[51] == 1);
    REQUIRE(index.snapshot()[0] == 0);
    REQUIRE(writer.modified_count() == 10);
    REQUIRE(test::validate(index) == "");
    writer.discard();
    index.reclaim();
    REQUIRE(chain_length(index) == 1); // nothing is held any more
}

TEST_CASE("ids are handed out once, and none that is reserved, whoever else asks") {
    const Index index(1);
    auto& core = TestAccess::core(index);
    struct Got {
        ShardId sum = 0;
        ShardId count = 0;
        bool in_order = true;
    };
    // On a busy machine one thread could be done before the other begins: until they have met.
    const auto in_two_threads = [](const auto& step) {
        std::array<Got, 2> got;
        std::latch together(2);
        const auto run = [&](Got& mine) {
            together.arrive_and_wait();
            ShardId last = 0;
            int met = 0;
            for (int i = 0; i < 500'000 || (i < 3'000'000 && met < 20'000); ++i) {
                const auto [id, alone] = step(last, i);
                if (id != alone) ++met;
                mine.in_order = mine.in_order && id > last;
                mine.sum += id;
                ++mine.count;
                last = id;
            }
        };
        std::thread other(run, std::ref(got[1]));
        run(got[0]);
        other.join();
        REQUIRE((got[0].in_order && got[1].in_order));
        return Got{got[0].sum + got[1].sum, got[0].count + got[1].count};
    };

    // What a step got, and what it would have got alone.
    using Step = std::pair<ShardId, ShardId>;
    const Got asked =
        in_two_threads([&](ShardId last, int) { return Step(core.next_id(), last + 1); });
    ShardId expected = 0;
    for (ShardId id = 1; id <= asked.count; ++id) expected += id;
    REQUIRE(asked.sum == expected); // each of them, once
    REQUIRE(core.next_id() == asked.count + 1);

    std::atomic<bool> handed_out{false};
    static_cast<void>(in_two_threads([&](ShardId last, int i) {
        const ShardId reserved = std::max(last, asked.count) + 1 + static_cast<ShardId>(i % 2) * 3;
        core.reserve_id(reserved);
        const ShardId id = core.next_id();
        if (id <= reserved) handed_out = true;
        return Step(id, reserved + 1);
    }));
    REQUIRE_FALSE(handed_out);
}

TEST_CASE("an index made where the kernel refuses the barrier does without") {
    test::without_membarrier([] {
        Index index(10);
        std::optional<Index::Reader> reader(index.reader());
        std::optional<Index::View> outer(reader->pin());
        index.replace(1, 1);
        std::optional<Index::View> inner(reader->pin()); // of the same version
        REQUIRE(inner->version() == 0);
        outer.reset();
        reader.reset();
        index.reclaim();
        REQUIRE(chain_length(index) == 2);
        REQUIRE((*inner)[1] == 0);
        REQUIRE(index.active_readers() == 1);
        REQUIRE(test::validate(index) == "");
        inner.reset();
        index.reclaim();
        REQUIRE(chain_length(index) == 1);
        REQUIRE(index.active_readers() == 0);
        auto next = index.reader(); // in the slot that was given back
        REQUIRE(next.pin().version() == 1);
        REQUIRE(test::validate(index) == "");
    });
}

TEST_CASE("a barrier that the kernel refuses lets go of nothing") {
    Index index(10);
    auto reader = index.reader();
    std::optional<Index::View> view(reader.pin());
    index.replace(1, 1);
    view.reset();
    if (!TestAccess::publication(TestAccess::core(index)).fence().asymmetric()) return;
    const bool refused = test::without_membarrier([&] {
        REQUIRE(index.reclaim() == 0);
        REQUIRE(chain_length(index) == 2);
        REQUIRE(test::validate(index) == "");
    });
    REQUIRE((index.reclaim() > 0 || !refused));
    REQUIRE(chain_length(index) == 1);
}

TEST_CASE("a version that only a reader holds is found pinned, then let go") {
    Index index(10);
    auto reader = index.reader();
    {
        const auto view = reader.pin();
        index.replace(1, 1);
        index.reclaim();
        REQUIRE(chain_length(index) == 2);
        REQUIRE(TestAccess::chain(TestAccess::core(index)).pinned_count() == 1);
        REQUIRE(view[1] == 0);
        REQUIRE(test::validate(index) == "");
    }
    index.reclaim();
    REQUIRE(chain_length(index) == 1);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a view that becomes a snapshot after the slots were read keeps its version") {
    Index index(10);
    auto reader = index.reader();
    std::optional<Index::View> view(reader.pin());
    std::optional<Index::Snapshot> promoted;
    index.replace(1, 1);
    HookPolicy::at(SyncPoint::reclaim_barrier, [&] {
        HookMutex::after_unlock = [&] {
            promoted = view->snapshot();
            view.reset();
        };
    });
    index.reclaim();
    REQUIRE(promoted.has_value());
    REQUIRE(chain_length(index) == 2);
    REQUIRE((*promoted)[1] == 0);
    promoted.reset();
    index.reclaim();
    REQUIRE(chain_length(index) == 1);
}

TEST_CASE("a version published while reclaim() waits for its barrier is left alone") {
    Index index(10);
    auto reader = index.reader();
    std::optional<Index::View> view;
    index.replace(1, 1);
    HookPolicy::at(SyncPoint::reclaim_barrier, [&] {
        HookMutex::after_unlock = [&] {
            view.emplace(reader.pin()); // of the latest, which the horizon spares
            index.replace(1, 2);
        };
    });
    index.reclaim();
    REQUIRE(view->version() == 1);
    REQUIRE((*view)[1] == 1);
    REQUIRE(chain_length(index) == 2);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("what is superseded while pins() looks, and held by nobody, is not listed") {
    Index index(10);
    const auto reader = index.reader();
    const auto kept = index.snapshot();
    index.replace(1, 1);
    int commits = 0;
    std::function<void()> overtake = [&] {
        HookMutex::after_unlock = [&] { index.replace(2, ++commits); };
        HookPolicy::at(SyncPoint::reclaim_barrier, overtake);
    };
    HookPolicy::at(SyncPoint::reclaim_barrier, overtake);
    const auto pins = index.pins();
    HookPolicy::what = nullptr;
    REQUIRE(commits > 1);
    REQUIRE(TestAccess::chain(TestAccess::core(index)).superseded_count() > 0);
    REQUIRE(pins.size() == 1);
    REQUIRE(pins.front().version == kept.version());
    REQUIRE(pins.front().holders == 1);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("reclaim() lets go of the lock while it sorts what a version had") {
    constexpr ShardId many = 8000;
    Index index(many);
    const auto rewrite = [&](ShardId end) {
        index.update([&](Index::Writer& writer) {
            for (ShardId id = 0; id < end; ++id) writer.edit(id) = 1;
        });
    };
    auto oldest = index.snapshot();
    rewrite(many / 2);
    auto let_go = index.snapshot();
    rewrite(many);
    let_go = {}; // half of what it had is still in the oldest version
    HookMutex::unlocks = 0;
    REQUIRE(index.reclaim() > 0);
    REQUIRE(HookMutex::unlocks > static_cast<int>(many / 2 / 1024));
    REQUIRE(chain_length(index) == 2);
    REQUIRE(test::validate(index) == "");
    oldest = {};
    index.reclaim();
    REQUIRE(chain_length(index) == 1);
    REQUIRE(index.memory_usage().retained_bytes == 0);
}

TEST_CASE("commits free what they replace, a bounded amount at a time") {
    test::AllocationAccount account;
    cowindex::Options<HookPolicy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    Index index(20000, 0, options);
    const std::size_t once = account.live_bytes;
    std::optional<Index::Snapshot> old(index.snapshot());
    for (ShardId id = 0; id < 20000; id += 100) // every leaf is copied while `old` holds the first
        index.update([&](Index::Writer& writer) {
            for (ShardId i = id; i < id + 100; ++i) writer.replace(i, 1);
        });
    const std::size_t both = account.live_bytes;
    REQUIRE(both > once + once / 2);
    old.reset();
    index.replace(0, 2);
    REQUIRE(account.live_bytes > once + once / 2); // one small commit does not pay for all
    for (int i = 0; i < 3000; ++i) index.replace(0, i);
    REQUIRE(account.live_bytes < once + once / 20); // many do
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a barrier is paid for only when enough versions wait") {
    Index index(10);
    auto reader = index.reader();
    int barriers = 0;
    std::function<void()> count = [&] {
        ++barriers;
        HookPolicy::at(SyncPoint::reclaim_barrier, count);
    };
    HookPolicy::at(SyncPoint::reclaim_barrier, count);
    for (int i = 0; i < 12; ++i) index.replace(1, i);
    REQUIRE(barriers == 0);
    for (int i = 0; i < 2000; ++i) index.replace(1, i);
    REQUIRE(barriers > 0);
    REQUIRE(barriers <= 2012 / 16);
    HookPolicy::what = nullptr;
    REQUIRE(chain_length(index) < 600);
}

TEST_CASE("a commit without readers takes the lock once") {
    Index index(10);
    auto writer = index.writer();
    writer.edit(1) = 1;
    writer.commit(); // which leaves a record for the next one
    writer.edit(1) = 2;
    HookMutex::unlocks = 0;
    writer.commit();
    REQUIRE(HookMutex::unlocks == 1);
}

TEST_CASE("a commit sorts a bounded part of what a version had that was let go") {
    constexpr ShardId many = 20000;
    Index index(many);
    const auto oldest = index.snapshot();
    const auto rewrite = [&](ShardId end) {
        index.update([&](Index::Writer& writer) {
            for (ShardId id = 0; id < end; ++id) writer.edit(id) = 1;
        });
    };
    rewrite(many / 2);
    auto let_go = index.snapshot();
    rewrite(many);
    let_go = {}; // half of what it had is still in the oldest version, half is garbage
    auto& chain = TestAccess::chain(TestAccess::core(index));
    std::size_t sorted = chain.oldest()->dead.count();
    int commits = 0;
    for (; chain.oldest()->newer->version == 1; ++commits) {
        index.replace(1, commits);
        const std::size_t now = chain.oldest()->dead.count();
        REQUIRE(now - sorted <= 50);
        sorted = now;
        REQUIRE(commits < 100000);
    }
    REQUIRE(commits > 100);
    REQUIRE(test::validate(index) == "");
}

namespace {

template <std::size_t Least, std::size_t Most>
struct BarrierPolicy : cowindex::DefaultPolicy<int> {
    static constexpr std::size_t barrier_min_versions = Least;
    static constexpr std::size_t barrier_max_versions = Most;
    static inline int barriers = 0;
    static void sync_point(SyncPoint point) noexcept {
        if (point == SyncPoint::reclaim_barrier) ++barriers;
    }
};

// How many barriers a thousand commits pay while a reader is registered.
template <class Policy>
int barriers_of_a_thousand() {
    cowindex::CowIndex<int, Policy> index(10);
    const auto reader = index.reader();
    Policy::barriers = 0;
    for (int i = 0; i < 1000; ++i) index.replace(1, i);
    return Policy::barriers;
}

} // namespace

TEST_CASE("the policy says how many versions wait for a barrier") {
    REQUIRE(barriers_of_a_thousand<BarrierPolicy<1, 1>>() == 1000);
    REQUIRE(barriers_of_a_thousand<BarrierPolicy<10, 10>>() == 100);
    const int between = barriers_of_a_thousand<BarrierPolicy<20, 50>>();
    REQUIRE(between >= 20);
    REQUIRE(between <= 50);
}

TEST_CASE("a large commit pays for a barrier of its own") {
    using Policy = BarrierPolicy<20, 20>;
    cowindex::CowIndex<int, Policy> index(1000);
    const auto reader = index.reader();
    Policy::barriers = 0;
    for (int i = 0; i < 10; ++i)
        index.update([&](auto& writer) {
            for (ShardId id = 0; id < 1000; ++id) writer.edit(id) = i;
        });
    REQUIRE(Policy::barriers == 10);
}

namespace {

// Says that its shards are as large as it is told.
struct LargePolicy : BarrierPolicy<16, 16> {
    static inline std::size_t size = 0;
    static std::size_t bytes(const int&) { return size; }
};

} // namespace

TEST_CASE("large shards pay for a barrier when four versions wait") {
    cowindex::CowIndex<int, LargePolicy> index(10);
    const auto reader = index.reader();
    LargePolicy::size = std::size_t{4} << 20;
    LargePolicy::barriers = 0;
    std::vector<int> after_commit;
    for (int i = 0; i < 9; ++i) {
        index.replace(1, i);
        after_commit.push_back(LargePolicy::barriers);
    }
    // The first replaced a shard of no size.
    REQUIRE(after_commit == std::vector<int>{0, 0, 0, 1, 1, 1, 1, 2, 2});
}

TEST_CASE("commits free as many bytes as they replace") {
    cowindex::CowIndex<int, LargePolicy> index(10);
    const auto reader = index.reader();
    LargePolicy::size = std::size_t{64} << 20;
    for (int i = 0; i < 100; ++i)
        index.update([&](auto& writer) {
            for (ShardId id = 0; id < 10; ++id) writer.edit(id) = i;
        });
    REQUIRE(index.memory_usage().reclaimable_bytes <= 10 * 10 * LargePolicy::size);
}

TEST_CASE("commits use the records again that weak_ptrs have let go of") {
    Index index(10);
    std::vector<std::weak_ptr<const int>> weak;
    for (int i = 0; i < 50; ++i) {
        weak.push_back(index.snapshot().share(1));
        index.replace(1, i);
    }
    const auto& chain = TestAccess::chain(TestAccess::core(index));
    REQUIRE(chain.dropped_count() == 50);
    weak.clear();
    for (int i = 0; i < 50; ++i) index.replace(1, i);
    REQUIRE(chain.dropped_count() == 0);
}

namespace {

// Is let go of only by whoever has it.
struct StrictMutex {
    static inline std::atomic<int> mistakes{0};
    bool try_lock() { return mutex.try_lock() && take(); }
    void lock() {
        mutex.lock();
        take();
    }
    void unlock() {
        if (!taken || holder != std::this_thread::get_id()) {
            ++mistakes;
            return;
        }
        taken = false;
        mutex.unlock();
    }
    bool take() {
        taken = true;
        holder = std::this_thread::get_id();
        return true;
    }
    std::mutex mutex;
    std::atomic<bool> taken{false};
    std::thread::id holder;
};

struct StrictPolicy : cowindex::DefaultPolicy<int> {
    using Mutex = StrictMutex;
};

} // namespace

TEST_CASE("the lock is let go of now and then in a long reclaim, and taken again") {
    constexpr ShardId many = 10000;
    cowindex::CowIndex<int, StrictPolicy> index(many);
    const auto rewrite = [&](ShardId end) {
        index.update([&](auto& writer) {
            for (ShardId id = 0; id < end; ++id) writer.edit(id) = 1;
        });
    };
    const auto oldest = index.snapshot();
    rewrite(many / 2);
    auto let_go = index.snapshot();
    rewrite(many);
    let_go = {}; // half of what it had is still in the oldest version, half is garbage
    StrictMutex::mistakes = 0;
    REQUIRE(index.reclaim() >= many / 2 * sizeof(int));
    REQUIRE(StrictMutex::mistakes == 0);
}

TEST_CASE(
    "records that weak_ptrs keep for a while are used again by commits that have no other work") {
    test::AllocationAccount account;
    cowindex::Options<HookPolicy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    Index index(10, 0, options);
    const auto go = [&](int n) {
        for (int i = 0; i < n; ++i) {
            const std::weak_ptr<const int> weak = index.snapshot().share(1);
            index.replace(1, i);
        }
    };
    go(100);
    const std::size_t before = account.live_bytes;
    go(1000);
    REQUIRE(account.live_bytes <= before + 4096);
}

TEST_CASE("looking in does not go on for as long as others commit") {
    Index index(10);
    auto reader = index.reader();
    index.replace(1, 0);
    int looks = 0;
    std::function<void()> look = [&] {
        HookMutex::after_unlock = [&] { // in the middle of the barrier
            if (++looks >= 1000) return;
            auto writer = index.writer();
            writer.edit(1) = looks;
            writer.commit();
            HookPolicy::at(SyncPoint::reclaim_barrier, look);
        };
    };
    HookPolicy::at(SyncPoint::reclaim_barrier, look);
    static_cast<void>(index.memory_usage());
    HookPolicy::what = nullptr;
    HookMutex::after_unlock = nullptr;
    REQUIRE(looks == 3);
}

TEST_CASE("what was replayed ahead in vain is used again, and counted") {
    test::AllocationAccount account;
    cowindex::Options<HookPolicy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    Index index(64 * 200, 0, options);
    auto writer = index.writer();
    for (ShardId id = 0; id < 100; ++id) writer.edit(id * 64) = 1;
    index.replace(64 * 150, 5);
    const bool higher = GENERATE(false, true); // then its nodes do not suffice
    bool retried = false;
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        HookPolicy::at(SyncPoint::commit_prepared, [&] {
            index.update([&](auto& other) {
                other.replace(64 * 151, 6);
                if (higher) other.insert(ShardId{1} << 40, 7);
            });
            HookPolicy::at(SyncPoint::commit_retry, [&] { retried = true; });
        });
    });
    writer.commit();
    HookPolicy::what = nullptr;
    REQUIRE(retried == higher);
    REQUIRE(index.memory_usage().total_bytes() == account.live_bytes);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("where another tree than its own was published, a destructor finds all in the accounts") {
    struct Armed {
        explicit Armed(bool its_armed = false) : armed(its_armed) {}
        Armed(const Armed&) {}
        Armed(Armed&& other) noexcept : armed(std::exchange(other.armed, false)) {}
        ~Armed() {
            if (armed && on_destruction()) on_destruction()();
        }
        static std::function<void()>& on_destruction() {
            static std::function<void()> function;
            return function;
        }
        bool armed = false;
    };
    struct Counted : cowindex::DefaultPolicy<Armed> {
        using Allocator = test::CountingAllocator<std::byte>;
    };
    test::AllocationAccount account;
    cowindex::Options<Counted> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    cowindex::CowIndex<Armed, Counted> index(20, [](ShardId) { return Armed(); }, options);
    auto writer = index.writer();
    writer.insert(6400, Armed());
    writer.replace(5, Armed(true));
    writer.commit();
    std::optional held(index.snapshot());
    writer.replace(5, Armed());
    writer.commit(); // the armed one is the snapshot's alone
    writer.replace(1, Armed());
    for (ShardId leaf = 10; leaf < 40; ++leaf) writer.insert(64 * leaf, Armed());
    for (ShardId leaf = 10; leaf < 40; ++leaf) writer.erase(64 * leaf); // empty nodes are left
    index.replace(7, Armed());
    held.reset();
    int looks = 0;
    Armed::on_destruction() = [&] {
        ++looks;
        REQUIRE(account.live_bytes <= index.memory_usage().total_bytes());
    };
    writer.commit();
    Armed::on_destruction() = nullptr;
    REQUIRE(looks == 1);
    REQUIRE(account.live_bytes == index.memory_usage().total_bytes());
}

TEST_CASE("a commit waits in no callback: another fiber of its thread may go on meanwhile") {
    HookMutex::deepest = 0;
    Index index(3);
    index.edit(1, [](int& shard) { shard = 1; });
    index.writer().discard();
    index.reclaim();
    REQUIRE(HookMutex::deepest == 0);
}

TEST_CASE("a writer does not keep the nodes of its largest batch") {
    using Leaf = cowindex::detail::Leaf<int>;
    constexpr ShardId leaves = 4096;
    Index index(64 * leaves);
    auto writer = index.writer();
    SECTION("when it goes on with small ones") {
        std::optional<Index::Writer> other;
        if (GENERATE(false, true)) other.emplace(index.writer());
        for (ShardId id = 64; id < 64 * leaves; ++id) writer.erase(id);
        writer.commit();
        if (other) other->discard();
        for (int i = 0; i < 100; ++i) {
            writer.edit(0) = i;
            writer.commit();
        }
        REQUIRE(index.memory_usage().pooled_bytes < 100 * sizeof(Leaf));
    }
    SECTION("when it takes everything back") {
        for (ShardId id = 0; id < 64 * leaves; id += 64) writer.edit(id) = 1;
        for (ShardId id = 0; id < 64 * leaves; id += 64) writer.revert(id);
        writer.discard();
        REQUIRE(index.memory_usage().pooled_bytes < 100 * sizeof(Leaf));
    }
    SECTION("when it moves to another version") {
        for (ShardId id = 64; id < 64 * leaves; id += 64) writer.edit(id) = 1;
        index.replace(0, 1);
        writer.rebase();
        REQUIRE(index.memory_usage().pooled_bytes < leaves * 3 / 4 * sizeof(Leaf));
    }
}

TEST_CASE("large versions that were left behind still count towards a barrier") {
    struct Large : HookPolicy {
        static std::size_t bytes(const int& shard) { return shard == 7 ? std::size_t{4} << 20 : 4; }
    };
    cowindex::CowIndex<int, Large> index(10, 1);
    index.replace(1, 7);
    const auto reader = index.reader();
    index.replace(0, 1);
    int looks = 0;
    std::function<void()> look = [&] {
        HookMutex::after_unlock = [&] {
            auto writer = index.writer();
            writer.edit(++looks == 3 ? 1 : 2) = 2;
            writer.commit();
            if (looks < 3) HookPolicy::at(SyncPoint::reclaim_barrier, look);
        };
    };
    HookPolicy::at(SyncPoint::reclaim_barrier, look);
    static_cast<void>(index.memory_usage()); // leaves one version of 4 MiB behind
    REQUIRE(looks == 3);
    bool looked = false;
    HookPolicy::at(SyncPoint::reclaim_barrier, [&] { looked = true; });
    int commits = 0;
    while (!looked) index.replace(3, ++commits);
    REQUIRE(commits == 3);
}

TEST_CASE("when a barrier is due, to the object and the byte") {
    struct Sized : HookPolicy {
        static std::size_t bytes(const int& shard) {
            const std::size_t rest =
                sizeof(cowindex::detail::Leaf<int>) + cowindex::detail::box_overhead<int>;
            return shard == 1 ? (std::size_t{1} << 20) - rest : 4;
        }
    };
    bool looked = false;
    SECTION("sixteen versions, and four objects for each") {
        Index index(64);
        const auto reader = index.reader();
        HookPolicy::at(SyncPoint::reclaim_barrier, [&] { looked = true; });
        auto writer = index.writer();
        for (ShardId id = 0; id < 63; ++id) writer.edit(id) = 1; // and their leaf
        writer.commit();
    }
    SECTION("four versions of a MiB") {
        cowindex::CowIndex<int, Sized> index(64, 1);
        const auto reader = index.reader();
        HookPolicy::at(SyncPoint::reclaim_barrier, [&] { looked = true; });
        for (ShardId id = 0; id < 4; ++id) index.replace(id, 2);
    }
    HookPolicy::what = nullptr;
    REQUIRE(looked);
}

TEST_CASE("eight idle writers are kept, with what they have") {
    Index index(10);
    {
        std::vector<Index::Writer> writers;
        for (int i = 0; i < 20; ++i) writers.push_back(index.writer());
        for (auto& writer : writers) writer.edit(1) = 1;
    }
    REQUIRE(index.memory_usage().pooled_bytes == 8 * sizeof(cowindex::detail::Leaf<int>));
}

TEST_CASE("writers, batches and records are used again") {
    test::AllocationAccount account;
    cowindex::Options<HookPolicy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    Index index(10, 0, options);
    for (int i = 0; i < 100; ++i) index.replace(1, i);
    const std::uint64_t before = account.allocations;
    for (int i = 0; i < 100; ++i) index.replace(1, i);
#if defined(COWINDEX_ADDRESS_SANITIZER)
    REQUIRE(account.allocations == before + 100); // it is to see each shard freed
#else
    REQUIRE(account.allocations == before);
#endif
    std::vector<Index::Writer> writers;
    for (int i = 0; i < 50; ++i) writers.push_back(index.writer());
    REQUIRE(TestAccess::open_count(TestAccess::core(index)) == 50);
    writers.clear();
    REQUIRE(TestAccess::open_count(TestAccess::core(index)) == 0);
    REQUIRE(TestAccess::idle_count(TestAccess::core(index)) < 50);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("an index ends once, by whoever is the last") {
    test::AllocationAccount account;
    cowindex::Options<HookPolicy> options;
    options.allocator = test::CountingAllocator<std::byte>(account);
    int closings = 0;
    int survivors = 0;
    std::optional<Index> index(std::in_place, 10U, 0, options);
    std::optional<Index::Snapshot> old(index->snapshot());
    index->replace(1, 1);
    HookPolicy::at(SyncPoint::teardown_closing, [&] { ++closings; });
    index.reset();
    REQUIRE(closings == 1);
    REQUIRE(account.live_bytes > 0);
    REQUIRE((*old)[1] == 0);
    HookPolicy::at(SyncPoint::teardown_survivor, [&] { ++survivors; });
    old.reset();
    REQUIRE(survivors == 1);
    REQUIRE(account.live_bytes == 0);
    HookPolicy::what = nullptr;
}

TEST_CASE("an update that stood in line leaves it, also where its writer was moved away") {
    Index index(3);
    std::optional<Index::Writer> kept;
    const bool moves = GENERATE(false, true);
    int runs = 0;
    const auto lose = [&](Index::Writer& writer) {
        writer.edit(0) = 1;
        if (++runs < 20) {
            auto other = index.writer();
            other.edit(0) = runs;
            other.commit();
        } else if (moves) {
            kept.emplace(std::move(writer));
        }
    };
    if (moves)
        REQUIRE_THROWS_AS(index.update(lose), std::logic_error);
    else
        index.update(lose);
    REQUIRE(runs == 20);
    bool waited = false;
    HookPolicy::at(SyncPoint::ticket_wait, [&] { waited = true; });
    std::thread([&] { index.edit(0, [](int& value) { value = 7; }); }).join();
    HookPolicy::what = nullptr;
    REQUIRE_FALSE(waited);
    kept.reset();
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("replace() and assign() win over whoever commits first, and say how often they lost") {
    Index index(3);
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        auto other = index.writer();
        other.edit(1) = 5;
        other.commit();
    });
    index.replace(1, 6);
    REQUIRE(index.snapshot()[1] == 6);
    REQUIRE(index.metrics().retries == 1);

    ShardId added = 0;
    HookPolicy::at(SyncPoint::commit_prepared, [&] { added = index.append(7); });
    std::vector<int> shards{1, 2, 3};
    index.assign(std::move(shards));
    REQUIRE(added == 3);
    REQUIRE(shards.empty());
    const auto snapshot = index.snapshot();
    REQUIRE(std::vector<int>(snapshot.begin(), snapshot.end()) == std::vector<int>{1, 2, 3});
    REQUIRE(index.metrics().retries == 2);
}

namespace {

// Loses to another commit as often as it is told, and writes down how it backs off.
struct LosingPolicy : cowindex::DefaultPolicy<int> {
    static inline std::function<void()> other;
    static inline int losses = 0;
    static inline std::vector<int> waits;
    static void sync_point(SyncPoint point) noexcept {
        if (point != SyncPoint::commit_prepared || losses == 0) return;
        const int left = std::exchange(losses, 0) - 1;
        other();
        losses = left;
    }
    static inline std::function<void()> at_wait;
    static void back_off(int tries) noexcept {
        waits.push_back(tries);
        if (at_wait) at_wait();
    }
};

} // namespace

TEST_CASE("whatever keeps losing stays away for longer each time") {
    cowindex::CowIndex<int, LosingPolicy> index(3);
    LosingPolicy::other = [&] {
        auto writer = index.writer();
        ++writer.edit(1);
        writer.commit();
    };
    LosingPolicy::waits.clear();
    LosingPolicy::losses = 4;
    SECTION("update") {
        index.edit(1, [](int& value) { value = 7; });
    }
    SECTION("replace") { index.replace(1, 7); }
    SECTION("assign") { index.assign({6, 7, 8}); }
    REQUIRE(index.snapshot()[1] == 7);
    REQUIRE(LosingPolicy::waits == std::vector<int>{1, 2, 3, 4});
    LosingPolicy::other = nullptr;
}

TEST_CASE("a barrier that the kernel refuses leaves no old news of pins") {
    const bool possible = test::without_membarrier([] {}); // the index is made outside
    Index index(3);
    if (!possible || !TestAccess::publication(TestAccess::core(index)).fence().asymmetric()) return;
    auto reader = index.reader("a reader");
    auto view = std::make_optional(reader.pin());
    index.replace(1, 1);
    REQUIRE(index.pins().size() == 1);
    REQUIRE(index.pins().front().labels == std::vector<std::string>{"a reader"});
    view.reset();
    test::without_membarrier([&] {
        auto& core = TestAccess::core(index);
        for (const auto& pin : core.pins()) REQUIRE(pin.labels.empty());
    });
    REQUIRE(index.pins().empty());
}

TEST_CASE("what an update returns is gone while it stays away") {
    cowindex::CowIndex<int, LosingPolicy> index(3);
    std::size_t held = 0;
    LosingPolicy::other = [&] {
        auto writer = index.writer();
        ++writer.edit(1);
        writer.commit();
    };
    LosingPolicy::at_wait = [&] { held = std::max(held, index.active_readers()); };
    LosingPolicy::waits.clear();
    LosingPolicy::losses = 2;
    const auto snapshot = index.update([&](auto& writer) {
        writer.edit(1) = 7;
        return index.snapshot();
    });
    LosingPolicy::at_wait = nullptr;
    LosingPolicy::other = nullptr;
    REQUIRE(LosingPolicy::waits.size() == 2);
    REQUIRE(held == 0);
    REQUIRE(snapshot.version() == 2);
}

TEST_CASE("others give way to an update that has lost eight times, not before") {
    const int lost = GENERATE(7, 8);
    Index index(3);
    int runs = 0;
    bool waited = false;
    index.update([&](Index::Writer& writer) {
        writer.edit(0) = 1;
        if (++runs <= lost) {
            auto other = index.writer();
            other.edit(0) = runs;
            other.commit();
        } else if (runs == lost + 1) {
            HookPolicy::at(SyncPoint::ticket_wait, [&] { waited = true; });
            std::thread([&] { index.edit(0, [](int& value) { value = 7; }); }).join();
            HookPolicy::what = nullptr;
        }
    });
    REQUIRE(waited == (lost == 8));
}

TEST_CASE("a reader gives its slot back") {
    Index index(3);
    auto& registry = TestAccess::registry(TestAccess::core(index));
    {
        auto reader = index.reader();
        const auto view = reader.pin();
        REQUIRE(registry.anyone());
    }
    REQUIRE_FALSE(registry.anyone());
}

TEST_CASE("what writers have gathered is freed with them, at the latest with the index") {
    const std::size_t before = HookPolicy::Allocator::common().live_bytes;
    {
        Index index(64 * 300);
        std::vector<Index::Writer> writers;
        for (int i = 0; i < 20; ++i) {
            writers.push_back(index.writer());
            writers.back().edit(static_cast<ShardId>(i)) = 1;
        }
        writers.clear();
        // A writer that gives up keeps little.
        auto writer = index.writer();
        for (ShardId id = 0; id < 300; ++id) writer.edit(64 * id) = 1;
        writer.discard();
        REQUIRE(index.memory_usage().pooled_bytes < 150000);
    }
    REQUIRE(HookPolicy::Allocator::common().live_bytes == before);
}

TEST_CASE("a closed index keeps nothing that a reader has let go of") {
    auto& account = HookPolicy::Allocator::common();
    const std::size_t before = account.live_bytes;
    {
        std::optional<Index> index(std::in_place, 64);
        const auto held = index->snapshot();
        const std::size_t small = account.live_bytes - before;
        auto reader = std::make_optional(index->reader());
        index->update([](auto& writer) {
            for (ShardId id = 64; id < 64 * 100; ++id) writer.insert(id, 1);
        });
        auto view = std::make_optional(reader->pin());
        index->update([](auto& writer) {
            for (ShardId id = 64; id < 64 * 100; ++id) writer.erase(id);
        });
        view.reset();
        reader.reset();
        index.reset();
        REQUIRE(account.live_bytes - before < 2 * small);
    }
    REQUIRE(account.live_bytes == before);
}

TEST_CASE("reclaim() gives back the records that are too many to be pooled") {
    Index index(3);
    std::vector<Index::Snapshot> held;
    for (int i = 0; i < 200; ++i) {
        held.push_back(index.snapshot());
        index.replace(0, i);
    }
    held.clear();
    const std::size_t before = HookPolicy::Allocator::common().live_bytes;
    const std::size_t freed = index.reclaim();
    REQUIRE(HookPolicy::Allocator::common().live_bytes == before - freed);
    REQUIRE(TestAccess::chain(TestAccess::core(index)).dropped_count() == 0);
    REQUIRE(index.memory_usage().reclaimable_bytes == 0);
}

TEST_CASE("an append() whose id was taken goes on with the latest version, and holds that") {
    Index index(3);
    std::size_t versions = 0;
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        auto other = index.writer();
        other.insert(3, 7);
        other.commit();
        HookPolicy::at(SyncPoint::commit_prepared, [&] {
            index.reclaim();
            versions = chain_length(index);
        });
    });
    REQUIRE(index.append(9) == 4);
    REQUIRE(versions == 1);
}

TEST_CASE("a replace() that has lost is placed on a tree that has grown higher") {
    Index index(3);
    HookPolicy::at(SyncPoint::commit_prepared, [&] {
        auto other = index.writer();
        other.insert(ShardId{1} << 40, 5);
        other.edit(1) = 6;
        other.commit();
    });
    REQUIRE(index.replace(1, 7) == 2);
    REQUIRE(index.snapshot()[1] == 7);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a tree is rebuilt once for ids that were taken back, not in each commit") {
    Index index(3);
    auto writer = index.writer();
    auto& batch = TestAccess::batch(writer);
    writer.insert(ShardId{1} << 40, 1);
    writer.revert(ShardId{1} << 40);
    SECTION("not after they were discarded") { writer.discard(); }
    SECTION("not again after a conflict") {
        writer.edit(1) = 1;
        index.replace(1, 2);
        REQUIRE_FALSE(writer.try_commit());
    }
    writer.edit(0) = 1;
    const auto* root = batch.builder.tree().root;
    const cowindex::detail::Node* published = nullptr;
    HookPolicy::at(SyncPoint::commit_prepared, [&] { published = batch.builder.tree().root; });
    static_cast<void>(writer.try_commit());
    REQUIRE(published == root);
}

TEST_CASE("whoever waited for others to let go has the latest version before anybody else") {
    Index index(3);
    auto& core = TestAccess::core(index);
    auto* batch = core.open_batch({});
    index.replace(0, 1);
    REQUIRE(core.let_others_go(*batch));
    REQUIRE(batch->base == TestAccess::chain(core).latest());
    REQUIRE(batch->base->writers == 1);
    core.close_batch(batch);
}

TEST_CASE("writers get the lanes of the garbage in turn") {
    Index index(3);
    std::vector<Index::Writer> writers;
    for (std::size_t i = 0; i < 10; ++i) {
        writers.push_back(index.writer());
        REQUIRE(TestAccess::batch(writers.back()).lane ==
                i % cowindex::detail::GarbageLanes::lanes);
    }
}

TEST_CASE("a closed index keeps only what its snapshots hold") {
    auto& account = HookPolicy::Allocator::common();
    const std::size_t before = account.live_bytes;
    {
        std::optional<Index> index(std::in_place, 64);
        const auto held = index->snapshot();
        const std::size_t small = account.live_bytes - before;
        index->update([](auto& writer) {
            for (ShardId id = 64; id < 64 * 100; ++id) writer.insert(id, 1);
        });
        index.reset();
        REQUIRE(account.live_bytes - before < 2 * small);
        REQUIRE(held[63] == 0);
    }
    REQUIRE(account.live_bytes == before);
}

TEST_CASE("a version held is listed with the labels of its own holders, and its age") {
    Index index(3);
    auto first = index.writer("first");
    const auto start = std::chrono::steady_clock::now();
    index.edit(0, [](int& value) { value = 1; });
    auto second = index.writer("second");
    index.edit(0, [](int& value) { value = 2; });
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const auto pins = index.pins();
    const auto most = std::chrono::steady_clock::now() - start;
    REQUIRE(pins.size() == 2);
    REQUIRE(pins[0].labels == std::vector<std::string>{"first"});
    REQUIRE(pins[1].labels == std::vector<std::string>{"second"});
    for (const auto& pin : pins) {
        REQUIRE(pin.age >= std::chrono::milliseconds(10)); // the clock is coarse
        REQUIRE(pin.age <= most + std::chrono::milliseconds(20));
    }
}

TEST_CASE("the room of a large batch is not kept, also where all of it was taken back") {
    Index index(0);
    auto writer = index.writer();
    auto& batch = TestAccess::batch(writer);
    std::vector<ShardId> ids;
    for (int i = 0; i < 4288; ++i) ids.push_back(writer.append(int(i)));
    for (const ShardId id : ids) writer.erase(id);
    REQUIRE_FALSE(writer.has_changes());
    REQUIRE_FALSE(batch.builder.has_own()); // empty nodes of its own were given back, the last too
    REQUIRE(TestAccess::room(batch.changes) > 1024);
    writer.discard();
    REQUIRE(TestAccess::room(batch.changes) <= 1024);
}

TEST_CASE("what a writer has done stays counted, whether its batch is kept or freed") {
    Index index(10);
    std::vector<Index::Writer> writers;
    for (int i = 0; i < 10; ++i) writers.push_back(index.writer());
    for (std::size_t i = 0; i < writers.size(); ++i) {
        writers[i].edit(i) = 1;
        writers[i].commit();
        writers[i].edit(i) = 2;
        writers[i].commit();
    }
    const auto all = index.metrics();
    REQUIRE(all.commits == 20);
    REQUIRE(all.reclaimed_bytes > 0);
    std::uint64_t reclaimed = all.reclaimed_bytes;
    while (!writers.empty()) {
        writers.pop_back();
        const auto now = index.metrics();
        REQUIRE(now.commits == 20);
        REQUIRE(now.clone_operations == 20);
        REQUIRE(now.bytes_cloned == 20 * sizeof(int));
        REQUIRE(now.reclaimed_bytes >= reclaimed);
        reclaimed = now.reclaimed_bytes;
    }
    REQUIRE(TestAccess::idle_count(TestAccess::core(index)) == 8);
    index.replace(0, 3);
    REQUIRE(index.metrics().commits == 21);
}

TEST_CASE("updates of more threads than there are lists of them end in any order") {
    static constexpr int count = 65; // there are 32 lists
    Index index(count);
    auto& core = TestAccess::core(index);
    std::atomic<int> begun{0};
    std::atomic<int> next{0}; // whose turn it is to end: first come, first gone
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
        threads.emplace_back([&, i] {
            index.edit(static_cast<ShardId>(i), [&](int& value) {
                value = i;
                ++begun;
                while (begun != count || next != i) std::this_thread::yield();
            });
            ++next;
        });
        while (begun != i + 1) std::this_thread::yield();
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE_FALSE(TestAccess::updating(core));
    const auto snapshot = index.snapshot();
    for (int i = 0; i < count; ++i) REQUIRE(snapshot[static_cast<ShardId>(i)] == i);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("a writer's label goes with it, and is not that of who gets its batch") {
    Index index(3);
    const auto labels = [&](std::string label) {
        const auto writer = index.writer(std::move(label));
        index.replace(0, 1); // with another batch: the writer holds an old version now
        return index.pins().at(0).labels;
    };
    using Labels = std::vector<std::string>;
    REQUIRE(labels("first") == Labels{"first"});
    REQUIRE(labels("") == Labels{});
    REQUIRE(labels("a label that does not fit into the string itself") ==
            Labels{"a label that does not fit into the string itself"});
    REQUIRE(labels("") == Labels{});
    REQUIRE(TestAccess::idle_count(TestAccess::core(index)) == 2);
}

TEST_CASE("the last version ends the history for a writer on an older base, too") {
    Index::Options options;
    options.first_version = last_version - 1;
    Index index(3, options);
    auto behind = index.writer();
    behind.edit(0) = 1;
    index.edit(1, [](int& value) { value = 1; });
    REQUIRE(index.version() == last_version);
    REQUIRE_THROWS_AS(behind.commit(), std::overflow_error);
    REQUIRE(index.version() == last_version);
    // It may also come while a large batch is replayed.
    options.first_version = last_version - 2;
    Index other(100, options);
    auto large = other.writer();
    for (ShardId id = 0; id < 50; ++id) large.edit(id) = 1;
    const auto edit = [&] { other.edit(99, [](int& value) { ++value; }); };
    edit();
    HookPolicy::at(SyncPoint::commit_prepared,
                   [&] { HookPolicy::at(SyncPoint::commit_prepared, edit); });
    REQUIRE_THROWS_AS(large.commit(), std::overflow_error);
    REQUIRE_FALSE(HookPolicy::what);
    REQUIRE(other.version() == last_version);
    options.first_version = last_version;
    REQUIRE(Index(3, options).version() == last_version);
    options.first_version = unborn;
    REQUIRE_THROWS_AS(Index(3, options), std::overflow_error);
}

namespace {

// What an index says while it destroys a shard.
struct Watching {
    static inline const cowindex::CowIndex<Watching>* index = nullptr;
    static inline cowindex::MemoryStats seen;
    Watching() = default;
    Watching(const Watching&) = default;
    Watching& operator=(const Watching&) = default;
    ~Watching() {
        if (index != nullptr) seen = std::exchange(index, nullptr)->memory_usage();
    }
};

} // namespace

TEST_CASE("what is being freed is accounted for until it is, and what was published no longer") {
    cowindex::CowIndex<Watching> index(3);
    auto writer = index.writer();
    writer.edit(0);
    writer.commit();
    writer.edit(0);
    writer.edit(1); // of one change alone no node is copied
    const auto before = index.memory_usage();
    const auto reclaimed = index.metrics().reclaimed_bytes;
    Watching::index = &index;
    writer.commit();
    REQUIRE(Watching::index == nullptr);
    const cowindex::MemoryStats& during = Watching::seen;
    REQUIRE(during.reclaimable_bytes > 0);
    REQUIRE(during.uncommitted_bytes == 0);
    REQUIRE(during.pooled_bytes > before.pooled_bytes);
    REQUIRE(during.total_bytes() == before.total_bytes());
    REQUIRE(index.memory_usage().reclaimable_bytes == 0);
    // The tally of a writer that is still open counts. The node has gone to its pool at once.
    REQUIRE(index.metrics().reclaimed_bytes - reclaimed ==
            during.reclaimable_bytes + during.pooled_bytes - before.pooled_bytes);
}

#if !defined(COWINDEX_ADDRESS_SANITIZER)
namespace {

template <class Writer>
void commit_each(Writer& writer, ShardId shards) {
    for (ShardId id = 0; id < shards; ++id) {
        writer.edit(id) = 1;
        writer.commit();
    }
}

// Whether `work`, done twice, takes no memory the second time.
template <class Work>
bool allocates_only_at_first(Work&& work) {
    work();
    const auto allocations = HookPolicy::Allocator::common().allocations;
    work();
    return HookPolicy::Allocator::common().allocations == allocations;
}

} // namespace

TEST_CASE("a writer that goes on takes all that it needs from what it has replaced") {
    Index index(200);
    auto writer = index.writer();
    REQUIRE(allocates_only_at_first([&] { commit_each(writer, 200); }));
}

TEST_CASE("so does one that goes on with large batches") {
    Index index(200);
    auto writer = index.writer();
    const auto commits = [&] {
        for (int i = 0; i < 3; ++i) {
            for (ShardId id = 0; id < 200; ++id) writer.edit(id) = 1;
            writer.commit();
        }
    };
    std::optional<Index::Writer> other; // then none is made in place
    if (GENERATE(false, true)) other.emplace(index.writer());
    REQUIRE(allocates_only_at_first(commits));
}

TEST_CASE("and with batches that copy more nodes than are kept anyway") {
    static constexpr ShardId leaves = 3 * cowindex::detail::least_kept;
    Index index(leaves * cowindex::detail::leaf_width);
    auto writer = index.writer();
    std::optional<Index::Writer> other; // then none is made in place
    if (GENERATE(false, true)) other.emplace(index.writer());
    REQUIRE(allocates_only_at_first([&] {
        for (int i = 0; i < 3; ++i) {
            for (ShardId leaf = 0; leaf < leaves; ++leaf)
                writer.edit(leaf * cowindex::detail::leaf_width) = 1;
            writer.commit();
        }
    }));
}

namespace {

struct Groups : HookPolicy {
    static constexpr std::size_t barrier_min_versions = 100;
    static constexpr std::size_t barrier_max_versions = 100;
};

} // namespace

TEST_CASE("beside a reader, too, where versions wait in groups for a barrier") {
    cowindex::CowIndex<int, Groups> index(1000);
    auto writer = index.writer();
    const auto reader = index.reader();
    REQUIRE(allocates_only_at_first([&] { commit_each(writer, 1000); }));
}
#endif

TEST_CASE("a commit among other writers takes the lock once, where no reader is registered") {
    Index index(10);
    auto other = index.writer();
    auto writer = index.writer();
    const auto commit = [&](int value) {
        writer.edit(0) = value;
        HookMutex::unlocks = 0;
        writer.commit();
    };
    for (int i = 0; i < 5; ++i) commit(i); // above what the other holds
    REQUIRE(HookMutex::unlocks == 1);
    REQUIRE(other[0] == 0);
    for (int i = 5; i < 10; ++i) {
        other.discard();
        commit(i); // next to it
    }
    REQUIRE(HookMutex::unlocks == 1);
    REQUIRE(other[0] == 8);
}

namespace {

struct EndlessGroups : HookPolicy {
    static constexpr std::size_t barrier_min_versions = ~std::size_t{0};
    static constexpr std::size_t barrier_max_versions = ~std::size_t{0};
};
struct SmallGroups : HookPolicy {
    static constexpr std::size_t barrier_min_versions = 1;
    static constexpr std::size_t barrier_max_versions = 1'000'000;
};

} // namespace

TEST_CASE("a policy that wants no barrier by count gets none, however often somebody looks") {
    cowindex::CowIndex<int, EndlessGroups> index(10);
    auto& core = TestAccess::core(index);
    const auto reader = index.reader();
    for (int i = 0; i < 100; ++i) {
        static_cast<void>(index.memory_usage());
        REQUIRE(TestAccess::barrier_versions(core) > std::size_t{1}
                                                         << (sizeof(std::size_t) * 8 - 2));
    }
}

namespace {

// Refuses all looks, each time as if another thread had taken the lock and let go of it since, from
// when it is told to until somebody blocks.
struct CrowdedMutex {
    static inline cowindex::detail::Counter* takes = nullptr;
    static inline int looks = 0;
    bool try_lock() {
        if (takes == nullptr) return true;
        ++looks;
        takes->add_alone();
        return false;
    }
    void lock() { takes = nullptr; }
    void unlock() {}
};
struct CrowdedPolicy : cowindex::DefaultPolicy<int> {
    using Mutex = CrowdedMutex;
};

} // namespace

TEST_CASE("a commit leaves others their turns at the lock, but not after a conflict") {
    cowindex::CowIndex<int, CrowdedPolicy> index(8, 0);
    auto writer = index.writer();
    const auto looks_of_a_commit = [&] {
        writer.edit(0) = 1;
        CrowdedMutex::looks = 0;
        CrowdedMutex::takes = &TestAccess::takes_of(TestAccess::core(index));
        writer.commit();
        return CrowdedMutex::looks;
    };
    looks_of_a_commit(); // the first one looks for a record, too
    const int leaving_turns = looks_of_a_commit();
    auto other = index.writer();
    writer.edit(0) = 1;
    other.edit(0) = 2;
    other.commit();
    REQUIRE_FALSE(writer.try_commit());
    writer.discard();
    REQUIRE(looks_of_a_commit() > leaving_turns + 50);
}

TEST_CASE("what ended writers retired is freed soon by who is alone, later among others") {
    const bool alone = GENERATE(true, false);
    Index index(64, 0);
    const auto& garbage = TestAccess::chain(TestAccess::core(index)).garbage();
    auto writer = index.writer();
    {
        auto ended = index.writer(); // and so of another lane
        const auto snapshot = index.snapshot();
        for (int i = 0; i < 10; ++i) {
            ended.edit(static_cast<ShardId>(i)) = 1;
            ended.commit();
        }
    }
    writer.discard(); // to the latest version
    std::optional<Index::Writer> other;
    if (!alone) other.emplace(index.writer());
    const auto commit = [&](int times) {
        for (int i = 0; i < times; ++i) {
            writer.edit(20) = i;
            writer.commit();
        }
    };
    commit(20);
    REQUIRE_FALSE(garbage.empty());
    commit(80);
    REQUIRE(garbage.empty() == alone);
    commit(2000);
    REQUIRE(garbage.empty());
}

TEST_CASE("after a conflict all are in a hurry at the commit lock, for some thousand versions") {
    Index index(8, 0);
    const auto rivalry_ends = [&] { return TestAccess::rivalry_ends(TestAccess::core(index)); };
    auto writer = index.writer();
    auto other = index.writer();
    writer.edit(0) = 1;
    other.edit(1) = 2;
    other.commit();
    writer.commit();
    REQUIRE(rivalry_ends() == 0);
    writer.edit(0) = 1;
    other.discard();
    other.edit(0) = 2;
    other.commit();
    REQUIRE_FALSE(writer.try_commit());
    REQUIRE(rivalry_ends() > index.version() + 1000);
    REQUIRE(rivalry_ends() < index.version() + 100'000);
}

TEST_CASE("groups of versions grow with the price of a barrier, step by step") {
    cowindex::CowIndex<int, SmallGroups> index(10);
    auto& core = TestAccess::core(index);
    const auto reader = index.reader();
    std::size_t before = TestAccess::barrier_versions(core);
    REQUIRE(before == 1);
    std::size_t most = 0;
    for (int i = 0; i < 20; ++i) {
        static_cast<void>(index.memory_usage()); // looks for pins
        const std::size_t now = TestAccess::barrier_versions(core);
        REQUIRE(now <= 2 * before);
        REQUIRE(now >= before / 2);
        REQUIRE(now >= 1);
        before = now;
        most = std::max(most, now);
    }
    if (TestAccess::publication(core).fence().asymmetric()) REQUIRE(most > 1);
}
