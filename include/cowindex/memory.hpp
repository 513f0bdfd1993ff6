// What an index says about the memory it holds, and who makes it hold it.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include <cowindex/version.hpp>

namespace cowindex {

/// Bytes held by one index, all of them. live + retained + reclaimable + pooled + uncommitted is
/// what the index has allocated for shards, tree nodes and version records, as far as
/// `Policy::bytes` is right.
struct MemoryStats {
    std::size_t live_bytes = 0;        ///< reachable from the latest version
    std::size_t retained_bytes = 0;    ///< held only by older versions that somebody holds
    std::size_t reclaimable_bytes = 0; ///< held by nobody, not yet freed
    std::size_t spine_bytes = 0;       ///< tree nodes and records among the three above
    std::size_t pooled_bytes = 0;      ///< nodes and records kept for reuse, capped
    std::size_t uncommitted_bytes = 0; ///< clones and nodes of open writers
    std::size_t peak_bytes = 0;        ///< highest sum seen at a commit or by a reading

    /// Everything that is allocated now.
    [[nodiscard]] std::size_t total_bytes() const noexcept {
        return live_bytes + retained_bytes + reclaimable_bytes + pooled_bytes + uncommitted_bytes;
    }
};

/// One version that is no longer the latest and that somebody still holds.
struct PinInfo {
    Version version = 0;
    std::size_t holders = 0;          ///< pinned readers, snapshots and open writers
    std::vector<std::string> labels;  ///< of the readers and writers among them that have one
    std::chrono::nanoseconds age{};   ///< time since it stopped being the latest
    std::size_t retained_bytes = 0;   ///< exactly what would be freed if it alone were let go
};

} // namespace cowindex
