/// Threads that run freely, and a record of what each committed and read. Afterwards the commits
/// are replayed one by one, and everything that anybody read must be the state at exactly its
/// version.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/environment.hpp>
#include <support/scheduler.hpp>

#include "ledger.hpp"

namespace {

using test::Ledger;
using test::LedgerIndex;
using test::Random;
using test::Reading;
using test::ShardId;
using test::Trouble;
using test::Version;

using Writer = LedgerIndex::Writer;
using View = LedgerIndex::View;
using Reader = LedgerIndex::Reader;
using Snapshot = LedgerIndex::Snapshot;

// The first ids hold the bank, whose sum never moves; some more are replaced, added and erased.
constexpr ShardId bank = 6;
constexpr ShardId scratch = 3;
constexpr std::int64_t start = 1'000;

constexpr std::size_t lookups = 64; // in each version that is read

#if defined(COWINDEX_THREAD_SANITIZER)
constexpr std::uint64_t default_operations = 30'000; // of each thread
#else
constexpr std::uint64_t default_operations = 100'000;
#endif

std::uint64_t operations() {
    return test::number_from_environment("COWINDEX_OPERATIONS", default_operations);
}

struct Entry {
    enum Kind : std::uint8_t { enter, put, erase } kind;
    ShardId id;
    std::uint64_t token;
    std::int64_t amount;
};
struct Committed {
    Version version;
    std::vector<Entry> entries;
};
struct Seen {
    Version version;
    std::uint64_t digest;
};

// What all threads share.
struct Common {
    LedgerIndex index{bank + scratch, [](ShardId id) { return Ledger(id < bank ? start : 0); }};
    std::atomic<Version> acknowledged{0};
    std::atomic<std::uint64_t> tries{0}; // commits with edits that were asked for

    void acknowledge(Version version) {
        Version now = acknowledged.load();
        while (now < version && !acknowledged.compare_exchange_weak(now, version)) {
        }
    }
};

// What one thread did and saw.
class Actor {
  public:
    Actor(Common& common, std::uint64_t seed)
        : common_(common), random_(seed), token_(seed << 40) {}

    std::vector<Committed> commits;
    std::vector<Seen> reads;
    std::uint64_t versions_read = 0;
    std::uint64_t shards_read = 0;
    std::uint64_t conflicts = 0;
    std::uint64_t retries = 0;

    void write_once() {
        switch (random_.below(12)) {
        case 0: one_line(); break;
        case 1: replace(); break;
        case 2: come_and_go(); break;
        case 3: by_hand(true); break;
        case 4: by_hand(false); break;
        case 5: moved_along(); break;
        case 6: static_cast<void>(common_.index.reclaim()); break;
        default: transfer();
        }
    }

    void read_once() {
        LedgerIndex& index = common_.index;
        switch (random_.below(16)) {
        case 0: {
            const Reading guard;
            const Snapshot snapshot = look([&] { return index.snapshot(); });
            read(snapshot);
            const Snapshot copy = snapshot; // NOLINT: the copy is the point
            Trouble::expect(copy == snapshot, "a copied snapshot differs");
            break;
        }
        case 1: {
            const Reading guard;
            floor();
            index.read([&](const View& view) {
                see(view.version());
                read(view);
            });
            break;
        }
        case 2:
            floor();
            see(index.version());
            break;
        case 3: { // promotion, held for a while
            const Reading guard;
            std::optional<View> view(look([&] { return reader().pin(); }));
            Snapshot kept = view->snapshot();
            Trouble::expect(kept.version() == view->version(), "promotion changes the version");
            view.reset();
            read(kept);
            held_ = std::move(kept);
            break;
        }
        case 4: {
            const Reading guard;
            if (held_.version() != 0) read(held_);
            if (random_.below(8) == 0) held_ = Snapshot();
            break;
        }
        case 5: { // nested
            const Reading guard;
            const View outer = look([&] { return reader().pin(); });
            const View inner = reader().pin();
            Trouble::expect(outer.version() == inner.version(), "a nested pin moves");
            read(inner);
            break;
        }
        case 6: {
            const Reading guard;
            std::shared_ptr<const Ledger> shared = index.snapshot().share(0);
            const std::weak_ptr<const Ledger> weak = shared;
            static_cast<void>(shared->digest());
            shared.reset();
            if (const auto locked = weak.lock()) static_cast<void>(locked->digest());
            break;
        }
        case 7:
            if (random_.below(16) == 0) reader_.reset();
            break;
        case 8:
            if (random_.below(32) == 0) look_in();
            break;
        case 9: { // a view that outlives its reader
            const Reading guard;
            const View view = look([&] { return reader().pin(); });
            reader_.reset();
            read(view);
            break;
        }
        default: {
            const Reading guard;
            read(look([&] { return reader().pin(); }));
        }
        }
    }

