#include "other.hpp"

void add(Index& index, cowindex::ShardId id, int value) {
    index.update([&](auto& writer) { writer.edit(id).push_back(value); });
}

int sum(const Index& index) {
    int total = 0;
    auto reader = index.reader();
    const auto view = reader.pin();
    for (const auto& shard : view) {
        for (const int value : shard) {
            total += value;
        }
    }
    return total;
}
