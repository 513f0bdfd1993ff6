#include "matches.hpp"

#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace code_search {

namespace {

std::size_t print_lines(const File& file, const std::string& text) {
    const std::string_view contents = file.text;
    std::size_t lines = 0;
    std::size_t number = 1;
    std::size_t line_start = 0;
    std::size_t found = contents.find(text);
    while (found != std::string_view::npos) {
        for (std::size_t end; (end = contents.find('\n', line_start)) < found; ++number) {
            line_start = end + 1;
        }
        const std::size_t line_end = std::min(contents.find('\n', found), contents.size());
        const std::string line = file.path + ':' + std::to_string(number) + ": " +
                                 std::string(contents.substr(line_start, line_end - line_start)) +
                                 '\n';
        std::fwrite(line.data(), 1, line.size(), stdout);
        ++lines;
        found = contents.find(text, line_end);
    }
    return lines;
}

} // namespace

void print_matches(const CodeIndex& index, const std::string& text) {
    const auto snapshot = index.snapshot();
    const auto start = std::chrono::steady_clock::now();
    Hits files = search(snapshot, Query(text));
    const auto time = std::chrono::steady_clock::now() - start;

    std::sort(files.begin(), files.end(),
              [](const File* left, const File* right) { return left->path < right->path; });
    std::size_t lines = 0;
    for (const File* file : files) lines += print_lines(*file, text);
    std::fflush(stdout);
    std::fprintf(stderr, "%s lines in %s files, found in %s\n", grouped(lines).c_str(),
                 grouped(files.size()).c_str(), time_text(time).c_str());
}

} // namespace code_search
