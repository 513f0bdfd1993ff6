#include <cowindex/cow_metrics.hpp>

#include <chrono>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include <cowindex/cowindex.hpp>
#include <cowindex/policy.hpp>

#include "support/catch.hpp"
#include "support/values_in_words.hpp"

using namespace std::chrono_literals;
using cowindex::CowMetrics;
using cowindex::ShardId;

namespace {

struct Untimed : cowindex::DefaultPolicy<int> {
    static constexpr bool timing = false;
};

// A clock or a counter that went below zero would show here.
void no_gauge_underflows(const CowMetrics::Values& v) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max() / 2;
    for (const std::uint64_t gauge :
         {v.active_readers, v.pending_writers, v.memory_usage_bytes, v.peak_memory_bytes,
          v.retained_bytes, v.retained_versions, v.uncommitted_bytes, v.clone_operations,
          v.bytes_cloned, v.commits, v.conflicts, v.discards, v.retries, v.reclaimed_bytes})
        REQUIRE(gauge < most);
}

} // namespace

TEST_CASE("a collector on its own starts at zero and adds up") {
    CowMetrics metrics;
    const auto zero = metrics.values();
    REQUIRE(zero.commits == 0);
    REQUIRE(zero.average_clone_time == 0ns);
    metrics.record_clones(2, 100);
    metrics.record_commits(3);
    metrics.record_conflict();
    metrics.record_discard();
    metrics.record_discard();
    metrics.record_retry();
    metrics.record_reclaimed(77);
    metrics.record_turn({1, 2, 3, 4});
    metrics.record_clone_time(10ns);
    metrics.record_clone_time(30ns);
    metrics.record_commit_time(7ns);
    metrics.record_commit_time(-5ns); // a clock that went back counts as no time
    const auto v = metrics.values();
    REQUIRE(v.clone_operations == 4);
    REQUIRE(v.bytes_cloned == 103);
    REQUIRE(v.commits == 4);
    REQUIRE(v.conflicts == 1);
    REQUIRE(v.discards == 2);
    REQUIRE(v.retries == 1);
    REQUIRE(v.reclaimed_bytes == 81);
    REQUIRE(v.average_clone_time == 20ns);
    REQUIRE(v.average_commit_time == 3ns);
    REQUIRE(v.active_readers == 0);
    REQUIRE(v.memory_usage_bytes == 0);
}

