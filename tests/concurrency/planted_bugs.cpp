/// Some scenarios without a test framework, for headers with a planted bug: compiles in seconds.
/// PLANTED_SCENARIOS names them, each in braces with its function. Arguments: how many schedules,
/// the name of one of them.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "run_schedules.hpp"

int main(int argc, char** argv) {
    static constexpr test::Scenario scenarios[] = {PLANTED_SCENARIOS};
    if (argc != 3) return 2;
    test::Verdict::end_program_on_failure();
    const std::uint64_t count = std::strtoull(argv[1], nullptr, 10);
    const test::OneProcessor one_processor;
    test::Scheduler scheduler(4);
    for (const test::Scenario& scenario : scenarios)
        if (std::strcmp(scenario.name, argv[2]) == 0)
            return test::run_schedules(scenario, scheduler, count).empty() ? 0 : 1;
    return 2;
}
