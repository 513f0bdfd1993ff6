#pragma once

#include "auditor.hpp"
#include "code_index.hpp"
#include "run_state.hpp"
#include "source.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

namespace code_search {

/// The writer: a thread that applies one commit of a source after another, each as one version,
/// until there is none left or the run stops. Every `check_every`-th version and the last go to the
/// auditor.
class Replay {
  public:
    Replay(CodeIndex index, Source& source, Auditor& auditor, std::uint64_t check_every,
           RunState& state);

    /// Stops the run if it still goes on.
    ~Replay();

    Replay(const Replay&) = delete;
    Replay& operator=(const Replay&) = delete;

    /// True once the thread has nothing more to do.
    bool done() const { return done_; }

    /// True if no commit of the source was left.
    bool complete() const { return complete_; }

    std::uint64_t commits() const { return commits_; }

    /// Files added, changed or deleted.
    std::uint64_t changes() const { return changes_; }

    /// What the commits would have copied if each had cloned the whole index.
    std::uint64_t bytes_of_full_clones() const { return bytes_of_full_clones_; }

  private:
    void work();
    void account(const std::vector<cowindex::ShardId>& touched);

    CodeIndex index_;
    Source& source_;
    Auditor& auditor_;
    std::uint64_t check_every_;
    RunState& state_;

    std::array<std::uint64_t, shard_count> shard_bytes_{};
    std::uint64_t index_bytes_ = 0;

    std::atomic<std::uint64_t> commits_{0};
    std::atomic<std::uint64_t> changes_{0};
    std::atomic<std::uint64_t> bytes_of_full_clones_{0};
    std::atomic<bool> complete_{false};
    std::atomic<bool> done_{false};
    std::thread thread_;
};

} // namespace code_search
