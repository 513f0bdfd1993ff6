/// A thread to which the kernel refuses `membarrier`, as old kernels and containers do.
#pragma once

#include <exception>
#include <thread>

#if defined(__linux__)
#include <cerrno>
#include <cstddef>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

namespace test {

/// Effect: the calling thread, and it alone, is refused from now on. *Returns* whether that could
/// be arranged.
inline bool refuse_membarrier() {
#if defined(__linux__) && defined(SYS_membarrier)
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter{4, program};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
#else
    return false;
#endif
}

/// Runs `fn` on such a thread while the caller waits, and throws what it throws. *Returns* false
/// where there is no such thread; `fn` was not run then.
template <class Fn>
bool without_membarrier(Fn&& fn) {
    bool refused = false;
    std::exception_ptr thrown;
    std::thread([&] {
        refused = refuse_membarrier();
        if (!refused) return;
        try {
            fn();
        } catch (...) {
            thrown = std::current_exception();
        }
    }).join();
    if (thrown) std::rethrow_exception(thrown);
    return refused;
}

} // namespace test
