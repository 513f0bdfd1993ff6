#include "options.hpp"

#include "printable.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <thread>

namespace code_search {

const char* const help_text =
    R"(usage: code_search [options] [PATH]

Full-text search over a source tree while it changes. PATH is a git clone, whose history is
replayed commit by commit, or any other directory, which is indexed and then read again file by
file. Without PATH: the clone this program was built from, or the first 64 MB of /usr/include if
that has fewer than 200 commits.

  --seconds N      stop after N seconds, or earlier where the history ends (default 12)
  --readers N      threads that search meanwhile (default: one less than processors, at least 2)
  --check-every N  compare every N-th commit with git and every 2 N-th search with a plain scan
                   (default 50)
  --query TEXT     print the matches in the newest version as path:line: text, and stop
  --help           print this

Exit status: 0 all checks held, 1 a check failed, 2 the run could not be made.
)";

namespace {

std::uint64_t number(std::string_view option, std::string_view text, std::uint64_t least,
                     std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
        throw UsageError(std::string(option) + " takes a whole number from " +
                         std::to_string(least) + " to " + std::to_string(most) + ", not '" +
                         printable(text) + "'");
    }
    return value;
}

} // namespace

Options parse_options(int count, const char* const* arguments) {
    Options options;
    options.readers = std::clamp(std::thread::hardware_concurrency(), 3U, 65U) - 1;
    bool has_path = false;
    bool only_paths = false;
    for (int index = 1; index < count; ++index) {
        const std::string_view argument = arguments[index];
        if (only_paths || argument.substr(0, 1) != "-") {
            if (has_path) {
                throw UsageError("one PATH at most, '" + printable(argument) + "' is too many");
            }
            if (argument.empty()) throw UsageError("PATH is empty");
            options.path = argument;
            has_path = true;
            continue;
        }
        const std::size_t equals = argument.find('=');
        const std::string_view name = argument.substr(0, equals);
        const auto value = [&]() -> std::string_view {
            if (equals != std::string_view::npos) return argument.substr(equals + 1);
            if (index + 1 == count) throw UsageError(std::string(name) + " needs a value");
            return arguments[++index];
        };
        if (argument == "--") {
            only_paths = true;
        } else if (argument == "--help") {
            options.help = true;
        } else if (name == "--seconds") {
            options.seconds = number(name, value(), 1, 86'400);
        } else if (name == "--readers") {
            options.readers = number(name, value(), 0, 256);
        } else if (name == "--check-every") {
            options.check_every = number(name, value(), 1, 1'000'000'000);
        } else if (name == "--query") {
            options.query = value();
            if (options.query->empty()) throw UsageError("--query needs a text that is not empty");
        } else {
            throw UsageError("unknown option '" + printable(argument) + "', see --help");
        }
    }
    return options;
}

} // namespace code_search
