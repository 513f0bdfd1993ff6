/// What a schedule runs in: an index of accounts whose memory is watched, a history of what was
/// committed and read, and the checks of one against the other.
///
/// A shard poisons itself when it is destroyed, and its memory is kept from being used again until
/// the schedule has ended, so reading a freed shard is seen each time and not only when it hurts.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include <support/scheduler.hpp>

#if defined(__SANITIZE_ADDRESS__)
#define COWINDEX_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COWINDEX_TEST_ASAN 1
#endif
#endif

namespace test {

using cowindex::ShardId;
using cowindex::Version;

/// The memory of the index under test. For one thread at a time.
class Books {
  public:
    static void* allocate(std::size_t bytes, std::size_t alignment) {
        in_use_ += bytes;
        return ::operator new(bytes, std::align_val_t(alignment));
    }
    static void deallocate(void* block, std::size_t bytes, std::size_t alignment) noexcept {
        in_use_ -= bytes;
#if defined(COWINDEX_TEST_ASAN)
        ::operator delete(block, bytes, std::align_val_t(alignment));
#else
        std::fill_n(static_cast<std::byte*>(block), bytes, std::byte{0});
        freed_.push_back({block, bytes, alignment});
#endif
    }
    static std::size_t in_use() noexcept { return in_use_; }
    static void forget_freed() noexcept {
        for (const Freed& f : freed_)
            ::operator delete(f.block, f.bytes, std::align_val_t(f.alignment));
        freed_.clear();
    }

  private:
    struct Freed {
        void* block;
        std::size_t bytes;
        std::size_t alignment;
    };
    static inline std::size_t in_use_ = 0;
    static inline std::vector<Freed> freed_;
};

template <class T>
struct BookedAllocator {
    using value_type = T;
    BookedAllocator() = default;
    template <class U>
    BookedAllocator(const BookedAllocator<U>&) noexcept {}
    T* allocate(std::size_t n) {
        return static_cast<T*>(Books::allocate(n * sizeof(T), alignof(T)));
    }
    void deallocate(T* block, std::size_t n) noexcept {
        Books::deallocate(block, n * sizeof(T), alignof(T));
    }
    friend bool operator==(const BookedAllocator&, const BookedAllocator&) noexcept { return true; }
};

/// Collects what went wrong in the current schedule.
class Verdict {
  public:
    static void begin(const char* scenario, std::uint64_t seed) {
        scenario_ = scenario;
        seed_ = seed;
        failure_.clear();
    }
    static void fail(const std::string& what) {
        if (!failure_.empty()) return;
        failure_ =
            std::string(scenario_) + ": " + what + ", COWINDEX_SEED=" + std::to_string(seed_);
        std::fprintf(stderr, "%s\n", failure_.c_str()); // now: the next step may crash
        if (end_program_) std::_Exit(1);
    }
    /// For headers that are broken on purpose: what follows a failure may never end.
    static void end_program_on_failure() { end_program_ = true; }
    /// Only says so. Meant for the handler of a signal, after which nothing can be saved.
    static void tell(const char* what) noexcept {
        std::fprintf(stderr, "%s: %s, COWINDEX_SEED=%llu\n", scenario_, what,
                     static_cast<unsigned long long>(seed_));
    }
    static void expect(bool holds, const char* what) {
        if (!holds) fail(what);
    }
    static void expect_equal(std::uint64_t is, std::uint64_t expected, const char* what) {
        if (is != expected)
            fail(std::string(what) + " is " + std::to_string(is) + ", not " +
                 std::to_string(expected));
    }
    static const std::string& failure() { return failure_; }

  private:
    static inline const char* scenario_ = "";
    static inline std::uint64_t seed_ = 0;
    static inline std::string failure_;
    static inline bool end_program_ = false;
};

/// Set while a thread does what must never run a shard's destructor.
inline thread_local bool must_not_destroy = false;

class MustNotDestroy {
  public:
    MustNotDestroy() : before_(std::exchange(must_not_destroy, true)) {}
    ~MustNotDestroy() { must_not_destroy = before_; }
    MustNotDestroy(const MustNotDestroy&) = delete;
    MustNotDestroy& operator=(const MustNotDestroy&) = delete;

  private:
    bool before_;
};

/// The shard: an amount of money, and proof that it is alive.
class Account {
  public:
    explicit Account(std::int64_t money) : money_(money) { ++alive_count_; }
    Account(const Account& other) : money_(other.money()) { ++alive_count_; }
    Account& operator=(const Account&) = delete;
    ~Account() {
        Verdict::expect(alive_ == alive, "a shard is destroyed twice");
        Verdict::expect(Scheduler::held() == 0, "a shard is destroyed under a lock");
        Verdict::expect(!must_not_destroy, "a reading thread destroys a shard");
        Scheduler::point();
        alive_ = dead;
        --alive_count_;
    }
    [[nodiscard]] std::int64_t money() const {
        Verdict::expect(alive_ == alive, "a shard is read after it was freed");
        return money_;
    }
    void add(std::int64_t delta) { money_ += delta; }

