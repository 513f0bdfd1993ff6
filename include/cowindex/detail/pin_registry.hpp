// The slots of all readers of one index.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <cowindex/detail/commit_lock.hpp>
#include <cowindex/detail/counter.hpp>
#include <cowindex/detail/publication.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

// One reader's place. The first line pair is the reader's, the second the registry's.
template <class Record, class Policy, class Core>
struct ReaderSlot {
    using Source = Publication<Record, Policy>;

    ReaderSlot(Core& its_core, const Source& its_source) noexcept
        : word(its_source), source(&its_source),
          special(its_source.fence().asymmetric() ? 0 : portable), core(&its_core) {}

    // Effect: pins the latest version, or repeats the outermost pin. *Progress* lock-free.
    [[nodiscard]] const Record* pin() noexcept {
        if (word.is_idle_and_asymmetric()) [[likely]]
            return word.pin(*source, source->guess());
        return pin_specially();
    }

    // The same for a reader that keeps some of it beside the slot, in registers where it can.
    // `from` is `*source`. `last` is the version that this reader had last, which often still is
    // the latest; null while a view may be open, as the slot alone knows for certain.
    [[nodiscard]] COWINDEX_INLINE const Record* pin(const Source& from,
                                                    const Record*& last) noexcept {
        const Record* const guess = std::exchange(last, nullptr);
        if (guess == nullptr) [[unlikely]]
            return pin_unsure();
        return word.pin(from, guess);
    }

    // Effect: a pin of `record` ends. Where this is known to have been the only one of a reader,
    // and `last` to be that reader's, sets it. Returns true when the slot itself is to be given
    // back: its reader is gone.
    [[nodiscard]] COWINDEX_INLINE bool unpin(const Record* record, const Record** last) noexcept {
        if (special != 0) [[unlikely]]
            return unpin_specially();
        word.clear();
        if (last != nullptr) *last = record;
        return false;
    }

    // By the reader that moves while a view may be open: its view would not find it any more.
    void move() noexcept {
        if (!word.is_idle()) special |= reader_moved;
    }

    // By the reader's end. Returns true when no view is left, so that the slot is to be given back;
    // otherwise the last view will do that.
    [[nodiscard]] bool leave() noexcept {
        if (word.is_idle()) return true;
        special |= reader_gone;
        return false;
    }

    // By the registry, for the next reader.
    void come_back() noexcept { special &= portable; }

    // What makes this slot special, in one word that a plain unpin compares with zero: three flags,
    // and the number of pins within the outermost. In the slot, because readers and views move.
    static constexpr std::size_t reader_gone = 1;
    static constexpr std::size_t reader_moved = 2; // since the outermost pin began
    static constexpr std::size_t portable = 4;
    static constexpr std::size_t one_pin = 8;

    alignas(line_pair) PinWord<Record, Policy> word;
    const Source* source;
    std::size_t special;
    Core* core;

    // Guarded by the commit lock.
    alignas(line_pair) ReaderSlot* next = nullptr; // among the claimed or the free ones
    ReaderSlot* previous = nullptr;                // among the claimed ones
    ReaderSlot* next_seen = nullptr;
    const Record* seen = nullptr; // what the last scan read: compared, never followed
    std::string label;

  private:
    // Not cold: where a reader is made it is the only way, and would make its function cold as
    // well.
    COWINDEX_LONG const Record* pin_unsure() noexcept { return pin(); }

    COWINDEX_COLD const Record* pin_specially() noexcept {
        if (word.is_idle()) return word.pin_portably(*source);
        special += one_pin;
        return word.own();
    }

    COWINDEX_COLD bool unpin_specially() noexcept {
        if (special >= one_pin) {
            special -= one_pin;
            return false;
        }
        word.clear(*source);
        special &= ~reader_moved;
        return (special & reader_gone) != 0;
    }
};

template <class Record, class Policy, class Core>
class PinRegistry {
  public:
    using Slot = ReaderSlot<Record, Policy, Core>;
    using Lock = CommitLock<typename Policy::Mutex>;

    PinRegistry() = default;
    PinRegistry(const PinRegistry&) = delete;
    PinRegistry& operator=(const PinRegistry&) = delete;
    ~PinRegistry() {
        for (Slot** list : {&slots_, &free_})
            while (*list != nullptr) delete std::exchange(*list, (*list)->next);
    }

