// Every allocation and every call of user code fails once, in every public function: the index, its
// other users and the gauges are then as before, the same writer goes on, and nothing leaks.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>
#include <cowindex/prometheus.hpp>
#include <cowindex/stream.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/faults.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using cowindex::Version;
using test::Faults;

namespace {

// Fails when copied, moved or measured.
struct Fragile {
    static inline std::int64_t alive = 0;

    explicit Fragile(int its_value = 0) : value(its_value) { ++alive; }
    Fragile(const Fragile& other) : value(other.value) {
        Faults::call();
        ++alive;
    }
    Fragile(Fragile&& other) : value(other.value) {
        Faults::call();
        ++alive;
    }
    Fragile& operator=(const Fragile&) = delete;
    ~Fragile() { --alive; }

    int value;
};

struct FragilePolicy : cowindex::DefaultPolicy<Fragile> {
    using Allocator = test::CountingAllocator<std::byte>;

    static Fragile clone(const Fragile& shard) {
        Faults::call();
        return Fragile(shard);
    }
    static std::size_t bytes(const Fragile&) {
        Faults::call();
        return sizeof(Fragile);
    }
    static void back_off(int) noexcept {} // in earnest it would take minutes
};

using Index = cowindex::CowIndex<Fragile, FragilePolicy>;
using Options = cowindex::Options<FragilePolicy>;

constexpr std::size_t initial_count = 200; // four leaves below one inner node

// An index in use: versions held in each way, and two open writers.
struct Fixture {
    explicit Fixture(const cowindex::MemoryBudget& budget = {}) {
        options.allocator = test::CountingAllocator<std::byte>(account);
        options.budget = budget;
        index.emplace(
            initial_count, [](ShardId id) { return Fragile(static_cast<int>(id)); }, options);
        snapshot = index->snapshot();
        index->replace(3, Fragile(1003));
        reader.emplace(index->reader("a reader"));
        view.emplace(reader->pin());
        index->erase(4);
        writer.emplace(index->writer("the writer under test"));
        other.emplace(index->writer());
        writer->edit(5).value = 1005;
        writer->erase(7);
        appended = writer->append(Fragile(2000));
        writer->require(9);
        other->edit(20).value = 1020;
    }

    test::AllocationAccount account;
    Options options;
    std::optional<Index> index;
    std::optional<Index::Snapshot> snapshot;
    std::optional<Index::Reader> reader;
    std::optional<Index::View> view;
    std::optional<Index::Writer> writer;
    std::optional<Index::Writer> other;
    ShardId appended = 0;
};

template <class Reading>
std::vector<std::pair<ShardId, int>> contents(const Reading& reading) {
    std::vector<std::pair<ShardId, int>> all;
    for (const auto item : reading.items()) all.emplace_back(item.id, item.shard.value);
    return all;
}

// All that a failure must leave as it was.
struct Observation {
    explicit Observation(const Fixture& f)
        : version(f.index->version()), latest(contents(f.index->snapshot())),
          old(contents(*f.snapshot)), viewed(contents(*f.view)), writer(contents(*f.writer)),
          other(contents(*f.other)), base(f.writer->base_version()),
          modified(f.writer->modified_count()), metrics(f.index->metrics()),
          memory(f.index->memory_usage()), pins(f.index->pins().size()) {}

