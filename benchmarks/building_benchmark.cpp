// Making an index of a million 64-byte shards, and making it anew in one batch of an index that
// exists, against filling a vector of shared_ptr.
#include <cstddef>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

#if defined(COWINDEX_WITH_TBB)
#include <tbb/concurrent_hash_map.h>
#endif

namespace {

using namespace benchmarks;
using Shard = Blob<64>;
using Index = cowindex::CowIndex<Shard>;

// Only the filling is timed; what was made is destroyed meanwhile.
template <class Fill>
void build(benchmark::State& state, Fill fill) {
    const auto n = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) {
        auto made = fill(n);
        benchmark::DoNotOptimize(&made);
        state.PauseTiming();
        {
            const auto destroyed = std::move(made);
        }
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

Index constructed(std::size_t n) { return Index(n); }

Index appended(std::size_t n) {
    Index index;
    auto writer = index.writer();
    for (std::size_t i = 0; i < n; ++i) writer.append(Shard());
    writer.commit();
    return index;
}

std::vector<std::shared_ptr<const Shard>> filled_vector(std::size_t n) {
    std::vector<std::shared_ptr<const Shard>> shards;
    for (std::size_t i = 0; i < n; ++i) shards.push_back(std::make_shared<const Shard>());
    return shards;
}

#if defined(COWINDEX_WITH_TBB)
std::unique_ptr<tbb::concurrent_hash_map<std::size_t, Shard>> filled_map(std::size_t n) {
    auto map = std::make_unique<tbb::concurrent_hash_map<std::size_t, Shard>>();
    for (std::size_t id = 0; id < n; ++id) map->emplace(id, Shard());
    return map;
}
#endif

void sizes(benchmark::internal::Benchmark* benchmark) {
    benchmark->Arg(1'000)->Arg(1'000'000)->ArgName("n")->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(build, cowindex_constructor, constructed)->Apply(sizes);
BENCHMARK_CAPTURE(build, cowindex_append, appended)->Apply(sizes);
BENCHMARK_CAPTURE(build, vector, filled_vector)->Apply(sizes);
#if defined(COWINDEX_WITH_TBB)
BENCHMARK_CAPTURE(build, tbb_concurrent_hash_map, filled_map)->Apply(sizes);
#endif

} // namespace
