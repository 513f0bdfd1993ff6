#include <cowindex/detail/version_chain.hpp>
#include <cowindex/detail/version_record.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace cowindex::detail;
using cowindex::Version;

namespace {

struct FakeCore {
    static void sync_point(cowindex::SyncPoint) noexcept {}
    void survivor_died() noexcept { ++survivors_died; }
    int survivors_died = 0;
};

using Record = VersionRecord<int, FakeCore>;
using Chain = VersionChain<int, FakeCore>;
using Box = ShardBox<int>;
using Owner = std::shared_ptr<const Record>;
constexpr std::size_t lanes = GarbageLanes::lanes;

std::unique_ptr<Box> make_box(Version birth, std::size_t bytes) {
    auto box = std::make_unique<Box>([] { return 0; });
    box->birth = birth;
    box->set_bytes(bytes);
    return box;
}

// A history of versions, each some boxes, without trees.
struct History {
    explicit History(std::uint64_t seed) : random(seed) { commit(); }

    std::size_t pick(std::size_t below) { return random() % below; }

    void commit() {
        records.push_back(std::make_unique<Record>(core));
        Record* record = records.back().get();
        const Version version = ++last_version_made;
        DeadList retired;
        lose(version, [&](Box* box) { retired.push(box); });
        const Chain::LiveBytes born = gain(version);
        record->version = version;
        const bool first = latest_owner == nullptr;
        chain.append(record, retired, born);
        Owner superseded = std::exchange(latest_owner, make_owner(*record));
        if (first) return;
        // With nothing pinned, the version before may be dropped on the spot.
        chain.supersede(std::move(superseded), drop_at_once && pinned.empty() && pick(2) == 0,
                        pick(lanes), retired);
        check_freed(retired);
    }

    // The same in the record of the latest version, where nobody holds that.
    void commit_in_place() {
        Record* const record = chain.latest();
        const auto holds = [&](const auto& holder) { return &*holder == record; };
        if (std::any_of(owners.begin(), owners.end(), holds) ||
            std::any_of(pinned.begin(), pinned.end(), holds) ||
            std::any_of(based.begin(), based.end(), holds))
            return;
        ++in_place;
        const Version version = ++last_version_made;
        const Version own_since = chain.own_since();
        REQUIRE(own_since == (record->older == nullptr ? 0 : record->older->version + 1));
        DeadList alone;
        Chain::LiveBytes lost;
        lose(version, [&](Box* box) {
            lost.add(box);
            if (box->birth >= own_since)
                alone.push(box);
            else
                chain.retire_to_older(box);
        });
        record->version = version;
        chain.replace(lost, gain(version));
        check_freed(alone);
    }

    // Some of the latest version's boxes are in `version` no more.
    template <class Retire>
    void lose(Version version, Retire&& retire) {
        for (std::size_t i = 0; i < live.size();) {
            if (pick(3) != 0) {
                ++i;
                continue;
            }
            death[live[i]] = version;
            retire(live[i]);
            live_bytes -= live[i]->bytes();
            live[i] = live.back();
            live.pop_back();
        }
    }
    Chain::LiveBytes gain(Version version) {
        Chain::LiveBytes born;
        for (std::size_t i = pick(6); i > 0; --i) {
            boxes.push_back(make_box(version, 1 + pick(100)));
            live.push_back(boxes.back().get());
            born.add(live.back());
            live_bytes += live.back()->bytes();
        }
        return born;
    }

    // What waits to be sorted is counted to the object.
    void check_superseded() const {
        std::size_t objects = 0;
        std::size_t bytes = 0;
        for (const auto& record : records) {
            if (record->stage != Stage::superseded) continue;
            objects += record->dead.count();
            bytes += record->dead.bytes();
        }
        REQUIRE(chain.superseded_objects() == objects);
        REQUIRE(chain.superseded_bytes() == bytes);
    }

    [[nodiscard]] bool alive_in(const Object* box, Version version) const {
        const auto died = death.find(box);
        return box->birth <= version && (died == death.end() || version < died->second);
    }

    [[nodiscard]] std::set<Version> held() const {
        std::set<Version> versions{last_version_made};
        for (const Owner& owner : owners) versions.insert(owner->version);
        for (const Record* record : pinned) versions.insert(record->version);
        for (const Record* record : based) versions.insert(record->version);
        return versions;
    }

    void sort() {
        chain.sort_superseded(chain.latest()->version, [this](const Record* record) {
            return std::find(pinned.begin(), pinned.end(), record) != pinned.end();
        });
    }

