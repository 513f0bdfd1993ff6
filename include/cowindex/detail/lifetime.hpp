// How an index begins, how its writers come and go, and how it ends.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include <cowindex/detail/core.hpp>
#include <cowindex/detail/initial_tree.hpp>

namespace cowindex::detail {

template <class Shard, class Policy>
template <class Fill>
Core<Shard, Policy>* Core<Shard, Policy>::create(const Settings& settings, Fill&& fill) {
    if (settings.first_version > last_version) throw_version_limit();
    struct Delete {
        void operator()(Core* core) const noexcept { delete core; }
    };
    std::unique_ptr<Core, Delete> core(new Core(settings));
    InitialTree<Shard, Policy> initial(settings.allocator, settings.first_version);
    fill(initial);
    Record* const record = core->new_record();
    const typename Chain::LiveBytes born{initial.shard_bytes(), initial.node_bytes()};
    record->version = settings.first_version;
    record->tree = initial.release();
    core->sequence_ = record->tree.id_bound;
    core->chain_.append(record, {}, born);
    static_cast<void>(core->publication_.publish(record, make_owner<Record>));
    core->peak_bytes_ = core->chain_.total_bytes();
    return core.release();
}

template <class Shard, class Policy>
COWINDEX_LONG void Core<Shard, Policy>::leave(Slot* slot) noexcept {
    if (slot->leave()) slot->core->give_back(slot);
}

template <class Shard, class Policy>
COWINDEX_COLD void Core<Shard, Policy>::give_back(Slot* slot) noexcept {
    registry_.give_back(slot, lock_);
    drop_user();
}

template <class Shard, class Policy>
COWINDEX_COLD typename Core<Shard, Policy>::Loan Core<Shard, Policy>::claim_for(Loan loan) {
    Rollback rollback([&]() noexcept { static_cast<void>(lender_.put_back(loan)); });
    loan.slot = registry_.claim(*this, publication_, lock_, {});
    rollback.done();
    return loan;
}

template <class Shard, class Policy>
COWINDEX_COLD typename Core<Shard, Policy>::Owner Core<Shard, Policy>::demand_owner(
    const Record* pinned) {
    const Guard guard(lock_);
    if (pinned == nullptr || pinned == chain_.latest())
        return publication_.demand(make_owner<Record>);
    // Superseded, so its owner, if any, has come back from the publication; pinned, so it was not
    // let go.
    if (pinned->owner == nullptr) pinned->owner = make_owner(*pinned);
    return pinned->owner;
}

template <class Shard, class Policy>
COWINDEX_COLD typename Core<Shard, Policy>::Record* Core<Shard, Policy>::new_record() {
    return make_object<Record>(settings_.allocator, *this);
}

template <class Shard, class Policy>
typename Core<Shard, Policy>::Batch* Core<Shard, Policy>::open_batch(std::string label,
                                                                     ActiveUpdate* update) {
    const auto thread = update != nullptr ? update->thread : std::this_thread::get_id();
    const auto open = [&](Batch* batch) { // the lock is held
        if (!label.empty()) batch->label.swap(label);
        batch->user = thread;
        move_base(*batch, chain_.latest());
        batch->previous = nullptr;
        batch->next = std::exchange(open_, batch);
        if (batch->next != nullptr) batch->next->previous = batch;
        ++open_count_;
        if (batch->spare == nullptr) batch->spare = chain_.take_record();
        if (update != nullptr) update->next = std::exchange(updates_of(thread), update);
    };

    Batch* batch = nullptr;
    bool nested = false;
    {
        Guard guard(lock_);
        if (update != nullptr)
            for (const ActiveUpdate* other = updates_of(thread); other; other = other->next)
                nested = nested || (other->thread == thread && other->depth == update->depth);
        if (!nested && (batch = take_idle(thread)) != nullptr) open(batch);
    }
    if (nested) throw_nested_update();
    if (batch == nullptr) {
        auto made = std::make_unique<Batch>(settings_.allocator, metrics_, settings_.time_every);
        Guard guard(lock_);
        batch = made.release();
        batch->lane = next_lane_;
        next_lane_ = (next_lane_ + 1) % GarbageLanes::lanes;
        open(batch);
    }
    batch->builder.restart(batch->base->tree);
    add_user();
    return batch;
}

// An idle batch, that which this thread used last if there is one: its pools are in the caches of
// this processor. Null where none is idle. Precondition: the lock is held.
template <class Shard, class Policy>
typename Core<Shard, Policy>::Batch* Core<Shard, Policy>::take_idle(
    std::thread::id thread) noexcept {
    if (idle_ == nullptr) return nullptr;
    Batch** link = &idle_;
    while (*link != nullptr && (*link)->user != thread) link = &(*link)->next;
    if (*link == nullptr) link = &idle_;
    Batch* batch = *link;
    *link = batch->next;
    --idle_count_;
    return batch;
}

template <class Shard, class Policy>
void Core<Shard, Policy>::close_batch(Batch* batch, ActiveUpdate* update) noexcept {
    static constexpr std::size_t max_idle = 8;
    if (batch->busy) {
        batch->closing = true;
        return;
    }
    batch->closing = false;
    if (batch->has_changes()) metrics_.record_discard();
    Trash dropped;
    take_edits(*batch, dropped);
    if (update != nullptr) tickets_.leave(update->ticket, lock_);
    std::string label; // freed after the lock
    bool keep = false;
    std::size_t pooled = 0; // what goes with a batch that is not kept
    {
        Guard guard(lock_);
        move_base(*batch, nullptr);
        if (!batch->label.empty()) label.swap(batch->label);
        (batch->previous == nullptr ? open_ : batch->previous->next) = batch->next;
        if (batch->next != nullptr) batch->next->previous = batch->previous;
        --open_count_;
        keep = idle_count_ < max_idle;
        if (keep) {
            batch->next = std::exchange(idle_, batch);
            ++idle_count_;
        } else {
            fold_tallies(*batch);
            pooled = batch->pooled_bytes() + (batch->spare == nullptr ? 0 : sizeof(Record));
            unlinked_.add(pooled);
        }
        if (update != nullptr) forget_update(*update);
    }
    if (!keep) {
        destroy_batch(batch);
        unlinked_.subtract(pooled);
    }
    if (!dropped.objects.empty()) free_counted(dropped);
    drop_user();
}

// For an update whose function has moved its writer away.
template <class Shard, class Policy>
void Core<Shard, Policy>::end_update(ActiveUpdate& update) noexcept {
    tickets_.leave(update.ticket, lock_);
    Guard guard(lock_);
    forget_update(update);
}

template <class Shard, class Policy>
void Core<Shard, Policy>::forget_update(ActiveUpdate& update) noexcept {
    ActiveUpdate** link = &updates_of(update.thread);
    while (*link != &update) link = &(*link)->next;
    *link = update.next;
}

template <class Shard, class Policy>
void Core<Shard, Policy>::destroy_batch(Batch* batch) noexcept {
    if (batch->spare != nullptr) free_record(batch->spare);
    delete batch;
}

// The last user is gone: no pins, no writers, no calls. Snapshots may be dropped meanwhile, by any
// thread; all they touch is their record's OwnerState and count.
template <class Shard, class Policy>
void Core<Shard, Policy>::close() noexcept {
    Policy::sync_point(SyncPoint::teardown_closing);
    chain_.latest()->owner = publication_.close();
    // Each record whose control block is still in use keeps the core. Counted before it is told to
    // report its death, or it could report one that was not counted.
    chain_.for_each_record([this](Record& record) {
        record.owner.reset();
        survivors_.add();
        Policy::sync_point(SyncPoint::teardown_counted);
        if (record.owners.orphan()) static_cast<void>(survivors_.drop()); // ours is still there
    });
    sort_superseded(unborn);
    typename Chain::Limit all{~std::size_t{0}, chain_.length()};
    chain_.settle(all);
    if (chain_.latest()->owners.is_expired()) chain_.drop_latest();
    Trash trash;
    chain_.take_all_garbage(trash);
    free_garbage(trash, nullptr);
    while (Record* record = chain_.take_record()) free_record(record);
    while (idle_ != nullptr) destroy_batch(std::exchange(idle_, idle_->next));
    if (survivors_.drop()) delete this;
}

// Whatever is left is nobody's.
template <class Shard, class Policy>
Core<Shard, Policy>::~Core() {
    while (chain_.latest() != nullptr) chain_.drop_latest();
    Trash trash;
    chain_.take_all_garbage(trash);
    free_garbage(trash, nullptr);
    while (Record* record = chain_.take_dropped()) free_record(record);
}

} // namespace cowindex::detail
