// How commits scale from one writer to two and ten. `per_s` counts all threads' commits.
//
//   disjoint   each writer changes one random 4 KiB shard of its own half of 100 000
//     cowindex            on one index
//     separate_indexes    the same loops on an index each: what the machine allows
//     floor               in place, without versions, a table each: the limit
//     mutex               in place under one lock, cloning included
//     tbb                 in place in a concurrent_hash_map, element locked, cloning included
//   hot        all change the same shard, a number
//     cowindex_update     update(), which tries again after a conflict
//     mutex, tbb, std_atomic_shared_ptr
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <version>

#include <benchmark/benchmark.h>

#include "fixture.hpp"
#include "hammer.hpp"
#include "shards.hpp"
#include <cowindex/cowindex.hpp>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(COWINDEX_WITH_TBB)
#include <tbb/concurrent_hash_map.h>
#endif

namespace {

using namespace benchmarks;
using Shard = Blob<4096>;
using Index = cowindex::CowIndex<Shard>;
constexpr std::size_t shards = 100'000;

// Until most shards were changed once: the allocator gives threads different heaps, and growing one
// costs more than a commit.
constexpr std::chrono::milliseconds warm_up{250};

// One thread's random ids, of a part of its own.
struct OwnPart {
    OwnPart(std::size_t thread, std::size_t threads)
        : random(thread + 1), first(thread * shards / threads), count(shards / threads) {}
    std::size_t next() { return first + random.below(count); }
    Random random;
    std::size_t first;
    std::size_t count;
};

void commit_until(Index& index, OwnPart ids, auto stop) {
    auto writer = index.writer();
    while (!stop()) {
        writer.edit(ids.next()).touch();
        // Another's commit moves the index on; edits of other shards never conflict.
        writer.commit();
    }
}

using Place = std::unique_ptr<Shard>;
void replace(Place& place) {
    auto clone = std::make_unique<Shard>(*place);
    clone->touch();
    place.swap(clone);
}
std::shared_ptr<std::vector<Place>> make_places() {
    auto places = std::make_shared<std::vector<Place>>();
    for (std::size_t i = 0; i < shards; ++i) places->push_back(std::make_unique<Shard>());
    // Each thread's heap gets its pages now, not in the first window.
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < 2; ++thread)
        threads.emplace_back([&, thread] {
            OwnPart ids(thread, 2);
            for (std::size_t i = 0; i < 2 * shards; ++i) replace((*places)[ids.next()]);
        });
    for (std::thread& thread : threads) thread.join();
    return places;
}

void disjoint_cowindex(benchmark::State& state, std::size_t threads) {
    Index& index = keep<Index>(shards, [] { return std::make_shared<Index>(shards); });
    hammer(
        state, threads,
        [&](std::size_t thread, auto stop) { commit_until(index, OwnPart(thread, threads), stop); },
        warm_up);
}

void disjoint_separate_indexes(benchmark::State& state, std::size_t threads) {
    using Pair = std::pair<Index, Index>;
    Pair& indexes =
        keep<Pair>(shards, [] { return std::make_shared<Pair>(Index(shards), Index(shards)); });
    hammer(
        state, threads,
        [&](std::size_t thread, auto stop) {
            commit_until(thread == 0 ? indexes.first : indexes.second, OwnPart(thread, threads),
                         stop);
        },
        warm_up);
}

void disjoint_floor(benchmark::State& state, std::size_t threads) {
    auto& places = keep<std::vector<Place>>(shards, make_places);
    hammer(
        state, threads,
        [&](std::size_t thread, auto stop) {
            OwnPart ids(thread, threads);
            while (!stop()) replace(places[ids.next()]);
        },
        warm_up);
}

void disjoint_mutex(benchmark::State& state, std::size_t threads) {
    auto& places = keep<std::vector<Place>>(shards, make_places);
    std::mutex mutex;
    hammer(
        state, threads,
        [&](std::size_t thread, auto stop) {
            OwnPart ids(thread, threads);
            while (!stop()) {
                const std::lock_guard lock(mutex);
                replace(places[ids.next()]);
            }
        },
        warm_up);
}

