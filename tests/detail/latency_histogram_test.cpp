#include <cowindex/detail/latency_histogram.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <support/catch.hpp>

using cowindex::detail::LatencyHistogram;
using std::chrono::nanoseconds;
using namespace std::chrono_literals;

namespace {

constexpr double promised_error = 1.0 / 32;

double error(nanoseconds answer, nanoseconds truth) {
    return std::abs(static_cast<double>((answer - truth).count())) /
           static_cast<double>(std::max<std::int64_t>(truth.count(), 1));
}

// The least value that `part` of all do not exceed.
nanoseconds true_percentile(const std::vector<nanoseconds>& sorted, double part) {
    const double wanted = part * static_cast<double>(sorted.size());
    auto rank = static_cast<std::size_t>(std::ceil(wanted));
    if (rank == 0) rank = 1;
    return sorted[rank - 1];
}

} // namespace

TEST_CASE("a histogram of nothing answers with zeros") {
    const LatencyHistogram histogram;
    const auto reading = histogram.read();
    REQUIRE(reading.count() == 0);
    REQUIRE(reading.total() == 0ns);
    REQUIRE(reading.min() == 0ns);
    REQUIRE(reading.max() == 0ns);
    REQUIRE(reading.mean() == 0ns);
    for (const double part : {0.0, 0.5, 1.0}) REQUIRE(reading.percentile(part) == 0ns);
}

TEST_CASE("one duration is answered exactly, whichever it is") {
    for (const nanoseconds time :
         {0ns, 1ns, 31ns, 32ns, 33ns, 999'999ns, nanoseconds(1h), nanoseconds::max()}) {
        LatencyHistogram histogram;
        histogram.record(time);
        const auto reading = histogram.read();
        REQUIRE(reading.count() == 1);
        REQUIRE(reading.total() == time);
        for (const double part : {0.0, 0.5, 1.0}) REQUIRE(reading.percentile(part) == time);
        REQUIRE(reading.min() == time);
        REQUIRE(reading.max() == time);
        REQUIRE(reading.mean() == time);
    }
}

TEST_CASE("a clock that went back counts as no time") {
    LatencyHistogram histogram;
    histogram.record(-5ns);
    histogram.record(nanoseconds::min());
    REQUIRE(histogram.read().count() == 2);
    REQUIRE(histogram.read().max() == 0ns);
    REQUIRE(histogram.read().total() == 0ns);
}

TEST_CASE("durations up to 32 ns are answered exactly") {
    LatencyHistogram histogram;
    for (int i = 1; i <= 32; ++i) histogram.record(nanoseconds(i));
    const auto reading = histogram.read();
    for (int i = 1; i <= 32; ++i) REQUIRE(reading.percentile(i / 32.0) == nanoseconds(i));
    REQUIRE(reading.mean() == 16ns);
}

TEST_CASE("no duration below 18 minutes is answered wrong by more than a thirty-second") {
    // On both sides of each border between buckets, and in their middles.
    double worst = 0;
    for (unsigned bit = 0; bit < 40; ++bit)
        for (std::int64_t part = 0; part < 32; ++part)
            for (std::int64_t off = -1; off <= 1; ++off) {
                const std::int64_t power = std::int64_t{1} << bit;
                const nanoseconds time(power + power * part / 32 + off);
                if (time < 0ns) continue;
                LatencyHistogram histogram;
                // Without these the minimum and the maximum would correct the answer.
                histogram.record(0ns);
                histogram.record(time);
                histogram.record(nanoseconds::max());
                worst = std::max(worst, error(histogram.read().percentile(0.5), time));
            }
    REQUIRE(worst <= promised_error);
    REQUIRE(worst > promised_error / 2); // else the test looks at the wrong places
}

TEST_CASE("percentiles of many durations agree with the sorted list") {
    std::mt19937_64 random(11);
    std::lognormal_distribution<double> skewed(7, 2);
    std::uniform_real_distribution<double> flat(0, 1e6);
    for (const bool is_skewed : {true, false}) {
        LatencyHistogram histogram;
        std::vector<nanoseconds> all;
        std::uint64_t sum = 0;
        for (int i = 0; i < 20'000; ++i) {
            const double time = is_skewed ? skewed(random) : flat(random);
            all.emplace_back(static_cast<std::int64_t>(time));
            sum += static_cast<std::uint64_t>(all.back().count());
            histogram.record(all.back());
        }
        std::sort(all.begin(), all.end());
        const auto reading = histogram.read();
        for (const double part : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0})
            REQUIRE(error(reading.percentile(part), true_percentile(all, part)) <= promised_error);
        REQUIRE(reading.min() == all.front());
        REQUIRE(reading.max() == all.back());
        REQUIRE(reading.count() == all.size());
        REQUIRE(reading.total() == nanoseconds(static_cast<std::int64_t>(sum)));
        REQUIRE(reading.mean() == reading.total() / 20'000);
    }
}

TEST_CASE("durations of several threads are all counted, and readings make sense meanwhile") {
    LatencyHistogram histogram;
    constexpr int each = 20'000;
    std::atomic<bool> done{false};
    std::uint64_t readings = 0;
    bool sensible = true;
    std::thread reader([&] {
        std::uint64_t seen = 0;
        while (!done || readings == 0) {
            const auto reading = histogram.read();
            sensible = sensible && reading.count() >= seen && reading.min() <= reading.mean() &&
                       reading.mean() <= reading.max() &&
                       reading.min() <= reading.percentile(0.5) &&
                       reading.percentile(0.5) <= reading.percentile(0.9) &&
                       reading.percentile(0.9) <= reading.percentile(0.99) &&
                       reading.percentile(0.99) <= reading.max();
            seen = reading.count();
            ++readings;
        }
    });
    std::vector<std::thread> recorders;
    for (int t = 0; t < 4; ++t)
        recorders.emplace_back([&histogram, t] {
            // Downward, so that the minimum is contended, and the maximum upward.
            for (int i = 0; i < each; ++i)
                histogram.record(nanoseconds(1'000'000 + (i % 2 == 0 ? 1 : -1) * (4 * i + t)));
        });
    for (std::thread& thread : recorders) thread.join();
    done = true;
    reader.join();
    REQUIRE(sensible);
    const auto reading = histogram.read();
    REQUIRE(reading.count() == 4 * each);
    REQUIRE(reading.min() == nanoseconds(1'000'000 - (4 * (each - 1) + 3)));
    REQUIRE(reading.max() == nanoseconds(1'000'000 + (4 * (each - 2) + 3)));
}

TEST_CASE("a reading of nothing is nothing, also while the first is being recorded") {
    constexpr int rounds = 500;
    std::atomic<LatencyHistogram*> next{nullptr};
    std::atomic<bool> recorded{false};
    std::thread recorder([&] {
        for (int i = 0; i < rounds; ++i) {
            LatencyHistogram* histogram = nullptr;
            while ((histogram = next.exchange(nullptr)) == nullptr) std::this_thread::yield();
            for (int wait = 0; wait < i; ++wait)
                std::atomic_signal_fence(std::memory_order_seq_cst);
            histogram->record(nanoseconds(5));
            recorded = true;
        }
    });
    bool nothing = true;
    for (int i = 0; i < rounds; ++i) {
        const auto histogram = std::make_unique<LatencyHistogram>();
        recorded = false;
        next = histogram.get();
        while (!recorded) {
            const auto reading = histogram->read();
            nothing = nothing && (reading.count() != 0 || reading.total() == nanoseconds(0));
        }
    }
    recorder.join();
    REQUIRE(nothing);
}
