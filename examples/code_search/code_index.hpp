#pragma once

#include "source.hpp"
#include "text_shard.hpp"

#include <cowindex/cowindex.hpp>

#include <cstddef>
#include <string_view>
#include <vector>

namespace code_search {

using CodeIndex = cowindex::CowIndex<TextShard>;

constexpr std::size_t shard_count = 256;

/// The shard that holds a path.
cowindex::ShardId shard_of(std::string_view path);

/// Makes the changes of one commit visible together, as one version. Only shards that hold a
/// changed path are cloned; their ids are returned.
std::vector<cowindex::ShardId> apply(CodeIndex& index, const Commit& commit);

/// The files of one version, a `View` or a `Snapshot`, that contain the query.
template <class Version>
Hits search(const Version& version, const Query& query) {
    Hits hits;
    for (const TextShard& shard : version) shard.search(query, hits);
    return hits;
}

/// The same files in the same order, found without the trigrams.
template <class Version>
Hits scan(const Version& version, const Query& query) {
    Hits hits;
    for (const TextShard& shard : version) shard.scan(query.text(), hits);
    return hits;
}

} // namespace code_search
