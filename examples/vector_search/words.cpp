#include "words.hpp"

#include <cmath>
#include <cstddef>
#include <fstream>
#include <set>
#include <stdexcept>
#include <utility>

namespace vector_search {

Vector vector_of(std::string_view word) {
    Vector vector{};
    char before = '^';
    for (std::size_t i = 0; i <= word.size(); ++i) {
        const char c = i < word.size() ? word[i] : '$';
        const auto pair = static_cast<unsigned>(before) * 128u + static_cast<unsigned>(c);
        vector[pair * 2654435761u >> 26] += 1;
        before = c;
    }
    float squares = 0;
    for (const float number : vector) squares += number * number;
    for (float& number : vector) number /= std::sqrt(squares);
    return vector;
}

std::vector<std::string> read_words(const std::string& file) {
    std::ifstream in(file);
    if (!in) throw std::runtime_error("'" + file + "' cannot be read");
    std::vector<std::string> words;
    std::set<std::string> known;
    std::string word;
    for (char c = 0; in.get(c);) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            word += static_cast<char>(c | 0x20);
        else if (!word.empty() && known.insert(word).second)
            words.push_back(std::exchange(word, {}));
        else
            word.clear();
    }
    return words;
}

} // namespace vector_search