    // Names the first difference; null where there is none.
    [[nodiscard]] const char* compare(const Observation& now) const {
        if (now.version != version) return "the version changed";
        if (now.latest != latest) return "the contents changed";
        if (now.old != old) return "a snapshot changed";
        if (now.viewed != viewed) return "a view changed";
        if (now.writer != writer) return "the writer changed";
        if (now.other != other) return "another writer changed";
        if (now.base != base) return "the base changed";
        if (now.modified != modified) return "the number of changes changed";
        if (now.pins != pins) return "the versions held changed";
        if (now.metrics.active_readers != metrics.active_readers) return "active_readers changed";
        if (now.metrics.pending_writers != metrics.pending_writers)
            return "pending_writers changed";
        if (now.metrics.retained_versions != metrics.retained_versions)
            return "retained_versions changed";
        if (now.metrics.oldest_pinned_version != metrics.oldest_pinned_version)
            return "oldest_pinned_version changed";
        if (now.metrics.uncommitted_bytes != metrics.uncommitted_bytes)
            return "uncommitted_bytes changed";
        if (now.metrics.commits != metrics.commits) return "commits changed";
        if (now.memory.live_bytes != memory.live_bytes) return "live_bytes changed";
        if (now.memory.retained_bytes != memory.retained_bytes) return "retained_bytes changed";
        if (now.memory.uncommitted_bytes != memory.uncommitted_bytes)
            return "uncommitted_bytes changed";
        // Garbage may have been freed and nodes may have gone to a pool, but nothing is lost.
        if (now.memory.reclaimable_bytes > memory.reclaimable_bytes)
            return "reclaimable_bytes grew";
        return nullptr;
    }

