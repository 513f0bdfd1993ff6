// One index: ties the publication, the chain of versions, the readers' slots and the open writers
// together, and decides how long each lives.
//
// Who keeps what alive. Handles, readers (or the views that outlive them) and writers are users of
// the core. Snapshots own a version record, not the core. When the last user goes, the core closes:
// versions that no snapshot holds are freed at once, the others when the last of them dies, by
// whoever lets go of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/commit_lock.hpp>
#include <cowindex/detail/object_store.hpp>
#include <cowindex/detail/pin_registry.hpp>
#include <cowindex/detail/publication.hpp>
#include <cowindex/detail/snapshot_label.hpp>
#include <cowindex/detail/tickets.hpp>
#include <cowindex/detail/version_chain.hpp>
#include <cowindex/detail/write_batch.hpp>
#include <cowindex/memory.hpp>
#include <cowindex/policy.hpp>

namespace cowindex::detail {

enum class CommitOutcome : std::uint8_t { committed, unchanged, conflict, over_budget, exhausted };

struct TestAccess; // the library's own tests look inside

template <class Shard, class Policy>
class Core {
    static_assert(Policy::barrier_min_versions >= 1,
                  "cowindex: Policy::barrier_min_versions must be at least 1");
    static_assert(Policy::barrier_min_versions <= Policy::barrier_max_versions,
                  "cowindex: Policy::barrier_min_versions is above barrier_max_versions");
    static_assert(Policy::idle_read_time.count() >= 0,
                  "cowindex: Policy::idle_read_time must not be negative");

  public:
    using Allocator = typename Policy::Allocator;
    using Record = VersionRecord<Shard, Core>;
    using Chain = VersionChain<Shard, Core>;
    using Owner = std::shared_ptr<const Record>;
    using Slot = ReaderSlot<Record, Policy, Core>;
    using Batch = WriteBatch<Shard, Policy, Record>;
    using Lock = CommitLock<typename Policy::Mutex>;
    using Trash = Garbage<Record>;

    struct Settings {
        Allocator allocator;
        Version first_version;
        std::uint64_t time_every;
        MemoryBudget budget; // its soft limit is at most the hard one

        [[nodiscard]] bool has_budget() const noexcept {
            return budget.soft_bytes != MemoryBudget::unlimited;
        }
    };

    // A running update(): at most one for each thread and index.
    struct ActiveUpdate {
        std::thread::id thread = std::this_thread::get_id();
        unsigned depth = callback_depth(); // what it runs at a greater one may update, too
        ActiveUpdate* next = nullptr;
        Ticket ticket{};
        bool is_user = false; // of the core: its writer is not, once it has been moved away
    };

    // Makes an index whose first version holds what `fill(InitialTree&)` builds. The caller is its
    // user.
    template <class Fill>
    [[nodiscard]] static Core* create(const Settings& settings, Fill&& fill);

    static void sync_point(SyncPoint where) noexcept { Policy::sync_point(where); }

    // ---- users -------------------------------------------------------------------------------

    void add_user() noexcept { users_.add(); }
    void drop_user() noexcept {
        if (users_.drop()) close();
    }
    // A version record of a closed index died.
    void survivor_died() noexcept {
        Policy::sync_point(SyncPoint::teardown_survivor);
        if (survivors_.drop()) delete this;
    }

    // ---- reading -----------------------------------------------------------------------------

    // The owner of the latest version; takes the commit lock where it is still to be made.
    [[nodiscard]] Owner latest() {
        Owner owner = publication_.load();
        if (owner != nullptr) [[likely]]
            return owner;
        return demand_owner(nullptr);
    }

    // Makes no owner for that.
    [[nodiscard]] Version latest_version() {
        const Guard guard(lock_);
        return chain_.latest()->version;
    }

    // The owner of a version that the caller has pinned.
    [[nodiscard]] Owner promote(const Record* pinned) {
        Owner owner = publication_.load();
        if (owner.get() == pinned) [[likely]]
            return owner;
        return demand_owner(pinned);
    }

    // `owner` under a name. An empty label is none.
    [[nodiscard]] Owner labelled(Owner owner, std::string label) {
        if (label.empty()) return owner;
        const auto named =
            std::make_shared<SnapshotLabel<Owner, Lock>>(std::move(owner), std::move(label), lock_);
        return Owner(named, named->record());
    }

