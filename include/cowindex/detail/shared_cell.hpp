// A shared_ptr that many threads may load while one replaces it.
//
// The standard's own type where it is sound. It is not: in libc++ (there is none), under
// ThreadSanitizer and on weakly ordered processors with libstdc++, whose load() releases its lock
// bit with a relaxed store, so that a reader's copy may race with the next writer's swap.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <version>

#if defined(__SANITIZE_THREAD__)
#define COWINDEX_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COWINDEX_THREAD_SANITIZER 1
#endif
#endif

#if defined(__GLIBCXX__) && !(defined(__x86_64__) || defined(__i386__) || defined(__s390x__))
#define COWINDEX_WEAK_LIBSTDCXX 1
#endif

#if defined(__cpp_lib_atomic_shared_ptr) && !defined(COWINDEX_THREAD_SANITIZER) && \
    !defined(COWINDEX_WEAK_LIBSTDCXX) && !defined(COWINDEX_SHARED_CELL_STANDIN)
#define COWINDEX_STANDARD_SHARED_CELL 1
#endif

namespace cowindex::detail {

// A lock bit around a shared_ptr, held for a copy or a swap. *Progress* blocking.
template <class T>
class LockedSharedCell {
  public:
    [[nodiscard]] std::shared_ptr<T> load() const {
        lock();
        std::shared_ptr<T> copy = value_;
        unlock();
        return copy;
    }

    [[nodiscard]] std::shared_ptr<T> exchange(std::shared_ptr<T> value) {
        lock();
        value_.swap(value);
        unlock();
        return value;
    }

  private:
    void lock() const noexcept {
        // (1) Acquire: pairs with (2) of whoever held the bit before, whose copy or swap must have
        // happened before ours touches the same pointer and the same count.
        for (int spins = 0; locked_.exchange(true, std::memory_order_acquire); ++spins)
            if (spins >= 32) std::this_thread::yield();
    }

    // (2) Release: a relaxed store here is the bug described above.
    void unlock() const noexcept { locked_.store(false, std::memory_order_release); }

    mutable std::atomic<bool> locked_{false};
    std::shared_ptr<T> value_;
};

#if defined(COWINDEX_STANDARD_SHARED_CELL)

template <class T>
class StandardSharedCell {
  public:
    // (3) Acquire: pairs with (4), so that the pointee is seen as it was published.
    [[nodiscard]] std::shared_ptr<T> load() const { return value_.load(std::memory_order_acquire); }

    // (4) Release publishes the pointee; acquire, because the caller becomes owner of the old one.
    [[nodiscard]] std::shared_ptr<T> exchange(std::shared_ptr<T> value) {
        return value_.exchange(std::move(value), std::memory_order_acq_rel);
    }

  private:
    std::atomic<std::shared_ptr<T>> value_;
};

template <class T>
using SharedCell = StandardSharedCell<T>;
#else
template <class T>
using SharedCell = LockedSharedCell<T>;
#endif

} // namespace cowindex::detail
