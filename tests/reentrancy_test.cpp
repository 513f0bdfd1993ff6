// User code that is called by the index, and that uses the index.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <latch>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;

namespace {

struct Lively;
struct LivelyPolicy;
using Index = cowindex::CowIndex<Lively, LivelyPolicy>;

// Runs a function when it is destroyed, if it was armed.
struct Lively {
    static inline std::function<void()> on_destruction;
    static inline int destructions = 0;
    static inline int depth = 0;
    static inline int deepest = 0;

    explicit Lively(int its_value = 0, bool is_armed = false) : value(its_value), armed(is_armed) {}
    Lively(const Lively& other) : value(other.value) {}
    Lively(Lively&& other) noexcept
        : value(other.value), armed(std::exchange(other.armed, false)) {}
    Lively& operator=(const Lively&) = delete;
    ~Lively() {
        if (!armed || !on_destruction) return;
        ++destructions;
        deepest = std::max(deepest, ++depth);
        on_destruction();
        --depth;
    }

    int value;
    bool armed = false;
};

struct LivelyPolicy : cowindex::DefaultPolicy<Lively> {
    static inline std::function<void()> on_clone;
    static inline std::function<void()> on_bytes;
    static Lively clone(const Lively& shard) {
        if (on_clone) std::exchange(on_clone, nullptr)();
        return Lively(shard);
    }
    static std::size_t bytes(const Lively&) {
        if (on_bytes) std::exchange(on_bytes, nullptr)();
        return sizeof(Lively);
    }
};

struct CountedPolicy : LivelyPolicy {
    using Allocator = test::CountingAllocator<std::byte>;
};

struct RecyclingPolicy : CountedPolicy {
    static void assign(Lively& retired, const Lively& shard) { retired.value = shard.value; }
};

struct LargePolicy : CountedPolicy {
    static std::size_t bytes(const Lively&) { return 1000; }
};

struct Fixture {
    Fixture() : index(20, [](ShardId) { return Lively(); }) {
        Lively::destructions = Lively::depth = Lively::deepest = 0;
    }
    ~Fixture() { Lively::on_destruction = nullptr; }

    // Puts armed shards into old versions.
    void plant(int count) {
        for (int i = 0; i < count; ++i)
            index.replace(static_cast<ShardId>(i % 20), Lively(i, true));
    }

    Index index;
};

} // namespace

TEST_CASE("a shard's destructor may read, write and reclaim the index") {
    Fixture f;
    const std::vector<std::function<void()>> uses{
        [&] { static_cast<void>(f.index.snapshot().size()); },
        [&] { static_cast<void>(f.index.reader().pin().size()); },
        [&] { f.index.read([](const auto& view) { return view.size(); }); },
        [&] { f.index.replace(19, Lively(7)); },
        [&] { f.index.edit(19, [](Lively& shard) { ++shard.value; }); },
        [&] { f.index.update([](auto& writer) { writer.edit(19).value = 1; }); },
        [&] { static_cast<void>(f.index.append(Lively(1))); },
        [&] {
            auto writer = f.index.writer();
            writer.edit(18).value = 1;
            writer.edit(17).value = 1;
            writer.commit();
            writer.edit(16).value = 1; // dropped
        },
        [&] { f.index.reclaim(); },
        [&] { static_cast<void>(f.index.pins()); },
        [&] { static_cast<void>(f.index.metrics()); },
        [&] { static_cast<void>(f.index.memory_usage()); },
    };
    for (const auto& use : uses) {
        Lively::on_destruction = use;
        const int before = Lively::destructions;
        f.plant(60);
        f.index.reclaim();
        REQUIRE(Lively::destructions > before);
        REQUIRE(test::validate(f.index) == "");
        // Also where it dies with a writer's edits, in a clone that is taken back, in an update.
        {
            auto writer = f.index.writer();
            writer.replace(1, Lively(1, true));
            writer.replace(2, Lively(2, true));
            writer.replace(1, Lively(1, true));
            writer.append(Lively(3, true));
            writer.revert(2);
            writer.discard();
            writer.replace(3, Lively(1, true));
        }
        f.index.update([](auto& writer) { writer.replace(4, Lively(4, true)); });
        f.index.assign([] {
            std::vector<Lively> shards;
            shards.reserve(20);
            for (int i = 0; i < 20; ++i) shards.emplace_back(i, true);
            return shards;
        }());
        f.index.reclaim();
        REQUIRE(test::validate(f.index) == "");
    }
    Lively::on_destruction = nullptr;
}

