// The index itself: a handle to shards that many threads read and some change.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/core.hpp>
#include <cowindex/errors.hpp>
#include <cowindex/index_writer.hpp>
#include <cowindex/memory.hpp>
#include <cowindex/policy.hpp>
#include <cowindex/reader.hpp>
#include <cowindex/snapshot.hpp>
#include <cowindex/version.hpp>

namespace cowindex {

/// What an index is made with.
template <class Policy>
struct Options {
    /// Allocates shards, tree nodes and version records.
    typename Policy::Allocator allocator{};
    /// How much memory the index may hold; unlimited by default.
    MemoryBudget budget{};
    /// The number of the first version.
    Version first_version = 0;
    /// Of how many clones and commits one is timed (reading the clock costs about 25 ns). Not 0.
    std::uint64_t time_every = 64;
};

/// A handle to a copy-on-write index of shards. Copies share one index, as copies of a `shared_ptr`
/// share one object. Readers, writers and snapshots keep the index's memory alive, so any of them
/// may outlive every handle.
///
/// *Thread safety* any member, from any thread, also on one handle; moving and assigning a handle
/// is a write to that handle. *Exceptions* a moved-from handle throws `std::logic_error`; every
/// operation gives the strong guarantee. A `const CowIndex&` hands out reading only (a courtesy: a
/// copy of the handle gives write access again).
template <class Shard, class Policy = DefaultPolicy<Shard>>
class CowIndex {
    static_assert(
        std::is_object_v<Shard> && !std::is_const_v<Shard> && !std::is_volatile_v<Shard>,
        "cowindex: a shard is an object of a type of its own: not a reference, not const");
    static_assert(std::derived_from<Policy, DefaultPolicy<Shard>>,
                  "cowindex: derive the policy from cowindex::DefaultPolicy<Shard>, and hide there "
                  "what should differ");

  public:
    using Options = cowindex::Options<Policy>;          ///< how it is made
    using Snapshot = cowindex::Snapshot<Shard, Policy>; ///< an owned version
    using Reader = cowindex::Reader<Shard, Policy>;     ///< the fast way to read
    using View = cowindex::View<Shard, Policy>;         ///< a pinned version
    using Writer = IndexWriter<Shard, Policy>;          ///< edits, and their publication

    // Of all constructors: *exceptions* `std::invalid_argument` for options that contradict
    // themselves, and those of the allocator and of making shards. *Complexity* linear in the
    // shards.

    /// Makes an index without shards.
    CowIndex() : CowIndex(Options{}) {}
    /// As above, with options.
    explicit CowIndex(const Options& options) : core_(create(options, [](auto&) {})) {}

    /// Makes an index of `count` default-made shards, ids 0 to count - 1.
    explicit CowIndex(std::size_t count, const Options& options = {})
        requires std::default_initializable<Shard>
        : CowIndex(count, [](ShardId) { return Shard(); }, options) {}

    /// Makes an index of `count` copies of `prototype`. Name its type: a bare `{}` may also be
    /// options.
    CowIndex(std::size_t count, const Shard& prototype, const Options& options = {})
        requires std::copy_constructible<Shard>
        : CowIndex(count, [&](ShardId) { return Shard(prototype); }, options) {}

    /// Makes an index of `count` shards, each `factory(id)`, made in place: also for shards that
    /// can be neither copied nor moved.
    template <class Factory>
        requires std::is_invocable_r_v<Shard, Factory&, ShardId>
    CowIndex(std::size_t count, Factory&& factory, const Options& options = {})
        : core_(create(options, [&](auto& tree) { tree.fill(count, factory); })) {}

    /// Makes an index of these shards; shard i gets id i. If it throws, some of them may have been
    /// moved from.
    explicit CowIndex(std::vector<Shard>&& shards, const Options& options = {})
        : CowIndex(
              shards.size(), [&](ShardId id) -> Shard { return std::move(shards[id]); }, options) {}

