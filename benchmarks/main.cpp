// The main function of every benchmark program.
#include <string>
#include <thread>

#include <benchmark/benchmark.h>

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

int main(int argc, char** argv) {
    // libstdc++ counts shared_ptr references without atomic instructions for as long as the process
    // has never started a thread. No program that shares anything is in that state, and a
    // shared_ptr measured in it looks twice as fast as it is.
    std::thread([] {}).join();

#if defined(__clang__)
    benchmark::AddCustomContext("compiler", __VERSION__);
#else
    benchmark::AddCustomContext("compiler", "g++ " __VERSION__);
#endif
#if defined(__GLIBC__)
    benchmark::AddCustomContext("libc", std::string("glibc ") + gnu_get_libc_version());
#endif
    benchmark::AddCustomContext("peers", COWINDEX_PEERS_FOUND);
    benchmark::AddCustomContext("peers left out", COWINDEX_PEERS_LEFT_OUT);

    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    // A filter that matches nothing has measured nothing.
    const bool ran = benchmark::RunSpecifiedBenchmarks() > 0;
    benchmark::Shutdown();
    return ran ? 0 : 1;
}