namespace {

// Cannot be moved, only copied; a copy is not armed.
struct Stubborn {
    static inline std::function<void()> on_destruction;
    Stubborn() = default;
    Stubborn(const Stubborn& other) : value(other.value) {}
    Stubborn& operator=(const Stubborn&) = delete;
    ~Stubborn() {
        if (armed) on_destruction();
    }
    int value = 0;
    bool armed = false;
};

} // namespace

TEST_CASE("what assign() was given may update the index when it ends") {
    cowindex::CowIndex<Stubborn> index(3);
    Stubborn::on_destruction = [&] { index.edit(0, [](Stubborn& shard) { ++shard.value; }); };
    std::vector<Stubborn> shards(2);
    for (Stubborn& shard : shards) shard.armed = true;
    REQUIRE(index.assign(std::move(shards)) == 1);
    REQUIRE(index.version() == 3);
    REQUIRE(index.snapshot()[0].value == 2);
}

TEST_CASE("destructors that commit do not nest without bound") {
    Fixture f;
    int budget = 3000;
    Lively::on_destruction = [&] {
        if (budget-- > 0) f.index.replace(3, Lively(1, true));
    };
    f.plant(50);
    for (int i = 0; i < 100; ++i) f.index.reclaim();
    REQUIRE(Lively::deepest < 20);
    REQUIRE(test::validate(f.index) == "");
    Lively::on_destruction = nullptr;
}

