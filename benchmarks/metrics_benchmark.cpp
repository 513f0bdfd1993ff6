// What it costs a commit of one 64-byte shard to be measured. Three indexes that differ in nothing
// else:
//   untimed     the policy switches timing off: no duration is recorded
//   sampled     the default: one clone and one commit in 16 is timed
//   every_time  each is: two readings of the clock and one histogram entry for each
// and what a reading of the metrics costs. Run with --benchmark_enable_random_interleaving=true and
// some repetitions, and compare medians: the differences are smaller than the machine's drift.
#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using benchmarks::Random;
using Shard = benchmarks::Blob<64>;
using Timed = cowindex::DefaultPolicy<Shard>;

struct Untimed : Timed {
    static constexpr bool timing = false;
};

template <class Policy>
void commit(benchmark::State& state, std::uint64_t time_every) {
    const auto n = static_cast<std::size_t>(state.range(0));
    cowindex::Options<Policy> options;
    options.time_every = time_every;
    cowindex::CowIndex<Shard, Policy> index(n, options);
    auto writer = index.writer();
    Random random;
    for (auto _ : state) {
        writer.edit(random.below(n)).touch();
        writer.commit();
    }
}

void untimed(benchmark::State& state) { commit<Untimed>(state, 16); }
void sampled(benchmark::State& state) { commit<Timed>(state, 16); }
void every_time(benchmark::State& state) { commit<Timed>(state, 1); }

void read_metrics(benchmark::State& state) {
    cowindex::CowIndex<Shard> index(1000);
    for (int i = 0; i < 1000; ++i) index.edit(1, [](Shard& shard) { shard.touch(); });
    for (auto _ : state) benchmark::DoNotOptimize(index.metrics());
}

BENCHMARK(untimed)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(sampled)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(every_time)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(read_metrics);

} // namespace
