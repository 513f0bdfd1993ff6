// The lock around the commit section: spin with growing pauses, yield a few times, then block.
//
// The section is shorter than a context switch. Blocking at once made two writers slower than one
// (0.6x); spinning for ever would burn a core when the holder is descheduled. The pauses grow
// because each look at the lock takes its line away from the holder; and while one writer pauses,
// the other may commit several times with everything at hand.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

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

// Tries up to so many times, with growing pauses.
template <class Try>
[[nodiscard]] bool spin_for(int tries, Try&& try_lock) {
    static constexpr int max_pauses = 32; // about a microsecond
    int pauses = 1;
    for (int i = 0; i < tries; ++i) {
        if (try_lock()) return true;
        for (int j = 0; j < pauses; ++j) pause();
        pauses = std::min(pauses * 2, max_pauses);
    }
    return false;
}

// The same for long, then yielding. False: it was in vain, it is time to block.
template <class Try>
[[nodiscard]] bool spin_and_yield(Try&& try_lock) {
    static constexpr int spins = 64;
    static constexpr int yields = 64;
    if (spin_for(spins, try_lock)) return true;
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
    void lock() {
        if (!spin_and_yield([this] { return mutex_.try_lock(); })) mutex_.lock();
    }
    void unlock() { mutex_.unlock(); }

  private:
    Mutex mutex_;
};

// With std::mutex it is a flag, taken by one exchange and given back by a plain store: less than
// half the price of locking and unlocking the mutex. That is for threads that were in vain here for
// long: they sleep in it, but for the one that has it, which goes on looking now and then.
template <>
class CommitLock<std::mutex> {
  public:
    void lock() {
        if (!try_lock()) [[unlikely]]
            lock_patiently();
    }
    // (2) Release: pairs with (1).
    void unlock() noexcept { held_.store(false, std::memory_order_release); }

  private:
    // (1) Acquire: pairs with (2); what the holder before has done is seen.
    [[nodiscard]] bool try_lock() noexcept {
        return !held_.exchange(true, std::memory_order_acquire);
    }

    COWINDEX_COLD void lock_patiently() {
        static constexpr std::chrono::microseconds between_looks{50};
        static constexpr int looks = 8; // some two microseconds
        const auto look = [this] { return try_lock(); };
        if (spin_and_yield(look)) return;
        const std::lock_guard<std::mutex> first_in_line(waiters_);
        while (!spin_for(looks, look)) std::this_thread::sleep_for(between_looks);
    }

    std::atomic<bool> held_{false};
    std::mutex waiters_;
};

// Holds a CommitLock to the end of a scope; may let go of it and take it back.
template <class Lockable>
class Guard {
  public:
    explicit Guard(Lockable& lock) : lock_(lock) { lock_.lock(); }
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