    void let_go() {
        reader_.reset();
        held_ = Snapshot();
    }

  private:
    Reader& reader() {
        if (!reader_) reader_.emplace(common_.index.reader("history"));
        return *reader_;
    }

    void floor() { floor_ = std::max(last_, common_.acknowledged.load()); }
    void see(Version version) {
        Trouble::expect(version >= floor_, "a thread is shown an older version than before");
        last_ = std::max(last_, version);
    }
    template <class Fn>
    std::invoke_result_t<Fn&> look(Fn&& fn) {
        floor();
        auto seen = fn();
        see(seen.version());
        return seen;
    }
    template <class Version>
    void read(const Version& version) {
        std::int64_t sum = 0;
        for (ShardId id = 0; id < bank; ++id) sum += version[id].balance();
        Trouble::expect(sum == static_cast<std::int64_t>(bank) * start, "the bank's sum has moved");
        shards_.clear();
        for (auto it = version.begin(); it != version.end(); ++it)
            shards_.push_back({it.id(), it->digest()});
        // While it is held, and others commit and reclaim, each shard stays what it is.
        for (std::size_t n = lookups; n > 0; --n) {
            const auto& [id, digest] = shards_[random_.below(shards_.size())];
            const Ledger* const ledger = version.find(id);
            Trouble::expect(ledger != nullptr && ledger->digest() == digest,
                            "a shard changes while its version is held");
        }
        ++versions_read;
        shards_read += bank + shards_.size() + lookups;
        std::uint64_t digest = 0;
        for (const auto& [id, shard] : shards_) digest = Ledger::mix(digest ^ (id + 1)) ^ shard;
        const Seen seen{version.version(), digest};
        if (reads.empty() || reads.back().version != seen.version ||
            reads.back().digest != seen.digest)
            reads.push_back(seen);
    }
    void look_in() {
        LedgerIndex& index = common_.index;
        static_cast<void>(index.metrics());
        static_cast<void>(index.memory_usage());
        static_cast<void>(index.active_readers());
        Version before = 0;
        bool first = true;
        for (const auto& pin : index.pins()) {
            Trouble::expect(first || pin.version > before, "pins() is not in order");
            before = pin.version;
            first = false;
        }
    }

    void committed(Version version, std::vector<Entry> entries) {
        Trouble::expect(version > last_, "a commit is not newer than what its thread has seen");
        last_ = version;
        common_.acknowledge(version);
        commits.push_back({version, std::move(entries)});
    }
    Entry enter(Writer& writer, ShardId id, std::uint64_t token, std::int64_t amount) {
        writer.edit(id).enter(token, amount);
        return {Entry::enter, id, token, amount};
    }
    std::vector<Entry> enter_transfer(Writer& writer, std::uint64_t token) {
        const ShardId from = random_.below(bank);
        const ShardId to = (from + 1 + random_.below(bank - 1)) % bank;
        const auto amount = static_cast<std::int64_t>(random_.below(100));
        std::vector<Entry> entries{enter(writer, from, token, -amount),
                                   enter(writer, to, token, amount)};
        return entries;
    }

