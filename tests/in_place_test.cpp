// Where nobody can tell one version from the next, a commit turns the latest version into the new
// one in its record. Who might look is given a version of its own.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/counting_allocator.hpp"
#include "support/validate.hpp"

using cowindex::ShardId;
using cowindex::SyncPoint;
using test::TestAccess;

namespace {

// Runs a function once when the protocol reaches a chosen place.
struct HookPolicy : cowindex::DefaultPolicy<int> {
    using Allocator = test::CountingAllocator<std::byte>;
    static inline SyncPoint where = SyncPoint::unpin;
    static inline std::function<void()> what;
    static void sync_point(SyncPoint point) noexcept {
        if (what && point == where) std::exchange(what, nullptr)();
    }
    static void before_the_lock(std::function<void()> then) {
        where = SyncPoint::commit_prepared;
        what = std::move(then);
    }
};
using Index = cowindex::CowIndex<int, HookPolicy>;
using Writer = Index::Writer;

template <class AnyIndex>
const void* latest_record(const AnyIndex& index) {
    return TestAccess::chain(TestAccess::core(index)).latest();
}

// Commits one change and says whether the latest version turned into the new one.
bool commits_in_place(const Index& index, Writer& writer, ShardId id = 0) {
    const void* before = latest_record(index);
    writer.edit(id) += 1;
    writer.commit();
    return latest_record(index) == before;
}

} // namespace

TEST_CASE("without anybody who might look, versions follow each other in one record") {
    Index index(1000);
    auto writer = index.writer();
    for (int i = 1; i <= 100; ++i) {
        const auto id = static_cast<ShardId>(i * 7);
        REQUIRE(commits_in_place(index, writer, id));
        REQUIRE(writer.base_version() == static_cast<cowindex::Version>(i));
        REQUIRE(writer[id] == 1);
        REQUIRE(test::validate(index) == "");
    }
    REQUIRE(index.snapshot().version() == 100);
    REQUIRE(index.snapshot()[700] == 1);
    REQUIRE(index.snapshot()[701] == 0);
}

