// How commits scale from one writer to two: on disjoint 4 KiB shards of one index, on two separate
// indexes (what the machine itself allows), and on one hot shard through update().
// Figures are commits per second of all threads together.
#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using benchmarks::Random;
using Shard = benchmarks::Blob<4096>;
using Index = cowindex::CowIndex<Shard>;
constexpr std::size_t shards = 100'000;

// Each thread commits to its own half of the ids.
void commit_to_own_half(benchmark::State& state, Index& index) {
    const auto threads = static_cast<std::size_t>(state.threads());
    const auto thread = static_cast<std::size_t>(state.thread_index());
    const std::size_t span = shards / threads;
    auto writer = index.writer();
    Random random(thread + 1);
    for (auto _ : state) {
        writer.edit(thread * span + random.below(span)).touch();
        // Another thread's commit moves the index on; edits of other shards never conflict.
        writer.commit();
    }
    state.SetItemsProcessed(state.iterations());
}

void disjoint_shards(benchmark::State& state) {
    static Index index(shards);
    commit_to_own_half(state, index);
}

void separate_indexes(benchmark::State& state) {
    static Index indexes[2] = {Index(shards), Index(shards)};
    commit_to_own_half(state, indexes[state.thread_index() % 2]);
}

void one_hot_shard(benchmark::State& state) {
    static cowindex::CowIndex<std::uint64_t> index(16);
    for (auto _ : state) index.update([](auto& writer) { ++writer.edit(7); });
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(disjoint_shards)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(separate_indexes)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(one_hot_shard)->Threads(1)->Threads(2)->Threads(10)->UseRealTime();

} // namespace

BENCHMARK_MAIN();
