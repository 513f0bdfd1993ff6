// Edits to an index: made in private, published all at once.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/core.hpp>
#include <cowindex/errors.hpp>
#include <cowindex/policy.hpp>
#include <cowindex/reading.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

/// How a `try_commit()` ended.
enum class CommitStatus : std::uint8_t {
    committed,   ///< a new version was published
    unchanged,   ///< there was nothing to publish
    conflict,    ///< another commit changed a shard that this writer changed or required
    over_budget, ///< the index would exceed its hard memory limit
};

/// What became of a `try_commit()`.
class [[nodiscard]] CommitResult {
  public:
    /// Made by `IndexWriter::try_commit()`.
    CommitResult(CommitStatus status, Version version, std::vector<ShardId> conflicts) noexcept
        : status_(status), version_(version), conflicts_(std::move(conflicts)) {}

    /// *Returns* whether it published, and if not, why.
    [[nodiscard]] CommitStatus status() const noexcept { return status_; }

    /// True unless the commit was refused.
    explicit operator bool() const noexcept { return status_ <= CommitStatus::unchanged; }

    /// The version published; where nothing was to be published the latest; after a refusal the
    /// version that the writer is still based on.
    [[nodiscard]] Version version() const noexcept { return version_; }

    /// The shards in conflict, ascending.
    [[nodiscard]] const std::vector<ShardId>& conflicts() const noexcept COWINDEX_LIFETIMEBOUND {
        return conflicts_;
    }

  private:
    CommitStatus status_;
    Version version_;
    std::vector<ShardId> conflicts_;
};

/// Collects edits on top of one version and publishes them with `commit()`. Reading interface: see
/// `ShardReading`; it shows the writer's own edits and never clones.
///
/// First committer wins, for each shard: commits that touch different shards both succeed. After a
/// commit the writer is based on what it published and can go on. After a conflict it still holds
/// its edits. Dropping a writer discards them; nothing is ever committed by a destructor.
///
/// *Thread safety* one thread at a time, also for reading; references from `edit()` to different
/// shards may be written from different threads. *Invalidation* iterators end with the next edit
/// that clones, adds or removes a shard; references from `edit(id)` stay valid through failed
/// commits, `rebase()` and moves of the writer, until a successful commit, `discard()`, or
/// `replace`/`revert`/`erase` of that id. *Exceptions* every member gives the strong guarantee:
/// after a throw from allocation, a copy, a move or the policy, the writer is as before and can be
/// used again. A moved-from writer throws `std::logic_error` when edited or committed.
template <class Shard, class Policy = DefaultPolicy<Shard>>
class IndexWriter : public ShardReading<IndexWriter<Shard, Policy>, Shard> {
  public:
    /// Takes over the edits, and with them the references from `edit()`.
    IndexWriter(IndexWriter&& other) noexcept
        : core_(other.core_), batch_(std::exchange(other.batch_, nullptr)) {
        other.part_from_update();
    }
    /// Discards the edits that this writer had and takes over those of `other`.
    IndexWriter& operator=(IndexWriter&& other) noexcept {
        IndexWriter taken(std::move(other));
        part_from_update();
        std::swap(core_, taken.core_);
        std::swap(batch_, taken.batch_);
        return *this;
    }
    IndexWriter(const IndexWriter&) = delete;
    IndexWriter& operator=(const IndexWriter&) = delete;
    ~IndexWriter() {
        if (batch_ != nullptr) core_->close_batch(std::exchange(batch_, nullptr));
    }

    /// *Returns* the shard for writing. The first touch clones it, no other does. *Complexity* one
    /// clone and one path of the tree. *Invalidation* a successful commit publishes the shard: to
    /// write through the reference after that is a data race. *Exceptions* `std::out_of_range`
    /// naming an absent id, those of `Policy::clone` and of allocating.
    Shard& edit(ShardId id) COWINDEX_LIFETIMEBOUND {
        static_assert(
            requires(const Shard& shard) {
                { Policy::clone(shard) } -> std::same_as<Shard>;
            }, "cowindex: edit() clones the shard, and this shard type cannot be copied. Give the "
               "policy "
               "a `static Shard clone(const Shard&)`, or use replace(), append() and erase().");
        return batch().edit(id);
    }

    /// Effect: `fn(id, edit(id))` for each id of `ids`, a range that can be walked more than once,
    /// in order. What the coming ids need is fetched ahead, so that this takes about half as long
    /// as a loop over `edit()` where the index does not fit into the caches. `fn` must not end this
    /// writer. *Exceptions* as `edit` and `fn`; what was edited before stays edited.
    template <class Ids, class Fn>
    void edit_each(Ids&& ids, Fn&& fn) {
        auto leaf_ahead = std::begin(ids);
        auto ahead = std::begin(ids);
        const auto end = std::end(ids);
        const auto fetch_leaf = [&] {
            if (leaf_ahead != end) fetch_leaf_of(*leaf_ahead++);
        };
        const auto fetch_next = [&] {
            fetch_leaf();
            if (ahead != end) fetch_shard_of(*ahead++);
        };
        for (int i = 0; i < fetched_ahead; ++i) fetch_leaf();
        for (int i = 0; i < fetched_ahead; ++i) fetch_next();
        for (const ShardId id : ids) {
            fetch_next();
            fn(id, edit(id));
        }
    }

