// Which versions live, what each one alone holds, and what may be freed.
//
// A version goes through these stages, each but the first a queue here:
//
//   latest -> superseded -> [pinned] -> cleared -> [owned] -> dropping -> dropped
//
//   superseded  replaced by a commit; a reader's slot may name it, unseen so far
//   pinned      the last scan of the slots found it in one
//   cleared     a scan after a barrier did not: no reader can pin it again, ever
//   owned       it was cleared, but a snapshot or an open writer holds it
//   dropping    nobody holds it; its dead objects are being passed on
//   dropped     out of the chain; its memory is used again once its control block is gone
//
// History is linear, so an object lives in consecutive versions, from its birth to the version on
// whose dead list it is. When version v is dropped and p is the next older version still in the
// chain, what was born after p was reachable from v alone and becomes garbage; the rest is still
// reachable from p and passes to p's list. No reference counts, no watermark, exact.
//
// Guarded by the commit lock, all of it. Nothing here allocates, throws or calls user code.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <cowindex/detail/clock.hpp>
#include <cowindex/detail/garbage.hpp>
#include <cowindex/detail/version_record.hpp>

namespace cowindex::detail {

template <class Shard, class Core>
class VersionChain {
  public:
    using Record = VersionRecord<Shard, Core>;

    // What the latest version holds. Shards with their boxes, and tree nodes.
    struct LiveBytes {
        void add(const Node* node) noexcept { nodes += node->bytes(); }
        void add(const ShardBox<Shard>* box) noexcept { shards += box->bytes(); }

        std::size_t shards = 0;
        std::size_t nodes = 0;
    };

    // Effect: `record` becomes the latest. `retired` are the objects of the one before it that it
    // lacks; they stay with the caller until supersede().
    void append(Record* record, const DeadList& retired, LiveBytes born) noexcept {
        record->older = latest_;
        record->newer = nullptr;
        record->stage = Stage::latest;
        live_.shards += born.shards - (retired.bytes() - retired.node_bytes());
        live_.nodes += born.nodes - retired.node_bytes();
        (latest_ == nullptr ? oldest_ : latest_->newer) = record;
        latest_ = record;
        ++length_;
    }

    // Effect: the latest version has lost and gained so much in place.
    void replace(LiveBytes lost, LiveBytes gained) noexcept {
        live_.shards += gained.shards - lost.shards;
        live_.nodes += gained.nodes - lost.nodes;
    }

    // What was born in this version or later is in the latest alone; 0, all, where there is no
    // older one.
    [[nodiscard]] Version own_since() const noexcept {
        return latest_->older == nullptr ? 0 : latest_->older->version + 1;
    }

    // Effect: `object`, which the latest version has lost in place, is dead for the next older one,
    // which has it, too.
    void retire_to_older(Object* object) noexcept {
        Record& older = *latest_->older;
        keep(older, object);
        if (older.stage != Stage::superseded) return;
        superseded_bytes_ += object->bytes();
        ++superseded_objects_;
    }

    // Effect: the version before the latest, which `owner` owned, waits to be let go. Where nobody
    // can hold it, it is dropped at once; objects that only it had stay in `retired`, as garbage of
    // the caller. `unpinned` says that no reader holds any version; `lane` is the caller's.
    void supersede(std::shared_ptr<const Record> owner, bool unpinned, std::size_t lane,
                   DeadList& retired) noexcept {
        Record* record = latest_->older;
        record->lane = static_cast<std::uint8_t>(lane);
        record->owner = std::move(owner);
        if (unpinned && superseded_.size() == 0 && let_go(*record)) {
            if (record->older != nullptr) keep_for_older(*record, retired);
            unlink(record);
            return;
        }
        dead_bytes_ += retired.bytes();
        dead_nodes_bytes_ += retired.node_bytes();
        superseded_bytes_ += retired.bytes();
        superseded_objects_ += retired.count();
        record->dead.splice(retired);
        record->superseded_at = coarse_now(); // costs a tenth of a small commit: only if held
        record->stage = Stage::superseded;
        superseded_.push(record);
    }

