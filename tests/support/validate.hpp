/// Looks at a whole index from the inside and says what is wrong with it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <cowindex/cowindex.hpp>

namespace cowindex::detail {

/// The friend that the library grants its own tests.
struct TestAccess {
    template <class Shard, class Policy>
    [[nodiscard]] static Core<Shard, Policy>& core(const CowIndex<Shard, Policy>& index) {
        return *index.core_;
    }
    template <class Shard, class Policy>
    [[nodiscard]] static auto& batch(const IndexWriter<Shard, Policy>& writer) {
        return *writer.batch_;
    }
    template <class Shard, class Policy>
    [[nodiscard]] static auto& tree(const IndexWriter<Shard, Policy>& writer) {
        return writer.tree();
    }
    template <class Shard, class Policy>
    [[nodiscard]] static auto& tree(const Snapshot<Shard, Policy>& snapshot) {
        return snapshot.tree();
    }
    template <class Shard, class Policy>
    [[nodiscard]] static auto* last(const Reader<Shard, Policy>& reader) {
        return reader.last_;
    }
    template <class Lock>
    [[nodiscard]] static auto takes(const Lock& lock) {
        return lock.takes_.read();
    }
    template <class Core>
    [[nodiscard]] static auto& takes_of(Core& core) {
        return core.lock_.takes_;
    }
    template <class Core>
    [[nodiscard]] static auto rivalry_ends(const Core& core) {
        return core.rivalry_ends_.read();
    }
    template <class Core>
    [[nodiscard]] static auto& chain(Core& core) {
        return core.chain_;
    }
    template <class Core>
    [[nodiscard]] static auto& registry(Core& core) {
        return core.registry_;
    }
    // Claimed or free.
    template <class Registry>
    [[nodiscard]] static std::size_t slots_made(const Registry& registry) {
        std::size_t made = 0;
        for (const auto* list : {registry.slots_, registry.free_})
            for (const auto* slot = list; slot != nullptr; slot = slot->next) ++made;
        return made;
    }
    template <class Core>
    [[nodiscard]] static auto& publication(Core& core) {
        return core.publication_;
    }
    template <class Core>
    [[nodiscard]] static auto* open_batches(Core& core) {
        return core.open_;
    }
    template <class Core>
    [[nodiscard]] static auto* idle_batches(Core& core) {
        return core.idle_;
    }
    template <class Core>
    [[nodiscard]] static std::size_t barrier_versions(Core& core) {
        return core.barrier_versions_;
    }
    template <class Core>
    [[nodiscard]] static std::size_t waiters(Core& core) {
        const Guard guard(core.lock_);
        return core.waiters_;
    }
    template <class Core>
    [[nodiscard]] static std::size_t open_count(Core& core) {
        return core.open_count_;
    }
    template <class Core>
    [[nodiscard]] static std::size_t idle_count(Core& core) {
        return core.idle_count_;
    }
    /// The tree without the put that is late, and the box of that: asking for the tree would make
    /// it.
    template <class Builder>
    [[nodiscard]] static const auto& early_tree(const Builder& builder) {
        return builder.tree_;
    }
    template <class Builder>
    [[nodiscard]] static const void* late_box(const Builder& builder) {
        return builder.late_;
    }
    /// How many changes it has room for.
    template <class Changes>
    [[nodiscard]] static std::size_t room(const Changes& changes) {
        return changes.list_.capacity();
    }
    template <class Core>
    [[nodiscard]] static bool updating(Core& core) {
        return std::any_of(std::begin(core.updates_), std::end(core.updates_),
                           [](const auto* first) { return first != nullptr; });
    }
};

} // namespace cowindex::detail

namespace test {

using cowindex::detail::TestAccess;

/// A set of addresses that keeps its memory when it is cleared: a fuzzer fills some millions of
/// them.
class AddressSet {
  public:
    /// Returns false where it is in there already.
    bool insert(const void* address) {
        if (2 * (size_ + 1) > slots_.size()) grow();
        const void*& slot = slots_[place_of(address)];
        if (slot != nullptr) return false;
        slot = address;
        ++size_;
        return true;
    }
    [[nodiscard]] bool has(const void* address) const {
        return size_ != 0 && slots_[place_of(address)] != nullptr;
    }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    void clear() {
        if (size_ != 0) std::fill(slots_.begin(), slots_.end(), nullptr);
        size_ = 0;
    }
    template <class Fn>
    void for_each(Fn&& fn) const {
        if (size_ == 0) return;
        for (const void* address : slots_)
            if (address != nullptr) fn(address);
    }

