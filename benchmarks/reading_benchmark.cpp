// What it costs to acquire a consistent version, read one element of one of 64 shards of 64 bytes,
// and let go of it, by one and two threads, with and without commits going on.
//
// read/: the reads do not depend on each other, so the processor works on several at once. chain/:
// which shard is read next depends on what was read last, as in a search that follows links.
//
// `reader_time` is what one reader waits for one read; Google Benchmark's own Time divides by the
// number of threads. CPU is each reader's own.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>

#include "committer.hpp"
#include "opaque.hpp"
#include "peers.hpp"
#include "shards.hpp"

namespace {

using namespace benchmarks;
using Shard = Blob<64>;

// What a pin cannot do without, written out for a flat table: name the version that one had last in
// a slot, look whether it is the latest, clear the slot. No nesting, nothing that may move or
// outlive anything, nobody who reclaims.
template <class Element>
struct SlotAlone : RawPointer<Element> {
    static constexpr const char* name = "slot_alone";

    struct Session {
        explicit Session(SlotAlone& its_peer) : peer(its_peer) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            for (const Table<Element>* guess = nullptr; guess != table;) {
                guess = table;
                slot.store(guess, std::memory_order_release);
                std::atomic_signal_fence(std::memory_order_seq_cst);
                table = peer.latest.load(std::memory_order_acquire);
            }
            const std::uint64_t count = (*table)[id].count;
            slot.store(nullptr, std::memory_order_release);
            return count;
        }
        void idle() {}
        SlotAlone& peer;
        const Table<Element>* table = peer.latest.load(std::memory_order_acquire);
        alignas(128) std::atomic<const Table<Element>*> slot{nullptr};
    };
};

enum class Order { independent, chain };

template <class Peer, Commits commits, Order order>
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
        std::size_t last = 0;
        while (state.KeepRunningBatch(table_size)) {
            for (std::size_t i = 0; i < table_size; ++i) {
                std::size_t id = order == Order::chain ? (i + last) % table_size : i;
                make_opaque(id);
                if constexpr (order == Order::chain)
                    last = session.read(id);
                else
                    consume(session.read(id));
            }
        }
        consume(last);
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

template <class Peer, Commits commits, Order order = Order::independent>
void add(int threads) {
    using Measured = Reading<Peer, commits, order>;
    const std::string name = std::string(order == Order::chain ? "chain/" : "read/") + Peer::name +
                             "/" + to_string(commits);
    benchmark::RegisterBenchmark(name.c_str(), Measured::run)
        ->Setup(Measured::set_up)
        ->Teardown(Measured::tear_down)
        ->Threads(threads)
        ->UseRealTime();
}

const bool added = [] {
    add<CowUnprotected<Shard>, Commits::none, Order::chain>(1);
    add<CowUnprotected<Shard>, Commits::none>(1);
    add<CowUnprotected<Shard>, Commits::none>(2);
    add<SlotAlone<Shard>, Commits::none>(1);
    add<SlotAlone<Shard>, Commits::none>(2);
    for_each_peer<Shard>([]<class Peer>() {
        add<Peer, Commits::none, Order::chain>(1);
        add<Peer, Commits::none>(1);
        add<Peer, Commits::none>(2);
        add<Peer, Commits::each_ms>(2);
        add<Peer, Commits::without_pause>(1);
    });
    return true;
}();

} // namespace
