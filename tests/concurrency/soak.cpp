// One index that lives long, and everything that can be done to it, by many threads at once.
//
//   soak [--seconds N] [--threads N] [--seed N]
//
// What is read is checked all the time. Every minute (or tenth of the time) the threads let go of
// all they hold: then the index must hold its latest version, no more, and its accounts must be
// those of the allocator. At the end memory must have stopped growing. A failure is told in the
// last line, and by the exit code.

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>
#include <cowindex/prometheus.hpp>

#include <support/validate.hpp>

#include "soak_bank.hpp"

#if defined(__linux__)
#include <unistd.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace soak {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using test::Reading;
using Writer = Index::Writer;
using View = Index::View;
using Reader = Index::Reader;
using Snapshot = Index::Snapshot;

// What the threads have done, for the summary: each thread counts on its own.
struct Counts {
    std::uint64_t reads = 0;
    std::uint64_t versions = 0; // that differed from the one that was read before
    std::uint64_t refused = 0;  // commits, for want of room
    std::uint64_t lost = 0;     // commits and rebases by hand, to a conflict
    std::uint64_t kept = 0;     // snapshots
    std::uint64_t locked = 0;   // weak pointers
    std::uint64_t diffs = 0;
    std::uint64_t indexes = 0; // made and ended

    Counts& operator+=(const Counts& other) {
        for (std::uint64_t Counts::* count :
             {&Counts::reads, &Counts::versions, &Counts::refused, &Counts::lost, &Counts::kept,
              &Counts::locked, &Counts::diffs, &Counts::indexes})
            this->*count += other.*count;
        return *this;
    }
};

// What all threads share.
struct Arena {
    Index& index;
    Clock::duration longest_hold; // of a pin, a snapshot, an open writer
    std::barrier<> meet;
    std::atomic<bool> pause{false};
    std::atomic<bool> over{false};
    std::atomic<Version> acknowledged{0}; // the latest that a commit has told of
    std::atomic<std::uint64_t> eras{0};

    void acknowledge(Version version) {
        Version known = acknowledged;
        while (known < version && !acknowledged.compare_exchange_weak(known, version)) {
        }
    }
};

class Worker {
  public:
    Worker(Arena& arena, std::uint64_t seed)
        : arena_(arena), index_(arena.index), random_(seed), writes_(seed % 2 == 0 ? 70 : 15) {}

    void run() {
        while (!arena_.over) {
            while (!arena_.pause) turn();
            let_go();
            arena_.meet.arrive_and_wait();
            close_all_accounts();
            arena_.meet.arrive_and_wait(); // the index is looked at
            arena_.meet.arrive_and_wait();
        }
    }

    [[nodiscard]] const Counts& counts() const { return counts_; }

  private:
    using Share = std::weak_ptr<const Account>;

    struct Kept {
        Snapshot snapshot;
        Clock::time_point until;
        ShardId id;
        std::uint64_t era;
    };

    // Each as often as its weight says.
    struct Activity {
        unsigned weight;
        void (Worker::*run)();
    };

    template <std::size_t size>
    void run_one(const Activity (&activities)[size]) {
        unsigned sum = 0;
        for (const Activity& activity : activities) sum += activity.weight;
        std::uint64_t at = random_.below(sum);
        for (const Activity& activity : activities) {
            if (at < activity.weight) return (this->*activity.run)();
            at -= activity.weight;
        }
    }