    /// As `prefetch` of the reading interface, for a shard that will be edited: fetches what the
    /// edit copies, too. A program that knows its next change calls it before it makes this one.
    COWINDEX_INLINE void prefetch(ShardId id) const noexcept {
        fetch_leaf_of(id);
        fetch_shard_of(id);
    }

    /// Effect: `id` holds `shard` (pass a copy as `Shard(s)`); the old one is not cloned.
    /// *Exceptions* `std::out_of_range` naming an absent id; `shard` is then untouched.
    void replace(ShardId id, Shard&& shard) { emplace(id, std::move(shard)); }

    /// As `replace`, with a shard made in place from `args`.
    template <class... Args>
        requires std::constructible_from<Shard, Args...>
    void emplace(ShardId id, Args&&... args) {
        batch().replace(id, [&] { return Shard(std::forward<Args>(args)...); });
    }

    /// Effect: the absent `id` holds `shard`, and the sequence of new ids goes on behind it.
    /// *Exceptions* `std::invalid_argument` where `id` is present, `std::length_error` for 2^64 -
    /// 1; `shard` is then untouched.
    void insert(ShardId id, Shard&& shard) {
        Batch& edits = batch();
        if (id == detail::unborn) detail::throw_id_limit();
        if (this->contains(id)) detail::throw_present(id);
        edits.insert(id, [&] { return Shard(std::move(shard)); });
        core_->reserve_id(id);
    }

    /// *Returns* the new shard's id, the next of a sequence that all writers of the index share. An
    /// id that is discarded is not used again, so appending writers never conflict.
    ShardId append(Shard&& shard) {
        Batch& edits = batch();
        const ShardId id = core_->next_id();
        edits.insert(id, [&] { return Shard(std::move(shard)); });
        return id;
    }

    /// *Exceptions* `std::out_of_range` naming an absent id.
    void erase(ShardId id) { batch().erase(id); }

    /// Effect: forgets this writer's change of `id`, and that it was required. Nothing where there
    /// was neither.
    void revert(ShardId id) { batch().revert(id); }

    /// Effect: a commit also conflicts if another changed `id`, which this writer only read.
    /// *Exceptions* `std::out_of_range` naming an absent id.
    void require(ShardId id) { batch().require(id); }

    /// Effect: a commit conflicts if anything at all was committed since the base version.
    void require_all() { batch().changes.require_all(); }

    /// *Returns* whether a commit would publish anything.
    [[nodiscard]] bool has_changes() const noexcept {
        return batch_ != nullptr && batch_->has_changes();
    }
    /// *Returns* how many shards this writer has changed, added or erased.
    [[nodiscard]] std::size_t modified_count() const noexcept {
        return batch_ == nullptr ? 0 : batch_->changes.size();
    }
    /// *Returns* the bytes of this writer's clones, new shards and tree nodes; the nodes of a first
    /// change may be made when the writer is next asked for something. Until the commit measures
    /// them, a clone counts as much as the shard it was copied from, and a new
    /// shard as `sizeof`.
    [[nodiscard]] std::size_t memory_overhead() const noexcept {
        return batch_ == nullptr ? 0 : batch_->uncommitted_bytes();
    }
    /// *Returns* the version that the edits are based on.
    [[nodiscard]] Version base_version() const noexcept {
        return batch_ == nullptr ? 0 : batch_->base->version;
    }

    /// Effect: publishes every change at once, synchronously. *Returns* the new version; without
    /// changes it publishes nothing and returns the latest. *Exceptions* `ConflictError` naming the
    /// shards that others changed since the base version, `MemoryBudgetError` where the index would
    /// exceed its hard limit, `std::overflow_error` where version numbers are used up, and what
    /// `Policy::bytes`, `on_pressure` and allocating throw; the edits are kept. *Complexity* the
    /// shards touched times the height of the tree, at most three up to a million shards.
    /// *Progress* takes a lock for the publication alone; clones, destructors and `Policy::bytes`
    /// run without it.
    Version commit() {
        Core& core = *core_;
        Batch& edits = batch();
        const Busy busy(core, edits);
        Version version = 0;
        switch (publish(core, edits, update_, version)) {
        case CommitStatus::committed:
        case CommitStatus::unchanged: break;
        case CommitStatus::conflict: detail::throw_conflict(std::exchange(edits.conflicts, {}));
        case CommitStatus::over_budget: core.throw_over_budget(edits);
        }
        return version;
    }

    /// As `commit`, but waits up to `timeout` for room within the memory budget. Looks again with
    /// growing pauses of up to a few milliseconds, since letting go of a version notifies nobody. A
    /// conflict ends it at once. *Exceptions* as `commit`, and `std::invalid_argument` for a
    /// negative timeout.
    Version commit_for(std::chrono::nanoseconds timeout) {
        if (timeout < std::chrono::nanoseconds(0)) detail::throw_negative_timeout("commit_for");
        return commit_until(detail::deadline_after(timeout));
    }

