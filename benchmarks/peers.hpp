// CowIndex and its peers behind one interface: a table of shards that some threads read, each
// element of one consistent version at a time, while one thread replaces them.
//
//   Peer              made and destroyed by one thread
//   Peer::Session     one reading thread's access; read(id) returns that shard's count, sum() that
//                     of all shards of one version, weighed
//   Session::idle()   said by a reader that waits: it holds nothing
//   Peer::commit(id, k)   changes k shards from `id` on; one thread at a time
//
// The peers get the form that suits them best: one flat table behind one pointer, no indirection
// beyond it. Where readers are locked out the table is changed in place; elsewhere it is copied.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <utility>
#include <version>

#if defined(COWINDEX_WITH_BOOST)
#include <boost/smart_ptr/atomic_shared_ptr.hpp>
#include <boost/smart_ptr/make_shared.hpp>
#endif
#if defined(COWINDEX_WITH_URCU)
#define _LGPL_SOURCE // the read side inline, which its licence allows
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
#endif
#if defined(COWINDEX_WITH_TBB)
#include <tbb/concurrent_hash_map.h>
#endif

#include <cowindex/cowindex.hpp>

namespace benchmarks {

inline constexpr std::size_t table_size = 64;

template <class Shard>
using Table = std::array<Shard, table_size>;

// Changes k shards of a table, from `id` on.
template <class Shard>
void touch(Table<Shard>& table, std::size_t id, std::size_t k) {
    for (std::size_t i = 0; i < k; ++i) table[(id + i) % table_size].touch();
}

// All shards of one version, found by get(id). What a shard weighs is all that is in it.
template <class Get>
std::uint64_t sum_of(Get get) {
    std::uint64_t sum = 0;
    for (std::size_t id = 0; id < table_size; ++id) sum += get(id).weigh();
    return sum;
}
template <class Shard>
std::uint64_t sum_of(const Table<Shard>& table) {
    return sum_of([&](std::size_t id) -> const Shard& { return table[id]; });
}

// The limit, not a technique: nothing keeps a table from being overwritten under a reader that is
// `kept` commits late.
template <class Shard>
struct RawPointer {
    static constexpr const char* name = "raw_pointer";

    struct Session {
        explicit Session(RawPointer& its_peer) : peer(its_peer) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            return (*peer.latest.load(std::memory_order_acquire))[id].count;
        }
        std::uint64_t sum() { return sum_of(*peer.latest.load(std::memory_order_acquire)); }
        void idle() {}
        RawPointer& peer;
    };

    void commit(std::size_t id, std::size_t k) {
        Table<Shard>& made = (*tables)[++next % kept];
        made = *latest.load(std::memory_order_relaxed);
        touch<Shard>(made, id, k);
        latest.store(&made, std::memory_order_release);
    }

    static constexpr std::size_t kept = 64;
    std::unique_ptr<std::array<Table<Shard>, kept>> tables =
        std::make_unique<std::array<Table<Shard>, kept>>();
    std::size_t next = 0;
    alignas(128) std::atomic<const Table<Shard>*> latest{tables->data()};
};

template <class Shard>
struct Mutex {
    static constexpr const char* name = "mutex";

    struct Session {
        explicit Session(Mutex& its_peer) : peer(its_peer) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            const std::lock_guard lock(peer.mutex);
            return (*peer.table)[id].count;
        }
        std::uint64_t sum() {
            const std::lock_guard lock(peer.mutex);
            return sum_of(*peer.table);
        }
        void idle() {}
        Mutex& peer;
    };

    void commit(std::size_t id, std::size_t k) {
        const std::lock_guard lock(mutex);
        touch<Shard>(*table, id, k);
    }

    std::unique_ptr<Table<Shard>> table = std::make_unique<Table<Shard>>();
    std::mutex mutex;
};

template <class Shard>
struct SharedMutex {
    static constexpr const char* name = "shared_mutex";

    struct Session {
        explicit Session(SharedMutex& its_peer) : peer(its_peer) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            const std::shared_lock lock(peer.mutex);
            return (*peer.table)[id].count;
        }
        std::uint64_t sum() {
            const std::shared_lock lock(peer.mutex);
            return sum_of(*peer.table);
        }
        void idle() {}
        SharedMutex& peer;
    };

    void commit(std::size_t id, std::size_t k) {
        const std::lock_guard lock(mutex);
        touch<Shard>(*table, id, k);
    }

    std::unique_ptr<Table<Shard>> table = std::make_unique<Table<Shard>>();
    std::shared_mutex mutex;
};

// What a library's atomic shared pointer offers, by its three operations.
template <class Shard, class Traits>
struct SharedPointer {
    static constexpr const char* name = Traits::name;

