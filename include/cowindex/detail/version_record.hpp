// One published version: its tree, who holds it, and the objects that died with it.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/publication.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/detail/snapshot_label.hpp>

namespace cowindex::detail {

// Shards and nodes that no version after a certain one can reach, linked through themselves.
class DeadList {
  public:
    DeadList() = default;
    DeadList(DeadList&& other) noexcept { splice(other); }
    DeadList& operator=(DeadList&&) = delete;

    void push(Object* object) noexcept {
        object->next = head_;
        if (head_ == nullptr) tail_ = object;
        head_ = object;
        ++count_;
        bytes_ += object->bytes();
        if (object->is_node()) node_bytes_ += object->bytes();
        min_birth_ = std::min(min_birth_, object->birth);
    }

    // Precondition: not empty.
    Object* pop() noexcept {
        Object* object = head_;
        head_ = object->next;
        --count_;
        bytes_ -= object->bytes();
        if (object->is_node()) node_bytes_ -= object->bytes();
        if (head_ == nullptr) clear();
        return object;
    }

    // Takes all of `other` in constant time.
    void splice(DeadList& other) noexcept {
        if (other.head_ == nullptr) return;
        if (head_ == nullptr) // the objects are another core's business: not touched without need
            tail_ = other.tail_;
        else
            other.tail_->next = head_;
        head_ = other.head_;
        count_ += other.count_;
        bytes_ += other.bytes_;
        node_bytes_ += other.node_bytes_;
        min_birth_ = std::min(min_birth_, other.min_birth_);
        other.clear();
    }

    // Empties the list and returns its first object, the others linked behind it.
    [[nodiscard]] Object* detach() noexcept {
        Object* first = head_;
        clear();
        return first;
    }

    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    [[nodiscard]] const Object* head() const noexcept { return head_; }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t node_bytes() const noexcept { return node_bytes_; } // among them
    // A bound: nothing on the list was born before it.
    [[nodiscard]] Version min_birth() const noexcept { return min_birth_; }

  private:
    void clear() noexcept {
        head_ = tail_ = nullptr;
        count_ = bytes_ = node_bytes_ = 0;
        min_birth_ = unborn;
    }

    Object* head_ = nullptr;
    Object* tail_ = nullptr;
    std::size_t count_ = 0;
    std::size_t bytes_ = 0;
    std::size_t node_bytes_ = 0;
    Version min_birth_ = unborn;
};

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
    VersionRecord* next = nullptr;              // the queue of its stage, or the pool
    std::shared_ptr<const VersionRecord> owner; // from when it stops being the latest
    std::size_t writers = 0;                    // open writers based on it
    mutable LabelLink* labels = nullptr;        // of the snapshots that have one
    Stage stage = Stage::latest;
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
