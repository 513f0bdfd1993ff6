/// The real headers under the deterministic scheduler. To repeat a failure, set COWINDEX_SEED to
/// the number that it prints and name the scenario's section: `-c <scenario>`.
#include <support/catch.hpp>

#include "run_schedules.hpp"

namespace {

// Sanitized programs are slower. Under ThreadSanitizer the scheduler itself orders all threads, so
// that there is little to find: history_test is what it is for.
#if defined(COWINDEX_THREAD_SANITIZER)
constexpr std::uint64_t schedules = 500;
#elif defined(COWINDEX_TEST_ASAN)
constexpr std::uint64_t schedules = 3'000;
#else
constexpr std::uint64_t schedules = 10'000;
#endif

} // namespace

TEST_CASE("no schedule of a scenario breaks a promise") {
    for (const test::Scenario& scenario : test::all_scenarios) {
        DYNAMIC_SECTION(scenario.name) {
            const test::OneProcessor one_processor; // for each anew: another may be idle by now
            test::Scheduler scheduler(4);
            REQUIRE(test::run_schedules(scenario, scheduler, schedules) == "");
        }
    }
}

TEST_CASE("the same seed replays the same schedule") {
    const test::OneProcessor one_processor;
    test::Scheduler scheduler(3);
    const auto trace = [&](std::uint64_t seed) {
        std::string order;
        const auto body = [&order](char name) {
            return [&order, name] {
                for (int i = 0; i < 20; ++i) {
                    order += name;
                    test::Scheduler::point();
                }
            };
        };
        scheduler.run("trace", seed, {body('a'), body('b'), body('c')});
        return order;
    };
    bool differ = false;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const std::string order = trace(seed);
        REQUIRE(order.size() == 60);
        REQUIRE(order == trace(seed));
        differ = differ || order != trace(seed + 1);
    }
    REQUIRE(differ);
}

TEST_CASE("updates that keep losing are let through") {
    const test::OneProcessor one_processor;
    test::Scheduler scheduler(3);
    constexpr std::uint64_t runs = 500;
    // Some tries without a ticket; then those who had given way before may still be on their way,
    // and older tickets come first. A run in which others lose
    // patience may take more.
    constexpr int enough =
        cowindex::detail::TicketLine<test::ScheduledPolicy>::free_tries + 1 + 2 + 2;
    std::uint64_t more = 0;
    for (std::uint64_t seed = 0; seed < runs; ++seed) {
        test::World world("starve", seed, scheduler);
        if (test::scenarios::starve(world) > enough) ++more;
        REQUIRE(test::Verdict::failure() == "");
    }
    CAPTURE(more);
    REQUIRE(more <= runs / 50);
}