    [[nodiscard]] Slot* claim_slot(std::string label) {
        Slot* slot = registry_.claim(*this, publication_, lock_, std::move(label));
        add_user();
        return slot;
    }
    // Out of line: every reader's and every pin's end would carry it.
    static void leave(Slot* slot) noexcept;
    void give_back(Slot* slot) noexcept;
    // Slots for read(fn). Lent ones are no users: the handle that lends them is.
    using Loan = typename SlotLender<Slot, Policy>::Loan;
    [[nodiscard]] Loan borrow_slot() {
        const Loan loan = lender_.borrow(thread_handle(std::this_thread::get_id()));
        return loan.slot != nullptr ? loan : claim_for(loan);
    }
    void put_back(const Loan& loan) noexcept {
        if (!lender_.put_back(loan)) registry_.give_back(loan.slot, lock_);
    }
    COWINDEX_COLD Loan claim_for(Loan loan);

    // ---- writing -----------------------------------------------------------------------------

    // While user code runs that may end the writer, the end of its batch waits for that of the
    // operation. For whoever uses the batch after a commit(), too.
    class Busy {
      public:
        Busy(Core& core, Batch& batch) noexcept
            : core_(core), batch_(batch), before_(std::exchange(batch.busy, true)) {}
        ~Busy() {
            batch_.busy = before_;
            if (batch_.closing && !before_) [[unlikely]]
                core_.close_batch(&batch_);
        }
        Busy(const Busy&) = delete;
        Busy& operator=(const Busy&) = delete;

      private:
        Core& core_;
        Batch& batch_;
        bool before_;
    };

    // Effect: a batch based on the latest version. `update` is the update() that asks, if any.
    [[nodiscard]] Batch* open_batch(std::string label, ActiveUpdate* update = nullptr);
    // Effect: drops the batch's edits; it is not used again by its writer.
    void close_batch(Batch* batch, ActiveUpdate* update = nullptr) noexcept;

    // Effect: publishes the batch's changes. On anything but `committed` the batch is as before.
    // `version` is the batch's or, where nothing was to be published, the latest; in conflict,
    // `batch.conflicts` are the ids, ascending. Precondition: the caller is `Busy` with the batch.
    [[nodiscard]] CommitOutcome commit(Batch& batch, const Ticket* mine, Version& version);
    // Effect: moves the batch to the latest version with its edits. False: it is in conflict.
    [[nodiscard]] bool rebase(Batch& batch);
    // Effect: drops the edits and moves the batch to the latest version.
    enum Counting : bool { uncounted, counted };
    void discard(Batch& batch, Counting counting) noexcept;
    // Effect: moves the batch's new shards to the latest version, over whatever is there; forgets
    // what it has erased. For writes that do not depend on what they overwrite.
    void retarget(Batch& batch);
    // Effect: moves the batch to the latest version with its only new shard, under another id.
    void discard_but_box(Batch& batch, ShardId id);

    // Ids from the sequence. Throws when they are used up.
    [[nodiscard]] ShardId next_id() {
        ShardId id = sequence_.load();
        do {
            if (id == unborn) throw_id_limit();
        } while (!sequence_.compare_exchange_weak(id, id + 1));
        return id;
    }
    // Effect: the sequence is past `id`.
    void reserve_id(ShardId id) noexcept {
        ShardId next = sequence_.load();
        while (next <= id && !sequence_.compare_exchange_weak(next, id + 1)) {
        }
    }

    // Effect: counts a conflict that an update will answer by trying again; from a certain number
    // of them on it stands in line. Returns true for the first in line, which need not back off.
    [[nodiscard]] bool lost_try(const Batch& batch, ActiveUpdate& update, int tries);
    // Effect: backs off. The batch has no base meanwhile, or every commit of the others would pay
    // for a version that is held; it is good for discard() and retarget() alone.
    void stay_away(Batch& batch, int tries);
    // Effect: as stay_away(), after a refusal for the sake of other writers, until none of them
    // holds the latest version, which is the batch's base then. False: it was too long, and it is
    // the base all the same.
    [[nodiscard]] bool let_others_go(Batch& batch);
    void end_update(ActiveUpdate& update) noexcept;

    // ---- waiting -----------------------------------------------------------------------------

    // Effect: waits until the latest version is at least `version`. False: the deadline came first.
    [[nodiscard]] bool wait_for(Version version, std::chrono::steady_clock::time_point deadline);

    // ---- memory ------------------------------------------------------------------------------

    // Throws what a commit of this batch, refused as over_budget, is to be told.
    [[noreturn]] void throw_over_budget(Batch& batch);

