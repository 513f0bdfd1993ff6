/// The scenarios without a test framework, for headers with planted bugs: compiles in seconds.
/// Arguments: the number of the bug that is there (0: none), how many schedules, and the name of a
/// scenario. The script that plants them declares planted_bug.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "run_schedules.hpp"

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    planted_bug = std::atoi(argv[1]);
    test::Verdict::end_program_on_failure();
    const std::uint64_t count = std::strtoull(argv[2], nullptr, 10);
    const test::OneProcessor one_processor;
    test::Scheduler scheduler(4);
    for (const test::Scenario& scenario : test::all_scenarios)
        if (std::strcmp(scenario.name, argv[3]) == 0)
            return test::run_schedules(scenario, scheduler, count).empty() ? 0 : 1;
    return 2;
}
