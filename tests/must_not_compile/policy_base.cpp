// A policy derives from the default one.
#include <cowindex/cowindex.hpp>

#ifdef MUST_NOT_COMPILE
struct Policy {};
#else
struct Policy : cowindex::DefaultPolicy<int> {};
#endif

int main() { cowindex::CowIndex<int, Policy> index(2); }
