// What a writer has done, shard by shard: enough to check it against another version and to do it
// again there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <vector>

#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/version.hpp>

namespace cowindex::detail {

struct TestAccess;

// One shard changed. The box in `after` knows its place in the list (Object::change); changes
// without one, erasures, are found through a map, which costs the others nothing.
template <class Shard>
struct Change {
    ShardId id;
    ShardBox<Shard>* before; // in the base; null: absent there
    ShardBox<Shard>* after;  // the writer's own; null: erased
    std::size_t measured = 0;
};

template <class Shard>
class ChangeList {
  public:
    using Box = ShardBox<Shard>;
    using Tree = ShardTree<Shard>;
    using Entry = Change<Shard>;

    [[nodiscard]] auto begin() noexcept { return list_.begin(); }
    [[nodiscard]] auto end() noexcept { return list_.end(); }
    [[nodiscard]] auto begin() const noexcept { return list_.begin(); }
    [[nodiscard]] auto end() const noexcept { return list_.end(); }
    [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
    [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
    [[nodiscard]] Entry& operator[](std::size_t index) noexcept { return list_[index]; }

    // Calls fn(change) for each. The headers of the shards of coming ones are fetched: a large
    // batch does not fit into the nearer caches.
    template <class Fn>
    void walk(Fn&& fn) {
        static constexpr std::ptrdiff_t fetched_ahead = 8;
        Entry* const end = list_.data() + list_.size();
        for (Entry* change = list_.data(); change != end; ++change) {
            if (end - change > fetched_ahead) {
                prefetch(change[fetched_ahead].before, sizeof(Object));
                prefetch(change[fetched_ahead].after, sizeof(Object));
            }
            fn(*change);
        }
    }

    // ---- building ----------------------------------------------------------------------------

    // Makes room for one change: all that can throw.
    void reserve_one() {
        if (!has_room()) list_.reserve(std::max<std::size_t>(8, list_.size() * 2));
    }
    [[nodiscard]] bool has_room() const noexcept { return list_.size() < list_.capacity(); }

    // Precondition: reserve_one().
    void add(const Entry& change) noexcept {
        change.after->change = list_.size();
        list_.push_back(change);
    }

    // Precondition: reserve_one() and reserve_erasure(id).
    void add_erasure(ShardId id, Box* before) noexcept { list_.push_back({id, before, nullptr}); }

    // Makes `id` known as erased by the change at `index`, which may be the next to be added.
    void reserve_erasure(ShardId id, std::size_t index) { erased_.emplace(id, index); }
    void cancel_erasure(ShardId id) noexcept { erased_.erase(id); }

    // The change that erased `id`; null where none did.
    [[nodiscard]] Entry* erasure(ShardId id) noexcept {
        if (erased_.empty()) return nullptr;
        const auto found = erased_.find(id);
        return found == erased_.end() ? nullptr : &list_[found->second];
    }

    void set_after(Entry& change, Box* box) noexcept {
        if (change.after == nullptr) erased_.erase(change.id);
        box->change = static_cast<std::size_t>(&change - list_.data());
        change.after = box;
    }

    // The last one takes its place.
    void remove(Entry& change) noexcept {
        if (change.after == nullptr) erased_.erase(change.id);
        if (&change != &list_.back()) {
            change = list_.back();
            note_place(static_cast<std::size_t>(&change - list_.data()));
        }
        list_.pop_back();
    }

    void remove_erasures() noexcept {
        std::erase_if(list_, [](const Entry& change) { return change.after == nullptr; });
        erased_.clear();
        for (std::size_t i = 0; i < list_.size(); ++i) note_place(i);
    }

    // Effect: `id`, which is `before` in the base, is part of the conflict check.
    void require(ShardId id, Box* before) { requirements_.push_back({id, before}); }
    void require_all() noexcept { require_all_ = true; }
    [[nodiscard]] bool requires_all() const noexcept { return require_all_; }
    void forget_requirement(ShardId id) noexcept {
        std::erase_if(requirements_, [id](const Requirement& r) { return r.id == id; });
    }
    void forget_requirements() noexcept {
        requirements_.clear();
        require_all_ = false;
    }
    // The shards to be looked at by a conflict check.
    [[nodiscard]] std::size_t checks() const noexcept {
        return list_.size() + requirements_.size();
    }

    void clear() noexcept {
        static constexpr std::size_t max_kept = 1024; // of a large batch's room
        if (list_.capacity() > max_kept)
            std::vector<Entry>().swap(list_);
        else
            list_.clear();
        if (!erased_.empty()) erased_.clear();
        forget_requirements();
    }

    // ---- on another version ------------------------------------------------------------------

    // True when every shard that was changed or is required is in `latest` as it was in the base.
    // Pointers suffice: the base is held, so none of them can have been freed and used again.
    [[nodiscard]] bool agrees_with(const Tree& latest) const noexcept {
        const auto same = [&](const auto& entry) { return latest.find(entry.id) == entry.before; };
        return !require_all_ && std::all_of(list_.begin(), list_.end(), same) &&
               std::all_of(requirements_.begin(), requirements_.end(), same);
    }

    // The ids for which agrees_with() fails, ascending, those of require_all() left aside.
    [[nodiscard]] std::vector<ShardId> conflicts_with(const Tree& latest) const {
        return collect_ids(
            [&](const auto& entry) { return latest.find(entry.id) != entry.before; });
    }

    // The ids changed or required, ascending.
    [[nodiscard]] std::vector<ShardId> touched() const {
        return collect_ids([](const auto&) { return true; });
    }

    // Puts the changes into the order of their ids, in which replaying them takes fewest nodes.
    void sort() noexcept {
        const auto by_id = [](const Entry& a, const Entry& b) { return a.id < b.id; };
        if (std::is_sorted(list_.begin(), list_.end(), by_id)) return;
        std::sort(list_.begin(), list_.end(), by_id);
        for (std::size_t i = 0; i < list_.size(); ++i) note_place(i);
    }

    // The nodes that replay() takes at most on a tree of this height; few more where sorted.
    [[nodiscard]] NodeCount replay_need(unsigned height) const noexcept {
        unsigned grown = height;
        for (const Entry& change : list_) grown = std::max(grown, height_for(change.id));
        NodeCount need{0, grown - height};
        add_paths(need, grown, false);
        add_paths(need, grown, true);
        return need;
    }

    // Applies the changes to another tree. Precondition: the builder's pool holds replay_need().
    // Erasures come last: a node that they empty is not needed again.
    template <class Builder>
    void replay(Builder& onto) const noexcept {
        for (const Entry& change : list_)
            if (change.after != nullptr) onto.put(change.id, change.after);
        for (const Entry& change : list_)
            if (change.after == nullptr) onto.remove(change.id);
    }

  private:
    friend struct TestAccess;

    struct Requirement {
        ShardId id;
        Box* before;
    };

    void note_place(std::size_t index) noexcept {
        if (list_[index].after != nullptr)
            list_[index].after->change = index;
        else
            erased_.find(list_[index].id)->second = index;
    }

    // The nodes of each path that the path before does not share.
    void add_paths(NodeCount& need, unsigned height, bool erasures) const noexcept {
        bool first = true;
        ShardId last = 0;
        for (const Entry& change : list_) {
            if ((change.after == nullptr) != erasures) continue;
            const ShardId differing = ((change.id ^ last) >> leaf_bits) << leaf_bits;
            if (first || differing != 0) {
                ++need.leaves;
                need.inners += first ? height : height_for(differing) - 1;
            }
            first = false;
            last = change.id;
        }
    }

    template <class Wanted>
    [[nodiscard]] std::vector<ShardId> collect_ids(Wanted&& wanted) const {
        std::vector<ShardId> ids;
        for (const Entry& change : list_)
            if (wanted(change)) ids.push_back(change.id);
        for (const Requirement& requirement : requirements_)
            if (wanted(requirement)) ids.push_back(requirement.id);
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        return ids;
    }

    std::vector<Entry> list_;
    std::unordered_map<ShardId, std::size_t> erased_; // the changes without an `after`
    std::vector<Requirement> requirements_;
    bool require_all_ = false;
};

} // namespace cowindex::detail
