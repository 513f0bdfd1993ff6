#include <cowindex/errors.hpp>

#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using cowindex::ConflictError;
using cowindex::ShardId;

namespace {

std::string message_of_conflict(std::size_t count) {
    std::vector<ShardId> ids(count);
    std::iota(ids.begin(), ids.end(), ShardId{10});
    try {
        cowindex::detail::throw_conflict(ids);
    } catch (const ConflictError& error) {
        REQUIRE(error.shards() == ids);
        return error.what();
    }
}

} // namespace

TEST_CASE("a conflict is a runtime_error that can be copied without throwing") {
    STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, ConflictError>);
    STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<ConflictError>);
    const ConflictError error("text", {1, 2});
    const ConflictError copy = error;
    REQUIRE(copy.shards() == std::vector<ShardId>{1, 2});
    REQUIRE(copy.shards().data() == error.shards().data());
}

TEST_CASE("a conflict names the shards, but not endlessly many, and the remedies") {
    REQUIRE_THAT(message_of_conflict(1), test::contains_text("changed shard 10 "));
    REQUIRE_THAT(message_of_conflict(3), test::contains_text("changed shards 10, 11, 12 "));
    REQUIRE_THAT(message_of_conflict(8), test::contains_text("16, 17 since"));
    REQUIRE_THAT(message_of_conflict(20), test::contains_text("17 and 12 more"));
    for (const char* remedy : {"discard()", "revert()", "rebase()", "update()"})
        REQUIRE_THAT(message_of_conflict(2), test::contains_text(remedy));
    REQUIRE_FALSE(message_of_conflict(0).empty());
}

TEST_CASE("a refusal for the budget names who is in the way, and the remedies") {
    cowindex::PinInfo oldest;
    oldest.version = 77;
    oldest.holders = 5;
    oldest.labels = {"a", "b", "c", "d"};
    oldest.retained_bytes = 250;
    cowindex::PinInfo replaced;
    const auto message = [&](const cowindex::PinInfo* held) -> std::string {
        try {
            cowindex::detail::throw_over_budget(1000, 1200, 300, held, replaced);
        } catch (const cowindex::MemoryBudgetError& error) {
            REQUIRE(error.budget_bytes() == 1000);
            REQUIRE(error.needed_bytes() == 1200);
            REQUIRE(error.retained_bytes() == 300);
            return error.what();
        }
    };
    SECTION("nobody: the budget is too small for this") {
        REQUIRE_THAT(
            message(nullptr),
            test::contains_text("budget is 1000 bytes") &&
                test::contains_text("would hold 1200; nobody holds anything back: erase") &&
                test::contains_text("raise MemoryBudget::hard_bytes") &&
                !test::contains_text("version"));
    }
    SECTION("an old version, some of whose holders are named") {
        REQUIRE_THAT(message(&oldest),
                     test::contains_text("of which 300 only because older versions are held; the "
                                         "oldest, version 77, by 5 holder(s) 'a', 'b', 'c' for 0 "
                                         "ms, alone holds 250; let go of it and commit again") &&
                         test::contains_text("raise MemoryBudget::hard_bytes"));
        oldest.labels = {"one"};
        REQUIRE_THAT(message(&oldest), test::contains_text("holder(s) 'one' for"));
    }
    SECTION("whoever holds what the commit replaces") {
        replaced.version = 80;
        replaced.holders = 1;
        replaced.labels = {"search"};
        REQUIRE_THAT(message(nullptr),
                     test::contains_text("would hold 1200; version 80, which it replaces, is held "
                                         "by 1 holder(s) 'search', so that") &&
                         test::contains_text("let go of it and commit again"));
        REQUIRE_THAT(message(&oldest),
                     test::contains_text("version 77") && test::contains_text("version 80"));
    }
}

TEST_CASE("messages name the culprit and the remedy") {
    using namespace cowindex::detail;
    REQUIRE_THROWS_AS(throw_absent(1, 1), std::out_of_range);
    REQUIRE_THROWS_WITH(throw_absent(42, 42), test::contains_text("42 (ids are below 42); ask") &&
                                                  test::contains_text("contains("));
    REQUIRE_THROWS_WITH(throw_absent(41, 42),
                        test::contains_text("41 (ids are below 42), it was erased") &&
                            test::contains_text("find("));
    REQUIRE_THROWS_WITH(throw_absent(3, 0),
                        test::contains_text("3 (ids are below 0); there is none at all") &&
                            !test::contains_text("contains("));
    REQUIRE_THROWS_AS(throw_present(5), std::invalid_argument);
    REQUIRE_THROWS_WITH(throw_present(5),
                        test::contains_text("5") && test::contains_text("replace()"));
    REQUIRE_THROWS_AS(throw_id_limit(), std::length_error);
    REQUIRE_THROWS_AS(throw_version_limit(), std::overflow_error);
    REQUIRE_THROWS_AS(throw_moved_from("Reader"), std::logic_error);
    REQUIRE_THROWS_WITH(throw_moved_from("Reader"), test::contains_text("Reader"));
    REQUIRE_THROWS_AS(throw_nested_update(), std::logic_error);
    REQUIRE_THROWS_WITH(throw_nested_update(), test::contains_text("writer that was passed in") &&
                                                   test::contains_text("edit()"));
}