  private:
    // Where it is, or would be.
    [[nodiscard]] std::size_t place_of(const void* address) const {
        const auto bits = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address));
        const std::uint64_t mixed = (bits >> 3) * 0x9E3779B97F4A7C15U;
        const std::size_t mask = slots_.size() - 1;
        std::size_t place = static_cast<std::size_t>(mixed >> 40) & mask;
        while (slots_[place] != nullptr && slots_[place] != address) place = (place + 1) & mask;
        return place;
    }
    void grow() {
        const std::vector<const void*> before = std::exchange(
            slots_, std::vector<const void*>(std::max<std::size_t>(64, 2 * slots_.size())));
        for (const void* address : before)
            if (address != nullptr) slots_[place_of(address)] = address;
    }

    std::vector<const void*> slots_; // a power of two
    std::size_t size_ = 0;
};

/// What one tree leads to, with its bytes.
struct Reachable {
    AddressSet objects;
    std::size_t shard_bytes = 0;
    std::size_t node_bytes = 0;
    std::size_t shards = 0;

    [[nodiscard]] bool has(const void* object) const { return objects.has(object); }
    void clear() {
        objects.clear();
        shard_bytes = node_bytes = shards = 0;
    }
};

// The first child from `at` on. A node is one object, whose other members sanitizers have seen
// read.
template <class AnyNode>
#if defined(__clang__)
__attribute__((no_sanitize("address", "undefined", "coverage")))
#endif
std::size_t
next_child(const AnyNode& node, std::size_t at) {
    while (at < AnyNode::width && node.child[at] == nullptr) ++at;
    return at;
}

/// Walks one tree. `unborn_allowed`: it is a writer's own.
template <class Shard>
class TreeWalk {
  public:
    using Tree = cowindex::detail::ShardTree<Shard>;
    using Node = cowindex::detail::Node;
    using Inner = cowindex::detail::Inner;
    using Leaf = cowindex::detail::Leaf<Shard>;

    TreeWalk(const Tree& tree, cowindex::Version version, bool unborn_allowed, Reachable& found)
        : tree_(tree), version_(version), unborn_allowed_(unborn_allowed), found_(found) {}

    /// *Returns* the first thing that is wrong, or nothing.
    [[nodiscard]] std::string check() {
        if (tree_.height > cowindex::detail::max_height) return "a tree is too high";
        if (tree_.id_bound > 0 && cowindex::detail::height_for(tree_.id_bound - 1) > tree_.height)
            return "a tree is too low for its id_bound";
        if ((tree_.root == nullptr) != (tree_.size == 0)) return "a root without shards";
        if (tree_.root != nullptr)
            visit(*tree_.root, tree_.height, 0, cowindex::detail::unborn, true);
        if (problem_.empty() && found_.shards != tree_.size) problem_ = "size is not the shards";
        return problem_;
    }

  private:
    void fail(const char* what) {
        if (problem_.empty()) problem_ = what;
    }

    // A shard may be younger than its leaf: where nobody could look, it took its place there.
    void check_birth(cowindex::Version birth, cowindex::Version parent_birth, bool parent_own) {
        if (birth == cowindex::detail::unborn) {
            if (!unborn_allowed_) fail("something unborn is published");
            if (!parent_own) fail("something unborn below something published");
        } else {
            if (birth > version_) fail("something is younger than its version");
            if (birth > parent_birth) fail("a node is younger than its parent");
        }
    }

    void visit(const Node& node, unsigned level, cowindex::ShardId first,
               cowindex::Version parent_birth, bool parent_own) {
        if (!found_.objects.insert(&node)) return fail("a node is twice in one tree");
        if (node.level != level) return fail("a node is at the wrong level");
        check_birth(node.birth, parent_birth, parent_own);
        const bool own = node.birth == cowindex::detail::unborn;
        found_.node_bytes += node.bytes();
        if (level == 0)
            visit_children(static_cast<const Leaf&>(node), level, first, own);
        else
            visit_children(static_cast<const Inner&>(node), level, first, own);
    }

    template <class AnyNode>
    void visit_children(const AnyNode& node, unsigned level, cowindex::ShardId first, bool own) {
        std::size_t used = 0;
        if (node.extent > AnyNode::width) return fail("an extent is too large");
        for (std::size_t i = next_child(node, 0); i < AnyNode::width; i = next_child(node, i + 1)) {
            ++used;
            if (i >= node.extent) return fail("a child is beyond the extent");
            if constexpr (AnyNode::width == cowindex::detail::leaf_width) {
                visit_box(*node.child[i], first + i, own);
            } else {
                const unsigned shift =
                    cowindex::detail::leaf_bits + cowindex::detail::inner_bits * (level - 1);
                visit(*node.child[i], level - 1, first | (cowindex::ShardId{i} << shift),
                      node.birth, own);
            }
        }
        if (used != node.used) fail("used is not the children");
        if (used == 0) fail("a node is empty");
    }