    Version version;
    std::vector<std::pair<ShardId, int>> latest, old, viewed, writer, other;
    Version base;
    std::size_t modified;
    cowindex::CowMetrics::Values metrics;
    cowindex::MemoryStats memory;
    std::size_t pins;
};

using Step = std::function<void(Fixture&)>;

struct Scenario {
    const char* name;
    Step prepare;
    Step act;
    bool changes_index = false; // it commits through others before it fails
    cowindex::MemoryBudget budget{};
};

// What a scenario may try to change, and has not changed before.
constexpr ShardId never_changed[] = {30, 31, 32, 33, 34, 100, 101, 102, ShardId{1} << 40};

// What is left when all has been let go.
struct Verdict {
    const char* problem = nullptr;
    std::uint64_t hash = 0; // of the values in the index when all was done at last
};

// Of the values alone: a failure may use up an id.
std::uint64_t hash_of_values(const Index& index) {
    std::uint64_t hash = 0;
    for (const Fragile& shard : index.snapshot())
        hash += (static_cast<std::uint64_t>(shard.value) + 1) * 0x9E3779B97F4A7C15U;
    return hash;
}

// The writer goes on after a failure, and commits.
const char* go_on(Fixture& f) {
    if (!f.writer->try_commit()) {
        f.writer->discard();
        f.writer->edit(1).value = 77;
        if (f.writer->try_commit().status() != cowindex::CommitStatus::committed)
            return "the writer cannot commit any more";
    }
    f.writer->edit(2).value = 78;
    if (f.writer->commit() != f.index->version()) return "the writer's commit is not the latest";
    if (f.index->snapshot()[2].value != 78) return "the writer's commit is lost";
    return nullptr;
}

const char* check_accounts(const Fixture& f) {
    if (!test::validate(*f.index).empty()) return "the index is damaged";
    if (f.index->memory_usage().total_bytes() != f.account.live_bytes)
        return "the accounts are not what is allocated";
    return nullptr;
}

// Runs `act` with a failure at point k. Returns false when there is no such point.
bool run(const Scenario& scenario, std::uint64_t k, bool for_ever, Verdict& verdict) {
    const std::int64_t blocks = Faults::live_blocks;
    bool fired = false;
    {
        const char* problem = nullptr;
        Fixture f(scenario.budget);
        if (scenario.prepare) scenario.prepare(f);
        {
            const Observation before(f);
            bool threw = false;
            Faults::arm(k, for_ever);
            try {
                scenario.act(f);
            } catch (...) {
                threw = true;
            }
            Faults::disarm();
            fired = Faults::fired != 0;
            if (fired && !threw) problem = "a failure was swallowed";
            if (fired && threw) {
                const Observation after(f);
                if (!scenario.changes_index) {
                    problem = before.compare(after);
                    // What failed left no trace of itself that a later call could find.
                    for (const ShardId id : never_changed) f.writer->revert(id);
                    if (problem == nullptr) problem = before.compare(Observation(f));
                }
                if (problem == nullptr) problem = check_accounts(f);
                // The same call, and the writer goes on.
                try {
                    scenario.act(f);
                } catch (const cowindex::ConflictError&) {
                } catch (const cowindex::MemoryBudgetError&) {
                }
            }
        }
        if (problem == nullptr) problem = check_accounts(f);
        if (problem == nullptr) problem = go_on(f);
        if (problem == nullptr) problem = check_accounts(f);
        verdict.problem = problem;
        verdict.hash = hash_of_values(*f.index);
        if (problem == nullptr && !f.index->memory_usage().pooled_bytes) {
            verdict.problem = "nothing is pooled: the test does not see pools";
        }
        f.view.reset();
        f.reader.reset();
        f.snapshot.reset();
        f.writer.reset();
        f.other.reset();
        f.index->reclaim();
        if (f.index->metrics().retained_bytes != 0) verdict.problem = "something stays retained";
        if (f.index->active_readers() != 0) verdict.problem = "a reader stays";
        if (f.index->metrics().pending_writers != 0) verdict.problem = "a writer stays";
        f.index.reset();
        if (f.account.live_bytes != 0 || f.account.mismatched) verdict.problem = "bytes leak";
    }
    if (Fragile::alive != 0) verdict.problem = "shards leak";
    if (Faults::live_blocks != blocks) verdict.problem = "memory leaks";
    return fired;
}

// What the index of a fixture holds in the sense of the budget.
std::size_t bytes_held() {
    const Fixture f;
    const auto memory = f.index->memory_usage();
    return memory.live_bytes + memory.retained_bytes + memory.reclaimable_bytes;
}

cowindex::MemoryBudget soft_budget() {
    cowindex::MemoryBudget budget;
    budget.soft_bytes = bytes_held() + 3000;
    budget.on_pressure = [](const cowindex::MemoryStats&) { Faults::call(); };
    return budget;
}
cowindex::MemoryBudget hard_budget() {
    cowindex::MemoryBudget budget;
    budget.hard_bytes = bytes_held() + 3000;
    return budget;
}
// More than there is room for.
void edit_sixty(Fixture& f) {
    for (ShardId id = 104; id < 164; ++id) f.writer->edit(id).value = 1;
}

void conflict_with_writer(Fixture& f) { f.index->replace(5, Fragile(5005)); }

std::vector<Scenario> scenarios() {
    std::vector<Scenario> all;
    const auto add = [&](const char* name, Step act, Step prepare = {}, bool changes = false) {
        all.push_back({name, std::move(prepare), std::move(act), changes, {}});
    };

    add("edit", [](Fixture& f) { f.writer->edit(30).value = 1030; });
    add("edit of an own shard", [](Fixture& f) { f.writer->edit(5).value = 1005; });
    add("replace", [](Fixture& f) { f.writer->replace(31, Fragile(1031)); });
    add("replace of an own shard", [](Fixture& f) { f.writer->replace(5, Fragile(1006)); });
    add("emplace", [](Fixture& f) { f.writer->emplace(32, 1032); });
    add("insert", [](Fixture& f) { f.writer->insert(ShardId{1} << 40, Fragile(1)); });
    add("insert of an erased shard", [](Fixture& f) { f.writer->insert(7, Fragile(1007)); });
    add("append", [](Fixture& f) { static_cast<void>(f.writer->append(Fragile(2001))); });
    add("erase", [](Fixture& f) { f.writer->erase(33); });
    add("erase of an own shard", [](Fixture& f) { f.writer->erase(5); });
    add("erase of a new shard", [](Fixture& f) { f.writer->erase(f.appended); });
    add("revert of an edit", [](Fixture& f) { f.writer->revert(5); });
    add("revert of an erasure", [](Fixture& f) { f.writer->revert(7); });
    add(
        "revert of an erasure that emptied a leaf", [](Fixture& f) { f.writer->revert(192); },
        [](Fixture& f) {
            f.writer->erase(f.appended);
            for (ShardId id = 192; id < initial_count; ++id) f.writer->erase(id);
        });
    add("revert of an insert", [](Fixture& f) { f.writer->revert(f.appended); });
    add("require", [](Fixture& f) { f.writer->require(34); });
    add("require_all", [](Fixture& f) { f.writer->require_all(); });
    add("discard", [](Fixture& f) { f.writer->discard(); });

    // Without nodes in stock, so that every path has to be allocated.
    const auto drain = [](Fixture& f) {
        for (ShardId i = 1; i <= 48; ++i) f.writer->insert(i << 50, Fragile(1));
    };
    add("edit without stock", [](Fixture& f) { f.writer->edit(100).value = 1030; }, drain);
    add("replace without stock", [](Fixture& f) { f.writer->replace(101, Fragile(1031)); }, drain);
    add(
        "insert without stock", [](Fixture& f) { f.writer->insert(ShardId{1} << 40, Fragile(1)); },
        drain);
    add(
        "append without stock",
        [](Fixture& f) { static_cast<void>(f.writer->append(Fragile(2001))); }, drain);
    add("erase without stock", [](Fixture& f) { f.writer->erase(102); }, drain);
    add(
        "erase without stock, then revert",
        [](Fixture& f) {
            f.writer->erase(102);
            f.writer->revert(102);
        },
        drain, true);
    add(
        "revert of an erasure that emptied a leaf, without stock",
        [](Fixture& f) { f.writer->revert(192); },
        [drain](Fixture& f) {
            f.writer->erase(f.appended);
            for (ShardId id = 192; id < initial_count; ++id) f.writer->erase(id);
            drain(f);
        });

    const auto commit = [](Fixture& f) { f.writer->commit(); };
    const auto try_commit = [](Fixture& f) { static_cast<void>(f.writer->try_commit()); };
    const auto commit_other = [](Fixture& f) { f.other->commit(); };
    const auto grow = [](Fixture& f) {
        f.other->insert(ShardId{1} << 40, Fragile(1));
        f.other->commit();
    };
    const auto many = [](Fixture& f) {
        for (ShardId id = 50; id < 150; id += 9) f.writer->edit(id).value = 1;
    };
    add("commit", commit);
    add("try_commit", try_commit);
    add("commit by replay", commit, commit_other);
    add("commit by replay without stock", commit, [=](Fixture& f) {
        drain(f);
        grow(f);
    });
    add(
        "rebase without stock", [](Fixture& f) { f.writer->rebase(); },
        [=](Fixture& f) {
            drain(f);
            grow(f);
        });
    add("commit by replay on a higher tree", commit, grow);
    add("commit of many changes by rebase", commit, [=](Fixture& f) {
        many(f);
        grow(f);
    });
    add("commit in conflict", commit, conflict_with_writer);
    add("try_commit in conflict", try_commit, conflict_with_writer);
    add("commit of many changes in conflict", commit, [=](Fixture& f) {
        many(f);
        conflict_with_writer(f);
    });
    add("commit in conflict with everything", commit, [](Fixture& f) {
        f.writer->require_all();
        f.other->commit();
    });
    add("commit in conflict with a required shard", commit,
        [](Fixture& f) { f.index->replace(9, Fragile(5009)); });
    add("commit after a conflict was reverted", commit, [](Fixture& f) {
        conflict_with_writer(f);
        f.writer->revert(5);
        f.writer->rebase();
    });
    add("rebase", [](Fixture& f) { f.writer->rebase(); }, grow);
    add("rebase in conflict", [](Fixture& f) { f.writer->rebase(); }, conflict_with_writer);

    add("update", [](Fixture& f) {
        f.index->update([](Index::Writer& writer) {
            writer.edit(40).value = 1040;
            writer.erase(41);
            writer.insert(41, Fragile(1041));
            static_cast<void>(writer.append(Fragile(2002)));
        });
    });
    add(
        "update that loses until it has a ticket",
        [](Fixture& f) {
            int losses = 4;
            f.index->update([&](Index::Writer& writer) {
                writer.edit(42).value = 1042;
                if (losses-- > 0) {
                    auto winner = f.index->writer();
                    winner.emplace(42, 5042);
                    winner.commit();
                }
            });
        },
        {}, true);
    add("edit in one line",
        [](Fixture& f) { f.index->edit(43, [](Fragile& shard) { shard.value = 1043; }); });
    add("replace in one line", [](Fixture& f) { f.index->replace(44, Fragile(1044)); });
    add("append in one line",
        [](Fixture& f) { static_cast<void>(f.index->append(Fragile(2003))); });
    add("erase in one line", [](Fixture& f) {
        if (f.index->snapshot().contains(45)) f.index->erase(45);
    });
    add("assign", [](Fixture& f) {
        std::vector<Fragile> shards;
        shards.reserve(70);
        for (int i = 0; i < 70; ++i) shards.emplace_back(i);
        f.index->assign(std::move(shards));
    });

    add("snapshot", [](Fixture& f) { static_cast<void>(f.index->snapshot().size()); });
    add("snapshot of a view", [](Fixture& f) { static_cast<void>(f.view->snapshot().size()); });
    add("a labelled snapshot", [](Fixture& f) {
        const auto first = f.index->snapshot("a label that does not fit into the string itself");
        const auto copy = first;
        const auto second = f.view->snapshot("another that does not fit into the string itself");
    });
    add("share", [](Fixture& f) { static_cast<void>(f.snapshot->share(1)); });
    add("reader", [](Fixture& f) { static_cast<void>(f.index->reader()); });
    add("several labelled readers", [](Fixture& f) {
        const auto first = f.index->reader("a label that does not fit into the string itself");
        const auto second = f.index->reader("another that does not fit into the string itself");
    });
    add("pin", [](Fixture& f) { static_cast<void>(f.reader->pin()); });
    add("read", [](Fixture& f) {
        f.index->read([&](const Index::View& outer) {
            f.index->read([&](const Index::View& inner) {
                if (inner.version() != outer.version()) throw test::Failure();
            });
        });
    });
    add("writer", [](Fixture& f) { static_cast<void>(f.index->writer()); });
    add("several labelled writers", [](Fixture& f) {
        const auto first = f.index->writer("a label that does not fit into the string itself");
        const auto second = f.index->writer("another that does not fit into the string itself");
    });
    add("pins", [](Fixture& f) { static_cast<void>(f.index->pins()); });
    add("memory_usage", [](Fixture& f) { static_cast<void>(f.index->memory_usage()); });
    add("metrics", [](Fixture& f) { static_cast<void>(f.index->metrics()); });
    add("reclaim", [](Fixture& f) { f.index->reclaim(); });
    add("active_readers", [](Fixture& f) { static_cast<void>(f.index->active_readers()); });
    using namespace std::chrono_literals;
    add("wait_for_version", [](Fixture& f) {
        static_cast<void>(f.index->wait_for_version(0, 0s));
        static_cast<void>(f.index->wait_for_version(1000, 0s));
    });
    add("wait_for_newer", [](Fixture& f) {
        static_cast<void>(f.reader->wait_for_newer(0, 0s));
        static_cast<void>(f.reader->wait_for_newer(1000, 0s));
    });
    add("diff", [](Fixture& f) {
        if (cowindex::diff(*f.snapshot, f.index->snapshot()).size() < 2) throw test::Failure();
    });
    // A stream keeps what it catches to itself unless it is told otherwise.
    add("metrics as text", [](Fixture& f) {
        std::ostringstream out;
        out.exceptions(std::ios::badbit);
        out << f.index->metrics() << f.index->memory_usage();
    });
    add("metrics for Prometheus", [](Fixture& f) {
        std::ostringstream out;
        out.exceptions(std::ios::badbit);
        cowindex::write_prometheus(out, f.index->metrics(),
                                   {{"index", "a long name \n of an index"}});
    });

    const auto commit_for = [](Fixture& f) { f.writer->commit_for(0s); };
    const cowindex::MemoryBudget soft = soft_budget();
    const cowindex::MemoryBudget hard = hard_budget();
    const auto limited = [&](const char* name, const cowindex::MemoryBudget& budget, Step act,
                             Step prepare = {}) {
        all.push_back({name, std::move(prepare), std::move(act), false, budget});
    };
    limited("commit past the soft limit", soft, commit, edit_sixty);
    limited("commit_for past the soft limit", soft, commit_for, edit_sixty);
    limited("commit past the soft limit by replay", soft, commit, [](Fixture& f) {
        edit_sixty(f);
        f.other->commit();
    });
    limited("update past the soft limit", soft, [](Fixture& f) {
        f.index->update([](Index::Writer& writer) {
            for (ShardId id = 104; id < 164; ++id) writer.edit(id).value = 1;
        });
    });
    limited("commit within the hard limit", hard, commit);
    limited("commit_for within the hard limit", hard, commit_for);
    limited("commit above the hard limit", hard, commit, edit_sixty);
    limited("try_commit above the hard limit", hard, try_commit, edit_sixty);
    limited("commit_for above the hard limit", hard, commit_for, edit_sixty);
    limited("commit above the hard limit by replay", hard, commit, [](Fixture& f) {
        edit_sixty(f);
        f.other->commit();
    });
    limited("update above the hard limit", hard, [](Fixture& f) {
        f.index->update([](Index::Writer& writer) {
            for (ShardId id = 104; id < 164; ++id) writer.edit(id).value = 1;
        });
    });

    add("copy of a handle", [](Fixture& f) { static_cast<void>(Index(*f.index)); });
    return all;
}

} // namespace

