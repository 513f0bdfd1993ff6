/// The data of the soak: accounts of mixed sizes, and what must be so in each version of them.
///
/// Ids below `accounts` are never erased. Money moves between an account and its partner alone, so
/// the two always have the sum 0, however many versions there are; a stripe of a thousand accounts
/// always begins a new era together. Ids from `accounts` on come and go, and are empty of money.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cowindex/cowindex.hpp>

#include <support/scheduler.hpp>

#include "ledger.hpp"

namespace soak {

using cowindex::ShardId;
using cowindex::Version;
using test::Random;
using test::Trouble;

class Account {
  public:
    Account() : Account(0) {}
    /// With memory of its own, of so many words.
    explicit Account(std::size_t words) { resize(words); }
    Account(const Account& other)
        : balance_(other.balance_), era_(other.era_), filling_(other.filling_),
          words_(other.words_) {
        Trouble::expect(other.alive_ == alive, "a freed shard is copied");
    }
    Account& operator=(const Account&) = delete;
    ~Account() {
        Trouble::expect(alive_ == alive, "a shard is destroyed twice");
        Trouble::expect(!test::reading, "a reading thread destroys a shard");
        alive_ = 0;
        --alive_count_;
    }

    void enter(std::int64_t amount) { balance_ += amount; }
    void begin(std::uint64_t era) { era_ = era; }
    void resize(std::size_t words) {
        ++filling_;
        words_ = Words(words, filling_);
    }

    [[nodiscard]] std::int64_t balance() const { return balance_; }
    [[nodiscard]] std::uint64_t era() const { return era_; }
    /// What the index takes for this account's own memory.
    [[nodiscard]] std::size_t memory_usage() const {
        return words_.capacity() * sizeof(std::uint64_t);
    }
    void check() const {
        const bool whole =
            words_.empty() || (words_.front() == filling_ && words_.back() == filling_ &&
                               words_[words_.size() / 2] == filling_);
        Trouble::expect(alive_ == alive && whole, "a freed shard is read");
    }

    static std::uint64_t alive_count() noexcept { return alive_count_.load(); }

  private:
    using Words = std::vector<std::uint64_t, test::StoreAllocator<std::uint64_t>>;
    static constexpr std::uint64_t alive = 0x5AFE5AFE5AFE5AFEU;
    static inline std::atomic<std::uint64_t> alive_count_{0};

    volatile std::uint64_t alive_ = (++alive_count_, alive);
    std::int64_t balance_ = 0;
    std::uint64_t era_ = 0;
    std::uint64_t filling_ = 0;
    Words words_;
};

struct Policy : cowindex::DefaultPolicy<Account> {
    static constexpr std::chrono::nanoseconds idle_read_time{0}; // slots come and go
    using Allocator = test::StoreAllocator<std::byte>;
};
using Index = cowindex::CowIndex<Account, Policy>;

constexpr ShardId accounts = 20'000;
constexpr ShardId stripe = 1'000;

inline ShardId partner_of(ShardId id) { return (id + accounts / 2) % accounts; }

/// Most shards are small, some take kilobytes.
inline std::size_t some_words(Random& random) {
    const std::uint64_t kind = random.below(100);
    return kind < 40 ? 0 : kind < 80 ? random.below(16) : kind < 98 ? random.below(128) : 512;
}

/// As a user of the index would read: look at two accounts that are far apart.
template <class Reading>
void check_pair(const Reading& version, ShardId id) {
    const Account& one = version[id];
    const Account& other = version[partner_of(id)];
    one.check();
    other.check();
    Trouble::expect(one.balance() + other.balance() == 0, "half of a transfer is visible");
}

/// Returns the era that the stripe of `id` is in.
template <class Reading>
std::uint64_t check_stripe(const Reading& version, ShardId id) {
    const ShardId first = id / stripe * stripe;
    const std::uint64_t era = version[first].era();
    ShardId next = first;
    for (const auto range = version.range(first, first + stripe); const Account& account : range) {
        account.check();
        Trouble::expect(account.era() == era, "half of a batch is visible");
        ++next;
    }
    Trouble::expect(next == first + stripe, "an account is missing");
    return era;
}

template <class Reading>
void check_all(const Reading& version) {
    std::int64_t sum = 0;
    ShardId seen = 0;
    for (const auto item : version.items()) {
        item.shard.check();
        sum += item.shard.balance();
        if (item.id < accounts)
            ++seen;
        else
            Trouble::expect(item.shard.balance() == 0, "an account that comes and goes has money");
    }
    Trouble::expect(sum == 0, "the sum of the bank has moved");
    Trouble::expect(seen == accounts, "an account is missing");
    for (ShardId first = 0; first < accounts; first += stripe)
        static_cast<void>(check_stripe(version, first));
}

} // namespace soak