    void write_something() {
        static constexpr Activity activities[] = {
            {400, &Worker::transfer},       {200, &Worker::resize},
            {150, &Worker::open_accounts},  {150, &Worker::close_some_accounts},
            {50, &Worker::replace_account}, {50, &Worker::commit_by_hand},
            {50, &Worker::use_open_writer}, {30, &Worker::commit_for},
            {4, &Worker::begin_era},        {2, &Worker::transfer_many},
            {2, &Worker::reclaim},          {2, &Worker::another_index},
        };
        run_one(activities);
    }
    void read_something() {
        static constexpr Activity activities[] = {
            {1'000, &Worker::pin},
            {400, &Worker::read_borrowed},
            {40, &Worker::pin_stripe},
            {40, &Worker::pin_nested},
            {15, &Worker::keep_snapshot},
            {15, &Worker::look_at_kept},
            {40, &Worker::pin_long},
            {30, &Worker::share_weakly},
            {10, &Worker::promote},
            {4, &Worker::compare},
            {2, &Worker::wait},
            {2, &Worker::renew_reader},
            {1, &Worker::read_everything},
            {1, &Worker::short_thread},
        };
        run_one(activities);
    }

    void turn() {
        try {
            if (random_.below(100) < writes_)
                write_something();
            else
                read_something();
        } catch (const cowindex::MemoryBudgetError&) {
            ++counts_.refused;
            let_go(); // a well-behaved program does so
        } catch (const std::exception&) {
            Trouble::expect(false, "an operation has thrown what it should not");
        }
    }

    // ---- holding -------------------------------------------------------------------------------

    [[nodiscard]] Clock::time_point some_time_on() {
        const auto most = static_cast<std::uint64_t>(arena_.longest_hold.count());
        return Clock::now() + Clock::duration(static_cast<Clock::rep>(random_.below(most)));
    }

    void let_go() {
        {
            const Reading guard;
            long_view_.reset();
            kept_.clear();
            weak_.clear();
        }
        orphan_.reset(); // the last of its index: this destroys shards
        open_.reset();
    }

    void let_go_in_time() {
        const auto now = Clock::now();
        const Reading guard;
        if (long_view_ && now >= long_until_) {
            check_pair(*long_view_, some_account());
            Trouble::expect(long_view_->version() == long_version_, "a pinned version has moved");
            long_view_.reset();
        }
        std::erase_if(kept_, [&](const Kept& kept) { return now >= kept.until; });
    }

    // ---- versions ------------------------------------------------------------------------------

    // A version that is asked for after this was called may not be older.
    [[nodiscard]] Version floor() const { return std::max(seen_, arena_.acknowledged.load()); }
    void saw(Version version, Version floor) {
        Trouble::expect(version >= floor, "versions go back");
        ++counts_.reads;
        if (version != seen_) ++counts_.versions;
        seen_ = std::max(seen_, version);
    }
    void committed(Version version, Version floor) {
        Trouble::expect(version > floor, "a commit is older than what was there before it");
        seen_ = std::max(seen_, version);
        arena_.acknowledge(version);
    }

    ShardId some_account() { return random_.below(accounts); }
    std::int64_t some_amount() { return static_cast<std::int64_t>(random_.below(1'000)); }

    // ---- writing -------------------------------------------------------------------------------

    static void move_money(Writer& writer, ShardId from, std::int64_t amount) {
        writer.edit(from).enter(-amount);
        writer.edit(partner_of(from)).enter(amount);
    }

    void transfer() {
        const ShardId from = some_account();
        const std::int64_t amount = some_amount();
        const Version before = floor();
        committed(index_.update([&](Writer& writer) { move_money(writer, from, amount); }), before);
    }

    void resize() {
        const std::size_t words = some_words(random_);
        const Version before = floor();
        committed(index_.edit(some_account(), [&](Account& account) { account.resize(words); }),
                  before);
    }

    void begin_era() {
        const ShardId first = some_account() / stripe * stripe;
        const std::uint64_t era = ++arena_.eras;
        const bool resized = random_.coin();
        const Version before = floor();
        const Version version = index_.update([&](Writer& writer) {
            for (ShardId id = first; id < first + stripe; ++id) {
                Account& account = writer.edit(id);
                account.begin(era);
                if (resized) account.resize(some_words(random_));
            }
        });
        committed(version, before);
    }

    void transfer_many() {
        const Version before = floor();
        const Version version = index_.update([&](Writer& writer) {
            for (int i = 0; i < 500; ++i) move_money(writer, some_account(), some_amount());
        });
        committed(version, before);
    }

    void open_accounts() {
        if (mine_.size() > 500) return;
        if (random_.coin()) {
            mine_.push_back(index_.append(Account(some_words(random_))));
            return;
        }
        std::vector<ShardId> opened;
        Writer writer = index_.writer();
        const std::uint64_t count = 1 + random_.below(random_.below(20) == 0 ? 200 : 10);
        for (std::uint64_t i = 0; i < count; ++i)
            opened.push_back(writer.append(Account(some_words(random_))));
        const Version before = floor();
        committed(writer.commit(), before); // what is new conflicts with nothing
        mine_.insert(mine_.end(), opened.begin(), opened.end());
    }

    void close_some_accounts() {
        if (mine_.empty()) return;
        const std::size_t most = random_.below(20) == 0 ? mine_.size() : 10;
        const std::size_t count = std::min(mine_.size(), std::size_t{1} + random_.below(most));
        close_accounts(count);
    }
    void close_accounts(std::size_t count) {
        const Version before = floor();
        const Version version = index_.update([&](Writer& writer) {
            for (std::size_t i = 0; i < count; ++i) writer.erase(mine_[i]);
        });
        committed(version, before);
        mine_.erase(mine_.begin(), mine_.begin() + static_cast<std::ptrdiff_t>(count));
    }
    // Nobody holds anything by now.
    void close_all_accounts() {
        try {
            if (!mine_.empty()) close_accounts(mine_.size());
        } catch (const std::exception&) {
            Trouble::expect(false, "accounts cannot be erased");
        }
    }

    void replace_account() {
        if (mine_.empty()) return;
        const ShardId id = mine_[random_.below(mine_.size())];
        const Version before = floor();
        committed(index_.replace(id, Account(some_words(random_))), before);
    }

    void commit_by_hand() {
        Writer writer = index_.writer("by hand");
        move_money(writer, some_account(), some_amount());
        writer.require(some_account());
        if (random_.coin()) std::this_thread::yield(); // others come first
        const Version before = floor();
        const auto result = writer.try_commit();
        switch (result.status()) {
        case cowindex::CommitStatus::committed: committed(result.version(), before); break;
        case cowindex::CommitStatus::conflict: ++counts_.lost; break;
        case cowindex::CommitStatus::over_budget: ++counts_.refused; break;
        default: Trouble::expect(false, "a transfer changes nothing");
        }
    }

    void commit_for() {
        try {
            Writer writer = index_.writer("in time");
            move_money(writer, some_account(), some_amount());
            const Version before = floor();
            committed(writer.commit_for(milliseconds(2)), before);
        } catch (const cowindex::ConflictError&) {
            ++counts_.lost;
        }
    }

    // Left open for up to the longest time, and added to now and then.
    void use_open_writer() {
        if (!open_) {
            open_.emplace(index_.writer("open"));
            open_until_ = some_time_on();
        }
        const std::uint64_t end = Clock::now() < open_until_ ? 4 : random_.below(4);
        check_pair(*open_, some_account());
        if (end == 4) {
            if (open_->modified_count() < 200) move_money(*open_, some_account(), some_amount());
            return;
        }
        if (end == 0) {
            const Version before = floor();
            const bool changes = open_->has_changes();
            const auto result = open_->try_commit();
            if (result.status() == cowindex::CommitStatus::committed)
                committed(result.version(), before);
            else
                Trouble::expect(!changes || !result, "a commit has published nothing");
        } else if (end == 1) {
            open_->discard();
        } else if (end == 2) {
            try {
                open_->rebase();
            } catch (const cowindex::ConflictError&) {
                ++counts_.lost;
            }
            check_pair(*open_, some_account());
        }
        if (end != 1 || random_.coin()) open_.reset();
    }

    void reclaim() { static_cast<void>(index_.reclaim()); }

    // A small index of the same kind; its last snapshot may stay for a while.
    void another_index() {
        orphan_.reset();
        Index other(64);
        Reader reader = other.reader("other");
        for (int i = 0; i < 20; ++i) {
            const View view = reader.pin();
            other.update([&](Writer& writer) {
                writer.edit(random_.below(64)).resize(some_words(random_));
                writer.append(Account(some_words(random_)));
            });
            view[random_.below(64)].check();
            if (random_.below(8) == 0) orphan_ = other.snapshot("orphan");
        }
        ++counts_.indexes;
    }

    // ---- reading -------------------------------------------------------------------------------

    void pin() {
        let_go_in_time();
        const Reading guard;
        const Version before = floor();
        const View view = reader_.pin();
        saw(view.version(), before);
        check_pair(view, some_account());
    }

    void pin_stripe() {
        const Reading guard;
        const Version before = floor();
        const View view = reader_.pin();
        saw(view.version(), before);
        static_cast<void>(check_stripe(view, some_account()));
    }

    void pin_nested() {
        const Reading guard;
        const Version before = floor();
        View outer = reader_.pin();
        saw(outer.version(), before);
        std::optional<View> inner(reader_.pin());
        Trouble::expect(outer.version() == inner->version(), "a nested pin moves");
        const std::uint64_t era = check_stripe(outer, 0);
        if (random_.coin()) {
            outer = std::move(*inner);
            inner.reset();
        }
        Trouble::expect(check_stripe(outer, 0) == era, "a version has changed");
    }

    void read_borrowed() {
        const Reading guard;
        const Version before = floor();
        const ShardId id = some_account();
        const Version version = index_.read([&](const View& view) {
            check_pair(view, id);
            return view.version();
        });
        saw(version, before);
    }

    void pin_long() {
        const Reading guard;
        if (long_view_) return check_pair(*long_view_, some_account());
        const Version before = floor();
        long_view_.emplace(long_reader_.pin());
        long_version_ = long_view_->version();
        saw(long_version_, before);
        long_until_ = some_time_on();
    }

    void keep(Snapshot snapshot) {
        if (kept_.size() >= 4)
            kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(random_.below(kept_.size())));
        const ShardId id = some_account();
        const std::uint64_t era = check_stripe(snapshot, id);
        kept_.push_back({std::move(snapshot), some_time_on(), id, era});
        ++counts_.kept;
    }
    void keep_snapshot() {
        const Reading guard;
        const Version before = floor();
        Snapshot snapshot =
            random_.coin() ? index_.snapshot() : index_.snapshot("kept for a while");
        saw(snapshot.version(), before);
        keep(std::move(snapshot));
    }
    void promote() {
        const Reading guard;
        const View view = reader_.pin();
        Snapshot snapshot = random_.coin() ? view.snapshot() : view.snapshot("promoted");
        Trouble::expect(snapshot.version() == view.version(), "a promoted view has moved");
        keep(std::move(snapshot));
    }
    void look_at_kept() {
        if (kept_.empty()) return;
        const Reading guard;
        const Kept& kept = kept_[random_.below(kept_.size())];
        Trouble::expect(check_stripe(kept.snapshot, kept.id) == kept.era, "a snapshot has changed");
        const Snapshot copy = kept.snapshot;
        check_pair(copy, some_account());
    }

    void share_weakly() {
        const Reading guard;
        if (!kept_.empty()) {
            const Snapshot& snapshot = kept_[random_.below(kept_.size())].snapshot;
            weak_.push_back(snapshot.share(some_account()));
        }
        if (weak_.empty()) return;
        const std::size_t at = random_.below(weak_.size());
        if (const auto account = weak_[at].lock()) {
            account->check();
            ++counts_.locked;
        } else {
            weak_.erase(weak_.begin() + static_cast<std::ptrdiff_t>(at));
        }
        if (weak_.size() > 16) weak_.pop_front();
    }

    void compare() {
        if (kept_.size() < 2) return;
        const Reading guard;
        const Snapshot* older = &kept_[random_.below(kept_.size())].snapshot;
        const Snapshot* newer = &kept_[random_.below(kept_.size())].snapshot;
        if (older->version() > newer->version()) std::swap(older, newer);
        std::vector<ShardId> differ;
        std::int64_t moved = 0;
        cowindex::for_each_difference(*older, *newer,
                                      [&](ShardId id, const Account* before, const Account* after) {
                                          differ.push_back(id);
                                          if (before != nullptr) moved -= before->balance();
                                          if (after != nullptr) moved += after->balance();
                                      });
        Trouble::expect(moved == 0, "a difference has lost money");
        for (int i = 0; i < 50; ++i) {
            const ShardId id = some_account();
            const bool differs = older->find(id) != newer->find(id);
            const bool told = std::binary_search(differ.begin(), differ.end(), id);
            Trouble::expect(differs == told, "a difference is not what differs");
        }
        ++counts_.diffs;
    }

    void wait() {
        const Version before = floor();
        Trouble::expect(index_.wait_for_version(before, std::chrono::hours(1)),
                        "what was acknowledged is waited for");
        const bool newer = random_.coin() ? index_.wait_for_version(before + 1, microseconds(500))
                                          : reader_.wait_for_newer(before, microseconds(500));
        const Version version = index_.version();
        saw(version, before + (newer ? 1 : 0));
        Trouble::expect(index_.size() >= accounts, "an account is missing");
    }

    void renew_reader() { reader_ = index_.reader("again"); }

    void read_everything() {
        const Reading guard;
        const Version before = floor();
        const Snapshot snapshot = index_.snapshot();
        saw(snapshot.version(), before);
        check_all(snapshot);
    }

    // One that comes with a reader of its own, and takes it along.
    void short_thread() {
        const ShardId id = some_account();
        std::thread([&] {
            const Reading guard;
            Reader reader = index_.reader("short");
            check_pair(reader.pin(), id);
        }).join();
    }

    Arena& arena_;
    Index index_; // a handle of its own
    Random random_;
    std::uint64_t writes_; // of a hundred turns
    Counts counts_;
    Version seen_ = 0;
    Reader reader_ = index_.reader("worker");
    Reader long_reader_ = index_.reader("long");
    std::optional<View> long_view_;
    Version long_version_ = 0;
    Clock::time_point long_until_;
    std::vector<Kept> kept_;
    std::deque<Share> weak_;
    std::optional<Snapshot> orphan_;
    std::optional<Writer> open_;
    Clock::time_point open_until_;
    std::vector<ShardId> mine_; // accounts that this thread has opened
};

// ---- memory ------------------------------------------------------------------------------------

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool sanitized = false;
#endif

// Bytes; 0 where nobody tells.
std::size_t resident_bytes() {
#if defined(__linux__)
    unsigned long pages = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "r"); file != nullptr) {
        if (std::fscanf(file, "%*u %lu", &pages) != 1) pages = 0;
        std::fclose(file);
    }
    return std::size_t{pages} * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#else
    return 0;
#endif
}

// Of the whole program, the indexes' share included; 0 where nobody tells.
std::size_t heap_bytes() {
#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 33)
    if (sanitized) return 0; // their heap is another
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
#else
    return 0;
#endif
}

struct Sample {
    std::size_t resident = 0;
    std::size_t besides = 0; // on the heap, and in no account: labels, slots, batches
};

double megabytes(std::size_t bytes) { return static_cast<double>(bytes) / (1024 * 1024); }

// ---- the run -----------------------------------------------------------------------------------

struct Settings {
    std::uint64_t seconds = 2;
    std::uint64_t threads = 4;
    std::uint64_t seed = 1;
};

class Soak {
  public:
    explicit Soak(const Settings& settings)
        : settings_(settings), index_(make()),
          arena_{index_, longest_hold(), std::barrier<>(workers())} {}

