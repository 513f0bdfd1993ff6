#include <cowindex/reader.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include "support/catch.hpp"
#include "support/validate.hpp"

namespace {
using Index = cowindex::CowIndex<int>;

// Whether a pin begins with what its reader had last: portable ones do not.
bool pins_have_guesses(const Index& index) {
    return test::TestAccess::publication(test::TestAccess::core(index)).fence().asymmetric();
}
} // namespace

TEST_CASE("a pin reads the latest version, until it ends") {
    Index index(3, 1);
    auto reader = index.reader();
    {
        const auto view = reader.pin();
        index.replace(0, 2);
        REQUIRE(view.version() == 0);
        REQUIRE(view[0] == 1);
        REQUIRE(view.size() == 3);
        REQUIRE(view.id_bound() == 3);
        REQUIRE(index.active_readers() == 1);
    }
    REQUIRE(index.active_readers() == 0);
    REQUIRE(reader.pin().version() == 1);
    REQUIRE(reader.pin()[0] == 2);
}

TEST_CASE("nested pins see the version of the outermost") {
    Index index(3, 1);
    auto reader = index.reader();
    std::optional<Index::View> outer(reader.pin());
    index.replace(0, 2);
    std::optional<Index::View> inner(reader.pin());
    REQUIRE(inner->version() == 0);
    outer.reset(); // out of order
    index.reclaim();
    REQUIRE((*inner)[0] == 1);
    REQUIRE(reader.pin().version() == 0);
    inner.reset();
    REQUIRE(reader.pin().version() == 1);
}

TEST_CASE("two readers of one thread are independent") {
    Index index(3, 1);
    auto first = index.reader();
    auto second = index.reader();
    const auto old = first.pin();
    index.replace(0, 2);
    const auto now = second.pin();
    REQUIRE(old[0] == 1);
    REQUIRE(now[0] == 2);
    REQUIRE(index.active_readers() == 2);
}

TEST_CASE("views stay valid when they, or their reader, move or end") {
    Index index(3, 1);
    std::optional<Index::Reader> reader(index.reader());
    Index::View view = reader->pin();
    index.replace(0, 2);
    Index::Reader moved = std::move(*reader);
    reader.reset();
    index.reclaim();
    REQUIRE(view[0] == 1);
    Index::View moved_view = std::move(view);
    REQUIRE(moved_view[0] == 1);
    REQUIRE(moved.pin().version() == 0);
    {
        const Index::Reader dying = std::move(moved);
    }
    index.reclaim();
    REQUIRE(moved_view[0] == 1);
    REQUIRE(index.active_readers() == 1);
    auto other = index.reader(); // must not get the slot of the view that still lives
    const auto latest = other.pin();
    REQUIRE(latest.version() == 1);
    REQUIRE(moved_view.version() == 0);
    moved_view = other.pin(); // assigning ends the old pin
    REQUIRE(moved_view.version() == 1);
    index.reclaim();
    REQUIRE(index.pins().empty());
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Index::View>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Index::Reader>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Index::View>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Index::Reader>);
}

TEST_CASE("a view that ends does not write where its reader was") {
    using Reader = Index::Reader;
    Index index(3, 1);
    enum class Fate { moved, destroyed, assigned_from, assigned_to };
    for (const Fate fate : {Fate::moved, Fate::destroyed, Fate::assigned_from, Fate::assigned_to}) {
        alignas(Reader) unsigned char place[sizeof(Reader)];
        auto* reader = new (place) Reader(index.reader());
        static_cast<void>(reader->pin().size());
        std::optional<Index::View> view(reader->pin());
        std::optional<Reader> other;
        if (fate == Fate::moved) other.emplace(std::move(*reader));
        if (fate == Fate::assigned_from) other.emplace(index.reader()) = std::move(*reader);
        if (fate == Fate::assigned_to) *reader = index.reader();
        if (fate == Fate::assigned_to) {
            // What is here now is another reader, which has no view.
            index.replace(0, 2);
            const auto newer = reader->pin();
            REQUIRE(newer.version() == index.version());
            REQUIRE(view->version() + 1 == newer.version());
            view.reset();
            REQUIRE(reader->pin().version() == newer.version()); // still within the other's life
            index.replace(0, 3);
            index.reclaim();
            REQUIRE(newer[0] == 2);
            REQUIRE(reader->pin().version() == newer.version());
        } else {
            reader->~Reader();
            std::memset(place, 0x5a, sizeof(place));
            view.reset();
            REQUIRE(std::all_of(std::begin(place), std::end(place),
                                [](unsigned char byte) { return byte == 0x5a; }));
        }
        if (fate == Fate::assigned_to) reader->~Reader();
        index.replace(1, 4);
        if (other) {
            const auto outer = other->pin();
            REQUIRE(outer.version() == index.version());
            index.replace(1, 5);
            REQUIRE(other->pin().version() == outer.version());
        }
        REQUIRE(index.active_readers() == 0);
    }
}

