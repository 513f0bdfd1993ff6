/// Runs a scenario under many schedules.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#if defined(__unix__)
#include <signal.h>
#endif

#include <support/environment.hpp>

#include "scenarios.hpp"

namespace test {

/// While it lives, a crash also says under which schedule it happened.
class CrashReport {
  public:
#if defined(__unix__)
    CrashReport() {
        struct sigaction action{};
        action.sa_handler = [](int signal) {
            Verdict::tell("crash");
            // Back to whoever was there before: the fault happens again when this returns.
            static_cast<void>(::sigaction(signal, &before_, nullptr));
        };
        static_cast<void>(::sigaction(SIGSEGV, &action, &before_));
    }
    ~CrashReport() { static_cast<void>(::sigaction(SIGSEGV, &before_, nullptr)); }
    CrashReport(const CrashReport&) = delete;
    CrashReport& operator=(const CrashReport&) = delete;

  private:
    static inline struct sigaction before_{};
#else
    CrashReport() {}
#endif
};

/// Returns what went wrong under the first schedule that failed; empty: all went well. The variable
/// COWINDEX_SEED runs one schedule alone, COWINDEX_SCHEDULES says how many make a run.
inline std::string run_schedules(const Scenario& scenario, Scheduler& scheduler,
                                 std::uint64_t count) {
    count = number_from_environment("COWINDEX_SCHEDULES", count);
    const CrashReport report;
    std::uint64_t seed = 0;
    if (std::getenv("COWINDEX_SEED") != nullptr) {
        seed = number_from_environment("COWINDEX_SEED", 0);
        count = 1;
    }
    for (const std::uint64_t end = seed + count; seed < end; ++seed) {
        World world(scenario.name, seed, scheduler);
        scenario.body(world);
        if (!Verdict::failure().empty()) return Verdict::failure();
    }
    return {};
}

} // namespace test
