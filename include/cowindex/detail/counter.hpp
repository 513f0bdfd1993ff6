// The number that everything countable is made of. Its atomic is relaxed: it counts, it orders
// nothing.
#pragma once

#include <atomic>
#include <cstdint>

namespace cowindex::detail {

// A number that any thread may read at any time. (1) Relaxed throughout: no other memory is
// published through it; a reader learns a recent value, never more.
class Counter {
  public:
    Counter() = default;
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    // Any number of threads may add.
    void add(std::uint64_t n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
    void subtract(std::uint64_t n = 1) noexcept { value_.fetch_sub(n, std::memory_order_relaxed); }
    // Lock-free: repeats only if another thread has changed the number meanwhile.
    void raise(std::uint64_t n) noexcept {
        std::uint64_t now = read();
        while (now < n && !value_.compare_exchange_weak(now, n, std::memory_order_relaxed)) {
        }
    }

    // Callers take turns by other means (one thread, or a lock): no locked instruction.
    void add_alone(std::uint64_t n = 1) noexcept { set(read() + n); }
    void subtract_alone(std::uint64_t n = 1) noexcept { set(read() - n); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }

    [[nodiscard]] std::uint64_t read() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

    std::uint64_t take_alone() noexcept {
        const std::uint64_t n = read();
        set(0);
        return n;
    }

  private:
    std::atomic<std::uint64_t> value_{0};
};

} // namespace cowindex::detail
