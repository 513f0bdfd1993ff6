// The one place where versions become visible, are pinned, and are seen to be let go.
//
// Two words name the latest version: a raw pointer for readers that pin, and a shared_ptr for
// snapshots. The shared_ptr is made when the first snapshot of a version asks for it, under the
// commit lock: making, replacing and ending one costs a fourth of a small commit, and most versions
// are never asked for. For some commits after a snapshot it is made ahead, with the version.
//
// Every order of the protocol that is not the default, seq_cst, is in this file (and, for the
// shared_ptr and the commit lock, in shared_cell.hpp and commit_lock.hpp), numbered, with its
// partner and with what goes wrong without.
//
// Four accesses are marked (S). The reader stores in its slot the version that it takes for the
// latest (6) and then loads the latest (7); the reclaimer has published a newer version (1) and
// then loads the slot (9). One of the two must see the other's store. AsymmetricFence::heavy(),
// between (1) and (9), sees to that; where it is not to be had all four are seq_cst, since any
// weaker choice of one lets a pin be missed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <cowindex/detail/asymmetric_fence.hpp>
#include <cowindex/detail/commit_lock.hpp>
#include <cowindex/detail/shared_cell.hpp>
#include <cowindex/policy.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

// Two lines of 64 bytes: processors fetch them in pairs.
inline constexpr std::size_t line_size = 64;
inline constexpr std::size_t line_pair = 2 * line_size;

template <class Record, class Policy>
class Publication {
  public:
    [[nodiscard]] const AsymmetricFence& fence() const noexcept { return fence_; }

    // Effect: `record` is the latest version for everybody. Returns the owner of the one before;
    // null where none was made. `make(record)` makes one. Precondition: the commit lock is held.
    //
    // The raw pointer first, then the owner. load() accepts an owner only where both agree, so a
    // thread that has pinned a version can never be given an older snapshot, nor the reverse.
    template <class Make>
    std::shared_ptr<const Record> publish(const Record* record, Make&& make) noexcept {
        // (1) Release: pairs with (7); without it a reader could follow the pointer into a
        // tree whose nodes are not written yet. (S)
        store(latest_, record);
        Policy::sync_point(SyncPoint::publish_between);
        if (!owned_) [[likely]]
            return nullptr;
        // (18) Relaxed, all three: a hint.
        if (asked_.load(std::memory_order_relaxed)) {
            asked_.store(false, std::memory_order_relaxed);
            ahead_ = made_ahead;
        }
        owned_ = ahead_ > 0;
        if (!owned_) return owner_.exchange(nullptr);
        --ahead_;
        return owner_.exchange(make(*record));
    }

    // Returns the last owner, if any, and leaves both words empty. For teardown: nobody else is
    // left.
    std::shared_ptr<const Record> close() noexcept {
        // (2) Relaxed: the last user is gone, no pin can follow.
        latest_.store(nullptr, std::memory_order_relaxed);
        return owner_.exchange(nullptr);
    }

    // For holders of the commit lock, which orders this after the publication that it returns, and
    // for guesses that are checked under the lock.
    [[nodiscard]] const Record* latest() const noexcept {
        // (3) Relaxed: the lock, or a later check under it.
        return latest_.load(std::memory_order_relaxed);
    }

    // What a pin may try first, where its reader has had no version yet.
    [[nodiscard]] const Record* guess() const noexcept {
        // (5) Relaxed: compared with (7), never followed.
        return latest_.load(std::memory_order_relaxed);
    }

    // The latest version, owned. Null where its owner is still to be made, and after a while where
    // a committer is between its two stores: then demand() helps.
    [[nodiscard]] std::shared_ptr<const Record> load() const {
        for (int tries = 0; tries < enough_tries; ++tries) {
            std::shared_ptr<const Record> owner = owner_.load();
            Policy::sync_point(SyncPoint::snapshot_loaded);
            // (4) Acquire, as all loads of this word; the owner's load, an acquire itself, keeps
            // this one behind it. While the owner is ours its record cannot be used again for a
            // newer version, so if the word still names it, it is still the latest: this thread
            // cannot have seen a newer one.
            if (latest_.load(std::memory_order_acquire) == owner.get()) {
                if (!asked_.load(std::memory_order_relaxed))       // (18)
                    asked_.store(true, std::memory_order_relaxed); // (18)
                return owner;
            }
            if (owner == nullptr) break;
            pause();
        }
        return nullptr;
    }

    // The same, made if need be. Precondition: the commit lock is held.
    template <class Make>
    [[nodiscard]] std::shared_ptr<const Record> demand(Make&& make) {
        if (!owned_) {
            owned_ = true;
            ahead_ = made_ahead;
            static_cast<void>(owner_.exchange(make(*latest())));
        }
        return owner_.load();
    }

    // Whether the latest version has an owner. Precondition: the commit lock is held.
    [[nodiscard]] bool is_owned() const noexcept { return owned_; }

