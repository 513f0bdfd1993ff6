#include "searchers.hpp"

#include "printable.hpp"

#include <chrono>
#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace code_search {

namespace {

using View = cowindex::View<TextShard>;

constexpr std::size_t shortest = 3;
constexpr std::size_t longest = 12;

std::size_t below(std::size_t bound, std::minstd_rand& random) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
}

/// Draws a piece of some line of some file. Empty if none turned up, as in an empty index.
std::string_view draw_text(const View& view, std::minstd_rand& random) {
    for (int attempt = 0; attempt < 1000; ++attempt) {
        const TextShard& shard = view[below(view.size(), random)];
        if (shard.empty()) continue;
        const auto& file = shard.files()[below(shard.files().size(), random)];
        if (!file || file->text.size() < shortest) continue;
        const std::string_view text = file->text;
        const std::size_t start = text.find_first_not_of(" \t\r\n", below(text.size(), random));
        if (start == std::string_view::npos) continue;
        std::string_view line =
            text.substr(start, shortest + below(longest - shortest + 1, random));
        line = line.substr(0, line.find('\n'));
        if (line.size() >= shortest) return line;
    }
    return {};
}

void compare_with_scan(const View& view, const Query& query, const Hits& hits) {
    const Hits expected = scan(view, query);
    if (hits == expected && !hits.empty()) return;
    throw Mismatch("version " + std::to_string(view.version()) + ": a search for '" +
                   printable(query.text()) + "' found " + std::to_string(hits.size()) +
                   " files, a plain scan of the same version " + std::to_string(expected.size()));
}

} // namespace

Searchers::Searchers(CodeIndex index, std::uint64_t threads, std::uint64_t scan_every,
                     RunState& state)
    : index_(std::move(index)), scan_every_(scan_every) {
    for (unsigned seed = 1; seed <= threads; ++seed) {
        Tally& tally = *tallies_.emplace_back(std::make_unique<Tally>());
        threads_.push_back(state.start([this, &tally, seed] { work(tally, seed); }));
    }
}

Searchers::~Searchers() { finish(); }

void Searchers::work(Tally& tally, unsigned seed) {
    auto reader = index_.reader("searcher " + std::to_string(seed));
    Random random(seed);
    for (bool last = false; !last;) {
        last = finishing_;
        const bool check = last || tally.searches % scan_every_ == 0;
        if (!search_once(reader.pin(), check, random, tally)) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
}

bool Searchers::search_once(const View& view, bool check, Random& random, Tally& tally) {
    const std::string_view text = draw_text(view, random);
    if (text.empty()) return false;
    const auto start = std::chrono::steady_clock::now();
    const Query query(text);
    const Hits hits = search(view, query);
    tally.latencies.add(std::chrono::steady_clock::now() - start);
    ++tally.searches;
    if (check) {
        compare_with_scan(view, query, hits);
        ++tally.checks;
    }
    return true;
}

void Searchers::finish() {
    finishing_ = true;
    for (std::thread& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

std::uint64_t Searchers::searches() const {
    std::uint64_t sum = 0;
    for (const auto& tally : tallies_) sum += tally->searches;
    return sum;
}

std::uint64_t Searchers::checks() const {
    std::uint64_t sum = 0;
    for (const auto& tally : tallies_) sum += tally->checks;
    return sum;
}

LatencyHistogram Searchers::latencies() const {
    LatencyHistogram all;
    for (const auto& tally : tallies_) all.add(tally->latencies);
    return all;
}

} // namespace code_search
