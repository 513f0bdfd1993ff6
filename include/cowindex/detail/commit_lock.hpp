// The lock around the commit section: spin with growing pauses, yield a few times, then block.
//
// The section is shorter than a context switch. Blocking at once made two writers slower than one
// (0.6x); spinning for ever would burn a core when the holder is descheduled. The pauses grow
// because each look at the lock takes its line away from the holder; and while one writer pauses,
// the other may commit several times with everything at hand.
#pragma once

#include <algorithm>
#include <thread>

namespace cowindex::detail {

// Tells the processor that this is a spin loop.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

template <class Mutex>
class CommitLock {
  public:
    void lock() {
        int pauses = 1;
        for (int i = 0; i < spins; ++i) {
            if (mutex_.try_lock()) return;
            for (int j = 0; j < pauses; ++j) pause();
            pauses = std::min(pauses * 2, max_pauses);
        }
        for (int i = 0; i < yields; ++i) {
            if (mutex_.try_lock()) return;
            std::this_thread::yield();
        }
        mutex_.lock();
    }
    void unlock() { mutex_.unlock(); }

  private:
    static constexpr int spins = 64;
    static constexpr int max_pauses = 32; // about a microsecond
    static constexpr int yields = 64;

    Mutex mutex_;
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