    // Its owner; null where it was not made. Precondition: the commit lock is held.
    [[nodiscard]] std::shared_ptr<const Record> owner() const {
        return owned_ ? owner_.load() : nullptr;
    }

  private:
    template <class, class>
    friend class PinWord;

    // Branches, since an order that is not a constant costs as much as seq_cst always.
    // (1)
    void store(std::atomic<const Record*>& word, const Record* value) const noexcept {
        if (fence_.asymmetric())
            word.store(value, std::memory_order_release);
        else
            word.store(value, std::memory_order_seq_cst);
    }
    // (9)
    [[nodiscard]] const Record* load(const std::atomic<const Record*>& word) const noexcept {
        return fence_.asymmetric() ? word.load(std::memory_order_acquire)
                                   : word.load(std::memory_order_seq_cst);
    }

    // For so many commits after somebody has asked for an owner, they are made at once: a program
    // that takes snapshots all the time finds them made.
    static constexpr unsigned made_ahead = 32;
    static constexpr int enough_tries = 64;

    // Read by every pin, written by every commit; the owner's count is written by every snapshot.
    alignas(line_pair) std::atomic<const Record*> latest_{nullptr};
    AsymmetricFence fence_;
    alignas(line_pair) SharedCell<const Record> owner_;
    mutable std::atomic<bool> asked_{false}; // for an owner, since the last publication
    bool owned_ = false; // the latest version has an owner; guarded by the commit lock, like
    unsigned ahead_ = 0; // how many are still to be made with their versions
};

// The word through which one reader says which version it uses. Written by that reader alone.
template <class Record, class Policy>
class PinWord {
  public:
    using Source = Publication<Record, Policy>;

    // Idle is null where the fence is asymmetric, and this word's own address where it is not: so
    // a pin learns from one comparison that nothing is pinned and that the fast way is sound.
    explicit PinWord(const Source& source) noexcept : word_(idle(source)) {}

    [[nodiscard]] bool is_idle_and_asymmetric() const noexcept { return mine() == nullptr; }
    [[nodiscard]] bool is_idle() const noexcept {
        return mine() == nullptr || mine() == own_address();
    }

    // What this reader has pinned, null when nothing. For the reader itself.
    [[nodiscard]] const Record* own() const noexcept { return is_idle() ? nullptr : mine(); }

    // Effect: this word names the latest version, which cannot be freed until clear(). `guess`
    // spares looking which that is, if it is right: compared, never followed, so it may be null, or
    // the address of a record that was freed. Precondition: the fence is asymmetric.
    // *Progress* lock-free: repeats only where the guess is wrong, and then if a version was
    // published in between.
    [[nodiscard]] COWINDEX_INLINE const Record* pin(const Source& source,
                                                    const Record* guess) noexcept {
        const Record* const latest = settle<true>(source, guess);
        if (latest == guess) [[likely]]
            return latest;
        return pin_again<true>(source, latest);
    }

    // The same with a symmetric fence.
    [[nodiscard]] const Record* pin_portably(const Source& source) noexcept {
        return pin_again<false>(source, source.guess());
    }

    // Precondition: the fence is asymmetric.
    void clear() noexcept { clear_to(nullptr); }
    void clear(const Source& source) noexcept { clear_to(idle(source)); }

    // What the reader may be using. For the reclaimer, after the barrier: compare, never follow.
    [[nodiscard]] const Record* scan(const Source& source) const noexcept {
        // (9) Acquire: pairs with (6) and (8). (S)
        const Record* seen = source.load(word_);
        return seen == own_address() ? nullptr : seen;
    }

  private:
    // Stores `guess` and returns the latest version. If that is the guess, it cannot be missed.
    template <bool Asymmetric>
    [[nodiscard]] COWINDEX_INLINE const Record* settle(const Source& source,
                                                       const Record* guess) noexcept {
        Policy::sync_point(SyncPoint::pin_loaded);
        // (6) Release, not relaxed: the reclaimer that reads this value must see the reads made
        // under the pin that this word held before as finished. Pairs with (9). (S)
        word_.store(guess, Asymmetric ? std::memory_order_release : std::memory_order_seq_cst);
        AsymmetricFence::light();
        Policy::sync_point(SyncPoint::pin_stored);
        // (7) Acquire: pairs with (1). (S) If this reads the address that was stored, the store (6)
        // came before the next publication, so whoever reclaims after that one sees it. It does not
        // matter whether that address meant this version when it was guessed.
        return source.latest_.load(Asymmetric ? std::memory_order_acquire
                                              : std::memory_order_seq_cst);
    }

    // Kept out of the way of pin(), which is inlined wherever somebody reads.
    template <bool Asymmetric>
    [[nodiscard]] COWINDEX_COLD const Record* pin_again(const Source& source,
                                                        const Record* guess) noexcept {
        for (;;) {
            const Record* const latest = settle<Asymmetric>(source, guess);
            if (latest == guess) return latest;
            guess = latest;
        }
    }