    void visit_box(const typename Leaf::Child& box, cowindex::ShardId id, bool own) {
        if (!found_.objects.insert(&box)) return fail("a shard is twice in one tree");
        check_birth(box.birth, version_, own);
        if (id >= tree_.id_bound) fail("a shard is at or above id_bound");
        found_.shard_bytes += box.bytes();
        ++found_.shards;
        if (box.bytes() < cowindex::detail::box_overhead<Shard>) fail("a shard has no bytes");
    }

    const Tree& tree_;
    cowindex::Version version_;
    bool unborn_allowed_;
    Reachable& found_;
    std::string problem_;
};

/// Checks one index whole. For a moment when no other thread uses it. May run again and again, and
/// then keeps its memory.
template <class Shard, class Policy>
class Validation {
  public:
    using Core = cowindex::detail::Core<Shard, Policy>;
    using Record = typename Core::Record;
    using Stage = cowindex::detail::Stage;

    explicit Validation(const cowindex::CowIndex<Shard, Policy>& index)
        : Validation(TestAccess::core(index)) {}
    /// For an index whose handles are gone, but not all of its users.
    explicit Validation(Core& core) : core_(core), chain_(TestAccess::chain(core_)) {}

    [[nodiscard]] std::string run() {
        problem_.clear();
        records_.clear();
        check_chain();
        if (problem_.empty()) check_trees();
        if (problem_.empty()) check_dead_lists();
        if (problem_.empty()) check_garbage();
        if (problem_.empty()) check_stages();
        if (problem_.empty()) check_writers();
        return problem_;
    }

    /// The versions still in the chain, oldest first. Valid after run().
    [[nodiscard]] std::vector<cowindex::Version> versions() const {
        std::vector<cowindex::Version> all;
        for (const Record* record : records_) all.push_back(record->version);
        return all;
    }

    /// The bytes of everything that any version in the chain leads to, and not the latest.
    [[nodiscard]] std::size_t bytes_beyond_latest() const {
        AddressSet seen;
        std::size_t bytes = 0;
        for (const Record* record : records_)
            if (record != chain_.latest()) bytes += bytes_beyond_latest(record->tree.root, seen);
        return bytes;
    }

  private:
    void fail(const std::string& what, const Record* record = nullptr) {
        if (!problem_.empty()) return;
        problem_ = what;
        if (record != nullptr) problem_ += ", version " + std::to_string(record->version);
    }

    std::size_t bytes_beyond_latest(const cowindex::detail::Node* node, AddressSet& seen) const {
        if (node == nullptr || !seen.insert(node)) return 0;
        const Reachable& latest = reachable_[records_.size() - 1];
        std::size_t bytes = latest.has(node) ? 0 : node->bytes();
        if (node->level == 0) {
            for (const auto* box : static_cast<const cowindex::detail::Leaf<Shard>*>(node)->child)
                if (box != nullptr && seen.insert(box) && !latest.has(box)) bytes += box->bytes();
        } else {
            for (const auto* child : static_cast<const cowindex::detail::Inner*>(node)->child)
                bytes += bytes_beyond_latest(child, seen);
        }
        return bytes;
    }

    void check_chain() {
        const Record* before = nullptr;
        for (const Record* record = chain_.oldest(); record != nullptr; record = record->newer) {
            if (record->older != before) fail("a link back is wrong", record);
            if (before != nullptr) {
                if (record->version <= before->version) fail("versions do not ascend", record);
                if (record->tree.id_bound < before->tree.id_bound) fail("id_bound fell", record);
                if (record->tree.height < before->tree.height) fail("the height fell", record);
            }
            if ((record == chain_.latest()) != (record->newer == nullptr))
                fail("the latest is not the end", record);
            if (record->core != &core_) fail("a record of another index", record);
            const auto* before_label = static_cast<const cowindex::detail::LabelLink*>(nullptr);
            for (auto* label = record->labels; label != nullptr; label = label->next) {
                if (label->previous != before_label) fail("a label's link back is wrong", record);
                before_label = label;
            }
            records_.push_back(record);
            before = record;
        }
        if (records_.empty() || records_.size() != chain_.length()) fail("the length is wrong");
        if (TestAccess::publication(core_).latest() != chain_.latest())
            fail("the latest is not published");
    }

