#include <cowindex/detail/asymmetric_fence.hpp>
#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/commit_lock.hpp>
#include <cowindex/detail/publication.hpp>
#include <cowindex/detail/shared_cell.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/no_membarrier.hpp"
#include "support/validate.hpp"

using namespace cowindex::detail;
using cowindex::SyncPoint;

namespace {

struct Value {
    int number = 0;
};

// Runs a function when the protocol reaches a chosen place.
struct HookPolicy {
    static inline SyncPoint where = SyncPoint::unpin;
    static inline void (*what)() = nullptr;
    static void sync_point(SyncPoint point) noexcept {
        if (what != nullptr && point == where) std::exchange(what, nullptr)();
    }
};

using Words = Publication<Value, HookPolicy>;
using Word = PinWord<Value, HookPolicy>;

Words* words = nullptr;
Word* word = nullptr;
std::shared_ptr<const Value> next_value;
std::shared_ptr<const Value> seen;

std::shared_ptr<const Value> value(int number) {
    return std::make_shared<const Value>(Value{number});
}
// What makes this owner, as if it were new.
auto make(const std::shared_ptr<const Value>& owner) {
    return [owner](const Value& record) {
        REQUIRE(&record == owner.get());
        return owner;
    };
}
std::shared_ptr<const Value> publish(Words& publication,
                                     const std::shared_ptr<const Value>& owner) {
    return publication.publish(owner.get(), make(owner));
}

// As a slot does it.
const Value* pinned_by(Word& pin, const Words& source) {
    return pin.is_idle_and_asymmetric() ? pin.pin(source, source.guess())
                                        : pin.pin_portably(source);
}

template <class Cell>
void check_cell() {
    Cell cell;
    REQUIRE(cell.load() == nullptr);
    auto first = std::make_shared<const Value>(Value{1});
    REQUIRE(cell.exchange(first) == nullptr);
    REQUIRE(cell.load() == first);
    REQUIRE(first.use_count() == 2);
    auto second = std::make_shared<const Value>(Value{2});
    REQUIRE(cell.exchange(second) == first);
    REQUIRE(first.use_count() == 1);
    REQUIRE(cell.load()->number == 2);
    REQUIRE(cell.exchange(nullptr) == second);
    REQUIRE(second.use_count() == 1);
}

template <class Cell>
void check_cell_destroys() {
    const auto value = std::make_shared<const Value>();
    {
        Cell cell;
        static_cast<void>(cell.exchange(value));
        REQUIRE(value.use_count() == 2);
    }
    REQUIRE(value.use_count() == 1);
}

// Every load sees something that was stored, never older than what it saw before.
template <class Cell>
void check_cell_between_threads() {
    Cell cell;
    static_cast<void>(cell.exchange(std::make_shared<const Value>()));
    constexpr int last = 20000;
    bool backwards[2] = {false, false};
    std::vector<std::thread> readers;
    for (bool& back : backwards)
        readers.emplace_back([&cell, &back] {
            for (int before = 0; before < last;) {
                const int now = cell.load()->number;
                if (now < before) back = true;
                before = now;
            }
        });
    for (int i = 1; i <= last; ++i)
        static_cast<void>(cell.exchange(std::make_shared<const Value>(Value{i})));
    for (std::thread& reader : readers) reader.join();
    REQUIRE_FALSE(backwards[0]);
    REQUIRE_FALSE(backwards[1]);
}

} // namespace

TEST_CASE("the stand-in cell holds and exchanges one owner") {
    check_cell<LockedSharedCell<const Value>>();
    check_cell_destroys<LockedSharedCell<const Value>>();
    // For so long that a thread is stopped while it has the lock, even on one processor.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    do check_cell_between_threads<LockedSharedCell<const Value>>();
    while (std::chrono::steady_clock::now() < end);
}

#if defined(COWINDEX_STANDARD_SHARED_CELL)
TEST_CASE("the standard cell holds and exchanges one owner") {
    check_cell<StandardSharedCell<const Value>>();
    check_cell_destroys<StandardSharedCell<const Value>>();
    check_cell_between_threads<StandardSharedCell<const Value>>();
}
#endif

TEST_CASE("the cell in use is the one that was asked for") {
#if defined(COWINDEX_SHARED_CELL_STANDIN) || defined(COWINDEX_WEAK_LIBSTDCXX) || \
    defined(COWINDEX_THREAD_SANITIZER)
    STATIC_REQUIRE(std::is_same_v<SharedCell<const Value>, LockedSharedCell<const Value>>);
#endif
    check_cell<SharedCell<const Value>>();
}

