// What it takes to tell which shards differ between two versions: of `n` shards, `k` were changed,
// each by a commit of its own.
#include <cstddef>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using benchmarks::Random;
using Shard = benchmarks::Blob<64>;

void diff(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    cowindex::CowIndex<Shard> index(n);
    const auto older = index.snapshot();
    Random random;
    for (auto k = state.range(1); k > 0; --k)
        index.edit(random.below(n), [](Shard& shard) { shard.touch(); });
    const auto newer = index.snapshot();
    for (auto _ : state) {
        std::size_t differences = 0;
        cowindex::for_each_difference(
            older, newer, [&](cowindex::ShardId, const Shard*, const Shard*) { ++differences; });
        benchmark::DoNotOptimize(differences);
    }
}

BENCHMARK(diff)->ArgNames({"n", "k"})->ArgsProduct({{1'000, 1'000'000}, {0, 1, 10, 1000}});

} // namespace
