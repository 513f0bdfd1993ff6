// What letting go of a large old version costs those who go on: the commits that free it bit by
// bit, a reader meanwhile, and reclaim(), which frees it at once.
//
// Each round makes an index, changes every shard while a snapshot holds the version before, lets go
// of that, and then times single commits until nothing is left to free. Counters, in nanoseconds:
//   median, worst       of the commits while it drains, in all rounds
//   worst_again         the worst commit, each counted with the least it took in any round: what
//   the
//                       engine does in every round, without what the machine does now and then
//   ratio, ratio_again  those two against the median; the goal is 20
//   calm_worst          the worst of as many commits when nothing is left to free
//   read_worst          the worst read by another thread, pin and unpin included
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using benchmarks::Random;
using Shard = benchmarks::Blob<64>;
using Index = cowindex::CowIndex<Shard>;
using Clock = std::chrono::steady_clock;
using Times = std::vector<std::int64_t>; // nanoseconds

constexpr std::size_t held_shards = 100'000;

template <class Fn>
std::int64_t time_of(Fn&& fn) {
    const auto start = Clock::now();
    fn();
    return std::chrono::nanoseconds(Clock::now() - start).count();
}

// An index whose old version, held by nobody any more, alone holds `held_shards` shards.
struct Burdened {
    Burdened() {
        std::optional<Index::Snapshot> old(index.snapshot());
        index.update([](Index::Writer& edits) {
            for (cowindex::ShardId id = 0; id < held_shards; ++id) edits.edit(id).touch();
        });
        old.reset();
    }

    Index index{held_shards};
    Index::Writer writer = index.writer();
    Random random;

    std::int64_t commit() {
        return time_of([&] {
            writer.edit(random.below(held_shards)).touch();
            writer.commit();
        });
    }
    [[nodiscard]] bool drained() {
        const cowindex::MemoryStats stats = index.memory_usage();
        return stats.retained_bytes + stats.reclaimable_bytes < 1'000'000;
    }
};

// Reads one shard after another, and remembers what the slowest took.
class Reading {
  public:
    explicit Reading(Index& index)
        : thread_([this, &index] {
              auto reader = index.reader();
              Random random(7);
              while (!stop_) {
                  const std::int64_t time = time_of([&] {
                      benchmark::DoNotOptimize(reader.pin()[random.below(held_shards)].count);
                  });
                  worst_ = std::max(worst_, time);
              }
          }) {}
    std::int64_t finish() {
        stop_ = true;
        thread_.join();
        return worst_;
    }

  private:
    std::atomic<bool> stop_{false};
    std::int64_t worst_ = 0;
    std::thread thread_;
};

double median(Times times) {
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return static_cast<double>(*middle);
}

void commits_while_it_drains(benchmark::State& state) {
    const bool with_reader = state.range(0) != 0;
    Times all;
    Times least; // of the n-th commit, over all rounds
    std::int64_t worst = 0;
    std::int64_t calm_worst = 0;
    std::int64_t read_worst = 0;
    for (auto _ : state) {
        Burdened burdened;
        std::optional<Reading> reading;
        if (with_reader) reading.emplace(burdened.index);
        std::int64_t total = 0;
        std::size_t n = 0;
        for (; n % 256 != 0 || n == 0 || !burdened.drained(); ++n) {
            const std::int64_t time = burdened.commit();
            total += time;
            all.push_back(time);
            worst = std::max(worst, time);
            if (n >= least.size())
                least.push_back(time);
            else
                least[n] = std::min(least[n], time);
        }
        for (std::size_t i = 0; i < n; ++i) calm_worst = std::max(calm_worst, burdened.commit());
        if (reading) read_worst = std::max(read_worst, reading->finish());
        state.SetIterationTime(static_cast<double>(total) * 1e-9);
    }
    // Only what every round has done; the longest round has a tail of its own.
    const std::int64_t worst_again = *std::max_element(least.begin(), least.end());
    const double middle = median(all);
    state.counters["commits"] =
        static_cast<double>(all.size()) / static_cast<double>(state.iterations());
    state.counters["median"] = middle;
    state.counters["worst"] = static_cast<double>(worst);
    state.counters["worst_again"] = static_cast<double>(worst_again);
    state.counters["ratio"] = static_cast<double>(worst) / middle;
    state.counters["ratio_again"] = static_cast<double>(worst_again) / middle;
    state.counters["calm_worst"] = static_cast<double>(calm_worst);
    if (with_reader) state.counters["read_worst"] = static_cast<double>(read_worst);
}

void reclaim_at_once(benchmark::State& state) {
    for (auto _ : state) {
        Burdened burdened;
        std::size_t bytes = 0;
        const std::int64_t time = time_of([&] { bytes = burdened.index.reclaim(); });
        state.SetIterationTime(static_cast<double>(time) * 1e-9);
        state.counters["bytes"] = static_cast<double>(bytes);
    }
}

BENCHMARK(commits_while_it_drains)
    ->ArgName("reader")
    ->Arg(0)
    ->Arg(1)
    ->Iterations(10)
    ->UseManualTime();
BENCHMARK(reclaim_at_once)->Iterations(10)->UseManualTime()->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
