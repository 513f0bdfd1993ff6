// The edits of one writer: what it changed, on which base, in a private tree.
//
// The batch itself is the list of changes; the tree is derived from it and can be built again on a
// newer version (replay). Every operation either does all of its work or none of it: first
// whatever may throw (copying the shard, reserving nodes and room), then the linking, which cannot.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/detail/tree_builder.hpp>
#include <cowindex/errors.hpp>

namespace cowindex::detail {

// Says which operations are timed: the first, and then every so many.
class SampleTimer {
  public:
    [[nodiscard]] bool due(std::uint64_t every) noexcept {
        if (left_ > 0) {
            --left_;
            return false;
        }
        left_ = every - 1;
        return true;
    }

  private:
    std::uint64_t left_ = 0;
};

template <class Shard, class Policy, class Record>
class WriteBatch {
  public:
    using Box = ShardBox<Shard>;
    using Allocator = typename Policy::Allocator;
    using Builder = TreeBuilder<Shard, Allocator>;
    using Pool = NodePool<Shard, Allocator>;

    struct Change {
        ShardId id;
        Box* before; // in the base; null: absent there
        Box* after;  // ours; null: erased
        std::size_t measured = 0;
    };
    struct Requirement {
        ShardId id;
        Box* before;
    };

    WriteBatch(const Allocator& allocator, CowMetrics& metrics)
        : allocator_(allocator), metrics_(&metrics), pool(allocator) {}
    ~WriteBatch() { clear_edits(); }
    WriteBatch(const WriteBatch&) = delete;
    WriteBatch& operator=(const WriteBatch&) = delete;

    [[nodiscard]] const ShardTree<Shard>& tree() const noexcept { return builder.tree(); }
    [[nodiscard]] bool has_changes() const noexcept { return !changes.empty(); }

    // ---- edits -------------------------------------------------------------------------------

    [[nodiscard]] Shard& edit(ShardId id) {
        typename Builder::Path path;
        Box* box = present(id, path);
        if (box->birth == unborn) return box->shard;
        changes.reserve_one();
        Box* copy = clone(*box);
        const Unplaced guard(*this, copy);
        pool.reserve(builder.need(path));
        change_present(id, path, box, copy);
        guard.placed();
        return copy->shard;
    }

    void replace(ShardId id, Box* box) {
        const Unplaced guard(*this, box);
        typename Builder::Path path;
        Box* current = present(id, path);
        if (current->birth == unborn) {
            swap_after(changes[current->change], box);
            guard.placed();
            destroy_box(current);
            return;
        }
        changes.reserve_one();
        pool.reserve(builder.need(path));
        change_present(id, path, current, box);
        guard.placed();
    }

    // Precondition: `id` is absent and usable.
    void insert(ShardId id, Box* box) {
        const Unplaced guard(*this, box);
        changes.reserve_one();
        pool.reserve(builder.need(id));
        if (const auto erased = erased_.find(id); erased != erased_.end()) {
            Change& change = changes[erased->second];
            erased_.erase(erased);
            swap_after(change, box);
        } else {
            add_change(id, box);
        }
        guard.placed();
    }

    void erase(ShardId id) {
        Box* box = present(id);
        const bool own = box->birth == unborn;
        if (own && changes[box->change].before == nullptr) {
            drop_new(id, box);
            return;
        }
        const std::size_t index = own ? box->change : changes.size();
        if (!own) changes.reserve_one();
        const auto erased = erased_.emplace(id, index).first;
        try {
            pool.reserve(builder.need(id));
        } catch (...) {
            erased_.erase(erased);
            throw;
        }
        builder.remove(id);
        update_gauge();
        if (!own) {
            changes.push_back({id, box, nullptr});
            return;
        }
        changes[index].after = nullptr;
        uncommitted.subtract_alone(box->bytes());
        destroy_box(box);
    }

    // Forgets what was done to `id`, and that it was required.
    void revert(ShardId id) {
        if (Box* box = tree().find(id); box != nullptr && box->birth == unborn) {
            const std::size_t index = box->change;
            if (changes[index].before == nullptr) {
                drop_new(id, box);
            } else {
                builder.put(id, changes[index].before); // its path is ours already
                remove_change(index);
                destroy_box(box);
            }
        } else if (const auto erased = erased_.find(id); erased != erased_.end()) {
            pool.reserve(builder.need(id));
            const std::size_t index = erased->second;
            builder.put(id, changes[index].before);
            update_gauge();
            erased_.erase(erased);
            remove_change(index);
        }
        std::erase_if(requirements, [id](const Requirement& r) { return r.id == id; });
    }

    void require(ShardId id) {
        Box* box = present(id);
        if (box->birth == unborn && (box = changes[box->change].before) == nullptr) return;
        requirements.push_back({id, box});
    }

    template <class Make>
    [[nodiscard]] Box* make_box(Make&& make) {
        return make_object<Box>(allocator_, std::forward<Make>(make));
    }

    // Frees a box that is in no version. Runs the shard's destructor.
    void destroy_box(Box* box) noexcept {
        const FreeingShards freeing;
        destroy_object(allocator_, box);
    }

