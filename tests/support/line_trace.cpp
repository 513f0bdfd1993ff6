#include "support/line_trace.hpp"

#if defined(COWINDEX_TEST_LINE_TRACE)

#include <cstdlib>
#include <new>
#include <stdexcept>

#include <csignal>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

namespace {

constexpr std::size_t watched_bytes = std::size_t{256} << 20;
constexpr std::size_t page_bytes = 4096;
constexpr std::size_t line_bytes = 64;

std::byte* memory() {
    static auto* const mapped =
        static_cast<std::byte*>(::mmap(nullptr, watched_bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    return mapped;
}
// Only this much is ever protected.
std::size_t used = 0;
int watchers = 0;

bool is_watched(const void* address) {
    const auto* byte = static_cast<const std::byte*>(address);
    return used != 0 && byte >= memory() && byte < memory() + watched_bytes;
}

void protect(int how) {
    const std::size_t pages = (used + page_bytes - 1) / page_bytes;
    ::mprotect(memory(), pages * page_bytes, how);
}

struct Access {
    std::size_t offset;
    bool is_write;
};
constexpr std::size_t most_accesses = 65536;
Access accesses[most_accesses];
std::size_t access_count = 0;
// The pages that the instruction in progress has been given, as often as it asked: each to be read
// and to be written, and it may reach over the end of one.
constexpr std::size_t most_opened = 16;
std::size_t opened[most_opened];
std::size_t opened_count = 0;
struct sigaction former_segv;
struct sigaction former_trap;

constexpr long trap_flag = 1L << 8;
constexpr long fault_is_write = 1L << 1;

// An access to watched memory: noted, and allowed for one instruction. An instruction that reads
// one place and writes another comes here twice.
void on_fault(int, siginfo_t* info, void* opaque) {
    auto* context = static_cast<ucontext_t*>(opaque);
    if (!is_watched(info->si_addr) || access_count == most_accesses ||
        opened_count == most_opened) {
        ::sigaction(SIGSEGV, &former_segv, nullptr); // somebody else's, or too many: it will recur
        protect(PROT_READ | PROT_WRITE);
        return;
    }
    auto* byte = static_cast<std::byte*>(info->si_addr);
    const bool is_write = (context->uc_mcontext.gregs[REG_ERR] & fault_is_write) != 0;
    const auto offset = static_cast<std::size_t>(byte - memory());
    accesses[access_count++] = {offset, is_write};
    opened[opened_count++] = offset / page_bytes;
    ::mprotect(memory() + offset / page_bytes * page_bytes, page_bytes,
               is_write ? PROT_READ | PROT_WRITE : PROT_READ);
    context->uc_mcontext.gregs[REG_EFL] |= trap_flag;
}

void on_step(int, siginfo_t*, void* opaque) {
    auto* context = static_cast<ucontext_t*>(opaque);
    context->uc_mcontext.gregs[REG_EFL] &= ~trap_flag;
    for (; opened_count > 0; --opened_count)
        ::mprotect(memory() + opened[opened_count - 1] * page_bytes, page_bytes, PROT_NONE);
}

void* allocate(std::size_t size, std::size_t alignment) {
    if (size == 0) size = 1;
    void* place = nullptr;
    if (watchers > 0) {
        const std::size_t start = (used + alignment - 1) & ~(alignment - 1);
        if (start + size <= watched_bytes) {
            used = start + size;
            place = memory() + start;
        }
    } else {
        place = std::aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
    }
    if (place == nullptr) throw std::bad_alloc();
    return place;
}

void release(void* place) noexcept {
    if (!is_watched(place)) std::free(place);
}

constexpr std::size_t usual_alignment = alignof(std::max_align_t);

} // namespace

void* operator new(std::size_t size) { return allocate(size, usual_alignment); }
void* operator new[](std::size_t size) { return allocate(size, usual_alignment); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* place) noexcept { release(place); }
void operator delete[](void* place) noexcept { release(place); }
void operator delete(void* place, std::size_t) noexcept { release(place); }
void operator delete[](void* place, std::size_t) noexcept { release(place); }
void operator delete(void* place, std::align_val_t) noexcept { release(place); }
void operator delete[](void* place, std::align_val_t) noexcept { release(place); }
void operator delete(void* place, std::size_t, std::align_val_t) noexcept { release(place); }
void operator delete[](void* place, std::size_t, std::align_val_t) noexcept { release(place); }

namespace test {

std::set<Line> LineTrace::touched() const {
    std::set<Line> lines;
    for (const auto& [line, count] : reads) lines.insert(line);
    for (const auto& [line, count] : writes) lines.insert(line);
    return lines;
}

std::size_t LineTrace::writes_to(const std::set<Line>& lines) const {
    std::size_t sum = 0;
    for (const auto& [line, count] : writes)
        if (lines.count(line) != 0) sum += count;
    return sum;
}

std::size_t LineTrace::lines_written_of(const std::set<Line>& lines) const {
    std::size_t sum = 0;
    for (const auto& [line, count] : writes) sum += lines.count(line);
    return sum;
}

WatchedMemory::WatchedMemory() { ++watchers; }
WatchedMemory::~WatchedMemory() { --watchers; }

LineTrace trace_lines(void (*run)(void*), void* function) {
    access_count = 0;
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = on_fault;
    ::sigaction(SIGSEGV, &action, &former_segv);
    action.sa_sigaction = on_step;
    ::sigaction(SIGTRAP, &action, &former_trap);
    protect(PROT_NONE);
    run(function);
    protect(PROT_READ | PROT_WRITE);
    ::sigaction(SIGTRAP, &former_trap, nullptr);
    ::sigaction(SIGSEGV, &former_segv, nullptr);

    if (access_count == most_accesses) throw std::length_error("too much was accessed to be noted");
    LineTrace trace;
    for (std::size_t i = 0; i < access_count; ++i) {
        auto& counts = accesses[i].is_write ? trace.writes : trace.reads;
        ++counts[accesses[i].offset / line_bytes];
    }
    return trace;
}

} // namespace test

#endif
