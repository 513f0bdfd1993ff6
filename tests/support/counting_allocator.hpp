/// An allocator that knows what it has handed out and can be told to refuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace test {

/// What the allocators that share it have handed out.
struct AllocationAccount {
    std::size_t live_bytes = 0;
    std::size_t live_objects = 0;
    std::uint64_t allocations = 0;
    std::uint64_t refuse_from = ~std::uint64_t{0}; ///< the number of the first to be refused
    std::uint64_t refuse_until = ~std::uint64_t{0};
    bool misaligned = false;
    bool mismatched = false; ///< more was returned than is out
};

/// Default-made ones share one account, others the one they are given.
template <class T>
class CountingAllocator {
  public:
    using value_type = T;

    CountingAllocator() noexcept : account_(&common()) {}
    explicit CountingAllocator(AllocationAccount& account) noexcept : account_(&account) {}
    template <class U>
    CountingAllocator(const CountingAllocator<U>& other) noexcept : account_(&other.account()) {}

    [[nodiscard]] T* allocate(std::size_t n) {
        const std::uint64_t number = account_->allocations++;
        if (number >= account_->refuse_from && number < account_->refuse_until)
            throw std::bad_alloc();
        T* memory = std::allocator<T>().allocate(n);
        account_->live_bytes += n * sizeof(T);
        ++account_->live_objects;
        if (reinterpret_cast<std::uintptr_t>(memory) % alignof(T) != 0) account_->misaligned = true;
        return memory;
    }

    void deallocate(T* memory, std::size_t n) noexcept {
        if (account_->live_bytes < n * sizeof(T) || account_->live_objects == 0)
            account_->mismatched = true;
        account_->live_bytes -= n * sizeof(T);
        --account_->live_objects;
        std::allocator<T>().deallocate(memory, n);
    }

    [[nodiscard]] AllocationAccount& account() const noexcept { return *account_; }

    static AllocationAccount& common() noexcept {
        static AllocationAccount account;
        return account;
    }

    template <class U>
    bool operator==(const CountingAllocator<U>& other) const noexcept {
        return account_ == &other.account();
    }

  private:
    AllocationAccount* account_;
};

} // namespace test