    /// As `commit_for`, up to a moment.
    Version commit_until(std::chrono::steady_clock::time_point deadline) {
        static constexpr std::chrono::microseconds longest_pause{5000};
        Core& core = *core_;
        Batch& edits = batch();
        Update* const update = update_;
        const Busy busy(core, edits);
        for (std::chrono::microseconds pause{50};; pause = std::min(pause * 2, longest_pause)) {
            const CommitResult result = try_commit(core, edits, update);
            if (result) return result.version();
            if (result.status() == CommitStatus::conflict)
                detail::throw_conflict(result.conflicts());
            const auto now = std::chrono::steady_clock::now();
            if (now >= deadline || edits.closing) core.throw_over_budget(edits);
            std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, deadline - now));
        }
    }

    /// As `commit`, but a conflict or a lack of room is returned, not thrown; all else still is.
    [[nodiscard]] CommitResult try_commit() {
        Core& core = *core_;
        Batch& edits = batch();
        const Busy busy(core, edits);
        return try_commit(core, edits, update_);
    }

    /// Effect: moves the writer with its edits to the latest version. *Exceptions* `ConflictError`
    /// as `commit`; the writer then stays where it is: `revert` the shards named and try again.
    void rebase() {
        if (!core_of(batch()).rebase(*batch_))
            detail::throw_conflict(std::exchange(batch_->conflicts, {}));
    }

    /// Effect: drops the edits and moves to the latest version.
    void discard() { core_of(batch()).discard(*batch_, Core::counted); }

    /// As `base_version`, for the reading interface.
    [[nodiscard]] Version version() const noexcept { return base_version(); }

  private:
    using Core = detail::Core<Shard, Policy>;
    using Batch = typename Core::Batch;
    using Busy = typename Core::Busy;
    using Update = typename Core::ActiveUpdate;

    friend class ShardReading<IndexWriter, Shard>;
    template <class, class>
    friend class CowIndex;
    friend struct detail::TestAccess;

    IndexWriter(Core& core, Batch* batch, Update* update) noexcept
        : core_(&core), batch_(batch), update_(update) {}

    // Uses no writer: what a commit calls may end or move it. Precondition: the caller is `Busy`.
    [[nodiscard]] static CommitStatus publish(Core& core, Batch& edits, Update* update,
                                              Version& version) {
        const detail::Ticket* ticket = update == nullptr ? nullptr : &update->ticket;
        switch (core.commit(edits, ticket, version)) {
        case detail::CommitOutcome::committed: return CommitStatus::committed;
        case detail::CommitOutcome::unchanged: return CommitStatus::unchanged;
        case detail::CommitOutcome::conflict: return CommitStatus::conflict;
        case detail::CommitOutcome::over_budget: return CommitStatus::over_budget;
        case detail::CommitOutcome::exhausted: break;
        }
        detail::throw_version_limit();
    }
    [[nodiscard]] static CommitResult try_commit(Core& core, Batch& edits, Update* update) {
        Version version = 0;
        const CommitStatus status = publish(core, edits, update, version);
        return {status, version, std::exchange(edits.conflicts, {})};
    }

    // As try_commit(), for edits that can be made again: returns over_budget a few times at most,
    // and only where let_others_go() may help.
    [[nodiscard]] CommitResult attempt(int& refusals) {
        Core& core = *core_;
        Batch& edits = batch();
        const Busy busy(core, edits);
        CommitResult result = try_commit(core, edits, update_);
        if (result.status() == CommitStatus::over_budget &&
            (!edits.held_up || edits.closing || refusals++ == enough_refusals))
            core.throw_over_budget(edits);
        return result;
    }
    void let_others_go(int& refusals) {
        if (!core_->let_others_go(batch())) refusals = enough_refusals; // one last look
    }
    static constexpr int enough_refusals = 3;
    static constexpr int fetched_ahead = 8;

    // What this writer held may go before the update does, and the last handle with it.
    void part_from_update() noexcept {
        if (update_ == nullptr) return;
        core_->add_user();
        update_->is_user = true;
        update_ = nullptr;
    }

    [[nodiscard]] Batch& batch() {
        if (batch_ == nullptr) detail::throw_moved_from("IndexWriter");
        return *batch_;
    }
    [[nodiscard]] Core& core_of(Batch&) noexcept { return *core_; }

    // Ask each time: what an edit calls may move the writer.
    COWINDEX_INLINE void fetch_leaf_of(ShardId id) const noexcept {
        if (batch_ != nullptr) batch_->builder.fetch_leaf_ahead(id);
    }
    COWINDEX_INLINE void fetch_shard_of(ShardId id) const noexcept {
        if (batch_ != nullptr) batch_->builder.fetch_ahead(id);
    }

    [[nodiscard]] const detail::ShardTree<Shard>& tree() const noexcept {
        static constexpr detail::ShardTree<Shard> nothing{};
        return batch_ == nullptr ? nothing : batch_->tree();
    }

    Core* core_;
    Batch* batch_;
    Update* update_ = nullptr; // whose writer this is; does not move along
};

} // namespace cowindex
