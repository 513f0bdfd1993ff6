// Objects that nobody can reach any more, on their way to being freed.
//
// They wait in lanes, one for each writer as far as there are enough: what a writer has retired it
// frees itself, so the memory that it clones into next is memory that its own processor used last.
// With one list for all, two writers handed each other their shards to write over (a 4 KiB shard is
// 64 lines to be fetched from the other core's cache).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <cowindex/detail/dead_list.hpp>

namespace cowindex::detail {

// What was unlinked and is to be freed without the lock.
template <class Record>
struct Garbage {
    DeadList objects;
    Record* records = nullptr;
    std::size_t record_count = 0;

    [[nodiscard]] std::size_t bytes() const noexcept {
        return objects.bytes() + record_count * sizeof(Record);
    }
};

class GarbageLanes {
  public:
    static constexpr std::size_t lanes = 8;

    // So many commits of one lane in a row say that nobody comes for the other lanes: few where no
    // other writer is open, many where one may be waiting for its turn at the lock
    // (commit_lock.hpp), in which this one commits some dozens of times.
    static constexpr std::size_t patience_alone = 32;
    static constexpr std::size_t patience_among_writers = 1024;

    // What freeing takes, in one unit for objects and bytes: a commit that may free twice the
    // effort of what it retires keeps up, whatever the sizes. (With a bound for each, many small
    // shards and a few large ones in turn outgrew both.)
    static constexpr std::uint64_t effort_each = std::uint64_t{128} << 10;
    [[nodiscard]] static constexpr std::uint64_t effort(std::size_t objects,
                                                        std::size_t bytes) noexcept {
        return objects * effort_each + bytes;
    }

    void push(std::size_t lane, Object* object) noexcept {
        bytes_ += object->bytes();
        node_bytes_ += object->node_bytes();
        ++count_;
        lane_[lane].push(object);
    }

    // Takes all of `list` in constant time.
    void splice(std::size_t lane, DeadList& list) noexcept {
        bytes_ += list.bytes();
        node_bytes_ += list.node_bytes();
        count_ += list.count();
        lane_[lane].splice(list);
    }

    // Effect: moves garbage to `taken`, for about this effort: of this lane, and of the others
    // where much has gathered or nobody has come for it in more than `patience` commits.
    void take(DeadList& taken, std::size_t lane, std::uint64_t effort,
              std::size_t patience) noexcept {
        if (empty()) return;
        if (lane == last_taker_) {
            ++turns_;
        } else {
            last_taker_ = lane;
            turns_ = 0;
        }
        move(taken, lane, effort);
        if (turns_ < patience && count_ <= much_objects && bytes_ <= much_bytes) return;
        for (std::size_t other = 0; other < lanes && effort > 0; ++other)
            move(taken, other, effort);
    }

    void take_all(DeadList& taken) noexcept {
        for (DeadList& lane : lane_) taken.splice(lane);
        bytes_ = node_bytes_ = count_ = 0;
    }

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t node_bytes() const noexcept { return node_bytes_; } // among them
    [[nodiscard]] const DeadList& lane(std::size_t index) const noexcept { return lane_[index]; }

  private:
    static constexpr std::size_t much_objects = 256;
    static constexpr std::size_t much_bytes = std::size_t{1} << 20;

    void move(DeadList& taken, std::size_t lane, std::uint64_t& left) noexcept {
        DeadList& list = lane_[lane];
        if (list.empty()) return;
        if (const std::uint64_t whole = effort(list.count(), list.bytes()); whole <= left) {
            left -= whole;
            bytes_ -= list.bytes();
            node_bytes_ -= list.node_bytes();
            count_ -= list.count();
            taken.splice(list);
            return;
        }
        while (left > 0) { // the list outlasts it
            Object* object = list.pop();
            left -= std::min(left, effort(1, object->bytes()));
            bytes_ -= object->bytes();
            node_bytes_ -= object->node_bytes();
            --count_;
            taken.push(object);
        }
    }

    // Of all lanes together.
    std::size_t bytes_ = 0;
    std::size_t node_bytes_ = 0;
    std::size_t count_ = 0;

    std::size_t last_taker_ = 0;
    std::size_t turns_ = 0; // in a row, by the last taker

    std::array<DeadList, lanes> lane_;
};

} // namespace cowindex::detail
