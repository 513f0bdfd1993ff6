/// What the copy of the headers calls where a mutant is built in: one program holds all mutants,
/// and the environment says which of them is on. Included before everything else.
///
///   COWINDEX_MUTANT    the number of the mutant that is on; none unless given
///   COWINDEX_REACHED   a file for the numbers of the mutants that the program came by
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <utility>

namespace cowindex_mutation {

inline int number_from(const char* text) { return text == nullptr ? 0 : std::atoi(text); }

inline const int active = number_from(std::getenv("COWINDEX_MUTANT"));
inline const char* const reached_path = std::getenv("COWINDEX_REACHED");

inline constexpr int most = 1 << 16;

struct Reached {
    ~Reached() {
        if (reached_path == nullptr) return;
        std::FILE* file = std::fopen(reached_path, "w");
        if (file == nullptr) return;
        for (int id = 0; id < most; ++id) {
            if (was[id]) std::fprintf(file, "%d\n", id);
        }
        std::fclose(file);
    }
    volatile bool was[most] = {};
};
inline Reached reached;

inline bool is_active(int id) noexcept {
    if (reached_path != nullptr) reached.was[id] = true;
    return id == active;
}

// What the compiler computes is never changed: those mutants are compiled one at a time.
constexpr bool on(int id) noexcept {
    if (std::is_constant_evaluated()) return false;
    return is_active(id);
}

constexpr int one(int id) noexcept { return on(id) ? 0 : 1; }

// The first of two mutants has the number `id`.
template <class L, class R>
constexpr bool equal(int id, const L& left, const R& right) {
    return on(id) ? left != right : left == right;
}
template <class L, class R>
constexpr bool differs(int id, const L& left, const R& right) {
    return on(id) ? left == right : left != right;
}
template <class L, class R>
constexpr bool less(int id, const L& left, const R& right) {
    return on(id) ? left <= right : on(id + 1) ? left >= right : left < right;
}
template <class L, class R>
constexpr bool less_equal(int id, const L& left, const R& right) {
    return on(id) ? left < right : on(id + 1) ? left > right : left <= right;
}
template <class L, class R>
constexpr bool greater(int id, const L& left, const R& right) {
    return on(id) ? left >= right : on(id + 1) ? left <= right : left > right;
}
template <class L, class R>
constexpr bool greater_equal(int id, const L& left, const R& right) {
    return on(id) ? left > right : on(id + 1) ? left < right : left >= right;
}

// With std::min and std::max they share how T is found.
template <class T>
constexpr T min(int id, const T& left, const T& right) {
    return on(id) ? std::max(left, right) : std::min(left, right);
}
template <class T>
constexpr T max(int id, const T& left, const T& right) {
    return on(id) ? std::min(left, right) : std::max(left, right);
}

// `Up{id}->*x` is `++x`, and binds as `++` does to what stands behind it.
struct Up {
    int id;
    template <class T>
    constexpr decltype(auto) operator->*(T&& value) const {
        using Result = decltype(++value);
        return on(id) ? static_cast<Result>(--value) : static_cast<Result>(++value);
    }
};
struct Down {
    int id;
    template <class T>
    constexpr decltype(auto) operator->*(T&& value) const {
        using Result = decltype(--value);
        return on(id) ? static_cast<Result>(++value) : static_cast<Result>(--value);
    }
};

} // namespace cowindex_mutation
