#pragma once

#include "git_process.hpp"
#include "source.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace code_search {

/// True for the top directory of a git clone, also a bare one.
bool is_clone(const std::string& path);

/// Commits that `GitHistory` would replay.
/// Exceptions: `GitError`.
std::uint64_t count_commits(const std::string& clone);

/// The first-parent history of a clone, oldest commit first, or only the files of its newest
/// commit.
///
/// Paths are bytes. Symbolic links are texts, their targets; submodules have an id and no contents.
/// Contents that the clone does not have (a partial clone) count as not searchable.
class GitHistory final : public Source {
  public:
    enum class Extent { history, newest };

    /// `next()` throws `Interrupted` once `stop` is set. Exceptions of all members: `GitError`.
    GitHistory(std::string clone, Extent extent, const std::atomic<bool>& stop);

    std::string title() const override;
    std::string truth() const override { return "git ls-tree"; }
    std::optional<std::uint64_t> commit_count() const override { return commits_; }
    std::optional<Commit> next() override;
    Listing listing_after(const Commit& commit) override;

  private:
    struct Entry {
        TreeEntry tree;
        bool deleted = false;
    };

    std::optional<Commit> next_of_history();
    std::optional<Commit> next_of_newest();
    bool read_log_piece();
    Entry read_entry();
    std::vector<Change> load(const std::vector<Entry>& entries);
    Change read_answer(const TreeEntry& entry);

    std::string clone_;
    Extent extent_;
    std::uint64_t commits_;
    GitProcess contents_;
    std::optional<GitProcess> log_;
    std::string piece_; // of the log, read but not used yet
    std::vector<TreeEntry> newest_;
};

} // namespace code_search