    // Effect: frees all that nobody can reach. Returns the bytes.
    std::size_t reclaim();
    [[nodiscard]] MemoryStats memory_usage();
    [[nodiscard]] std::vector<PinInfo> pins();
    [[nodiscard]] std::size_t active_readers();
    [[nodiscard]] CowMetrics::Values metrics();

  private:
    friend struct TestAccess;

    // Keeps a version from being dropped for the length of a scope.
    struct Hold {
        explicit Hold(Core& its_core) : core(its_core) {
            Guard guard(core.lock_);
            record = core.chain_.latest();
            ++record->writers;
        }
        // Precondition: the lock is held, and let go of before the scope ends.
        Hold(Core& its_core, Record* its_record) noexcept : core(its_core), record(its_record) {
            ++record->writers;
        }
        ~Hold() {
            if (record == nullptr) return;
            Guard guard(core.lock_);
            let_go();
        }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

        // Precondition: the lock is held.
        void let_go() noexcept { --std::exchange(record, nullptr)->writers; }

        Core& core;
        Record* record;
    };

    // A barrier interrupts every running thread of the process, for half a microsecond to some ten,
    // so versions are collected before one is paid for: so many that it costs a commit about
    // `barrier_share` on average, within the policy's bounds. Fewer where commits are large: a
    // small one retires `barrier_objects`, so a batch of a thousand shards can pay for a barrier
    // alone, and what it frees is still in the caches when the next one needs it (3 to 4 times
    // faster).
    static constexpr std::chrono::nanoseconds barrier_share{20};
    static constexpr std::size_t barrier_objects = 4;
    static constexpr std::size_t barrier_bytes = std::size_t{4} << 20;

    // From how many changes on a batch whose base is out of date is replayed before the lock is
    // taken.
    static constexpr std::size_t replay_ahead = 8;

    // For so many versions after a conflict nobody leaves others a turn at the commit lock: where
    // writers change the same shards, who waits long finds its own changed.
    static constexpr Version remembered_rivalry = 16384;

    // What one commit does at most for others, above twice what it retires itself.
    static constexpr std::size_t drain_objects = 8;
    static constexpr std::uint64_t drain_effort = drain_objects * GarbageLanes::effort_each;
    static constexpr std::size_t drain_versions = 2;

    // How much list work is done before the lock is let go of once.
    static constexpr std::size_t lock_objects = 1024;

    explicit Core(const Settings& settings) : settings_(settings) {}
    ~Core();

    void close() noexcept;
    // The owner of a version that the caller has pinned, or of the latest.
    [[nodiscard]] Owner demand_owner(const Record* pinned);
    [[nodiscard]] Record* new_record();
    [[nodiscard]] Batch* take_idle(std::thread::id thread) noexcept;
    void destroy_batch(Batch* batch) noexcept;
    [[nodiscard]] ActiveUpdate*& updates_of(std::thread::id thread) noexcept {
        return updates_[spread<sizeof(updates_) / sizeof(*updates_)>(thread_handle(thread))];
    }
    void forget_update(ActiveUpdate& update) noexcept;
    void free_record(Record* record) noexcept { destroy_object(settings_.allocator, record); }

    // budget.hpp
    struct Needed {
        std::size_t at_most; // while both what the commit adds and what it sets free are there
        std::size_t after;   // when what nobody can hold any more is freed
    };
    void make_room(Batch& batch);
    [[nodiscard]] bool fits(Batch& batch, const typename Batch::Builder& built, std::size_t holds);
    [[nodiscard]] bool tries_again(Batch& batch, CommitOutcome outcome, int& tries);
    [[nodiscard]] Needed needed_bytes(const Batch& batch, const typename Batch::Builder& built,
                                      std::size_t holds);
    [[nodiscard]] std::size_t set_free_by(const Batch& batch, const typename Batch::Builder& built,
                                          std::size_t holds);

