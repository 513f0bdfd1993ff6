#pragma once

#include "text_shard.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace code_search {

/// Changes that belong together and become visible together.
struct Commit {
    std::string name;
    std::vector<Change> changes;
};

/// A path that must be there, and the id of its contents.
struct TreeEntry {
    std::string path;
    std::string id;
    bool submodule = false;
};

/// Finds out what an index must hold, from a source of truth outside the index.
using Listing = std::function<std::vector<TreeEntry>()>;

/// Where files and their changes come from. Used by one thread.
class Source {
  public:
    Source() = default;
    virtual ~Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    /// What is replayed, for a person.
    virtual std::string title() const = 0;

    /// What listings come from, for a person.
    virtual std::string truth() const = 0;

    /// How many commits there are, or nothing if they never end.
    virtual std::optional<std::uint64_t> commit_count() const = 0;

    /// The next commit, or nothing after the last.
    virtual std::optional<Commit> next() = 0;

    /// What an index must hold after `commit`, which `next()` returned last. The listing itself may
    /// be run later and by another thread.
    virtual Listing listing_after(const Commit& commit) = 0;
};

} // namespace code_search
