// A store-load barrier that costs the frequent side nothing and the rare side a system call.
//
// Readers store a slot and then load the latest version; the reclaimer publishes a version and then
// loads the slots. Each must see the other's store or be seen (Dekker). Both sides need a
// store-load barrier between their two accesses. Linux `membarrier` (private expedited) makes every
// running thread of the process pass through a full barrier, so the readers' side needs none but
// the promise that the compiler keeps the two accesses in order.
#pragma once

#include <atomic>

#if defined(__linux__) && !defined(COWINDEX_PORTABLE_PINS)
#include <sys/syscall.h>
#include <unistd.h>
#if defined(SYS_membarrier)
#define COWINDEX_HAS_MEMBARRIER 1
#endif
#endif

namespace cowindex::detail {

class AsymmetricFence {
  public:
    // Registers the process. Whether that worked is decided once for each index: an answer kept in
    // an inline global could differ between shared libraries.
    AsymmetricFence() noexcept {
#if defined(COWINDEX_HAS_MEMBARRIER)
        asymmetric_ = ::syscall(SYS_membarrier, register_private_expedited, 0U, 0) == 0;
#endif
    }

    // False: the readers' accesses must be seq_cst instead, and heavy() does nothing.
    [[nodiscard]] bool asymmetric() const noexcept { return asymmetric_; }

    // Reader side: the compiler must not swap the slot's store with the load that follows.
    static void light() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

    // Reclaimer side: when it returns true, every store that a reader made before a load which did
    // not see what this thread had published is visible to this thread. False: nothing may be
    // freed.
    [[nodiscard]] bool heavy() const noexcept {
#if defined(COWINDEX_HAS_MEMBARRIER)
        if (asymmetric_) return ::syscall(SYS_membarrier, private_expedited, 0U, 0) == 0;
#endif
        return true;
    }

  private:
    // From the kernel's user interface, named here so that old headers will do.
    static constexpr int private_expedited = 1 << 3;
    static constexpr int register_private_expedited = 1 << 4;

    bool asymmetric_ = false;
};

} // namespace cowindex::detail