TEST_CASE("a collector tells percentiles of what was sampled") {
    CowMetrics metrics;
    for (int i = 1; i <= 1000; ++i) {
        metrics.record_clone_time(std::chrono::nanoseconds(i * 1000));
        metrics.record_commit_time(std::chrono::nanoseconds(i * 1000 + 5'000'000));
    }
    const auto v = metrics.values();
    REQUIRE(v.clone_time_samples == 1000);
    REQUIRE(v.clone_time_total == 500'500us);
    REQUIRE(v.clone_time_min == 1us);
    REQUIRE(v.clone_time_max == 1ms);
    REQUIRE(v.commit_time_samples == 1000);
    REQUIRE(v.commit_time_total == 5'500'500us);
    REQUIRE(v.commit_time_min == 5'001us);
    REQUIRE(v.commit_time_max == 6ms);
    const auto near = [](std::chrono::nanoseconds answer, std::chrono::nanoseconds truth) {
        return answer >= truth - truth / 20 && answer <= truth + truth / 20;
    };
    REQUIRE(near(v.clone_time_p50, 500us));
    REQUIRE(near(v.clone_time_p90, 900us));
    REQUIRE(near(v.clone_time_p99, 990us));
    REQUIRE(near(v.commit_time_p50, 5'500us));
    REQUIRE(near(v.commit_time_p90, 5'900us));
    REQUIRE(near(v.commit_time_p99, 5'990us));

    const auto counts = metrics.counts();
    REQUIRE(counts.clone_time_samples == 0);
    REQUIRE(counts.commit_time_p50 == 0ns);
}

TEST_CASE("a difference of two readings tells what happened in between") {
    // Counters from 1000 on, so that a subtraction shows, then the same and 7 more.
    constexpr std::size_t words = test::words<CowMetrics::Values>;
    const auto older = test::record_of_words<CowMetrics::Values>(1000);
    const auto newer = test::record_of_words<CowMetrics::Values>(1007);
    const auto between = delta(newer, older);
    std::size_t subtracted = 0;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < words; ++i) {
        if (test::word(between, i) == 7) ++subtracted;
        if (test::word(between, i) == test::word(newer, i)) ++kept;
    }
    REQUIRE(subtracted == 11);       // seven counts, and of both durations samples and sums
    REQUIRE(kept == words - 11 - 2); // the averages are worked out anew
    REQUIRE(between.commits == 7);
    REQUIRE(between.active_readers == newer.active_readers);
    REQUIRE(between.clone_time_p99 == newer.clone_time_p99);
    REQUIRE(between.commit_time_max == newer.commit_time_max);

    CowMetrics metrics;
    metrics.record_commit_time(1ms);
    metrics.record_clone_time(1ms);
    const auto before = metrics.values();
    metrics.record_commits(2);
    metrics.record_commit_time(10ns);
    metrics.record_commit_time(30ns);
    const auto change = delta(metrics.values(), before);
    REQUIRE(change.commits == 2);
    REQUIRE(change.commit_time_samples == 2);
    REQUIRE(change.commit_time_total == 40ns);
    REQUIRE(change.average_commit_time == 20ns);
    REQUIRE(change.average_clone_time == 0ns); // none was sampled in between
    REQUIRE(change.commit_time_max == 1ms);
    REQUIRE(metrics.values().commit_time_samples == 3); // nothing was reset

    const auto swapped = delta(before, metrics.values());
    REQUIRE(swapped.commits == 0);
    REQUIRE(swapped.commit_time_total == 0ns);
    no_gauge_underflows(swapped);
}

TEST_CASE("counts of several threads are exact") {
    CowMetrics metrics;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 10000; ++i) metrics.record_conflict();
        });
    for (std::thread& thread : threads) thread.join();
    REQUIRE(metrics.values().conflicts == 40000);
}

TEST_CASE("an index counts what it does, exactly") {
    cowindex::CowIndex<int> index(10);
    auto v = index.metrics();
    REQUIRE(v.commits == 0);
    REQUIRE(v.clone_operations == 0);
    REQUIRE(v.pending_writers == 0);
    REQUIRE(v.memory_usage_bytes > 0);
    REQUIRE(v.oldest_pinned_version == 0);

    index.edit(1, [](int& value) { value = 1; });
    index.replace(2, 1);
    {
        auto writer = index.writer();
        writer.edit(3) = 1;
        writer.edit(4) = 1;
        v = index.metrics();
        REQUIRE(v.pending_writers == 1);
        REQUIRE(v.uncommitted_bytes == writer.memory_overhead());
        REQUIRE(v.clone_operations == 3); // an open writer's clones count at once
        REQUIRE(v.bytes_cloned == 3 * sizeof(int));
        writer.discard();
        writer.edit(3) = 2;
        index.replace(3, 7);
        REQUIRE_FALSE(writer.try_commit());
    }
    v = index.metrics();
    REQUIRE(v.commits == 3);
    REQUIRE(v.clone_operations == 4);
    REQUIRE(v.conflicts == 1);
    REQUIRE(v.discards == 2);
    REQUIRE(v.retries == 0);
    REQUIRE(v.pending_writers == 0);

    int losses = 2;
    index.update([&](auto& writer) {
        writer.edit(5) = 1;
        if (losses-- > 0) {
            auto winner = index.writer();
            winner.replace(5, 9);
            winner.commit();
        }
    });
    v = index.metrics();
    REQUIRE(v.retries == 2);
    REQUIRE(v.conflicts == 3);
    REQUIRE(v.discards == 2); // what update() tries again is not given up
    REQUIRE(v.commits == 6);
    REQUIRE(v.clone_operations == 7);
    no_gauge_underflows(v);
}

TEST_CASE("gauges follow readers and old versions, and are zero at rest") {
    cowindex::CowIndex<int> index(10);
    {
        auto reader = index.reader();
        const auto view = reader.pin();
        const auto nested = reader.pin();
        const auto snapshot = index.snapshot();
        const auto copy = snapshot;
        REQUIRE(index.metrics().active_readers == 3);
        index.replace(1, 1);
        const auto v = index.metrics();
        REQUIRE(v.retained_versions == 1);
        REQUIRE(v.oldest_pinned_version == 0);
        REQUIRE(v.retained_bytes == index.memory_usage().retained_bytes);
        no_gauge_underflows(v);
    }
    const std::size_t freed = index.reclaim();
    const auto v = index.metrics();
    REQUIRE(v.active_readers == 0);
    REQUIRE(v.retained_versions == 0);
    REQUIRE(v.retained_bytes == 0);
    REQUIRE(v.oldest_pinned_version == 1);
    REQUIRE(v.reclaimed_bytes >= freed);
    REQUIRE(v.peak_memory_bytes >= v.memory_usage_bytes);
    no_gauge_underflows(v);
}

TEST_CASE("durations are sampled, the first one included") {
    cowindex::Options<cowindex::DefaultPolicy<int>> options;
    options.time_every = 1;
    cowindex::CowIndex<int> index(10, 0, options);
    REQUIRE(index.metrics().average_commit_time == 0ns);
    const auto start = std::chrono::steady_clock::now();
    index.edit(1, [](int& value) { value = 1; });
    const auto whole = std::chrono::steady_clock::now() - start;
    REQUIRE(index.metrics().average_commit_time > 0ns);
    REQUIRE(index.metrics().average_commit_time <= whole);
    REQUIRE(index.metrics().average_clone_time <= whole);
    REQUIRE(index.metrics().commit_time_samples == 1);
    REQUIRE(index.metrics().clone_time_samples == 1);
    REQUIRE(index.metrics().commit_time_p50 == index.metrics().commit_time_max);
    options.time_every = 0;
    REQUIRE_THROWS_AS(cowindex::CowIndex<int>(10, 0, options), std::invalid_argument);
}

TEST_CASE("of many commits and clones of a writer, one in so many is timed") {
    cowindex::Options<cowindex::DefaultPolicy<int>> options;
    options.time_every = 4;
    cowindex::CowIndex<int> index(10, 0, options);
    auto writer = index.writer();
    for (int i = 0; i < 9; ++i) { // the first, the fifth and the ninth
        writer.edit(1) = i;
        writer.commit();
    }
    REQUIRE(index.metrics().commit_time_samples == 3);
    REQUIRE(index.metrics().clone_time_samples == 3);
}

TEST_CASE("a policy turns timing off, and only that") {
    cowindex::Options<Untimed> options;
    options.time_every = 1;
    cowindex::CowIndex<int, Untimed> index(10, 0, options);
    index.edit(1, [](int& value) { value = 1; });
    const auto v = index.metrics();
    REQUIRE(v.commits == 1);
    REQUIRE(v.clone_operations == 1);
    REQUIRE(v.clone_time_samples == 0);
    REQUIRE(v.commit_time_samples == 0);
    REQUIRE(v.commit_time_max == 0ns);
}