    void clear_to(const Record* idle) noexcept {
        Policy::sync_point(SyncPoint::unpin);
        // (8) Release: pairs with (9); without it the shards could be freed before the last reads
        // of them are done.
        word_.store(idle, std::memory_order_release);
    }

    [[nodiscard]] const Record* mine() const noexcept {
        return word_.load(std::memory_order_relaxed); // (17) Relaxed: its own store
    }
    [[nodiscard]] const Record* own_address() const noexcept {
        return reinterpret_cast<const Record*>(this);
    }
    [[nodiscard]] const Record* idle(const Source& source) const noexcept {
        return source.fence().asymmetric() ? nullptr : own_address();
    }

    std::atomic<const Record*> word_;
};

// Where something lies, a reader's slot, that threads borrow in turns. Who takes it out, or finds
// nothing there, has the place alone until put().
template <class T>
class LendingPlace {
  public:
    // Hints, soon out of date.
    [[nodiscard]] bool is_taken() const noexcept { return glance() == taken(); }
    [[nodiscard]] bool holds() const noexcept {
        T* const found = glance();
        return found != nullptr && found != taken();
    }

    // Effect: where this returns true, the caller has the place, and in `found` what lay there,
    // null for nothing. Where it returns false, another has it.
    [[nodiscard]] bool take(T*& found) noexcept {
        // (19) Acquire: pairs with (20). Whoever had it last is done with it, pins and all; and
        // what was written before he got it under the lock, records in place, is seen from here as
        // well.
        found = word_.exchange(taken(), std::memory_order_acquire);
        return found != taken();
    }

    // By who has the place.
    void put(T* object) noexcept {
        // (20) Release: pairs with (19).
        word_.store(object, std::memory_order_release);
    }

    // Effect: nothing lies here any more. Returns what did; null where nothing did, or somebody has
    // the place.
    [[nodiscard]] T* take_back() noexcept {
        T* found = glance();
        if (found == nullptr || found == taken()) return nullptr;
        // (19) Acquire: as above; the caller may free what a pin would have kept.
        const bool mine = word_.compare_exchange_strong(found, nullptr, std::memory_order_acquire);
        return mine ? found : nullptr;
    }

  private:
    [[nodiscard]] T* glance() const noexcept {
        return word_.load(std::memory_order_relaxed); // (21) Relaxed: (19) decides
    }
    [[nodiscard]] T* taken() const noexcept {
        return reinterpret_cast<T*>(const_cast<LendingPlace*>(this)); // compared, never followed
    }

    std::atomic<T*> word_{nullptr};
};

// How far the last owners of a version record have come in letting go of it.
class OwnerState {
  public:
    // By the control block: the last shared_ptr is gone, the record's version may be dropped.
    void expire() noexcept {
        // (10) Release: pairs with (12); the owners' reads are finished.
        expired_.store(true, std::memory_order_release);
    }

    // By the control block: its memory is no longer used; no weak_ptr is left. Returns true when
    // the index is closed, so that the caller must report the death itself.
    [[nodiscard]] bool release() noexcept {
        // (11) Release: pairs with (12), as (10). Acquire: pairs with (13), so that the closed
        // index is seen.
        return (end_.fetch_or(released, std::memory_order_acq_rel) & orphaned) != 0;
    }

    [[nodiscard]] bool is_expired() const noexcept {
        return expired_.load(std::memory_order_acquire); // (12) Acquire: pairs with (10)
    }
    [[nodiscard]] bool is_released() const noexcept {
        // (12) Acquire: pairs with (11); the memory may be used again.
        return (end_.load(std::memory_order_acquire) & released) != 0;
    }

    // By teardown. Returns true when the record was released before, so that nobody will report it.
    [[nodiscard]] bool orphan() noexcept {
        // (13) Release: pairs with (11). Acquire: pairs with (11) of a release that came first.
        return (end_.fetch_or(orphaned, std::memory_order_acq_rel) & released) != 0;
    }

    // For a record that gets its first owner. (14) Relaxed: former ones are known to be gone by
    // (12); the new one is given away under the commit lock or through the shared_ptr's cell.
    void reset() noexcept {
        expired_.store(false, std::memory_order_relaxed);
        end_.store(0, std::memory_order_relaxed);
    }

  private:
    static constexpr std::uint8_t released = 1;
    static constexpr std::uint8_t orphaned = 2;

    // As after the last owner, before there was a first.
    std::atomic<bool> expired_{true};
    std::atomic<std::uint8_t> end_{released};
};

// Counts those who keep something alive. Reaching zero is seen by exactly one of them.
class UserCount {
  public:
    explicit UserCount(std::uint64_t initial) noexcept : count_(initial) {}

    // (15) Relaxed: whoever adds holds a count already.
    void add() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }

    // Returns true for the last. (16) Release: what this user did; acquire: what all others did.
    [[nodiscard]] bool drop() noexcept {
        return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
    }

  private:
    std::atomic<std::uint64_t> count_;
};

} // namespace cowindex::detail