    // Effect: sorts the superseded versions below `horizon` by whether a reader has them pinned.
    // Precondition: a barrier ran since `horizon` was published, the slots were scanned after it.
    template <class IsPinned>
    void sort_superseded(Version horizon, IsPinned&& is_pinned) noexcept {
        for (std::size_t n = pinned_.size(); n > 0; --n) sort(pinned_.pop(), is_pinned);
        while (superseded_.head() != nullptr && superseded_.head()->version < horizon) {
            const DeadList& dead = superseded_.head()->dead;
            superseded_bytes_ -= dead.bytes();
            superseded_objects_ -= dead.count();
            sort(superseded_.pop(), is_pinned);
        }
    }

    // How much one step may do under the lock.
    struct Limit {
        std::size_t objects;  // that change lists one by one
        std::size_t versions; // owned ones that are looked at again
    };

    // Effect: drops versions that nobody holds; what they alone held becomes garbage.
    // Returns false when there was nothing left to do within `limit.versions`.
    bool settle(Limit& limit) noexcept {
        if (dropping_ == nullptr && cleared_.size() == 0 && owned_.size() == 0) return false;
        while (limit.objects > 0) {
            if (dropping_ == nullptr) dropping_ = next_unheld(limit.versions);
            if (dropping_ == nullptr) return false;
            pass_on(*dropping_, limit.objects);
            if (!dropping_->dead.empty()) return true;
            unlink(std::exchange(dropping_, nullptr));
        }
        return true;
    }

    // Effect: moves garbage to the caller, that of its lane first (GarbageLanes::take()).
    void take_garbage(Garbage<Record>& taken, std::size_t lane, std::uint64_t effort,
                      std::size_t patience) noexcept {
        take_surplus(taken);
        garbage_.take(taken.objects, lane, effort, patience);
    }
    void take_all_garbage(Garbage<Record>& taken) noexcept {
        take_surplus(taken);
        garbage_.take_all(taken.objects);
    }

    // Effect: of the records whose control block was still in use when they were dropped, up to
    // `records` are looked at again and pooled if it is not.
    void revisit_dropped(std::size_t records) noexcept {
        for (std::size_t n = std::min(records, dropped_.size()); n > 0; --n)
            pool_or_keep(dropped_.pop());
    }

    // A record from the pool; null when it is empty.
    [[nodiscard]] Record* take_record() noexcept {
        Record* record = pooled_;
        if (record == nullptr) return nullptr;
        pooled_ = record->next;
        --pooled_count_;
        return record;
    }
    // Effect: from now on the pool keeps so many records, within bounds.
    void keep_records(std::size_t wanted) noexcept {
        kept_records_ = std::clamp(wanted, least_kept_records, most_kept_records);
    }
    void pool_record(Record* record) noexcept {
        record->older = record->newer = nullptr;
        if (pooled_count_ < kept_records_) {
            record->next = std::exchange(pooled_, record);
            ++pooled_count_;
        } else {
            record->next = std::exchange(surplus_records_, record);
            ++surplus_count_;
        }
    }

    [[nodiscard]] Record* latest() const noexcept { return latest_; }
    [[nodiscard]] Record* oldest() const noexcept { return oldest_; }
    [[nodiscard]] std::size_t length() const noexcept { return length_; }
    [[nodiscard]] std::size_t superseded_count() const noexcept { return superseded_.size(); }
    [[nodiscard]] std::size_t superseded_bytes() const noexcept { return superseded_bytes_; }
    [[nodiscard]] std::size_t superseded_objects() const noexcept { return superseded_objects_; }
    [[nodiscard]] std::size_t pinned_count() const noexcept { return pinned_.size(); }
    [[nodiscard]] std::size_t owned_count() const noexcept { return owned_.size(); }
    [[nodiscard]] std::size_t cleared_count() const noexcept { return cleared_.size(); }
    [[nodiscard]] std::size_t dropped_count() const noexcept {
        return dropped_.size() + surplus_count_;
    }
    // Nothing but the latest version, nothing left to free.
    [[nodiscard]] bool idle() const noexcept {
        return length_ == 1 && garbage_.empty() && dropped_count() == 0;
    }
    [[nodiscard]] const GarbageLanes& garbage() const noexcept { return garbage_; }
    [[nodiscard]] LiveBytes live() const noexcept { return live_; }
    [[nodiscard]] std::size_t dead_bytes() const noexcept { return dead_bytes_; }
    [[nodiscard]] std::size_t dead_nodes_bytes() const noexcept { return dead_nodes_bytes_; }
    // Everything but pools and open writers.
    [[nodiscard]] std::size_t total_bytes() const noexcept {
        return live_.shards + live_.nodes + dead_bytes_ + garbage_.bytes() +
               (length_ + dropped_count()) * sizeof(Record);
    }
    // The same where it is idle.
    [[nodiscard]] std::size_t latest_bytes() const noexcept {
        return live_.shards + live_.nodes + sizeof(Record);
    }
    [[nodiscard]] std::size_t pooled_count() const noexcept { return pooled_count_; }

