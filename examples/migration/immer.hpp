#pragma once

#include <cowindex/cowindex.hpp>

#if defined(MIGRATION_IMMER)
#include <immer/atom.hpp>
#include <immer/vector.hpp>
#endif

#include <cstddef>
#include <map>

namespace migration::immer_vector {

#if defined(MIGRATION_IMMER)
// [before]
class Before {
  public:
    using Prices = immer::vector<int>;

    void append(int price) {
        prices_.update([&](const Prices& prices) { return prices.push_back(price); });
    }
    void change(const std::map<std::size_t, int>& changes) {
        prices_.update([&](Prices prices) {
            for (const auto& [item, price] : changes) prices = prices.set(item, price);
            return prices;
        });
    }
    immer::box<Prices> prices() const { return prices_.load(); }

  private:
    immer::atom<Prices> prices_;
};
// [/before]
#endif

// [after]
class After {
  public:
    using Index = cowindex::CowIndex<int>;

    void append(int price) { index_.append(price); }
    void change(const std::map<std::size_t, int>& changes) {
        index_.update([&](auto& writer) {
            for (const auto& [item, price] : changes) writer.edit(item) = price;
        });
    }
    Index::Snapshot prices() const { return index_.snapshot(); }

  private:
    Index index_; // one shard for each element; blocks of some hundred would be cheaper
};
// [/after]

} // namespace migration::immer_vector