void hot_cowindex_update(benchmark::State& state, std::size_t threads) {
    cowindex::CowIndex<std::uint64_t> index(16);
    hammer(state, threads, [&](std::size_t, auto stop) {
        while (!stop()) index.update([](auto& writer) { ++writer.edit(7); });
    });
}

void hot_mutex(benchmark::State& state, std::size_t threads) {
    auto place = std::make_unique<std::uint64_t>(0);
    std::mutex mutex;
    hammer(state, threads, [&](std::size_t, auto stop) {
        while (!stop()) {
            const std::lock_guard lock(mutex);
            auto clone = std::make_unique<std::uint64_t>(*place);
            ++*clone;
            place.swap(clone);
        }
    });
}

#if defined(__cpp_lib_atomic_shared_ptr)
void hot_std_atomic_shared_ptr(benchmark::State& state, std::size_t threads) {
    std::atomic<std::shared_ptr<const std::uint64_t>> latest(
        std::make_shared<const std::uint64_t>(0));
    hammer(state, threads, [&](std::size_t, auto stop) {
        while (!stop()) {
            auto old = latest.load();
            while (!latest.compare_exchange_weak(old,
                                                 std::make_shared<const std::uint64_t>(*old + 1))) {
            }
        }
    });
}
#endif

#if defined(COWINDEX_WITH_TBB)
using Map = tbb::concurrent_hash_map<std::size_t, Place>;

void disjoint_tbb(benchmark::State& state, std::size_t threads) {
    Map& map = keep<Map>(shards, [] {
        auto filled = std::make_shared<Map>();
        for (std::size_t id = 0; id < shards; ++id) filled->emplace(id, std::make_unique<Shard>());
        return filled;
    });
    hammer(
        state, threads,
        [&](std::size_t thread, auto stop) {
            OwnPart ids(thread, threads);
            while (!stop()) {
                Map::accessor found;
                map.find(found, ids.next());
                replace(found->second);
            }
        },
        warm_up);
}

void hot_tbb(benchmark::State& state, std::size_t threads) {
    tbb::concurrent_hash_map<std::size_t, std::uint64_t> map;
    for (std::size_t id = 0; id < 16; ++id) map.emplace(id, 0);
    hammer(state, threads, [&](std::size_t, auto stop) {
        while (!stop()) {
            decltype(map)::accessor found;
            map.find(found, 7);
            ++found->second;
        }
    });
}
#endif

void add(const char* name, void (*run)(benchmark::State&, std::size_t),
         std::initializer_list<std::size_t> threads) {
    for (const std::size_t count : threads)
        benchmark::RegisterBenchmark(
            (std::string(name) + "/writers:" + std::to_string(count)).c_str(), run, count)
            ->Apply(one_window);
}

const bool added = [] {
#if defined(__GLIBC__)
    mallopt(M_TRIM_THRESHOLD, 1 << 30); // 4 KiB at a time would go to the system and come back
#endif
    add("disjoint/cowindex", disjoint_cowindex, {1, 2});
    add("disjoint/separate_indexes", disjoint_separate_indexes, {1, 2});
    add("disjoint/floor", disjoint_floor, {1, 2});
    add("disjoint/mutex", disjoint_mutex, {1, 2});
    add("hot/cowindex_update", hot_cowindex_update, {1, 2, 10});
    add("hot/mutex", hot_mutex, {1, 2, 10});
#if defined(__cpp_lib_atomic_shared_ptr)
    add("hot/std_atomic_shared_ptr", hot_std_atomic_shared_ptr, {1, 2, 10});
#endif
#if defined(COWINDEX_WITH_TBB)
    add("disjoint/tbb_concurrent_hash_map", disjoint_tbb, {1, 2});
    add("hot/tbb_concurrent_hash_map", hot_tbb, {1, 2, 10});
#endif
    return true;
}();

} // namespace