    // Effect: a slot of the caller's own. Slots are used again, so churn needs no memory.
    [[nodiscard]] Slot* claim(Core& core, const Publication<Record, Policy>& source, Lock& lock,
                              std::string label) {
        if (Slot* slot = claim_free(lock, label)) return slot;
        auto slot = std::make_unique<Slot>(core, source);
        slot->label.swap(label);
        Guard guard(lock);
        enlist(slot.get());
        return slot.release();
    }

    // Precondition: the slot is clear.
    void give_back(Slot* slot, Lock& lock) noexcept {
        std::string label; // freed after the lock
        Guard guard(lock);
        label.swap(slot->label);
        take_back(slot);
    }

    // The rest: the commit lock is held.

    // As give_back(). Precondition: the slot has no label.
    void take_back(Slot* slot) noexcept {
        (slot->previous == nullptr ? slots_ : slot->previous->next) = slot->next;
        if (slot->next != nullptr) slot->next->previous = slot->previous;
        slot->come_back();
        slot->next = std::exchange(free_, slot);
        --claimed_;
    }
    [[nodiscard]] std::size_t claimed() const noexcept { return claimed_; }

    // Without claimed slots there are no pins to look for, and none that was missed: a reader that
    // claims one later takes this lock after us and sees what was published before.
    [[nodiscard]] bool anyone() const noexcept { return claimed_ != 0; }

    // Effect: remembers what each claimed slot names; the others are clear. `skip` is the latest
    // version: of no interest.
    void scan(const Publication<Record, Policy>& source, const Record* skip) noexcept {
        seen_ = nullptr;
        if (!anyone()) return;
        for (Slot* slot = slots_; slot != nullptr; slot = slot->next) {
            slot->seen = slot->word.scan(source);
            if (slot->seen != nullptr && slot->seen != skip)
                slot->next_seen = std::exchange(seen_, slot);
        }
    }
    // By the last scan.
    [[nodiscard]] bool is_pinned(const Record* record) const noexcept {
        for (const Slot* slot = seen_; slot != nullptr; slot = slot->next_seen)
            if (slot->seen == record) return true;
        return false;
    }

    // Calls fn(slot) for each slot that the last scan found naming `record`.
    template <class Fn>
    void for_each_pin(const Record* record, Fn&& fn) const {
        for (const Slot* slot = seen_; slot != nullptr; slot = slot->next_seen)
            if (slot->seen == record) fn(*slot);
    }

    // Slots that name any version now. Exact when no reader is in the middle of a pin.
    [[nodiscard]] std::size_t count_pinned(
        const Publication<Record, Policy>& source) const noexcept {
        std::size_t pinned = 0;
        for (const Slot* slot = slots_; slot != nullptr; slot = slot->next)
            if (slot->word.scan(source) != nullptr) ++pinned;
        return pinned;
    }

  private:
    friend struct TestAccess;

    Slot* claim_free(Lock& lock, std::string& label) {
        Guard guard(lock);
        Slot* slot = free_;
        if (slot == nullptr) return nullptr;
        free_ = slot->next;
        slot->label.swap(label);
        enlist(slot);
        return slot;
    }
    void enlist(Slot* slot) noexcept {
        slot->previous = nullptr;
        slot->next = std::exchange(slots_, slot);
        if (slot->next != nullptr) slot->next->previous = slot;
        ++claimed_;
    }

    Slot* slots_ = nullptr; // the claimed ones
    Slot* free_ = nullptr;
    Slot* seen_ = nullptr;
    std::size_t claimed_ = 0;
};

// A thread's number. The standard library's hash takes ten times as long.
[[nodiscard]] inline std::uint64_t thread_handle(std::thread::id thread) noexcept {
    std::uint64_t handle = 0;
    if constexpr (std::has_unique_object_representations_v<std::thread::id> &&
                  sizeof(thread) <= sizeof(handle))
        std::memcpy(&handle, &thread, sizeof(thread));
    else
        handle = std::hash<std::thread::id>{}(thread);
    return handle;
}

// Which of so many a thread's is. Handles are often addresses at equal distances, stacks:
// multiplied once, some distances come out as nearly a third of all, and every third thread meets.
template <std::size_t places>
[[nodiscard]] constexpr std::size_t spread(std::uint64_t handle) noexcept {
    static_assert(std::has_single_bit(places));
    constexpr std::uint64_t odd = 0x9E3779B97F4A7C15U;
    handle *= odd;
    handle ^= handle >> 32;
    return static_cast<std::size_t>((handle * odd) >> (64 - std::bit_width(places - 1)));
}

