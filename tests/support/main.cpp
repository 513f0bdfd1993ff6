#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

int main(int argc, char** argv) {
    Catch::Session session;
    if (const int failure = session.applyCommandLine(argc, argv); failure != 0) {
        return failure;
    }
#if !__has_include(<catch2/catch_session.hpp>)
    // Version 3 sees to this itself: a program that ran no test has not passed.
    const auto& all = Catch::getRegistryHub().getTestCaseRegistry().getAllTests();
    const Catch::Config& config = session.config();
    if (!config.listTests() && Catch::filterTests(all, config.testSpec(), config).empty()) {
        Catch::cerr() << "No test matches.\n";
        return 1;
    }
#endif
    return session.run();
}
