#include "text_shard.hpp"

#include <string.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <utility>

namespace code_search {

namespace {

constexpr std::uint64_t posting(Trigram trigram, std::uint32_t slot) {
    return std::uint64_t{trigram} << 32 | slot;
}

constexpr std::uint32_t slot_of(std::uint64_t posting) {
    return static_cast<std::uint32_t>(posting);
}

constexpr Trigram trigram_of(std::uint64_t posting) { return static_cast<Trigram>(posting >> 32); }

/// Several times as fast as `std::string::find`, which the plain scan uses and so checks it.
bool contains(const std::string& text, const std::string& part) {
    return memmem(text.data(), text.size(), part.data(), part.size()) != nullptr;
}

} // namespace

std::vector<Trigram> trigrams_of(std::string_view text) {
    // A bit for each possible trigram: much faster than sorting all that occur.
    static thread_local std::vector<std::uint64_t> seen((std::size_t{1} << 24) / 64);
    std::vector<Trigram> distinct;
    Trigram trigram = 0;
    for (std::size_t index = 0; index < text.size(); ++index) {
        trigram = (trigram << 8 | static_cast<unsigned char>(text[index])) & 0xff'ffff;
        if (index < 2) continue;
        std::uint64_t& word = seen[trigram / 64];
        const std::uint64_t bit = std::uint64_t{1} << trigram % 64;
        if ((word & bit) == 0) {
            word |= bit;
            distinct.push_back(trigram);
        }
    }
    for (const Trigram each : distinct) seen[each / 64] = 0;
    return distinct;
}

Change put_file(std::string path, std::string id, std::string contents) {
    auto file = std::make_shared<File>();
    file->path = path;
    file->id = std::move(id);
    Change change{std::move(path), nullptr, {}};
    if (contents.find('\0') == std::string::npos) {
        file->searchable = true;
        file->text = std::move(contents);
        change.trigrams = trigrams_of(file->text);
    }
    change.file = std::move(file);
    return change;
}

Query::Query(std::string_view text) : text_(text), trigrams_(trigrams_of(text)) {
    if (trigrams_.size() > max_trigrams) trigrams_.resize(max_trigrams);
}

void TextShard::remove(const std::vector<const Change*>& changes) {
    bool removed = false;
    for (const Change* change : changes) {
        const auto found = slots_.find(change->path);
        if (found == slots_.end()) continue;
        const Slot slot = found->second;
        slots_.erase(found); // before the file, which owns the key
        files_[slot].reset();
        removed = true;
    }
    if (!removed) return;
    const auto of_removed = [&](Posting each) { return files_[slot_of(each)] == nullptr; };
    postings_.erase(std::remove_if(postings_.begin(), postings_.end(), of_removed),
                    postings_.end());
}

void TextShard::apply(const std::vector<const Change*>& changes) {
    remove(changes);
    std::vector<Posting> added;
    Slot slot = 0;
    for (const Change* change : changes) {
        if (!change->file) continue;
        while (slot < files_.size() && files_[slot]) ++slot;
        if (slot == files_.size()) files_.emplace_back();
        files_[slot] = change->file;
        slots_.emplace(change->file->path, slot);
        for (const Trigram trigram : change->trigrams) added.push_back(posting(trigram, slot));
    }
    std::sort(added.begin(), added.end());
    std::vector<Posting> merged;
    merged.reserve(postings_.size() + added.size());
    std::merge(postings_.begin(), postings_.end(), added.begin(), added.end(),
               std::back_inserter(merged));
    postings_ = std::move(merged);
}

void TextShard::search(const Query& query, Hits& hits) const {
    if (query.trigrams().empty()) return scan(query.text(), hits); // shorter than a trigram

    std::array<std::span<const Posting>, Query::max_trigrams> lists;
    std::size_t count = 0;
    for (const Trigram trigram : query.trigrams()) {
        const auto first =
            std::lower_bound(postings_.begin(), postings_.end(), posting(trigram, 0));
        const auto most = std::min<std::ptrdiff_t>(std::ssize(files_), postings_.end() - first);
        const auto last = std::lower_bound(first, first + most, posting(trigram + 1, 0));
        if (first == last) return;
        lists[count++] = {first, last};
    }
    const auto end = lists.begin() + static_cast<std::ptrdiff_t>(count);
    const auto shorter = [](const auto& left, const auto& right) {
        return left.size() < right.size();
    };
    std::iter_swap(lists.begin(), std::min_element(lists.begin(), end, shorter));

    for (const Posting each : lists.front()) {
        const Slot slot = slot_of(each);
        const bool in_all = std::all_of(lists.begin() + 1, end, [slot](const auto& list) {
            const Posting wanted = posting(trigram_of(list.front()), slot);
            return std::binary_search(list.begin(), list.end(), wanted);
        });
        const File* file = files_[slot].get();
        if (in_all && contains(file->text, query.text())) hits.push_back(file);
    }
}

void TextShard::scan(std::string_view text, Hits& hits) const {
    for (const auto& file : files_) {
        if (file && file->searchable && file->text.find(text) != std::string::npos) {
            hits.push_back(file.get());
        }
    }
}

std::size_t TextShard::memory_usage() const {
    constexpr std::size_t map_node = sizeof(decltype(slots_)::value_type) + 4 * sizeof(void*);
    return files_.capacity() * sizeof(files_[0]) + slots_.size() * map_node +
           postings_.capacity() * sizeof(Posting);
}

} // namespace code_search
