// Time: a clock cheap enough to stamp every commit, what is timed, and the ends of timeouts.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#if defined(__linux__)
#include <time.h>
#endif

namespace cowindex::detail {

// Monotonic, good to a few milliseconds, a fifth of the price of steady_clock. For ages.
[[nodiscard]] inline std::chrono::nanoseconds coarse_now() noexcept {
#if defined(__linux__)
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
#else
    return std::chrono::steady_clock::now().time_since_epoch();
#endif
}

// Says which operations are timed: the first, and then every so many.
class SampleTimer {
  public:
    [[nodiscard]] bool due(std::uint64_t every) noexcept {
        if (left_ > 0) {
            --left_;
            return false;
        }
        left_ = every - 1;
        return true;
    }

  private:
    std::uint64_t left_ = 0;
};

// The moment `timeout` from now, or the end of time where that is later.
[[nodiscard]] inline std::chrono::steady_clock::time_point deadline_after(
    std::chrono::nanoseconds timeout) noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point now = Clock::now();
    return timeout > Clock::time_point::max() - now ? Clock::time_point::max() : now + timeout;
}

// Calls record(duration) at the end of its scope with how long that took.
template <class Record>
class ScopeTime {
  public:
    explicit ScopeTime(Record record) : record_(std::move(record)) {}
    ~ScopeTime() { record_(std::chrono::steady_clock::now() - start_); }
    ScopeTime(const ScopeTime&) = delete;
    ScopeTime& operator=(const ScopeTime&) = delete;

  private:
    Record record_;
    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace cowindex::detail
