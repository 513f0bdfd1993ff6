#pragma once

#include "words.hpp"

#include <cowindex/cowindex.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace vector_search {

using Number = std::uint32_t; ///< of a vector, counted from the first one inserted

/// Some vectors with consecutive numbers. At most 64, so that a change copies 16 KiB at most.
struct VectorShard {
    static constexpr std::size_t capacity = 64;

    Number first = 0;
    std::vector<Vector> vectors;

    std::size_t memory_usage() const { return vectors.capacity() * sizeof(Vector); }
};

using Index = cowindex::CowIndex<VectorShard>;

/// Inserts a vector: into the last shard, or into a new one if that is full. For one thread.
class Inserter {
  public:
    explicit Inserter(const Index& index) : index_(index) {}

    // [insert]
    void insert(const Vector& vector) {
        if (count_ % VectorShard::capacity == 0)
            last_ = index_.append({count_, {vector}});
        else
            index_.edit(last_, [&](VectorShard& shard) { shard.vectors.push_back(vector); });
        ++count_;
    }
    // [/insert]

  private:
    Index index_;
    cowindex::ShardId last_ = 0;
    Number count_ = 0;
};

using Neighbour = std::pair<float, Number>; ///< the square of the distance, and whose it is

// [search]
/// The `wanted` vectors nearest to `query` of all of `version`, a `View` or a `Snapshot`, nearest
/// first. Exact: it looks at each vector.
template <class Version>
std::vector<Neighbour> nearest(const Version& version, const Vector& query, std::size_t wanted) {
    std::vector<Neighbour> best; // a heap, the farthest on top
    for (const VectorShard& shard : version) {
        for (std::size_t i = 0; i < shard.vectors.size(); ++i) {
            const Neighbour candidate(distance(shard.vectors[i], query),
                                      shard.first + static_cast<Number>(i));
            if (best.size() == wanted) {
                if (!(candidate < best.front())) continue;
                std::pop_heap(best.begin(), best.end());
                best.pop_back();
            }
            best.push_back(candidate);
            std::push_heap(best.begin(), best.end());
        }
    }
    std::sort_heap(best.begin(), best.end());
    return best;
}
// [/search]

} // namespace vector_search
