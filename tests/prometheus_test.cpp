#include <cowindex/prometheus.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <locale>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include <support/catch.hpp>
#include <support/values_in_words.hpp>

using cowindex::CowMetrics;
using cowindex::PrometheusLabel;
using cowindex::PrometheusSource;
using namespace std::chrono_literals;

namespace {

std::string page_of(const CowMetrics::Values& values, std::vector<PrometheusLabel> labels = {}) {
    std::ostringstream out;
    write_prometheus(out, values, std::move(labels));
    return out.str();
}

// The samples, by name with labels.
std::map<std::string, std::string> samples_of(const std::string& page) {
    std::map<std::string, std::string> samples;
    std::istringstream in(page);
    for (std::string line; std::getline(in, line);) {
        if (line.rfind("# ", 0) == 0) continue;
        const std::size_t space = line.rfind(' ');
        REQUIRE(space != std::string::npos);
        REQUIRE(samples.emplace(line.substr(0, space), line.substr(space + 1)).second);
    }
    return samples;
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

struct Grouping : std::numpunct<char> {
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
};

std::string several_indexes() {
    cowindex::CowIndex<int> routes(100, 0);
    for (cowindex::ShardId id = 0; id < 50; ++id) routes.edit(id, [](int& shard) { ++shard; });
    const cowindex::CowIndex<int> idle;
    std::ostringstream out;
    const std::vector<PrometheusSource> sources{
        {routes.metrics(), {{"index", "routes"}, {"path", "C:\\data \"new\"\nline"}}},
        {idle.metrics(), {{"index", "idle"}}}};
    cowindex::write_prometheus(out, sources);
    return out.str();
}

#if defined(__unix__)
// What promtool says about a page by its exit status: 0 if it has nothing to say.
int promtool(const std::string& page) {
    std::FILE* pipe = ::popen("promtool check metrics", "w");
    REQUIRE(pipe != nullptr);
    REQUIRE(std::fwrite(page.data(), 1, page.size(), pipe) == page.size());
    return ::pclose(pipe);
}
#endif

} // namespace

TEST_CASE("counters, gauges and durations are written in base units") {
    CowMetrics::Values values;
    values.active_readers = 3;
    values.bytes_cloned = 4096;
    values.commits = 1'234'567;
    values.clone_time_samples = 2;
    values.clone_time_total = 2'500'000'000ns;
    values.clone_time_min = 7ns;
    values.clone_time_p50 = 1ms;
    values.clone_time_p99 = 1s;
    values.clone_time_max = 61s;
    const std::string page = page_of(values);
    const auto samples = samples_of(page);
    REQUIRE(samples.at("cowindex_active_readers") == "3");
    REQUIRE(samples.at("cowindex_cloned_bytes_total") == "4096");
    REQUIRE(samples.at("cowindex_commits_total") == "1234567");
    REQUIRE(samples.at("cowindex_clone_time_seconds{quantile=\"0\"}") == "0.000000007");
    REQUIRE(samples.at("cowindex_clone_time_seconds{quantile=\"0.5\"}") == "0.001000000");
    REQUIRE(samples.at("cowindex_clone_time_seconds{quantile=\"0.99\"}") == "1.000000000");
    REQUIRE(samples.at("cowindex_clone_time_seconds{quantile=\"1\"}") == "61.000000000");
    REQUIRE(samples.at("cowindex_clone_time_seconds_sum") == "2.500000000");
    REQUIRE(samples.at("cowindex_clone_time_seconds_count") == "2");
    // Nothing was sampled: no number would be true.
    REQUIRE(samples.at("cowindex_commit_time_seconds{quantile=\"0.5\"}") == "NaN");
    REQUIRE(samples.at("cowindex_commit_time_seconds_sum") == "0.000000000");
    REQUIRE(samples.at("cowindex_commit_time_seconds_count") == "0");
    REQUIRE_THAT(page, test::contains_text("# HELP cowindex_commits_total Versions published.\n"
                                           "# TYPE cowindex_commits_total counter\n"
                                           "cowindex_commits_total 1234567\n"));
    REQUIRE_THAT(page, test::contains_text("# TYPE cowindex_active_readers gauge\n"));
    REQUIRE_THAT(page, test::contains_text("# TYPE cowindex_clone_time_seconds summary\n"));
}

TEST_CASE("a duration below zero is written as none") {
    CowMetrics::Values values;
    values.commit_time_total = std::chrono::nanoseconds(-5);
    REQUIRE(samples_of(page_of(values)).at("cowindex_commit_time_seconds_sum") == "0.000000000");
}

TEST_CASE("every sample has a type and a help text, and a name by the rules") {
    const std::string page = page_of(CowMetrics::Values());
    std::map<std::string, std::string> types;
    std::set<std::string> helped;
    std::istringstream in(page);
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string first, what, name, rest;
        words >> first >> what >> name >> rest;
        if (first == "#" && what == "HELP") REQUIRE(helped.insert(name).second);
        if (first == "#" && what == "TYPE") REQUIRE(types.emplace(name, rest).second);
        if (first == "#") continue;
        name = first.substr(0, first.find('{'));
        for (const char* suffix : {"_sum", "_count"})
            if (ends_with(name, suffix)) name.resize(name.size() - std::string(suffix).size());
        INFO(line);
        REQUIRE(types.count(name) == 1);
        REQUIRE(helped.count(name) == 1);
    }
    REQUIRE(types.size() == 17);
    for (const auto& [name, type] : types) {
        INFO(name << " " << type);
        REQUIRE(ends_with(name, "_total") == (type == "counter"));
        REQUIRE(ends_with(name, "_seconds") == (type == "summary"));
        REQUIRE_FALSE(ends_with(name, "_count"));
        REQUIRE(name.rfind("cowindex_", 0) == 0);
    }
}

