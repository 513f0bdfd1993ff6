// What is expensive to make is made once: Google Benchmark calls a benchmark several times to find
// out how many iterations it needs, and again for every repetition.
#pragma once

#include <cstddef>
#include <memory>

#if defined(__unix__)
#include <unistd.h>
#endif

namespace benchmarks {

// The one object that is kept, and what tells whether it is the one that is asked for.
struct Kept {
    std::shared_ptr<void> object;
    const void* type = nullptr;
    std::size_t key = 0;

    static Kept& only() {
        static Kept kept;
        return kept;
    }
};

// Returns `make()`, a std::shared_ptr<T>, or what it returned for the same T and key if nothing
// else was asked for since then. What was kept is freed first.
template <class T, class Make>
T& keep(std::size_t key, Make make) {
    static const char type = 0;
    Kept& kept = Kept::only();
    if (kept.object == nullptr || kept.type != &type || kept.key != key) {
        kept.object.reset();
        kept.object = make();
        kept.type = &type;
        kept.key = key;
    }
    return *static_cast<T*>(kept.object.get());
}

// Whether so much may be allocated here: not more than a third of what is free.
inline bool fits_into_memory(std::size_t bytes) {
#if defined(_SC_AVPHYS_PAGES) && defined(_SC_PAGESIZE)
    const long pages = ::sysconf(_SC_AVPHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
        return 3 * bytes < static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
#endif
    return bytes < (std::size_t{1} << 30);
}

} // namespace benchmarks