TEST_CASE("after any failure everything is as before and the same writer goes on") {
    std::uint64_t points = 0;
    for (const Scenario& scenario : scenarios()) {
        Verdict unharmed;
        run(scenario, ~std::uint64_t{0}, false, unharmed);
        for (const bool for_ever : {false, true}) {
            std::uint64_t k = 0;
            for (;; ++k) {
                Verdict verdict;
                const bool fired = run(scenario, k, for_ever, verdict);
                if (verdict.problem == nullptr && verdict.hash != unharmed.hash)
                    verdict.problem = "a second try does not do what the first should have done";
                if (verdict.problem != nullptr) {
                    CAPTURE(scenario.name, k, for_ever);
                    FAIL(verdict.problem);
                }
                if (!fired) break;
            }
            points += k;
        }
    }
    WARN("points at which something was made to fail: " << points);
    REQUIRE(points > 300);
}

TEST_CASE("the budgets that are made to fail are crossed") {
    Fixture above(hard_budget());
    edit_sixty(above);
    REQUIRE(above.writer->try_commit().status() == cowindex::CommitStatus::over_budget);
    int calls = 0;
    cowindex::MemoryBudget budget = soft_budget();
    budget.on_pressure = [&](const cowindex::MemoryStats&) { ++calls; };
    Fixture past(budget);
    REQUIRE(calls == 0);
    edit_sixty(past);
    past.writer->commit();
    REQUIRE(calls == 1);
}

