#include <cowindex/detail/pin_registry.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/policy.hpp>

#include "support/catch.hpp"
#include "support/no_membarrier.hpp"

using namespace cowindex::detail;

namespace {

struct Value {};
struct FakeCore {};
using Policy = cowindex::DefaultPolicy<int>;
using Registry = PinRegistry<Value, Policy, FakeCore>;
using Slot = Registry::Slot;

struct LenderPolicy : Policy {
    static constexpr std::chrono::nanoseconds idle_read_time{10};
};
using Lender = SlotLender<Slot, LenderPolicy>;
constexpr std::uint64_t me = 4711; // a thread

struct Registered {
    Slot* claim(std::string label = {}) {
        return registry.claim(core, words, lock, std::move(label));
    }
    std::shared_ptr<const Value> publish() {
        auto value = std::make_shared<const Value>();
        static_cast<void>(words.publish(value.get(), [&](const Value&) { return value; }));
        return value;
    }
    // What the end of a view of `value` leaves to its reader: nothing where pins must ask the slot.
    [[nodiscard]] const Value* left(const std::shared_ptr<const Value>& value) const {
        return words.fence().asymmetric() ? value.get() : nullptr;
    }
    // What is special about a slot without views.
    [[nodiscard]] std::size_t mode() const {
        return words.fence().asymmetric() ? 0 : Slot::portable;
    }

    FakeCore core;
    Publication<Value, Policy> words;
    CommitLock<std::mutex> lock;
    Registry registry;
};

} // namespace

TEST_CASE("slots are on lines of their own and are used again") {
    STATIC_REQUIRE(alignof(Slot) >= line_pair);
    STATIC_REQUIRE(sizeof(Slot) >= 2 * line_pair);
    Registered r;
    REQUIRE_FALSE(r.registry.anyone());
    Slot* first = r.claim("one");
    Slot* second = r.claim();
    REQUIRE(first != second);
    REQUIRE(first->label == "one");
    REQUIRE(r.registry.anyone());
    r.registry.give_back(first, r.lock);
    REQUIRE(r.registry.anyone());
    REQUIRE(first->label.empty());
    REQUIRE(r.claim("again") == first);
    REQUIRE(first->label == "again");
    r.registry.give_back(second, r.lock);
    r.registry.give_back(first, r.lock);
    REQUIRE_FALSE(r.registry.anyone());
}

TEST_CASE("nested pins repeat the outermost, and the last one clears the slot") {
    Registered r;
    const auto old = r.publish();
    Slot* slot = r.claim();
    REQUIRE(slot->pin() == old.get());
    const auto latest = r.publish();
    REQUIRE(slot->pin() == old.get());
    REQUIRE_FALSE(slot->unpin(nullptr, nullptr));
    REQUIRE(slot->word.own() == old.get());
    REQUIRE_FALSE(slot->unpin(nullptr, nullptr));
    REQUIRE(slot->word.own() == nullptr);
    REQUIRE(slot->pin() == latest.get());
    REQUIRE(slot->pin() == latest.get());
    REQUIRE_FALSE(slot->leave()); // its reader ends: views are left
    REQUIRE_FALSE(slot->unpin(nullptr, nullptr));
    REQUIRE(slot->word.own() == latest.get());
    REQUIRE(slot->unpin(nullptr, nullptr)); // to be given back
    r.registry.give_back(slot, r.lock);
    REQUIRE(r.claim() == slot);
    static_cast<void>(slot->pin());
    REQUIRE_FALSE(slot->unpin(nullptr, nullptr)); // nobody has left
    REQUIRE(slot->leave());
    r.registry.give_back(slot, r.lock);
}