    // ---- committing --------------------------------------------------------------------------

    // Asks the policy for the size of each changed shard. Nothing changes if it throws.
    void measure() {
        for (Change& change : changes)
            if (change.after != nullptr)
                change.measured = Policy::bytes(change.after->shard) + box_overhead<Shard>;
        for (Change& change : changes)
            if (change.after != nullptr) {
                uncommitted.add_alone(change.measured - change.after->bytes());
                change.after->set_bytes(change.measured);
            }
    }

    // Rebuilds the tree where it was made larger for ids that were taken back: what is published
    // must not depend on them. Nothing changes if it throws.
    void drop_vain_growth() {
        if (!vain_growth_) return;
        const ShardTree<Shard>& from = base->tree;
        pool.reserve(replay_need(from.height));
        Builder fresh(from, pool);
        replay(fresh);
        builder.adopt(fresh);
        update_gauge();
        vain_growth_ = false;
    }

    // True when the shards that this batch changed or requires are in `latest` as they were in the
    // base. Pointers suffice: the base is held, so none of them can have been freed and used again.
    [[nodiscard]] bool agrees_with(const ShardTree<Shard>& latest) const noexcept {
        for (const Change& change : changes)
            if (latest.find(change.id) != change.before) return false;
        for (const Requirement& requirement : requirements)
            if (latest.find(requirement.id) != requirement.before) return false;
        return true;
    }

    // The ids for which agrees_with() fails, ascending.
    [[nodiscard]] std::vector<ShardId> conflicts_with(const ShardTree<Shard>& latest) const {
        std::vector<ShardId> ids;
        for (const Change& change : changes)
            if (latest.find(change.id) != change.before) ids.push_back(change.id);
        for (const Requirement& requirement : requirements)
            if (latest.find(requirement.id) != requirement.before) ids.push_back(requirement.id);
        sort_unique(ids);
        return ids;
    }

    // The nodes that replay() takes at most on a tree of this height. Exact where the ids ascend.
    [[nodiscard]] NodeCount replay_need(unsigned height) const noexcept {
        unsigned grown = height;
        for (const Change& change : changes) grown = std::max(grown, height_for(change.id));
        NodeCount need{0, grown - height};
        const auto add_paths = [&](bool removals) {
            bool first = true;
            ShardId last = 0;
            for (const Change& change : changes) {
                if ((change.after == nullptr) != removals) continue;
                // The nodes of this path that the path before does not share.
                const ShardId differing = ((change.id ^ last) >> leaf_bits) << leaf_bits;
                if (first || differing != 0) {
                    ++need.leaves;
                    need.inners += first ? grown : height_for(differing) - 1;
                }
                first = false;
                last = change.id;
            }
        };
        add_paths(false);
        add_paths(true);
        return need;
    }

    // Applies the changes to another tree. Precondition: the pool holds replay_need(). Removals come
    // last: a node that they empty is not needed again.
    void replay(Builder& onto) const noexcept {
        for (const Change& change : changes)
            if (change.after != nullptr) onto.put(change.id, change.after);
        for (const Change& change : changes)
            if (change.after == nullptr) onto.remove(change.id);
    }

    // After a successful commit: nothing here is ours any more.
    void forget_edits(const ShardTree<Shard>& published) noexcept {
        changes.clear();
        requirements.clear();
        if (!erased_.empty()) erased_.clear();
        require_all = false;
        vain_growth_ = false;
        uncommitted.set(0);
        builder.restart(published);
    }

    // Destroys the edits. Runs destructors of shards.
    void clear_edits() noexcept {
        for (const Change& change : changes)
            if (change.after != nullptr) destroy_box(change.after);
        forget_edits({});
        update_gauge();
    }

    // Effect: places the new shards on `base` instead, over whatever is there; erasures and
    // requirements are forgotten.
    void retarget(const ShardTree<Shard>& target) {
        erase_removals();
        requirements.clear();
        require_all = false;
        pool.reserve(replay_need(target.height));
        builder.restart(target);
        for (std::size_t i = 0; i < changes.size(); ++i) {
            Change& change = changes[i];
            change.before = target.find(change.id);
            change.after->change = i;
            builder.put(change.id, change.after);
        }
        update_gauge();
    }

    // The ids changed or required, ascending.
    [[nodiscard]] std::vector<ShardId> touched() const {
        std::vector<ShardId> ids;
        ids.reserve(changes.size() + requirements.size());
        for (const Change& change : changes) ids.push_back(change.id);
        for (const Requirement& requirement : requirements) ids.push_back(requirement.id);
        sort_unique(ids);
        return ids;
    }

    [[nodiscard]] std::size_t uncommitted_bytes() const noexcept {
        return uncommitted.read() + nodes_gauge.read();
    }
    void clear_gauges() noexcept {
        uncommitted.set(0);
        nodes_gauge.set(0);
    }
    // Lets other threads know how many bytes of nodes are in the tree and in the pool.
    void update_gauge() noexcept {
        nodes_gauge.set(builder.own_bytes());
        pooled.set(pool.bytes());
    }

