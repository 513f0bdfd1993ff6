#include <cowindex/stream.hpp>

#include <cowindex/detail/metric_fields.hpp>

#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <limits>
#include <locale>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <cowindex/cowindex.hpp>

#include <support/catch.hpp>
#include <support/values_in_words.hpp>

using cowindex::CowMetrics;
using cowindex::MemoryStats;
using namespace std::chrono_literals;

namespace {

template <class Record>
std::string text_of(const Record& record) {
    std::ostringstream out;
    out << record;
    return out.str();
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

struct Grouping : std::numpunct<char> {
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
};

} // namespace

TEST_CASE("memory is written in aligned lines") {
    MemoryStats stats;
    stats.live_bytes = 999;
    stats.retained_bytes = 1000;
    stats.reclaimable_bytes = 1536;
    stats.spine_bytes = 102'400;
    stats.pooled_bytes = std::size_t{5} << 20;
    stats.uncommitted_bytes = 0;
    stats.peak_bytes = (std::size_t{3} << 30) + (std::size_t{256} << 20);
    REQUIRE(text_of(stats) == "live_bytes                     999 B\n"
                              "retained_bytes                0.97 KiB\n"
                              "reclaimable_bytes             1.50 KiB\n"
                              "spine_bytes                    100 KiB\n"
                              "pooled_bytes                  5.00 MiB\n"
                              "uncommitted_bytes                0 B\n"
                              "peak_bytes                    3.25 GiB\n"
                              "total_bytes                   5.00 MiB\n");
}

TEST_CASE("metrics are written in aligned lines") {
    CowMetrics::Values values;
    values.active_readers = 3;
    values.commits = 1'234'567;
    values.memory_usage_bytes = 4096;
    values.clone_time_samples = 2;
    values.clone_time_total = 61s;
    values.average_clone_time = 999ns;
    values.clone_time_p50 = 1000ns;
    values.clone_time_p99 = 12'345'678ns;
    values.clone_time_max = 1h;
    const std::vector<std::string> lines = lines_of(text_of(values));
    const std::set<std::string> all(lines.begin(), lines.end());
    for (const char* line :
         {"active_readers                   3", "commits                    1234567",
          "memory_usage_bytes            4.00 KiB", "clone_time_samples               2",
          "clone_time_total              61.0 s", "average_clone_time             999 ns",
          "clone_time_min                   0 ns", "clone_time_p50                1.00 us",
          "clone_time_p99                12.3 ms", "clone_time_max                3600 s"}) {
        INFO(line);
        REQUIRE(all.count(line) == 1);
    }
}

TEST_CASE("no field is left out, none is written twice") {
    // Below 1000 nothing is rounded.
    const auto values = test::record_of_words<CowMetrics::Values>(100);
    const std::vector<std::string> lines = lines_of(text_of(values));
    REQUIRE(lines.size() == test::words<CowMetrics::Values>);
    for (const std::string& line : lines) {
        INFO(line);
        REQUIRE(line.size() >= 34); // where all numbers end
        REQUIRE(std::isdigit(static_cast<unsigned char>(line[33])) != 0);
        REQUIRE((line.size() == 34 || line[34] == ' '));
    }
    for (std::size_t i = 0; i < lines.size(); ++i)
        REQUIRE_THAT(lines[i], test::contains_text(" " + std::to_string(100 + i)));

    const auto stats = test::record_of_words<MemoryStats>(100);
    REQUIRE(lines_of(text_of(stats)).size() == test::words<MemoryStats> + 1);
    for (std::size_t i = 0; i < test::words<MemoryStats>; ++i)
        REQUIRE_THAT(lines_of(text_of(stats))[i],
                     test::contains_text(" " + std::to_string(100 + i) + " B"));
}

TEST_CASE("the largest numbers are written right") {
    MemoryStats stats;
    stats.live_bytes = std::numeric_limits<std::size_t>::max();
    if (sizeof(std::size_t) == 8) REQUIRE_THAT(text_of(stats), test::contains_text(" 15.9 EiB"));
    CowMetrics::Values values;
    values.commits = std::numeric_limits<std::uint64_t>::max();
    values.commit_time_max = std::chrono::nanoseconds::max();
    REQUIRE_THAT(text_of(values), test::contains_text("18446744073709551615\n"));
    REQUIRE_THAT(text_of(values), test::contains_text(" 9223372036 s\n"));
    values.commit_time_max = std::chrono::nanoseconds::min(); // no such duration is ever recorded
    REQUIRE_THAT(text_of(values), !test::contains_text("9223372036"));
}

TEST_CASE("the state of the stream changes nothing, and is not changed") {
    CowMetrics::Values values;
    values.commits = 1'234'567;
    std::ostringstream out;
    out.imbue(std::locale(std::locale::classic(), new Grouping));
    out << std::hex << std::showbase << std::setprecision(1) << values;
    REQUIRE(out.str() == text_of(values));
    out.str("");
    out << 255;
    REQUIRE(out.str() == "0xff");
}

TEST_CASE("what an index says can be written as it is") {
    cowindex::CowIndex<int> index(10, 0);
    index.replace(1, 1);
    std::ostringstream out;
    out << index.metrics() << index.memory_usage();
    REQUIRE_THAT(out.str(), test::contains_text("commits                          1\n"));
    REQUIRE_THAT(out.str(), test::contains_text("total_bytes "));
}
