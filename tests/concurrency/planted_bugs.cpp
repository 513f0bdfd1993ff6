/// The scenarios without a test framework, for headers with a planted bug: compiles in seconds.
/// Arguments: the number of schedules, then the names of scenarios.
#include <cstdio>
#include <cstring>

#include "run_schedules.hpp"

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    test::Verdict::end_program_on_failure();
    const std::uint64_t count = std::strtoull(argv[1], nullptr, 10);
    const test::OneProcessor one_processor;
    test::Scheduler scheduler(4);
    int run = 0;
    for (int i = 2; i < argc; ++i)
        for (const test::Scenario& scenario : test::all_scenarios)
            if (std::strcmp(scenario.name, argv[i]) == 0) {
                ++run;
                if (!test::run_schedules(scenario, scheduler, count).empty()) return 1;
            }
    return run == argc - 2 ? 0 : 2;
}