    struct Session {
        explicit Session(SharedPointer& its_peer) : peer(its_peer) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            return (*peer.latest.load())[id].count;
        }
        std::uint64_t sum() { return sum_of(*peer.latest.load()); }
        void idle() {}
        SharedPointer& peer;
    };

    void commit(std::size_t id, std::size_t k) {
        auto made = Traits::template copy<Table<Shard>>(*latest.load());
        touch<Shard>(*made, id, k);
        latest.store(std::move(made));
    }

    typename Traits::template Atomic<const Table<Shard>> latest{
        Traits::template copy<Table<Shard>>(Table<Shard>())};
};

#if defined(__cpp_lib_atomic_shared_ptr)
struct StdTraits {
    static constexpr const char* name = "std_atomic_shared_ptr";
    template <class T>
    using Atomic = std::atomic<std::shared_ptr<T>>;
    template <class T>
    static std::shared_ptr<T> copy(const T& value) {
        return std::make_shared<T>(value);
    }
};
template <class Shard>
using StdSharedPointer = SharedPointer<Shard, StdTraits>;
#endif

#if defined(COWINDEX_WITH_BOOST)
struct BoostTraits {
    static constexpr const char* name = "boost_atomic_shared_ptr";
    template <class T>
    using Atomic = boost::atomic_shared_ptr<T>;
    template <class T>
    static boost::shared_ptr<T> copy(const T& value) {
        return boost::make_shared<T>(value);
    }
};
template <class Shard>
using BoostSharedPointer = SharedPointer<Shard, BoostTraits>;
#endif

#if defined(COWINDEX_WITH_URCU)
// A version is replaced, then freed after a grace period, by the committer.
template <class Shard, class Flavour>
struct Urcu {
    static constexpr const char* name = Flavour::name;

    struct Session {
        explicit Session(Urcu& its_peer) : peer(its_peer) { Flavour::enter(); }
        ~Session() { Flavour::leave(); }
        Session(const Session&) = delete;
        Session& operator=(const Session&) = delete;
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            Flavour::lock();
            const std::uint64_t count = (*peer.latest.load(std::memory_order_acquire))[id].count;
            Flavour::unlock();
            return count;
        }
        std::uint64_t sum() {
            Flavour::lock();
            const std::uint64_t sum = sum_of(*peer.latest.load(std::memory_order_acquire));
            Flavour::unlock();
            return sum;
        }
        void idle() { Flavour::idle(); }
        Urcu& peer;
    };

    Urcu() = default;
    Urcu(const Urcu&) = delete;
    Urcu& operator=(const Urcu&) = delete;
    ~Urcu() { delete latest.load(); }

    void commit(std::size_t id, std::size_t k) {
        const Table<Shard>* old = latest.load(std::memory_order_relaxed);
        auto made = std::make_unique<Table<Shard>>(*old);
        touch<Shard>(*made, id, k);
        latest.store(made.release(), std::memory_order_release);
        Flavour::synchronize();
        delete old;
    }

    alignas(128) std::atomic<const Table<Shard>*> latest{new Table<Shard>()};
};

struct MembFlavour {
    static constexpr const char* name = "urcu_memb";
    static void enter() { urcu_memb_register_thread(); }
    static void leave() { urcu_memb_unregister_thread(); }
    static void lock() { urcu_memb_read_lock(); }
    static void unlock() { urcu_memb_read_unlock(); }
    static void idle() {}
    static void synchronize() { urcu_memb_synchronize_rcu(); }
};
// Its readers hold everything until they say otherwise; here they do so after each read.
struct QsbrFlavour {
    static constexpr const char* name = "urcu_qsbr";
    static void enter() { urcu_qsbr_register_thread(); }
    static void leave() { urcu_qsbr_unregister_thread(); }
    static void lock() { urcu_qsbr_read_lock(); }
    static void unlock() {
        urcu_qsbr_read_unlock();
        urcu_qsbr_quiescent_state();
    }
    static void idle() { urcu_qsbr_quiescent_state(); }
    static void synchronize() { urcu_qsbr_synchronize_rcu(); }
};
template <class Shard>
using UrcuMemb = Urcu<Shard, MembFlavour>;
template <class Shard>
using UrcuQsbr = Urcu<Shard, QsbrFlavour>;
#pragma GCC diagnostic pop
#endif

#if defined(COWINDEX_WITH_TBB)
// Shards one by one: it has no version across them.
template <class Shard>
struct TbbMap {
    static constexpr const char* name = "tbb_concurrent_hash_map";
    using Map = tbb::concurrent_hash_map<std::size_t, Shard>;