TEST_CASE("a constructor that fails leaves nothing behind") {
    std::uint64_t points = 0;
    for (int which = 0; which < 5; ++which) {
        for (const bool for_ever : {false, true}) {
            for (std::uint64_t k = 0;; ++k, ++points) {
                const std::int64_t blocks = Faults::live_blocks;
                const char* problem = nullptr;
                bool fired = false;
                {
                    test::AllocationAccount account;
                    Options options;
                    options.allocator = test::CountingAllocator<std::byte>(account);
                    std::vector<Fragile> shards;
                    shards.reserve(70);
                    for (int i = 0; i < 70; ++i) shards.emplace_back(i);
                    const Fragile prototype(1);
                    Faults::arm(k, for_ever);
                    try {
                        std::optional<Index> index;
                        if (which == 0) index.emplace(options);
                        if (which == 1) index.emplace(70U, options);
                        if (which == 2) index.emplace(70U, prototype, options);
                        if (which == 3)
                            index.emplace(
                                70U,
                                [](ShardId id) {
                                    Faults::call();
                                    return Fragile(static_cast<int>(id));
                                },
                                options);
                        if (which == 4) index.emplace(std::move(shards), options);
                    } catch (...) {
                    }
                    Faults::disarm();
                    fired = Faults::fired != 0;
                    if (account.live_bytes != 0 || account.mismatched) problem = "bytes leak";
                }
                if (Fragile::alive != 0) problem = "shards leak";
                if (Faults::live_blocks != blocks) problem = "memory leaks";
                if (problem != nullptr) {
                    CAPTURE(which, k, for_ever);
                    FAIL(problem);
                }
                if (!fired) break;
            }
        }
    }
    WARN("points at which a constructor was made to fail: " << points);
    REQUIRE(points > 300);
}

