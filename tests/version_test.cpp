#include <cowindex/version.hpp>

#include <type_traits>

#include "support/catch.hpp"

TEST_CASE("shard ids and versions are 64-bit unsigned integers") {
    STATIC_REQUIRE(std::is_same_v<cowindex::ShardId, std::uint64_t>);
    STATIC_REQUIRE(std::is_same_v<cowindex::Version, std::uint64_t>);
}

TEST_CASE("the version macros can be compared by the preprocessor") {
#if COWINDEX_VERSION_MAJOR > 0 || COWINDEX_VERSION_MINOR >= 1
    SUCCEED();
#else
    FAIL("older than 0.1");
#endif
    STATIC_REQUIRE(COWINDEX_VERSION_PATCH >= 0);
}
