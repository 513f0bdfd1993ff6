// Turns for updates that keep losing.
//
// Optimistic writers that touch the same shard can starve one another. An update that has lost a
// few times takes a ticket; committers whose shards it touches then let it go first, oldest ticket
// first, for a bounded time and without holding a lock meanwhile. A preference, not a proof: an
// update whose function runs longer than that time can still lose.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <thread>
#include <vector>

#include <cowindex/detail/commit_lock.hpp>
#include <cowindex/policy.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

// Held by one update() until it ends.
struct Ticket {
    std::uint64_t number = 0;    // 0: none was taken
    std::vector<ShardId> shards; // ascending
    bool every_shard = false;
    std::thread::id thread{}; // whose commits need not wait for it
    Ticket* next = nullptr;

    template <class Changes>
    [[nodiscard]] bool touches(const Changes& changes) const noexcept {
        return every_shard ||
               std::any_of(changes.begin(), changes.end(), [this](const auto& change) {
                   return std::binary_search(shards.begin(), shards.end(), change.id);
               });
    }
};

template <class Policy>
class TicketLine {
  public:
    using Lock = CommitLock<typename Policy::Mutex>;

    // How often an update may lose before it takes a ticket, and how often others then back off as
    // after a second loss: each some milliseconds together.
    static constexpr int free_tries = 8;
    static constexpr int patience = 32;

    // Effect: backs off after so many losses, for longer where others do the same: however many
    // they are, one that comes back disturbs the update that gets on about as rarely.
    void back_off(int tries) {
        const unsigned others = away_++;
        Policy::back_off(tries + static_cast<int>(std::bit_width(others)));
        --away_;
    }

    // Effect: `ticket` stands in line, from the first call on, for these shards (ascending).
    // Returns true for the first in line.
    bool stand(Ticket& ticket, std::vector<ShardId> shards, bool every_shard, Lock& lock) {
        Guard guard(lock);
        ticket.shards.swap(shards);
        ticket.every_shard = every_shard;
        ticket.thread = std::this_thread::get_id();
        if (ticket.number != 0) return first_ == &ticket;
        ticket.number = ++last_number_;
        ticket.next = nullptr;
        Ticket** end = &first_;
        while (*end != nullptr) end = &(*end)->next;
        *end = &ticket;
        ++waiting_;
        return first_ == &ticket;
    }

    void leave(Ticket& ticket, Lock& lock) noexcept {
        if (ticket.number == 0) return;
        Guard guard(lock);
        Ticket** link = &first_;
        while (*link != &ticket) link = &(*link)->next;
        *link = ticket.next;
        ticket.number = 0;
        --waiting_;
    }

    // Effect: waits while an older ticket than `mine` (null: none) touches the shards of `changes`.
    template <class Changes>
    void give_way(const Changes& changes, const Ticket* mine, Lock& lock) {
        if (waiting_ == 0) return;
        for (int turns = 0; turns < patience && must_wait(changes, mine, lock); ++turns) {
            Policy::sync_point(SyncPoint::ticket_wait);
            Policy::back_off(2);
        }
    }

  private:
    template <class Changes>
    [[nodiscard]] bool must_wait(const Changes& changes, const Ticket* mine, Lock& lock) {
        Guard guard(lock);
        for (const Ticket* ticket = first_; ticket != nullptr; ticket = ticket->next) {
            if (mine != nullptr && mine->number != 0 && ticket->number >= mine->number) break;
            if (ticket->thread != std::this_thread::get_id() && ticket->touches(changes))
                return true;
        }
        return false;
    }

    std::atomic<unsigned> away_{0}; // in back_off(), about
    std::atomic<int> waiting_{0};   // a hint read without the lock; the lock decides
    Ticket* first_ = nullptr;
    std::uint64_t last_number_ = 0;
};

} // namespace cowindex::detail
