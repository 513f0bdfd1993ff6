// Two threads that read most of the time and write now and then, one random shard of 1000 of 64
// bytes: 99 %, 90 % and 50 % reads. `per_s` counts all operations of both.
//
//   cowindex                a reader and a writer for each thread
//   mutex, shared_mutex     in place, no versions
//   std_atomic_shared_ptr   a vector of shared_ptr behind one pointer, compare and swap
//   urcu_memb               the same vector, writers take turns, freed by call_rcu
//   tbb_concurrent_hash_map in place, element by element, no versions
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>
#include <version>

#include <benchmark/benchmark.h>

#include "hammer.hpp"
#include "opaque.hpp"
#include "peers.hpp"
#include "shards.hpp"
#include <cowindex/cowindex.hpp>

namespace {

using namespace benchmarks;
using Shard = Blob<64>;
constexpr std::size_t shards = 1000;
constexpr std::size_t threads = 2;

// Calls read(id) or write(id) until the time is up.
template <class Read, class Write>
void mix(std::size_t thread, std::size_t read_percent, auto stop, Read read, Write write) {
    Random random(thread + 1);
    while (!stop()) {
        const std::size_t id = random.below(shards);
        if (random.below(100) < read_percent)
            consume(read(id));
        else
            write(id);
    }
}

void cow(benchmark::State& state, std::size_t percent) {
    cowindex::CowIndex<Shard> index(shards);
    hammer(state, threads, [&](std::size_t thread, auto stop) {
        auto reader = index.reader();
        auto writer = index.writer();
        mix(
            thread, percent, stop, [&](std::size_t id) { return reader.pin()[id].count; },
            [&](std::size_t id) {
                writer.edit(id).touch();
                while (!writer.try_commit()) { // the other has changed this very shard
                    writer.discard();
                    writer.edit(id).touch();
                }
            });
    });
}

template <class Lockable, template <class> class ReadLock>
void locked(benchmark::State& state, std::size_t percent) {
    std::vector<Shard> table(shards);
    Lockable mutex;
    hammer(state, threads, [&](std::size_t thread, auto stop) {
        mix(
            thread, percent, stop,
            [&](std::size_t id) {
                const ReadLock<Lockable> lock(mutex);
                return table[id].count;
            },
            [&](std::size_t id) {
                const std::lock_guard lock(mutex);
                table[id].touch();
            });
    });
}

using Version = std::vector<std::shared_ptr<const Shard>>;

Version first_version() {
    Version version;
    for (std::size_t i = 0; i < shards; ++i) version.push_back(std::make_shared<const Shard>());
    return version;
}

void touch(Version& version, std::size_t id) {
    auto clone = std::make_shared<Shard>(*version[id]);
    clone->touch();
    version[id] = std::move(clone);
}

#if defined(__cpp_lib_atomic_shared_ptr)
void std_atomic_shared_ptr(benchmark::State& state, std::size_t percent) {
    std::atomic<std::shared_ptr<const Version>> latest(
        std::make_shared<const Version>(first_version()));
    hammer(state, threads, [&](std::size_t thread, auto stop) {
        mix(
            thread, percent, stop, [&](std::size_t id) { return (*latest.load())[id]->count; },
            [&](std::size_t id) {
                std::shared_ptr<const Version> old = latest.load();
                for (;;) {
                    auto next = std::make_shared<Version>(*old);
                    touch(*next, id);
                    if (latest.compare_exchange_weak(old, std::move(next))) return;
                }
            });
    });
}
#endif

#if defined(COWINDEX_WITH_URCU)
void urcu_memb(benchmark::State& state, std::size_t percent) {
    struct Held {
        rcu_head head{}; // first, so that its address is that of the whole
        Version version;
    };
    std::atomic<Held*> latest{new Held{{}, first_version()}};
    std::mutex mutex;
    hammer(state, threads, [&](std::size_t thread, auto stop) {
        urcu_memb_register_thread();
        mix(
            thread, percent, stop,
            [&](std::size_t id) {
                urcu_memb_read_lock();
                const std::uint64_t count =
                    latest.load(std::memory_order_acquire)->version[id]->count;
                urcu_memb_read_unlock();
                return count;
            },
            [&](std::size_t id) {
                const std::lock_guard lock(mutex);
                Held* old = latest.load(std::memory_order_relaxed);
                auto next = std::make_unique<Held>();
                next->version = old->version;
                touch(next->version, id);
                latest.store(next.release(), std::memory_order_release);
                urcu_memb_call_rcu(&old->head,
                                   [](rcu_head* head) { delete reinterpret_cast<Held*>(head); });
            });
        urcu_memb_unregister_thread();
    });
    urcu_memb_barrier();
    delete latest.load();
}
#endif

#if defined(COWINDEX_WITH_TBB)
void tbb_concurrent_hash_map(benchmark::State& state, std::size_t percent) {
    using Map = tbb::concurrent_hash_map<std::size_t, Shard>;
    Map map;
    for (std::size_t id = 0; id < shards; ++id) map.emplace(id, Shard());
    hammer(state, threads, [&](std::size_t thread, auto stop) {
        mix(
            thread, percent, stop,
            [&](std::size_t id) {
                Map::const_accessor found;
                map.find(found, id);
                return found->second.count;
            },
            [&](std::size_t id) {
                Map::accessor found;
                map.find(found, id);
                found->second.touch();
            });
    });
}
#endif

void add(const char* name, void (*run)(benchmark::State&, std::size_t)) {
    for (const std::size_t percent : {99UL, 90UL, 50UL})
        benchmark::RegisterBenchmark(
            (std::string("mixed/") + name + "/reads:" + std::to_string(percent)).c_str(), run,
            percent)
            ->Apply(one_window);
}

template <class Lockable>
using Unique = std::unique_lock<Lockable>;
template <class Lockable>
using Shared = std::shared_lock<Lockable>;

const bool added = [] {
    add("cowindex", cow);
    add("mutex", locked<std::mutex, Unique>);
    add("shared_mutex", locked<std::shared_mutex, Shared>);
#if defined(__cpp_lib_atomic_shared_ptr)
    add("std_atomic_shared_ptr", std_atomic_shared_ptr);
#endif
#if defined(COWINDEX_WITH_URCU)
    add("urcu_memb", urcu_memb);
#endif
#if defined(COWINDEX_WITH_TBB)
    add("tbb_concurrent_hash_map", tbb_concurrent_hash_map);
#endif
    return true;
}();

} // namespace
