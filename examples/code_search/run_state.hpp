#pragma once

#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

namespace code_search {

/// The index disagrees with the truth; `what()` is one line.
struct Mismatch : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What the threads of a run share: the request to stop, and the first failure.
class RunState {
  public:
    void stop() { stop_ = true; }
    bool stopping() const { return stop_; }
    const std::atomic<bool>& stop_flag() const { return stop_; }

    /// A thread that does `work`. If it throws, everything stops.
    template <class Work>
    std::thread start(Work work) {
        return std::thread([this, work = std::move(work)] {
            try {
                work();
            } catch (...) {
                const std::lock_guard lock(mutex_);
                if (!failure_) failure_ = std::current_exception();
                stop_ = true;
            }
        });
    }

    /// Throws what the first failing thread threw. Call it when the threads have ended.
    void rethrow_failure() const {
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::exception_ptr failure_;
};

} // namespace code_search