TEST_CASE("a reader begins with the version that it had last") {
    Registered r;
    const auto first = r.publish();
    Slot* slot = r.claim();
    const auto* last = slot->word.own();
    REQUIRE(last == nullptr);
    REQUIRE(slot->pin(r.words, last) == first.get());
    REQUIRE(last == nullptr); // while a view may be open
    REQUIRE_FALSE(slot->unpin(first.get(), &last));
    REQUIRE(last == r.left(first));
    REQUIRE(slot->pin(r.words, last) == first.get());
    REQUIRE(last == nullptr);
    REQUIRE_FALSE(slot->unpin(first.get(), &last));

    const auto second = r.publish(); // the next guess is wrong
    REQUIRE(slot->pin(r.words, last) == second.get());
    REQUIRE(slot->word.own() == second.get());
    REQUIRE_FALSE(slot->unpin(second.get(), &last));
    REQUIRE(last == r.left(second));
    REQUIRE(slot->word.own() == nullptr);
    r.registry.give_back(slot, r.lock);
}

TEST_CASE("what a reader had last is set by the last of nested views, whichever that is") {
    for (const bool outer_first : {false, true}) {
        Registered r;
        const auto old = r.publish();
        Slot* slot = r.claim();
        const auto* last = slot->word.own();
        REQUIRE(slot->pin(r.words, last) == old.get());
        const auto latest = r.publish();
        REQUIRE(slot->pin(r.words, last) == old.get());
        REQUIRE(slot->pin() == old.get());
        REQUIRE_FALSE(slot->unpin(old.get(), outer_first ? &last : nullptr));
        REQUIRE_FALSE(slot->unpin(old.get(), &last));
        REQUIRE(last == nullptr);
        REQUIRE(slot->word.own() == old.get());
        REQUIRE(slot->pin(r.words, last) == old.get()); // within the life of another
        REQUIRE_FALSE(slot->unpin(old.get(), &last));
        REQUIRE(last == nullptr);
        REQUIRE_FALSE(slot->unpin(old.get(), &last));
        REQUIRE(last == r.left(old));
        REQUIRE(slot->pin(r.words, last) == latest.get());
        REQUIRE_FALSE(slot->unpin(latest.get(), nullptr)); // by a view without a reader
        REQUIRE(last == nullptr);
        r.registry.give_back(slot, r.lock);
    }
}

TEST_CASE("a view does not write to a reader that has moved or ended") {
    Registered r;
    const auto latest = r.publish();
    Slot* slot = r.claim();
    const auto* here = slot->word.own();
    const auto* there = here;
    slot->move(); // nothing is pinned: nothing to remember
    REQUIRE(slot->special == r.mode());
    static_cast<void>(slot->pin(r.words, here));
    slot->move();
    REQUIRE_FALSE(slot->unpin(latest.get(), &here));
    REQUIRE(here == nullptr);
    REQUIRE(slot->word.own() == nullptr);

    // The next pin is of the reader where it is now.
    REQUIRE(slot->pin(r.words, there) == latest.get());
    REQUIRE_FALSE(slot->unpin(latest.get(), &there));
    REQUIRE(there == r.left(latest));

    // Nested: a view from before the move, one from behind it.
    static_cast<void>(slot->pin(r.words, here));
    slot->move();
    there = nullptr;
    static_cast<void>(slot->pin(r.words, there));
    REQUIRE_FALSE(slot->unpin(latest.get(), &here));
    REQUIRE(slot->word.own() == latest.get());
    REQUIRE_FALSE(slot->unpin(latest.get(), &there));
    REQUIRE(here == nullptr);
    REQUIRE(there == nullptr);
    REQUIRE(slot->special == r.mode());

    static_cast<void>(slot->pin(r.words, here));
    slot->move();
    REQUIRE_FALSE(slot->leave());
    REQUIRE(slot->unpin(latest.get(), &here)); // to be given back
    REQUIRE(here == nullptr);
    r.registry.give_back(slot, r.lock);
    REQUIRE(slot->special == r.mode());
}

