// The edits of one writer: what it changed, on which base, in a private tree.
//
// The batch itself is the list of changes; the tree is derived from it and can be built again on a
// newer version (replay). Every operation either does all of its work or none of it: first
// whatever may throw (making the shard, reserving nodes and room), then the linking, which cannot.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/change_list.hpp>
#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/dead_list.hpp>
#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/shard_tree.hpp>
#include <cowindex/detail/tree_builder.hpp>
#include <cowindex/errors.hpp>

namespace cowindex::detail {

template <class Shard, class Policy, class Record>
class WriteBatch {
  public:
    using Box = ShardBox<Shard>;
    using Allocator = typename Policy::Allocator;
    using Builder = TreeBuilder<Shard, Allocator>;
    using Pool = NodePool<Shard, Allocator>;

    WriteBatch(const Allocator& allocator, CowMetrics& metrics, std::uint64_t time_every)
        : allocator_(allocator), metrics_(&metrics), time_every_(time_every), boxes(allocator),
          spares(allocator), pool(allocator) {}
    WriteBatch(const WriteBatch&) = delete;
    WriteBatch& operator=(const WriteBatch&) = delete;

    [[nodiscard]] const ShardTree<Shard>& tree() noexcept { return builder.tree(); }
    [[nodiscard]] bool has_changes() const noexcept { return !changes.empty(); }

    // ---- edits -------------------------------------------------------------------------------

    [[nodiscard]] COWINDEX_LONG Shard& edit(ShardId id) {
        typename Builder::Path path;
        Box* box = present(id, path);
        if (box->birth == unborn) return box->shard;
        Box* copy = make_copy(builder.need(path), *box);
        copy->set_bytes(box->bytes()); // until the commit measures it
        change_present(id, path, box, copy);
        return copy->shard;
    }

    template <class Make>
    void replace(ShardId id, Make&& make) {
        typename Builder::Path path;
        Box* current = present(id, path);
        Box* box = make_box(builder.need(path), std::forward<Make>(make));
        if (current->birth != unborn) {
            change_present(id, path, current, box);
            return;
        }
        changes.set_after(changes[current->change], box);
        builder.put(id, path, box);
        count(box);
        dismiss(current);
    }

    // Precondition: `id` is absent and usable.
    template <class Make>
    void insert(ShardId id, Make&& make) {
        Box* box = make_box(builder.need(id), std::forward<Make>(make));
        builder.put(id, box);
        if (auto* erasure = changes.erasure(id))
            changes.set_after(*erasure, box);
        else
            changes.add({id, nullptr, box});
        count(box);
    }

    void erase(ShardId id) {
        Box* box = present(id);
        const bool own = box->birth == unborn;
        if (own && changes[box->change].before == nullptr) {
            take_back(id, box);
            dismiss(box);
            return;
        }
        changes.reserve_one();
        changes.reserve_erasure(id, own ? box->change : changes.size());
        Rollback rollback([&]() noexcept { changes.cancel_erasure(id); });
        pool.reserve(builder.need(id));
        rollback.done();
        builder.remove(id);
        if (own) {
            changes[box->change].after = nullptr;
            dismiss(box);
        } else {
            changes.add_erasure(id, box);
        }
    }

    // Forgets what was done to `id`, and that it was required.
    void revert(ShardId id) {
        if (Box* box = tree().find(id); box != nullptr && box->birth == unborn) {
            auto& change = changes[box->change];
            if (change.before == nullptr) {
                take_back(id, box);
            } else {
                builder.put(id, change.before); // its path is ours already
                changes.remove(change);
            }
            changes.forget_requirement(id);
            dismiss(box);
            return;
        }
        if (auto* erasure = changes.erasure(id)) {
            pool.reserve(builder.need(id));
            builder.put(id, erasure->before);
            changes.remove(*erasure);
        }
        changes.forget_requirement(id);
    }

    void require(ShardId id) {
        Box* box = present(id);
        if (box->birth == unborn) box = changes[box->change].before;
        if (box != nullptr) changes.require(id, box); // a shard of our own making needs no check
    }

    // ---- committing --------------------------------------------------------------------------

    // Asks the policy for the size of each changed shard. Nothing changes if it throws.
    void measure() {
        bool differs = false;
        changes.walk([&](auto& change) {
            if (change.after == nullptr) return;
            change.measured = Policy::bytes(change.after->shard) + box_overhead<Shard>;
            differs = differs || change.measured != change.after->bytes();
        });
        if (!differs) return;
        for (auto& change : changes) {
            if (change.after == nullptr) continue;
            uncommitted.add_alone(change.measured - change.after->bytes());
            change.after->set_bytes(change.measured);
        }
    }

    // Makes ready for replaying the changes on a tree of this height. Strong exception guarantee.
    void reserve_replay(unsigned height) {
        changes.sort();
        pool.reserve(changes.replay_need(height));
    }

