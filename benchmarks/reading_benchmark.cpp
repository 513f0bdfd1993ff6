// What it costs to acquire a consistent version, read one element of one of 64 shards of 64 bytes,
// and let go of it, by one and two threads, with and without commits going on.
//
// `reader_time` is what one reader waits for one read; Google Benchmark's own Time divides by the
// number of threads. CPU is each reader's own.
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>

#include "committer.hpp"
#include "peers.hpp"
#include "shards.hpp"

namespace {

using namespace benchmarks;
using Shard = Blob<64>;

// benchmark::DoNotOptimize() may send the value through memory, which costs as much as the read.
void make_opaque(std::size_t& id) {
#if defined(__GNUC__)
    asm volatile("" : "+r"(id));
#else
    benchmark::DoNotOptimize(id);
#endif
}

template <class Peer, Commits commits>
struct Reading {
    struct Running {
        Peer peer;
        Committer<Peer> committer{peer, commits, 1};
    };
    static inline std::unique_ptr<Running> running;

    static void set_up(const benchmark::State&) { running = std::make_unique<Running>(); }
    static void tear_down(const benchmark::State&) { running.reset(); }

    static void run(benchmark::State& state) {
        typename Peer::Session session(running->peer);
        const auto start = std::chrono::steady_clock::now();
        const std::uint64_t made = running->committer.made();
        // All ids in turn, each opaque: no candidate may compute an address ahead of its read.
        while (state.KeepRunningBatch(table_size)) {
            for (std::size_t i = 0; i < table_size; ++i) {
                std::size_t id = i;
                make_opaque(id);
                benchmark::DoNotOptimize(session.read(id));
            }
        }
        if (commits != Commits::none && state.thread_index() == 0) {
            const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
            state.counters["commits_per_s"] =
                static_cast<double>(running->committer.made() - made) / passed.count();
        }
        // Summed over the threads, this is 1 / threads for each read; its inverse rate is the wall
        // time times the threads over all reads.
        const auto threads = static_cast<double>(state.threads());
        state.counters["reader_time"] = benchmark::Counter(
            1 / threads / threads,
            benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
    }
};

template <class Peer, Commits commits>
void add(int threads) {
    const std::string name = std::string("read/") + Peer::name + "/" + to_string(commits);
    benchmark::RegisterBenchmark(name.c_str(), Reading<Peer, commits>::run)
        ->Setup(Reading<Peer, commits>::set_up)
        ->Teardown(Reading<Peer, commits>::tear_down)
        ->Threads(threads)
        ->UseRealTime();
}

const bool added = [] {
    add<CowUnprotected<Shard>, Commits::none>(1);
    add<CowUnprotected<Shard>, Commits::none>(2);
    for_each_peer<Shard>([]<class Peer>() {
        add<Peer, Commits::none>(1);
        add<Peer, Commits::none>(2);
        add<Peer, Commits::each_ms>(2);
        add<Peer, Commits::without_pause>(1);
    });
    return true;
}();

} // namespace