namespace {

// Cannot be locked, once.
struct UnwillingMutex {
    static inline int locked_before = -1; // so often, until then; never where negative
    bool try_lock() {
        if (locked_before >= 0 && locked_before-- == 0) throw std::runtime_error("not now");
        return mutex.try_lock();
    }
    void lock() { mutex.lock(); }
    void unlock() { mutex.unlock(); }
    std::mutex mutex;
};

struct UnwillingPolicy : FragilePolicy {
    using Mutex = UnwillingMutex;
};

} // namespace

TEST_CASE("a mutex that cannot be locked costs nothing but the call") {
    using Unwilling = cowindex::CowIndex<Fragile, UnwillingPolicy>;
    const int operation = GENERATE(0, 1, 2, 3, 4);
    test::AllocationAccount account;
    int refusals = 0;
    for (int before = 0; before < 4; ++before) {
        const std::int64_t blocks = Faults::live_blocks;
        cowindex::Options<UnwillingPolicy> options;
        options.allocator = test::CountingAllocator<std::byte>(account);
        {
            Unwilling index(3, [](ShardId id) { return Fragile(static_cast<int>(id)); }, options);
            std::optional<Unwilling::Reader> reader;
            std::optional<Unwilling::Snapshot> snapshot;
            std::optional<Unwilling::Writer> writer;
            if (operation >= 3) {
                writer.emplace(index.writer());
                if (operation == 3) writer->edit(1).value = 7;
            }
            UnwillingMutex::locked_before = before;
            bool refused = false;
            try {
                if (operation == 0) reader.emplace(index.reader("named"));
                if (operation == 1) snapshot.emplace(index.snapshot());
                if (operation == 2) writer.emplace(index.writer("named"));
                if (operation >= 3) writer->commit();
            } catch (const std::runtime_error&) {
                refused = true;
            }
            UnwillingMutex::locked_before = -1;
            refusals += refused ? 1 : 0;
            REQUIRE(test::validate(index) == "");
            REQUIRE(index.snapshot()[1].value == (operation == 3 && !refused ? 7 : 1));
            REQUIRE(index.memory_usage().total_bytes() == account.live_bytes);
            if (operation >= 3) REQUIRE(writer->commit() == (operation == 3 ? 1 : 0));
        }
        REQUIRE(account.live_bytes == 0);
        REQUIRE(Faults::live_blocks == blocks);
    }
    REQUIRE(refusals > 0);
}