    // Moves the edits to `onto`, with which they must agree. Strong exception guarantee.
    void rebuild(const ShardTree<Shard>& onto) {
        reserve_replay(onto.height);
        Builder built(onto, pool);
        changes.replay(built);
        builder.adopt(built);
        fit_stocks(builder.own_count(), changes.size());
        vain_growth_ = false;
    }

    // Rebuilds the tree where it has grown for ids that were taken back: what is published must not
    // depend on them.
    void drop_vain_growth() {
        if (vain_growth_) rebuild(base->tree);
    }

    // Places the new shards on `onto` instead, over whatever is there; erasures and requirements
    // are forgotten.
    void retarget(const ShardTree<Shard>& onto) {
        changes.remove_erasures();
        changes.forget_requirements();
        reserve_replay(onto.height);
        builder.restart(onto);
        for (auto& change : changes) {
            change.before = onto.find(change.id);
            builder.put(change.id, change.after);
        }
    }

    // After a successful commit: nothing here is ours any more.
    void forget_edits(const ShardTree<Shard>& published) noexcept {
        forget_changes();
        builder.restart(published);
    }
    // The same where what was published is the batch's own tree.
    void forget_changes() noexcept {
        changes.clear();
        vain_growth_ = false;
    }

    // Lets go of the edits. Their shards are on `dropped`, for the caller to free: a destructor
    // then finds this batch as it will be afterwards.
    void take_edits(DeadList& dropped) noexcept {
        if (changes.empty() && !builder.has_own()) { // stocks are as the last commit has left them
            forget_changes();
            return;
        }
        for (const auto& change : changes)
            if (change.after != nullptr) dropped.push(change.after);
        forget_edits({});
        uncommitted.set(0);
        fit_stocks({}, 0);
    }

    // The bytes that the commit will replace where the base is still the latest version: of what
    // was born after version `held`, or of all where that is null.
    [[nodiscard]] std::size_t replaced_bytes(const Builder& built,
                                             const Version* held) const noexcept {
        std::size_t bytes = built.replaced_bytes(held);
        for (const auto& change : changes)
            if (change.before != nullptr && (held == nullptr || change.before->birth > *held))
                bytes += change.before->bytes();
        return bytes;
    }

    // ---- gauges ------------------------------------------------------------------------------

    // Any thread, each.
    [[nodiscard]] std::size_t uncommitted_bytes() const noexcept {
        return uncommitted.read() + builder.own_bytes();
    }
    [[nodiscard]] std::size_t pooled_bytes() const noexcept {
        return pool.bytes() + boxes.bytes() + spares.bytes();
    }

    // ---- garbage -----------------------------------------------------------------------------

    // Effect: the stocks keep about what a commit of this size takes, and `least` objects anyway.
    void fit_stocks(NodeCount used, std::size_t shards, std::size_t least = least_kept) noexcept {
        pool.fit(used, least);
        boxes.fit(std::max(shards, least));
    }

    // Keeps what nobody can reach any more if that runs no code of the user's: under the lock.
    [[nodiscard]] bool keep(Node* node) noexcept { return pool.give_if_room(node); }
    [[nodiscard]] bool keep(Box* box) noexcept {
        if constexpr (recycles<Shard, Policy>) return spares.give_if_room(box);
        return std::is_trivially_destructible_v<Shard> && boxes.give_if_room(box);
    }

    // Frees what a commit has unlinked, or keeps it for the next edits; moves its bytes from
    // `unlinked` to where they are then. Runs destructors, which may look, and edit.
    void reuse(Node* node) noexcept {
        const std::size_t bytes = node->bytes();
        if (!pool.give_if_room(node)) destroy_node<Shard>(allocator_, node);
        unlinked.subtract_alone(bytes);
    }
    void reuse(Box* box) noexcept {
        const std::size_t bytes = box->bytes();
        if (!recycles<Shard, Policy> || !spares.give_if_room(box)) {
            box->~Box();
            boxes.give(box);
        }
        unlinked.subtract_alone(bytes);
    }

  private:
    // Makes a shard, and room for one change and for `nodes`. The shard comes last, so that what it
    // is made from is untouched if memory runs out. On failure the pools are as they were, too.
    template <class Make>
    [[nodiscard]] Box* make_box(NodeCount nodes, Make&& make) {
        return make_in(
            boxes, boxes.take(),
            [&](Box* memory) {
                return ::new (static_cast<void*>(memory)) Box(std::forward<Make>(make));
            },
            nodes);
    }

