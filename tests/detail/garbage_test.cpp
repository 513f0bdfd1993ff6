#include <cowindex/detail/dead_list.hpp>
#include <cowindex/detail/garbage.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <set>
#include <vector>

#include "support/catch.hpp"

using namespace cowindex::detail;
using cowindex::Version;

namespace {

using Box = ShardBox<int>;

std::unique_ptr<Box> make_box(Version birth, std::size_t bytes) {
    auto box = std::make_unique<Box>([] { return 0; });
    box->birth = birth;
    box->set_bytes(bytes);
    return box;
}

std::vector<const Object*> objects_of(const DeadList& list) {
    std::vector<const Object*> all;
    for (const Object* object = list.head(); object != nullptr; object = object->next)
        all.push_back(object);
    return all;
}

// Lanes with some boxes in them.
struct Filled {
    void fill(std::size_t lane, std::size_t count, std::size_t bytes) {
        DeadList list;
        for (std::size_t i = 0; i < count; ++i) {
            boxes.push_back(make_box(1, bytes));
            list.push(boxes.back().get());
        }
        garbage.splice(lane, list);
        REQUIRE(list.empty());
    }
    std::size_t take(std::size_t lane, std::uint64_t effort,
                     std::size_t patience = GarbageLanes::patience_alone) {
        DeadList taken;
        garbage.take(taken, lane, effort, patience);
        return taken.count();
    }

    std::vector<std::unique_ptr<Box>> boxes;
    GarbageLanes garbage;
};

constexpr std::size_t patience = GarbageLanes::patience_alone;
constexpr std::uint64_t all = ~std::uint64_t{0};
constexpr std::uint64_t each = GarbageLanes::effort_each;

} // namespace

TEST_CASE("a dead list counts what it holds") {
    const auto old = make_box(3, 10);
    const auto young = make_box(8, 20);
    Leaf<int> leaf;
    leaf.birth = 5;
    DeadList list;
    REQUIRE(list.empty());
    REQUIRE(list.min_birth() == unborn);
    list.push(young.get());
    list.push(old.get());
    list.push(&leaf);
    REQUIRE(list.count() == 3);
    REQUIRE(list.bytes() == 30 + sizeof(leaf));
    REQUIRE(list.node_bytes() == sizeof(leaf));
    REQUIRE(list.min_birth() == 3);

    DeadList other;
    const auto third = make_box(1, 5);
    other.push(third.get());
    list.splice(other);
    REQUIRE(other.empty());
    REQUIRE(other.bytes() == 0);
    REQUIRE(list.count() == 4);
    REQUIRE(list.min_birth() == 1);
    REQUIRE(objects_of(list).size() == 4);

    other.splice(list); // into an empty one
    REQUIRE(list.empty());
    REQUIRE(other.count() == 4);
    REQUIRE(other.node_bytes() == sizeof(leaf));

    std::set<const Object*> popped;
    while (!other.empty()) popped.insert(other.pop());
    REQUIRE(popped == std::set<const Object*>{old.get(), young.get(), &leaf, third.get()});
    REQUIRE(other.bytes() == 0);
    REQUIRE(other.node_bytes() == 0);
    REQUIRE(other.min_birth() == unborn);
    other.push(old.get()); // the end was forgotten
    list.splice(other);
    REQUIRE(objects_of(list) == std::vector<const Object*>{old.get()});
    REQUIRE(list.detach() == old.get());
    REQUIRE(list.empty());
}

TEST_CASE("a writer takes the garbage of its own lane, and leaves the others theirs") {
    Filled filled;
    filled.fill(1, 3, 10);
    filled.fill(2, 5, 100);
    REQUIRE(filled.garbage.bytes() == 530);
    REQUIRE(filled.take(1, all) == 3);
    REQUIRE(filled.garbage.bytes() == 500);
    REQUIRE(filled.take(1, all) == 0);
    REQUIRE(filled.take(2, 2 * each - 500) == 2); // bounded, about
    REQUIRE(filled.garbage.bytes() == 300);
    REQUIRE(filled.take(2, all) == 3);
    REQUIRE(filled.garbage.empty());
    REQUIRE(filled.garbage.bytes() == 0);
}

TEST_CASE("whoever commits alone takes what other lanes were left with, whichever lane it has") {
    for (std::size_t lane = 0; lane < GarbageLanes::lanes; ++lane) {
        Filled filled;
        filled.fill((lane + 1) % GarbageLanes::lanes, 5, 10);
        for (std::size_t turn = 0; turn <= GarbageLanes::patience_alone; ++turn)
            filled.take(lane, all);
        REQUIRE(filled.garbage.empty());
    }
}

