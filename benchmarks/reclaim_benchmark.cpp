// What letting go of a large old version costs those who go on: the commits that free it bit by
// bit, a reader meanwhile, and reclaim(), which frees it at once.
//
// Each round makes an index, changes every shard while a snapshot holds the version before, lets go
// of that, and then times single commits until nothing is left to free. Counters, in nanoseconds:
//   median, worst  of the commits while it drains, in all rounds
//   engine_worst   the slowest of the commits where the n-th counts with the least that it took in
//                  any round: what happens in every round is the engine's doing, the rest is the
//                  machine's, which interrupts any program now and then
//   engine_ratio   engine_worst against the median; the goal is 20
//   slow, calm_slow  how many of a million commits took more than 20 medians: while it drains, and
//                  when nothing is left to free
//   read_worst, read_slow  the worst read by another thread, pin and unpin included, and how many
//   of
//                  a million took more than 10 us
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "opaque.hpp"
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
        for (cowindex::ShardId id = 0; id < held_shards; ++id) writer.edit(id).touch();
        writer.commit(); // the writer itself goes on, with what it has in stock after that
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

// Reads one shard after another.
class Reading {
  public:
    explicit Reading(Index& index)
        : thread_([this, &index] {
              auto reader = index.reader();
              Random random(7);
              for (; !stop_; ++reads_) {
                  const std::int64_t time = time_of(
                      [&] { benchmarks::consume(reader.pin()[random.below(held_shards)].count); });
                  worst_ = std::max(worst_, time);
                  if (time > 10'000) ++slow_;
              }
          }) {}
    void finish() {
        stop_ = true;
        thread_.join();
    }
    [[nodiscard]] std::int64_t reads() const { return reads_; }
    [[nodiscard]] std::int64_t worst() const { return worst_; }
    [[nodiscard]] std::int64_t slow() const { return slow_; }

  private:
    std::atomic<bool> stop_{false};
    std::int64_t reads_ = 0;
    std::int64_t worst_ = 0;
    std::int64_t slow_ = 0;
    std::thread thread_;
};

double median(Times times) {
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return static_cast<double>(*middle);
}

void commits_while_it_drains(benchmark::State& state) {
    const bool with_reader = state.range(0) != 0;
    Times draining;
    Times calm;
    Times least; // of the n-th commit, over all rounds; as long as the shortest round
    std::int64_t reads = 0;
    std::int64_t read_worst = 0;
    std::int64_t read_slow = 0;
    for (auto _ : state) {
        Burdened burdened;
        std::optional<Reading> reading;
        if (with_reader) reading.emplace(burdened.index);
        Times times;
        while (times.size() % 256 != 0 || times.empty() || !burdened.drained())
            times.push_back(burdened.commit());
        for (std::size_t i = 0; i < times.size(); ++i) calm.push_back(burdened.commit());
        if (reading) {
            reading->finish();
            reads += reading->reads();
            read_worst = std::max(read_worst, reading->worst());
            read_slow += reading->slow();
        }
        if (least.empty()) least = times;
        least.resize(std::min(least.size(), times.size()));
        for (std::size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], times[i]);
        draining.insert(draining.end(), times.begin(), times.end());
        state.SetIterationTime(
            static_cast<double>(std::accumulate(times.begin(), times.end(), std::int64_t{0})) *
            1e-9);
    }
    const auto worst = [](const Times& times) {
        return static_cast<double>(*std::max_element(times.begin(), times.end()));
    };
    const auto of_a_million = [](auto part, auto whole) {
        return 1e6 * static_cast<double>(part) / static_cast<double>(whole);
    };
    const double middle = median(draining);
    const auto slow = [&](const Times& times) {
        const auto part = std::count_if(times.begin(), times.end(), [&](std::int64_t time) {
            return static_cast<double>(time) > 20 * middle;
        });
        return of_a_million(part, times.size());
    };
    auto& counters = state.counters;
    counters["commits"] =
        static_cast<double>(draining.size()) / static_cast<double>(state.iterations());
    counters["median"] = middle;
    counters["worst"] = worst(draining);
    counters["engine_worst"] = worst(least);
    counters["engine_ratio"] = worst(least) / middle;
    counters["slow"] = slow(draining);
    counters["calm_slow"] = slow(calm);
    if (with_reader) {
        counters["read_worst"] = static_cast<double>(read_worst);
        counters["read_slow"] = of_a_million(read_slow, reads);
    }
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
    ->Iterations(50)
    ->UseManualTime();
BENCHMARK(reclaim_at_once)->Iterations(10)->UseManualTime()->Unit(benchmark::kMillisecond);

} // namespace