TEST_CASE("a fence is asymmetric where the kernel helps, and always usable") {
    const AsymmetricFence fence;
#if defined(COWINDEX_HAS_MEMBARRIER)
    // What the kernel says that it can do: a set of flags, or an error.
    const long commands = ::syscall(SYS_membarrier, 0, 0U, 0);
    constexpr long registering = 1 << 4;
    REQUIRE(fence.asymmetric() == (commands > 0 && (commands & registering) != 0));
#else
    REQUIRE_FALSE(fence.asymmetric());
#endif
    REQUIRE(fence.heavy());
    AsymmetricFence::light();
    REQUIRE(AsymmetricFence().asymmetric() == fence.asymmetric());
}

TEST_CASE("where the kernel refuses it, a fence is symmetric, and an asymmetric one says so") {
    const AsymmetricFence before;
    const bool refused = test::without_membarrier([&] {
        const AsymmetricFence fence;
        REQUIRE_FALSE(fence.asymmetric());
        REQUIRE(fence.heavy()); // nothing is asked of the kernel
        REQUIRE(before.heavy() != before.asymmetric());
    });
    if (!refused) WARN("this kernel cannot be told to refuse it");
    REQUIRE(before.heavy());
}

TEST_CASE("pins are as good where the kernel refuses the barrier") {
    test::without_membarrier([] {
        Words publication;
        const auto first = std::make_shared<const Value>(Value{1});
        const auto second = std::make_shared<const Value>(Value{2});
        static_cast<void>(publish(publication, first));
        REQUIRE(publication.demand(make(first)) == first);
        Word pin(publication);
        REQUIRE_FALSE(pin.is_idle_and_asymmetric());
        REQUIRE(pin.is_idle());
        REQUIRE(pin.own() == nullptr);
        REQUIRE(pin.scan(publication) == nullptr);
        words = &publication;
        next_value = second;
        HookPolicy::where = SyncPoint::pin_stored;
        HookPolicy::what = [] { seen = publish(*words, next_value); };
        REQUIRE(pinned_by(pin, publication) == second.get()); // overtaken, it started again
        REQUIRE(seen == first);
        REQUIRE(pin.own() == second.get());
        REQUIRE(pin.scan(publication) == second.get());
        pin.clear(publication);
        REQUIRE(pin.is_idle());
        REQUIRE(pin.scan(publication) == nullptr);
        REQUIRE(publication.load() == second);
        seen = nullptr;
        next_value = nullptr;
    });
}

TEST_CASE("an owner is made when it is asked for, then for some publications ahead") {
    Words publication;
    REQUIRE(publication.latest() == nullptr);
    const auto first = value(1);
    REQUIRE(publish(publication, first) == nullptr);
    REQUIRE(publication.latest() == first.get());
    REQUIRE(publication.load() == nullptr);
    REQUIRE(publication.owner() == nullptr);
    REQUIRE(first.use_count() == 1);

    auto latest = value(2);
    REQUIRE(publish(publication, latest) == nullptr); // nobody had asked
    REQUIRE(publication.load() == nullptr);
    const auto publish_next = [&] {
        const auto next = value(3);
        REQUIRE(publish(publication, next) == latest);
        latest = next;
        REQUIRE(publication.latest() == latest.get());
        return publication.owner() != nullptr;
    };
    for (int demands = 0; demands < 2; ++demands) {
        REQUIRE(publication.demand(make(latest)) == latest);
        REQUIRE(publication.demand(make(first)) == latest); // makes no second one
        REQUIRE(publication.owner() == latest);
        for (int asked = 0; asked < 3; ++asked) {
            int ahead = 0;
            while (publish_next()) {
                ++ahead;
                if (asked < 2 && ahead == 10 * asked + 20) break;
            }
            REQUIRE(ahead == (asked < 2 ? 10 * asked + 20 : 32));
            REQUIRE(latest.use_count() == (asked < 2 ? 2 : 1)); // the word's, and ours
            REQUIRE(publication.load() == (asked < 2 ? latest : nullptr));
        }
        REQUIRE(publish(publication, value(4)) == nullptr);
        latest = value(5);
        REQUIRE(publish(publication, latest) == nullptr);
    }
    REQUIRE(publication.demand(make(latest)) == latest);
    REQUIRE(publication.close() == latest);
    REQUIRE(publication.latest() == nullptr);
    REQUIRE(publication.load() == nullptr);
    REQUIRE(publication.owner() == nullptr);
}

