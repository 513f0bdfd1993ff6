#pragma once

#include "prices.hpp"

#include <cowindex/cowindex.hpp>

#include <atomic>
#include <functional>
#include <memory>

namespace migration::atomic_shared_ptr {

#if defined(__cpp_lib_atomic_shared_ptr)
// [before]
class Before {
  public:
    void change(const Prices& changes) {
        auto old = prices_.load();
        std::shared_ptr<const Prices> next;
        do {
            auto copy = std::make_shared<Prices>(*old); // all of it
            for (const auto& [item, price] : changes) (*copy)[item] = price;
            next = std::move(copy);
        } while (!prices_.compare_exchange_weak(old, next));
    }
    std::shared_ptr<const Prices> prices() const { return prices_.load(); }

  private:
    std::atomic<std::shared_ptr<const Prices>> prices_{std::make_shared<const Prices>()};
};
// [/before]
#endif

// [after]
class After {
  public:
    using Index = cowindex::CowIndex<Prices>;

    void change(const Prices& changes) {
        index_.update([&](auto& writer) {
            for (const auto& [item, price] : changes) writer.edit(shard_of(item))[item] = price;
        });
    }
    Index::Snapshot prices() const { return index_.snapshot(); } // where one was kept
    Index::Reader reader() const { return index_.reader(); }     // where one was loaded and dropped

    static cowindex::ShardId shard_of(const std::string& item) {
        return std::hash<std::string>{}(item) % 64;
    }

  private:
    Index index_{64};
};
// [/after]

} // namespace migration::atomic_shared_ptr