    // Counts the runs of an update's function.
    template <class Fn>
    Version update(Fn&& fn) {
        std::uint64_t runs = 0;
        const Version version = common_.index.update([&](Writer& writer) {
            ++runs;
            fn(writer);
        });
        conflicts += runs - 1;
        retries += runs - 1;
        return version;
    }
    void transfer() {
        const std::uint64_t token = ++token_;
        std::vector<Entry> entries;
        const Version version =
            update([&](Writer& writer) { entries = enter_transfer(writer, token); });
        committed(version, std::move(entries));
    }
    void one_line() {
        const ShardId id = random_.below(bank);
        const std::uint64_t token = ++token_;
        std::uint64_t runs = 0;
        const Version version = common_.index.edit(id, [&](Ledger& ledger) {
            ++runs;
            ledger.enter(token, 0);
        });
        conflicts += runs - 1;
        retries += runs - 1;
        committed(version, {{Entry::enter, id, token, 0}});
    }
    void replace() {
        const ShardId id = bank + random_.below(scratch);
        const auto amount = static_cast<std::int64_t>(++token_);
        const Version version = update([&](Writer& writer) { writer.replace(id, Ledger(amount)); });
        committed(version, {{Entry::put, id, 0, amount}});
    }
    void come_and_go() {
        const auto amount = static_cast<std::int64_t>(++token_);
        Writer writer = common_.index.writer();
        const ShardId id = writer.append(Ledger(amount));
        committed(writer.commit(), {{Entry::put, id, 0, amount}});
        writer.erase(id);
        committed(writer.commit(), {{Entry::erase, id, 0, 0}});
    }
    // A writer that may lose: it tries once more, or drops what it has.
    void by_hand(bool again) {
        Writer writer = common_.index.writer("by hand");
        std::vector<Entry> entries = enter_transfer(writer, ++token_);
        if (again && random_.coin()) writer.require(random_.below(bank));
        for (;;) {
            const Version base = writer.base_version();
            if (const auto result = writer.try_commit()) {
                committed(result.version(), std::move(entries));
                return;
            }
            ++conflicts;
            Trouble::expect(writer.base_version() == base, "a refused commit moves its writer");
            Trouble::expect(writer.modified_count() == 2, "a refused commit loses edits");
            if (!again) return;
            writer.discard();
            entries = enter_transfer(writer, ++token_);
        }
    }
    void moved_along() {
        Writer writer = common_.index.writer();
        std::vector<Entry> entries = enter_transfer(writer, ++token_);
        try {
            writer.rebase();
            committed(writer.commit(), std::move(entries));
        } catch (const cowindex::ConflictError& error) {
            Trouble::expect(!error.shards().empty(), "a conflict names no shard");
            ++lost_by_hand;
        }
    }

    Common& common_;
    Random random_;
    std::uint64_t token_;
    Version last_ = 0;
    Version floor_ = 0;
    std::optional<Reader> reader_;
    Snapshot held_;
    struct Shard {
        ShardId id;
        std::uint64_t digest;
    };
    std::vector<Shard> shards_; // of the version that is being read

