#include "code_index.hpp"

#include <functional>
#include <map>

namespace code_search {

cowindex::ShardId shard_of(std::string_view path) {
    return std::hash<std::string_view>{}(path) % shard_count;
}

std::vector<cowindex::ShardId> apply(CodeIndex& index, const Commit& commit) {
    std::map<cowindex::ShardId, std::vector<const Change*>> by_shard;
    for (const Change& change : commit.changes) by_shard[shard_of(change.path)].push_back(&change);

    index.update([&](auto& writer) {
        for (const auto& [shard, changes] : by_shard) writer.edit(shard).apply(changes);
    });

    std::vector<cowindex::ShardId> touched;
    for (const auto& [shard, changes] : by_shard) touched.push_back(shard);
    return touched;
}

} // namespace code_search
