// Durations by the thousand in a few kilobytes: how many fell where.
//
// The buckets are exact up to 32 ns; above, each doubling of the duration is divided into 16 of
// equal width, as in Gil Tene's HdrHistogram. So a bucket is at most a sixteenth of its value wide,
// and its middle is off by at most a thirty-second.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <cowindex/detail/counter.hpp>

namespace cowindex::detail {

// Any number of threads may record, any number may read meanwhile. Nothing is ever reset.
class LatencyHistogram {
    static constexpr unsigned part_bits = 4; // of a doubling
    static constexpr std::size_t parts = std::size_t{1} << part_bits;
    // From 18 minutes on durations share the last bucket, which answers with the maximum.
    static constexpr unsigned longest_bits = 40;
    static constexpr std::size_t bucket_count = parts * (longest_bits - part_bits + 1) + 1;

  public:
    // What was recorded, copied bucket by bucket: percentiles of one reading agree with each other.
    class Reading {
      public:
        [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
        [[nodiscard]] std::chrono::nanoseconds total() const noexcept {
            return nanoseconds(total_);
        }

        // Exact. Zero where nothing was recorded, like all that follows.
        [[nodiscard]] std::chrono::nanoseconds min() const noexcept { return nanoseconds(min_); }
        [[nodiscard]] std::chrono::nanoseconds max() const noexcept { return nanoseconds(max_); }

        // Exact, rounded down.
        [[nodiscard]] std::chrono::nanoseconds mean() const noexcept {
            return nanoseconds(count_ == 0 ? 0 : std::clamp(total_ / count_, min_, max_));
        }

        // The least duration that `part` (0 to 1) of all do not exceed, off by at most a
        // thirty-second of it.
        [[nodiscard]] std::chrono::nanoseconds percentile(double part) const noexcept {
            if (count_ == 0) return {};
            const double wanted = std::ceil(part * static_cast<double>(count_));
            const auto rank = std::max(static_cast<std::uint64_t>(wanted), std::uint64_t{1});
            std::size_t bucket = lowest_;
            for (std::uint64_t below = buckets_[bucket]; below < rank && bucket < highest_;)
                below += buckets_[++bucket];
            return nanoseconds(std::clamp(middle_of(bucket), min_, max_));
        }

      private:
        friend class LatencyHistogram;

        static std::chrono::nanoseconds nanoseconds(std::uint64_t n) noexcept {
            return std::chrono::nanoseconds(static_cast<std::int64_t>(n));
        }

        std::array<std::uint64_t, bucket_count> buckets_;
        std::size_t lowest_ = 0; // of the buckets that are not empty
        std::size_t highest_ = 0;
        std::uint64_t count_ = 0;
        std::uint64_t total_ = 0;
        std::uint64_t min_ = 0;
        std::uint64_t max_ = 0;
    };

    // A clock that went back counts as no time. Lock-free; allocates nothing.
    void record(std::chrono::nanoseconds time) noexcept {
        const auto n = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
        max_.raise(n);
        inverted_min_.raise(~n);
        buckets_[bucket_of(n)].add();
        total_.add(n);
    }

    // Wait-free.
    [[nodiscard]] Reading read() const noexcept {
        Reading reading;
        for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
            const std::uint64_t n = buckets_[bucket].read();
            reading.buckets_[bucket] = n;
            if (n == 0) continue;
            if (reading.count_ == 0) reading.lowest_ = bucket;
            reading.highest_ = bucket;
            reading.count_ += n;
        }
        if (reading.count_ == 0) return reading;
        reading.total_ = total_.read();
        const std::size_t lowest = reading.lowest_;
        const std::size_t highest = reading.highest_;
        // They lie in these buckets, unless somebody is recording just now.
        reading.min_ = std::clamp(~inverted_min_.read(), first_of(lowest), last_of(lowest));
        reading.max_ = std::clamp(max_.read(), first_of(highest), last_of(highest));
        return reading;
    }

  private:
    static constexpr std::size_t bucket_of(std::uint64_t n) noexcept {
        if (n >> longest_bits != 0) return bucket_count - 1;
        const auto width = static_cast<unsigned>(std::bit_width(n));
        const unsigned shift = width > part_bits + 1 ? width - part_bits - 1 : 0;
        return shift * parts + static_cast<std::size_t>(n >> shift);
    }
    static constexpr unsigned shift_of(std::size_t bucket) noexcept {
        return bucket < 2 * parts ? 0 : static_cast<unsigned>(bucket / parts - 1);
    }
    static constexpr std::uint64_t first_of(std::size_t bucket) noexcept {
        return std::uint64_t{bucket - shift_of(bucket) * parts} << shift_of(bucket);
    }
    static constexpr std::uint64_t last_of(std::size_t bucket) noexcept {
        return bucket == bucket_count - 1 ? ~std::uint64_t{0} : first_of(bucket + 1) - 1;
    }
    static constexpr std::uint64_t middle_of(std::size_t bucket) noexcept {
        return bucket == bucket_count - 1
                   ? last_of(bucket)
                   : first_of(bucket) + (last_of(bucket) - first_of(bucket)) / 2;
    }

    std::array<Counter, bucket_count> buckets_;
    Counter total_;
    Counter max_;
    Counter inverted_min_; // raised like a maximum, so that zero means none
};

} // namespace cowindex::detail
