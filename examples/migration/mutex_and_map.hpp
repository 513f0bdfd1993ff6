#pragma once

#include "prices.hpp"

#include <cowindex/cowindex.hpp>

#include <cstddef>
#include <functional>
#include <mutex>
#include <shared_mutex>

namespace migration::mutex_and_map {

// [before]
class Before {
  public:
    void change(const Prices& changes) {
        const std::unique_lock lock(mutex_);
        for (const auto& [item, price] : changes) prices_[item] = price;
    }
    int sum(const Items& items) const {
        const std::shared_lock lock(mutex_);
        int sum = 0;
        for (const auto& item : items) sum += prices_.at(item);
        return sum;
    }

  private:
    mutable std::shared_mutex mutex_;
    Prices prices_;
};
// [/before]

// [after]
class After {
  public:
    void change(const Prices& changes) {
        index_.update([&](auto& writer) {
            for (const auto& [item, price] : changes) writer.edit(shard_of(item))[item] = price;
        });
    }
    int sum(const Items& items) const {
        return index_.read([&](const auto& view) {
            int sum = 0;
            for (const auto& item : items) sum += view[shard_of(item)].at(item);
            return sum;
        });
    }

  private:
    static constexpr std::size_t shards = 64;
    static cowindex::ShardId shard_of(const std::string& item) {
        return std::hash<std::string>{}(item) % shards;
    }
    cowindex::CowIndex<Prices> index_{shards};
};
// [/after]

} // namespace migration::mutex_and_map
