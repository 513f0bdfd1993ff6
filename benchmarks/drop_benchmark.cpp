// What it costs to get rid of old versions that were held: `versions` of them, each one commit of
// one shard of n apart, are let go of together and freed. Time is that of one version; making them
// is not counted.
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "fixture.hpp"
#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using namespace benchmarks;
using Shard = Blob<64>;

struct Cow {
    static constexpr const char* name = "cowindex";

    explicit Cow(std::size_t n) : index(n), writer(index.writer()) {}
    void commit(std::size_t id) {
        held.push_back(index.snapshot());
        writer.edit(id).touch();
        writer.commit();
    }
    void drop() {
        held.clear();
        index.reclaim();
    }
    cowindex::CowIndex<Shard> index;
    cowindex::IndexWriter<Shard> writer;
    std::deque<cowindex::Snapshot<Shard>> held;
};

struct VectorOfShared {
    static constexpr const char* name = "vector";
    using Version = std::vector<std::shared_ptr<const Shard>>;

    explicit VectorOfShared(std::size_t n) : latest(std::make_shared<Version>()) {
        for (std::size_t i = 0; i < n; ++i) latest->push_back(std::make_shared<const Shard>());
    }
    void commit(std::size_t id) {
        held.push_back(latest);
        latest = std::make_shared<Version>(*latest);
        (*latest)[id] = std::make_shared<const Shard>();
    }
    void drop() { held.clear(); }
    std::shared_ptr<Version> latest;
    std::deque<std::shared_ptr<const Version>> held;
};

struct DeepClone {
    static constexpr const char* name = "deep_clone";
    using Version = std::vector<Shard>;

    explicit DeepClone(std::size_t n) : latest(std::make_shared<Version>(n)) {}
    void commit(std::size_t id) {
        held.push_back(latest);
        latest = std::make_shared<Version>(*latest);
        (*latest)[id].touch();
    }
    void drop() { held.clear(); }
    std::shared_ptr<Version> latest;
    std::deque<std::shared_ptr<const Version>> held;
};

template <class Candidate>
void run(benchmark::State& state, std::size_t n, std::size_t versions) {
    Candidate& candidate = keep<Candidate>(n, [&] { return std::make_shared<Candidate>(n); });
    static Random random;
    while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(versions))) {
        for (std::size_t i = 0; i < versions; ++i) candidate.commit(random.below(n));
        const auto start = std::chrono::steady_clock::now();
        candidate.drop();
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
        // Summed over the batches, then divided by the versions.
        state.SetIterationTime(passed.count());
    }
}

template <class Candidate>
void add(std::size_t n, std::size_t versions) {
    const std::string name = std::string("drop/") + Candidate::name + "/n:" + std::to_string(n) +
                             "/versions:" + std::to_string(versions);
    // A number of versions of its own: how long their making takes must not matter.
    benchmark::RegisterBenchmark(name.c_str(), run<Candidate>, n, versions)
        ->Iterations(static_cast<benchmark::IterationCount>(20 * versions))
        ->UseManualTime();
}

const bool added = [] {
    for (const std::size_t n : {1'000UL, 1'000'000UL}) {
        add<Cow>(n, 1'000);
        add<VectorOfShared>(n, n == 1'000 ? 1'000 : 2);
        add<DeepClone>(n, n == 1'000 ? 1'000 : 2);
    }
    return true;
}();

} // namespace