    /// Makes another handle of the same index.
    CowIndex(const CowIndex& other) noexcept : core_(other.core_) {
        if (core_ != nullptr) core_->add_user();
    }
    /// Leaves `other` without an index.
    CowIndex(CowIndex&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    /// Lets go of this handle's index and takes that of `other`.
    CowIndex& operator=(CowIndex other) noexcept {
        std::swap(core_, other.core_);
        return *this;
    }
    ~CowIndex() {
        // Destructors that this runs find a handle that was moved from.
        if (core_ != nullptr) std::exchange(core_, nullptr)->drop_user();
    }

    // ---- reading -------------------------------------------------------------------------------

    /// *Returns* the latest version, owned. *Progress* waits for a committer between its two
    /// stores; takes the commit lock where there was no other snapshot for 32 versions. Costs some
    /// tens of nanoseconds and does not scale: threads that read often keep a `Reader`.
    /// *Allocation* none. *Exceptions* those of locking `Policy::Mutex`.
    [[nodiscard]] Snapshot snapshot() const { return Snapshot(core().latest()); }

    /// As `snapshot()`, with a name in `pins()` for as long as it, or a copy of it, or a pointer
    /// from its `share()` lives; they have one entry together. For snapshots that are kept: making
    /// it, and letting go of its last copy, takes the commit lock. *Exceptions*, *Allocation* those
    /// of keeping the label.
    [[nodiscard]] Snapshot snapshot(std::string label) const {
        return Snapshot(core().labelled(core().latest(), std::move(label)));
    }

    /// *Returns* a reader for one thread. Makes or reuses a slot, under the commit lock: make it
    /// once, not for each read.
    [[nodiscard]] COWINDEX_INLINE Reader reader() const { return Reader(claim_slot()); }

    /// The same; `label` names it in `pins()`.
    [[nodiscard]] Reader reader(std::string label) const {
        return Reader(core().claim_slot(std::move(label)));
    }

    /// *Returns* what `fn(const View&)` returns, run on the latest version with a slot borrowed
    /// from the index: for thread pools that cannot carry a `Reader`. *Preconditions* a handle of
    /// the index outlives the call; what `fn` returns does not refer into the view, which ends with
    /// it. A `read` inside `fn` may see a newer version: pass the view on. *Complexity* an atomic
    /// exchange more than a reader's pin; gets a slot as `reader()` does, under the commit lock, in
    /// the first call of a thread, the first within another `read`, after `Policy::idle_read_time`
    /// without a call, and wherever more than 64 go on at once, these twice for each call.
    /// *Progress* lock-free but for those, which wait for the lock. *Exceptions* those of `fn` and
    /// of making a slot.
    template <class Fn>
    decltype(auto) read(Fn&& fn) const {
        struct Borrowed {
            explicit Borrowed(Core& its_core) : core(its_core), loan(its_core.borrow_slot()) {}
            ~Borrowed() { core.put_back(loan); }
            Borrowed(const Borrowed&) = delete;
            Borrowed& operator=(const Borrowed&) = delete;
            Core& core;
            typename Core::Loan loan;
        };
        const Borrowed borrowed(core());
        const View view(borrowed.loan.slot);
        return std::forward<Fn>(fn)(view);
    }

    /// *Returns* the number of the latest version. As costly as `snapshot()`, like `size()` and
    /// `empty()`: who reads anyway asks the view.
    [[nodiscard]] Version version() const { return core().latest()->version; }
    /// *Returns* how many shards the latest version has.
    [[nodiscard]] std::size_t size() const { return core().latest()->tree.size; }
    /// *Returns* whether the latest version has none.
    [[nodiscard]] bool empty() const { return size() == 0; }

    /// Effect: waits until version `version` or a later one is published, up to `timeout`.
    /// *Returns* false if it was not. *Progress* blocks this thread; with zero it only looks, under
    /// the commit lock. *Exceptions* `std::invalid_argument` for a negative timeout.
    [[nodiscard]] bool wait_for_version(Version version, std::chrono::nanoseconds timeout) const {
        if (timeout < std::chrono::nanoseconds(0))
            detail::throw_negative_timeout("wait_for_version");
        return core().wait_for(version, detail::deadline_after(timeout));
    }

    // ---- writing -------------------------------------------------------------------------------

    /// *Returns* a writer based on the latest version. Clones nothing; constant time. While it is
    /// open it holds its base version; `label` names it in `pins()`.
    [[nodiscard]] Writer writer(std::string label = {}) {
        Core& index = core();
        return Writer(index, index.open_batch(std::move(label)), nullptr);
    }

    /// Effect: runs `fn(IndexWriter&)` and commits its edits; after a conflict again from the then
    /// latest version, so `fn` may run more than once and must not move from what it captures.
    /// After a few failed tries other committers give way to it, oldest first, for a bounded time.
    /// *Returns* what `fn` returns, or the `Version` where that is void. *Exceptions* those of
    /// `fn`: nothing is published then. `MemoryBudgetError`, after a few more tries if other
    /// writers are open, whose versions may take the room. `std::logic_error` for an `update` of
    /// the same index inside `fn`, `edit`, `replace`, `erase` and `assign` below included, and
    /// where `fn` or what the commit calls has moved the writer away, and it would run again.
    template <class Fn>
    auto update(Fn&& fn) -> std::conditional_t<std::is_void_v<std::invoke_result_t<Fn&, Writer&>>,
                                               Version, std::invoke_result_t<Fn&, Writer&>> {
        using Result = std::invoke_result_t<Fn&, Writer&>;
        UpdateScope scope(core());
        for (int tries = 1;; ++tries) {
            if constexpr (std::is_void_v<Result>) {
                fn(scope.writer);
                if (const CommitResult result = scope.attempt()) return result.version();
            } else {
                Result value = fn(scope.writer);
                if (scope.attempt()) return value;
            }
            scope.lost(tries); // after the end of `value`, which may hold a version
            scope.again();
        }
    }

    // Of all one-line writes: *returns* the version that was published (`append`: the id).
    // *Exceptions* as `update()`, for which all but `append` count; nothing is published then.

    /// Effect: `fn(Shard&)` edits a clone of one shard, which is committed; may run more than once.
    /// *Exceptions* `std::out_of_range` naming an absent id, and those of `fn`.
    template <class Fn>
    Version edit(ShardId id, Fn&& fn) {
        return update([&](Writer& writer) { fn(writer.edit(id)); });
    }

    /// Effect: `id` holds `shard`, whatever others commit meanwhile. *Exceptions*
    /// `std::out_of_range` naming an absent id.
    Version replace(ShardId id, Shard shard) {
        UpdateScope scope(core());
        scope.writer.replace(id, std::move(shard));
        for (int tries = 1;; ++tries) {
            if (const CommitResult result = scope.attempt()) return result.version();
            scope.lost(tries);
            scope.core.retarget(scope.writer.batch());
            if (scope.writer.batch().changes[0].before == nullptr)
                detail::throw_absent(id, scope.writer.id_bound());
        }
    }

    /// Effect: adds a shard, in a version of its own, also inside an `update()`. *Returns* its id.
    ShardId append(Shard shard) {
        Core& index = core(); // the writer keeps it, this handle may go meanwhile
        Writer writer = this->writer();
        ShardId id = writer.append(std::move(shard));
        int refusals = 0;
        // Another writer may choose the same id for an insert() and commit first.
        for (;;) {
            if (writer.batch().changes[0].before == nullptr) {
                const CommitResult result = writer.attempt(refusals);
                if (result) break;
                if (result.status() == CommitStatus::over_budget) writer.let_others_go(refusals);
            }
            if (writer.batch().changes[0].before != nullptr) id = index.next_id();
            index.discard_but_box(writer.batch(), id);
        }
        return id;
    }

    /// Effect: the shard is in no later version; `append()` does not use its id again. *Exceptions*
    /// `std::out_of_range` naming an absent id.
    Version erase(ShardId id) {
        return update([&](Writer& writer) { writer.erase(id); });
    }

    /// Effect: the index holds exactly these shards, shard i with id i, in one version, whatever
    /// others commit meanwhile. *Exceptions* the index is as before; some of `shards` may have been
    /// moved from.
    Version assign(std::vector<Shard>&& shards) {
        const Version version = assign_all(shards);
        shards.clear(); // their destructors may use the index
        return version;
    }

    // ---- looking in ----------------------------------------------------------------------------

    /// *Returns* all counters and gauges. As `memory_usage()`, it first finds out what is held.
    [[nodiscard]] CowMetrics::Values metrics() const { return core().metrics(); }

    /// *Returns* the bytes held, by reason. Runs the readers' barrier and passes on the dead lists
    /// of versions that nobody holds (freeing nothing), so it is exact at that moment; *complexity*
    /// the versions held, and once the objects retired since the last call.
    [[nodiscard]] MemoryStats memory_usage() const { return core().memory_usage(); }

    /// Effect: frees everything that no reader, snapshot or writer can reach. *Returns* the bytes
    /// that this call freed. Runs shard destructors, without a lock.
    std::size_t reclaim() {
        const CowIndex kept(*this); // destructors may end this handle
        return kept.core().reclaim();
    }

    /// *Returns* readers with a view, running `read()` calls, and live snapshots.
    [[nodiscard]] std::size_t active_readers() const { return core().active_readers(); }

    /// *Returns* the versions still held that are not the latest, oldest first: by whom, how long,
    /// and what letting go of each would free. For diagnosis: takes the commit lock for as long as
    /// it takes to walk what old versions hold.
    [[nodiscard]] std::vector<PinInfo> pins() const { return core().pins(); }

  private:
    using Core = detail::Core<Shard, Policy>;
    using Batch = typename Core::Batch;
    friend struct detail::TestAccess;

    // Given the handle's address, and not the reader's.
    [[nodiscard]] COWINDEX_LONG typename Core::Slot* claim_slot() const {
        return core().claim_slot({});
    }

    // One run of update() or of a one-line write: its writer, and its place in line.
    struct UpdateScope {
        explicit UpdateScope(Core& its_core)
            : core(its_core), writer(core, core.open_batch({}, &frame), &frame) {}
        ~UpdateScope() {
            // The function may have moved the writer away, or another writer in, which ends itself.
            // What the end of the batch destroys finds no writer of this update any more.
            if (std::exchange(writer.update_, nullptr) == &frame)
                core.close_batch(std::exchange(writer.batch_, nullptr), &frame);
            else
                core.end_update(frame);
            if (frame.is_user) core.drop_user();
        }
        UpdateScope(const UpdateScope&) = delete;
        UpdateScope& operator=(const UpdateScope&) = delete;

        // False: to be tried again, after lost().
        [[nodiscard]] CommitResult attempt() {
            CommitResult result = writer.attempt(refusals);
            conflict = result.status() == CommitStatus::conflict;
            return result;
        }
        void lost(int tries) {
            if (!conflict)
                writer.let_others_go(refusals);
            else if (!core.lost_try(writer.batch(), frame, tries))
                writer.core_->stay_away(writer.batch(), tries);
        }
        void again() { writer.core_->discard(writer.batch(), Core::uncounted); }

        Core& core;
        typename Core::ActiveUpdate frame{};
        Writer writer;
        bool conflict = false; // the last attempt
        int refusals = 0;
    };

    Version assign_all(std::vector<Shard>& shards) {
        UpdateScope scope(core());
        Writer& writer = scope.writer;
        for (ShardId id = 0; id < shards.size(); ++id) {
            if (writer.contains(id))
                writer.replace(id, std::move(shards[id]));
            else
                writer.insert(id, std::move(shards[id]));
        }
        for (int tries = 1;; ++tries) {
            writer.require_all(); // what others add meanwhile must go, too
            for (ShardId id = shards.size(); writer.tree().seek(id) != nullptr; ++id)
                writer.erase(id);
            if (const CommitResult result = scope.attempt()) return result.version();
            scope.lost(tries);
            scope.core.retarget(writer.batch());
        }
    }

    template <class Fill>
    [[nodiscard]] static Core* create(const Options& options, Fill&& fill) {
        if (options.time_every == 0)
            detail::raise(
                std::invalid_argument("cowindex: Options::time_every must be at least 1"));
        if (options.budget.soft_bytes == 0 || options.budget.hard_bytes == 0)
            detail::raise(
                std::invalid_argument("cowindex: a MemoryBudget of 0 bytes admits nothing; leave "
                                      "the limit out, or set what the index may hold"));
        if (options.budget.hard_bytes != MemoryBudget::unlimited &&
            options.budget.soft_bytes != MemoryBudget::unlimited &&
            options.budget.soft_bytes > options.budget.hard_bytes)
            detail::raise(std::invalid_argument(
                "cowindex: MemoryBudget::soft_bytes (" + std::to_string(options.budget.soft_bytes) +
                ") is above hard_bytes (" + std::to_string(options.budget.hard_bytes) + ")"));
        typename Core::Settings settings{options.allocator, options.first_version,
                                         options.time_every, options.budget};
        settings.budget.soft_bytes =
            std::min(settings.budget.soft_bytes, settings.budget.hard_bytes);
        return Core::create(settings, std::forward<Fill>(fill));
    }

    [[nodiscard]] Core& core() const {
        if (core_ == nullptr) detail::throw_moved_from("CowIndex");
        return *core_;
    }

    Core* core_;
};

} // namespace cowindex
