// Bytes, not durations; as the allocator hands them out, its rounding included.
//
//   memory_per_shard   bytes for each of a million 64-byte shards beyond the shard itself:
//                      `overhead`
//   pinned_reader_*    what 100 000 such shards grow by while a reader keeps one version and
//                      commits of one shard follow: `held_kib`; and what stays after it has let
//                      go: `left_kib`
#include <cstddef>
#include <memory>
#include <optional>
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
using Vector = std::vector<std::shared_ptr<const Shard>>;

#if defined(__GLIBC__)
double allocated_bytes() {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
}

template <class Make>
void memory_per_shard(benchmark::State& state, Make make) {
    constexpr std::size_t n = 1'000'000;
    for (auto _ : state) {
        const double before = allocated_bytes();
        const auto made = make(n);
        state.counters["overhead"] =
            (allocated_bytes() - before) / static_cast<double>(n) - double{sizeof(Shard)};
    }
}
BENCHMARK_CAPTURE(memory_per_shard, cowindex, [](std::size_t n) {
    return std::make_unique<Index>(n);
})->Iterations(1);
BENCHMARK_CAPTURE(memory_per_shard, vector, [](std::size_t n) {
    Vector shards;
    shards.reserve(n);
    while (shards.size() < n) shards.push_back(std::make_shared<const Shard>());
    return shards;
})->Iterations(1);
BENCHMARK_CAPTURE(memory_per_shard, vector_of_unique_ptr, [](std::size_t n) {
    std::vector<std::unique_ptr<Shard>> shards;
    shards.reserve(n);
    while (shards.size() < n) shards.push_back(std::make_unique<Shard>());
    return shards;
})->Iterations(1);
#if defined(COWINDEX_WITH_TBB)
BENCHMARK_CAPTURE(memory_per_shard, tbb_concurrent_hash_map, [](std::size_t n) {
    // Its own allocator is not counted.
    using Map = tbb::concurrent_hash_map<std::size_t, Shard, tbb::tbb_hash_compare<std::size_t>,
                                         std::allocator<std::pair<const std::size_t, Shard>>>;
    auto map = std::make_unique<Map>();
    for (std::size_t id = 0; id < n; ++id) map->emplace(id, Shard());
    return map;
})->Iterations(1);
#endif

constexpr std::size_t pinned_shards = 100'000;

// In kibibytes: what holding costs, and what is left of that afterwards.
void report_growth(benchmark::State& state, double before, double held, double after) {
    state.counters["held_kib"] = (held - before) / 1024;
    state.counters["left_kib"] = (after - before) / 1024;
}

void pinned_reader_cowindex(benchmark::State& state, std::size_t commits) {
    for (auto _ : state) {
        Index index(pinned_shards);
        auto reader = index.reader();
        auto writer = index.writer();
        Random random;
        const auto commit = [&](std::size_t times) {
            for (std::size_t i = 0; i < times; ++i) {
                writer.edit(random.below(pinned_shards)).touch();
                writer.commit();
            }
            index.reclaim();
        };
        commit(1'000);
        const double before = allocated_bytes();
        std::optional view(reader.pin());
        commit(commits);
        const double held = allocated_bytes();
        view.reset();
        commit(1);
        report_growth(state, before, held, allocated_bytes());
    }
}

void pinned_reader_vector(benchmark::State& state, std::size_t commits) {
    for (auto _ : state) {
        auto latest = std::make_shared<Vector>();
        latest->reserve(pinned_shards);
        for (std::size_t i = 0; i < pinned_shards; ++i)
            latest->push_back(std::make_shared<const Shard>());
        Random random;
        const double before = allocated_bytes();
        std::shared_ptr<const Vector> pinned = latest;
        for (std::size_t i = 0; i < commits; ++i) {
            auto next = std::make_shared<Vector>(*latest);
            (*next)[random.below(pinned_shards)] = std::make_shared<const Shard>();
            latest = std::move(next);
        }
        const double held = allocated_bytes();
        pinned.reset();
        report_growth(state, before, held, allocated_bytes());
    }
}

BENCHMARK_CAPTURE(pinned_reader_cowindex, 1_commit, 1)->Iterations(1);
BENCHMARK_CAPTURE(pinned_reader_cowindex, 1000_commits, 1'000)->Iterations(1);
BENCHMARK_CAPTURE(pinned_reader_cowindex, 100000_commits, 100'000)->Iterations(1);
BENCHMARK_CAPTURE(pinned_reader_vector, 1_commit, 1)->Iterations(1);
BENCHMARK_CAPTURE(pinned_reader_vector, 1000_commits, 1'000)->Iterations(1);
#endif

} // namespace