    /// Returns what went wrong; empty: nothing.
    std::string run() {
        for (std::uint64_t i = 0; i < settings_.threads; ++i)
            workers_.push_back(std::make_unique<Worker>(arena_, settings_.seed * 100 + i));
        std::vector<std::thread> threads;
        for (const auto& worker : workers_) threads.emplace_back([&worker] { worker->run(); });
        const auto checks = static_cast<std::size_t>(duration() / interval());
        for (std::size_t check = 1; check <= checks; ++check) {
            look_on(Clock::now() + interval());
            arena_.pause = true;
            arena_.meet.arrive_and_wait(); // they hold nothing
            arena_.meet.arrive_and_wait(); // and what they have added is gone
            look_at_rest();
            arena_.over = check == checks || !problem_.empty();
            arena_.pause = arena_.over.load();
            arena_.meet.arrive_and_wait();
            if (arena_.over) break;
        }
        for (std::thread& thread : threads) thread.join();
        if (problem_.empty()) problem_ = growth();
        summarise();
        return problem_;
    }

  private:
    [[nodiscard]] std::ptrdiff_t workers() const {
        return static_cast<std::ptrdiff_t>(settings_.threads) + 1;
    }
    [[nodiscard]] Clock::duration duration() const {
        return std::chrono::seconds(settings_.seconds);
    }
    [[nodiscard]] Clock::duration interval() const {
        return std::min<Clock::duration>(std::chrono::minutes(1), duration() / 10);
    }
    [[nodiscard]] Clock::duration longest_hold() const {
        return std::min<Clock::duration>(std::chrono::seconds(1), interval() / 2);
    }