TEST_CASE("where the kernel refuses the barrier no pin of a slot takes the fast way") {
    test::without_membarrier([] {
        Registered r;
        const auto latest = r.publish();
        Slot* slot = r.claim();
        const auto* last = slot->word.own();
        const auto pin_and_unpin = [&] {
            REQUIRE(slot->pin(r.words, last) == latest.get());
            REQUIRE_FALSE(slot->unpin(latest.get(), &last));
            REQUIRE(last == nullptr); // or the next pin would not ask the slot
        };
        REQUIRE_FALSE(slot->word.is_idle_and_asymmetric());
        pin_and_unpin();
        REQUIRE_FALSE(slot->word.is_idle_and_asymmetric());
        static_cast<void>(slot->pin());
        REQUIRE_FALSE(slot->leave()); // its reader ends: a view is left
        REQUIRE(slot->unpin(nullptr, nullptr));
        r.registry.give_back(slot, r.lock);
        REQUIRE(r.claim() == slot); // for another reader
        pin_and_unpin();
        REQUIRE_FALSE(slot->word.is_idle_and_asymmetric());
        r.registry.give_back(slot, r.lock);
    });
}

TEST_CASE("a scan finds the pins of old versions, with their labels") {
    Registered r;
    Slot* a = r.claim("a");
    Slot* b = r.claim("b");
    Slot* c = r.claim("c");
    Slot* idle = r.claim("idle");
    const auto old = r.publish();
    static_cast<void>(a->pin());
    static_cast<void>(b->pin());
    const auto latest = r.publish();
    static_cast<void>(c->pin());
    REQUIRE(r.registry.count_pinned(r.words) == 3);

    r.registry.scan(r.words, latest.get());
    REQUIRE(r.registry.is_pinned(old.get()));
    REQUIRE_FALSE(r.registry.is_pinned(latest.get())); // of no interest
    std::vector<std::string> labels;
    r.registry.for_each_pin(old.get(), [&](const Slot& s) { labels.push_back(s.label); });
    std::sort(labels.begin(), labels.end());
    REQUIRE(labels == std::vector<std::string>{"a", "b"});

    static_cast<void>(a->unpin(nullptr, nullptr));
    r.registry.scan(r.words, latest.get());
    REQUIRE(r.registry.is_pinned(old.get()));
    static_cast<void>(b->unpin(nullptr, nullptr));
    REQUIRE(r.registry.is_pinned(old.get())); // by the last scan
    r.registry.scan(r.words, latest.get());
    REQUIRE_FALSE(r.registry.is_pinned(old.get()));
    static_cast<void>(c->unpin(nullptr, nullptr));
    REQUIRE(r.registry.count_pinned(r.words) == 0);
    for (Slot* slot : {a, b, c, idle}) r.registry.give_back(slot, r.lock);
}

TEST_CASE("slots may be given back in any order") {
    Registered r;
    const auto version = r.publish();
    std::vector<Slot*> claimed;
    std::size_t most = 0;
    std::uint32_t random = 1;
    for (int i = 0; i < 2000; ++i) {
        random = random * 1664525 + 1013904223;
        const std::size_t at = (random >> 8) % 8;
        if (at < claimed.size()) {
            static_cast<void>(claimed[at]->unpin(version.get(), nullptr));
            r.registry.give_back(claimed[at], r.lock);
            claimed.erase(claimed.begin() + static_cast<std::ptrdiff_t>(at));
        } else {
            claimed.push_back(r.claim());
            REQUIRE(claimed.back()->pin() == version.get());
            most = std::max(most, claimed.size());
        }
        if (!claimed.empty())
            REQUIRE(std::count(claimed.begin(), claimed.end(), claimed.back()) == 1);
        REQUIRE(r.registry.claimed() == claimed.size());
        REQUIRE(r.registry.count_pinned(r.words) == claimed.size());
    }
    REQUIRE(most == 8);
    for (Slot* slot : claimed) {
        static_cast<void>(slot->unpin(version.get(), nullptr));
        r.registry.give_back(slot, r.lock);
    }
    REQUIRE_FALSE(r.registry.anyone());
}