// Slots lent to threads that carry no reader of their own. A thread comes back to the place that it
// had last, so threads do not meet unless more have called lately than there are places.
template <class Slot, class Policy>
class SlotLender {
    struct alignas(line_pair) Place {
        LendingPlace<Slot> lent;
        // When it was first seen here, in nanoseconds; 0: borrowed since. A hint: borrower and
        // looker both set it, and whichever is later may be wrong.
        Counter idle_since;
    };

  public:
    struct Loan {
        Slot* slot = nullptr;   // null: the borrower is to get one
        Place* place = nullptr; // where to put it back; null: nowhere
    };

    static constexpr std::size_t places = 64;

    // `me` is the caller's thread_handle().
    [[nodiscard]] Loan borrow(std::uint64_t me) noexcept {
        const std::size_t first = spread<places>(me);
        Loan loan;
        if (users_[first].read() == me && take(places_[first], loan)) [[likely]]
            return loan;
        if (!search<false>(me, first, loan)) static_cast<void>(search_others(me, loan));
        return loan;
    }

    // False where there is no place for it: the caller keeps the slot. One without a slot is over.
    [[nodiscard]] bool put_back(const Loan& loan) noexcept {
        if (loan.place == nullptr) return false;
        loan.place->lent.put(loan.slot);
        return true;
    }

    // Effect: where `all` slots lie here, and each has for `Policy::idle_read_time`, as far as the
    // calls of this function have seen, calls take_back(slot) for each that is still here; it is
    // lent no more. A place whose slot has for so long is nobody's, in any case. What was seen may
    // be out of date, so a slot may be taken that was just used. Does nothing within a sixteenth of
    // that time. `now` is what coarse_now() says. One thread at a time.
    template <class TakeBack>
    void let_go_of_idle(std::size_t all, std::chrono::nanoseconds now,
                        TakeBack&& take_back) noexcept {
        const auto time = static_cast<std::uint64_t>(std::max<std::int64_t>(now.count(), 1));
        constexpr auto enough =
            static_cast<std::uint64_t>(std::chrono::nanoseconds(Policy::idle_read_time).count());
        if (time - looked_ < enough / 16) return;
        looked_ = time;
        std::size_t idle = 0;
        for (std::size_t at = 0; at < places; ++at) {
            if (!places_[at].lent.holds()) continue;
            const std::uint64_t since = places_[at].idle_since.read();
            if (since == 0) {
                places_[at].idle_since.set(time);
            } else if (time - since >= enough) {
                ++idle;
                users_[at].set(nobody); // its thread may be gone
            }
        }
        if (idle == 0 || idle != all) return;
        Policy::sync_point(SyncPoint::slots_idle);
        for (Place& place : places_)
            if (Slot* slot = place.lent.take_back()) take_back(slot);
    }

  private:
    static constexpr std::uint64_t nobody = 0;

    [[nodiscard]] static bool take(Place& place, Loan& loan) noexcept {
        if (place.lent.is_taken()) return false; // by another, or by a call further out
        place.idle_since.set(0);
        Policy::sync_point(SyncPoint::slot_borrow);
        Slot* found = nullptr;
        if (!place.lent.take(found)) return false;
        loan = {found, &place};
        return true;
    }

    // A place of one's own, or nobody's; or any.
    template <bool others>
    [[nodiscard]] COWINDEX_LONG bool search(std::uint64_t me, std::size_t first,
                                            Loan& loan) noexcept {
        for (std::size_t i = 0; i < places; ++i) {
            const std::size_t at = (first + i) % places;
            const std::uint64_t user = users_[at].read();
            if ((others || user == me || user == nobody) && take(places_[at], loan)) {
                if (user != me) users_[at].set(me);
                return true;
            }
        }
        return false;
    }

    // From anywhere on: two that took each other's first place would do so at each call.
    [[nodiscard]] COWINDEX_COLD bool search_others(std::uint64_t me, Loan& loan) noexcept {
        victim_.add();
        return search<true>(me, spread<places>(victim_.read()), loan);
    }

    Place places_[places];
    // Whose a place is: who had it last. Hints. Not in the places, whose lines their users write.
    alignas(line_pair) Counter users_[places];
    alignas(line_pair) Counter victim_;
    std::uint64_t looked_ = 0; // when, as `now`
};

} // namespace cowindex::detail
