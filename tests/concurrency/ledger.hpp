/// What the tests with free-running threads share: a shard that knows whether it is alive and what
/// was done to it, allocators that make misuse show, and a place to report from any thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

namespace test {

using cowindex::ShardId;
using cowindex::Version;

/// The first thing that went wrong, in any thread.
class Trouble {
  public:
    static void expect(bool holds, const char* what) {
        const char* none = nullptr;
        if (!holds) first_.compare_exchange_strong(none, what);
    }
    static bool any() { return first_ != nullptr; }
    /// Returns it and forgets it.
    static std::string take() {
        const char* first = first_.exchange(nullptr);
        return first == nullptr ? "" : first;
    }

  private:
    static inline std::atomic<const char*> first_{nullptr};
};

/// The memory of the indexes under test.
class Store {
  public:
    enum class Mode : std::uint8_t {
        plain,      ///< as the heap does it, which sanitizers watch
        quarantine, ///< what is freed is filled, kept for long, and looked at again
        reuse,      ///< what is freed last is handed out first
    };
    static void use(Mode mode) { mode_ = mode; }
    static std::size_t in_use() noexcept { return in_use_.load(); }

    static void* allocate(std::size_t bytes, std::size_t alignment) {
        in_use_ += bytes;
        if (mode_ == Mode::reuse) {
            const std::lock_guard guard(mutex_);
            auto& kept = kept_[{bytes, alignment}];
            if (!kept.empty()) {
                void* block = kept.back();
                kept.pop_back();
                return block;
            }
        }
        return ::operator new(bytes, std::align_val_t(alignment));
    }
    static void deallocate(void* block, std::size_t bytes, std::size_t alignment) noexcept {
        in_use_ -= bytes;
        if (mode_ == Mode::plain) return ::operator delete(block, std::align_val_t(alignment));
        if (mode_ == Mode::quarantine) std::memset(block, filling, bytes);
        const std::lock_guard guard(mutex_);
        if (mode_ == Mode::reuse) {
            kept_[{bytes, alignment}].push_back(block);
            return;
        }
        quarantined_.push_back({block, bytes, alignment});
        if (quarantined_.size() > 10'000) release_oldest();
    }
    /// Gives back all that was kept. Precondition: nothing is in use.
    static void clear() {
        while (!quarantined_.empty()) release_oldest();
        for (auto& [kind, blocks] : kept_)
            for (void* block : blocks) ::operator delete(block, std::align_val_t(kind.second));
        kept_.clear();
    }

  private:
    struct Block {
        void* block;
        std::size_t bytes;
        std::size_t alignment;
    };
    static constexpr unsigned char filling = 0xEF;

    static void release_oldest() {
        const Block& oldest = quarantined_.front();
        const auto* bytes = static_cast<const unsigned char*>(oldest.block);
        Trouble::expect(std::all_of(bytes, bytes + oldest.bytes,
                                    [](unsigned char byte) { return byte == filling; }),
                        "freed memory was written to");
        ::operator delete(oldest.block, std::align_val_t(oldest.alignment));
        quarantined_.pop_front();
    }

    static inline Mode mode_ = Mode::plain;
    static inline std::atomic<std::size_t> in_use_{0};
    static inline std::mutex mutex_;
    static inline std::deque<Block> quarantined_;
    static inline std::map<std::pair<std::size_t, std::size_t>, std::vector<void*>> kept_;
};

template <class T>
struct StoreAllocator {
    using value_type = T;
    StoreAllocator() = default;
    template <class U>
    StoreAllocator(const StoreAllocator<U>&) noexcept {}
    T* allocate(std::size_t n) {
        return static_cast<T*>(Store::allocate(n * sizeof(T), alignof(T)));
    }
    void deallocate(T* block, std::size_t n) noexcept {
        Store::deallocate(block, n * sizeof(T), alignof(T));
    }
    friend bool operator==(const StoreAllocator&, const StoreAllocator&) noexcept { return true; }
};

/// Set while a thread reads or lets go of what it read: no destructor of a shard may run then.
inline thread_local bool reading = false;

class Reading {
  public:
    Reading() : before_(std::exchange(reading, true)) {}
    ~Reading() { reading = before_; }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