    // What nobody needs has become garbage, and nothing else.
    void collect(bool all) {
        Garbage<Record> taken;
        if (all)
            chain.take_all_garbage(taken);
        else
            chain.take_garbage(taken, pick(lanes), pick(4) * GarbageLanes::effort_each,
                               GarbageLanes::patience_alone);
        check_freed(taken.objects);
    }

    void check_freed(DeadList& list) {
        const std::set<Version> needed = held();
        for (Object* object = list.detach(); object != nullptr; object = object->next) {
            REQUIRE(freed.insert(object).second);
            for (const Version version : needed) REQUIRE_FALSE(alive_in(object, version));
        }
    }

    void check_exact() {
        Chain::Limit limit{~std::size_t{0}, chain.owned_count()};
        sort();
        while (chain.settle(limit)) {
        }
        chain.revisit_dropped(~std::size_t{0});
        collect(true);
        const std::set<Version> needed = held();
        REQUIRE(chain.length() == needed.size());
        std::size_t beyond = 0;
        std::map<Version, std::size_t> alone;
        for (const auto& box : boxes) {
            std::size_t holders = 0;
            Version holder = 0;
            for (const Version version : needed)
                if (alive_in(box.get(), version)) {
                    ++holders;
                    holder = version;
                }
            REQUIRE((holders == 0) == (freed.count(box.get()) != 0));
            if (holders != 0 && !alive_in(box.get(), last_version_made)) beyond += box->bytes();
            if (holders == 1) alone[holder] += box->bytes();
        }
        REQUIRE(chain.dead_bytes() == beyond);
        REQUIRE(chain.live().shards == live_bytes);
        REQUIRE(chain.garbage().empty());
        for (const Record* record = chain.oldest(); record != chain.latest();
             record = record->newer)
            REQUIRE(Chain::alone_bytes(*record) == alone[record->version] + sizeof(Record));
    }

    void step() {
        switch (pick(9)) {
        case 0:
        case 1: commit(); break;
        case 2: commit_in_place(); break;
        case 3: owners.push_back(latest_owner); break;
        case 4:
            if (!owners.empty()) {
                std::swap(owners[pick(owners.size())], owners.back());
                owners.pop_back();
            }
            break;
        case 5:
            // Only the latest can be pinned or become a base.
            if (pick(2) == 0) {
                pinned.push_back(chain.latest());
            } else {
                based.push_back(chain.latest());
                ++chain.latest()->writers;
            }
            break;
        case 6:
            if (!pinned.empty() && pick(2) == 0) {
                pinned.erase(pinned.begin() + static_cast<std::ptrdiff_t>(pick(pinned.size())));
            } else if (!based.empty()) {
                const auto it = based.begin() + static_cast<std::ptrdiff_t>(pick(based.size()));
                --(*it)->writers;
                based.erase(it);
            }
            break;
        case 7: {
            if (pick(2) == 0) sort();
            Chain::Limit limit{1 + pick(4), pick(3)};
            chain.settle(limit); // in small steps, with commits between them
            collect(false);
            break;
        }
        default:
            if (pick(4) == 0) check_exact();
        }
        check_superseded();
    }

    std::mt19937_64 random;
    FakeCore core;
    std::vector<std::unique_ptr<Record>> records; // outlive all owners
    std::vector<std::unique_ptr<Box>> boxes;
    Chain chain;
    Owner latest_owner;
    std::vector<Owner> owners;
    std::vector<Record*> pinned;
    std::vector<Record*> based;
    std::vector<Box*> live;
    std::size_t live_bytes = 0;
    std::map<const Object*, Version> death;
    std::set<const Object*> freed;
    Version last_version_made = 0;
    int in_place = 0;
    bool drop_at_once = true;
};

} // namespace

TEST_CASE("the first owner of a record allocates nothing and says when it is gone") {
    FakeCore core;
    Record record(core);
    for (int round = 0; round < 3; ++round) {
        Owner owner = make_owner(record);
        REQUIRE(owner.get() == &record);
        REQUIRE_FALSE(record.owners.is_expired());
        const std::weak_ptr<const Record> weak = owner;
        Owner second = owner;
        owner.reset();
        REQUIRE_FALSE(record.owners.is_expired());
        second.reset();
        REQUIRE(record.owners.is_expired());
        REQUIRE_FALSE(record.owners.is_released()); // the control block is still in use
        REQUIRE(weak.lock() == nullptr);
    }
    REQUIRE(record.owners.is_released());
    REQUIRE(core.survivors_died == 0);
}

