// A shard is an object type that can be written to.
#include <cowindex/cowindex.hpp>

#ifdef MUST_NOT_COMPILE
using Shard = const int;
#else
using Shard = int;
#endif

int main() { cowindex::CowIndex<Shard> index; }
