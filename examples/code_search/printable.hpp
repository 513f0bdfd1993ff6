#pragma once

#include <string>
#include <string_view>

namespace code_search {

/// Bytes that stay on one line of a terminal: control characters become question marks.
inline std::string printable(std::string_view bytes) {
    std::string line(bytes);
    for (char& byte : line) {
        const auto code = static_cast<unsigned char>(byte);
        if (code < 0x20 || code == 0x7f) byte = '?';
    }
    return line;
}

} // namespace code_search