    void check_trees() {
        if (reachable_.size() < records_.size()) reachable_.resize(records_.size());
        for (std::size_t i = 0; i < records_.size(); ++i) {
            const Record* record = records_[i];
            Reachable& found = reachable_[i];
            found.clear();
            // What only a version led to that is being dropped may be freed already.
            if (record->stage == Stage::dropping) continue;
            const std::string wrong =
                TreeWalk<Shard>(record->tree, record->version, false, found).check();
            if (!wrong.empty()) fail(wrong, record);
        }
        const Reachable& latest = reachable_[records_.size() - 1];
        if (chain_.live().shards != latest.shard_bytes) fail("live bytes of shards are wrong");
        if (chain_.live().nodes != latest.node_bytes) fail("live bytes of nodes are wrong");
    }

    struct Listed {
        AddressSet objects;
        std::size_t bytes = 0;
        std::size_t node_bytes = 0;
        cowindex::Version oldest_birth = cowindex::detail::unborn;
        cowindex::Version newest_birth = 0;

        void clear() {
            objects.clear();
            bytes = node_bytes = 0;
            oldest_birth = cowindex::detail::unborn;
            newest_birth = 0;
        }
    };

    // Valid until the next list is looked at.
    const Listed& list(const cowindex::detail::DeadList& dead, const Record* record) {
        Listed& listed = listed_;
        listed.clear();
        for (const auto* object = dead.head(); object != nullptr; object = object->next) {
            if (!listed.objects.insert(object)) fail("twice on a dead list", record);
            listed.bytes += object->bytes();
            if (object->is_node()) listed.node_bytes += object->bytes();
            listed.oldest_birth = std::min(listed.oldest_birth, object->birth);
            listed.newest_birth = std::max(listed.newest_birth, object->birth);
        }
        if (listed.objects.size() != dead.count()) fail("a dead list miscounts", record);
        if (listed.bytes != dead.bytes() || listed.node_bytes != dead.node_bytes())
            fail("a dead list has the wrong bytes", record);
        if (!dead.empty() && listed.oldest_birth < dead.min_birth())
            fail("a dead list holds something older than its bound", record);
        return listed;
    }

    void check_dead_lists() {
        std::size_t bytes = 0;
        std::size_t node_bytes = 0;
        for (std::size_t i = 0; i < records_.size(); ++i) {
            const Record* record = records_[i];
            const Listed& listed = list(record->dead, record);
            bytes += listed.bytes;
            node_bytes += listed.node_bytes;
            if (record->newer == nullptr) {
                if (!listed.objects.empty()) fail("the latest has a dead list", record);
                continue;
            }
            if (!listed.objects.empty() && listed.newest_birth > record->version)
                fail("something dead is younger than its version", record);
            const Reachable& here = reachable_[i];
            const Reachable& next = reachable_[i + 1];
            // While one version is being dropped, its neighbours' lists are between two states.
            const bool between =
                record->stage == Stage::dropping || record->newer->stage == Stage::dropping;
            listed.objects.for_each([&](const void* object) {
                if (record->stage != Stage::dropping && !here.has(object))
                    fail("a dead list holds what its version lacks", record);
                if (!between && next.has(object)) fail("something dead lives on", record);
            });
            if (between) continue;
            here.objects.for_each([&](const void* object) {
                if (!next.has(object) && !listed.objects.has(object))
                    fail("something that died is on no list", record);
            });
        }
        if (bytes != chain_.dead_bytes()) fail("the bytes of dead lists are wrong");
        if (node_bytes != chain_.dead_nodes_bytes()) fail("the bytes of dead nodes are wrong");
    }

    void check_garbage() {
        std::size_t bytes = 0;
        for (std::size_t lane = 0; lane < cowindex::detail::GarbageLanes::lanes; ++lane) {
            const Listed& garbage = list(chain_.garbage().lane(lane), nullptr);
            bytes += garbage.bytes;
            garbage.objects.for_each([&](const void* object) {
                for (std::size_t i = 0; i < records_.size(); ++i)
                    if (records_[i]->stage != Stage::dropping && reachable_[i].has(object))
                        fail("garbage is in use", records_[i]);
            });
        }
        if (bytes != chain_.garbage().bytes()) fail("the bytes of the garbage are wrong");
    }