    // commit.hpp
    void give_spare(Batch& batch);
    [[nodiscard]] CommitOutcome commit_section(Batch& batch, Version& version, bool limited);
    [[nodiscard]] CommitOutcome commit_elsewhere(Batch& batch, Version& version,
                                                 Guard<Lock>& guard);
    [[nodiscard]] CommitOutcome publish_if_fits(Batch& batch, typename Batch::Builder& built,
                                                std::size_t holds, Version& version,
                                                Guard<Lock>& guard);
    // Whether nobody can get at the latest version but through the lock, and through the one writer
    // that is based on it: a reader needs a slot, a snapshot an owner. Not for a commit inside a
    // destructor: it must free nothing, or destructors could nest without bound.
    [[nodiscard]] bool latest_is_private() const noexcept {
        return !registry_.anyone() && !publication_.is_owned() && chain_.latest()->writers == 1 &&
               !freeing_shards;
    }
    Version publish(Batch& batch, typename Batch::Builder& built, Guard<Lock>& guard) noexcept;
    template <bool alone>
    Version publish_in_place(Batch& batch, Guard<Lock>& guard) noexcept;
    template <class Retire>
    [[nodiscard]] typename Chain::LiveBytes stamp(Batch& batch, typename Batch::Builder& built,
                                                  Version version, Retire&& retire) noexcept;
    void count_commit(Batch& batch, std::size_t reclaimed, std::size_t unlinked,
                      std::size_t most) noexcept;
    void unlock_and_announce(Guard<Lock>& guard) noexcept;
    struct Drain { // how much of what others have retired a commit deals with at most
        std::size_t objects;
        std::uint64_t effort;
    };
    // At least as much as it retires itself, or garbage would grow without bound.
    [[nodiscard]] static Drain drain_after(std::size_t objects, std::size_t bytes) noexcept {
        return {drain_objects + 2 * objects,
                drain_effort + 2 * GarbageLanes::effort(objects, bytes)};
    }
    void drain(Batch& batch, Drain most, Trash& trash) noexcept;
    void finish_commit(Batch& batch, Guard<Lock>& guard, NodeCount nodes, Drain most,
                       Trash& trash) noexcept;
    void fold_tallies(Batch& batch) noexcept;
    void announce() noexcept;
    void move_base(Batch& batch, Record* to) noexcept {
        if (batch.base != nullptr) --batch.base->writers;
        if (to != nullptr) ++to->writers;
        batch.base = to;
    }

    // rebase.hpp
    [[nodiscard]] std::vector<ShardId> conflicts(const Batch& batch, const Record& latest) const;
    void let_go_of_base(Batch& batch) noexcept;

    // reclaim.hpp
    [[nodiscard]] bool barrier_due() const noexcept;
    void look_for_pins(Guard<Lock>& guard);
    void sort_superseded(Version horizon) noexcept;
    void collect_unheld(Guard<Lock>& guard);
    void settle_all(Guard<Lock>& guard);
    void free_objects(Object* list, Batch* reuse) noexcept;
    void free_garbage(Trash& trash, Batch* reuse) noexcept;
    void take_edits(Batch& batch, Trash& dropped) noexcept;
    void free_counted(Trash& trash) noexcept;
    [[nodiscard]] MemoryStats stats_locked() noexcept;
    [[nodiscard]] PinInfo holders_of(const Record& record, const Batch* but = nullptr) const;
    [[nodiscard]] std::vector<PinInfo> held_versions(const Batch* but = nullptr);

    Settings settings_;
    Publication<Record, Policy> publication_;

    alignas(line_pair) Lock lock_;
    Chain chain_; // guarded by lock_, like all that follows up to sequence_
    PinRegistry<Record, Policy, Core> registry_;
    Batch* open_ = nullptr; // batches of open writers
    Batch* idle_ = nullptr; // batches kept for the next writers
    std::size_t open_count_ = 0;
    std::size_t idle_count_ = 0;
    std::size_t next_lane_ = 0;
    std::size_t peak_bytes_ = 0;
    bool under_pressure_ = false; // past the soft limit, and on_pressure was called
    std::size_t waiters_ = 0;     // threads in wait_for()
    std::size_t barrier_versions_ = Policy::barrier_min_versions;
    ActiveUpdate* updates_[32] = {}; // by thread: others' are on their stacks

    std::mutex news_mutex_; // never taken while lock_ is held; lock_ may be taken while it is
    std::condition_variable news_;

    alignas(line_pair) std::atomic<ShardId> sequence_{0};
    TicketLine<Policy> tickets_;
    Counter rivalry_ends_; // the version from which on turns are left again

    alignas(line_pair) CowMetrics metrics_;
    Counter unlinked_; // what is about to be freed by others than commits
    SlotLender<Slot, Policy> lender_;

    alignas(line_pair) UserCount users_{1};
    UserCount survivors_{1};
};

} // namespace cowindex::detail

#include <cowindex/detail/budget.hpp>   // IWYU pragma: keep
#include <cowindex/detail/commit.hpp>   // IWYU pragma: keep
#include <cowindex/detail/lifetime.hpp> // IWYU pragma: keep
#include <cowindex/detail/rebase.hpp>   // IWYU pragma: keep
#include <cowindex/detail/reclaim.hpp>  // IWYU pragma: keep
