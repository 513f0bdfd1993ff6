#pragma once

#include "code_index.hpp"
#include "latency_histogram.hpp"
#include "run_state.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace code_search {

/// Threads that search all the time, each search on one pinned view, for texts found in that view.
/// Every `scan_every`-th result, and the first and last of each thread, is compared with a plain
/// scan of the same view.
class Searchers {
  public:
    Searchers(CodeIndex index, std::uint64_t threads, std::uint64_t scan_every, RunState& state);

    /// Ends the threads.
    ~Searchers();

    Searchers(const Searchers&) = delete;
    Searchers& operator=(const Searchers&) = delete;

    /// Waits for the end of the threads. A mismatch is a failure of the `RunState`.
    void finish();

    std::uint64_t searches() const;
    std::uint64_t checks() const;

    /// How long the searches took, without the scans. Call it after `finish()`.
    LatencyHistogram latencies() const;

  private:
    /// What one thread counts, away from what the others count.
    struct alignas(64) Tally {
        std::atomic<std::uint64_t> searches{0};
        std::atomic<std::uint64_t> checks{0};
        LatencyHistogram latencies;
    };

    using Random = std::minstd_rand;

    void work(Tally& tally, unsigned seed);

    /// Returns false if there is nothing to search yet.
    static bool search_once(const cowindex::View<TextShard>& view, bool check, Random& random,
                            Tally& tally);

    CodeIndex index_;
    std::uint64_t scan_every_;
    std::atomic<bool> finishing_{false};
    std::vector<std::unique_ptr<Tally>> tallies_;
    std::vector<std::thread> threads_;
};

} // namespace code_search
