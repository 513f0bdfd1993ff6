#include "directory_files.hpp"

#include "printable.hpp"

#include <array>
#include <fstream>
#include <utility>

namespace code_search {

namespace fs = std::filesystem;

namespace {

// Large, since a batch spreads over all shards and clones them.
constexpr std::size_t batch_files = 4096;
constexpr std::size_t batch_bytes = std::size_t{32} << 20;

std::optional<std::string> contents_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return std::nullopt;
    std::string contents;
    std::array<char, 1 << 16> piece{};
    while (file.read(piece.data(), piece.size()), file.gcount() > 0) {
        contents.append(piece.data(), static_cast<std::size_t>(file.gcount()));
    }
    return contents;
}

} // namespace

DirectoryFiles::DirectoryFiles(std::string root, Extent extent, std::uint64_t enough_bytes)
    : root_(std::move(root)), extent_(extent), enough_bytes_(enough_bytes),
      walk_(root_, fs::directory_options::skip_permission_denied) {
    if (root_.back() != '/') root_ += '/';
}

std::string DirectoryFiles::title() const {
    const std::string first =
        bytes_ >= enough_bytes_ ? "first " + std::to_string(paths_.size()) + ' ' : "";
    return "the " + first + "files of " + printable(root_);
}

std::optional<Commit> DirectoryFiles::next() {
    Commit commit;
    std::size_t bytes = 0;
    while (commit.changes.size() < batch_files && bytes < batch_bytes) {
        const std::optional<std::string> path = next_path();
        if (!path) break;
        const std::size_t size = read(*path, commit);
        bytes += size;
        bytes_ += size;
    }
    if (!commit.changes.empty()) {
        commit.name = "files up to " + printable(commit.changes.back().path);
        return commit;
    }
    if (extent_ == Extent::once || paths_.empty()) return std::nullopt;

    const std::string& path = paths_[rotation_++ % paths_.size()];
    read(path, commit);
    commit.name = "file " + printable(path);
    return commit;
}

/// Walks on to the next regular file; returns its path below the root.
std::optional<std::string> DirectoryFiles::next_path() {
    std::error_code error;
    while (bytes_ < enough_bytes_ && walk_ != fs::recursive_directory_iterator()) {
        const fs::directory_entry entry = *walk_;
        if (entry.path().filename() == ".git") walk_.disable_recursion_pending();
        walk_.increment(error);
        if (entry.symlink_status(error).type() != fs::file_type::regular) continue;
        paths_.push_back(entry.path().native().substr(root_.size()));
        return paths_.back();
    }
    return std::nullopt;
}

std::size_t DirectoryFiles::read(const std::string& path, Commit& commit) {
    std::optional<std::string> contents = contents_of(root_ + path);
    if (!contents) {
        ids_.erase(path);
        commit.changes.push_back({path, nullptr, {}});
        return 0;
    }
    const std::size_t size = contents->size();
    std::string id = std::to_string(std::hash<std::string>{}(*contents));
    ids_[path] = id;
    commit.changes.push_back(put_file(path, std::move(id), std::move(*contents)));
    return size;
}

Listing DirectoryFiles::listing_after(const Commit&) {
    return [ids = ids_] {
        std::vector<TreeEntry> entries;
        for (const auto& [path, id] : ids) entries.push_back({path, id, false});
        return entries;
    };
}

} // namespace code_search
