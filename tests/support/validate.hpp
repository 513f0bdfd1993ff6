/// Looks at a whole index from the inside and says what is wrong with it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
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
    template <class Core>
    [[nodiscard]] static auto& chain(Core& core) {
        return core.chain_;
    }
    template <class Core>
    [[nodiscard]] static auto& registry(Core& core) {
        return core.registry_;
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
    template <class Core>
    [[nodiscard]] static bool updating(Core& core) {
        return core.updates_ != nullptr;
    }
};

} // namespace cowindex::detail

namespace test {

using cowindex::detail::TestAccess;

/// What one tree leads to, with its bytes.
struct Reachable {
    std::unordered_set<const void*> objects;
    std::size_t shard_bytes = 0;
    std::size_t node_bytes = 0;
    std::size_t shards = 0;

    [[nodiscard]] bool has(const void* object) const { return objects.count(object) != 0; }
};

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

    void check_birth(cowindex::Version birth, cowindex::Version parent_birth, bool parent_own) {
        if (birth == cowindex::detail::unborn) {
            if (!unborn_allowed_) fail("something unborn is published");
            if (!parent_own) fail("something unborn below something published");
        } else {
            if (birth > version_) fail("something is younger than its version");
            if (birth > parent_birth) fail("a child is younger than its parent");
        }
    }

    void visit(const Node& node, unsigned level, cowindex::ShardId first,
               cowindex::Version parent_birth, bool parent_own) {
        if (!found_.objects.insert(&node).second) return fail("a node is twice in one tree");
        if (node.level != level) return fail("a node is at the wrong level");
        check_birth(node.birth, parent_birth, parent_own);
        const bool own = node.birth == cowindex::detail::unborn;
        found_.node_bytes += node.bytes();
        if (!own && node.origin != nullptr) fail("a published node remembers its origin");
        if (level == 0)
            visit_children(static_cast<const Leaf&>(node), level, first, own);
        else
            visit_children(static_cast<const Inner&>(node), level, first, own);
    }

