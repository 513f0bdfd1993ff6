// What a snapshot is called in pins().
#pragma once

#include <string>
#include <utility>

#include <cowindex/detail/commit_lock.hpp>

namespace cowindex::detail {

// Among the labels of one version. Guarded by the commit lock.
struct LabelLink {
    std::string text;
    LabelLink* next = nullptr;
    LabelLink* previous = nullptr;
};

// Holds a version, and is listed there while it lives. A snapshot and all of its copies share one.
// Its owner keeps the core of a closed index, so the lock is there to the end.
template <class Owner, class Lock>
class SnapshotLabel {
  public:
    SnapshotLabel(Owner owner, std::string text, Lock& lock) noexcept
        : link_{std::move(text)}, lock_(lock), owner_(std::move(owner)) {
        const Guard guard(lock_);
        link_.next = std::exchange(owner_->labels, &link_);
        if (link_.next != nullptr) link_.next->previous = &link_;
    }
    ~SnapshotLabel() {
        const Guard guard(lock_);
        (link_.previous == nullptr ? owner_->labels : link_.previous->next) = link_.next;
        if (link_.next != nullptr) link_.next->previous = link_.previous;
    }
    SnapshotLabel(const SnapshotLabel&) = delete;
    SnapshotLabel& operator=(const SnapshotLabel&) = delete;

    [[nodiscard]] auto* record() const noexcept { return owner_.get(); }

  private:
    LabelLink link_;
    Lock& lock_;
    Owner owner_; // let go of after the lock
};

} // namespace cowindex::detail
