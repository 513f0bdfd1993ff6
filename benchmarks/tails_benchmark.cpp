// The worst that happens to one reader and to the one committer beside it. Percentiles in the
// counters read_* and commit_*, in nanoseconds.
//
//   small     64 shards of 64 bytes; a read of one element; one shard changed at a time, without
//             pause
//   strings   64 shards of 1600 strings each; a read of all of them; all changed at a time, a
//             millisecond after the last: whoever lets go of an old version last has 100 000
//             strings to destroy
#include <memory>
#include <string>
#include <type_traits>

#include <benchmark/benchmark.h>

#include "committer.hpp"
#include "opaque.hpp"
#include "peers.hpp"
#include "shards.hpp"
#include "tails.hpp"

namespace {

using namespace benchmarks;

enum class Reads { one_element, everything };

template <class Peer, Commits commits, Reads what>
void run(benchmark::State& state, std::size_t k) {
    const auto peer = std::make_unique<Peer>();
    Tail reads;
    {
        Committer<Peer> committer(*peer, commits, k);
        const Clock& clock = Clock::get();
        {
            typename Peer::Session session(*peer);
            [[maybe_unused]] std::size_t id = 0;
            for (auto _ : state) {
                const auto start = Clock::now();
                if constexpr (what == Reads::one_element)
                    consume(session.read(++id % table_size));
                else
                    consume(session.sum());
                reads.add(clock.ns(start, Clock::now()));
            }
        }
        committer.stop().report(state, "commit");
    }
    reads.report(state, "read");
}

const bool added = [] {
    for_each_peer<Blob<64>>([]<class Peer>() {
        const std::string name = std::string("tail/small/") + Peer::name;
        benchmark::RegisterBenchmark(name.c_str(),
                                     run<Peer, Commits::without_pause, Reads::one_element>, 1)
            ->UseRealTime();
    });
    for_each_peer<Strings>([]<class Peer>() {
        // 64 of its tables are too much, and in a table that is overwritten nothing is freed.
        if constexpr (!std::is_same_v<Peer, RawPointer<Strings>>) {
            const std::string name = std::string("tail/strings/") + Peer::name;
            benchmark::RegisterBenchmark(name.c_str(),
                                         run<Peer, Commits::each_ms, Reads::everything>, table_size)
                ->MinTime(0.3) // a commit takes ten milliseconds
                ->UseRealTime();
        }
    });
    return true;
}();

} // namespace
