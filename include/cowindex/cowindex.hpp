// CowIndex: a copy-on-write index for many readers and a few writers. Include this.
#pragma once

#include <cowindex/version.hpp>      // ShardId, Version, the library's version
#include <cowindex/errors.hpp>       // what is thrown
#include <cowindex/policy.hpp>       // DefaultPolicy: clone, bytes, allocator, mutex
#include <cowindex/memory.hpp>       // MemoryStats, PinInfo
#include <cowindex/cow_metrics.hpp>  // CowMetrics: counters and gauges
#include <cowindex/reading.hpp>      // ShardReading: what snapshots, views and writers can be asked
#include <cowindex/snapshot.hpp>     // Snapshot: an owned version
#include <cowindex/diff.hpp>         // diff: what changed from one snapshot to another
#include <cowindex/reader.hpp>       // Reader, View: scoped pins, the fast way to read
#include <cowindex/index_writer.hpp> // IndexWriter, CommitResult: edits and their publication
#include <cowindex/cow_index.hpp>    // CowIndex: start here
