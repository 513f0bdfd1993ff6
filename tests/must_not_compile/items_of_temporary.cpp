// A loop over the items of a temporary would run when that is gone; one over the temporary does
// not.
#include <cowindex/cowindex.hpp>

int main() {
    cowindex::CowIndex<int> index(2);
    auto reader = index.reader();
    long sum = 0;
    for (const int& shard : index.snapshot()) sum += shard;
    for (const int& shard : reader.pin()) sum += shard;
    for (const int& shard : index.writer()) sum += shard;
    sum += index.snapshot()[1] + reader.pin().at(1) + *index.writer().find(1);

    const auto snapshot = index.snapshot();
    for (const auto& [id, shard] : snapshot.items()) sum += shard;
    for (const int& shard : snapshot.range(0, 1)) sum += shard;
    static_cast<void>(sum);
#ifdef MUST_NOT_COMPILE
    for (const auto& [id, shard] : index.snapshot().items()) sum += shard;
    for (const int& shard : reader.pin().range(0, 1)) sum += shard;
#endif
}
