// The two bounds of a policy must be in order.
#include <cowindex/cowindex.hpp>

struct Policy : cowindex::DefaultPolicy<int> {
    static constexpr std::size_t barrier_min_versions = 8;
#ifdef MUST_NOT_COMPILE
    static constexpr std::size_t barrier_max_versions = 7;
#else
    static constexpr std::size_t barrier_max_versions = 8;
#endif
};

int main() { cowindex::CowIndex<int, Policy> index(2); }
