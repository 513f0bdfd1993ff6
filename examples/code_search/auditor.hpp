#pragma once

#include "code_index.hpp"
#include "run_state.hpp"
#include "source.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

namespace code_search {

/// Compares snapshots with the source of truth, on a thread of its own: an owned snapshot stays
/// what it is, so the writer need not wait while an older version is looked at.
class Auditor {
  public:
    explicit Auditor(RunState& state);

    /// Checks what was submitted, then ends.
    ~Auditor();

    Auditor(const Auditor&) = delete;
    Auditor& operator=(const Auditor&) = delete;

    /// Waits only if too much waits already.
    void submit(cowindex::Snapshot<TextShard> snapshot, std::string commit, Listing listing);

    /// Waits until all is checked. A mismatch is a failure of the `RunState`.
    void finish();

    std::uint64_t checks() const { return checks_; }

  private:
    struct Task {
        cowindex::Snapshot<TextShard> snapshot;
        std::string commit;
        Listing listing;
    };

    void work();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    bool finishing_ = false;
    bool failed_ = false;
    std::atomic<std::uint64_t> checks_{0};
    std::thread thread_;
};

/// Exceptions: `Mismatch` if the snapshot does not hold exactly the paths and ids of `expected`.
void compare(const cowindex::Snapshot<TextShard>& snapshot, const std::vector<TreeEntry>& expected,
             const std::string& commit);

} // namespace code_search