    // The same for a copy; into a retired shard where the policy knows how and there is one.
    [[nodiscard]] Box* make_copy(NodeCount nodes, const Box& original) {
        static_assert(assign_is_right<Shard, Policy>(),
                      "cowindex: Policy::assign must take (Shard& retired, const Shard& shard)");
        if constexpr (recycles<Shard, Policy>) {
            if (Box* retired = spares.take(); retired != nullptr) {
                const auto assign = [&](Box* box) {
                    copy_shard(original, [&] { Policy::assign(box->shard, original.shard); });
                    box->birth = unborn;
                    return box;
                };
                return make_in(spares, retired, assign, nodes);
            }
        }
        const auto clone = [&]() -> Shard {
            return copy_shard(original, [&] { return Policy::clone(original.shard); });
        };
        return make_box(nodes, clone);
    }

    template <class From, class Make>
    [[nodiscard]] Box* make_in(From& from, Box* place, Make&& make, NodeCount nodes) {
        const NodeCount stock = pool.stock();
        if (!changes.has_room() || !pool.holds(nodes)) [[unlikely]]
            make_room(from, place, nodes);
        Rollback rollback([&]() noexcept {
            pool.trim(stock);
            from.give(place);
        });
        Box* box = make(place);
        rollback.done();
        return box;
    }
    template <class From>
    COWINDEX_COLD void make_room(From& from, Box* place, NodeCount nodes) {
        Rollback rollback([&]() noexcept { from.give(place); });
        changes.reserve_one();
        pool.reserve(nodes);
        rollback.done();
    }

    [[nodiscard]] Box* present(ShardId id, typename Builder::Path& path) {
        Box* box = builder.find(id, path);
        if (box == nullptr) throw_absent(id, tree().id_bound);
        return box;
    }
    [[nodiscard]] Box* present(ShardId id) {
        typename Builder::Path path;
        return present(id, path);
    }

    // Counts a copy, and times some.
    template <class Copy>
    decltype(auto) copy_shard(const Box& original, Copy&& copy) {
        clones.add_alone();
        bytes_cloned.add_alone(original.bytes() - box_overhead<Shard>);
        if (!Policy::timing || !clone_timer_.due(time_every_)) [[likely]]
            return copy();
        const ScopeTime time([this](auto passed) { metrics_->record_clone_time(passed); });
        return copy();
    }

    // Precondition: room for one change and for its path is reserved.
    void change_present(ShardId id, const typename Builder::Path& path, Box* before,
                        Box* after) noexcept {
        if (expects_in_place && !builder.has_own() && builder.is_leaf_born_since(path, own_since))
            builder.put_late(id, path, after);
        else
            builder.put(id, path, after);
        changes.add({id, before, after});
        count(after);
    }

    // Takes back what this writer itself had added: as if it had never been there. `box` is to be
    // dismissed.
    void take_back(ShardId id, Box* box) noexcept {
        builder.remove(id); // its path is ours already; nodes that it empties may be given back
        vain_growth_ = vain_growth_ || id + 1 == tree().id_bound;
        changes.remove(changes[box->change]);
    }

    void count(const Box* box) noexcept { uncommitted.add_alone(box->bytes()); }

    // Frees a box of ours that is in no version. Runs the shard's destructor, which may use this
    // batch: the last thing to be done.
    void dismiss(Box* box) noexcept {
        uncommitted.subtract_alone(box->bytes());
        const Allocator allocator = allocator_;
        const FreeingShards freeing;
        destroy_object(allocator, box);
    }

    Allocator allocator_;
    CowMetrics* metrics_;
    std::uint64_t time_every_;
    SampleTimer clone_timer_;
    bool vain_growth_ = false;

  public:
    Record* base = nullptr; // held through Record::writers
    BoxPool<Box, Allocator> boxes;
    SparePool<Box, Allocator> spares;
    Pool pool; // before the builder, which gives its nodes back to it
    Builder builder{{}, pool};
    ChangeList<Shard> changes;
    SampleTimer commit_timer;
    std::vector<ShardId> conflicts; // of a refusal, for the writer to take
    std::size_t refused_bytes = 0;  // what the index would hold after the commit that was refused
    bool counts_on_room = false;    // the commit fits only if what it sets free is freed at once
    bool held_up = false;          // it did not fit while other writers were open, which may let go
    bool busy = false;             // in an operation that runs user code and is not over with that
    bool closing = false;          // to be closed when it is over
    bool expects_in_place = false; // its last commit was one, of one shard
    Version own_since = 0;         // VersionChain::own_since() at its last commit: a hint

    // Tallies and gauges: written by the writer, read by anyone. The tallies are folded into the
    // index's own when the batch ends; until then metrics() adds them up.
    Counter commits;
    Counter reclaimed;
    Counter clones;
    Counter bytes_cloned;
    Counter uncommitted; // shards
    Counter unlinked;    // garbage on its way to being freed

    // Guarded by the commit lock.
    Record* spare = nullptr; // for the next commit
    std::size_t lane = 0;    // of its garbage, as long as the batch lives
    std::thread::id user;    // who opened it last
    std::string label;
    WriteBatch* next = nullptr; // the open writers, or the idle batches
    WriteBatch* previous = nullptr;
};

} // namespace cowindex::detail