TEST_CASE("the record of a closed index reports its death once") {
    FakeCore core;
    Record record(core);
    Owner owner = make_owner(record);
    REQUIRE_FALSE(record.owners.orphan()); // still there: it will report
    std::weak_ptr<const Record> weak = owner;
    owner.reset();
    REQUIRE(core.survivors_died == 0);
    weak.reset();
    REQUIRE(core.survivors_died == 1);

    Record dead(core);
    make_owner(dead).reset();
    REQUIRE(dead.owners.orphan()); // was there before: nobody will
    REQUIRE(core.survivors_died == 1);
}

TEST_CASE("a queue of records is first in, first out") {
    FakeCore core;
    Record a(core), b(core);
    RecordQueue<Record> queue;
    REQUIRE(queue.pop() == nullptr);
    queue.push(&a);
    queue.push(&b);
    REQUIRE(queue.size() == 2);
    REQUIRE(queue.head() == &a);
    REQUIRE(queue.pop() == &a);
    REQUIRE(queue.pop() == &b);
    REQUIRE(queue.size() == 0);
    queue.push(&b);
    REQUIRE(queue.pop() == &b);
}

TEST_CASE("what is held is exactly what held versions reach, whatever the order of letting go") {
    int in_place = 0;
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        CAPTURE(seed);
        History history(seed);
        for (int i = 0; i < 120; ++i) history.step();
        in_place += history.in_place;
        history.check_exact();
        history.owners.clear();
        history.pinned.clear();
        while (!history.based.empty()) {
            --history.based.back()->writers;
            history.based.pop_back();
        }
        history.check_exact();
        REQUIRE(history.chain.length() == 1);
        REQUIRE(history.chain.dead_bytes() == 0);
    }
    REQUIRE(in_place > 500);
}

TEST_CASE("a version that was still the latest when the slots were read is not sorted") {
    FakeCore core;
    Chain chain;
    std::vector<std::unique_ptr<Record>> records;
    Owner owner;
    DeadList nothing;
    for (Version version = 1; version <= 3; ++version) {
        records.push_back(std::make_unique<Record>(core));
        records.back()->version = version;
        chain.append(records.back().get(), nothing, {});
        if (version > 1) chain.supersede(std::move(owner), false, 0, nothing);
        owner = make_owner(*records.back());
    }
    REQUIRE(chain.superseded_count() == 2);
    chain.sort_superseded(2, [](const Record*) { return false; });
    REQUIRE(chain.superseded_count() == 1); // the barrier may have come before its last pin
    REQUIRE(chain.cleared_count() == 1);
    chain.sort_superseded(3, [](const Record*) { return true; });
    REQUIRE(chain.superseded_count() == 0);
    REQUIRE(chain.pinned_count() == 1);
}

TEST_CASE("what waits for a barrier is counted to the object, also where only some is sorted") {
    History history(4);
    history.drop_at_once = false;
    for (int i = 0; i < 20; ++i) history.commit();
    for (const Version horizon : {Version{1}, Version{10}, history.chain.latest()->version}) {
        history.chain.sort_superseded(horizon, [](const Record*) { return false; });
        history.check_superseded();
        REQUIRE((history.chain.superseded_objects() == 0) ==
                (horizon == history.chain.latest()->version));
    }
}

TEST_CASE("dropping a version goes on where its share of work ended") {
    for (const Version birth : {Version{1}, Version{2}}) {
        FakeCore core;
        Chain chain;
        std::vector<std::unique_ptr<Record>> records;
        std::vector<std::unique_ptr<Box>> boxes;
        std::vector<Owner> owners;
        for (Version version = 1; version <= 3; ++version) {
            records.push_back(std::make_unique<Record>(core));
            records.back()->version = version;
            DeadList retired; // what the second version has and the third has not
            for (int i = 0; version == 3 && i < 5; ++i) {
                boxes.push_back(make_box(birth, 100));
                retired.push(boxes.back().get());
            }
            const std::size_t born = birth == version ? 500 : 0;
            chain.append(records.back().get(), retired, {born, 0});
            if (version > 1) chain.supersede(std::move(owners.back()), false, 0, retired);
            owners.push_back(make_owner(*records.back()));
        }
        chain.sort_superseded(3, [&](const Record* record) { return record == records[0].get(); });
        Chain::Limit nothing{0, 2};
        REQUIRE(chain.settle(nothing));
        REQUIRE(chain.length() == 3);
        if (birth == 2) { // all of it is garbage, which is one piece of work
            Chain::Limit one{1, 2};
            REQUIRE(chain.settle(one));
            REQUIRE(chain.length() == 2);
            REQUIRE(chain.garbage().bytes() == 500);
            continue;
        }
        for (int step = 0; step < 2; ++step) { // all of it passes to the first version
            Chain::Limit limit{2, 2};
            REQUIRE(chain.settle(limit));
            REQUIRE(limit.objects == 0);
            REQUIRE(chain.length() == 3);
        }
        Chain::Limit rest{2, 2};
        REQUIRE_FALSE(chain.settle(rest));
        REQUIRE(chain.length() == 2);
        REQUIRE(records[0]->dead.count() == 5);
        REQUIRE(chain.dead_bytes() == 500);
    }
}

