// Full-text search that grows by appending segments and merges small ones in the background, as
// Lucene does: one thread adds and deletes documents, one merges, two search.
//
//   segment_index [<text file>]
//
// Each line of the file is a document; by default it is a part of CowIndex's own documentation.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "segment.hpp"

namespace {

using namespace segment_index;

constexpr std::size_t batch = 4;         // documents that are added together
constexpr std::size_t fan_in = 4;        // segments that are merged into one
constexpr std::size_t deleted_every = 7; // of each seven documents one is deleted
constexpr std::size_t age = 40;          // after so many further ones

std::vector<std::string> lines_of(const std::string& file) {
    std::ifstream in(file);
    if (!in) throw std::runtime_error("'" + file + "' cannot be read");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
    return lines;
}

// The numbers of the documents that are there in one version, each with its text.
template <class Version>
std::vector<Document> documents_of(const Version& version) {
    std::vector<Document> documents;
    for (const SegmentShard& shard : version) {
        for (std::size_t place = 0; place < shard.size(); ++place) {
            if (!shard.deleted[place]) documents.push_back(shard.segment->documents[place]);
        }
    }
    std::sort(documents.begin(), documents.end(),
              [](const Document& a, const Document& b) { return a.number < b.number; });
    return documents;
}

// True if all documents below `end` are there once, but for deleted ones, and a search finds
// exactly those with the word. `end` grows to one past the last.
template <class Version>
bool finds_all(const Version& version, const std::string& word, Number& end) {
    std::vector<Number> expected;
    Number next = 0;
    for (const Document& document : documents_of(version)) {
        if (document.number < next) return false; // it is in two segments
        for (; next < document.number; ++next)
            if (next % deleted_every != 0) return false; // it is in none
        ++next;
        const std::vector<std::string> words = words_of(document.text);
        if (std::find(words.begin(), words.end(), word) != words.end())
            expected.push_back(document.number);
    }
    if (next < end) return false; // the last ones are missing
    end = next;
    std::vector<Number> found = search(version, word);
    std::sort(found.begin(), found.end());
    return found == expected;
}

// Returns how many were deleted.
std::size_t add_and_delete(Index index, const std::vector<std::string>& lines,
                           const std::atomic<std::uint64_t>& searches) {
    std::size_t deleted = 0;
    for (std::size_t first = 0; first < lines.size(); first += batch) {
        std::vector<Document> documents;
        for (std::size_t i = first; i < std::min(first + batch, lines.size()); ++i)
            documents.push_back({static_cast<Number>(i), lines[i]});
        index.append(make_segment(std::move(documents)));
        // Documents that may be in the middle of a merge.
        if (first < age) continue;
        for (std::size_t i = first - age; i < first - age + batch; ++i)
            if (i % deleted_every == 0 && erase(index, static_cast<Number>(i))) ++deleted;
        // The index shall be searched at every size.
        for (const std::uint64_t before = searches; searches == before;) std::this_thread::yield();
    }
    return deleted;
}

int run(const std::string& file) {
    const std::vector<std::string> lines = lines_of(file);
    Index index;
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> searches{0};
    std::atomic<std::uint64_t> wrong{0};

    std::thread merger([&] {
        while (!done || merge_once(index, fan_in))
            if (!merge_once(index, fan_in)) std::this_thread::yield();
    });
    std::vector<std::thread> searchers;
    for (const char* word : {"version", "the"}) {
        searchers.emplace_back([&, word, reader = index.reader(word)]() mutable {
            Number end = 0;
            do {
                if (!finds_all(reader.pin(), word, end)) ++wrong;
                ++searches;
            } while (!done);
        });
    }
    const std::size_t deleted = add_and_delete(index, lines, searches);
    done = true;
    merger.join();
    for (std::thread& searcher : searchers) searcher.join();

    const auto now = index.snapshot();
    Number end = 0;
    if (!finds_all(now, "snapshot", end)) ++wrong;
    const bool complete = documents_of(now).size() + deleted == lines.size();
    std::cout << lines.size() << " lines added, " << deleted << " deleted, all others are "
              << (complete ? "there" : "NOT THERE") << ", in " << now.size() << " segments\n"
              << wrong << " searches were wrong; the last finds 'snapshot' in "
              << search(now, "snapshot").size() << " lines\n";
    std::cerr << searches << " searches, " << index.metrics().conflicts
              << " merges refused or deletions done again\n";
    return wrong == 0 && complete ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    if (argc > 2) {
        std::cerr << "usage: segment_index [<text file>]\n";
        return 2;
    }
    try {
        return run(argc == 2 ? argv[1] : SEGMENT_INDEX_TEXT);
    } catch (const std::exception& error) {
        std::cerr << "segment_index: " << error.what() << '\n';
        return 1;
    }
}
