// How long single operations take, for percentiles: a clock that costs little, and a histogram that
// never allocates while it measures.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include <benchmark/benchmark.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace benchmarks {

// Durations in nanoseconds, less what reading the clock twice costs by itself.
class Clock {
  public:
    using Ticks = std::uint64_t;

    Clock() {
#if defined(__x86_64__)
        const auto start = std::chrono::steady_clock::now();
        const Ticks first = now();
        while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(20)) {
        }
        const Ticks last = now();
        const std::chrono::duration<double, std::nano> passed =
            std::chrono::steady_clock::now() - start;
        ns_per_tick_ = passed.count() / static_cast<double>(last - first);
#endif
        overhead_ = ~Ticks{0};
        for (int i = 0; i < 1000; ++i) {
            const Ticks start_ticks = now();
            overhead_ = std::min(overhead_, now() - start_ticks);
        }
    }

    // Neither what comes before nor what comes after overlaps with it.
    static Ticks now() {
#if defined(__x86_64__)
        _mm_lfence();
        const Ticks ticks = __rdtsc();
        _mm_lfence();
        return ticks;
#else
        return static_cast<Ticks>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
    }

    [[nodiscard]] double ns(Ticks from, Ticks to) const {
        const Ticks passed = to - from;
        return passed <= overhead_ ? 0 : static_cast<double>(passed - overhead_) * ns_per_tick_;
    }

    static const Clock& get() {
        static const Clock clock;
        return clock;
    }

  private:
    double ns_per_tick_ = 1;
    Ticks overhead_ = 0;
};

// Log-linear, in tenths of a nanosecond: 64 buckets for each power of two, so within 1.6 %.
class Tail {
  public:
    void add(double ns) {
        const auto value = static_cast<std::uint64_t>(ns * 10);
        ++buckets_[index_of(value)];
        ++count_;
        max_ = std::max(max_, ns);
    }

    [[nodiscard]] double percentile(double p) const {
        const auto wanted = static_cast<std::uint64_t>(p / 100 * static_cast<double>(count_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen > wanted) return std::min(max_, static_cast<double>(value_of(i)) / 10);
        }
        return max_;
    }

    // As counters named `<prefix>_p50` and so on, in nanoseconds.
    void report(benchmark::State& state, const std::string& prefix) const {
        state.counters[prefix + "_p50"] = percentile(50);
        state.counters[prefix + "_p99"] = percentile(99);
        state.counters[prefix + "_p99.9"] = percentile(99.9);
        state.counters[prefix + "_max"] = max_;
    }

    [[nodiscard]] std::uint64_t count() const { return count_; }

  private:
    static constexpr unsigned fine_bits = 6;
    static constexpr std::uint64_t fine = std::uint64_t{1} << fine_bits;

    static std::size_t index_of(std::uint64_t value) {
        if (value < fine) return static_cast<std::size_t>(value);
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - fine_bits - 1;
        return static_cast<std::size_t>((shift + 1) * fine + ((value >> shift) - fine));
    }
    static std::uint64_t value_of(std::size_t index) {
        if (index < fine) return index;
        const std::uint64_t shift = index / fine - 1;
        return (fine + index % fine) << shift;
    }

    std::array<std::uint64_t, (64 - fine_bits + 1) * fine> buckets_{};
    std::uint64_t count_ = 0;
    double max_ = 0;
};

} // namespace benchmarks
