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

namespace cowindex::detail {

// Objects that no version after a certain one can reach, linked through themselves.
template <class Object>
class DeadList {
  public:
    DeadList() = default;
    DeadList(DeadList&& other) noexcept { swap(other); }
    DeadList& operator=(DeadList&& other) noexcept {
        DeadList taken(std::move(other));
        swap(taken);
        return *this;
    }

    void push(Object* object, std::size_t bytes) noexcept {
        object->next = head_;
        if (head_ == nullptr) tail_ = object;
        head_ = object;
        ++count_;
        bytes_ += bytes;
        min_birth_ = std::min(min_birth_, object->birth);
    }

    // Precondition: not empty.
    Object* pop(std::size_t (*bytes_of)(const Object&)) noexcept {
        Object* object = std::exchange(head_, head_->next);
        --count_;
        bytes_ -= bytes_of(*object);
        if (head_ == nullptr) {
            tail_ = nullptr;
            min_birth_ = unborn;
        }
        return object;
    }

    // Empties the list and returns its first object, the others linked behind it.
    [[nodiscard]] Object* detach() noexcept {
        DeadList taken(std::move(*this));
        return taken.head_;
    }

    // Takes all of `other` in constant time.
    void splice(DeadList& other) noexcept {
        if (other.head_ == nullptr) return;
        other.tail_->next = head_;
        if (head_ == nullptr) tail_ = other.tail_;
        head_ = other.head_;
        count_ += other.count_;
        bytes_ += other.bytes_;
        min_birth_ = std::min(min_birth_, other.min_birth_);
        other.head_ = other.tail_ = nullptr;
        other.count_ = other.bytes_ = 0;
        other.min_birth_ = unborn;
    }

    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    [[nodiscard]] Object* head() const noexcept { return head_; }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    // A bound: nothing on the list was born before it.
    [[nodiscard]] Version min_birth() const noexcept { return min_birth_; }

  private:
    void swap(DeadList& other) noexcept {
        std::swap(head_, other.head_);
        std::swap(tail_, other.tail_);
        std::swap(count_, other.count_);
        std::swap(bytes_, other.bytes_);
        std::swap(min_birth_, other.min_birth_);
    }

    Object* head_ = nullptr;
    Object* tail_ = nullptr;
    std::size_t count_ = 0;
    std::size_t bytes_ = 0;
    Version min_birth_ = unborn;
};

template <class Shard>
[[nodiscard]] std::size_t bytes_of_box(const ShardBox<Shard>& box) noexcept {
    return box.bytes;
}
[[nodiscard]] inline std::size_t bytes_of_node(const Node& node) noexcept {
    return node_bytes(node.level);
}

// Dead shards and dead nodes together.
template <class Shard>
struct DeadObjects {
    DeadList<ShardBox<Shard>> boxes;
    DeadList<Node> nodes;

    void push(ShardBox<Shard>* box) noexcept { boxes.push(box, box->bytes); }
    void push(Node* node) noexcept { nodes.push(node, node_bytes(node->level)); }
    void splice(DeadObjects& other) noexcept {
        boxes.splice(other.boxes);
        nodes.splice(other.nodes);
    }
    [[nodiscard]] bool empty() const noexcept { return boxes.empty() && nodes.empty(); }
    [[nodiscard]] std::size_t count() const noexcept { return boxes.count() + nodes.count(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return boxes.bytes() + nodes.bytes(); }
    [[nodiscard]] Version min_birth() const noexcept {
        return std::min(boxes.min_birth(), nodes.min_birth());
    }
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
    VersionRecord* next = nullptr; // the queue of its stage, or the pool
    std::shared_ptr<const VersionRecord> owner; // from when it stops being the latest
    std::size_t writers = 0;                    // open writers based on it
    Stage stage = Stage::latest;
    std::chrono::nanoseconds superseded_at{};
    DeadObjects<Shard> dead; // present in this version, absent from the next

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
