#include <cowindex/detail/tickets.hpp>

#include <algorithm>
#include <latch>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"

using namespace cowindex::detail;
using cowindex::ShardId;
using cowindex::SyncPoint;

namespace {

// Counts how often it is taken.
struct CountedMutex {
    bool try_lock() {
        ++taken;
        return mutex.try_lock();
    }
    void lock() {
        ++taken;
        mutex.lock();
    }
    void unlock() { mutex.unlock(); }
    static inline int taken = 0;
    std::mutex mutex;
};

struct TicketPolicy {
    using Mutex = CountedMutex;
    static inline int waits = 0;
    static inline void (*on_wait)() = nullptr;
    static void sync_point(SyncPoint point) noexcept {
        if (point != SyncPoint::ticket_wait) return;
        ++waits;
        if (on_wait != nullptr) std::exchange(on_wait, nullptr)();
    }
    static void back_off(int tries) noexcept {
        as_after.push_back(tries);
        if (on_back_off != nullptr) on_back_off();
    }
    static inline std::vector<int> as_after;
    static inline void (*on_back_off)() = nullptr;
};

struct Edit {
    ShardId id;
};
using Line = TicketLine<TicketPolicy>;

Line* line = nullptr;
Line::Lock* lock_of_line = nullptr;
Ticket* in_line = nullptr;

struct Fixture {
    Fixture() {
        line = &tickets;
        lock_of_line = &lock;
        TicketPolicy::waits = 0;
        TicketPolicy::on_wait = nullptr;
    }
    // Whether a commit of these shards waits; whoever waits sees the ticket leave at once.
    bool waits(std::vector<Edit> changes, const Ticket* mine, Ticket& leaving) {
        TicketPolicy::waits = 0;
        in_line = &leaving;
        TicketPolicy::on_wait = [] { line->leave(*in_line, *lock_of_line); };
        give_way(changes, mine);
        TicketPolicy::on_wait = nullptr;
        return TicketPolicy::waits != 0;
    }

    // A thread does not wait for its own tickets, so another one commits.
    void give_way(const std::vector<Edit>& changes, const Ticket* mine) {
        std::thread([&] { tickets.give_way(changes, mine, lock); }).join();
    }

    Line tickets;
    Line::Lock lock;
};

} // namespace

TEST_CASE("a ticket touches its own shards, or every shard") {
    Ticket ticket;
    ticket.shards = {2, 5, 9};
    REQUIRE(ticket.touches(std::vector<Edit>{{1}, {5}}));
    REQUIRE_FALSE(ticket.touches(std::vector<Edit>{{1}, {6}}));
    REQUIRE_FALSE(ticket.touches(std::vector<Edit>{}));
    ticket.every_shard = true;
    REQUIRE(ticket.touches(std::vector<Edit>{{1}}));
}

TEST_CASE("where nobody stands, or stands any more, nobody waits or takes the lock") {
    Fixture f;
    const auto passes = [&] {
        CountedMutex::taken = 0;
        f.tickets.give_way(std::vector<Edit>{{1}}, nullptr, f.lock);
        return TicketPolicy::waits == 0 && CountedMutex::taken == 0;
    };
    REQUIRE(passes());
    Ticket ticket;
    f.tickets.leave(ticket, f.lock); // never stood
    REQUIRE(CountedMutex::taken == 0);
    f.tickets.stand(ticket, {1}, false, f.lock);
    f.tickets.leave(ticket, f.lock);
    REQUIRE(passes());
}

TEST_CASE("a commit waits for a ticket that touches its shards, until that leaves") {
    Fixture f;
    Ticket ticket;
    f.tickets.stand(ticket, {3, 4}, false, f.lock);
    REQUIRE(ticket.number != 0);
    REQUIRE_FALSE(f.waits({{5}}, nullptr, ticket));
    REQUIRE(f.waits({{4}}, nullptr, ticket));
    REQUIRE(ticket.number == 0);
    REQUIRE_FALSE(f.waits({{4}}, nullptr, ticket));
}

TEST_CASE("the more updates back off, the longer each does") {
    Fixture f;
    TicketPolicy::as_after.clear();
    f.tickets.back_off(3);
    TicketPolicy::on_back_off = [] { // others come while the first is away
        if (TicketPolicy::as_after.size() < 10) line->back_off(1);
    };
    f.tickets.back_off(1);
    TicketPolicy::on_back_off = nullptr;
    f.tickets.back_off(2); // all are back
    REQUIRE(TicketPolicy::as_after == std::vector<int>{3, 1, 2, 3, 3, 4, 4, 4, 4, 5, 2});
}

TEST_CASE("older tickets go first") {
    Fixture f;
    Ticket older;
    Ticket younger;
    f.tickets.stand(older, {1}, false, f.lock);
    f.tickets.stand(younger, {1}, false, f.lock);
    REQUIRE(older.number < younger.number);
    REQUIRE_FALSE(f.waits({{1}}, &older, younger));
    REQUIRE(f.waits({{1}}, &younger, older));
    Ticket none; // has not lost often enough to have a number
    REQUIRE(f.waits({{1}}, &none, younger));
}

TEST_CASE("standing again keeps the place and renews the shards") {
    Fixture f;
    Ticket ticket;
    f.tickets.stand(ticket, {1}, false, f.lock);
    const auto number = ticket.number;
    f.tickets.stand(ticket, {2}, false, f.lock);
    REQUIRE(ticket.number == number);
    REQUIRE_FALSE(f.waits({{1}}, nullptr, ticket));
    f.tickets.stand(ticket, {}, true, f.lock);
    REQUIRE(f.waits({{1}}, nullptr, ticket));
    f.tickets.leave(ticket, f.lock); // twice is once
}