    // A vector that separates making room, which may throw, from adding.
    class Changes : public std::vector<Change> {
      public:
        void reserve_one() {
            if (this->size() == this->capacity())
                this->reserve(std::max<std::size_t>(8, this->size() * 2));
        }
    };

  private:
    // Destroys a box that an exception kept from being placed.
    class Unplaced {
      public:
        Unplaced(WriteBatch& batch, Box* box) noexcept : batch_(batch), box_(box) {}
        ~Unplaced() {
            if (box_ != nullptr) batch_.destroy_box(box_);
            batch_.update_gauge();
        }
        Unplaced(const Unplaced&) = delete;
        Unplaced& operator=(const Unplaced&) = delete;
        void placed() const noexcept { box_ = nullptr; }

      private:
        WriteBatch& batch_;
        mutable Box* box_;
    };

    [[nodiscard]] Box* present(ShardId id, typename Builder::Path& path) const {
        Box* box = builder.find(id, path);
        if (box == nullptr) throw_absent(id, tree().id_bound);
        return box;
    }
    [[nodiscard]] Box* present(ShardId id) const {
        Box* box = tree().find(id);
        if (box == nullptr) throw_absent(id, tree().id_bound);
        return box;
    }

    [[nodiscard]] Box* clone(const Box& box) {
        const bool timed = clone_timer.due(time_every);
        const auto start = timed ? std::chrono::steady_clock::now()
                                 : std::chrono::steady_clock::time_point{};
        Box* copy = make_box([&] { return Policy::clone(box.shard); });
        if (timed) metrics_->record_clone_time(std::chrono::steady_clock::now() - start);
        copy->set_bytes(box.bytes()); // until the commit measures it
        clones.add_alone();
        bytes_cloned.add_alone(box.bytes() - box_overhead<Shard>);
        return copy;
    }

    // Precondition of both: room for one change and for its path is reserved.
    void change_present(ShardId id, const typename Builder::Path& path, Box* before,
                        Box* after) noexcept {
        builder.put(id, path, after);
        list({id, before, after});
    }
    void add_change(ShardId id, Box* after) noexcept {
        builder.put(id, after);
        list({id, nullptr, after});
    }
    void list(const Change& change) noexcept {
        change.after->change = changes.size();
        uncommitted.add_alone(change.after->bytes());
        changes.push_back(change);
    }

    // Precondition: the path is reserved or ours.
    void swap_after(Change& change, Box* box) noexcept {
        if (change.after != nullptr) uncommitted.subtract_alone(change.after->bytes());
        uncommitted.add_alone(box->bytes());
        box->change = static_cast<std::size_t>(&change - changes.data());
        change.after = box;
        builder.put(change.id, box);
    }

    // Takes back what this writer itself had added: as if it had never been there.
    void drop_new(ShardId id, Box* box) {
        builder.remove(id); // its path is ours already
        vain_growth_ = vain_growth_ || id + 1 == tree().id_bound;
        remove_change(box->change);
        destroy_box(box);
        update_gauge();
    }

    void remove_change(std::size_t index) noexcept {
        if (changes[index].after != nullptr)
            uncommitted.subtract_alone(changes[index].after->bytes());
        if (index + 1 != changes.size()) {
            changes[index] = changes.back();
            const Change& moved = changes[index];
            if (moved.after != nullptr)
                moved.after->change = index;
            else
                erased_.find(moved.id)->second = index;
        }
        changes.pop_back();
    }

    void erase_removals() noexcept {
        std::erase_if(changes, [](const Change& change) { return change.after == nullptr; });
        erased_.clear();
    }

    static void sort_unique(std::vector<ShardId>& ids) {
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    }

    Allocator allocator_;
    CowMetrics* metrics_;
    bool vain_growth_ = false;
    std::unordered_map<ShardId, std::size_t> erased_; // ids whose change has no `after`

  public:
    Record* base = nullptr;  // held through Record::writers
    Record* spare = nullptr; // for the next commit; guarded by the commit lock
    Pool pool;              // before the builder, which gives its nodes back to it
    Builder builder{{}, pool};
    Changes changes;
    std::vector<Requirement> requirements;
    bool require_all = false;
    std::string label;

    // Tallies and gauges: written by the writer, read by anyone; folded into the index's own when
    // the writer commits or ends.
    Counter commits;
    Counter reclaimed;
    Counter clones;
    Counter bytes_cloned;
    Counter uncommitted; // boxes
    Counter nodes_gauge; // own nodes
    Counter pooled;      // nodes in the pool
    Counter unlinked;    // garbage on its way to being freed
    std::size_t retired_count = 0;           // by the last commit
    std::size_t retired_bytes = 0;
    SampleTimer clone_timer;
    SampleTimer commit_timer;
    std::uint64_t time_every = 16;

    // Guarded by the commit lock: the list of open writers, or of idle batches.
    WriteBatch* next = nullptr;
    WriteBatch* previous = nullptr;
};

} // namespace cowindex::detail
