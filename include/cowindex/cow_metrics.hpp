// Counters, gauges and durations of what an index does.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <cowindex/detail/counter.hpp>
#include <cowindex/detail/latency_histogram.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

/// Collects what an index does: nothing but atomic counters and fixed-size histograms. An index
/// owns one and fills in the gauges that only it knows; a program may also use one on its own.
///
/// Nothing is ever reset, so that several observers do not disturb each other: `delta()` of two
/// readings tells what happened between them.
///
/// *Thread safety* every member but record_turn(), from any thread. *Progress* reading is
/// wait-free, recording is too, but for durations: lock-free. *Allocation* none.
class CowMetrics {
  public:
    /// A plain copy of everything, taken counter by counter (not at one instant). All zero at
    /// first.
    struct Values {
        // Gauges of the index; zero in a collector used on its own.
        std::uint64_t active_readers = 0;     ///< pinned readers and live snapshots
        std::uint64_t pending_writers = 0;    ///< writer objects alive
        std::uint64_t memory_usage_bytes = 0; ///< bytes that the index has allocated
        std::uint64_t peak_memory_bytes = 0;  ///< the most bytes seen
        std::uint64_t retained_bytes = 0;     ///< bytes held only by versions not the latest
        std::uint64_t retained_versions = 0;  ///< how many of those there are
        Version oldest_pinned_version = 0;    ///< the latest version where nothing older is held
        std::uint64_t uncommitted_bytes = 0;  ///< bytes in open writers

        // Counters, exact.
        std::uint64_t clone_operations = 0; ///< shards cloned
        std::uint64_t bytes_cloned = 0;     ///< bytes of the shards that were cloned
        std::uint64_t commits = 0;          ///< versions published
        std::uint64_t conflicts = 0;        ///< commits refused because another came first
        std::uint64_t discards = 0;         ///< writers dropped or discarded with edits in them
        std::uint64_t retries = 0;          ///< runs of update() after a conflict
        std::uint64_t reclaimed_bytes = 0;  ///< bytes of old versions freed

        // Durations of the sampled operations; zero when nothing was sampled. Percentiles are off
        // by at most a thirty-second, the rest is exact. The two sums are counters.
        std::uint64_t clone_time_samples = 0;          ///< clones that were timed
        std::chrono::nanoseconds clone_time_total{};   ///< of the timed clones together
        std::chrono::nanoseconds average_clone_time{}; ///< of one shard
        std::chrono::nanoseconds clone_time_min{};     ///< the shortest
        std::chrono::nanoseconds clone_time_p50{};     ///< half took no longer
        std::chrono::nanoseconds clone_time_p90{};     ///< nine in ten took no longer
        std::chrono::nanoseconds clone_time_p99{};     ///< ninety-nine in a hundred took no longer
        std::chrono::nanoseconds clone_time_max{};     ///< the longest

        std::uint64_t commit_time_samples = 0;          ///< commits that were timed
        std::chrono::nanoseconds commit_time_total{};   ///< of the timed commits together
        std::chrono::nanoseconds average_commit_time{}; ///< of one commit
        std::chrono::nanoseconds commit_time_min{};     ///< the shortest
        std::chrono::nanoseconds commit_time_p50{};     ///< half took no longer
        std::chrono::nanoseconds commit_time_p90{};     ///< nine in ten took no longer
        std::chrono::nanoseconds commit_time_p99{};     ///< ninety-nine in a hundred took no longer
        std::chrono::nanoseconds commit_time_max{};     ///< the longest
    };

    /// Counts clones: how many shards, and their bytes together.
    void record_clones(std::uint64_t shards, std::uint64_t bytes) noexcept {
        clone_operations_.add(shards);
        bytes_cloned_.add(bytes);
    }
    /// Adds a sample: the time that it took to clone one shard. A negative one counts as zero.
    void record_clone_time(std::chrono::nanoseconds time) noexcept { clone_time_.record(time); }
    /// Counts published versions.
    void record_commits(std::uint64_t versions) noexcept { commits_.add(versions); }
    /// Adds a sample: the time that one commit took. A negative one counts as zero.
    void record_commit_time(std::chrono::nanoseconds time) noexcept { commit_time_.record(time); }
    /// Counts a commit that was refused because another came first.
    void record_conflict() noexcept { conflicts_.add(); }
    /// Counts a writer whose edits were given up.
    void record_discard() noexcept { discards_.add(); }
    /// Counts a further run of an update after a conflict.
    void record_retry() noexcept { retries_.add(); }
    /// Counts bytes of old versions that were freed.
    void record_reclaimed(std::uint64_t bytes) noexcept { reclaimed_bytes_.add(bytes); }

