// Several threads that do the same for a while, and how often each got it done.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

namespace benchmarks {

// Runs work(thread, stop) on so many threads for a tenth of a second, where work counts what it
// does until stop() is true. Reports for all threads together `per_s`, and for the slowest one
// `least_share`, its share of what each would have in a fair world: 0 is starvation.
//
// Threads that each do a given number would be measured by the last of them, alone at the end.
template <class Work>
void hammer(benchmark::State& state, std::size_t threads, Work work,
            std::chrono::milliseconds warm_up = std::chrono::milliseconds(20)) {
    constexpr std::chrono::milliseconds window{100};
    struct alignas(128) Count {
        std::atomic<std::uint64_t> done{0};
    };

    std::vector<Count> counts(threads);
    std::vector<std::uint64_t> before(threads);
    std::vector<std::uint64_t> done(threads);
    std::atomic<bool> stop{false};
    for (auto _ : state) {
        std::vector<std::thread> running;
        for (std::size_t thread = 0; thread < threads; ++thread)
            running.emplace_back([&, thread] {
                std::atomic<std::uint64_t>& count = counts[thread].done;
                work(thread, [&] {
                    count.store(count.load(std::memory_order_relaxed) + 1,
                                std::memory_order_relaxed);
                    return stop.load(std::memory_order_relaxed);
                });
            });
        std::this_thread::sleep_for(warm_up);
        const auto start = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < threads; ++i) before[i] = counts[i].done;
        std::this_thread::sleep_for(window);
        for (std::size_t i = 0; i < threads; ++i) done[i] = counts[i].done - before[i];
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
        stop = true;
        for (std::thread& thread : running) thread.join();

        const auto all = static_cast<double>(std::accumulate(done.begin(), done.end(), 0ULL));
        const auto least = static_cast<double>(*std::min_element(done.begin(), done.end()));
        state.SetIterationTime(passed.count());
        state.counters["per_s"] = all / passed.count();
        state.counters["least_share"] = all > 0 ? least * static_cast<double>(threads) / all : 0;
    }
}

// For a benchmark that is one call of hammer().
inline void one_window(benchmark::internal::Benchmark* benchmark) {
    benchmark->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
}

} // namespace benchmarks
