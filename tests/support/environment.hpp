/// What a test is told by its environment.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace test {

/// A number from the environment, for runs that are longer than the usual one or repeat a failure.
inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

} // namespace test
