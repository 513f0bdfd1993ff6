// One published version: its tree, who holds it, and the objects that died with it.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/dead_list.hpp>
#include <cowindex/detail/publication.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/detail/snapshot_label.hpp>

namespace cowindex::detail {

// Where a version stands on its way from being the latest to being gone (version_chain.hpp).
enum class Stage : std::uint8_t { latest, superseded, pinned, cleared, owned, dropping, dropped };

template <class Shard, class Core>
struct VersionRecord {
    explicit VersionRecord(Core& its_core) noexcept : core(&its_core) {}

    // Read by everybody who holds the version; not written while anybody does.
    alignas(line_size) ShardTree<Shard> tree;
    Version version = 0;

    // Guarded by the commit lock.
    alignas(line_size) VersionRecord* older = nullptr; // the chain, oldest to latest
    VersionRecord* newer = nullptr;
    VersionRecord* next = nullptr;                      // the queue of its stage, or the pool
    mutable std::shared_ptr<const VersionRecord> owner; // if one was made, from when it stops being
                                                        // the latest, or made then
    std::size_t writers = 0;                            // open writers based on it
    mutable LabelLink* labels = nullptr;                // of the snapshots that have one
    Stage stage = Stage::latest;
    std::uint8_t lane = 0; // of the writer that superseded it (garbage.hpp)
    std::chrono::nanoseconds superseded_at{};
    DeadList dead; // present in this version, absent from the next

    // Any thread.
    mutable Counter snapshots;
    mutable OwnerState owners;
    Core* core;

    // The control block of `owner`: making one allocates nothing and reuse is exact.
    static constexpr std::size_t control_size = 8 * sizeof(void*);
    alignas(std::max_align_t) mutable std::array<std::byte, control_size> control;
};

// Records linked through `next`, first in, first out.
template <class Record>
class RecordQueue {
  public:
    void push(Record* record) noexcept {
        record->next = nullptr;
        (tail_ == nullptr ? head_ : tail_->next) = record;
        tail_ = record;
        ++size_;
    }
    // Null when empty.
    Record* pop() noexcept {
        Record* record = head_;
        if (record == nullptr) return nullptr;
        head_ = record->next;
        if (head_ == nullptr) tail_ = nullptr;
        --size_;
        return record;
    }
    [[nodiscard]] Record* head() const noexcept { return head_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    Record* head_ = nullptr;
    Record* tail_ = nullptr;
    std::size_t size_ = 0;
};

// Places a shared_ptr's control block inside the record that it owns.
template <class T, class Record>
struct ControlAllocator {
    using value_type = T;

    explicit ControlAllocator(const Record* its_record) noexcept : record(its_record) {}
    template <class U>
    ControlAllocator(const ControlAllocator<U, Record>& other) noexcept : record(other.record) {}

    [[nodiscard]] T* allocate(std::size_t) noexcept {
        static_assert(sizeof(T) <= Record::control_size && alignof(T) <= alignof(std::max_align_t),
                      "cowindex: this standard library's control block needs more room");
        return reinterpret_cast<T*>(record->control.data());
    }
    // The control block's very last act.
    void deallocate(T*, std::size_t) noexcept {
        auto* core = record->core;
        core->sync_point(SyncPoint::owner_released);
        if (record->owners.release()) core->survivor_died();
    }

    template <class U>
    bool operator==(const ControlAllocator<U, Record>& other) const noexcept {
        return record == other.record;
    }

    const Record* record;
};

// The first owner of a record. Allocates nothing, cannot throw.
template <class Record>
[[nodiscard]] std::shared_ptr<const Record> make_owner(const Record& record) noexcept {
    record.owners.reset();
    const auto expire = [](const Record* expired) noexcept { expired->owners.expire(); };
    return std::shared_ptr<const Record>(&record, expire,
                                         ControlAllocator<std::byte, Record>(&record));
}

} // namespace cowindex::detail
