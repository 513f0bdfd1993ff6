// The exceptions of this library, and the one place where their messages are written.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/memory.hpp>
#include <cowindex/version.hpp>

// Compiled without exceptions (`-fno-exceptions`), the library throws nothing: see detail::raise().
#if !defined(__cpp_exceptions) && !defined(COWINDEX_NO_EXCEPTIONS)
#define COWINDEX_NO_EXCEPTIONS 1
#endif

namespace cowindex {

/// Thrown by `IndexWriter::commit()` and `rebase()` when another commit changed a shard that this
/// writer changed or required. The writer still holds its edits.
class ConflictError : public std::runtime_error {
  public:
    /// Made by the library. `shards`: the ids in conflict, ascending.
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

/// Thrown by a commit that would leave the index above `MemoryBudget::hard_bytes` even after all
/// that nobody holds was freed. The writer keeps its edits and can commit once a holder has let go.
class MemoryBudgetError : public std::runtime_error {
  public:
    /// Made by the library. All three are bytes.
    MemoryBudgetError(const std::string& message, std::size_t budget_bytes,
                      std::size_t needed_bytes, std::size_t retained_bytes)
        : std::runtime_error(message), budget_bytes_(budget_bytes), needed_bytes_(needed_bytes),
          retained_bytes_(retained_bytes) {}

    /// The limit.
    [[nodiscard]] std::size_t budget_bytes() const noexcept { return budget_bytes_; }
    /// What the index would have held after the commit.
    [[nodiscard]] std::size_t needed_bytes() const noexcept { return needed_bytes_; }
    /// What of that only older versions hold.
    [[nodiscard]] std::size_t retained_bytes() const noexcept { return retained_bytes_; }

  private:
    std::size_t budget_bytes_;
    std::size_t needed_bytes_;
    std::size_t retained_bytes_;
};

namespace detail {

// The one place where the library throws. Without exceptions the message goes to the standard error
// stream, then `std::terminate()` is called, and with it the program's `std::terminate_handler`.
template <class Error>
[[noreturn]] void raise(Error error) {
#if defined(COWINDEX_NO_EXCEPTIONS)
    std::fprintf(stderr, "%s\n", error.what());
    std::terminate();
#else
    throw error;
#endif
}

[[noreturn]] inline void throw_absent(ShardId id, ShardId id_bound) {
    std::string message = "cowindex: no shard has id " + std::to_string(id) + " (ids are below " +
                          std::to_string(id_bound) + ")";
    if (id_bound == 0)
        message += "; there is none at all: is this empty, default-made or moved from?";
    else if (id < id_bound)
        message += ", it was erased or never committed";
    if (id_bound != 0) message += "; ask contains(id) or find(id) of a view, snapshot or writer";
    raise(std::out_of_range(message));
}

[[noreturn]] inline void throw_present(ShardId id) {
    raise(std::invalid_argument("cowindex: insert(): shard " + std::to_string(id) +
                                " exists already; use replace(), or append() for a new id"));
}

[[noreturn]] inline void throw_id_limit() {
    raise(std::length_error("cowindex: the largest usable shard id is 2^64 - 2"));
}

[[noreturn]] inline void throw_version_limit() {
    raise(std::overflow_error("cowindex: version numbers are used up (the last is 2^64 - 2)"));
}

[[noreturn]] inline void throw_negative_timeout(const char* where) {
    raise(std::invalid_argument(std::string("cowindex: ") + where +
                                "(): the timeout is negative; use zero for a single try"));
}

[[noreturn]] inline void throw_moved_from(const char* what) {
    raise(std::logic_error(std::string("cowindex: this ") + what +
                           " was moved from; only assignment and destruction are allowed"));
}

[[noreturn]] inline void throw_nested_update() {
    raise(std::logic_error(
        "cowindex: update(), edit(), replace(), erase() or assign() of an index inside update() of "
        "the same index on one thread would conflict with itself; make all edits through the "
        "writer that was passed in"));
}

[[noreturn]] inline void throw_conflict(std::vector<ShardId> shards) {
    constexpr std::size_t shown = 8;
    std::string message = "cowindex: another commit ";
    message += shards.empty()       ? "was made"
               : shards.size() == 1 ? "changed shard"
                                    : "changed shards";
    for (std::size_t i = 0; i < shards.size() && i < shown; ++i)
        message += (i == 0 ? " " : ", ") + std::to_string(shards[i]);
    if (shards.size() > shown) message += " and " + std::to_string(shards.size() - shown) + " more";
    message += " since this writer's base version; discard() and edit again, revert() those "
               "shards and rebase(), or let update() retry";
    raise(ConflictError(message, std::move(shards)));
}

// " by 2 holder(s) 'a', 'b'"
[[nodiscard]] inline std::string name_holders(const PinInfo& pin) {
    constexpr std::size_t shown = 3;
    std::string text = " by " + std::to_string(pin.holders) + " holder(s)";
    for (std::size_t i = 0; i < pin.labels.size() && i < shown; ++i)
        text += (i == 0 ? " '" : ", '") + pin.labels[i] + "'";
    return text;
}

// `oldest` is the oldest version held, if any; `replaced` says who else holds the version that the
// commit replaces.
[[noreturn]] inline void throw_over_budget(std::size_t budget, std::size_t needed,
                                           std::size_t retained, const PinInfo* oldest,
                                           const PinInfo& replaced) {
    std::string message = "cowindex: the memory budget is " + std::to_string(budget) +
                          " bytes; after this commit the index would hold " +
                          std::to_string(needed);
    if (oldest != nullptr) {
        using std::chrono::duration_cast;
        using std::chrono::milliseconds;
        message += ", of which " + std::to_string(retained) +
                   " only because older versions are held; the oldest, version " +
                   std::to_string(oldest->version) + "," + name_holders(*oldest) + " for " +
                   std::to_string(duration_cast<milliseconds>(oldest->age).count()) +
                   " ms, alone holds " + std::to_string(oldest->retained_bytes);
    }
    if (replaced.holders != 0)
        message += "; version " + std::to_string(replaced.version) +
                   ", which it replaces, is held" + name_holders(replaced) +
                   ", so that there must be room for what both hold";
    message += oldest != nullptr || replaced.holders != 0
                   ? "; let go of it and commit again"
                   : "; nobody holds anything back: erase shards, or commit less at once";
    message += ", or raise MemoryBudget::hard_bytes";
    raise(MemoryBudgetError(message, budget, needed, retained));
}

} // namespace detail
} // namespace cowindex