    // The soft limit is crossed now and then, the hard one when many hold much.
    Index make() {
        Random random(settings_.seed);
        const auto some_account = [&](ShardId) { return Account(some_words(random)); };
        const std::size_t live = Index(accounts, some_account).memory_usage().live_bytes;
        Index::Options options;
        options.budget.soft_bytes = live * 2;
        options.budget.hard_bytes = live * 3;
        options.budget.on_pressure = [this](const cowindex::MemoryStats& stats) {
            ++pressed_;
            Trouble::expect(stats.total_bytes() > 0, "pressure from nothing");
        };
        return Index(accounts, some_account, options);
    }

    // What a monitor does all day long.
    void look_on(Clock::time_point until) {
        const Index& index = index_;
        while (Clock::now() < until && !Trouble::any()) {
            const auto now = index.metrics();
            const auto memory = index.memory_usage();
            Trouble::expect(now.commits >= last_.commits && now.conflicts >= last_.conflicts &&
                                now.clone_operations >= last_.clone_operations &&
                                now.reclaimed_bytes >= last_.reclaimed_bytes,
                            "a counter goes back");
            Trouble::expect(memory.total_bytes() <= memory.peak_bytes, "the peak is not the peak");
            Version previous = 0;
            for (const cowindex::PinInfo& pin : index.pins()) {
                Trouble::expect(pin.version >= previous, "pins() is not in order");
                Trouble::expect(pin.age >= Clock::duration(0), "a pin from the future");
                previous = pin.version;
            }
            Trouble::expect(previous <= index.version(), "a pin is newer than the latest");
            std::ostringstream page;
            cowindex::write_prometheus(page, now, {{"index", "soak"}});
            Trouble::expect(page.str().find("cowindex_commits_total") != std::string::npos,
                            "a page of metrics without commits");
            static_cast<void>(index.active_readers());
            most_retained_ = std::max(most_retained_, memory.retained_bytes);
            most_versions_ = std::max<std::uint64_t>(most_versions_, now.retained_versions);
            peak_ = std::max(peak_, resident_bytes());
            last_ = now;
            std::this_thread::sleep_for(
                std::min<Clock::duration>(milliseconds(10), interval() / 10));
        }
    }

