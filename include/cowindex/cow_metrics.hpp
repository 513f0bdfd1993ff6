// Counters and gauges. All atomics here are relaxed: they count, they order nothing.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <cowindex/version.hpp>

namespace cowindex {

namespace detail {

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

    // Callers take turns by other means (one thread, or a lock): no locked instruction.
    void add_alone(std::uint64_t n = 1) noexcept { set(read() + n); }
    void subtract_alone(std::uint64_t n = 1) noexcept { set(read() - n); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    void raise_alone(std::uint64_t n) noexcept {
        if (n > read()) set(n);
    }

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

} // namespace detail

/// Collects what an index does: nothing but atomic counters. An index owns one and fills in the
/// gauges that only it knows; a program may also use one on its own.
///
/// *Thread safety* every member but record_turn(), from any thread. *Progress* wait-free. *Allocation* none.
class CowMetrics {
  public:
    /// A plain copy of everything, taken counter by counter (not at one instant).
    struct Values {
        // Gauges of the index; zero in a collector used on its own.
        std::uint64_t active_readers = 0;  ///< pinned readers and live snapshots
        std::uint64_t pending_writers = 0; ///< writer objects alive
        std::uint64_t memory_usage_bytes = 0;
        std::uint64_t peak_memory_bytes = 0;
        std::uint64_t retained_bytes = 0;    ///< held only by versions that are not the latest
        std::uint64_t retained_versions = 0; ///< how many of those there are
        Version oldest_pinned_version = 0;   ///< the latest version where nothing older is held
        std::uint64_t uncommitted_bytes = 0; ///< in open writers

        // Counters, exact.
        std::uint64_t clone_operations = 0; ///< shards cloned
        std::uint64_t bytes_cloned = 0;     ///< bytes of the shards that were cloned
        std::uint64_t commits = 0;          ///< versions published
        std::uint64_t conflicts = 0;        ///< commits refused because another came first
        std::uint64_t discards = 0;         ///< writers dropped or discarded with edits in them
        std::uint64_t retries = 0;          ///< runs of update() after a conflict
        std::uint64_t reclaimed_bytes = 0;  ///< bytes of old versions freed

        // Means over the sampled operations; zero when nothing was sampled.
        std::chrono::nanoseconds average_clone_time{};
        std::chrono::nanoseconds average_commit_time{};
    };

    void record_clones(std::uint64_t shards, std::uint64_t bytes) noexcept {
        clone_operations_.add(shards);
        bytes_cloned_.add(bytes);
    }
    void record_clone_time(std::chrono::nanoseconds time) noexcept { clone_time_.add(time); }
    void record_commits(std::uint64_t versions) noexcept { commits_.add(versions); }
    void record_commit_time(std::chrono::nanoseconds time) noexcept { commit_time_.add(time); }
    void record_conflict() noexcept { conflicts_.add(); }
    void record_discard() noexcept { discards_.add(); }
    void record_retry() noexcept { retries_.add(); }
    void record_reclaimed(std::uint64_t bytes) noexcept { reclaimed_bytes_.add(bytes); }

    /// What a commit counts, in one call without locked instructions. Callers take turns, with each
    /// other and with record_clones(), record_commits() and record_reclaimed().
    struct Turn {
        std::uint64_t commits = 0;
        std::uint64_t shards_cloned = 0;
        std::uint64_t bytes_cloned = 0;
        std::uint64_t bytes_reclaimed = 0;
    };
    void record_turn(const Turn& turn) noexcept {
        commits_.add_alone(turn.commits);
        clone_operations_.add_alone(turn.shards_cloned);
        bytes_cloned_.add_alone(turn.bytes_cloned);
        reclaimed_bytes_.add_alone(turn.bytes_reclaimed);
    }

    /// *Returns* the counters and means; the gauges are zero.
    [[nodiscard]] Values values() const noexcept {
        Values v;
        v.clone_operations = clone_operations_.read();
        v.bytes_cloned = bytes_cloned_.read();
        v.commits = commits_.read();
        v.conflicts = conflicts_.read();
        v.discards = discards_.read();
        v.retries = retries_.read();
        v.reclaimed_bytes = reclaimed_bytes_.read();
        v.average_clone_time = clone_time_.mean();
        v.average_commit_time = commit_time_.mean();
        return v;
    }

  private:
    class MeanTime {
      public:
        void add(std::chrono::nanoseconds time) noexcept {
            total_.add(static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)));
            samples_.add();
        }
        [[nodiscard]] std::chrono::nanoseconds mean() const noexcept {
            const std::uint64_t samples = samples_.read();
            return std::chrono::nanoseconds(
                samples == 0 ? 0 : static_cast<std::int64_t>(total_.read() / samples));
        }

      private:
        detail::Counter total_;
        detail::Counter samples_;
    };

    detail::Counter clone_operations_;
    detail::Counter bytes_cloned_;
    detail::Counter commits_;
    detail::Counter conflicts_;
    detail::Counter discards_;
    detail::Counter retries_;
    detail::Counter reclaimed_bytes_;
    MeanTime clone_time_;
    MeanTime commit_time_;
};

} // namespace cowindex
