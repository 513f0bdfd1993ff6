#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace vector_search {

/// The vector of a word: how often each pair of neighbouring letters occurs in it, the pairs mixed
/// into 64 numbers, of length 1. Words that are spelled alike are near each other.
using Vector = std::array<float, 64>;

Vector vector_of(std::string_view word);

/// The square of the distance between two.
inline float distance(const Vector& a, const Vector& b) {
    float sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/// The words of a file, in lower case, each once, in the order in which they first occur.
/// Throws `std::runtime_error` if it cannot be read.
std::vector<std::string> read_words(const std::string& file);

} // namespace vector_search
