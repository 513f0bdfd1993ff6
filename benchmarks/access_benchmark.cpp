// Random reads and iteration within one version of n shards, against a vector of shared_ptr, and
// what each costs in memory beyond the shards.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include <benchmark/benchmark.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using benchmarks::Random;
using Shard = benchmarks::Blob<64>;
using Index = cowindex::CowIndex<Shard>;
using Vector = std::vector<std::shared_ptr<const Shard>>;

Vector make_vector(std::size_t n) {
    Vector shards;
    for (std::size_t i = 0; i < n; ++i) shards.push_back(std::make_shared<const Shard>());
    return shards;
}

void cowindex_random_read(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    const Index index(n);
    auto reader = index.reader();
    const auto view = reader.pin();
    Random random;
    for (auto _ : state) benchmark::DoNotOptimize(view[random.below(n)].count);
}

void vector_random_read(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    const Vector shards = make_vector(n);
    Random random;
    for (auto _ : state) benchmark::DoNotOptimize(shards[random.below(n)]->count);
}

void cowindex_iterate(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    const Index index(n);
    auto reader = index.reader();
    const auto view = reader.pin();
    for (auto _ : state) {
        std::uint64_t sum = 0;
        for (const Shard& shard : view) sum += shard.count;
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

void vector_iterate(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    const Vector shards = make_vector(n);
    for (auto _ : state) {
        std::uint64_t sum = 0;
        for (const auto& shard : shards) sum += shard->count;
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

void cowindex_build(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) {
        Index index(n);
        benchmark::DoNotOptimize(&index);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

void vector_build(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) benchmark::DoNotOptimize(make_vector(n));
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

#if defined(__GLIBC__)
// What the allocator really hands out, its rounding included.
std::size_t allocated_bytes() {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// Not a duration: bytes per shard beyond the shard itself, in the counter `overhead`.
template <class Make>
void overhead(benchmark::State& state, Make make) {
    const auto n = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) {
        const std::size_t before = allocated_bytes();
        const auto made = make(n);
        benchmark::DoNotOptimize(&made);
        const double bytes = static_cast<double>(allocated_bytes() - before);
        state.counters["overhead"] =
            bytes / static_cast<double>(n) - static_cast<double>(sizeof(Shard));
    }
}
BENCHMARK_CAPTURE(overhead, cowindex, [](std::size_t n) { return Index(n); })
    ->Arg(1'000'000)
    ->Iterations(1);
BENCHMARK_CAPTURE(overhead, vector, make_vector)->Arg(1'000'000)->Iterations(1);
#endif

BENCHMARK(cowindex_random_read)->Arg(10'000)->Arg(1'000'000);
BENCHMARK(vector_random_read)->Arg(10'000)->Arg(1'000'000);
BENCHMARK(cowindex_iterate)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(vector_iterate)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(cowindex_build)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(vector_build)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