    /// What a commit counts.
    struct Turn {
        std::uint64_t commits = 0;         ///< versions published
        std::uint64_t shards_cloned = 0;   ///< shards
        std::uint64_t bytes_cloned = 0;    ///< bytes of those shards
        std::uint64_t bytes_reclaimed = 0; ///< bytes of old versions freed
    };
    /// Counts a commit in one call without locked instructions. Callers take turns, with each other
    /// and with record_clones(), record_commits() and record_reclaimed().
    void record_turn(const Turn& turn) noexcept {
        commits_.add_alone(turn.commits);
        clone_operations_.add_alone(turn.shards_cloned);
        bytes_cloned_.add_alone(turn.bytes_cloned);
        reclaimed_bytes_.add_alone(turn.bytes_reclaimed);
    }

    /// *Returns* the counters and durations; the gauges are zero.
    [[nodiscard]] Values values() const noexcept {
        Values v = counts();
        read_times(v);
        return v;
    }

    /// *Returns* the counters alone: a few nanoseconds, where the histograms take some
    /// microseconds.
    [[nodiscard]] Values counts() const noexcept {
        Values v;
        v.clone_operations = clone_operations_.read();
        v.bytes_cloned = bytes_cloned_.read();
        v.commits = commits_.read();
        v.conflicts = conflicts_.read();
        v.discards = discards_.read();
        v.retries = retries_.read();
        v.reclaimed_bytes = reclaimed_bytes_.read();
        return v;
    }

    /// Effect: fills in the durations and their samples.
    void read_times(Values& v) const noexcept {
        read_time(clone_time_, v.clone_time_samples, v.clone_time_total, v.average_clone_time,
                  v.clone_time_min, v.clone_time_p50, v.clone_time_p90, v.clone_time_p99,
                  v.clone_time_max);
        read_time(commit_time_, v.commit_time_samples, v.commit_time_total, v.average_commit_time,
                  v.commit_time_min, v.commit_time_p50, v.commit_time_p90, v.commit_time_p99,
                  v.commit_time_max);
    }

  private:
    using Time = std::chrono::nanoseconds;

    static void read_time(const detail::LatencyHistogram& histogram, std::uint64_t& samples,
                          Time& total, Time& average, Time& min, Time& p50, Time& p90, Time& p99,
                          Time& max) noexcept {
        const auto reading = histogram.read(); // once, so that its percentiles agree
        samples = reading.count();
        total = reading.total();
        average = reading.mean();
        min = reading.min();
        p50 = reading.percentile(0.5);
        p90 = reading.percentile(0.9);
        p99 = reading.percentile(0.99);
        max = reading.max();
    }

    detail::Counter clone_operations_;
    detail::Counter bytes_cloned_;
    detail::Counter commits_;
    detail::Counter conflicts_;
    detail::Counter discards_;
    detail::Counter retries_;
    detail::Counter reclaimed_bytes_;
    detail::LatencyHistogram clone_time_;
    detail::LatencyHistogram commit_time_;
};

/// *Returns* what happened between two readings of one index: counters are subtracted, and the
/// averages are those of the time between. Gauges, minima, percentiles and maxima are those of
/// `newer`: they say how things are by then, not what changed. A counter that is lower in `newer`
/// (the readings were swapped, or are of two indexes) gives zero.
[[nodiscard]] inline CowMetrics::Values delta(const CowMetrics::Values& newer,
                                              const CowMetrics::Values& older) noexcept {
    using Values = CowMetrics::Values;
    Values between = newer;
    for (std::uint64_t Values::* counter :
         {&Values::clone_operations, &Values::bytes_cloned, &Values::commits, &Values::conflicts,
          &Values::discards, &Values::retries, &Values::reclaimed_bytes,
          &Values::clone_time_samples, &Values::commit_time_samples})
        between.*counter = newer.*counter - std::min(newer.*counter, older.*counter);
    for (std::chrono::nanoseconds Values::* total :
         {&Values::clone_time_total, &Values::commit_time_total})
        between.*total = newer.*total - std::min(newer.*total, older.*total);

    const auto average = [](std::chrono::nanoseconds total, std::uint64_t samples) {
        return samples == 0 ? std::chrono::nanoseconds(0)
                            : total / static_cast<std::int64_t>(samples);
    };
    between.average_clone_time = average(between.clone_time_total, between.clone_time_samples);
    between.average_commit_time = average(between.commit_time_total, between.commit_time_samples);
    return between;
}

} // namespace cowindex
