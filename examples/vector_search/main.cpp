// Nearest neighbours among vectors while vectors are inserted: finds words that are spelled like a
// given one, exactly, by looking at all vectors of one version.
//
//   vector_search [<text file> [<word>...]]
//
// The words come from the file, by default a part of CowIndex's own documentation.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "vector_shard.hpp"
#include "words.hpp"

namespace {

using namespace vector_search;

constexpr std::size_t wanted = 3;

// The same answer by other means: sort all of the first `count` vectors by their distance.
std::vector<Neighbour> nearest_of_all(const std::vector<Vector>& vectors, std::size_t count,
                                      const Vector& query) {
    std::vector<Neighbour> all;
    for (std::size_t i = 0; i < count; ++i)
        all.emplace_back(distance(vectors[i], query), static_cast<Number>(i));
    std::sort(all.begin(), all.end());
    all.resize(std::min(all.size(), wanted));
    return all;
}

// How many vectors there are in one version. They were inserted one by one, so they must be the
// first so many.
template <class Version>
std::size_t count_of(const Version& version) {
    std::size_t count = 0;
    for (const VectorShard& shard : version) count += shard.vectors.size();
    return count;
}

int run(const std::string& file, std::vector<std::string> queries) {
    const std::vector<std::string> words = read_words(file);
    if (queries.empty()) queries = {"comitt", "snapshoot", "reeder"};
    std::vector<Vector> vectors;
    for (const std::string& word : words) vectors.push_back(vector_of(word));

    Index index;
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> searches{0};
    std::atomic<std::uint64_t> wrong{0};
    std::vector<std::thread> searchers;
    for (std::size_t i = 0; i < 2; ++i) {
        searchers.emplace_back([&, i, reader = index.reader("search")]() mutable {
            const Vector query = vector_of(queries[i % queries.size()]);
            do {
                const auto view = reader.pin();
                if (nearest(view, query, wanted) != nearest_of_all(vectors, count_of(view), query))
                    ++wrong;
                ++searches;
            } while (!done);
        });
    }
    Inserter inserter(index);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
        inserter.insert(vectors[i]);
        // The index shall be searched at every size, also if this thread is the faster one.
        if (i % 16 != 0) continue;
        for (const std::uint64_t before = searches; searches == before;) std::this_thread::yield();
    }
    done = true;
    for (std::thread& searcher : searchers) searcher.join();

    const auto now = index.snapshot();
    if (count_of(now) != words.size()) ++wrong;
    for (const std::string& query : queries) {
        std::cout << query << ':';
        for (const auto& [square, number] : nearest(now, vector_of(query), wanted))
            std::cout << ' ' << words[number];
        std::cout << '\n';
    }
    std::cout << count_of(now) << " vectors in " << now.size() << " shards; " << wrong
              << " searches were wrong\n";
    std::cerr << searches << " searches while vectors were inserted\n";
    return wrong == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (arguments.empty()) return run(VECTOR_SEARCH_TEXT, {});
        return run(arguments[0], {arguments.begin() + 1, arguments.end()});
    } catch (const std::exception& error) {
        std::cerr << "vector_search: " << error.what() << '\n';
        return 1;
    }
}
