// What one commit of one 64-byte shard costs, publishing and reclaiming included, against
//   floor   clone, swap one pointer, free, in place: what no versioned index can beat
//   vector  copying a vector of shared_ptr: the usual hand-written copy-on-write index
// Every candidate changes the same pseudo-random shards of n.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using benchmarks::Random;
using Shard = benchmarks::Blob<64>;

void floor_in_place(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    std::vector<std::unique_ptr<Shard>> shards;
    for (std::size_t i = 0; i < n; ++i) shards.push_back(std::make_unique<Shard>());
    Random random;
    for (auto _ : state) {
        auto& place = shards[random.below(n)];
        auto clone = std::make_unique<Shard>(*place);
        clone->touch();
        place.swap(clone);
    }
}

void cowindex_commit(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    const auto batch = static_cast<std::size_t>(state.range(1));
    cowindex::CowIndex<Shard> index(n);
    auto writer = index.writer();
    Random random;
    for (auto _ : state) {
        for (std::size_t i = 0; i < batch; ++i) writer.edit(random.below(n)).touch();
        writer.commit();
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
}

// With a reader's slot in use, so that reclaiming pays for its barriers.
void cowindex_commit_with_reader(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    cowindex::CowIndex<Shard> index(n);
    auto reader = index.reader();
    auto writer = index.writer();
    Random random;
    for (auto _ : state) {
        writer.edit(random.below(n)).touch();
        writer.commit();
    }
}

void cowindex_update(benchmark::State& state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    cowindex::CowIndex<Shard> index(n);
    Random random;
    for (auto _ : state) index.update([&](auto& writer) { writer.edit(random.below(n)).touch(); });
}

void copy_vector_of_shared_ptr(benchmark::State& state) {
    using Version = std::vector<std::shared_ptr<const Shard>>;
    const auto n = static_cast<std::size_t>(state.range(0));
    Version first;
    for (std::size_t i = 0; i < n; ++i) first.push_back(std::make_shared<const Shard>());
    std::atomic<std::shared_ptr<const Version>> latest(std::make_shared<const Version>(first));
    first.clear();
    Random random;
    for (auto _ : state) {
        auto next = std::make_shared<Version>(*latest.load());
        auto& place = (*next)[random.below(n)];
        auto clone = std::make_shared<Shard>(*place);
        clone->touch();
        place = std::move(clone);
        latest.store(std::move(next));
    }
}

BENCHMARK(floor_in_place)->Arg(1'000)->Arg(1'000'000)->Arg(10'000'000);
BENCHMARK(cowindex_commit)->ArgsProduct({{1'000, 1'000'000, 10'000'000}, {1}});
BENCHMARK(cowindex_commit)->ArgsProduct({{1'000'000}, {16, 1000}});
BENCHMARK(cowindex_commit_with_reader)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(cowindex_update)->Arg(1'000)->Arg(1'000'000);
BENCHMARK(copy_vector_of_shared_ptr)->Arg(1'000)->Arg(1'000'000)->Unit(benchmark::kNanosecond);

} // namespace

BENCHMARK_MAIN();
