// Library version, and the two integers everything is named by.
#pragma once

// Said before anything else fails. MSVC tells its language in a macro of its own.
#if __cplusplus <= 201703L && !(defined(_MSVC_LANG) && _MSVC_LANG > 201703L)
#error "CowIndex needs C++20: compile with -std=c++20 (MSVC: /std:c++20) or later"
#endif

#include <cstdint>

#define COWINDEX_VERSION_MAJOR 0
#define COWINDEX_VERSION_MINOR 1
#define COWINDEX_VERSION_PATCH 0

// For `#if COWINDEX_VERSION >= 100` and the like: major * 10000 + minor * 100 + patch.
#define COWINDEX_VERSION \
    (COWINDEX_VERSION_MAJOR * 10000 + COWINDEX_VERSION_MINOR * 100 + COWINDEX_VERSION_PATCH)

// Marks members whose result refers into `*this`, so that Clang warns about dangling references.
#if defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::lifetimebound)
#define COWINDEX_LIFETIMEBOUND [[clang::lifetimebound]]
#endif
#endif
#ifndef COWINDEX_LIFETIMEBOUND
#define COWINDEX_LIFETIMEBOUND
#endif

// Keeps a path that is rarely taken out of the code of the one that is; and what is long out of its
// callers, whose own variables g++ 12 takes for uninitialised among so much code.
#if defined(__GNUC__)
#define COWINDEX_COLD [[gnu::cold, gnu::noinline]]
#define COWINDEX_LONG [[gnu::noinline]]
#else
#define COWINDEX_COLD
#define COWINDEX_LONG
#endif

// Where more than speed of a call hangs on it. What only fetches memory ahead, g++ 12 takes for a
// function without effect, and leaves out each call that it has not inlined early. And an object
// whose address no call was given stays in registers: a reader, between its pins.
#if defined(__GNUC__)
#define COWINDEX_INLINE [[gnu::always_inline]]
#else
#define COWINDEX_INLINE
#endif

namespace cowindex {

/// Names a shard within an index. Assigned in sequence, never reused by `append`.
using ShardId = std::uint64_t;

/// Numbers the published states of an index: dense, increasing by one with every commit.
using Version = std::uint64_t;

} // namespace cowindex
