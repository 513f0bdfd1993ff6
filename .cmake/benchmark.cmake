# Makes sure of the target benchmark::benchmark: installed, else a pinned download.
find_package(benchmark 1.7 CONFIG QUIET)
if(NOT TARGET benchmark::benchmark)
    include("${CMAKE_CURRENT_LIST_DIR}/pinned_source.cmake")
    set(BENCHMARK_ENABLE_TESTING OFF)
    set(BENCHMARK_ENABLE_INSTALL OFF)
    cowindex_pinned_source(benchmark
        "https://github.com/google/benchmark/archive/refs/tags/v1.9.4.tar.gz"
        b334658edd35efcf06a99d9be21e4e93e092bd5f95074c1673d5c8705d95c104
        "Install Google Benchmark (on Debian: the package libbenchmark-dev) or pass -DCOWINDEX_BUILD_BENCHMARKS=OFF.")
endif()
