/// Makes the k-th thing that may fail do so: allocations of every kind and calls of user code.
///
/// faults.cpp replaces the global operator new; a program that uses this links it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>

namespace test {

/// Thrown by user code that was told to fail.
struct Failure : std::exception {
    [[nodiscard]] const char* what() const noexcept override { return "a planted failure"; }
};

/// Counts the points at which something may fail. For programs of one thread.
struct Faults {
    static inline bool armed = false;
    static inline bool for_ever = false;
    static inline std::uint64_t points = 0;
    static inline std::uint64_t fail_at = 0;
    static inline std::uint64_t fired = 0;

    static inline std::uint64_t allocations = 0; ///< calls of operator new, armed or not
    static inline std::int64_t live_blocks = 0;

    static void arm(std::uint64_t k, bool and_for_ever) noexcept {
        points = fired = 0;
        fail_at = k;
        for_ever = and_for_ever;
        armed = true;
    }
    static void disarm() noexcept { armed = false; }

    /// *Returns* whether this point fails.
    static bool next() noexcept {
        if (!armed) return false;
        const std::uint64_t point = points++;
        if (point != fail_at && !(for_ever && point > fail_at)) return false;
        ++fired;
        return true;
    }

    /// A call of user code.
    static void call() {
        if (next()) throw Failure();
    }
};

} // namespace test
