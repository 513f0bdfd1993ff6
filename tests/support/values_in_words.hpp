/// A record of nothing but 64-bit words, each with a number of its own: whoever prints or copies
/// such a record field by field, and has forgotten one, is found out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace test {

template <class Record>
inline constexpr std::size_t words = sizeof(Record) / sizeof(std::uint64_t);

/// The words are first, first + 1, and so on, in the order of declaration.
template <class Record>
Record record_of_words(std::uint64_t first) {
    static_assert(std::is_trivially_copyable_v<Record>);
    static_assert(sizeof(Record) % sizeof(std::uint64_t) == 0);
    std::uint64_t numbers[words<Record>];
    for (std::size_t i = 0; i < words<Record>; ++i) numbers[i] = first + i;
    Record record;
    std::memcpy(&record, numbers, sizeof record);
    return record;
}

/// The word at place `i`.
template <class Record>
std::uint64_t word(const Record& record, std::size_t i) {
    std::uint64_t numbers[words<Record>];
    std::memcpy(numbers, &record, sizeof record);
    return numbers[i];
}

} // namespace test