TEST_CASE("a pin protects a version in whose place the reader's last one was") {
    Index index(3, 1);
    auto reader = index.reader("again");
    // Records are used again: before long the latest version has the address of the last pin's.
    int met = 0;
    for (int i = 2; i < 2000; ++i) {
        const auto* of_last = test::TestAccess::last(reader);
        for (int commits = i % 4; commits >= 0; --commits) {
            index.replace(0, i);
            index.reclaim();
        }
        const auto view = reader.pin();
        REQUIRE(view.version() == index.version());
        REQUIRE(view[0] == i);
        if (of_last == test::TestAccess::publication(test::TestAccess::core(index)).latest()) {
            ++met;
            index.replace(0, -i);
            index.replace(0, i);
            index.reclaim();
            REQUIRE(view[0] == i);
            REQUIRE(index.pins().front().labels == std::vector<std::string>{"again"});
        }
    }
    REQUIRE((met > 10 || !pins_have_guesses(index)));
}

TEST_CASE("assigning a reader gives its old slot back") {
    Index index(3, 1);
    auto reader = index.reader("first");
    reader = index.reader("second");
    const auto view = reader.pin();
    index.replace(0, 2);
    REQUIRE(index.pins().front().labels == std::vector<std::string>{"second"});
}

TEST_CASE("a reader that was assigned to reads the other's index") {
    std::optional<Index> first(std::in_place, 3, 1);
    Index second(3, 2);
    auto reader = first->reader();
    reader = second.reader();
    REQUIRE(first->active_readers() == 0);
    REQUIRE(reader.pin()[0] == 2); // asks the slot; the next one knows
    const auto view = reader.pin();
    REQUIRE(view[0] == 2);
    first.reset();
    second.replace(0, 3);
    second.reclaim();
    REQUIRE(view[0] == 2);
    REQUIRE(second.active_readers() == 1);
}

TEST_CASE("a reader that was assigned to knows of the other's open view") {
    Index index(3, 1);
    auto reader = index.reader();
    REQUIRE(reader.pin().version() == 0); // knows what it had last, and that nothing is open
    auto other = index.reader();
    const auto outer = other.pin();
    index.replace(0, 2);
    reader = std::move(other);
    REQUIRE(reader.pin().version() == 0);
    index.reclaim();
    REQUIRE(outer[0] == 1);
}

TEST_CASE("a view that was assigned to ends for the reader of the other") {
    Index index(3, 1);
    auto first = index.reader();
    auto second = index.reader();
    {
        auto view = first.pin();
        auto taken = second.pin();
        view = std::move(taken);
        REQUIRE((test::TestAccess::last(first) != nullptr) == pins_have_guesses(index));
        REQUIRE(test::TestAccess::last(second) == nullptr);
        const auto open = first.pin();
        index.replace(0, 2);
        const auto ended = std::move(view);
        REQUIRE(first.pin().version() == 0); // within the life of `open`
    }
    REQUIRE((test::TestAccess::last(first) != nullptr) == pins_have_guesses(index));
    REQUIRE((test::TestAccess::last(second) != nullptr) == pins_have_guesses(index));
    REQUIRE(first.pin().version() == 1);
    REQUIRE(second.pin().version() == 1);
}

TEST_CASE("a moved-from reader says what it is") {
    Index index(3, 1);
    auto reader = index.reader();
    const auto other = std::move(reader);
    REQUIRE_THROWS_AS(reader.pin(), std::logic_error); // NOLINT: on purpose
    REQUIRE_THROWS_WITH(reader.pin(), test::contains_text("Reader"));
    REQUIRE_THROWS_AS(reader.wait_for_newer(0, std::chrono::seconds(0)), std::logic_error);
    reader = index.reader();
    REQUIRE(reader.pin().version() == 0);
}

TEST_CASE("a view becomes a snapshot of its own version") {
    Index index(3, 1);
    auto reader = index.reader();
    std::optional<Index::View> view(reader.pin());
    const auto of_latest = view->snapshot();
    index.replace(0, 2);
    index.replace(0, 3);
    const auto of_old = view->snapshot();
    REQUIRE(of_latest == of_old);
    view.reset();
    index.reclaim();
    REQUIRE(of_old.version() == 0);
    REQUIRE(of_old[0] == 1);
}

TEST_CASE("an idle reader holds nothing; a pinned one is named") {
    Index index(3, 1);
    auto idle = index.reader("idle");
    auto busy = index.reader("busy");
    const auto view = busy.pin();
    index.replace(0, 2);
    const auto pins = index.pins();
    REQUIRE(pins.size() == 1);
    REQUIRE(pins[0].labels == std::vector<std::string>{"busy"});
    REQUIRE(pins[0].holders == 1);
    REQUIRE(pins[0].version == 0);
}
