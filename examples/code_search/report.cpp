#include "report.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>

namespace code_search {

namespace {

/// Three significant digits and a unit.
template <std::size_t count>
std::string scaled(double value, const std::array<const char*, count>& units) {
    std::size_t unit = 0;
    while (value >= 999.5 && unit + 1 < count) {
        value /= 1000;
        ++unit;
    }
    const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.*f %s", decimals, value, units[unit]);
    return text.data();
}

double ratio(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string decimal(double value) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.1f", value);
    return text.data();
}

std::string per_second(std::uint64_t count, std::chrono::duration<double> time) {
    const double rate = time.count() > 0 ? static_cast<double>(count) / time.count() : 0;
    return grouped(static_cast<std::uint64_t>(rate + 0.5)) + "/s";
}

std::string counted(std::uint64_t count, const char* one, const char* many) {
    return grouped(count) + ' ' + (count == 1 ? one : many);
}

void row(const char* name, const std::string& value, const std::string& remark) {
    std::printf("  %-26s%14s   %s\n", name, value.c_str(), remark.c_str());
}

} // namespace

std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t place = digits.size(); place > 3;) {
        place -= 3;
        digits.insert(place, 1, ',');
    }
    return digits;
}

std::string bytes_text(std::uint64_t bytes) {
    return scaled(static_cast<double>(bytes),
                  std::array<const char*, 6>{"B", "kB", "MB", "GB", "TB", "PB"});
}

std::string time_text(std::chrono::nanoseconds time) {
    return scaled(static_cast<double>(time.count()),
                  std::array<const char*, 4>{"ns", "us", "ms", "s"});
}

void print_table(const Summary& s) {
    const cowindex::CowMetrics::Values& m = s.metrics;
    const double saved = ratio(s.bytes_of_full_clones, m.bytes_cloned);
    std::printf("\nReplayed %s %s: %.1f s.\n\n", s.title.c_str(), s.end.c_str(), s.time.count());
    row("commits applied", grouped(s.commits), per_second(s.commits, s.time));
    row("files applied", grouped(s.changes),
        per_second(s.changes, s.time) + ", now " + counted(s.files, "file", "files") + " with " +
            bytes_text(s.text_bytes) + " of text");
    row("shards cloned per commit", decimal(ratio(m.clone_operations, s.commits)), "of 256");
    row("bytes copied", bytes_text(m.bytes_cloned),
        bytes_text(s.bytes_of_full_clones) + " if every commit cloned everything, " +
            decimal(saved) + " times as much");
    row("searches", grouped(s.searches),
        per_second(s.searches, s.time) + " by " + counted(s.readers, "reader", "readers"));
    row("search p50, p99", time_text(s.search_p50),
        time_text(s.search_p99) + ", while commits go on");
    row("versions retained", grouped(m.retained_versions),
        bytes_text(m.retained_bytes) + "; most at once " + grouped(s.most_retained_versions) +
            ", " + bytes_text(s.most_retained_bytes));
    row("checks", grouped(s.commit_checks + s.search_checks),
        counted(s.commit_checks, "version", "versions") + " equal " + s.truth + ", " +
            counted(s.search_checks, "search", "searches") + " equal a plain scan");
    std::fflush(stdout);
}

Progress::Progress(std::optional<std::uint64_t> all_commits)
    : terminal_(isatty(STDOUT_FILENO) != 0), all_commits_(all_commits) {
    next_ = terminal_ ? start_ : start_ + std::chrono::seconds(2);
}

Progress::~Progress() {
    if (terminal_) std::fputs("\r\033[K", stdout);
    std::fflush(stdout);
}

void Progress::show(std::uint64_t commits, std::uint64_t changes, std::uint64_t searches,
                    std::uint64_t checks) {
    const Clock::time_point now = Clock::now();
    if (now < next_) return;
    next_ = now + (terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(2000));
    const std::chrono::duration<double> time = now - start_;
    const std::string of_all = all_commits_ ? " of " + grouped(*all_commits_) : std::string();
    std::printf("%s%5.1f s: %s%s commits, %s files; %s searches, %s; %s checks%s",
                terminal_ ? "\r" : "", time.count(), grouped(commits).c_str(), of_all.c_str(),
                grouped(changes).c_str(), grouped(searches).c_str(),
                per_second(searches, time).c_str(), grouped(checks).c_str(),
                terminal_ ? "\033[K" : "\n");
    std::fflush(stdout);
}

} // namespace code_search
