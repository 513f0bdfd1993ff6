// A thread that commits while others read.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>

#include "peers.hpp"
#include "shards.hpp"
#include "tails.hpp"

namespace benchmarks {

enum class Commits { none, each_ms, without_pause };

inline const char* to_string(Commits commits) {
    switch (commits) {
    case Commits::none: return "no_commits";
    case Commits::each_ms: return "commit_each_ms";
    case Commits::without_pause: return "commits_without_pause";
    }
    return "";
}

// Commits `k` random shards at a time to `peer` until it is destroyed.
template <class Peer>
class Committer {
  public:
    Committer(Peer& peer, Commits commits, std::size_t k) {
        if (commits == Commits::none) return;
        thread_.emplace([this, &peer, commits, k] {
            const Clock& clock = Clock::get();
            Random random;
            while (!stop_.load(std::memory_order_relaxed)) {
                const auto start = Clock::now();
                peer.commit(random.below(table_size), k);
                tail_.add(clock.ns(start, Clock::now()));
                made_.store(tail_.count(), std::memory_order_relaxed);
                if (commits == Commits::each_ms)
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        });
    }
    Committer(const Committer&) = delete;
    Committer& operator=(const Committer&) = delete;
    ~Committer() { stop(); }

    // What its commits took. No commit follows.
    const Tail& stop() {
        stop_ = true;
        if (thread_) thread_->join();
        thread_.reset();
        return tail_;
    }

    [[nodiscard]] std::uint64_t made() const { return made_.load(std::memory_order_relaxed); }

  private:
    alignas(128) std::atomic<bool> stop_{false};
    alignas(128) std::atomic<std::uint64_t> made_{0};
    Tail tail_;
    std::optional<std::thread> thread_;
};

} // namespace benchmarks