TEST_CASE("a pin names what it pinned until it is cleared") {
    Words publication;
    const auto first = std::make_shared<const Value>(Value{1});
    const auto second = std::make_shared<const Value>(Value{2});
    static_cast<void>(publish(publication, first));
    Word pin(publication);
    REQUIRE(pin.own() == nullptr);
    REQUIRE(pin.scan(publication) == nullptr);
    REQUIRE(pinned_by(pin, publication) == first.get());
    static_cast<void>(publish(publication, second));
    REQUIRE(pin.own() == first.get());
    REQUIRE(pin.scan(publication) == first.get());
    pin.clear(publication);
    REQUIRE(pin.scan(publication) == nullptr);
    REQUIRE(pinned_by(pin, publication) == second.get());
    pin.clear(publication);
}

TEST_CASE("a pin that was overtaken by a publication starts again") {
    for (const SyncPoint where : {SyncPoint::pin_loaded, SyncPoint::pin_stored}) {
        Words publication;
        Word pin(publication);
        const auto first = value(1);
        static_cast<void>(publish(publication, first));
        static_cast<void>(publication.demand(make(first)));
        words = &publication;
        next_value = value(2);
        HookPolicy::where = where;
        HookPolicy::what = [] { seen = publish(*words, next_value); };
        REQUIRE(pinned_by(pin, publication) == next_value.get());
        REQUIRE(pin.scan(publication) == next_value.get());
        REQUIRE(seen->number == 1);
        pin.clear(publication);
        seen = nullptr;
        next_value = nullptr;
    }
}

TEST_CASE("a wrong guess costs a pin another look, whatever it is") {
    Words publication;
    Word pin(publication);
    if (!pin.is_idle_and_asymmetric()) return; // a guess is for the fast way
    const auto first = value(1);
    const auto second = value(2);
    const auto never = value(3); // its address was never the latest version's
    static_cast<void>(publish(publication, first));
    static_cast<void>(publish(publication, second));
    REQUIRE(publication.guess() == second.get());
    for (const Value* guess :
         {second.get(), first.get(), never.get(), static_cast<const Value*>(nullptr)}) {
        REQUIRE(pin.pin(publication, guess) == second.get());
        REQUIRE(pin.own() == second.get());
        REQUIRE(pin.scan(publication) == second.get());
        pin.clear();
    }
}

TEST_CASE("a slot is clear only after the hook of unpinning") {
    Words publication;
    Word pin(publication);
    const auto first = value(1);
    static_cast<void>(publish(publication, first));
    word = &pin;
    words = &publication;
    static bool named = false;
    named = false;
    static_cast<void>(pinned_by(pin, publication));
    HookPolicy::where = SyncPoint::unpin;
    HookPolicy::what = [] { named = word->scan(*words) != nullptr; };
    pin.clear(publication);
    REQUIRE(named);
    REQUIRE(pin.scan(publication) == nullptr);
}

TEST_CASE("between the two stores of a publication a pin sees the newer one, and no owner agrees") {
    Words publication;
    const auto first = value(1);
    const auto second = value(2);
    const auto third = value(3);
    static_cast<void>(publish(publication, first));
    static_cast<void>(publication.demand(make(first)));
    words = &publication;
    Word pin(publication);
    word = &pin;
    static int pinned = 0;
    HookPolicy::where = SyncPoint::publish_between;
    HookPolicy::what = [] {
        pinned = pinned_by(*word, *words)->number;
        seen = words->load(); // in vain, however often
    };
    seen = first;
    REQUIRE(publish(publication, second) == first);
    REQUIRE(pinned == 2);
    REQUIRE(seen == nullptr);
    REQUIRE(publication.load() == second);
    pin.clear(publication);

    // A snapshot that loaded the old owner tries again when the raw pointer disagrees.
    HookPolicy::where = SyncPoint::snapshot_loaded;
    next_value = third;
    HookPolicy::what = [] { static_cast<void>(publish(*words, next_value)); };
    REQUIRE(publication.load() == third);
    next_value = nullptr;
}

TEST_CASE("owners expire, are released and orphaned in every order") {
    OwnerState state;
    REQUIRE(state.is_expired()); // there is none yet
    REQUIRE(state.is_released());
    REQUIRE(state.orphan());
    state.reset();
    REQUIRE_FALSE(state.is_expired());
    REQUIRE_FALSE(state.is_released());
    state.expire();
    REQUIRE(state.is_expired());
    REQUIRE_FALSE(state.is_released());
    REQUIRE_FALSE(state.release());
    REQUIRE(state.is_released());
    REQUIRE(state.orphan());
    state.reset();
    REQUIRE_FALSE(state.is_expired());
    REQUIRE_FALSE(state.is_released());
    REQUIRE_FALSE(state.orphan());
    REQUIRE(state.release());
}

TEST_CASE("the last user is told") {
    UserCount users(1);
    users.add();
    users.add();
    REQUIRE_FALSE(users.drop());
    REQUIRE_FALSE(users.drop());
    REQUIRE(users.drop());
}

