// The first read after a commit made by another thread, of the shard that was changed: everything
// that the commit has written is in the other core's cache. Percentiles in the counters.
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include <benchmark/benchmark.h>

#include "opaque.hpp"
#include "peers.hpp"
#include "shards.hpp"
#include "tails.hpp"

namespace {

using namespace benchmarks;
using Shard = Blob<64>;

// The reader asks for commit number r; the committer answers when it is done.
struct alignas(128) Word {
    std::atomic<std::uint64_t> round{0};
};

template <class Peer>
void run(benchmark::State& state) {
    Peer peer;
    Word asked;
    Word done;
    std::thread committer([&] {
        for (std::uint64_t last = 0;;) {
            const std::uint64_t round = asked.round.load(std::memory_order_acquire);
            if (round == last) continue;
            if (round == ~std::uint64_t{0}) return;
            last = round;
            peer.commit(round % table_size, 1);
            done.round.store(round, std::memory_order_release);
        }
    });

    Tail tail;
    {
        const Clock& clock = Clock::get();
        typename Peer::Session session(peer);
        std::uint64_t round = 0;
        for (auto _ : state) {
            asked.round.store(++round, std::memory_order_release);
            while (done.round.load(std::memory_order_acquire) != round) session.idle();
            const auto start = Clock::now();
            consume(session.read(round % table_size));
            tail.add(clock.ns(start, Clock::now()));
        }
        asked.round.store(~std::uint64_t{0}, std::memory_order_release);
    }
    committer.join();
    tail.report(state, "first_read");
}

const bool added = [] {
    for_each_peer<Shard>([]<class Peer>() {
        const std::string name = std::string("first_read/") + Peer::name;
        benchmark::RegisterBenchmark(name.c_str(), run<Peer>)->UseRealTime();
    });
    return true;
}();

} // namespace