TEST_CASE("a destructor may let go of snapshots, readers and writers") {
    Fixture f;
    std::optional<Index::Snapshot> snapshot(f.index.snapshot());
    std::optional<Index::Reader> reader(f.index.reader());
    std::optional<Index::View> view(reader->pin());
    std::optional<Index::Writer> writer(f.index.writer());
    writer->edit(5).value = 1;
    Lively::on_destruction = [&] {
        snapshot.reset();
        reader.reset();
        view.reset();
        writer.reset();
    };
    f.index.replace(1, Lively(1, true));
    f.index.replace(1, Lively(2));
    f.index.reclaim();
    REQUIRE_FALSE(snapshot.has_value());
    f.index.reclaim();
    REQUIRE(f.index.pins().empty());
    REQUIRE(f.index.metrics().pending_writers == 0);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("shards may use other indices when the last of theirs dies") {
    Index other(3, [](ShardId) { return Lively(); });
    {
        Fixture f;
        f.index.replace(1, Lively(1, true));
        Lively::on_destruction = [&] { other.replace(0, Lively(5)); };
        auto last = f.index.snapshot();
        f.index = Index();
        last = {};
        REQUIRE(other.version() == 1);
    }
    REQUIRE(other.snapshot()[0].value == 5);
}

TEST_CASE("a clone may read, commit elsewhere and reclaim") {
    Fixture f;
    auto writer = f.index.writer();
    LivelyPolicy::on_clone = [&] {
        f.index.replace(9, Lively(9));
        f.index.reclaim();
        static_cast<void>(f.index.pins());
    };
    writer.edit(1).value = 1;
    REQUIRE(writer.commit() == 2);
    REQUIRE(f.index.snapshot()[9].value == 9);

    LivelyPolicy::on_clone = [&] { f.index.replace(1, Lively(8)); };
    writer.edit(1).value = 2; // the clone of what is no longer the latest
    REQUIRE_THROWS_AS(writer.commit(), cowindex::ConflictError);
}

TEST_CASE("measuring may use the index, and be overtaken by it") {
    Fixture f;
    auto writer = f.index.writer();
    writer.edit(1).value = 1;
    LivelyPolicy::on_bytes = [&] {
        f.index.replace(2, Lively(2));
        f.index.reclaim();
    };
    REQUIRE(writer.commit() == 2);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("reclaim() with a pin of its own does not wait for it") {
    Fixture f;
    auto reader = f.index.reader();
    const auto view = reader.pin();
    f.index.replace(1, Lively(1));
    f.index.reclaim();
    REQUIRE(view[1].value == 0);
    f.index.read([&](const auto& borrowed) {
        f.index.replace(2, Lively(2));
        f.index.reclaim();
        REQUIRE(borrowed[2].value == 0);
        REQUIRE(borrowed[1].value == 1);
    });
}

TEST_CASE("an update in an update of the same index is refused, elsewhere it is not") {
    Fixture f;
    Index other(3, [](ShardId) { return Lively(); });
    const std::vector<std::function<void()>> nested{
        [&] { f.index.update([](auto&) {}); }, [&] { f.index.edit(1, [](Lively&) {}); },
        [&] { f.index.replace(1, Lively()); }, [&] { f.index.erase(1); },
        [&] { f.index.assign({}); },
    };
    for (const auto& use : nested) {
        f.index.update([&](auto& writer) {
            writer.edit(0).value += 1;
            REQUIRE_THROWS_AS(use(), std::logic_error);
            REQUIRE_THROWS_WITH(use(), test::contains_text("inside update() of the same index"));
        });
    }
    REQUIRE(f.index.version() == nested.size());
    REQUIRE(f.index.snapshot()[0].value == static_cast<int>(nested.size()));
    f.index.update([&](auto& writer) {
        writer.edit(0).value = 1;
        other.edit(0, [](Lively& shard) { shard.value = 1; }); // another index
        auto second = f.index.writer();                        // a writer of its own
        second.edit(2).value = 1;
        second.commit();
        static_cast<void>(f.index.append(Lively())); // conflicts with nobody
    });
    REQUIRE(other.version() == 1);
    f.index.update([](auto&) {}); // the refusals left nothing behind
    REQUIRE(f.index.metrics().pending_writers == 0);
}

TEST_CASE("an update in an update is refused while another thread updates, too") {
    Fixture f;
    std::latch inside(1);
    std::latch finish(1);
    std::thread other([&] {
        f.index.update([&](Index::Writer&) {
            inside.count_down();
            finish.wait();
        });
    });
    inside.wait();
    bool refused = false;
    f.index.update([&](Index::Writer&) {
        try {
            f.index.update([](Index::Writer&) {});
        } catch (const std::logic_error&) {
            refused = true;
        }
    });
    finish.count_down();
    other.join();
    REQUIRE(refused);
}

TEST_CASE("an update's function may move its writer away") {
    Fixture f;
    std::optional<Index::Writer> kept;
    REQUIRE_THROWS_AS(f.index.update([&](Index::Writer& writer) {
        writer.edit(1).value = 5;
        kept.emplace(std::move(writer));
    }),
                      std::logic_error);
    REQUIRE(f.index.metrics().pending_writers == 1);
    f.index.update([](auto& writer) { writer.edit(2).value = 1; });
    REQUIRE(kept->commit() == 2);
    kept.reset();

    // Or another index's writer in.
    Index other(3, [](ShardId) { return Lively(); });
    f.index.update([&](Index::Writer& writer) {
        writer = other.writer();
        writer.edit(1).value = 6;
    });
    REQUIRE(other.snapshot()[1].value == 6);
    REQUIRE(f.index.version() == 2);
    f.index.update([](auto& writer) { writer.edit(2).value = 2; });
    REQUIRE(f.index.metrics().pending_writers == 0);
    REQUIRE(other.metrics().pending_writers == 0);
    REQUIRE(test::validate(f.index) == "");
    REQUIRE(test::validate(other) == "");
}

TEST_CASE("an update's function may end its writer, and the last handle") {
    Fixture f; // for the shards' sake
    std::optional<Index> last(std::in_place, 3, [](ShardId) { return Lively(); });
    REQUIRE_THROWS_AS(last->update([&](Index::Writer& writer) {
        writer.edit(1).value = 5;
        last.reset();
        const Index::Writer ended(std::move(writer));
    }),
                      std::logic_error);
}

TEST_CASE("a destructor may end or move the writer whose commit runs it") {
    Fixture f;
    f.index.replace(1, Lively(1, true));
    SECTION("end it") {
        std::optional<Index::Writer> writer(f.index.writer());
        Lively::on_destruction = [&] { writer.reset(); };
        writer->replace(1, Lively(2));
        REQUIRE(writer->commit() == 2);
        REQUIRE_FALSE(writer.has_value());
        auto next = f.index.writer(); // goes on with what that one had, and stays open
        next.replace(2, Lively(3));
        REQUIRE(next.commit() == 3);
        REQUIRE(f.index.metrics().pending_writers == 1);
        next.replace(2, Lively(4));
        REQUIRE(next.commit() == 4);
    }
    SECTION("end it, which asks for a result") {
        std::optional<Index::Writer> writer(f.index.writer());
        Lively::on_destruction = [&] { writer.reset(); };
        writer->replace(1, Lively(2));
        REQUIRE(writer->try_commit().version() == 2);
    }
    SECTION("end it with the last handle") {
        Index last(1, [](ShardId) { return Lively(0, true); });
        std::optional<Index::Writer> writer(last.writer());
        std::optional<Index> handle(std::move(last));
        Lively::on_destruction = [&] {
            handle.reset();
            writer.reset();
        };
        writer->replace(0, Lively(2));
        SECTION("whose commit throws") { REQUIRE(writer->commit() == 1); }
        SECTION("whose commit returns a result") { REQUIRE(writer->try_commit().version() == 1); }
    }
    SECTION("take it out of its update") {
        Index::Writer* inside = nullptr;
        Lively::on_destruction = [&] { const Index::Writer gone(std::move(*inside)); };
        REQUIRE(f.index.update([&](Index::Writer& writer) {
            inside = &writer;
            writer.replace(1, Lively(2));
        }) == 2);
    }
    SECTION("move it on: the commit still says what it has published") {
        auto writer = f.index.writer();
        Lively::on_destruction = [&] {
            f.index.replace(2, Lively(3));
            writer.discard();
        };
        writer.replace(1, Lively(2));
        REQUIRE(writer.commit() == 2);
        REQUIRE(writer.base_version() == 3);
    }
    REQUIRE(Lively::destructions == 1);
    REQUIRE(f.index.metrics().pending_writers == 0);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("a destructor that runs while a commit makes room may use the writer") {
    Index::Options options;
    options.budget.soft_bytes = 1; // room is made by each commit
    Lively::on_destruction = nullptr;
    Index index(20, [](ShardId id) { return Lively(0, id == 1); }, options);
    auto snapshot = index.snapshot();
    index.replace(1, Lively(1));
    auto writer = index.writer();
    writer.replace(2, Lively(2));
    snapshot = {};
    int armed = 1;
    SECTION("commit what there is: the commit finds nothing left") {
        Lively::on_destruction = [&] {
            if (armed-- > 0) REQUIRE(writer.commit() == 2);
        };
        const auto result = writer.try_commit();
        REQUIRE(result.status() == cowindex::CommitStatus::unchanged);
        REQUIRE(result.version() == 2);
        REQUIRE(index.snapshot()[2].value == 2);
    }
    SECTION("drop what there is") {
        Lively::on_destruction = [&] { writer.discard(); };
        REQUIRE(writer.commit() == 1);
        REQUIRE(index.snapshot()[2].value == 0);
    }
    SECTION("commit often, which takes all the records that there are, and edit again") {
        Lively::on_destruction = [&] {
            if (armed-- <= 0) return;
            for (int i = 10; i < 30; ++i) {
                writer.replace(3, Lively(i));
                writer.commit();
            }
            writer.replace(4, Lively(4));
        };
        REQUIRE(writer.commit() == 22);
        REQUIRE(index.snapshot()[3].value == 29);
        REQUIRE(index.snapshot()[4].value == 4);
    }
    SECTION("move it on: what is refused says on which version it is") {
        Lively::on_destruction = [&] {
            index.replace(3, Lively(3));
            writer.rebase();
            index.replace(2, Lively(4));
        };
        const auto result = writer.try_commit();
        REQUIRE(result.status() == cowindex::CommitStatus::conflict);
        REQUIRE(result.version() == 2);
        REQUIRE(writer.base_version() == 2);
        writer.discard();
    }
    REQUIRE(armed <= 1);
    REQUIRE(index.metrics().pending_writers == 1);
    REQUIRE(test::validate(index) == "");
    Lively::on_destruction = nullptr;
}

TEST_CASE("a destructor finds a writer that drops its edits as it will be afterwards") {
    Fixture f;
    auto writer = f.index.writer();
    writer.edit(3).value = 1;
    writer.replace(1, Lively(2, true));
    f.index.replace(2, Lively(5));
    cowindex::MemoryStats seen;
    std::size_t changes = 9;
    Lively::on_destruction = [&] {
        changes = writer.modified_count();
        seen = f.index.memory_usage();
        for (ShardId id = 0; id < 15; ++id) writer.edit(id).value = 7;
    };
    writer.discard();
    REQUIRE(Lively::destructions == 1);
    REQUIRE(changes == 0);
    REQUIRE(seen.uncommitted_bytes == 0);
    // The two that are being destroyed.
    REQUIRE(seen.reclaimable_bytes >=
            f.index.memory_usage().reclaimable_bytes + 2 * sizeof(Lively));
    REQUIRE(writer[2].value == 7);
    REQUIRE(writer.commit() == 2);
    REQUIRE(f.index.memory_usage().reclaimable_bytes < seen.reclaimable_bytes + 4096);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("a destructor finds a reverted shard as it was, and required no more") {
    Fixture f;
    auto writer = f.index.writer();
    writer.edit(3).value = 1;
    writer.require(1);
    writer.replace(1, Lively(2, true));
    Lively::on_destruction = [&] {
        REQUIRE(writer[1].value == 0);
        f.index.replace(1, Lively(9));
        REQUIRE(writer.commit() == 2);
    };
    writer.revert(1);
    REQUIRE(Lively::destructions == 1);
}

TEST_CASE("an update in an update is refused in destructors, too, each by itself") {
    Fixture f;
    f.index.replace(1, Lively(1, true));
    bool refused = false;
    Lively::on_destruction = [&] {
        f.index.update([&](Index::Writer& writer) { // the outer one has published
            writer.edit(2).value = 1;
            try {
                f.index.edit(2, [](Lively&) {});
            } catch (const std::logic_error&) {
                refused = true;
            }
        });
    };
    f.index.update([&](Index::Writer& writer) { writer.replace(1, Lively(2)); });
    REQUIRE(refused);
    REQUIRE(f.index.version() == 3);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("what the commit of an update calls may update") {
    Fixture f;
    LivelyPolicy::on_bytes = [&] { f.index.edit(2, [](Lively& shard) { shard.value = 1; }); };
    REQUIRE(f.index.update([](auto& writer) { writer.edit(1).value = 1; }) == 2);
    REQUIRE(f.index.snapshot()[2].value == 1);

    // Not what its function calls, also in a second run.
    int runs = 0;
    int refused = 0;
    f.index.update([&](Index::Writer& writer) {
        writer.edit(3).value = 1;
        try {
            f.index.erase(4);
        } catch (const std::logic_error&) {
            ++refused;
        }
        if (++runs > 1) return;
        auto other = f.index.writer();
        other.edit(3).value = 2;
        other.commit();
    });
    REQUIRE(runs == 2);
    REQUIRE(refused == 2);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("a destructor may end the writer that drops its edits, and the last handle") {
    std::optional<Index> index(std::in_place, 3, [](ShardId) { return Lively(); });
    std::optional<Index::Writer> writer(index->writer());
    writer->replace(1, Lively(1, true));
    Fixture f; // for the destructor's sake
    Lively::on_destruction = [&] {
        index.reset();
        writer.reset();
    };
    writer->discard();
    REQUIRE(Lively::destructions == 1);
    REQUIRE_FALSE(writer.has_value());
}

TEST_CASE("an update may be given the writer whose commit it is run by") {
    Fixture f;
    f.index.replace(1, Lively(1, true));
    auto writer = f.index.writer();
    writer.replace(1, Lively(2));
    Lively::on_destruction = [&] {
        f.index.update([&](Index::Writer& inside) { inside = std::move(writer); });
    };
    REQUIRE(writer.commit() == 2);
    f.index.update([](Index::Writer& inside) { inside.edit(3).value = 1; });
    REQUIRE(f.index.version() == 3);
    REQUIRE(f.index.metrics().pending_writers == 0);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("what a commit inside an update's function calls may update") {
    Fixture f;
    f.index.update([&](Index::Writer& writer) {
        writer.edit(1).value = 1;
        LivelyPolicy::on_bytes = [&] { f.index.edit(2, [](Lively& shard) { shard.value = 1; }); };
        writer.commit();
        REQUIRE_THROWS_AS(f.index.erase(3), std::logic_error); // the function itself may not
    });
    REQUIRE(f.index.version() == 2);
    REQUIRE(f.index.snapshot()[2].value == 1);
}

TEST_CASE("a destructor that an update's function runs may update") {
    Fixture f;
    Lively::on_destruction = [&] { f.index.edit(2, [](Lively& shard) { shard.value = 5; }); };
    REQUIRE(f.index.update([&](Index::Writer& writer) {
        writer.replace(1, Lively(1, true));
        writer.replace(1, Lively(2)); // the first one is destroyed
    }) == 2);
    REQUIRE(Lively::destructions == 1);
    REQUIRE(f.index.snapshot()[1].value == 2);
    REQUIRE(f.index.snapshot()[2].value == 5);
}

TEST_CASE("a destructor may commit with the writer of the update that runs it") {
    Fixture f;
    f.index.replace(1, Lively(1, true));
    bool updated = false;
    Index::Writer* inside = nullptr;
    Lively::on_destruction = [&] {
        inside->edit(2).value = 5;
        REQUIRE(inside->commit() == 3);
        f.index.edit(3, [](Lively& shard) { shard.value = 6; }); // the outer commit goes on
        updated = true;
    };
    REQUIRE(f.index.update([&](Index::Writer& writer) {
        inside = &writer;
        writer.replace(1, Lively(2));
    }) == 2);
    REQUIRE(updated);
    REQUIRE(f.index.version() == 4);
    REQUIRE(test::validate(f.index) == "");
}

TEST_CASE("a destructor that the end of an update runs may move its writer") {
    Fixture f; // for the shards' sake
    std::optional<Index> last(std::in_place, 3, [](ShardId id) { return Lively(0, id == 2); });
    Index::Writer* inside = nullptr;
    Lively::on_destruction = [&] { const Index::Writer moved(std::move(*inside)); };
    REQUIRE(last->update([&](Index::Writer& writer) {
        inside = &writer;
        writer.edit(0).value = 1;
        last.reset();
    }) == 1);
    REQUIRE(Lively::destructions == 1);
}

TEST_CASE("a destructor finds what is being ended as if it had been moved from") {
    Fixture f;
    int refused = 0;
    const auto count_refusal = [&](const std::function<void()>& use) {
        try {
            use();
        } catch (const std::logic_error&) {
            ++refused;
        }
    };
    SECTION("a writer, whose successor has none of its edits") {
        {
            auto writer = f.index.writer();
            writer.replace(1, Lively(1, true));
            Lively::on_destruction = [&] {
                REQUIRE(writer.modified_count() == 0);
                REQUIRE(writer.base_version() == 0);
                count_refusal([&] { writer.append(Lively()); });
                count_refusal([&] { writer.commit(); });
            };
        }
        REQUIRE_FALSE(f.index.writer().has_changes());
    }
    SECTION("the last handle") {
        {
            Index last(3, [](ShardId id) { return Lively(0, id == 1); });
            Lively::on_destruction = [&] {
                count_refusal([&] { last.reclaim(); });
                const Index copy(last);
                count_refusal([&] { static_cast<void>(copy.version()); });
            };
        }
        REQUIRE(Lively::destructions == 1);
    }
    SECTION("a reader that was the last user") {
        {
            std::optional<Index> last(std::in_place, 3,
                                      [](ShardId id) { return Lively(0, id == 1); });
            auto reader = last->reader();
            last.reset();
            Lively::on_destruction = [&] {
                count_refusal([&] { static_cast<void>(reader.pin()); });
                count_refusal(
                    [&] { static_cast<void>(reader.wait_for_newer(0, std::chrono::seconds(0))); });
            };
        }
        REQUIRE(Lively::destructions == 1);
    }
    SECTION("the last snapshot") {
        {
            std::optional<Index> last(std::in_place, 3,
                                      [](ShardId id) { return Lively(0, id == 1); });
            const auto snapshot = last->snapshot();
            last.reset();
            Lively::on_destruction = [&] {
                REQUIRE_FALSE(static_cast<bool>(snapshot));
                REQUIRE(snapshot.empty());
                count_refusal([&] { static_cast<void>(snapshot.at(0)); });
                const auto copy = snapshot;
                count_refusal([&] { static_cast<void>(copy.share(0)); });
            };
        }
        REQUIRE(Lively::destructions == 1);
    }
    REQUIRE(refused == 2);
}

TEST_CASE(
    "what a commit frees is in the accounts until it is freed, also while destructors commit") {
    Fixture f; // for the shards' sake
    using Counted = cowindex::CowIndex<Lively, CountedPolicy>;
    const auto allocated = [] { return CountedPolicy::Allocator::common().live_bytes; };
    Counted index(20, [](ShardId) { return Lively(); });
    auto writer = index.writer();
    const auto replace_some = [&](bool armed) {
        for (ShardId id = 1; id < 9; ++id) writer.replace(id, Lively(1, armed));
        writer.commit();
    };
    replace_some(true);
    Lively::on_destruction = [&] {
        if (Lively::destructions == 1) {
            writer.replace(15, Lively());
            writer.commit();
        }
        REQUIRE(allocated() <= index.memory_usage().total_bytes());
    };
    replace_some(false);
    REQUIRE(Lively::destructions == 8);
    REQUIRE(allocated() == index.memory_usage().total_bytes());
}

TEMPLATE_TEST_CASE("destructors find each byte in one account", "", CountedPolicy, RecyclingPolicy,
                   LargePolicy) {
    Fixture f; // for the shards' sake
    using Counted = cowindex::CowIndex<Lively, TestType>;
    const auto allocated = [] { return TestType::Allocator::common().live_bytes; };
    const std::size_t unmeasured = TestType::bytes(Lively()) - sizeof(Lively);
    SECTION("when the commit has emptied nodes") {
        Counted index(200, [](ShardId id) { return Lively(0, id == 130); });
        auto writer = index.writer();
        for (ShardId id = 128; id < 192; ++id)
            if (id != 130) writer.erase(id);
        writer.commit();
        index.reclaim();
        Lively::on_destruction = [&] {
            REQUIRE(index.memory_usage().total_bytes() == allocated() + (200 - 63) * unmeasured);
        };
        writer.erase(130);
        writer.commit();
        index.reclaim();
        REQUIRE(Lively::destructions == 1);
    }
    SECTION("when others have edited with the writer whose commit runs them") {
        const bool is_read = GENERATE(false, true); // old versions wait, and go some at a time
        const bool commits = GENERATE(false, true);
        Counted index(200, [](ShardId) { return Lively(0, true); });
        std::optional<typename Counted::Reader> reader;
        if (is_read) reader.emplace(index.reader());
        auto writer = index.writer();
        std::size_t first = 0; // what is counted beyond what is allocated
        std::size_t seen = 0;
        Lively::on_destruction = [&] {
            const auto beyond = [&] { return index.memory_usage().total_bytes() - allocated(); };
            if (++seen == 1) first = beyond();
            if (seen % 3 == 1) {
                writer.replace(199, Lively());
                if (commits) writer.commit();
            }
            if (unmeasured == 0) REQUIRE(beyond() == 0);
            if (!commits && !is_read) REQUIRE(beyond() == first - (seen - 1) * unmeasured);
            REQUIRE(index.memory_usage().total_bytes() >= allocated());
        };
        for (ShardId id = 0; id < 190; id += is_read ? 1 : 150) {
            for (ShardId i = 0; i < (is_read ? 1 : 150) && id + i < 190; ++i)
                writer.replace(id + i, Lively());
            seen = 0;
            writer.commit();
        }
        REQUIRE(Lively::destructions >= 100);
        Lively::on_destruction = nullptr;
        writer.discard();
        index.reclaim();
        REQUIRE(index.memory_usage().total_bytes() == allocated() + 200 * unmeasured);
    }
}
