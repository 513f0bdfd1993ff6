// What it costs to read one element of one shard of the latest version, by one and two threads.
//   bare_pointer      the element itself, through an atomic pointer: the limit
//   unprotected       the same tree without a pin: what the walk itself costs
//   pin               a reader's pin, read, unpin
//   read_fn           CowIndex::read(), with a borrowed slot
//   snapshot          an owned snapshot for each read
//   shared_ptr_load   std::atomic<std::shared_ptr>::load for each read
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using Shard = benchmarks::Blob<64>;
using Index = cowindex::CowIndex<Shard>;
constexpr std::size_t shards = 64;

Index& shared_index() {
    static Index index(shards);
    return index;
}

void bare_pointer(benchmark::State& state) {
    static Shard shard;
    static std::atomic<const Shard*> latest{&shard};
    for (auto _ : state) benchmark::DoNotOptimize(latest.load(std::memory_order_acquire)->count);
}

void unprotected(benchmark::State& state) {
    // A view held throughout; the version is loaded anew for each read, as a pin would.
    static Index& index = shared_index();
    auto reader = index.reader();
    const auto view = reader.pin();
    std::atomic<const Index::View*> latest{&view};
    std::size_t i = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize((*latest.load(std::memory_order_acquire))[i++ % shards].count);
}

void pin(benchmark::State& state) {
    auto reader = shared_index().reader();
    std::size_t i = 0;
    for (auto _ : state) benchmark::DoNotOptimize(reader.pin()[i++ % shards].count);
}

void read_fn(benchmark::State& state) {
    std::size_t i = 0;
    for (auto _ : state)
        shared_index().read(
            [&](const auto& view) { benchmark::DoNotOptimize(view[i++ % shards].count); });
}

void snapshot(benchmark::State& state) {
    std::size_t i = 0;
    for (auto _ : state) benchmark::DoNotOptimize(shared_index().snapshot()[i++ % shards].count);
}

#if defined(__cpp_lib_atomic_shared_ptr)
void shared_ptr_load(benchmark::State& state) {
    static std::atomic<std::shared_ptr<const Shard>> latest(std::make_shared<const Shard>());
    for (auto _ : state) benchmark::DoNotOptimize(latest.load()->count);
}
BENCHMARK(shared_ptr_load)->Threads(1)->Threads(2)->UseRealTime();
#endif

void mutex_held(benchmark::State& state) {
    static std::mutex mutex;
    static Shard shard;
    for (auto _ : state) {
        const std::lock_guard lock(mutex);
        benchmark::DoNotOptimize(shard.count);
    }
}

void shared_mutex_held(benchmark::State& state) {
    static std::shared_mutex mutex;
    static Shard shard;
    for (auto _ : state) {
        const std::shared_lock lock(mutex);
        benchmark::DoNotOptimize(shard.count);
    }
}

BENCHMARK(bare_pointer)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(unprotected)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(pin)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(read_fn)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(snapshot)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(mutex_held)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(shared_mutex_held)->Threads(1)->Threads(2)->UseRealTime();

} // namespace

BENCHMARK_MAIN();
