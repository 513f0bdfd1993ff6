#pragma once

#include "prices.hpp"

#include <cowindex/cowindex.hpp>

#include <functional>
#include <mutex>

#if defined(MIGRATION_LIBURCU)
#define _LGPL_SOURCE
#include <urcu.h>
#endif

namespace migration::rcu {

#if defined(MIGRATION_LIBURCU)
// [before]
// Every thread that reads: rcu_register_thread() at its start, rcu_unregister_thread() at its end.
class Before {
  public:
    ~Before() { delete prices_; }
    void change(const Prices& changes) {
        const std::lock_guard lock(mutex_); // one writer at a time
        auto* next = new Prices(*prices_);
        for (const auto& [item, price] : changes) (*next)[item] = price;
        const Prices* old = rcu_xchg_pointer(&prices_, next);
        synchronize_rcu(); // waits for all readers
        delete old;
    }
    int sum(const Items& items) const {
        rcu_read_lock();
        const Prices* prices = rcu_dereference(prices_);
        int sum = 0;
        for (const auto& item : items) sum += prices->at(item);
        rcu_read_unlock(); // and on no account forgotten where at() throws
        return sum;
    }

  private:
    std::mutex mutex_;
    const Prices* prices_ = new Prices;
};
// [/before]
#endif

// [after]
// Every thread that reads: a Reader of its own.
class After {
  public:
    using Index = cowindex::CowIndex<Prices>;

    void change(const Prices& changes) { // waits for no reader
        index_.update([&](auto& writer) {
            for (const auto& [item, price] : changes) writer.edit(shard_of(item))[item] = price;
        });
    }
    Index::Reader reader() const { return index_.reader(); }

    static int sum(Index::Reader& reader, const Items& items) {
        const auto view = reader.pin(); // ends with the scope
        int sum = 0;
        for (const auto& item : items) sum += view[shard_of(item)].at(item);
        return sum;
    }

  private:
    static cowindex::ShardId shard_of(const std::string& item) {
        return std::hash<std::string>{}(item) % 64;
    }
    Index index_{64};
};
// [/after]

} // namespace migration::rcu
