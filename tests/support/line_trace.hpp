/// Which cache lines a piece of real code reads and writes, seen by the processor: the memory under
/// watch is taken away, each access to it faults, is noted and carried out in a single step. So
/// nothing has to be instrumented, and what the standard library does inside is seen, too.
///
/// line_trace.cpp replaces the global operator new; a program that uses this links it. For x86-64
/// Linux without sanitizers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <type_traits>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define COWINDEX_TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COWINDEX_TEST_SANITIZED 1
#endif
#if defined(__linux__) && defined(__x86_64__) && !defined(COWINDEX_TEST_SANITIZED)
#define COWINDEX_TEST_LINE_TRACE 1
#endif

namespace test {

using Line = std::size_t; ///< the number of a line of 64 bytes, from the start of watched memory

/// How often each line was accessed. An instruction that does both counts as a write.
struct LineTrace {
    std::map<Line, std::size_t> reads;
    std::map<Line, std::size_t> writes;

    [[nodiscard]] std::set<Line> touched() const;
    /// *Returns* the number of writes to those of `lines`.
    [[nodiscard]] std::size_t writes_to(const std::set<Line>& lines) const;
    /// *Returns* how many of `lines` were written.
    [[nodiscard]] std::size_t lines_written_of(const std::set<Line>& lines) const;
};

/// While one of these lives, operator new takes memory from under watch, and never gives it out
/// again.
class WatchedMemory {
  public:
    WatchedMemory();
    ~WatchedMemory();
    WatchedMemory(const WatchedMemory&) = delete;
    WatchedMemory& operator=(const WatchedMemory&) = delete;
};

/// *Returns* what `run(function)` accesses of the watched memory. No other thread may access it
/// meanwhile. Not more than 65536 accesses.
LineTrace trace_lines(void (*run)(void*), void* function);

template <class Fn>
LineTrace trace_lines(Fn fn) {
    return trace_lines([](void* function) { (*static_cast<Fn*>(function))(); }, &fn);
}

} // namespace test
