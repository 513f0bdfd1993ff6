// The exceptions of this library, and the one place where their messages are written.
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/version.hpp>

namespace cowindex {

/// Thrown by `IndexWriter::commit()` and `rebase()` when another commit changed a shard that this
/// writer changed or required. The writer still holds its edits.
class ConflictError : public std::runtime_error {
  public:
    ConflictError(const std::string& message, std::vector<ShardId> shards)
        : std::runtime_error(message),
          shards_(std::make_shared<const std::vector<ShardId>>(std::move(shards))) {}

    /// The conflicting shard ids, ascending.
    [[nodiscard]] const std::vector<ShardId>& shards() const noexcept COWINDEX_LIFETIMEBOUND {
        return *shards_;
    }

  private:
    // Shared, because copying an exception must not throw.
    std::shared_ptr<const std::vector<ShardId>> shards_;
};

namespace detail {

[[noreturn]] inline void throw_absent(ShardId id, ShardId id_bound) {
    throw std::out_of_range("cowindex: no shard has id " + std::to_string(id) +
                            " (ids in use are below " + std::to_string(id_bound) +
                            "; ask contains(id) first, or use find(id))");
}

[[noreturn]] inline void throw_present(ShardId id) {
    throw std::invalid_argument("cowindex: insert(): shard " + std::to_string(id) +
                                " exists already; use replace(), or append() for a new id");
}

[[noreturn]] inline void throw_id_limit() {
    throw std::length_error("cowindex: the largest usable shard id is 2^64 - 2");
}

[[noreturn]] inline void throw_version_limit() {
    throw std::overflow_error("cowindex: version numbers are used up (the last is 2^64 - 2)");
}

[[noreturn]] inline void throw_moved_from(const char* what) {
    throw std::logic_error(std::string("cowindex: this ") + what +
                           " was moved from; only assignment and destruction are allowed");
}

[[noreturn]] inline void throw_nested_update() {
    throw std::logic_error(
        "cowindex: update() inside update() of the same index on one thread would conflict with "
        "itself; make all edits through the writer that was passed in");
}

[[noreturn]] inline void throw_conflict(std::vector<ShardId> shards) {
    constexpr std::size_t shown = 8;
    std::string message = "cowindex: another commit ";
    message += shards.empty() ? "was made" : shards.size() == 1 ? "changed shard" : "changed shards";
    for (std::size_t i = 0; i < shards.size() && i < shown; ++i)
        message += (i == 0 ? " " : ", ") + std::to_string(shards[i]);
    if (shards.size() > shown)
        message += " and " + std::to_string(shards.size() - shown) + " more";
    message += " since this writer's base version; discard() and edit again, revert() those "
               "shards and rebase(), or let update() retry";
    throw ConflictError(message, std::move(shards));
}

} // namespace detail
} // namespace cowindex
