#pragma once

#include "code_index.hpp"

#include <string>

namespace code_search {

/// Prints every line of the latest version in which the text begins, as "path:line: text", in the
/// order of paths.
void print_matches(const CodeIndex& index, const std::string& text);

} // namespace code_search