TEST_CASE("the words that readers write and commits write are on different lines") {
    STATIC_REQUIRE(alignof(Words) >= line_pair);
    STATIC_REQUIRE(sizeof(Words) >= 2 * line_pair);
}

TEST_CASE("the commit lock excludes, and a guard lets go and takes back") {
    CommitLock<std::mutex> lock;
    int counter = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 20000; ++i) {
                Guard guard(lock);
                ++counter;
                if (i % 7 == 0) {
                    guard.unlock();
                    guard.relock();
                    ++counter;
                    --counter;
                }
                if (i % 11 == 0) guard.unlock();
            }
        });
    for (std::thread& thread : threads) thread.join();
    REQUIRE(counter == 60000);
    cowindex::detail::pause();
}

TEST_CASE("who waits long for the commit lock gets it, one after the other") {
    CommitLock<std::mutex> lock;
    std::atomic<int> waiting{0};
    int entered = 0;
    std::vector<std::thread> threads;
    {
        const Guard guard(lock);
        for (int t = 0; t < 3; ++t)
            threads.emplace_back([&] {
                ++waiting;
                const Guard mine(lock);
                const int before = entered;
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
                entered = before + 1;
            });
        while (waiting != 3) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20)); // no spinning takes so long
        REQUIRE(entered == 0);
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(entered == 3);
}

namespace {

// Refuses try_lock() for a while, as if somebody else held it.
struct BusyMutex {
    static inline int refusals = 0;
    static inline int tries = 0;
    static inline int blocked = 0;
    static inline int held = 0;
    bool try_lock() {
        ++tries;
        if (refusals > 0) {
            --refusals;
            return false;
        }
        ++held;
        return true;
    }
    void lock() {
        ++blocked;
        ++held;
    }
    void unlock() { --held; }
};

} // namespace

TEST_CASE("the commit lock spins, yields, then blocks, and locks once") {
    CommitLock<BusyMutex> lock;
    for (const int refusals : {0, 50, 105, 1000000}) {
        BusyMutex::refusals = refusals;
        BusyMutex::blocked = 0;
        {
            Guard guard(lock);
            REQUIRE(BusyMutex::held == 1);
        }
        REQUIRE(BusyMutex::held == 0);
        REQUIRE(BusyMutex::blocked == (refusals == 1000000 ? 1 : 0));
    }
}

TEST_CASE("a lock that changes hands is left alone in turns, but not by who is in a hurry") {
    const auto looks = [](int most, Crowd crowd, auto taken_before) {
        Counter takes;
        int count = 0;
        REQUIRE_FALSE(spin_for(most, crowd, takes, [&] {
            if (taken_before(++count)) takes.add_alone();
            return false;
        }));
        return count;
    };
    const auto always = [](int) { return true; };
    const auto never = [](int) { return false; };
    const auto once = [](int look) { return look == 1; };

    // 8 pauses, and a turn that counts for 512, alternately
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(looks(2048, Crowd::leave_turns, always) == 8);
    REQUIRE(std::chrono::steady_clock::now() - start >= 4 * std::chrono::microseconds(15));
    // 1, 2, 4, 8, 16, and then 32 each
    REQUIRE(looks(2048, Crowd::hurry, always) == 5 + 64);
    REQUIRE(looks(2048, Crowd::hurry, never) == 5 + 64);
    REQUIRE(looks(1 + 2 + 4, Crowd::hurry, never) == 3);
    // 8, 16, and then 32 each
    REQUIRE(looks(2048, Crowd::leave_turns, never) == 2 + 64);
    // 8 and a turn, then 8, 16, 32, 32
    REQUIRE(looks(600, Crowd::leave_turns, once) == 6);
}

TEST_CASE("who gets the lock at a look stops looking") {
    Counter takes;
    int left = 3;
    REQUIRE(spin_for(1000, Crowd::leave_turns, takes, [&] { return --left == 0; }));
    REQUIRE(left == 0);
}

TEMPLATE_TEST_CASE("the commit lock counts how often it is taken", "", std::mutex, BusyMutex) {
    BusyMutex::refusals = 0;
    CommitLock<TestType> lock;
    for (std::uint64_t n = 0; n < 3; ++n) {
        REQUIRE(TestAccess::takes(lock) == n);
        lock.lock(n == 0 ? Crowd::hurry : Crowd::leave_turns);
        lock.unlock();
    }
}

TEST_CASE("the coarse clock does not go back and keeps up with the fine one") {
    const auto first = coarse_now();
    const auto second = coarse_now();
    REQUIRE(second >= first);
    REQUIRE(first.count() > 0);
    const auto fine = std::chrono::steady_clock::now().time_since_epoch();
    REQUIRE(std::chrono::abs(fine - coarse_now()) < std::chrono::hours(1));
}
