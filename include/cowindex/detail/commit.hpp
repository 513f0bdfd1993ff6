// The commit protocol.
//
//   prepare   measure the changed shards, get a record: all that may throw, no lock held
//   section   under the lock, noexcept: check, publish, retire, unlink a little garbage
//   finish    free that garbage, run user destructors: no lock held
//
// A batch whose base is still the latest publishes the tree that it has built already, or, where
// nobody can look, makes its only change in that version's own leaf. Otherwise
// its changes are replayed on the latest tree, after a check shard by shard that nobody else
// changed what it changed or required. The objects to retire are always those of the latest tree:
// those of the base may have been retired by others already.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include <cowindex/detail/core.hpp>

namespace cowindex::detail {

template <class Shard, class Policy>
CommitOutcome Core<Shard, Policy>::commit(Batch& batch, const Ticket* mine, Version& version) {
    if (!batch.has_changes()) {
        version = latest_version();
        return CommitOutcome::unchanged;
    }
    tickets_.give_way(batch.changes, mine, lock_);
    const bool timed = Policy::timing && batch.commit_timer.due(settings_.time_every);
    const auto start =
        timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point{};

    {
        const CallingBack calling;
        batch.measure();
    }
    const bool limited = settings_.has_budget();
    if (limited) [[unlikely]] {
        batch.drop_vain_growth();
        make_room(batch);
        batch.held_up = false;
    }

    CommitOutcome outcome = CommitOutcome::committed;
    int tries = 0;
    do {
        // Destructors that ran since may have used this batch, and even committed it.
        if (limited && !batch.has_changes()) [[unlikely]] {
            version = latest_version();
            return CommitOutcome::unchanged;
        }
        if (batch.spare == nullptr) [[unlikely]]
            give_spare(batch);
        batch.drop_vain_growth();
        version = batch.base->version;
        outcome = commit_section(batch, version, limited);
    } while (limited && tries_again(batch, outcome, tries));
    if (timed) metrics_.record_commit_time(std::chrono::steady_clock::now() - start);
    return outcome;
}

template <class Shard, class Policy>
COWINDEX_COLD void Core<Shard, Policy>::give_spare(Batch& batch) {
    Record* const record = new_record();
    Rollback rollback([&]() noexcept { free_record(record); });
    const Guard guard(lock_);
    batch.spare = record;
    rollback.done();
}

template <class Shard, class Policy>
inline CommitOutcome Core<Shard, Policy>::commit_section(Batch& batch, Version& version,
                                                         bool limited) {
    Policy::sync_point(SyncPoint::commit_prepared);
    const bool rivals = version < rivalry_ends_.read();
    Guard guard(lock_, rivals ? Crowd::hurry : Crowd::leave_turns);
    if (chain_.latest()->version >= last_version) [[unlikely]]
        return CommitOutcome::exhausted;
    if (chain_.latest() != batch.base) [[unlikely]]
        return commit_elsewhere(batch, version, guard);
    if (limited && !fits(batch, batch.builder, 0)) [[unlikely]]
        return CommitOutcome::over_budget;
    if (!latest_is_private())
        version = publish(batch, batch.builder, guard);
    else if (chain_.idle())
        version = publish_in_place<true>(batch, guard);
    else
        version = publish_in_place<false>(batch, guard);
    return CommitOutcome::committed;
}

// Commits on another version than the batch's base: replays the changes there. A large batch is
// first replayed without the lock, in the hope that nobody commits in between.
// Precondition: the lock is held. It is let go of.
template <class Shard, class Policy>
COWINDEX_COLD CommitOutcome Core<Shard, Policy>::commit_elsewhere(Batch& batch, Version& version,
                                                                  Guard<Lock>& guard) {
    struct Ahead {
        Ahead(Core& core, Batch& batch) : onto(core), built(onto.record->tree, batch.pool) {}
        Hold onto;
        typename Batch::Builder built;
    };
    const auto refused = [&](const Record& latest) {
        metrics_.record_conflict();
        rivalry_ends_.set(latest.version + remembered_rivalry);
        batch.conflicts = conflicts(batch, latest);
        return CommitOutcome::conflict;
    };

    std::optional<Ahead> ahead;
    if (batch.changes.checks() >= replay_ahead) {
        guard.unlock();
        ahead.emplace(*this, batch);
        const ShardTree<Shard>& onto = ahead->onto.record->tree;
        if (!batch.changes.agrees_with(onto)) return refused(*ahead->onto.record);
        batch.reserve_replay(onto.height);
        batch.changes.replay(ahead->built);
        Policy::sync_point(SyncPoint::commit_prepared);
        guard.relock();
    }

    for (;;) {
        Record* const latest = chain_.latest();
        if (ahead.has_value() && latest != ahead->onto.record) { // in vain
            ahead->onto.let_go();
            ahead.reset();
        }
        if (latest->version >= last_version) {
            guard.unlock(); // before `ahead` ends, which takes it
            return CommitOutcome::exhausted;
        }
        if (ahead.has_value()) return publish_if_fits(batch, ahead->built, 1, version, guard);
        if (!batch.changes.agrees_with(latest->tree)) {
            const Hold held(*this, latest);
            guard.unlock();
            return refused(*latest);
        }
        const unsigned height = latest->tree.height;
        if (batch.pool.holds(batch.changes.replay_need(height))) {
            typename Batch::Builder built(latest->tree, batch.pool);
            batch.changes.replay(built);
            return publish_if_fits(batch, built, 0, version, guard);
        }
        guard.unlock();
        Policy::sync_point(SyncPoint::commit_retry);
        batch.reserve_replay(height);
        guard.relock();
    }
}

// For what was built elsewhere. Lets go of the lock.
template <class Shard, class Policy>
CommitOutcome Core<Shard, Policy>::publish_if_fits(Batch& batch, typename Batch::Builder& built,
                                                   std::size_t holds, Version& version,
                                                   Guard<Lock>& guard) {
    if (settings_.has_budget() && !fits(batch, built, holds)) {
        guard.unlock();
        return CommitOutcome::over_budget;
    }
    version = publish(batch, built, guard);
    return CommitOutcome::committed;
}

// Effect: what is new in the batch and its tree `built` is born in `version`. Calls retire(node)
// and retire(box) for each that it replaces. Returns the bytes born.
template <class Shard, class Policy>
template <class Retire>
typename Core<Shard, Policy>::Chain::LiveBytes Core<Shard, Policy>::stamp(
    Batch& batch, typename Batch::Builder& built, Version version, Retire&& retire) noexcept {
    typename Chain::LiveBytes born;
    born.nodes = built.publish(version, retire);
    batch.changes.walk([&](const auto& change) {
        if (change.after != nullptr) {
            change.after->birth = version;
            born.shards += change.after->bytes();
        }
        if (change.before != nullptr) retire(change.before);
    });
    batch.uncommitted.set(0); // live from here on
    return born;
}

// The section. Effect: what `built` holds is the latest version, and the batch is based on it.
// Returns its number: a destructor that is run at the end may move the batch on. What it replaced
// goes on the dead list of the version before, or is freed at once where nobody can hold that one.
// Precondition: the lock is held. It is let go of.
template <class Shard, class Policy>
Version Core<Shard, Policy>::publish(Batch& batch, typename Batch::Builder& built,
                                     Guard<Lock>& guard) noexcept {
    Record* const record = std::exchange(batch.spare, nullptr);
    record->version = chain_.latest()->version + 1;
    record->tree = built.tree();
    const NodeCount nodes = built.own_count();

    Trash trash;
    DeadList& retired = trash.objects; // what stays there nobody can hold
    const auto born =
        stamp(batch, built, record->version, [&](Object* object) { retired.push(object); });
    const Drain most = drain_after(retired.count(), retired.bytes());
    chain_.append(record, retired, born);
    move_base(batch, record);
    Owner superseded = publication_.publish(record, make_owner<Record>);
    Policy::sync_point(SyncPoint::commit_published);
    // A destructor's commit reclaims nothing: destructors could nest without bound.
    chain_.supersede(std::move(superseded), !registry_.anyone() && !freeing_shards, batch.lane,
                     retired);
    const Version published = record->version;
    finish_commit(batch, guard, nodes, most, trash);
    return published;
}

// The section where nobody can tell one version from the next. Effect: the latest version turns
// into the new one in its record. What it replaced is used again at once; what an older version
// has, too, is dead for that one. `alone`: there is no other version and nothing left to free.
// Returns its number.
// Preconditions: latest_is_private(), the batch is based on it; the lock is held. It is let go of.
template <class Shard, class Policy>
template <bool alone>
inline Version Core<Shard, Policy>::publish_in_place(Batch& batch, Guard<Lock>& guard) noexcept {
    Record& record = *batch.base;
    const Version version = record.version + 1;
    record.version = version;
    const Version own_since = alone ? 0 : chain_.own_since();
    const bool late = batch.builder.put_in_base(own_since); // then it is the only change
    NodeCount nodes;
    if (!late) {
        record.tree = batch.builder.tree();
        nodes = batch.builder.own_count();
    }

    Object* trash = nullptr; // what is not kept at once
    std::size_t unlinked = 0;
    std::size_t retained = 0;
    typename Chain::LiveBytes lost;
    const auto retire = [&](auto* object) {
        const std::size_t bytes = object->bytes();
        lost.add(object);
        if (object->birth < own_since) {
            chain_.retire_to_older(object);
            retained += bytes;
        } else if (!batch.keep(object)) {
            object->next = std::exchange(trash, object);
            unlinked += bytes;
        }
    };
    const auto born = stamp(batch, batch.builder, version, retire);
    chain_.replace(lost, born);
    Policy::sync_point(SyncPoint::commit_published);

    const std::size_t shards = batch.changes.size();
    const std::size_t reclaimed = lost.shards + lost.nodes - retained;
    std::optional<Trash> left; // by earlier commits
    if constexpr (alone) {
        count_commit(batch, reclaimed, unlinked, chain_.latest_bytes() + reclaimed);
    } else {
        drain(batch, drain_after(shards + nodes.leaves + nodes.inners, lost.shards + lost.nodes),
              left.emplace());
        count_commit(batch, reclaimed + left->bytes(), unlinked + left->bytes(),
                     chain_.total_bytes() + left->bytes() + reclaimed);
    }
    unlock_and_announce(guard);

    batch.forget_changes();
    batch.own_since = own_since;
    if (!late) batch.expects_in_place = shards == 1 && !settings_.has_budget();
    if (trash != nullptr) free_objects(trash, &batch);
    if (left.has_value()) free_garbage(*left, &batch);
    if (!late) batch.fit_stocks(nodes, shards); // else they fit since the commit before
    return version;
}

// Effect: counts a commit that has taken `reclaimed` bytes out of the index, of which `unlinked`
// are still to be freed. There were `most` bytes before. Precondition: the lock is held.
template <class Shard, class Policy>
inline void Core<Shard, Policy>::count_commit(Batch& batch, std::size_t reclaimed,
                                              std::size_t unlinked, std::size_t most) noexcept {
    batch.commits.add_alone();
    batch.reclaimed.add_alone(reclaimed);
    batch.unlinked.add_alone(unlinked); // what destructors commit with this writer adds to it
    if (most > peak_bytes_) peak_bytes_ = most;
}

template <class Shard, class Policy>
inline void Core<Shard, Policy>::unlock_and_announce(Guard<Lock>& guard) noexcept {
    const bool awaited = waiters_ != 0;
    guard.unlock();
    if (awaited) [[unlikely]]
        announce();
}

// Effect: of what commits have retired, up to `most` is dealt with and no longer the index's: it is
// on `trash`. Precondition: the lock is held.
template <class Shard, class Policy>
void Core<Shard, Policy>::drain(Batch& batch, Drain most, Trash& trash) noexcept {
    if (!registry_.anyone() && chain_.superseded_count() + chain_.pinned_count() != 0)
        sort_superseded(chain_.latest()->version);
    typename Chain::Limit limit{most.objects, drain_versions};
    chain_.settle(limit);
    chain_.revisit_dropped(drain_versions);
    chain_.take_garbage(trash, batch.lane, most.effort,
                        open_count_ == 1 ? GarbageLanes::patience_alone
                                         : GarbageLanes::patience_among_writers);
}

// Effect: frees `trash` and a bounded amount of what earlier commits have retired. Lets go of the
// lock.
template <class Shard, class Policy>
void Core<Shard, Policy>::finish_commit(Batch& batch, Guard<Lock>& guard, NodeCount nodes,
                                        Drain most, Trash& trash) noexcept {
    bool look = false;
    std::size_t least = least_kept;
    if (!freeing_shards && !chain_.idle()) {
        if (registry_.anyone()) {
            look = barrier_due();
            least = barrier_objects * barrier_versions_;
        }
        drain(batch, most, trash);
    }
    count_commit(batch, trash.bytes(), trash.bytes(), chain_.total_bytes() + trash.bytes());
    batch.spare = chain_.take_record();
    unlock_and_announce(guard);

    const std::size_t shards = batch.changes.size();
    batch.expects_in_place = false;
    batch.forget_edits(batch.base->tree);
    free_garbage(trash, &batch);
    batch.fit_stocks(nodes, shards, least);
    if (look) {
        guard.relock();
        look_for_pins(guard);
        guard.unlock();
    }
}

// Effect: moves the batch's tallies into the index's collector. Until then metrics() adds them.
// Precondition: the lock is held.
template <class Shard, class Policy>
void Core<Shard, Policy>::fold_tallies(Batch& batch) noexcept {
    metrics_.record_turn({batch.commits.take_alone(), batch.clones.take_alone(),
                          batch.bytes_cloned.take_alone(), batch.reclaimed.take_alone()});
}

} // namespace cowindex::detail