TEST_CASE("of the versions that were owned, so many are looked at again in one step") {
    FakeCore core;
    Chain chain;
    std::vector<std::unique_ptr<Record>> records;
    std::vector<Owner> owners;
    DeadList nothing;
    for (Version version = 1; version <= 8; ++version) {
        records.push_back(std::make_unique<Record>(core));
        records.back()->version = version;
        chain.append(records.back().get(), nothing, {});
        if (version > 1) chain.supersede(owners.back(), false, 0, nothing);
        owners.push_back(make_owner(*records.back()));
    }
    chain.sort_superseded(8, [](const Record*) { return false; });
    const auto settle = [&](std::size_t versions) {
        Chain::Limit limit{100, versions};
        REQUIRE_FALSE(chain.settle(limit));
    };
    settle(0);
    REQUIRE(chain.owned_count() == 7);
    owners.erase(owners.begin(), owners.begin() + 7);
    settle(0);
    REQUIRE(chain.length() == 8);
    settle(1);
    REQUIRE(chain.length() == 7);
    settle(3);
    REQUIRE(chain.length() == 4);
    settle(100);
    REQUIRE(chain.length() == 1);
}

TEST_CASE("a version that a weak_ptr locked again is not dropped") {
    History history(1);
    history.drop_at_once = false;
    std::weak_ptr<const Record> weak = history.latest_owner;
    history.commit();
    history.sort();
    Owner locked = weak.lock();
    REQUIRE(locked != nullptr);
    history.owners.push_back(std::move(locked));
    history.check_exact();
    REQUIRE(history.chain.length() == 2);
    history.owners.clear();
    history.check_exact();
    REQUIRE(history.chain.length() == 1);
    REQUIRE(history.chain.dropped_count() == 1); // its control block is in use
    weak.reset();
    history.check_exact();
    REQUIRE(history.chain.dropped_count() == 0);
}

TEST_CASE("records are pooled up to a bound") {
    History history(2);
    history.drop_at_once = false;
    for (int i = 0; i < 200; ++i) history.commit();
    history.sort();
    Chain::Limit limit{~std::size_t{0}, 0};
    while (history.chain.settle(limit)) {
    }
    REQUIRE(history.chain.length() == 1);
    REQUIRE(history.chain.pooled_count() == 64);
    REQUIRE(history.chain.pooled_count() + history.chain.dropped_count() == 200);
    const std::size_t pooled = history.chain.pooled_count();
    Record* record = history.chain.take_record();
    REQUIRE(record != nullptr);
    REQUIRE(history.chain.pooled_count() == pooled - 1);
    history.chain.pool_record(record);
    REQUIRE(history.chain.pooled_count() == pooled);
    Garbage<Record> taken;
    history.chain.take_garbage(taken, 0, 0, 0);
    REQUIRE(history.chain.dropped_count() == 0);
    std::size_t surplus = 0;
    for (const Record* r = taken.records; r != nullptr; r = r->next) ++surplus;
    REQUIRE(surplus == taken.record_count);
    REQUIRE(surplus + pooled == 200);
}

TEST_CASE("the allocators of two control blocks are equal where they are of one record") {
    FakeCore core;
    const Record first(core);
    const Record second(core);
    const ControlAllocator<std::byte, Record> allocator(&first);
    const ControlAllocator<int, Record> rebound(allocator);
    REQUIRE(allocator == rebound);
    REQUIRE_FALSE(ControlAllocator<std::byte, Record>(&second) == rebound);
}