    struct Session {
        explicit Session(TbbMap& its_peer) : peer(its_peer) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            typename Map::const_accessor found;
            peer.map.find(found, id);
            return found->second.count;
        }
        std::uint64_t sum() {
            std::uint64_t sum = 0;
            for (std::size_t id = 0; id < table_size; ++id) {
                typename Map::const_accessor found;
                peer.map.find(found, id);
                sum += found->second.weigh();
            }
            return sum;
        }
        void idle() {}
        TbbMap& peer;
    };

    TbbMap() {
        for (std::size_t id = 0; id < table_size; ++id) map.emplace(id, Shard());
    }

    void commit(std::size_t id, std::size_t k) {
        for (std::size_t i = 0; i < k; ++i) {
            typename Map::accessor found;
            map.find(found, (id + i) % table_size);
            found->second.touch();
        }
    }

    Map map;
};
#endif

// The ways to read a CowIndex.
template <class Shard>
struct CowBase {
    void commit(std::size_t id, std::size_t k) {
        for (std::size_t i = 0; i < k; ++i) writer.edit((id + i) % table_size).touch();
        writer.commit();
    }

    cowindex::CowIndex<Shard> index{table_size};
    cowindex::IndexWriter<Shard> writer = index.writer();
};

// The tree alone: one view held throughout, so no version is acquired and commits are not seen.
template <class Shard>
struct CowUnprotected : CowBase<Shard> {
    static constexpr const char* name = "cowindex_unprotected";

    struct Session {
        explicit Session(CowUnprotected& peer) : reader(peer.index.reader()) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            return (*latest.load(std::memory_order_acquire))[id].count;
        }
        void idle() {}
        cowindex::Reader<Shard> reader;
        cowindex::View<Shard> view = reader.pin();
        std::atomic<const cowindex::View<Shard>*> latest{&view};
    };
};

template <class Shard>
struct CowPin : CowBase<Shard> {
    static constexpr const char* name = "cowindex_pin";

    struct Session {
        explicit Session(CowPin& peer) : reader(peer.index.reader()) {}
        // A session is to its reader what a function is to a local variable: no call that is not
        // inlined may take its address.
        BENCHMARK_ALWAYS_INLINE ~Session() = default;
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            return reader.pin()[id].count;
        }
        std::uint64_t sum() {
            const auto view = reader.pin();
            return sum_of([&](std::size_t id) -> const Shard& { return view[id]; });
        }
        void idle() {}
        cowindex::Reader<Shard> reader;
    };
};

template <class Shard>
struct CowReadFn : CowBase<Shard> {
    static constexpr const char* name = "cowindex_read_fn";

    struct Session {
        explicit Session(CowReadFn& peer) : index(peer.index) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            return index.read([&](const auto& view) { return view[id].count; });
        }
        std::uint64_t sum() {
            return index.read([](const auto& view) {
                return sum_of([&](std::size_t id) -> const Shard& { return view[id]; });
            });
        }
        void idle() {}
        const cowindex::CowIndex<Shard>& index;
    };
};

template <class Shard>
struct CowSnapshot : CowBase<Shard> {
    static constexpr const char* name = "cowindex_snapshot";

    struct Session {
        explicit Session(CowSnapshot& peer) : index(peer.index) {}
        BENCHMARK_ALWAYS_INLINE std::uint64_t read(std::size_t id) {
            return index.snapshot()[id].count;
        }
        std::uint64_t sum() {
            const auto view = index.snapshot();
            return sum_of([&](std::size_t id) -> const Shard& { return view[id]; });
        }
        void idle() {}
        const cowindex::CowIndex<Shard>& index;
    };
};

// Calls fn.template operator()<Peer>() for each peer that was found and each way to read a
// CowIndex.
template <class Shard, class Fn>
void for_each_peer(Fn fn) {
    fn.template operator()<RawPointer<Shard>>();
    fn.template operator()<CowPin<Shard>>();
    fn.template operator()<CowReadFn<Shard>>();
    fn.template operator()<CowSnapshot<Shard>>();
#if defined(COWINDEX_WITH_URCU)
    fn.template operator()<UrcuQsbr<Shard>>();
    fn.template operator()<UrcuMemb<Shard>>();
#endif
    fn.template operator()<Mutex<Shard>>();
    fn.template operator()<SharedMutex<Shard>>();
#if defined(COWINDEX_WITH_BOOST)
    fn.template operator()<BoostSharedPointer<Shard>>();
#endif
#if defined(__cpp_lib_atomic_shared_ptr)
    fn.template operator()<StdSharedPointer<Shard>>();
#endif
#if defined(COWINDEX_WITH_TBB)
    fn.template operator()<TbbMap<Shard>>();
#endif
}

} // namespace benchmarks