TEST_CASE("every change can be made in place") {
    Index index(100);
    auto writer = index.writer();
    const void* const record = latest_record(index);
    writer.insert(100'000, 5); // the tree grows
    writer.commit();
    const ShardId appended = writer.append(6);
    writer.commit();
    writer.erase(3);
    writer.replace(4, 7);
    writer.commit();
    for (ShardId id = 64; id < 100; ++id) writer.erase(id); // a leaf goes
    writer.commit();
    REQUIRE(latest_record(index) == record);
    REQUIRE(test::validate(index) == "");
    const auto snapshot = index.snapshot();
    REQUIRE(snapshot.version() == 4);
    REQUIRE(snapshot.size() == 65);
    REQUIRE(snapshot[100'000] == 5);
    REQUIRE(snapshot[appended] == 6);
    REQUIRE(snapshot[4] == 7);
    REQUIRE_FALSE(snapshot.contains(3));
    REQUIRE_FALSE(snapshot.contains(64));
}

TEST_CASE("update() commits in place, too") {
    Index index(100);
    index.edit(1, [](int& value) { value = 1; });
    const void* const record = latest_record(index);
    for (int i = 2; i < 10; ++i) index.edit(1, [&](int& value) { value = i; });
    REQUIRE(latest_record(index) == record);
    REQUIRE(index.snapshot()[1] == 9);
}

TEST_CASE("a commit without changes, which tells the latest version, is nobody who looks") {
    Index index(100);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    REQUIRE(writer.commit() == 1);
    REQUIRE(commits_in_place(index, writer));
}

TEST_CASE("whoever might look is given a version of its own") {
    Index index(100);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));

    SECTION("a reader that has nothing pinned") {
        auto reader = index.reader();
        REQUIRE_FALSE(commits_in_place(index, writer));
    }
    SECTION("a reader that has a version pinned") {
        auto reader = index.reader();
        const auto view = reader.pin();
        REQUIRE_FALSE(commits_in_place(index, writer));
        REQUIRE(view.version() == 1);
        REQUIRE(view[0] == 1);
    }
    SECTION("a thread in read()") {
        index.read([&](const auto& view) {
            REQUIRE_FALSE(commits_in_place(index, writer));
            REQUIRE(view.version() == 1);
            REQUIRE(view[0] == 1);
        });
    }
    SECTION("a snapshot") {
        const auto snapshot = index.snapshot();
        REQUIRE_FALSE(commits_in_place(index, writer));
        REQUIRE_FALSE(commits_in_place(index, writer)); // it holds an older one by now
        REQUIRE(snapshot.version() == 1);
        REQUIRE(snapshot[0] == 1);
    }
    SECTION("somebody who could take the snapshot that another has let go of") {
        static_cast<void>(index.snapshot());
        REQUIRE_FALSE(commits_in_place(index, writer));
    }
    SECTION("another writer, on the same version and on an older one") {
        auto other = index.writer();
        REQUIRE_FALSE(commits_in_place(index, writer));
        REQUIRE(other.base_version() == 1);
        REQUIRE(other[0] == 1);
        REQUIRE(commits_in_place(index, writer)); // above the other's
        REQUIRE(other.base_version() == 1);
        REQUIRE(other[0] == 1);
        other.edit(0) = 9;
        REQUIRE_THROWS_AS(other.commit(), cowindex::ConflictError);
    }
    REQUIRE(test::validate(index) == "");
    REQUIRE(index.snapshot()[0] >= 2);
}

namespace {

// Slots that idle are taken back at the second look at readers since they were used.
struct IdlePolicy : HookPolicy {
    static constexpr std::chrono::nanoseconds idle_read_time{0};
};
using IdleIndex = cowindex::CowIndex<int, IdlePolicy>;

// So many commits find two occasions to look at readers.
constexpr std::size_t two_looks = 2 * IdlePolicy::barrier_max_versions + 2;

cowindex::Version version_read(const IdleIndex& index) {
    return index.read([](const auto& view) { return view.version(); });
}
// Whether it was made in place.
bool commit_one(IdleIndex& index, IdleIndex::Writer& writer) {
    const void* before = latest_record(index);
    writer.edit(0) += 1;
    writer.commit();
    return latest_record(index) == before;
}

} // namespace

TEST_CASE("a slot that read() has used is taken back once it idles") {
    IdleIndex index(100);
    auto writer = index.writer();
    const auto commit = [&] { return commit_one(index, writer); };
    for (int i = 0; i < 3; ++i) {
        REQUIRE(version_read(index) == writer.base_version());
        REQUIRE_FALSE(commit());
        for (std::size_t commits = 0; !commit();) REQUIRE(++commits <= two_looks);
        REQUIRE(commit());
        REQUIRE(test::validate(index) == "");
    }

    const auto& registry = TestAccess::registry(TestAccess::core(index));
    SECTION("those of several threads are together") {
        std::latch all_here(8);
        std::vector<std::thread> threads;
        for (int i = 0; i < 8; ++i)
            threads.emplace_back([&] {
                all_here.arrive_and_wait(); // one after the other they might be one to the index
                static_cast<void>(version_read(index));
            });
        for (std::thread& thread : threads) thread.join();
        REQUIRE(registry.claimed() > 1);
        for (std::size_t commits = 0; !commit();) REQUIRE(++commits <= two_looks);
        REQUIRE(registry.claimed() == 0);
    }
    SECTION("while it is used it is kept") {
        for (std::size_t i = 0; i < 4 * two_looks; ++i) {
            REQUIRE(version_read(index) == writer.base_version());
            REQUIRE_FALSE(commit());
        }
    }
    SECTION("that of a call that goes on is not") {
        index.read([&](const auto& view) {
            const auto version = view.version();
            const int value = view[0];
            for (std::size_t i = 0; i < 2 * two_looks; ++i) REQUIRE_FALSE(commit());
            REQUIRE(view.version() == version);
            REQUIRE(view[0] == value);
        });
    }
    SECTION("beside a reader none is taken back: versions have records of their own anyway") {
        auto reader = index.reader();
        REQUIRE(version_read(index) == writer.base_version());
        for (std::size_t i = 0; i < 2 * two_looks; ++i) REQUIRE_FALSE(commit());
        REQUIRE(registry.claimed() == 2);
    }
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("it is taken back whoever looks at readers") {
    cowindex::Options<IdlePolicy> options;
    std::function<void(IdleIndex&)> others = [](IdleIndex&) {};
    const std::size_t bytes = IdleIndex(100).memory_usage().total_bytes();
    SECTION("metrics(), so often that commits never do") {
        others = [](IdleIndex& index) { static_cast<void>(index.metrics()); };
    }
    SECTION("pins()") {
        others = [](IdleIndex& index) { static_cast<void>(index.pins()); };
    }
    SECTION("reclaim()") {
        others = [](IdleIndex& index) { static_cast<void>(index.reclaim()); };
    }
    SECTION("commits above the soft limit") { options.budget.soft_bytes = bytes / 2; }
    SECTION("commits that make room below the hard limit") {
        options.budget.hard_bytes = bytes + 3000;
    }
    IdleIndex index(100, 0, options);
    auto writer = index.writer();
    REQUIRE(version_read(index) == 0);
    REQUIRE_FALSE(commit_one(index, writer));
    const auto& registry = TestAccess::registry(TestAccess::core(index));
    for (std::size_t commits = 0; registry.claimed() != 0; others(index)) {
        REQUIRE(++commits <= two_looks);
        static_cast<void>(commit_one(index, writer));
    }
    REQUIRE(test::validate(index) == "");
}

namespace {

// Commits until versions are made in place, those that come after a snapshot are not.
void commit_until_in_place(const Index& index, Writer& writer, ShardId id) {
    for (int commits = 0; !commits_in_place(index, writer, id);) REQUIRE(++commits < 100);
}

template <class Tree>
const void* leaf_of(const Tree& tree, ShardId id) {
    const cowindex::detail::Node* node = tree.root;
    for (unsigned level = tree.height; level > 0; --level)
        node = static_cast<const cowindex::detail::Inner*>(node)
                   ->child[cowindex::detail::child_index(id, level)];
    return node;
}

} // namespace

TEST_CASE("above a version that is held, the latest turns into the next all the same") {
    Index index(1000);
    auto writer = index.writer();
    std::optional<Index::Snapshot> snapshot;
    std::optional<Writer> other;
    SECTION("a snapshot's") { snapshot.emplace(index.snapshot()); }
    SECTION("another writer's") { other.emplace(index.writer()); }
    SECTION("both") {
        snapshot.emplace(index.snapshot());
        REQUIRE_FALSE(commits_in_place(index, writer));
        other.emplace(index.writer());
    }
    commit_until_in_place(index, writer, 0);
    const auto held = index.pins();
    const auto check = [&] {
        REQUIRE(test::validate(index) == "");
        REQUIRE((!snapshot || ((*snapshot)[0] == 0 && (*snapshot)[500] == 0)));
        REQUIRE((!other || (*other)[500] == 0));
        REQUIRE(index.pins().size() == held.size());
    };
    check();

    // What the held one has is copied once,
    const auto& tree = TestAccess::chain(TestAccess::core(index)).latest()->tree;
    const void* const shared = leaf_of(tree, 500);
    const auto retained = index.memory_usage().retained_bytes;
    const auto reclaimed = index.metrics().reclaimed_bytes;
    REQUIRE(commits_in_place(index, writer, 500));
    REQUIRE(index.metrics().reclaimed_bytes == reclaimed + sizeof(cowindex::detail::Inner));
    check();
    const void* const own = leaf_of(tree, 500);
    REQUIRE(own != shared);
    const auto retained_more = index.memory_usage().retained_bytes;
    REQUIRE(retained_more == retained + sizeof(cowindex::detail::Leaf<int>) + sizeof(int) +
                                 cowindex::detail::box_overhead<int>);
    // what only the latest has is written to, and nothing is held for it.
    for (int i = 0; i < 100; ++i) {
        REQUIRE(commits_in_place(index, writer, 500));
        REQUIRE(leaf_of(tree, 500) == own);
        check();
    }
    const auto memory = index.memory_usage();
    REQUIRE(memory.retained_bytes == retained_more);
    REQUIRE(memory.reclaimable_bytes == 0);
    REQUIRE(writer[500] == 101);

    // In a batch, too.
    writer.edit(501) = 7;
    writer.edit(900) = 8;
    writer.erase(3);
    writer.insert(5000, 9);
    const void* const record = latest_record(index);
    writer.commit();
    REQUIRE(latest_record(index) == record);
    check();

    const auto latest = index.snapshot();
    REQUIRE(latest[500] == 101);
    REQUIRE(latest[501] == 7);
    REQUIRE(latest[900] == 8);
    REQUIRE(latest[5000] == 9);
    REQUIRE_FALSE(latest.contains(3));
    if (other) {
        REQUIRE((*other)[501] == 0);
        other->edit(501) = 1;
        REQUIRE_THROWS_AS(other->commit(), cowindex::ConflictError);
        other->revert(501);
        other->edit(502) = 2; // as it was in its base
        other->commit();
        REQUIRE(index.snapshot()[502] == 2);
    }
    snapshot.reset();
    other.reset();
    static_cast<void>(index.reclaim());
    REQUIRE(test::validate(index) == "");
    REQUIRE(latest[501] == 7);
}

TEST_CASE("versions that are held above and below each other keep what each has") {
    Index index(300);
    auto writer = index.writer();
    std::vector<Index::Snapshot> snapshots;
    for (int round = 0; round < 5; ++round) {
        snapshots.push_back(index.snapshot());
        for (int i = 0; i < 40; ++i) {
            writer.edit(static_cast<ShardId>((i * 7 + round * 64) % 300)) += 1;
            writer.commit();
        }
        REQUIRE(commits_in_place(index, writer, 1));
        REQUIRE(test::validate(index) == "");
    }
    std::vector<std::vector<int>> values;
    for (const auto& snapshot : snapshots) {
        values.emplace_back();
        for (ShardId id = 0; id < 300; ++id) values.back().push_back(snapshot[id]);
        REQUIRE(values.size() == static_cast<std::size_t>(snapshot.version() / 41 + 1));
    }
    for (const std::size_t gone : {2U, 0U, 2U, 1U, 0U}) { // of those that are left
        snapshots.erase(snapshots.begin() + static_cast<std::ptrdiff_t>(gone));
        values.erase(values.begin() + static_cast<std::ptrdiff_t>(gone));
        commit_until_in_place(index, writer, 2);
        for (int i = 0; i < 5; ++i) REQUIRE(commits_in_place(index, writer, 299));
        REQUIRE(test::validate(index) == "");
        for (std::size_t k = 0; k < snapshots.size(); ++k)
            for (ShardId id = 0; id < 300; ++id) REQUIRE(snapshots[k][id] == values[k][id]);
    }
    static_cast<void>(index.reclaim());
    REQUIRE(index.memory_usage().retained_bytes == 0);
    REQUIRE(index.memory_usage().reclaimable_bytes == 0);
}

TEST_CASE("what cannot be written to, since an older version has it, is copied by the edit") {
    Index index(1000);
    auto writer = index.writer();
    const auto other = index.writer();
    commit_until_in_place(index, writer, 0);
    const auto& builder = TestAccess::batch(writer).builder;
    writer.edit(1) += 1; // in the leaf of 0
    REQUIRE(builder.own_bytes() == 0);
    writer.commit();
    writer.edit(500) += 1;
    REQUIRE(builder.own_bytes() > 0);
    writer.commit();
    writer.edit(501) += 1;
    REQUIRE(builder.own_bytes() == 0);
    SECTION("under the lock where it came to be held since the edit") {
        const auto snapshot = index.snapshot();
        writer.commit();
        REQUIRE(snapshot[501] == 0);
    }
    SECTION("else nowhere") { writer.commit(); }
    REQUIRE(writer[501] == 1);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("what a writer knew of older versions at its last commit may be out of date") {
    Index index(1000);
    std::optional<Writer> writer(index.writer());
    REQUIRE(commits_in_place(index, *writer, 0));
    const auto snapshot = index.snapshot();
    {
        Writer other = index.writer();
        writer->edit(1) += 1; // meanwhile
        commit_until_in_place(index, other, 2);
        commit_until_in_place(index, other, 3);
    }
    SECTION("its edits are dropped") { writer->discard(); }
    SECTION("its edits move along") {
        writer->rebase();
        writer->commit();
    }
    SECTION("it ends, and its batch serves the next one") {
        writer.reset();
        writer.emplace(index.writer());
    }
    writer->edit(900) = 5; // in a leaf that the snapshot has
    writer->commit();
    REQUIRE(snapshot[900] == 0);
    REQUIRE(test::validate(index) == "");
    writer->edit(900) = 6;
    writer->commit();
    REQUIRE(snapshot[900] == 0);
    REQUIRE((*writer)[900] == 6);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("what was pinned when it was last looked at goes when no reader is left") {
    Index index(1000);
    auto writer = index.writer();
    {
        auto reader = index.reader();
        const auto view = reader.pin();
        writer.edit(0) = 1;
        writer.commit();
        REQUIRE(index.pins().size() == 1); // looks
        for (int i = 0; i < 10; ++i) REQUIRE_FALSE(commits_in_place(index, writer, 0));
        REQUIRE(index.pins().size() == 1); // nothing else is superseded
    }
    for (int i = 0; i < 5; ++i) REQUIRE(commits_in_place(index, writer, 0));
    const auto& chain = TestAccess::chain(TestAccess::core(index));
    REQUIRE(chain.length() == 1);
    REQUIRE(chain.dead_bytes() == 0);
    REQUIRE(chain.idle());
}

TEST_CASE("commits above older versions keep up with what those leave, however much it is") {
    Index index(64 * 100);
    std::optional<Writer> oldest;
    SECTION("for nobody") {}
    SECTION("for a yet older one, in part") { oldest.emplace(index.writer()); }
    auto writer = index.writer();
    auto other = index.writer();
    const auto& chain = TestAccess::chain(TestAccess::core(index));
    std::size_t garbage = 0;
    for (int round = 0; round < 60; ++round) {
        for (int i = 0; i < 4; ++i) {
            for (ShardId id = 0; id < 64 * 100; id += 16) writer.edit(id) += 1;
            writer.edit(static_cast<ShardId>(round * 16 + 1)) += 1; // not changed before
            writer.commit();
        }
        other.discard(); // what it has held is dead, a whole batch of it
        writer.edit(0) = round;
        writer.commit();
        if (round >= 20) garbage = std::max(garbage, chain.garbage().bytes());
        REQUIRE(chain.length() <= 4);
        REQUIRE(test::validate(index) == "");
    }
    const auto retired = TestAccess::batch(writer).bytes_cloned.read() / 60 / 4 +
                         401 * cowindex::detail::box_overhead<int> +
                         100 * sizeof(cowindex::detail::Leaf<int>);
    REQUIRE(garbage <= 2 * retired); // of one commit
}

TEST_CASE("a commit above older versions ends what it replaces, and what others left") {
    auto& account = HookPolicy::Allocator::common();
    std::optional<Index> index(std::in_place, 1000);
    std::optional<Writer> writer(index->writer());
    std::optional<Writer> other(index->writer());
    commit_until_in_place(*index, *writer, 0);
    for (ShardId id = 0; id < 1000; id += 10) commit_until_in_place(*index, *writer, id);
    const auto live = account.live_bytes;
    for (int i = 0; i < 1000; ++i) REQUIRE(commits_in_place(*index, *writer, 0));
    REQUIRE(account.live_bytes <= live + 4096); // pools
    const auto before = index->metrics();
    for (int i = 0; i < 10; ++i) REQUIRE(commits_in_place(*index, *writer, 0));
    const auto after = index->metrics();
    REQUIRE(after.commits - before.commits == 10);
    REQUIRE(after.reclaimed_bytes - before.reclaimed_bytes ==
            10 * (sizeof(int) + cowindex::detail::box_overhead<int>));
    REQUIRE(after.peak_memory_bytes >= after.memory_usage_bytes);
    other.reset(); // its version goes with the commits that follow
    for (int i = 0; i < 40; ++i) REQUIRE(commits_in_place(*index, *writer, 0));
    REQUIRE(index->memory_usage().retained_bytes == 0);
    REQUIRE(index->memory_usage().reclaimable_bytes == 0);
    REQUIRE(test::validate(*index) == "");
    writer.reset();
    index.reset();
    REQUIRE(account.live_bytes == 0);
}

TEST_CASE("when all who might have looked are gone, commits are made in place again") {
    Index index(100);
    auto writer = index.writer();
    {
        auto reader = index.reader();
        const auto view = reader.pin();
        const auto snapshot = index.snapshot();
        auto other = index.writer();
        for (int i = 0; i < 10; ++i) REQUIRE_FALSE(commits_in_place(index, writer));
    }
    commit_until_in_place(index, writer, 0);
    REQUIRE(commits_in_place(index, writer));
    REQUIRE(test::validate(index) == "");
    REQUIRE(index.memory_usage().retained_bytes == 0);
}

TEST_CASE("who comes while a commit is prepared keeps what it has seen") {
    Index index(100);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    std::optional<Index::Reader> reader;
    std::optional<Index::View> view;
    std::optional<Index::Snapshot> snapshot;
    std::optional<Writer> other;
    SECTION("a reader") {
        HookPolicy::before_the_lock([&] {
            reader.emplace(index.reader());
            view.emplace(reader->pin());
        });
        REQUIRE_FALSE(commits_in_place(index, writer));
        REQUIRE(view->version() == 1);
        REQUIRE((*view)[0] == 1);
    }
    SECTION("a snapshot") {
        HookPolicy::before_the_lock([&] { snapshot.emplace(index.snapshot()); });
        REQUIRE_FALSE(commits_in_place(index, writer));
        REQUIRE(snapshot->version() == 1);
        REQUIRE((*snapshot)[0] == 1);
    }
    SECTION("a writer") {
        HookPolicy::before_the_lock([&] { other.emplace(index.writer()); });
        REQUIRE_FALSE(commits_in_place(index, writer));
        REQUIRE(other->base_version() == 1);
        REQUIRE((*other)[0] == 1);
    }
    SECTION("another commit") {
        HookPolicy::before_the_lock([&] { index.replace(1, 5); });
        writer.edit(0) += 1;
        REQUIRE(writer.commit() == 3);
        REQUIRE(index.snapshot()[1] == 5);
    }
    REQUIRE_FALSE(HookPolicy::what);
    REQUIRE(index.snapshot()[0] == 2);
    REQUIRE(test::validate(index) == "");
}

namespace {

template <class AnyIndex>
const auto& latest_tree(const AnyIndex& index) {
    return TestAccess::chain(TestAccess::core(index)).latest()->tree;
}

} // namespace

// Of one change alone no node is copied: from the second such commit on, the shard takes its place
// in the leaf that is there.
TEST_CASE("one shard alone is replaced where it is") {
    Index index(1000);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    const void* const root = latest_tree(index).root;
    const auto reclaimed = index.metrics().reclaimed_bytes;
    SECTION("by edit()") { writer.edit(700) = 5; }
    SECTION("by replace()") { writer.replace(700, 5); }
    const auto* before = latest_tree(index).find(700);
    const std::size_t bytes = before->bytes();
    REQUIRE(before->shard == 0);
    REQUIRE(writer.modified_count() == 1);
    REQUIRE(writer.memory_overhead() == bytes);
    REQUIRE(test::TestAccess::batch(writer).builder.own_bytes() == 0);
    REQUIRE(writer.commit() == 2);
    REQUIRE(latest_tree(index).root == root);
    REQUIRE(latest_tree(index).find(700)->shard == 5);
    REQUIRE(latest_tree(index).find(700)->birth == 2);
    REQUIRE(index.metrics().reclaimed_bytes - reclaimed == bytes);
    REQUIRE(writer[700] == 5);
    REQUIRE(test::validate(index) == "");
    writer.edit(1) = 6; // the next one, too
    writer.commit();
    REQUIRE(latest_tree(index).root == root);
    REQUIRE(index.snapshot()[1] == 6);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("nobody sees a shard that will be replaced where it is before the commit") {
    Index index(1000);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer, 1));
    writer.edit(1) += 1;
    SECTION("and after it those alone who look later") {
        const auto snapshot = index.snapshot();
        REQUIRE(snapshot[1] == 1);
        writer.commit();
        REQUIRE(snapshot[1] == 1);
    }
    SECTION("who comes in the middle of the commit neither") {
        std::optional<Index::Snapshot> snapshot;
        HookPolicy::before_the_lock([&] { snapshot.emplace(index.snapshot()); });
        writer.commit();
        REQUIRE(snapshot->version() == 1);
        REQUIRE((*snapshot)[1] == 1);
    }
    SECTION("not with a reader either") {
        auto reader = index.reader();
        const auto view = reader.pin();
        writer.commit();
        REQUIRE(view[1] == 1);
        REQUIRE(reader.pin().version() == 1); // nested
    }
    SECTION("nor with a writer") {
        const auto other = index.writer();
        writer.commit();
        REQUIRE(other[1] == 1);
    }
    REQUIRE(index.snapshot()[1] == 2);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("the writer sees its only change, and can go on from it") {
    Index index(1000);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    int& shard = writer.edit(1);
    shard = 7;
    SECTION("reading") {
        REQUIRE(writer[1] == 7);
        REQUIRE(writer.size() == 1000);
    }
    SECTION("looking ahead, which changes nothing") {
        writer.prefetch(1);
        writer.prefetch(2);
        REQUIRE(TestAccess::batch(writer).builder.own_bytes() == 0);
    }
    SECTION("editing it again") {
        REQUIRE(&writer.edit(1) == &shard);
        REQUIRE(writer.modified_count() == 1);
    }
    SECTION("editing another, in its leaf or elsewhere") {
        writer.edit(2) = 8;
        writer.edit(900) = 9;
        REQUIRE(writer[1] == 7);
        REQUIRE(writer[2] == 8);
        REQUIRE(writer[900] == 9);
    }
    SECTION("adding") {
        writer.append(5);
        REQUIRE(writer.size() == 1001);
    }
    SECTION("erasing another") { writer.erase(3); }
    SECTION("requiring") {
        writer.require(1);
        writer.require(2);
    }
    SECTION("replacing it") {
        writer.replace(1, 6);
        REQUIRE(writer[1] == 6);
        writer.edit(1) = 7;
    }
    SECTION("taking it back and doing it again") {
        writer.revert(1);
        REQUIRE_FALSE(writer.has_changes());
        REQUIRE(writer[1] == 0);
        writer.edit(1) = 7;
    }
    SECTION("erasing it, taking that back and doing it again") {
        writer.erase(1);
        REQUIRE_FALSE(writer.contains(1));
        writer.revert(1);
        REQUIRE(writer[1] == 0);
        writer.edit(1) = 7;
    }
    SECTION("dropping it and doing it again") {
        writer.discard();
        REQUIRE(writer[1] == 0);
        writer.edit(1) = 7;
    }
    SECTION("moving to a later version with it") {
        index.replace(5, 1);
        writer.rebase();
        REQUIRE(writer[1] == 7);
        REQUIRE(writer[5] == 1);
    }
    SECTION("after a conflict, with what is left of it") {
        index.replace(1, 1);
        REQUIRE_FALSE(writer.try_commit());
        REQUIRE(writer[1] == 7);
        writer.revert(1);
        writer.rebase();
        REQUIRE(writer[1] == 1);
        writer.edit(1) = 7;
    }
    REQUIRE(test::validate(index) == "");
    writer.commit();
    REQUIRE(test::validate(index) == "");
    REQUIRE(index.snapshot()[1] == 7);
}

TEST_CASE("edit_each() asks the writer anew for each shard: what it calls may move it") {
    Index index(100'000);
    std::vector<std::optional<Writer>> many;
    for (int i = 0; i < 8; ++i) many.emplace_back(index.writer());
    Writer writer = index.writer();
    many.clear(); // eight batches are idle: those that end now are freed
    std::vector<ShardId> ids;
    for (ShardId id = 0; id < 90'000; id += 900) ids.push_back(id);
    int turn = 0;
    SECTION("another writer moves in") {
        writer.edit_each(ids, [&](ShardId, int& shard) {
            shard = 1;
            if (++turn != 3) return;
            std::vector<Writer> others;
            for (int i = 0; i < 8; ++i) others.push_back(index.writer());
            Writer next = index.writer();
            others.clear();
            writer = std::move(next);
        });
        REQUIRE(writer.modified_count() == ids.size() - 3);
    }
    SECTION("it moves out") {
        REQUIRE_THROWS_AS(writer.edit_each(ids,
                                           [&](ShardId, int& shard) {
                                               shard = 1;
                                               if (++turn == 3) Writer(std::move(writer));
                                           }),
                          std::logic_error);
    }
    SECTION("it has none, and nothing to edit") {
        static_cast<void>(Writer(std::move(writer)));
        writer.edit_each(std::vector<ShardId>(), [](ShardId, int&) {});
    }
}

TEST_CASE("where somebody can look, the path is copied by the edit, not under the lock") {
    Index index(1000);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    const auto reader = index.reader();
    REQUIRE_FALSE(commits_in_place(index, writer)); // the edit did not expect it
    writer.edit(1) += 1;
    REQUIRE(TestAccess::batch(writer).builder.own_bytes() > 0);
}

TEST_CASE("a writer that goes leaves its only change behind nowhere") {
    Index index(100);
    std::optional<Writer> writer(index.writer());
    REQUIRE(commits_in_place(index, *writer));
    writer->edit(1) = 7;
    writer.reset();
    REQUIRE(test::validate(index) == "");
    Writer next = index.writer(); // with the same batch
    REQUIRE(next[1] == 0);
    next.edit(2) = 5;
    next.commit();
    REQUIRE(index.snapshot()[1] == 0);
    REQUIRE(index.snapshot()[2] == 5);
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("where memory is limited, what a commit takes and frees is known before it") {
    Index::Options options;
    options.budget.hard_bytes = std::size_t{1} << 20;
    Index index(100, options);
    auto writer = index.writer();
    std::optional<Writer> other;
    SECTION("with no other version") {}
    SECTION("with an older one") {
        other.emplace(index.writer());
        REQUIRE_FALSE(commits_in_place(index, writer));
    }
    for (int i = 0; i < 10; ++i) {
        REQUIRE(commits_in_place(index, writer));
        writer.edit(1) = i;
        REQUIRE(TestAccess::batch(writer).builder.own_bytes() > 0);
        writer.discard();
    }
    REQUIRE(test::validate(index) == "");
}

TEST_CASE("the last version number is reached in place and not passed") {
    Index::Options options;
    options.first_version = cowindex::detail::last_version - 1;
    Index index(3, options);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    writer.edit(0) = 5;
    REQUIRE_THROWS_AS(writer.commit(), std::overflow_error);
    REQUIRE(index.version() == cowindex::detail::last_version);
}

TEST_CASE("a commit in place is waited for, counted, and accounted for") {
    using namespace std::chrono_literals;
    Index index(1000);
    auto writer = index.writer();
    REQUIRE(commits_in_place(index, writer));
    const auto before = index.metrics();
    const auto memory = index.memory_usage();
    for (int i = 0; i < 100; ++i) REQUIRE(commits_in_place(index, writer));
    const auto after = index.metrics();
    REQUIRE(after.commits - before.commits == 100);
    REQUIRE(after.clone_operations - before.clone_operations == 100);
    REQUIRE(after.reclaimed_bytes > before.reclaimed_bytes);
    REQUIRE(after.retained_versions == 0);
    REQUIRE(after.uncommitted_bytes == 0);
    REQUIRE(index.memory_usage().total_bytes() == memory.total_bytes());
    REQUIRE(index.memory_usage().live_bytes == memory.live_bytes);
    REQUIRE(index.memory_usage().reclaimable_bytes == 0);
    REQUIRE(index.memory_usage().peak_bytes <= memory.peak_bytes);

    std::thread waiting([&] { REQUIRE(index.wait_for_version(index.version() + 3, 60s)); });
    while (TestAccess::waiters(TestAccess::core(index)) == 0) std::this_thread::yield();
    for (int i = 0; i < 40; ++i) writer.edit(0) = i, writer.commit();
    waiting.join();
}

TEST_CASE("what a large commit in place replaces beyond what is kept is freed") {
    auto& account = HookPolicy::Allocator::common();
    Index index(64 * 4096);
    auto writer = index.writer();
    for (ShardId id = 0; id < 64 * 4096; id += 64) writer.edit(id) = 1;
    const void* const record = latest_record(index);
    writer.commit();
    REQUIRE(latest_record(index) == record);
    const auto memory = index.memory_usage();
    REQUIRE(memory.reclaimable_bytes == 0);
    REQUIRE(memory.pooled_bytes <= 2100 * sizeof(cowindex::detail::Leaf<int>) +
                                       200 * sizeof(cowindex::detail::Inner) + 200'000);
    REQUIRE(memory.total_bytes() == memory.live_bytes + memory.pooled_bytes);
    REQUIRE(account.live_bytes >= memory.total_bytes());
    REQUIRE(test::validate(index) == "");
}

namespace {

// Counts its objects, and can call back when one ends.
struct Watched {
    static inline int alive = 0;
    static inline std::function<void()> at_end;
    Watched() { ++alive; }
    Watched(const Watched& other) : value(other.value) { ++alive; }
    Watched& operator=(const Watched&) = delete;
    ~Watched() {
        --alive;
        if (at_end) std::exchange(at_end, nullptr)();
    }
    int value = 0;
};

template <class Shard>
struct Assigning : cowindex::DefaultPolicy<Shard> {
    static inline int assigned = 0;
    static void assign(Shard& retired, const Shard& shard) {
        ++assigned;
        retired = shard;
    }
};

} // namespace

TEST_CASE("a shard that is replaced in place ends at once, and no lock is held") {
    cowindex::CowIndex<Watched> index(10);
    auto writer = index.writer();
    writer.edit(0);
    REQUIRE(Watched::alive == 11);
    const void* const record = latest_record(index);
    int seen = -1;
    Watched::at_end = [&] {
        seen = index.snapshot()[0].value; // takes the lock
        REQUIRE(index.version() == 1);
    };
    writer.edit(0).value = 5;
    writer.commit();
    REQUIRE(seen == 5);
    REQUIRE(latest_record(index) == record);
    REQUIRE(Watched::alive == 10);
}

TEST_CASE("a destructor may commit with the writer whose commit in place has called it") {
    cowindex::CowIndex<Watched> index(10);
    auto writer = index.writer();
    Watched::at_end = [&] {
        writer.edit(1).value = 7;
        writer.commit();
    };
    writer.edit(0).value = 5;
    REQUIRE(writer.commit() == 1);
    REQUIRE(writer.base_version() == 2);
    REQUIRE(index.snapshot()[0].value == 5);
    REQUIRE(index.snapshot()[1].value == 7);
    static_cast<void>(index.reclaim());
    REQUIRE(test::validate(index) == "");
    REQUIRE(Watched::alive == 10);
}

namespace {

// Commits when it ends, which ends others.
struct Chained {
    static inline std::function<void()> at_end;
    static inline int depth = 0;
    static inline int deepest = 0;
    Chained() = default;
    Chained(const Chained&) = default;
    ~Chained() {
        if (!at_end) return;
        deepest = std::max(deepest, ++depth);
        at_end();
        --depth;
    }
    int value = 0;
};

} // namespace

TEST_CASE("destructors that commit do not nest, above no version or an older one") {
    cowindex::CowIndex<Chained> index(10);
    std::optional<cowindex::IndexWriter<Chained>> held;
    SECTION("none") {}
    SECTION("one") { held.emplace(index.writer()); }
    auto writer = index.writer();
    for (int i = 0; i < 4; ++i) {
        writer.edit(1).value = i;
        writer.commit();
    }
    int left = 100;
    Chained::deepest = 0;
    Chained::at_end = [&] {
        if (--left < 0) return;
        ++writer.edit(1).value;
        writer.commit();
    };
    for (int i = 0; i < 10; ++i) {
        writer.edit(1).value = 0;
        writer.commit();
    }
    Chained::at_end = nullptr;
    REQUIRE(left < 95);
    REQUIRE(Chained::deepest == 1);
    REQUIRE(test::validate(index) == "");
}

TEMPLATE_TEST_CASE("retired shards are assigned to where the policy can", "", std::vector<int>,
                   (std::array<int, 2>)) {
    TestType prototype{};
    if constexpr (requires { prototype.resize(2); }) prototype.resize(2);
    cowindex::CowIndex<TestType, Assigning<TestType>> index(10, prototype);
    auto writer = index.writer();
    const void* const record = latest_record(index);
    for (int i = 0; i < 10; ++i) {
        writer.edit(0)[0] = i;
        writer.commit();
    }
    REQUIRE(latest_record(index) == record);
    REQUIRE(Assigning<TestType>::assigned == 9);
    REQUIRE(index.snapshot()[0][0] == 9);
    REQUIRE(test::validate(index) == "");
}
