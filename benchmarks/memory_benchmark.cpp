// Bytes, not durations; as the allocator hands them out, its rounding included.
//
//   memory_per_shard   bytes for each of a million 64-byte shards beyond the shard itself:
//                      `overhead`
//   pinned_reader      what the index grows by, in bytes for each commit, while one reader keeps a
//                      version of 100 000 shards and 100 000 commits of one shard follow; and what
//                      stays after it has let go: `held`, `left`
#include <cstddef>
#include <memory>
#include <optional>
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
    using Map = tbb::concurrent_hash_map<std::size_t, Shard>;
    auto map = std::make_unique<Map>();
    for (std::size_t id = 0; id < n; ++id) map->emplace(id, Shard());
    return map;
})->Iterations(1);
#endif

constexpr std::size_t pinned_shards = 100'000;
constexpr std::size_t pinned_commits = 100'000;

void report_growth(benchmark::State& state, double before, double held, double after) {
    state.counters["held"] = (held - before) / double{pinned_commits};
    state.counters["left"] = (after - before) / double{pinned_commits};
}

void pinned_reader_cowindex(benchmark::State& state) {
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
        };
        commit(1'000);
        index.reclaim();
        const double before = allocated_bytes();
        std::optional view(reader.pin());
        commit(pinned_commits);
        index.reclaim();
        const double held = allocated_bytes();
        view.reset();
        commit(1);
        index.reclaim();
        report_growth(state, before, held, allocated_bytes());
    }
}
BENCHMARK(pinned_reader_cowindex)->Name("pinned_reader/cowindex")->Iterations(1);

// One held version keeps the shards that it alone has, as above, and a whole vector. So few
// commits that it does not take minutes: each copies the vector.
void pinned_reader_vector(benchmark::State& state) {
    constexpr std::size_t commits = 1'000;
    for (auto _ : state) {
        auto latest = std::make_shared<Vector>();
        for (std::size_t i = 0; i < pinned_shards; ++i)
            latest->push_back(std::make_shared<const Shard>());
        Random random;
        const double before = allocated_bytes();
        std::shared_ptr<const Vector> held_version = latest;
        for (std::size_t i = 0; i < commits; ++i) {
            auto next = std::make_shared<Vector>(*latest);
            (*next)[random.below(pinned_shards)] = std::make_shared<const Shard>();
            latest = std::move(next);
        }
        const double held = allocated_bytes();
        held_version.reset();
        state.counters["held"] = (held - before) / double{commits};
        state.counters["left"] = (allocated_bytes() - before) / double{commits};
    }
}
BENCHMARK(pinned_reader_vector)->Name("pinned_reader/vector_1000_commits")->Iterations(1);
#endif

} // namespace
