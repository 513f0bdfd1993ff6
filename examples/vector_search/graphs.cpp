// The search of main.cpp with shards of another kind: graphs of hnswlib, which answer fast and
// almost exactly. Such a graph cannot be copied cheaply, so it is built apart and appended whole;
// two threads build while a third searches.
//
//   vector_search_graphs [<text file>]

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

#include <hnswlib/hnswlib.h>

#include "words.hpp"

namespace {

using namespace vector_search;

using Graph = hnswlib::HierarchicalNSW<float>;
using Neighbour = std::pair<float, hnswlib::labeltype>;

// Can be moved, not copied: it may be appended, replaced and erased, but edit() does not compile.
struct GraphShard {
    std::unique_ptr<const Graph> graph;
    std::size_t memory_usage() const {
        return graph->max_elements_ * graph->size_data_per_element_;
    }
};

using Index = cowindex::CowIndex<GraphShard>;

constexpr std::size_t vectors_in_graph = 128;
constexpr std::size_t wanted = 10;

// Graphs point to it, so it must live longer than they do.
hnswlib::L2Space space(std::tuple_size_v<Vector>);

GraphShard make_graph(const std::vector<Vector>& vectors, std::size_t first) {
    const std::size_t last = std::min(first + vectors_in_graph, vectors.size());
    auto graph = std::make_unique<Graph>(&space, last - first);
    for (std::size_t i = first; i < last; ++i) graph->addPoint(vectors[i].data(), i);
    return {std::move(graph)};
}

template <class Version>
std::vector<Neighbour> nearest(const Version& version, const Vector& query) {
    std::vector<Neighbour> best;
    for (const GraphShard& shard : version) {
        for (auto found = shard.graph->searchKnn(query.data(), wanted); !found.empty(); found.pop())
            best.push_back(found.top());
    }
    std::sort(best.begin(), best.end());
    best.resize(std::min(best.size(), wanted));
    return best;
}

// The share of the true neighbours that the graphs find, over all vectors as queries.
template <class Version>
double recall(const Version& version, const std::vector<Vector>& vectors) {
    std::size_t found = 0;
    for (const Vector& query : vectors) {
        std::vector<float> distances;
        for (const Vector& vector : vectors) distances.push_back(distance(vector, query));
        std::nth_element(distances.begin(), distances.begin() + (wanted - 1), distances.end());
        const float farthest = distances[wanted - 1] + 1e-5f;
        for (const Neighbour& neighbour : nearest(version, query))
            found += neighbour.first <= farthest ? 1u : 0u;
    }
    return static_cast<double>(found) / static_cast<double>(vectors.size() * wanted);
}

int run(const std::string& file) {
    std::vector<Vector> vectors;
    for (const std::string& word : read_words(file)) vectors.push_back(vector_of(word));
    if (vectors.size() < wanted) {
        std::cerr << "vector_search_graphs: " << file << " has too few words\n";
        return 2;
    }

    Index index;
    std::atomic<std::size_t> next{0};
    std::atomic<int> building{2};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            for (std::size_t graph = next++; graph * vectors_in_graph < vectors.size();
                 graph = next++)
                index.append(make_graph(vectors, graph * vectors_in_graph));
            --building;
        });
    }
    std::uint64_t searches = 0;
    for (auto reader = index.reader("search"); building > 0; ++searches)
        nearest(reader.pin(), vectors[searches % vectors.size()]);
    for (std::thread& thread : threads) thread.join();

    const double share = recall(index.snapshot(), vectors);
    std::cout << vectors.size() << " vectors in " << index.size()
              << " graphs; the nearest ones are " << (share > 0.95 ? "found" : "MISSED") << '\n';
    std::cerr << searches << " searches meanwhile, " << share << " of the neighbours found\n";
    return share > 0.95 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run(argc > 1 ? argv[1] : VECTOR_SEARCH_TEXT);
    } catch (const std::exception& error) {
        std::cerr << "vector_search_graphs: " << error.what() << '\n';
        return 1;
    }
}
