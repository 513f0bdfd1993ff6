#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace code_search {

struct Options {
    std::string path; ///< Empty: choose one.
    std::uint64_t seconds = 12;
    std::uint64_t readers = 2;
    std::uint64_t check_every = 50;
    std::optional<std::string> query;
    bool help = false;
};

/// A command line that cannot be obeyed; `what()` is one line.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Reads the command line.
/// Exceptions: `UsageError`.
Options parse_options(int count, const char* const* arguments);

extern const char* const help_text;

} // namespace code_search