    // All threads pause and hold nothing.
    void look_at_rest() {
        problem_ = test::unrest(index_);
        if (index_.size() != accounts) problem_ += "accounts that come and go have stayed; ";
        problem_ += test::validate(index_);
        check_all(index_.snapshot());
        if (const std::string trouble = Trouble::take(); !trouble.empty())
            problem_ = trouble + "; " + problem_;
        const auto memory = index_.memory_usage();
        const std::size_t heap = heap_bytes();
        const std::size_t in_use = test::Store::in_use();
        samples_.push_back({resident_bytes(), heap - std::min(heap, in_use)});
        Counts counts;
        for (const auto& worker : workers_) counts += worker->counts();
        const auto seconds =
            std::chrono::duration_cast<std::chrono::duration<double>>(Clock::now() - start_);
        std::printf("%7.1f s: version %llu, %llu reads; MB: live %.2f, pooled %.2f, besides %.2f, "
                    "resident %.1f\n",
                    seconds.count(), static_cast<unsigned long long>(index_.version()),
                    static_cast<unsigned long long>(counts.reads), megabytes(memory.live_bytes),
                    megabytes(memory.pooled_bytes), megabytes(samples_.back().besides),
                    megabytes(samples_.back().resident));
        std::fflush(stdout);
    }