  public:
    std::uint64_t lost_by_hand = 0; // refused by rebase(), which counts no conflict, or by commit()
};

// Replays the commits, asks whether every read is what was committed.
std::string check(Common& common, const std::vector<std::unique_ptr<Actor>>& actors) {
    std::vector<const Committed*> commits;
    for (const auto& actor : actors)
        for (const Committed& commit : actor->commits) commits.push_back(&commit);
    std::sort(commits.begin(), commits.end(),
              [](const Committed* a, const Committed* b) { return a->version < b->version; });

    std::map<ShardId, Ledger> state;
    for (ShardId id = 0; id < bank + scratch; ++id) state.try_emplace(id, id < bank ? start : 0);
    const auto digest = [&] {
        std::uint64_t result = 0;
        for (const auto& [id, ledger] : state)
            result = Ledger::mix(result ^ (id + 1)) ^ ledger.digest();
        return result;
    };
    std::vector<std::uint64_t> digests{digest()};
    for (const Committed* commit : commits) {
        if (commit->version != digests.size())
            return "version " + std::to_string(digests.size()) + " is missing or given twice";
        for (const Entry& entry : commit->entries) {
            if (entry.kind == Entry::enter) {
                state.at(entry.id).enter(entry.token, entry.amount);
            } else {
                state.erase(entry.id);
                if (entry.kind == Entry::put) state.try_emplace(entry.id, entry.amount);
            }
        }
        digests.push_back(digest());
    }
    if (common.index.version() + 1 != digests.size()) return "the last version is another";
    if (test::digest_of(common.index.snapshot()) != digests.back())
        return "the last version does not hold what was committed";
    for (const auto& actor : actors)
        for (const Seen& seen : actor->reads)
            if (seen.version >= digests.size() || digests[seen.version] != seen.digest)
                return "version " + std::to_string(seen.version) +
                       " was read otherwise than it was committed";
    return {};
}

void run_history(test::Store::Mode mode) {
    test::Store::use(mode);
    test::LedgerPolicy::clones = 0;
    {
        Common common;
        constexpr std::size_t writers = 3;
        constexpr std::size_t readers = 3;
        std::vector<std::unique_ptr<Actor>> actors;
        for (std::size_t i = 0; i < writers + readers; ++i)
            actors.push_back(std::make_unique<Actor>(common, i + 1));
        std::latch together(writers + readers);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < actors.size(); ++i)
            threads.emplace_back([&, i] {
                Actor& actor = *actors[i];
                Random random(100 + i);
                together.arrive_and_wait();
                for (std::uint64_t n = operations(); n > 0; --n)
                    if (i < writers && random.below(4) != 0)
                        actor.write_once();
                    else
                        actor.read_once();
                actor.let_go();
            });
        for (std::thread& thread : threads) thread.join();

        REQUIRE(Trouble::take() == "");
        REQUIRE(check(common, actors) == "");
        REQUIRE(test::unrest(common.index) == "");

        std::uint64_t commits = 0;
        std::uint64_t conflicts = 0;
        std::uint64_t retries = 0;
        std::uint64_t lost = 0;
        std::uint64_t versions_read = 0;
        std::uint64_t shards_read = 0;
        for (const auto& actor : actors) {
            commits += actor->commits.size();
            conflicts += actor->conflicts;
            retries += actor->retries;
            lost += actor->lost_by_hand;
            versions_read += actor->versions_read;
            shards_read += actor->shards_read;
        }
        std::printf("%llu commits, %llu versions read, %llu shards read in them\n",
                    static_cast<unsigned long long>(commits),
                    static_cast<unsigned long long>(versions_read),
                    static_cast<unsigned long long>(shards_read));
        const auto metrics = common.index.metrics();
        CHECK(metrics.commits == commits);
        CHECK(metrics.retries == retries);
        CHECK(metrics.conflicts >= conflicts);
        CHECK(metrics.conflicts <= conflicts + lost);
        CHECK(metrics.clone_operations == test::LedgerPolicy::clones);
        CHECK(metrics.reclaimed_bytes > 0);
    }
    CHECK(test::Store::in_use() == 0);
    CHECK(Ledger::alive_count() == 0);
    test::Store::clear();
    REQUIRE(Trouble::take() == "");
    test::Store::use(test::Store::Mode::plain);
}

} // namespace

TEST_CASE("what threads read is what was committed") { run_history(test::Store::Mode::plain); }

TEST_CASE("what threads read is what was committed, with freed memory kept") {
    run_history(test::Store::Mode::quarantine);
}

TEST_CASE("what threads read is what was committed, with freed memory used again at once") {
    run_history(test::Store::Mode::reuse);
}