    void check_stages() {
        std::array<std::size_t, static_cast<std::size_t>(Stage::dropped) + 1> counts{};
        const auto count = [&](Stage stage) -> std::size_t& {
            return counts.at(static_cast<std::size_t>(stage));
        };
        for (const Record* record : records_) {
            ++count(record->stage);
            const bool latest = record == chain_.latest();
            if ((record->stage == Stage::latest) != latest) fail("a stage is wrong", record);
            const bool owned = latest ? TestAccess::publication(core_).owner() != nullptr
                                      : record->owner != nullptr;
            if (owned && (record->owners.is_expired() || record->owners.is_released()))
                fail("a version has an owner and had its last", record);
            if (!owned && record->stage == Stage::superseded && !record->owners.is_released())
                fail("a superseded version has lost its owner", record);
            if (latest && !owned && record->snapshots.read() != 0)
                fail("the latest has snapshots and no owner", record);
            if (latest && record->owner != nullptr) fail("the latest owns itself", record);
            if (record->stage == Stage::dropping && record->writers != 0)
                fail("a version with writers is being dropped", record);
            if (record->stage == Stage::dropped) fail("a dropped version is in the chain", record);
        }
        if (count(Stage::superseded) != chain_.superseded_count()) fail("superseded miscounted");
        if (count(Stage::pinned) != chain_.pinned_count()) fail("pinned miscounted");
        if (count(Stage::cleared) != chain_.cleared_count()) fail("cleared miscounted");
        if (count(Stage::owned) != chain_.owned_count()) fail("owned miscounted");
        if (count(Stage::dropping) > 1) fail("two versions are being dropped at once");
    }

    void check_writers() {
        std::vector<std::size_t>& writers = writers_;
        writers.assign(records_.size(), 0);
        std::size_t open = 0;
        for (auto* batch = TestAccess::open_batches(core_); batch != nullptr; batch = batch->next) {
            ++open;
            const auto base = std::find(records_.begin(), records_.end(), batch->base);
            if (base == records_.end()) return fail("a writer is based on a version that is gone");
            ++writers[static_cast<std::size_t>(base - records_.begin())];
            check_batch(*batch);
        }
        if (open != TestAccess::open_count(core_)) fail("open writers are miscounted");
        for (std::size_t i = 0; i < records_.size(); ++i)
            if (records_[i]->writers != writers[i])
                fail("holding writers are miscounted", records_[i]);
        std::size_t idle = 0;
        for (auto* batch = TestAccess::idle_batches(core_); batch != nullptr; batch = batch->next) {
            ++idle;
            if (batch->base != nullptr || batch->has_changes() || batch->uncommitted_bytes() != 0)
                fail("an idle batch is not blank");
        }
        if (idle != TestAccess::idle_count(core_)) fail("idle batches are miscounted");
    }

    template <class Batch>
    void check_batch(Batch& batch) {
        const auto& tree = TestAccess::early_tree(batch.builder);
        const void* const late = TestAccess::late_box(batch.builder);
        if (late != nullptr && (batch.changes.size() != 1 || tree.root != batch.base->tree.root))
            fail("more than one change is late", batch.base);
        batch_reachable_.clear();
        const std::string wrong =
            TreeWalk<Shard>(tree, batch.base->version, true, batch_reachable_).check();
        if (!wrong.empty()) fail("in a writer: " + wrong, batch.base);
        std::size_t boxes = 0;
        for (std::size_t i = 0; i < batch.changes.size(); ++i) {
            const auto& change = batch.changes[i];
            if (batch.base->tree.find(change.id) != change.before)
                fail("a change does not know what it replaces", batch.base);
            if (tree.find(change.id) != (late == nullptr ? change.after : change.before))
                fail("a change is not in the writer's tree", batch.base);
            if (late != nullptr && late != change.after) fail("another change is late", batch.base);
            if (change.after == nullptr) continue;
            boxes += change.after->bytes();
            if (change.after->birth != cowindex::detail::unborn || change.after->change != i)
                fail("a changed shard does not know its change", batch.base);
        }
        if (batch.uncommitted_bytes() != boxes + batch.builder.own_bytes())
            fail("uncommitted bytes are miscounted");
    }

    Core& core_;
    typename Core::Chain& chain_;
    std::vector<const Record*> records_;
    std::vector<Reachable> reachable_; // of records_
    Reachable batch_reachable_;
    Listed listed_;
    std::vector<std::size_t> writers_; // of records_
    std::string problem_;
};

/// *Returns* what is wrong with the index; empty where nothing is.
template <class Shard, class Policy>
[[nodiscard]] std::string validate(const cowindex::CowIndex<Shard, Policy>& index) {
    return Validation<Shard, Policy>(index).run();
}

} // namespace test
