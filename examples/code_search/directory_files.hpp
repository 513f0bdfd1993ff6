#pragma once

#include "source.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace code_search {

/// The regular files below a directory: read once in batches, then again one by one in rotation,
/// for as long as somebody asks. What is unreadable is left out, what vanishes is deleted.
class DirectoryFiles final : public Source {
  public:
    enum class Extent { rotation, once };

    /// Takes the files that the walk finds first, until they have `enough_bytes`.
    /// Exceptions: `std::filesystem::filesystem_error` if `root` cannot be read.
    DirectoryFiles(std::string root, Extent extent, std::uint64_t enough_bytes);

    std::string title() const override;
    std::string truth() const override { return "files as read"; }
    std::optional<std::uint64_t> commit_count() const override { return std::nullopt; }
    std::optional<Commit> next() override;
    Listing listing_after(const Commit& commit) override;

  private:
    std::optional<std::string> next_path();
    std::size_t read(const std::string& path, Commit& commit);

    std::string root_;
    Extent extent_;
    std::uint64_t enough_bytes_;
    std::uint64_t bytes_ = 0; // found so far
    std::filesystem::recursive_directory_iterator walk_;
    std::vector<std::string> paths_; // found so far, below root_
    std::size_t rotation_ = 0;
    std::unordered_map<std::string, std::string> ids_; // of the files as last read
};

} // namespace code_search