    // The bytes that would be freed if `record` alone were let go, its own included.
    // Precondition: nobody-held versions are settled; `record` is not the latest.
    [[nodiscard]] static std::size_t alone_bytes(const Record& record) noexcept {
        std::size_t bytes = sizeof(Record);
        for (const Object* object = record.dead.head(); object != nullptr; object = object->next)
            if (born_after_older(record, object->birth)) bytes += object->bytes();
        return bytes;
    }

    // Drops the latest version of a closed index that nobody holds; the next older one, if any,
    // takes its place. Its objects become garbage as in settle(), found by walking its tree: a node
    // that the older version shares, it shares with everything below. Lists, links and accounts are
    // left as they are, since nobody can ask for them any more.
    void drop_latest() noexcept {
        Record* record = latest_;
        if (record->tree.root != nullptr) collect(record->tree.root, record->older);
        latest_ = record->older;
        dropped_.push(record);
    }

    // A dropped record whose control block may still be in use. For destruction.
    [[nodiscard]] Record* take_dropped() noexcept { return dropped_.pop(); }

    // Calls fn(record) for each record whose control block may still be in use.
    template <class Fn>
    void for_each_record(Fn&& fn) const {
        for (Record* record = oldest_; record != nullptr; record = record->newer) fn(*record);
        for (Record* record = dropped_.head(); record != nullptr; record = record->next)
            fn(*record);
    }

  private:
    void take_surplus(Garbage<Record>& taken) noexcept {
        if (surplus_records_ == nullptr) return;
        taken.records = std::exchange(surplus_records_, nullptr);
        taken.record_count = std::exchange(surplus_count_, 0);
    }

    template <class IsPinned>
    void sort(Record* record, IsPinned& is_pinned) noexcept {
        const bool pinned = is_pinned(record);
        record->stage = pinned ? Stage::pinned : Stage::cleared;
        (pinned ? pinned_ : cleared_).push(record);
    }

    // All cleared versions are looked at, and up to `versions` of the owned ones in turn.
    Record* next_unheld(std::size_t& versions) noexcept {
        while (Record* record = cleared_.pop()) {
            if (let_go(*record)) return start_dropping(record);
            record->stage = Stage::owned;
            owned_.push(record);
        }
        for (std::size_t n = std::min(versions, owned_.size()); n > 0; --n) { // none twice
            --versions;
            Record* record = owned_.pop();
            if (let_go(*record)) return start_dropping(record);
            owned_.push(record);
        }
        return nullptr;
    }

    static Record* start_dropping(Record* record) noexcept {
        record->stage = Stage::dropping;
        return record;
    }

    // True when nobody holds the version. use_count() is only a hint that our own reference is the
    // last; what counts is that the control block says so afterwards, since a weak_ptr may have
    // been locked in between.
    static bool let_go(Record& record) noexcept {
        if (record.writers != 0) return false;
        if (record.owner != nullptr) {
            if (record.owner.use_count() != 1) return false;
            Core::sync_point(SyncPoint::reclaim_letting_go);
            record.owner.reset();
            Core::sync_point(SyncPoint::reclaim_letting_go);
        }
        return record.owners.is_expired();
    }