    template <class AnyNode>
    void visit_children(const AnyNode& node, unsigned level, cowindex::ShardId first, bool own) {
        std::size_t used = 0;
        if (node.extent > AnyNode::width) return fail("an extent is too large");
        for (std::size_t i = 0; i < AnyNode::width; ++i) {
            if (node.child[i] == nullptr) continue;
            ++used;
            if (i >= node.extent) return fail("a child is beyond the extent");
            if constexpr (AnyNode::width == cowindex::detail::leaf_width) {
                visit_box(*node.child[i], first + i, node.birth, own);
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

    void visit_box(const typename Leaf::Child& box, cowindex::ShardId id,
                   cowindex::Version leaf_birth, bool own) {
        if (!found_.objects.insert(&box).second) return fail("a shard is twice in one tree");
        check_birth(box.birth, leaf_birth, own);
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

/// Checks one index whole. For a moment when no other thread uses it.
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
        std::unordered_map<const void*, std::size_t> beyond;
        for (const Record* record : records_) {
            if (record == chain_.latest()) continue;
            add_bytes(record->tree.root, beyond);
        }
        std::size_t bytes = 0;
        const Reachable& latest = reachable_.at(chain_.latest());
        for (const auto& [object, size] : beyond)
            if (!latest.has(object)) bytes += size;
        return bytes;
    }

  private:
    void fail(const std::string& what, const Record* record = nullptr) {
        if (!problem_.empty()) return;
        problem_ = what;
        if (record != nullptr) problem_ += ", version " + std::to_string(record->version);
    }

    void add_bytes(const cowindex::detail::Node* node,
                   std::unordered_map<const void*, std::size_t>& bytes) const {
        if (node == nullptr) return;
        if (!bytes.emplace(node, node->bytes()).second) return;
        if (node->level == 0) {
            for (const auto* box : static_cast<const cowindex::detail::Leaf<Shard>*>(node)->child)
                if (box != nullptr) bytes.emplace(box, box->bytes());
        } else {
            for (const auto* child : static_cast<const cowindex::detail::Inner*>(node)->child)
                add_bytes(child, bytes);
        }
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
        for (const Record* record : records_) {
            Reachable& found = reachable_[record];
            // What only a version led to that is being dropped may be freed already.
            if (record->stage == Stage::dropping) continue;
            const std::string wrong =
                TreeWalk<Shard>(record->tree, record->version, false, found).check();
            if (!wrong.empty()) fail(wrong, record);
        }
        const Reachable& latest = reachable_[chain_.latest()];
        if (chain_.live().shards != latest.shard_bytes) fail("live bytes of shards are wrong");
        if (chain_.live().nodes != latest.node_bytes) fail("live bytes of nodes are wrong");
    }

    struct Listed {
        std::unordered_set<const void*> objects;
        std::size_t bytes = 0;
        std::size_t node_bytes = 0;
        cowindex::Version oldest_birth = cowindex::detail::unborn;
        cowindex::Version newest_birth = 0;
    };

    Listed list(const cowindex::detail::DeadList& dead, const Record* record) {
        Listed listed;
        for (const auto* object = dead.head(); object != nullptr; object = object->next) {
            if (!listed.objects.insert(object).second) fail("twice on a dead list", record);
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
        for (const Record* record : records_) {
            const Listed listed = list(record->dead, record);
            bytes += listed.bytes;
            node_bytes += listed.node_bytes;
            if (record->newer == nullptr) {
                if (!listed.objects.empty()) fail("the latest has a dead list", record);
                continue;
            }
            if (!listed.objects.empty() && listed.newest_birth > record->version)
                fail("something dead is younger than its version", record);
            const Reachable& here = reachable_[record];
            const Reachable& next = reachable_[record->newer];
            // While one version is being dropped, its neighbours' lists are between two states.
            const bool between =
                record->stage == Stage::dropping || record->newer->stage == Stage::dropping;
            for (const void* object : listed.objects) {
                if (record->stage != Stage::dropping && !here.has(object))
                    fail("a dead list holds what its version lacks", record);
                if (!between && next.has(object)) fail("something dead lives on", record);
            }
            if (between) continue;
            for (const void* object : here.objects)
                if (!next.has(object) && listed.objects.count(object) == 0)
                    fail("something that died is on no list", record);
        }
        if (bytes != chain_.dead_bytes()) fail("the bytes of dead lists are wrong");
        if (node_bytes != chain_.dead_nodes_bytes()) fail("the bytes of dead nodes are wrong");
    }

    void check_garbage() {
        std::size_t bytes = 0;
        for (std::size_t lane = 0; lane < cowindex::detail::GarbageLanes::lanes; ++lane) {
            const Listed garbage = list(chain_.garbage().lane(lane), nullptr);
            bytes += garbage.bytes;
            for (const Record* record : records_) {
                if (record->stage == Stage::dropping) continue;
                for (const void* object : garbage.objects)
                    if (reachable_[record].has(object)) fail("garbage is in use", record);
            }
        }
        if (bytes != chain_.garbage().bytes()) fail("the bytes of the garbage are wrong");
    }

    void check_stages() {
        std::map<Stage, std::size_t> count;
        for (const Record* record : records_) {
            ++count[record->stage];
            const bool latest = record == chain_.latest();
            if ((record->stage == Stage::latest) != latest) fail("a stage is wrong", record);
            if (record->stage == Stage::superseded && record->owner == nullptr)
                fail("a superseded version has no owner", record);
            if (latest && record->owner != nullptr) fail("the latest owns itself", record);
            if (record->stage == Stage::dropping && record->writers != 0)
                fail("a version with writers is being dropped", record);
            if (record->stage == Stage::dropped) fail("a dropped version is in the chain", record);
        }
        if (count[Stage::superseded] != chain_.superseded_count()) fail("superseded miscounted");
        if (count[Stage::pinned] != chain_.pinned_count()) fail("pinned miscounted");
        if (count[Stage::cleared] != chain_.cleared_count()) fail("cleared miscounted");
        if (count[Stage::owned] != chain_.owned_count()) fail("owned miscounted");
        if (count[Stage::dropping] > 1) fail("two versions are being dropped at once");
    }

    void check_writers() {
        std::map<const Record*, std::size_t> writers;
        std::size_t open = 0;
        for (auto* batch = TestAccess::open_batches(core_); batch != nullptr; batch = batch->next) {
            ++open;
            ++writers[batch->base];
            check_batch(*batch);
        }
        if (open != TestAccess::open_count(core_)) fail("open writers are miscounted");
        for (const Record* record : records_) {
            if (record->writers != writers[record]) fail("holding writers are miscounted", record);
            writers.erase(record);
        }
        if (!writers.empty()) fail("a writer is based on a version that is gone");
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
        Reachable found;
        const std::string wrong =
            TreeWalk<Shard>(batch.tree(), batch.base->version, true, found).check();
        if (!wrong.empty()) fail("in a writer: " + wrong, batch.base);
        std::size_t boxes = 0;
        for (std::size_t i = 0; i < batch.changes.size(); ++i) {
            const auto& change = batch.changes[i];
            if (batch.base->tree.find(change.id) != change.before)
                fail("a change does not know what it replaces", batch.base);
            if (batch.tree().find(change.id) != change.after)
                fail("a change is not in the writer's tree", batch.base);
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
    std::unordered_map<const Record*, Reachable> reachable_;
    std::string problem_;
};

/// *Returns* what is wrong with the index; empty where nothing is.
template <class Shard, class Policy>
[[nodiscard]] std::string validate(const cowindex::CowIndex<Shard, Policy>& index) {
    return Validation<Shard, Policy>(index).run();
}

} // namespace test