  private:
    bool before_;
};

/// A balance, and the list of the entries that led to it.
class Ledger {
  public:
    static constexpr std::size_t kept = 8; // of the entries, the latest; the digest has all

    Ledger() : Ledger(0) {}
    explicit Ledger(std::int64_t balance) : balance_(balance) { ++alive_count_; }
    Ledger(const Ledger& other)
        : balance_(other.balance_), count_(other.count_), chain_(other.chain_),
          entries_(other.entries_) {
        Trouble::expect(other.alive_ == alive, "a freed shard is copied");
        ++alive_count_;
    }
    Ledger& operator=(const Ledger&) = delete;
    ~Ledger() {
        Trouble::expect(alive_ == alive, "a shard is destroyed twice");
        Trouble::expect(!reading, "a reading thread destroys a shard");
        alive_ = 0;
        --alive_count_;
    }

    void enter(std::uint64_t token, std::int64_t amount) {
        balance_ += amount;
        entries_[count_++ % kept] = token;
        chain_ = mix(chain_ ^ mix(token ^ static_cast<std::uint64_t>(amount)));
    }
    [[nodiscard]] std::int64_t balance() const { return balance_; }
    /// Depends on everything that ever happened to this ledger.
    [[nodiscard]] std::uint64_t digest() const {
        Trouble::expect(alive_ == alive, "a freed shard is read");
        std::uint64_t result = mix(chain_ + static_cast<std::uint64_t>(balance_)) + count_;
        for (const std::uint64_t token : entries_) result = mix(result ^ token);
        return result;
    }

    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    static std::uint64_t alive_count() noexcept { return alive_count_.load(); }

  private:
    static constexpr std::uint64_t alive = 0x5AFE5AFE5AFE5AFEU;
    static inline std::atomic<std::uint64_t> alive_count_{0};

    volatile std::uint64_t alive_ = alive;
    std::int64_t balance_;
    std::uint64_t count_ = 0;
    std::uint64_t chain_ = 0;
    std::array<std::uint64_t, kept> entries_{};
};

struct LedgerPolicy : cowindex::DefaultPolicy<Ledger> {
    using Allocator = StoreAllocator<std::byte>;
    static Ledger clone(const Ledger& ledger) {
        ++clones;
        return Ledger(ledger);
    }
    static inline std::atomic<std::uint64_t> clones{0};
};

using LedgerIndex = cowindex::CowIndex<Ledger, LedgerPolicy>;

/// The digest of all that a version holds, order and ids included.
template <class Version>
std::uint64_t digest_of(const Version& version) {
    std::uint64_t digest = 0;
    for (auto it = version.begin(); it != version.end(); ++it)
        digest = Ledger::mix(digest ^ (it.id() + 1)) ^ it->digest();
    return digest;
}

/// Nobody holds anything of `index` but `index`: what it says about itself must be so. It is the
/// only one with such shards, and all memory of `Store` is its own. Returns what is not so; empty:
/// all is well.
template <class Shard, class Policy>
std::string unrest(cowindex::CowIndex<Shard, Policy>& index) {
    static_cast<void>(index.reclaim());
    const auto memory = index.memory_usage();
    const auto metrics = index.metrics();
    std::string found;
    const auto equal = [&](const char* what, std::uint64_t is, std::uint64_t expected) {
        if (is != expected)
            found += std::string(what) + " is " + std::to_string(is) + ", not " +
                     std::to_string(expected) + "; ";
    };
    equal("retained_bytes", memory.retained_bytes, 0);
    equal("reclaimable_bytes", memory.reclaimable_bytes, 0);
    equal("uncommitted_bytes", memory.uncommitted_bytes, 0);
    equal("the sum of the accounts", memory.total_bytes(), Store::in_use());
    equal("active_readers", metrics.active_readers, 0);
    equal("active_readers()", index.active_readers(), 0);
    equal("pending_writers", metrics.pending_writers, 0);
    equal("retained_versions", metrics.retained_versions, 0);
    equal("versions held", index.pins().size(), 0);
    equal("living shards", Shard::alive_count(), index.size());
    equal("commits", metrics.commits, index.version());
    return found;
}

} // namespace test
