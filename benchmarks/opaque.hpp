// Values that the compiler can say nothing about, and values that it has to have.
//
// benchmark::DoNotOptimize() takes a value in a register or in memory, as the compiler likes: where
// the value is an element of something, its address will do, and nothing is read. Or it sends the
// value through memory, which costs as much as a read.
#pragma once

#include <benchmark/benchmark.h>

namespace benchmarks {

// `value` may be anything from here on, for the compiler.
template <class T>
void make_opaque(T& value) {
#if defined(__GNUC__)
    asm volatile("" : "+r"(value));
#else
    benchmark::DoNotOptimize(value);
#endif
}

// `value` is read.
template <class T>
void consume(T value) {
#if defined(__GNUC__)
    asm volatile("" : : "r"(value) : "memory");
#else
    benchmark::DoNotOptimize(value);
#endif
}

} // namespace benchmarks
