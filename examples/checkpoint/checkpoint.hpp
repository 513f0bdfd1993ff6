#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

#include <cowindex/cowindex.hpp>

namespace checkpoint {

using Notes = cowindex::CowIndex<std::string>;

/// Keeps an index on disk: the first file holds all of it, each further one only what has changed
/// since the one before. The index is written to all the while; nobody waits for the disk.
class Checkpoints {
  public:
    struct Written {
        std::size_t stored = 0; ///< notes that the file holds
        std::size_t erased = 0; ///< notes that it says are gone
    };

    /// `directory` holds nothing but the files of this object.
    explicit Checkpoints(std::filesystem::path directory) : directory_(std::move(directory)) {}

    /// Writes one file: it is there as a whole, or not at all. The snapshot is kept for the next
    /// comparison, which costs the memory of the notes that change meanwhile.
    Written save(const Notes::Snapshot& now);

    std::size_t files() const { return files_; }

  private:
    std::filesystem::path directory_;
    std::size_t files_ = 0;
    Notes::Snapshot last_;
};

/// An index with the content and the version number of the last checkpoint in `directory`.
Notes restore(const std::filesystem::path& directory);

} // namespace checkpoint
