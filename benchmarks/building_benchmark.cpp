// Making an index of n 64-byte shards, by its constructor and by one batch of an empty one, against
// filling a vector of shared_ptr.
//
// Each starts as a fresh process would: what the one before has freed goes back to the system.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(COWINDEX_WITH_TBB)
#include <tbb/concurrent_hash_map.h>
#endif

namespace {

using namespace benchmarks;
using Shard = Blob<64>;
using Index = cowindex::CowIndex<Shard>;

// Only the filling is timed; what was made is destroyed meanwhile.
template <class Fill>
void build(benchmark::State& state, std::size_t n, Fill fill) {
    for (auto _ : state) {
        auto made = fill(n);
        benchmark::DoNotOptimize(&made);
        state.PauseTiming();
        {
            const auto destroyed = std::move(made);
        }
#if defined(__GLIBC__)
        malloc_trim(0);
#endif
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(n));
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
    shards.reserve(n);
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

void add(std::int64_t n) {
    const auto with = [n](const char* name, auto fill) {
        benchmark::RegisterBenchmark(
            (std::string("build/") + name + "/n:" + std::to_string(n)).c_str(),
            [n, fill](benchmark::State& state) { build(state, static_cast<std::size_t>(n), fill); })
            ->Unit(benchmark::kMicrosecond);
    };
    with("cowindex_constructor", constructed);
    with("cowindex_append", appended);
    with("vector", filled_vector);
#if defined(COWINDEX_WITH_TBB)
    with("tbb_concurrent_hash_map", filled_map);
#endif
}

const bool added = [] {
    add(1'000);
    add(1'000'000);
    return true;
}();

} // namespace