    // Memory must have stopped growing by the second and third tenth of the run.
    [[nodiscard]] std::string growth() const {
        const std::size_t tenth = samples_.size() / 10;
        const auto most = [&](std::size_t Sample::* figure, std::size_t first, std::size_t count) {
            std::size_t highest = 0;
            for (std::size_t i = first; i < first + count; ++i)
                highest = std::max(highest, samples_[i].*figure);
            return highest;
        };
        const auto grown = [&](const char* what, std::size_t Sample::* figure, std::size_t spare) {
            const std::size_t early = most(figure, tenth, 2 * tenth);
            const std::size_t late = most(figure, samples_.size() - tenth, tenth);
            if (late == 0) return std::string(); // nobody tells
            std::printf("%s: at most %.2f MB in the second and third tenth, %.2f in the last\n",
                        what, megabytes(early), megabytes(late));
            if (late <= early + early / 10 + spare) return std::string();
            return std::string(what) + " has not stopped growing; ";
        };
        std::string found = grown("the heap besides the accounts", &Sample::besides, 1U << 20U);
        // A short run has not yet had its worst moment. Sanitizers keep what is freed.
        if (settings_.seconds >= 60 && !sanitized)
            found += grown("the resident set", &Sample::resident, 8U << 20U);
        return found;
    }

