// A handle that is const hands out reading only.
#include <cowindex/cowindex.hpp>

int main() {
    const cowindex::CowIndex<int> index(2);
    static_cast<void>(index.snapshot());
    static_cast<void>(index.reader().pin());
#ifdef MUST_NOT_COMPILE
    index.replace(0, 1);
#endif
}
