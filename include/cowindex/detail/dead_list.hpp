// A list of objects that links them through themselves: retiring never allocates.
#pragma once

#include <algorithm>
#include <cstddef>

#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

// Shards and nodes that no version after a certain one can reach, linked through themselves.
class DeadList {
  public:
    DeadList() = default;
    DeadList(const DeadList&) = delete;
    DeadList& operator=(const DeadList&) = delete;

    void push(Object* object) noexcept {
        object->next = head_;
        if (head_ == nullptr) tail_ = object;
        head_ = object;
        ++count_;
        bytes_ += object->bytes();
        node_bytes_ += object->node_bytes();
        min_birth_ = std::min(min_birth_, object->birth);
    }

    // Precondition: not empty.
    Object* pop() noexcept {
        Object* object = head_;
        head_ = object->next;
        --count_;
        bytes_ -= object->bytes();
        node_bytes_ -= object->node_bytes();
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

} // namespace cowindex::detail