TEST_CASE("a lender hands out what was put back, once") {
    Registered r;
    Lender lender;
    Lender::Loan first = lender.borrow(me);
    REQUIRE(first.slot == nullptr); // the borrower is to get one
    REQUIRE(first.place != nullptr);
    first.slot = r.claim();
    Lender::Loan within = lender.borrow(me); // by a call within that one
    REQUIRE(within.slot == nullptr);
    REQUIRE(within.place != nullptr);
    REQUIRE(within.place != first.place);
    within.slot = r.claim();
    REQUIRE(lender.put_back(within));
    REQUIRE(lender.put_back(first));
    for (int i = 0; i < 3; ++i) {
        const Lender::Loan again = lender.borrow(me);
        REQUIRE(again.slot == first.slot);
        const Lender::Loan again_within = lender.borrow(me);
        REQUIRE(again_within.slot == within.slot);
        REQUIRE(lender.put_back(i == 1 ? again : again_within)); // in any order
        REQUIRE(lender.put_back(i == 1 ? again_within : again));
    }
    r.registry.give_back(first.slot, r.lock);
    r.registry.give_back(within.slot, r.lock);
}

TEST_CASE("a lender that has no place left says so") {
    Lender lender;
    std::vector<Lender::Loan> loans;
    for (std::size_t i = 0; i < Lender::places; ++i) {
        loans.push_back(lender.borrow(me));
        REQUIRE(loans.back().place != nullptr);
    }
    Registered r;
    Lender::Loan loan = lender.borrow(me);
    REQUIRE(loan.place == nullptr);
    loan.slot = r.claim();
    REQUIRE_FALSE(lender.put_back(loan)); // the caller keeps it
    r.registry.give_back(loan.slot, r.lock);
    // A slot could not be had: the place is free again.
    REQUIRE(lender.put_back(loans[3]));
    loan = lender.borrow(me);
    REQUIRE(loan.slot == nullptr);
    REQUIRE(loan.place == loans[3].place);
}

TEST_CASE("threads that would try the same place first have places of their own") {
    std::vector<std::uint64_t> handles;
    for (std::uint64_t handle = 1; handles.size() < Lender::places + 1; ++handle)
        if (spread<Lender::places>(handle) == Lender::places - 2) handles.push_back(handle);
    Registered r;
    Lender lender;
    std::vector<Lender::Loan> loans;
    const auto borrow_and_put_back = [&](std::size_t i) {
        Lender::Loan loan = lender.borrow(handles[i]);
        if (loan.slot == nullptr) loan.slot = r.claim();
        REQUIRE(lender.put_back(loan));
        return loan;
    };
    for (std::size_t i = 0; i < Lender::places; ++i) {
        loans.push_back(borrow_and_put_back(i));
        for (std::size_t other = 0; other < i; ++other) REQUIRE(loans[other].slot != loans[i].slot);
    }
    for (std::size_t i = 0; i < Lender::places; ++i) {
        REQUIRE(borrow_and_put_back(i).slot == loans[i].slot);
        REQUIRE(borrow_and_put_back(i).place == loans[i].place);
    }
    // One more takes the place of somebody, and so on; but any two that call in turns soon have
    // places of their own again.
    const std::size_t more = Lender::places;
    for (int i = 0; i < 200; ++i)
        REQUIRE(borrow_and_put_back(more).place != borrow_and_put_back(0).place);
    const auto* const of_more = borrow_and_put_back(more).place;
    const auto* const of_first = borrow_and_put_back(0).place;
    REQUIRE(of_more != of_first);
    for (int i = 0; i < 10; ++i) {
        REQUIRE(borrow_and_put_back(more).place == of_more);
        REQUIRE(borrow_and_put_back(0).place == of_first);
    }
    REQUIRE(r.registry.claimed() == Lender::places);
    for (const Lender::Loan& loan : loans) r.registry.give_back(loan.slot, r.lock);
}

