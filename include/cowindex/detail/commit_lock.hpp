// The lock around the commit section: spin, yield a few times, then block.
//
// The section is shorter than a context switch. Blocking at once made two writers slower than one
// (0.6x); spinning for ever would burn a core when the holder is descheduled.
//
// Whoever looks at the lock takes its line away from the holder, and whoever gets it after another
// has to fetch all that the section touches, some ten lines, from the other's processor. So writers
// that want it all the time have it in long turns. Who sees that it was let go of and taken again
// between two looks stays away for 15 microseconds, in which the other commits a few dozen times
// with everything at hand. Measured with two writers: 1.1 to 1.8 times as many commits where the
// processors share a cache, 1.5 to 3 times where they do not; half of the commits take a fifth of
// the time, one in a hundred 16 microseconds instead of 2. A lock that is wanted now and then is
// free one look later.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>

#include <cowindex/detail/counter.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

// Tells the processor that this is a spin loop.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// What a thread does that sees others take the lock one after another: it is in a hurry and goes on
// looking, or it leaves them a turn.
enum class Crowd : std::uint8_t { hurry, leave_turns };

// Looks at the lock again and again, with pauses in between that grow, for so many in all. `takes`
// says how often it was taken. False: it was in vain.
template <class Try>
[[nodiscard]] bool spin_for(int most, Crowd crowd, const Counter& takes, Try&& try_lock) {
    static constexpr int first_look = 8; // a fourth of a microsecond, about two sections
    static constexpr int longest = 32;
    static constexpr std::chrono::microseconds turn{15};
    static constexpr int turn_pauses = 512; // that it counts for

    int pauses = crowd == Crowd::hurry ? 1 : first_look;
    bool changes_hands = false; // seen at the last look
    for (int all = 0; all < most;) {
        const std::uint64_t before = takes.read();
        const bool leave = changes_hands && crowd == Crowd::leave_turns;
        if (leave) {
            const auto end = std::chrono::steady_clock::now() + turn; // a pause may be anything
            while (std::chrono::steady_clock::now() < end)
                for (int i = 0; i < first_look; ++i) pause();
            pauses = first_look;
            all += turn_pauses;
        } else {
            for (int i = 0; i < pauses; ++i) pause();
            all += pauses;
            pauses = std::min(pauses * 2, longest);
        }
        if (try_lock()) return true;
        changes_hands = !leave && takes.read() != before;
    }
    return false;
}

// The same for long, then yielding. False: it was in vain, it is time to block.
template <class Try>
[[nodiscard]] bool spin_and_yield(Crowd crowd, const Counter& takes, Try&& try_lock) {
    static constexpr int pauses = 2048; // some 60 microseconds
    static constexpr int yields = 64;
    if (spin_for(pauses, crowd, takes, try_lock)) return true;
    for (int i = 0; i < yields; ++i) {
        if (try_lock()) return true;
        std::this_thread::yield();
    }
    return false;
}

// With a mutex of the policy's own, that is what is locked.
template <class Mutex>
class CommitLock {
  public:
    void lock(Crowd crowd = Crowd::hurry) {
        const auto look = [this] { return mutex_.try_lock(); };
        if (!look() && !spin_and_yield(crowd, takes_, look)) mutex_.lock();
        takes_.add_alone();
    }
    void unlock() { mutex_.unlock(); }

  private:
    friend struct TestAccess;

    Mutex mutex_;
    Counter takes_; // how often it was taken; by the holder
};

// With std::mutex it is a flag, taken by one exchange and given back by a plain store: less than
// half the price of locking and unlocking the mutex. That is for threads that were in vain here for
// long: they sleep in it, but for the one that has it, which goes on looking now and then.
template <>
class CommitLock<std::mutex> {
  public:
    void lock(Crowd crowd = Crowd::hurry) {
        if (!try_lock()) [[unlikely]]
            lock_patiently(crowd);
        takes_.add_alone();
    }
    // (2) Release: pairs with (1).
    void unlock() noexcept { held_.store(false, std::memory_order_release); }

  private:
    friend struct TestAccess;

    // (1) Acquire: pairs with (2); what the holder before has done is seen.
    [[nodiscard]] bool try_lock() noexcept {
        return !held_.exchange(true, std::memory_order_acquire);
    }

    COWINDEX_COLD void lock_patiently(Crowd crowd) {
        static constexpr std::chrono::microseconds between_looks{50};
        static constexpr int pauses = 128; // some four microseconds
        const auto look = [this] { return try_lock(); };
        if (spin_and_yield(crowd, takes_, look)) return;
        const std::lock_guard<std::mutex> first_in_line(waiters_);
        while (!spin_for(pauses, Crowd::hurry, takes_, look))
            std::this_thread::sleep_for(between_looks);
    }

    std::atomic<bool> held_{false};
    Counter takes_; // how often it was taken; by the holder
    std::mutex waiters_;
};

// Holds a CommitLock to the end of a scope; may let go of it and take it back.
template <class Lockable>
class Guard {
  public:
    explicit Guard(Lockable& lock) : lock_(lock) { lock_.lock(); }
    Guard(Lockable& lock, Crowd crowd) : lock_(lock) { lock_.lock(crowd); }
    ~Guard() {
        if (held_) lock_.unlock();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    void unlock() {
        held_ = false;
        lock_.unlock();
    }
    void relock() {
        lock_.lock();
        held_ = true;
    }

  private:
    Lockable& lock_;
    bool held_ = true;
};

} // namespace cowindex::detail
