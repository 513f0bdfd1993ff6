#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace code_search {

/// Three neighbouring bytes of a text, in the low 24 bits.
using Trigram = std::uint32_t;

/// One file as the source described it. Never changed once made, so all versions of a shard that
/// hold the file share it.
struct File {
    std::string path;
    std::string id;          ///< The blob id in git, a hash of the contents in a directory.
    bool submodule = false;  ///< A commit of another repository, which has an id but no contents.
    bool searchable = false; ///< Text; false for binary files and submodules.
    std::string text;
};

/// What happened to one path: `file` is there now, or nothing is if it is null.
struct Change {
    std::string path;
    std::shared_ptr<const File> file;
    std::vector<Trigram> trigrams; ///< Of the file's text, each once.
};

/// A text to look for, with the trigrams that a file must have to contain it.
class Query {
  public:
    static constexpr std::size_t max_trigrams = 16;

    explicit Query(std::string_view text);

    const std::string& text() const { return text_; }
    const std::vector<Trigram>& trigrams() const { return trigrams_; }

  private:
    std::string text_;
    std::vector<Trigram> trigrams_;
};

using Hits = std::vector<const File*>;

/// One of the 256 parts of the index: some files and the trigrams in their texts.
///
/// Copying it copies the tables, which are flat, and shares the files.
class TextShard {
  public:
    /// Makes all of `changes`, which name each path once.
    /// Complexity: linear in the size of the shard, however many changes there are.
    void apply(const std::vector<const Change*>& changes);

    /// Appends the files that contain the query, found through the trigrams.
    void search(const Query& query, Hits& hits) const;

    /// Appends the same files in the same order, found by reading every text.
    void scan(std::string_view text, Hits& hits) const;

    /// Bytes that a copy of this shard copies. CowIndex finds this member by its name and keeps its
    /// accounts with it. The texts are not in it: they are shared, and copied by nobody.
    std::size_t memory_usage() const;

    std::size_t size() const { return slots_.size(); }
    bool empty() const { return slots_.empty(); }

    /// The files by slot; null where a slot is free.
    const std::vector<std::shared_ptr<const File>>& files() const { return files_; }

  private:
    using Slot = std::uint32_t;
    using Posting = std::uint64_t; ///< "This trigram (high half) occurs in the file of this slot."

    void remove(const std::vector<const Change*>& changes);

    std::vector<std::shared_ptr<const File>> files_;
    std::map<std::string_view, Slot> slots_; ///< The keys are the paths inside `files_`.
    std::vector<Posting> postings_;          ///< Ascending.
};

/// The trigrams of a text, each once, in no particular order.
std::vector<Trigram> trigrams_of(std::string_view text);

/// A change that puts a file there, with its trigrams; a NUL byte in the contents makes it binary.
Change put_file(std::string path, std::string id, std::string contents);

} // namespace code_search
