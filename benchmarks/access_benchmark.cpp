// Random reads and iteration within one version of n shards of 64 bytes, against a vector of
// shared_ptr and a flat vector (no versions, no sharing: the limit).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "fixture.hpp"
#include "opaque.hpp"
#include "shards.hpp"
#include <cowindex/cowindex.hpp>

#if defined(COWINDEX_WITH_TBB)
#include <tbb/concurrent_hash_map.h>
#endif

namespace {

using namespace benchmarks;
using Shard = Blob<64>;

struct Cow {
    static constexpr const char* name = "cowindex";
    explicit Cow(std::size_t n) : index(n), reader(index.reader()), view(reader.pin()) {}
    std::uint64_t read(std::size_t id) const { return view[id].count; }
    std::uint64_t sum() const {
        std::uint64_t sum = 0;
        for (const Shard& shard : view) sum += shard.count;
        return sum;
    }
    cowindex::CowIndex<Shard> index;
    cowindex::Reader<Shard> reader;
    cowindex::View<Shard> view;
};

struct VectorOfShared {
    static constexpr const char* name = "vector";
    explicit VectorOfShared(std::size_t n) {
        shards.reserve(n);
        for (std::size_t i = 0; i < n; ++i) shards.push_back(std::make_shared<const Shard>());
    }
    std::uint64_t read(std::size_t id) const { return shards[id]->count; }
    std::uint64_t sum() const {
        std::uint64_t sum = 0;
        for (const auto& shard : shards) sum += shard->count;
        return sum;
    }
    std::vector<std::shared_ptr<const Shard>> shards;
};

struct Flat {
    static constexpr const char* name = "flat";
    explicit Flat(std::size_t n) : shards(n) {}
    std::uint64_t read(std::size_t id) const { return shards[id].count; }
    std::uint64_t sum() const {
        std::uint64_t sum = 0;
        for (const Shard& shard : shards) sum += shard.count;
        return sum;
    }
    std::vector<Shard> shards;
};

template <class Candidate>
Candidate& made(std::size_t n) {
    return keep<Candidate>(n, [&] { return std::make_shared<Candidate>(n); });
}

template <class Candidate>
void random_read(benchmark::State& state, std::size_t n) {
    const Candidate& candidate = made<Candidate>(n);
    static Random random;
    for (auto _ : state) consume(candidate.read(random.below(n)));
}

// Time is that of one shard.
template <class Candidate>
void iterate(benchmark::State& state, std::size_t n) {
    const Candidate& candidate = made<Candidate>(n);
    while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(n)))
        consume(candidate.sum());
}

#if defined(COWINDEX_WITH_TBB)
void tbb_random_read(benchmark::State& state, std::size_t n) {
    using Map = tbb::concurrent_hash_map<std::size_t, Shard>;
    const Map& map = keep<Map>(n, [&] {
        auto filled = std::make_shared<Map>();
        for (std::size_t id = 0; id < n; ++id) filled->emplace(id, Shard());
        return filled;
    });
    static Random random;
    for (auto _ : state) {
        Map::const_accessor found;
        map.find(found, random.below(n));
        consume(found->second.count);
    }
}
#endif

template <class Candidate>
void add(std::size_t n) {
    if (!fits_into_memory(n * 128)) return;
    const std::string tail = std::string(Candidate::name) + "/n:" + std::to_string(n);
    benchmark::RegisterBenchmark(("random_read/" + tail).c_str(), random_read<Candidate>, n);
    benchmark::RegisterBenchmark(("iterate/" + tail).c_str(), iterate<Candidate>, n);
}

const bool added = [] {
    for (const std::size_t n : {10'000UL, 1'000'000UL, 10'000'000UL}) {
        add<Cow>(n);
        add<VectorOfShared>(n);
        add<Flat>(n);
    }
#if defined(COWINDEX_WITH_TBB)
    for (const std::size_t n : {10'000UL, 1'000'000UL})
        benchmark::RegisterBenchmark(
            ("random_read/tbb_concurrent_hash_map/n:" + std::to_string(n)).c_str(), tbb_random_read,
            n);
#endif
    return true;
}();

} // namespace