TEST_CASE("a place whose slot idles is nobody's, whoever has other slots") {
    Registered r;
    Lender lender;
    Lender::Loan loan = lender.borrow(me);
    Slot* const slot = loan.slot = r.claim();
    REQUIRE(lender.put_back(loan));
    std::uint64_t other = me + 1;
    while (spread<Lender::places>(other) != spread<Lender::places>(me)) ++other;
    const auto look = [&](std::int64_t now) {
        lender.let_go_of_idle(5, std::chrono::nanoseconds(now), [](Slot*) { FAIL("one of five"); });
    };
    look(1);
    look(10);
    loan = lender.borrow(other);
    REQUIRE(loan.slot == nullptr);
    REQUIRE(lender.put_back(loan)); // without one
    look(11);
    std::uint64_t third = other + 1;
    while (spread<Lender::places>(third) != spread<Lender::places>(me)) ++third;
    loan = lender.borrow(third);
    REQUIRE(loan.slot == slot);
    REQUIRE(lender.put_back(loan));
    loan = lender.borrow(me);
    REQUIRE(loan.slot == nullptr);
    r.registry.give_back(slot, r.lock);
}

TEST_CASE("a lender lets go of its slots when all there are have idled for long enough") {
    Registered r;
    Lender lender;
    std::vector<Slot*> back;
    const auto look = [&](std::size_t all, std::int64_t now) {
        lender.let_go_of_idle(all, std::chrono::nanoseconds(now),
                              [&](Slot* slot) { back.push_back(slot); });
        return back.size();
    };
    Lender::Loan loan = lender.borrow(me);
    Slot* const slot = loan.slot = r.claim();
    REQUIRE(look(0, 0) == 0);
    REQUIRE(look(1, 0) == 0); // lent
    REQUIRE(lender.put_back(loan));
    REQUIRE(look(1, 0) == 0); // the first look, as late as 1
    REQUIRE(look(1, 10) == 0);
    loan = lender.borrow(me);
    REQUIRE(loan.slot == slot);
    REQUIRE(look(1, 20) == 0); // lent
    REQUIRE(lender.put_back(loan));
    REQUIRE(look(1, 30) == 0); // the first look since
    REQUIRE(look(1, 39) == 0);
    REQUIRE(look(2, 40) == 0); // somebody has another
    REQUIRE(look(1, 40) == 1);
    REQUIRE(back.front() == slot);
    loan = lender.borrow(me);
    REQUIRE(loan.slot == nullptr);
    REQUIRE(lender.put_back(loan)); // without one
    REQUIRE(look(0, 100) == 1);

    REQUIRE(r.registry.claimed() == 1);
    r.registry.take_back(slot);
    REQUIRE_FALSE(r.registry.anyone());
    REQUIRE(r.claim() == slot); // used again
    r.registry.give_back(slot, r.lock);
}

namespace {

std::size_t count_distinct(std::vector<std::size_t> entries) {
    std::sort(entries.begin(), entries.end());
    return static_cast<std::size_t>(std::unique(entries.begin(), entries.end()) - entries.begin());
}

} // namespace

TEST_CASE("handles at equal distances spread over the entries, whatever the distance") {
    // Stacks of one page to 64 MB, each with a guard page or without; 8 MB is usual.
    for (std::uint64_t stack = 1 << 12; stack <= (1 << 26); stack *= 2)
        for (const std::uint64_t guard : {std::uint64_t{0}, std::uint64_t{1} << 12}) {
            std::vector<std::size_t> entries;
            for (std::uint64_t i = 0; i < 32; ++i) {
                entries.push_back(spread<32>(0x7f00'0000'06c0 - i * (stack + guard)));
                REQUIRE(entries.back() < 32);
                if (i == 7) REQUIRE(count_distinct(entries) >= 5);
            }
            REQUIRE(count_distinct(entries) >= 15);
        }
}

TEST_CASE("threads spread over the entries") {
    std::vector<std::thread> threads;
    std::vector<std::size_t> entries;
    std::mutex done;
    {
        const std::lock_guard<std::mutex> all_there(done); // none ends before: handles are reused
        for (int i = 0; i < 32; ++i)
            threads.emplace_back([&] { const std::lock_guard<std::mutex> wait(done); });
        for (const std::thread& thread : threads) {
            entries.push_back(spread<32>(thread_handle(thread.get_id())));
            REQUIRE(entries.back() < 32);
            REQUIRE(spread<32>(thread_handle(thread.get_id())) == entries.back());
        }
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(count_distinct(entries) >= 12);
}
