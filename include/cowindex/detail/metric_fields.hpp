// What the fields of CowMetrics::Values and MemoryStats are, for those who print them.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/memory.hpp>

namespace cowindex::detail {

// Gauges go up and down, counters only up.
enum class MetricKind : std::uint8_t { gauge, counter };
enum class MetricUnit : std::uint8_t { count, bytes };

struct MetricField {
    const char* name;
    std::uint64_t CowMetrics::Values::* value;
    MetricKind kind;
    MetricUnit unit;
    const char* series; // the name that Prometheus wants: units last, "_total" on counters
    const char* help;
};

// Everything but durations, in the order of declaration.
inline constexpr std::array<MetricField, 15> metric_fields{{
    {"active_readers", &CowMetrics::Values::active_readers, MetricKind::gauge, MetricUnit::count,
     "cowindex_active_readers", "Pinned readers and live snapshots."},
    {"pending_writers", &CowMetrics::Values::pending_writers, MetricKind::gauge, MetricUnit::count,
     "cowindex_pending_writers", "Writer objects alive."},
    {"memory_usage_bytes", &CowMetrics::Values::memory_usage_bytes, MetricKind::gauge,
     MetricUnit::bytes, "cowindex_memory_usage_bytes", "Bytes that the index has allocated."},
    {"peak_memory_bytes", &CowMetrics::Values::peak_memory_bytes, MetricKind::gauge,
     MetricUnit::bytes, "cowindex_peak_memory_bytes", "Highest memory usage seen."},
    {"retained_bytes", &CowMetrics::Values::retained_bytes, MetricKind::gauge, MetricUnit::bytes,
     "cowindex_retained_bytes", "Bytes held only by versions that are not the latest."},
    {"retained_versions", &CowMetrics::Values::retained_versions, MetricKind::gauge,
     MetricUnit::count, "cowindex_retained_versions", "Versions held that are not the latest."},
    {"oldest_pinned_version", &CowMetrics::Values::oldest_pinned_version, MetricKind::gauge,
     MetricUnit::count, "cowindex_oldest_pinned_version",
     "Number of the oldest version that is held."},
    {"uncommitted_bytes", &CowMetrics::Values::uncommitted_bytes, MetricKind::gauge,
     MetricUnit::bytes, "cowindex_uncommitted_bytes",
     "Bytes of clones and tree nodes of open writers."},
    {"clone_operations", &CowMetrics::Values::clone_operations, MetricKind::counter,
     MetricUnit::count, "cowindex_clone_operations_total", "Shards cloned."},
    {"bytes_cloned", &CowMetrics::Values::bytes_cloned, MetricKind::counter, MetricUnit::bytes,
     "cowindex_cloned_bytes_total", "Bytes of the shards that were cloned."},
    {"commits", &CowMetrics::Values::commits, MetricKind::counter, MetricUnit::count,
     "cowindex_commits_total", "Versions published."},
    {"conflicts", &CowMetrics::Values::conflicts, MetricKind::counter, MetricUnit::count,
     "cowindex_conflicts_total", "Commits refused because another one came first."},
    {"discards", &CowMetrics::Values::discards, MetricKind::counter, MetricUnit::count,
     "cowindex_discards_total", "Writers dropped or discarded with edits in them."},
    {"retries", &CowMetrics::Values::retries, MetricKind::counter, MetricUnit::count,
     "cowindex_retries_total", "Runs of update() after a conflict."},
    {"reclaimed_bytes", &CowMetrics::Values::reclaimed_bytes, MetricKind::counter,
     MetricUnit::bytes, "cowindex_reclaimed_bytes_total", "Bytes of old versions that were freed."},
}};

struct DurationField {
    const char* name;
    const char* average_name;
    const char* series;
    const char* help;
    std::uint64_t CowMetrics::Values::* samples;
    std::chrono::nanoseconds CowMetrics::Values::* total;
    std::chrono::nanoseconds CowMetrics::Values::* average;
    struct Quantile {
        const char* name;
        const char* quantile;
        std::chrono::nanoseconds CowMetrics::Values::* value;
    };
    std::array<Quantile, 5> quantiles;
};

inline constexpr std::array<DurationField, 2> duration_fields{{
    {"clone_time",
     "average_clone_time",
     "cowindex_clone_time_seconds",
     "Time to clone one shard, sampled.",
     &CowMetrics::Values::clone_time_samples,
     &CowMetrics::Values::clone_time_total,
     &CowMetrics::Values::average_clone_time,
     {{{"min", "0", &CowMetrics::Values::clone_time_min},
       {"p50", "0.5", &CowMetrics::Values::clone_time_p50},
       {"p90", "0.9", &CowMetrics::Values::clone_time_p90},
       {"p99", "0.99", &CowMetrics::Values::clone_time_p99},
       {"max", "1", &CowMetrics::Values::clone_time_max}}}},
    {"commit_time",
     "average_commit_time",
     "cowindex_commit_time_seconds",
     "Time of one commit, sampled.",
     &CowMetrics::Values::commit_time_samples,
     &CowMetrics::Values::commit_time_total,
     &CowMetrics::Values::average_commit_time,
     {{{"min", "0", &CowMetrics::Values::commit_time_min},
       {"p50", "0.5", &CowMetrics::Values::commit_time_p50},
       {"p90", "0.9", &CowMetrics::Values::commit_time_p90},
       {"p99", "0.99", &CowMetrics::Values::commit_time_p99},
       {"max", "1", &CowMetrics::Values::commit_time_max}}}},
}};

struct MemoryField {
    const char* name;
    std::size_t MemoryStats::* value;
};

inline constexpr std::array<MemoryField, 7> memory_fields{{
    {"live_bytes", &MemoryStats::live_bytes},
    {"retained_bytes", &MemoryStats::retained_bytes},
    {"reclaimable_bytes", &MemoryStats::reclaimable_bytes},
    {"spine_bytes", &MemoryStats::spine_bytes},
    {"pooled_bytes", &MemoryStats::pooled_bytes},
    {"uncommitted_bytes", &MemoryStats::uncommitted_bytes},
    {"peak_bytes", &MemoryStats::peak_bytes},
}};

} // namespace cowindex::detail
