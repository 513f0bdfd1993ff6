#pragma once

#include <cowindex/cowindex.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace segment_index {

using Number = std::uint32_t; ///< of a document; counts up, never used again

struct Document {
    Number number = 0;
    std::string text;
};

/// Documents and, for each word, which of them have it. Never changed once made.
struct Segment {
    std::vector<Document> documents;                          ///< ascending by number
    std::map<std::string, std::vector<std::uint32_t>> places; ///< of a word in `documents`
};

/// A shard: a segment, shared by all versions of the shard, and which of its documents are deleted.
/// So a deletion copies some bits and a pointer, not the segment.
struct SegmentShard {
    std::shared_ptr<const Segment> segment;
    std::vector<bool> deleted;

    std::size_t size() const { return deleted.size(); }
    /// What a copy of this shard copies; CowIndex finds it by its name.
    std::size_t memory_usage() const { return deleted.capacity() / 8; }
};

using Index = cowindex::CowIndex<SegmentShard>;

/// A new segment of these documents, which come in ascending order.
SegmentShard make_segment(std::vector<Document> documents);

/// Deletes a document. Returns false if there is none with that number.
bool erase(Index& index, Number number);

/// Makes one segment of several small ones, without what is deleted, in one version: a search sees
/// all of the small ones or the large one. Returns false if there are fewer than `fan_in` segments
/// of one size class, or if a deletion came in between: then the merge would bring the document
/// back, so it was refused.
bool merge_once(Index& index, std::size_t fan_in);

/// The numbers of the documents that have the word, as of `version`, a `View` or a `Snapshot`.
template <class Version>
std::vector<Number> search(const Version& version, const std::string& word) {
    std::vector<Number> numbers;
    for (const SegmentShard& shard : version) {
        const auto found = shard.segment->places.find(word);
        if (found == shard.segment->places.end()) continue;
        for (const std::uint32_t place : found->second) {
            if (!shard.deleted[place]) numbers.push_back(shard.segment->documents[place].number);
        }
    }
    return numbers;
}

/// The words of a text: runs of letters, in lower case.
std::vector<std::string> words_of(std::string_view text);

} // namespace segment_index