TEST_CASE("nodes in the garbage are counted apart") {
    Leaf<int> leaf;
    GarbageLanes garbage;
    const auto box = make_box(1, 10);
    garbage.push(3, &leaf);
    garbage.push(3, box.get());
    REQUIRE(garbage.bytes() == sizeof(leaf) + 10);
    REQUIRE(garbage.node_bytes() == sizeof(leaf));
    DeadList taken;
    garbage.take(taken, 3, each, patience);
    REQUIRE(taken.head() == box.get());
    REQUIRE(garbage.node_bytes() == sizeof(leaf));
    garbage.take_all(taken);
    REQUIRE(taken.count() == 2);
    REQUIRE(garbage.empty());
    REQUIRE(garbage.bytes() == 0);
    REQUIRE(garbage.node_bytes() == 0);

    garbage.splice(3, taken);
    REQUIRE(garbage.node_bytes() == sizeof(leaf));
    std::size_t turns = 0;
    for (; garbage.node_bytes() != 0; ++turns) { // one at a time, in either order
        REQUIRE(turns < 2);
        garbage.take(taken, 3, each, patience);
    }
    garbage.take(taken, 3, each, patience);
    REQUIRE(garbage.bytes() == 0);
    REQUIRE(taken.node_bytes() == sizeof(leaf));
    garbage.splice(3, taken);
    garbage.take(taken, 3, all, patience); // the whole lane
    REQUIRE(garbage.node_bytes() == 0);
}

TEST_CASE("garbage that nobody comes for is taken by whoever commits") {
    const auto [lanes_patience, least] =
        GENERATE(std::pair<std::size_t, std::size_t>{GarbageLanes::patience_alone, 8},
                 std::pair<std::size_t, std::size_t>{GarbageLanes::patience_among_writers, 512});
    Filled filled;
    filled.fill(1, 4, 10);
    std::size_t turns = 0;
    while (filled.take(0, each, lanes_patience) == 0) {
        ++turns;
        REQUIRE(turns <= lanes_patience);
    }
    REQUIRE(turns > least); // not at once: its writer may be about to
    REQUIRE(filled.take(0, each, lanes_patience) == 1);
    // A second writer: nobody is alone any more.
    REQUIRE(filled.take(5, 8 * each, lanes_patience) == 0);
    for (turns = 0; !filled.garbage.empty(); ++turns) {
        static_cast<void>(filled.take(0, each, lanes_patience));
        REQUIRE(turns <= lanes_patience + 3);
    }
}

TEST_CASE("where much has gathered in other lanes, every writer helps, within its bounds") {
    Filled filled;
    filled.fill(6, 1000, 1);
    filled.fill(7, 2, std::size_t{8} << 20);
    REQUIRE(filled.take(0, 10 * each) == 10);
    REQUIRE(filled.take(7, 10 * each) == 1); // large ones are more effort
    DeadList taken;
    filled.garbage.take_all(taken);
    REQUIRE(taken.count() == 991);
    filled.fill(7, 2, std::size_t{8} << 20);
    REQUIRE(filled.take(1, all) == 2); // many bytes are much, too
    // Lanes that are taken whole count, too.
    for (std::size_t lane = 2; lane <= 4; ++lane) filled.fill(lane, 200, 10);
    REQUIRE(filled.take(2, 500 * each) == 500);
    filled.fill(3, 200, 10);
    filled.fill(5, 200, 10);
    REQUIRE(filled.take(2, 250 * each) == 250);
}

TEST_CASE("what is just not much is left to its writer") {
    Filled objects;
    objects.fill(6, 256, 1);
    REQUIRE(objects.take(0, all) == 0);
    objects.fill(6, 1, 1);
    REQUIRE(objects.take(0, all) == 257);
    Filled bytes;
    bytes.fill(7, 2, std::size_t{1} << 19);
    REQUIRE(bytes.take(0, all) == 0);
    bytes.fill(7, 1, 1);
    REQUIRE(bytes.take(0, all) == 3);
}

TEST_CASE("garbage that came singly is gone when all of it was taken") {
    GarbageLanes garbage;
    const auto one = make_box(1, 10);
    const auto other = make_box(1, 10);
    garbage.push(2, one.get());
    garbage.push(2, other.get());
    DeadList taken;
    garbage.take(taken, 1, all, patience); // little: left to its writer
    REQUIRE(taken.empty());
    garbage.take(taken, 2, each, patience);
    REQUIRE_FALSE(garbage.empty());
    garbage.take(taken, 2, each, patience);
    REQUIRE(garbage.empty());
}
