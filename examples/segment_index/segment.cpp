#include "segment.hpp"

#include <algorithm>
#include <utility>

namespace segment_index {

namespace {

// Segments of the same class differ in size by less than a factor of four.
int size_class(std::size_t documents) {
    int result = 0;
    for (; documents >= 4; documents /= 4) ++result;
    return result;
}

} // namespace

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words(1);
    for (const char c : text) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            words.back() += static_cast<char>(c | 0x20);
        else if (!words.back().empty())
            words.emplace_back();
    }
    if (words.back().empty()) words.pop_back();
    return words;
}

SegmentShard make_segment(std::vector<Document> documents) {
    Segment segment;
    segment.documents = std::move(documents);
    for (std::uint32_t place = 0; place < segment.documents.size(); ++place) {
        for (const std::string& word : words_of(segment.documents[place].text)) {
            std::vector<std::uint32_t>& places = segment.places[word];
            if (places.empty() || places.back() != place) places.push_back(place);
        }
    }
    const std::size_t size = segment.documents.size();
    return {std::make_shared<const Segment>(std::move(segment)), std::vector<bool>(size)};
}

bool erase(Index& index, Number number) {
    bool found = false;
    index.update([&](Index::Writer& writer) {
        found = false; // this function may run more than once
        for (const auto& [id, shard] : writer.items()) {
            const auto& documents = shard.segment->documents;
            const auto at = std::lower_bound(
                documents.begin(), documents.end(), number,
                [](const Document& document, Number wanted) { return document.number < wanted; });
            if (at == documents.end() || at->number != number) continue;
            const auto place = static_cast<std::size_t>(at - documents.begin());
            if (shard.deleted[place]) return;
            writer.edit(id).deleted[place] = true;
            found = true;
            return; // the edit has ended this loop's iterators
        }
    });
    return found;
}

// [merge]
bool merge_once(Index& index, std::size_t fan_in) {
    Index::Writer writer = index.writer("merge");
    std::map<int, std::vector<cowindex::ShardId>> classes;
    for (const auto& [id, shard] : writer.items()) classes[size_class(shard.size())].push_back(id);

    for (auto& [size, ids] : classes) {
        if (ids.size() < fan_in) continue;
        ids.resize(fan_in);
        std::vector<Document> documents;
        for (const cowindex::ShardId id : ids) {
            const SegmentShard& shard = writer[id];
            for (std::size_t place = 0; place < shard.size(); ++place) {
                if (!shard.deleted[place]) documents.push_back(shard.segment->documents[place]);
            }
            writer.erase(id);
        }
        std::sort(documents.begin(), documents.end(),
                  [](const Document& a, const Document& b) { return a.number < b.number; });
        writer.append(make_segment(std::move(documents))); // takes long; nobody waits for it
        return static_cast<bool>(writer.try_commit());
    }
    return false;
}
// [/merge]

} // namespace segment_index
