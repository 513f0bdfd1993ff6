// A compiler that is told to use an older language says what to do, before anything else.
#include <cowindex/cowindex.hpp>

int main() { cowindex::CowIndex<int> index(2); }