TEST_CASE("tickets leave from any place in the line, and no other leaves with them") {
    Fixture f;
    Ticket a, b, c, d;
    // For whose shards a commit waits until its patience ends.
    const auto standing = [&] {
        std::vector<ShardId> ids;
        for (ShardId id = 1; id <= 3; ++id) {
            TicketPolicy::waits = 0;
            f.give_way({{id}}, nullptr);
            if (TicketPolicy::waits != 0) ids.push_back(id);
        }
        return ids;
    };
    f.tickets.stand(a, {1}, false, f.lock);
    f.tickets.stand(b, {2}, false, f.lock);
    f.tickets.stand(c, {3}, false, f.lock);
    f.tickets.leave(b, f.lock);
    REQUIRE(standing() == std::vector<ShardId>{1, 3});
    f.tickets.leave(c, f.lock);
    f.tickets.stand(d, {2}, false, f.lock);
    REQUIRE(d.number > a.number);
    REQUIRE(standing() == std::vector<ShardId>{1, 2});
    f.tickets.leave(a, f.lock);
    REQUIRE(standing() == std::vector<ShardId>{2});
    static_cast<void>(f.tickets.stand(a, {3}, false, f.lock)); // behind whom it stood before
    REQUIRE(standing() == std::vector<ShardId>{2, 3});
    f.tickets.leave(a, f.lock);
    static_cast<void>(f.tickets.stand(c, {1}, false, f.lock)); // again, behind the last
    REQUIRE(standing() == std::vector<ShardId>{1, 2});
    f.tickets.leave(c, f.lock);
    f.tickets.leave(d, f.lock);
    REQUIRE(standing().empty());
}

TEST_CASE("a thread does not wait for its own ticket") {
    Fixture f;
    Ticket ticket;
    f.tickets.stand(ticket, {1}, false, f.lock);
    f.tickets.give_way(std::vector<Edit>{{1}}, nullptr, f.lock);
    REQUIRE(TicketPolicy::waits == 0);
    f.tickets.leave(ticket, f.lock);
}

TEST_CASE("standing says who is first") {
    Fixture f;
    Ticket a, b;
    REQUIRE(f.tickets.stand(a, {1}, false, f.lock));
    REQUIRE_FALSE(f.tickets.stand(b, {1}, false, f.lock));
    REQUIRE(f.tickets.stand(a, {1}, false, f.lock));
    f.tickets.leave(a, f.lock);
    REQUIRE(f.tickets.stand(b, {1}, false, f.lock));
    f.tickets.leave(b, f.lock);
}

TEST_CASE("patience ends") {
    Fixture f;
    Ticket ticket;
    f.tickets.stand(ticket, {1}, false, f.lock);
    TicketPolicy::as_after.clear();
    f.give_way({{1}}, nullptr); // returns
    REQUIRE(TicketPolicy::waits == Line::patience);
    REQUIRE(TicketPolicy::as_after == std::vector<int>(Line::patience, 2));
    f.tickets.leave(ticket, f.lock);
}

TEST_CASE("the line is changed and looked at under the lock") {
    Fixture f;
    Ticket ticket;
    const auto locks = [](auto&& fn) {
        CountedMutex::taken = 0;
        fn();
        return CountedMutex::taken;
    };
    REQUIRE(locks([&] { f.tickets.stand(ticket, {1}, false, f.lock); }) == 1);
    REQUIRE(locks([&] { f.tickets.give_way(std::vector<Edit>{{2}}, nullptr, f.lock); }) == 1);
    REQUIRE(locks([&] { f.tickets.leave(ticket, f.lock); }) == 1);
}

namespace {

struct BackOffPolicy : cowindex::DefaultPolicy<int> {
    static inline thread_local int back_offs = 0;
    static void back_off(int) noexcept { ++back_offs; }
};
using BackOffIndex = cowindex::CowIndex<int, BackOffPolicy>;

// An update of one shard that loses so often, against commits of its own thread. Calls
// `before_last()` in the last run that loses. Returns how often it has backed off.
template <class Fn>
int lose(BackOffIndex& index, ShardId id, int times, Fn&& before_last) {
    BackOffPolicy::back_offs = 0;
    int runs = 0;
    index.update([&](BackOffIndex::Writer& writer) {
        writer.edit(id) += 1;
        if (++runs > times) return;
        if (runs == times) before_last();
        auto rival = index.writer();
        rival.edit(id) += 100;
        rival.commit();
    });
    return BackOffPolicy::back_offs;
}

} // namespace

TEST_CASE("an update that keeps losing backs off, unless it is the first in line") {
    constexpr int free_tries = TicketLine<BackOffPolicy>::free_tries;
    constexpr int times = free_tries + 4;
    BackOffIndex index(2);
    std::latch second_may(1);
    std::latch second_done(1);
    int second = 0;
    std::thread other([&] {
        second_may.wait();
        second = lose(index, 1, times, [] {});
        second_done.count_down();
    });
    const int first = lose(index, 0, times, [&] { // it stands in line since some tries
        second_may.count_down();
        second_done.wait();
    });
    other.join();
    REQUIRE(first == free_tries - 1);
    REQUIRE(second == times);
    REQUIRE(index.snapshot()[0] == times * 100 + 1);
    REQUIRE(index.snapshot()[1] == times * 100 + 1);
}
