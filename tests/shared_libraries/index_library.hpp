/// What two shared libraries export that have each compiled the headers for themselves.
#pragma once

#include <cstddef>
#include <string>

#include <cowindex/cowindex.hpp>

using SharedIndex = cowindex::CowIndex<std::string>;

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED SharedIndex* first_make();
EXPORTED bool first_use(SharedIndex& index, int round);
EXPORTED std::size_t first_readers(SharedIndex& index);
EXPORTED void first_end(SharedIndex* index);
EXPORTED SharedIndex* second_make();
EXPORTED bool second_use(SharedIndex& index, int round);
EXPORTED std::size_t second_readers(SharedIndex& index);
EXPORTED void second_end(SharedIndex* index);
