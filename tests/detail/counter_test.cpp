#include <cowindex/detail/counter.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <support/catch.hpp>

using cowindex::detail::Counter;

TEST_CASE("a counter counts") {
    Counter counter;
    REQUIRE(counter.read() == 0);
    counter.add(5);
    counter.add();
    counter.subtract(2);
    counter.add_alone(10);
    counter.subtract_alone();
    REQUIRE(counter.take_alone() == 13);
    REQUIRE(counter.read() == 0);
}

TEST_CASE("a counter is raised, never lowered") {
    Counter counter;
    counter.raise(7);
    REQUIRE(counter.read() == 7);
    counter.raise(3);
    REQUIRE(counter.read() == 7);
    counter.raise(~std::uint64_t{0});
    REQUIRE(counter.read() == ~std::uint64_t{0});
}

TEST_CASE("what one thread raises no other lowers") {
    Counter counter;
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    std::array<std::uint64_t, 2> lost{};
    for (std::uint64_t t = 0; t < 2; ++t)
        threads.emplace_back([&, t] {
            ++ready;
            while (ready < 2) std::this_thread::yield();
            std::uint64_t lower = 0;
            std::uint64_t own = 0;
            int met = 0; // on a busy machine one could be done before the other begins
            for (std::uint64_t i = 0; i < 2'000'000 || (i < 10'000'000 && met < 20'000); ++i) {
                // Both are always about to raise it, by different steps.
                const std::uint64_t now = counter.read();
                if (now != own) ++met;
                const std::uint64_t n = now + 1 + (i + t) % 2 * 3;
                counter.raise(n);
                own = n;
                if (counter.read() < n) ++lower;
            }
            lost[t] = lower;
        });
    for (std::thread& thread : threads) thread.join();
    REQUIRE(lost[0] + lost[1] == 0);
}