    void summarise() const {
        Counts counts;
        for (const auto& worker : workers_) counts += worker->counts();
        const auto metrics = index_.metrics();
        const auto number = [](const char* what, std::uint64_t value) {
            std::printf("%s%llu", what, static_cast<unsigned long long>(value));
        };
        number("commits: ", metrics.commits);
        number(", conflicts: ", metrics.conflicts);
        number(" (by hand: ", counts.lost);
        number("), retries: ", metrics.retries);
        number(", discards: ", metrics.discards);
        number(", refused: ", counts.refused);
        number(", soft limit crossed: ", pressed_);
        number("\nreads: ", counts.reads);
        number(", of another version than the one before: ", counts.versions);
        number(", snapshots kept: ", counts.kept);
        number(", diffs: ", counts.diffs);
        number(", weak pointers locked: ", counts.locked);
        number(", other indexes: ", counts.indexes);
        number("\nmost versions retained: ", most_versions_);
        std::printf(", MB: retained %.1f, peak of the index %.1f, peak of the resident set %.1f\n",
                    megabytes(most_retained_), megabytes(metrics.peak_memory_bytes),
                    megabytes(peak_));
    }

    Settings settings_;
    std::atomic<std::uint64_t> pressed_{0};
    Index index_;
    Arena arena_;
    Clock::time_point start_ = Clock::now();
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<Sample> samples_;
    std::string problem_;
    cowindex::CowMetrics::Values last_;
    std::size_t most_retained_ = 0;
    std::uint64_t most_versions_ = 0;
    std::size_t peak_ = 0;
};

} // namespace soak

int main(int argc, char** argv) {
    soak::Settings settings;
    const struct {
        const char* name;
        std::uint64_t soak::Settings::* value;
    } options[] = {{"--seconds", &soak::Settings::seconds},
                   {"--threads", &soak::Settings::threads},
                   {"--seed", &soak::Settings::seed}};
    for (int i = 1; i < argc; i += 2) {
        const auto* option =
            std::find_if(std::begin(options), std::end(options),
                         [&](const auto& known) { return std::strcmp(known.name, argv[i]) == 0; });
        const std::uint64_t value = i + 1 < argc ? std::strtoull(argv[i + 1], nullptr, 10) : 0;
        if (option == std::end(options) || value == 0) {
            std::fprintf(stderr, "usage: soak [--seconds N] [--threads N] [--seed N]\n");
            return 2;
        }
        settings.*option->value = value;
    }
    std::string problem = soak::Soak(settings).run();
    if (problem.empty() && test::Store::in_use() != 0) problem = "memory is left after the index";
    if (problem.empty() && soak::Account::alive_count() != 0) problem = "shards are left";
    std::printf("%s\n", problem.empty() ? "passed" : ("failed: " + problem).c_str());
    return problem.empty() ? 0 : 1;
}
