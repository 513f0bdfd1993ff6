/// Catch2 for the tests, whether version 2 or version 3 is installed.
///
/// Catch2's assertions are not thread-safe: threads record what they saw, and the test's own
/// thread asserts after it has joined them.
#pragma once

#include <string>

#if __has_include(<catch2/catch_test_macros.hpp>)

#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace test {

using Catch::Approx;

/// A matcher for `REQUIRE_THROWS_WITH` and `REQUIRE_THAT`: the text contains `part`.
inline auto contains_text(const std::string& part) {
    return Catch::Matchers::ContainsSubstring(part);
}

} // namespace test

#else

#include <catch2/catch.hpp>

namespace test {

using Catch::Detail::Approx;

inline auto contains_text(const std::string& part) { return Catch::Matchers::Contains(part); }

} // namespace test

#endif