    static std::uint64_t alive_count() noexcept { return alive_count_; }

  private:
    static constexpr std::uint64_t alive = 0x5AFE5AFE5AFE5AFEU;
    static constexpr std::uint64_t dead = 0xDEADDEADDEADDEADU;
    static inline std::uint64_t alive_count_ = 0;

    volatile std::uint64_t alive_ =
        alive; // volatile: stores to a dying object are otherwise dropped
    std::int64_t money_;
};

struct ScheduledPolicy : cowindex::DefaultPolicy<Account> {
    // A barrier in every commit: the most interleavings, and none that depends on its measured
    // cost.
    static constexpr std::size_t barrier_min_versions = 1;
    static constexpr std::size_t barrier_max_versions = 1;
    static constexpr std::chrono::nanoseconds idle_read_time{0};

    using Allocator = BookedAllocator<std::byte>;
    using Mutex = ScheduledMutex;

    static Account clone(const Account& account) {
        Verdict::expect(Scheduler::held() == 0, "a shard is cloned under a lock");
        Scheduler::point();
        return Account(account);
    }
    static std::size_t bytes(const Account& account) {
        Verdict::expect(Scheduler::held() == 0, "a shard is measured under a lock");
        return DefaultPolicy::bytes(account);
    }
    static void back_off(int) noexcept {
        Verdict::expect(Scheduler::held() == 0, "a thread backs off under a lock");
    }
    static void sync_point(cowindex::SyncPoint point) noexcept {
        using cowindex::SyncPoint;
        // A second look at the publication waits for the committer between its two stores.
        static thread_local bool looked = false;
        const bool again = point == SyncPoint::snapshot_loaded && looked;
        looked = point == SyncPoint::snapshot_loaded;
        if (again || point == SyncPoint::ticket_wait || point == SyncPoint::room_wait)
            Scheduler::spin();
        else
            Scheduler::point();
    }
};

using Index = cowindex::CowIndex<Account, ScheduledPolicy>;
using Reader = Index::Reader;
using View = Index::View;
using Snapshot = Index::Snapshot;
using Writer = Index::Writer;
/// What a version holds.
using State = std::map<ShardId, std::int64_t>;

/// One change that a commit makes.
struct Change {
    enum Kind : std::uint8_t { add, put, erase } kind;
    ShardId id;
    std::int64_t money = 0;
};

class World {
  public:
    World(const char* scenario, std::uint64_t seed, Scheduler& scheduler)
        : random(seed), scenario_(scenario), seed_(seed), scheduler_(&scheduler) {
        Verdict::begin(scenario, seed);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    static constexpr std::int64_t start_money = 100;

    /// An index of `count` accounts in one leaf and, if `far`, one far away in another.
    Index make(std::size_t count, bool far = false, const Index::Options& options = {}) {
        Index index(count, [](ShardId) { return Account(start_money); }, options);
        for (ShardId id = 0; id < count; ++id) first_[id] = start_money;
        if (far) {
            Writer writer = index.writer();
            writer.insert(far_id, Account(start_money));
            committed(writer.commit(), {{Change::put, far_id, start_money}});
        }
        return index;
    }
    static constexpr ShardId far_id = 40'000; // two levels above the first leaf

    void run(std::vector<std::function<void()>> threads) {
        scheduler_->run(scenario_, seed_ ^ 0xC0FFEE, std::move(threads));
    }

    // ---- the history
    // -----------------------------------------------------------------------------

    /// A commit was acknowledged: from now on nobody may be shown less.
    void committed(Version version, std::vector<Change> changes) {
        if (!commits_.emplace(version, std::move(changes)).second)
            Verdict::fail("version " + std::to_string(version) + " is given to two commits");
        acknowledged_ = std::max(acknowledged_, version);
    }
    [[nodiscard]] Version acknowledged() const { return acknowledged_; }

    /// Reads all of one version, slowly.
    template <class Reading>
    void read(const Reading& reading) {
        const MustNotDestroy guard;
        const std::uint64_t locked = Scheduler::locked();
        State state;
        for (auto it = reading.begin(); it != reading.end(); ++it) {
            Scheduler::point();
            state[it.id()] = it->money();
        }
        Verdict::expect_equal(state.size(), reading.size(), "the number of shards found");
        reads_.emplace_back(reading.version(), std::move(state));
        Verdict::expect(Scheduler::locked() == locked, "reading takes a lock");
    }

    // ---- writing
    // ---------------------------------------------------------------------------------

    void deposit(Index& index, ShardId id, std::int64_t money) {
        const Version version = index.update([&](Writer& writer) {
            Account& account = writer.edit(id);
            Scheduler::point();
            account.add(money);
        });
        committed(version, {{Change::add, id, money}});
    }
    void transfer(Index& index, ShardId from, ShardId to, std::int64_t money) {
        const Version version = index.update([&](Writer& writer) {
            writer.edit(from).add(-money);
            Scheduler::point();
            writer.edit(to).add(money);
        });
        committed(version, {{Change::add, from, -money}, {Change::add, to, money}});
    }

    // ---- the end
    // ---------------------------------------------------------------------------------

    /// All threads are done and `index` is the last that holds anything: checks the history and the
    /// accounts, then that dropping the index leaves nothing behind.
    void settle(Index index) {
        static_cast<void>(index.reclaim());
        const auto memory = index.memory_usage();
        Verdict::expect_equal(memory.retained_bytes, 0, "retained_bytes at rest");
        Verdict::expect_equal(memory.reclaimable_bytes, 0, "reclaimable_bytes at rest");
        Verdict::expect_equal(memory.uncommitted_bytes, 0, "uncommitted_bytes at rest");
        Verdict::expect_equal(memory.total_bytes(), Books::in_use(), "the sum of the accounts");
        const auto metrics = index.metrics();
        Verdict::expect_equal(metrics.active_readers, 0, "active_readers at rest");
        Verdict::expect_equal(metrics.pending_writers, 0, "pending_writers at rest");
        Verdict::expect_equal(metrics.retained_versions, 0, "retained_versions at rest");
        Verdict::expect_equal(metrics.commits, commits_.size(), "the number of commits");
        Verdict::expect(index.pins().empty(), "a version is held at rest");
        Verdict::expect_equal(Account::alive_count(), index.size(), "the number of living shards");
        Verdict::expect_equal(index.version(), commits_.size(), "the last version");
        read(index.snapshot());
        check_history();
        Index last = std::move(index);
        {
            const Index dropped = std::move(last);
        }
        settle_memory();
    }

    /// As settle, where the index itself is gone already.
    void settle_gone() {
        check_history();
        settle_memory();
    }

    Random random;

  private:
    void check_history() {
        std::map<Version, State> states;
        State state = first_;
        states[0] = state;
        Version expected = 1;
        for (const auto& [version, changes] : commits_) {
            Verdict::expect_equal(version, expected++, "the next version");
            for (const Change& change : changes) {
                if (change.kind == Change::erase)
                    state.erase(change.id);
                else if (change.kind == Change::put)
                    state[change.id] = change.money;
                else
                    state[change.id] += change.money;
            }
            states[version] = state;
        }
        for (const auto& [version, seen] : reads_)
            if (const auto it = states.find(version); it == states.end() || it->second != seen)
                Verdict::fail("version " + std::to_string(version) + " was read as" + text(seen) +
                              (it == states.end() ? " but never committed"
                                                  : " but committed as" + text(it->second)));
    }
    static std::string text(const State& state) {
        std::string result;
        for (const auto& [id, money] : state)
            result += " " + std::to_string(id) + ":" + std::to_string(money);
        return result;
    }
    static void settle_memory() {
        Verdict::expect_equal(Books::in_use(), 0, "the memory that a dead index holds");
        Verdict::expect_equal(Account::alive_count(), 0, "the shards that a dead index holds");
        Books::forget_freed();
    }

    const char* scenario_;
    std::uint64_t seed_;
    Scheduler* scheduler_;
    State first_;
    std::map<Version, std::vector<Change>> commits_;
    std::vector<std::pair<Version, State>> reads_;
    Version acknowledged_ = 0;
};

/// What one thread has seen: it never goes back, whatever it asks.
class Eyes {
  public:
    explicit Eyes(World& world) : world_(&world) {}

    /// Call before asking for the latest version, then see() with the answer.
    void look() { floor_ = std::max(last_, world_->acknowledged()); }
    void see(Version version) {
        if (version < floor_)
            Verdict::fail("a thread sees version " + std::to_string(version) + " after " +
                          std::to_string(floor_));
        last_ = std::max(last_, version);
    }

    View pin(Reader& reader) {
        const std::uint64_t locked = Scheduler::locked();
        look();
        View view = reader.pin();
        see(view.version());
        Verdict::expect(Scheduler::locked() == locked, "pin takes a lock");
        return view;
    }
    Snapshot snapshot(const Index& index) {
        look();
        Snapshot snapshot = index.snapshot();
        see(snapshot.version());
        return snapshot;
    }
    void version(const Index& index) {
        look();
        see(index.version());
    }
    void pin_and_read(Reader& reader) {
        const View view = pin(reader);
        world_->read(view);
    }
    /// Letting go of what was read never frees.
    template <class Holder>
    static void drop(Holder holder) {
        const MustNotDestroy guard;
        const Holder dropped = std::move(holder);
    }

  private:
    World* world_;
    Version last_ = 0;
    Version floor_ = 0;
};

} // namespace test