TEST_CASE("no field but the averages is left out") {
    // Averages follow from sums and counts.
    const auto values = test::record_of_words<CowMetrics::Values>(100);
    std::set<std::string> numbers;
    for (const auto& [name, number] : samples_of(page_of(values))) numbers.insert(number);
    std::size_t missing = 0;
    for (std::size_t i = 0; i < test::words<CowMetrics::Values>; ++i) {
        const std::string number = std::to_string(100 + i);
        if (numbers.count(number) == 0 && numbers.count("0.000000" + number) == 0) ++missing;
    }
    REQUIRE(missing == 2);
}

TEST_CASE("labels are on every sample, their values escaped") {
    const auto samples = samples_of(
        page_of(CowMetrics::Values(), {{"index", "a\\b\"c\nd"}, {"zone_1", "\xc3\xa9"}}));
    const std::string labels = "index=\"a\\\\b\\\"c\\nd\",zone_1=\"\xc3\xa9\"";
    REQUIRE(samples.count("cowindex_commits_total{" + labels + "}") == 1);
    REQUIRE(samples.count("cowindex_clone_time_seconds{" + labels + ",quantile=\"0.5\"}") == 1);
    REQUIRE(samples.count("cowindex_clone_time_seconds_sum{" + labels + "}") == 1);
    for (const auto& [name, number] : samples) REQUIRE_THAT(name, test::contains_text(labels));
}

TEST_CASE("a label that the format does not allow is named, and nothing is written") {
    for (const char* name : {"", "1st", "my-index", "__name__", "quantile", "\xc3\xa9", "a b",
                             "a:b", "a{", "a[", "{a", "[a"}) {
        std::ostringstream out;
        INFO(name);
        REQUIRE_THROWS_AS(write_prometheus(out, CowMetrics::Values(), {{name, "x"}}),
                          std::invalid_argument);
        REQUIRE(out.str().empty());
    }
    REQUIRE_THROWS_WITH(page_of(CowMetrics::Values(), {{"my-index", "x"}}),
                        test::contains_text("'my-index'"));
    for (const char* name : {"_a1", "azAZ_09", "Zone"})
        REQUIRE_FALSE(page_of(CowMetrics::Values(), {{name, "x"}}).empty());
    REQUIRE_FALSE(page_of(CowMetrics::Values(), {{"_a1", "x"}}).empty());
    // The first and last of each kind of character, and their neighbours.
    for (const char c : std::string("azAZ09_"))
        REQUIRE_FALSE(page_of(CowMetrics::Values(), {{std::string("n") + c, "x"}}).empty());
    for (const char c : std::string("`{@[/:^"))
        REQUIRE_THROWS_AS(page_of(CowMetrics::Values(), {{std::string("n") + c, "x"}}),
                          std::invalid_argument);
}

TEST_CASE("a label that is given twice is named, and nothing is written") {
    std::ostringstream out;
    REQUIRE_THROWS_WITH(
        write_prometheus(out, CowMetrics::Values(), {{"zone", "1"}, {"index", "a"}, {"zone", "2"}}),
        test::contains_text("'zone'"));
    REQUIRE(out.str().empty());
}

TEST_CASE("several indexes share one description of each metric") {
    const std::string page = several_indexes();
    const std::string description = "# TYPE cowindex_commits_total ";
    REQUIRE(page.find(description) == page.rfind(description));
    const auto samples = samples_of(page);
    REQUIRE(samples.at("cowindex_commits_total{index=\"idle\"}") == "0");
    REQUIRE(samples.at("cowindex_commits_total{index=\"routes\",path=\"C:\\\\data \\\"new\\\"\\n"
                       "line\"}") == "50");
}

TEST_CASE("the stream's locale changes nothing") {
    CowMetrics::Values values;
    values.commits = 1'234'567;
    std::ostringstream out;
    out.imbue(std::locale(std::locale::classic(), new Grouping));
    out << std::hex;
    write_prometheus(out, values);
    REQUIRE(out.str() == page_of(values));
}

#if defined(__unix__)
// Run by a test of its own, which shows as skipped where the program is missing.
TEST_CASE("promtool finds nothing to complain about", "[.promtool]") {
    if (std::system("command -v promtool >/dev/null") != 0) {
        WARN("skipped: no promtool");
        return;
    }
    REQUIRE(promtool(page_of(CowMetrics::Values())) == 0);
    const std::string page = several_indexes();
    REQUIRE(promtool(page) == 0);
    // Would it complain at all?
    REQUIRE(promtool(page + page) != 0);
    REQUIRE(promtool("# TYPE cowindex_commits counter\ncowindex_commits 1\n") != 0);
}
#endif
