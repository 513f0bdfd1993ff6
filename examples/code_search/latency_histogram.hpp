#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace code_search {

/// Counts durations in buckets no wider than a thirty-second of their value, so that a percentile
/// of any number of them takes 15 kB.
class LatencyHistogram {
  public:
    void add(std::chrono::nanoseconds duration) {
        ++counts_[bucket_of(static_cast<std::uint64_t>(duration.count()))];
    }

    void add(const LatencyHistogram& other) {
        for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
            counts_[bucket] += other.counts_[bucket];
        }
    }

    std::uint64_t count() const {
        std::uint64_t sum = 0;
        for (const std::uint64_t each : counts_) sum += each;
        return sum;
    }

    /// The duration that `part` (0 to 1) of all durations do not exceed; zero if there are none.
    std::chrono::nanoseconds percentile(double part) const {
        const auto rank = static_cast<std::uint64_t>(part * static_cast<double>(count()));
        std::uint64_t below = 0;
        for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
            below += counts_[bucket];
            if (below > rank) return std::chrono::nanoseconds(upper_bound_of(bucket));
        }
        return {};
    }

  private:
    static constexpr std::size_t half = 32;

    static std::size_t bucket_of(std::uint64_t value) {
        const int width = 64 - std::countl_zero(value);
        const int shift = width > 6 ? width - 6 : 0;
        return static_cast<std::size_t>(shift) * half + static_cast<std::size_t>(value >> shift);
    }

    static std::uint64_t upper_bound_of(std::size_t bucket) {
        if (bucket < 2 * half) return bucket;
        const std::size_t shift = bucket / half - 1;
        return ((std::uint64_t{bucket} - shift * half + 1) << shift) - 1;
    }

    std::array<std::uint64_t, 58 * half + 2 * half> counts_{};
};

} // namespace code_search
