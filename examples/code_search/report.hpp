#pragma once

#include <cowindex/cowindex.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace code_search {

/// What the table at the end says.
struct Summary {
    std::string title;
    std::string truth;
    std::string end;
    std::chrono::duration<double> time{};
    std::uint64_t commits = 0;
    std::uint64_t changes = 0;
    std::uint64_t bytes_of_full_clones = 0;
    std::uint64_t files = 0;
    std::uint64_t text_bytes = 0;
    std::uint64_t readers = 0;
    std::uint64_t searches = 0;
    std::chrono::nanoseconds search_p50{};
    std::chrono::nanoseconds search_p99{};
    std::uint64_t commit_checks = 0;
    std::uint64_t search_checks = 0;
    cowindex::CowMetrics::Values metrics;
    std::uint64_t most_retained_versions = 0;
    std::uint64_t most_retained_bytes = 0;
};

/// Writes the table to the standard output.
void print_table(const Summary& summary);

/// A line that says how far a run is: rewritten on a terminal, elsewhere written now and then.
class Progress {
  public:
    explicit Progress(std::optional<std::uint64_t> all_commits);

    /// Removes the line.
    ~Progress();

    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void show(std::uint64_t commits, std::uint64_t changes, std::uint64_t searches,
              std::uint64_t checks);

  private:
    using Clock = std::chrono::steady_clock;

    bool terminal_;
    std::optional<std::uint64_t> all_commits_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point next_;
};

/// "1,234,567".
std::string grouped(std::uint64_t number);

/// "1.2 MB"; powers of 1000.
std::string bytes_text(std::uint64_t bytes);

/// "1.2 us".
std::string time_text(std::chrono::nanoseconds time);

} // namespace code_search