    // Strictly: what was born in the older version itself is still reachable from it.
    [[nodiscard]] static bool born_after_older(const Record& record, Version birth) noexcept {
        return record.older == nullptr || birth > record.older->version;
    }

    // `record` is the newest version that has `object`, which was in a newer one.
    void keep(Record& record, Object* object) noexcept {
        dead_bytes_ += object->bytes();
        dead_nodes_bytes_ += object->node_bytes();
        record.dead.push(object);
    }

    // Leaves on `retired`, what died with `record`, only what no older version holds.
    void keep_for_older(const Record& record, DeadList& retired) noexcept {
        Record& older = *record.older;
        DeadList alone;
        while (!retired.empty()) {
            Object* object = retired.pop();
            if (born_after_older(record, object->birth)) {
                alone.push(object);
            } else {
                keep(older, object);
            }
        }
        retired.splice(alone);
    }

    // Splits the dead list of a version between the garbage and the next older version. Asks for
    // that version anew each time: it may have been dropped since the last pause.
    void pass_on(Record& record, std::size_t& budget) noexcept {
        if (born_after_older(record, record.dead.min_birth())) {
            dead_bytes_ -= record.dead.bytes();
            dead_nodes_bytes_ -= record.dead.node_bytes();
            garbage_.splice(record.lane, record.dead);
            --budget;
            return;
        }
        for (; budget > 0 && !record.dead.empty(); --budget) {
            Object* object = record.dead.pop();
            if (born_after_older(record, object->birth)) {
                dead_bytes_ -= object->bytes();
                dead_nodes_bytes_ -= object->node_bytes();
                garbage_.push(record.lane, object);
            } else {
                record.older->dead.push(object);
            }
        }
    }

    void unlink(Record* record) noexcept {
        (record->older == nullptr ? oldest_ : record->older->newer) = record->newer;
        record->newer->older = record->older;
        --length_;
        record->stage = Stage::dropped;
        pool_or_keep(record);
    }

    void pool_or_keep(Record* record) noexcept {
        if (record->owners.is_released())
            pool_record(record);
        else
            dropped_.push(record);
    }

    void collect(Node* node, const Record* older) noexcept {
        if (older != nullptr && node->birth <= older->version) return;
        if (node->level > 0) {
            auto& inner = *static_cast<Inner*>(node);
            for (std::size_t i = 0; i < inner.extent; ++i)
                if (inner.child[i] != nullptr) collect(inner.child[i], older);
        } else {
            auto& leaf = *static_cast<Leaf<Shard>*>(node);
            for (std::size_t i = 0; i < leaf.extent; ++i)
                if (leaf.child[i] != nullptr &&
                    (older == nullptr || leaf.child[i]->birth > older->version))
                    garbage_.push(0, leaf.child[i]);
        }
        garbage_.push(0, node);
    }

    // What every commit writes comes first, in as few lines as will do: between two writers each
    // is a line to be fetched from the other processor, while the lock is held.
    Record* oldest_ = nullptr;
    Record* latest_ = nullptr;
    std::size_t length_ = 0;

    Record* pooled_ = nullptr;
    std::size_t pooled_count_ = 0;
    LiveBytes live_;
    std::size_t dead_bytes_ = 0;       // on the lists of versions
    std::size_t dead_nodes_bytes_ = 0; // tree nodes among them
    std::size_t superseded_bytes_ = 0; // on the lists of superseded versions
    std::size_t superseded_objects_ = 0;

    RecordQueue<Record> superseded_;
    RecordQueue<Record> cleared_;
    RecordQueue<Record> owned_;
    RecordQueue<Record> dropped_;
    Record* dropping_ = nullptr;

    GarbageLanes garbage_;

    RecordQueue<Record> pinned_;
    static constexpr std::size_t least_kept_records = 64;
    static constexpr std::size_t most_kept_records = 1024;
    std::size_t kept_records_ = least_kept_records;
    Record* surplus_records_ = nullptr; // beyond what is pooled
    std::size_t surplus_count_ = 0;
};

} // namespace cowindex::detail
