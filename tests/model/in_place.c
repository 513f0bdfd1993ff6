// Commits write the next version into the record of the latest, with plain writes, where nobody can
// get at that but through the lock, and free at once what they replace and no older version has;
// else they publish another record. A leaf is written to where the latest alone has it, else copied.
// Meanwhile one thread looks in ways a and b (WAYS=abc) and tells another, which looks in way c: 1 a
// pin under a slot claimed for it, 2 a snapshot, 3 a writer's base, 4 a commit, 5 a view that is
// promoted, 0 not at all. Nobody finds a version half written or freed, nor an older one than he
// knows of; a writer's base stays as it was. Records are used again: addresses repeat. With -DLENT
// a pin borrows its slot from one place, and a commit that looks for pins takes back what is there.
// Headers: Core::commit_section, latest_is_private, publish_in_place, publish, demand_owner and
// open_batch, TreeBuilder::put_in_base, PinRegistry::claim, give_back and anyone, SlotLender,
// LendingPlace, PinWord, Publication, SharedCell's stand-in, VersionChain::own_since, supersede and
// let_go, CommitLock.
#include "model.h"
enum { a = WAYS / 100, b = WAYS / 10 % 10, c = WAYS % 10 };
enum { versions = COMMITS + (a == 4) + (b == 4) + (c == 4), shards = 2 + versions, users = 3 };
struct Shard { int birth; }; // version v replaces that of tree[v % 2]
struct Leaf {
    int birth;
    struct Shard* shard;
};
struct Record {
    int version;
    struct Leaf* tree[2];
    int writers;    // guarded by the lock
    bool has_owner; // the same; of a superseded one
    atomic_int use; // of its owner
};
static struct Shard shard[shards];
static struct Leaf leaf[shards];
static struct Record records[1 + versions];
static struct Record* _Atomic latest;
static struct Record* _Atomic slots[users];
static atomic_bool held;                   // the lock; it guards what follows up to `owned`
static struct Record* chain = &records[0]; // the latest, too
static unsigned used = 1, alive = 0x30003; // bits, of records; of shards and, from 16 on, leaves
static int claimed, ahead;
static bool in_use[users]; // which slots are claimed
static bool owned;
static atomic_bool locked; // the cell's bit; it guards the owner there
static struct Record* owner;
static int told; // before the message
static atomic_bool message;

static void lock(void) {
    while (atomic_exchange_explicit(&held, true, LOCK_ORDER_1)) RETRY;
}
static void unlock(void) { atomic_store_explicit(&held, false, LOCK_ORDER_2); }
static struct Record* copy_of(struct Record* record) {
    if (record != NULL) atomic_fetch_add_explicit(&record->use, 1, LIBRARY_ORDER(RLX));
    return record;
}
static void drop_owner(struct Record* record) {
    if (record != NULL) atomic_fetch_sub_explicit(&record->use, 1, LIBRARY_ORDER(ACQ_REL));
}
static struct Record* make_owner(struct Record* record) {
    atomic_store_explicit(&record->use, 1, LIBRARY_ORDER(RLX));
    return record;
}
static struct Record* load_owner(void) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
    struct Record* copy = copy_of(owner);
    atomic_store_explicit(&locked, false, CELL_ORDER_2);
    return copy;
}
static struct Record* exchange_owner(struct Record* now) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
    struct Record* before = owner;
    owner = now;
    atomic_store_explicit(&locked, false, CELL_ORDER_2);
    return before;
}
static int version_of(const struct Record* record) {
    const int v = record->version;
    assert(record->tree[v & 1]->shard->birth == v);
    assert(record->tree[~v & 1]->shard->birth == (v > 0 ? v - 1 : 0));
    return v;
}

static struct Record* demand(struct Record* pinned) { // NULL: the latest
    struct Record* early = IS(237) ? atomic_load_explicit(&latest, ORDER_3) : NULL; // no lock yet
    struct Record* copy;
    if (!IS(236)) lock();
    if (pinned == NULL || pinned == chain) {
        if (!owned) {
            owned = !IS(241);
            ahead = AHEAD;
            struct Record* record = IS(237) ? early : atomic_load_explicit(&latest, ORDER_3);
            drop_owner(exchange_owner(make_owner(record)));
        }
        copy = load_owner();
    } else {
        if (!pinned->has_owner) make_owner(pinned);
        pinned->has_owner = true;
        copy = copy_of(pinned);
    }
    if (!IS(236)) unlock();
    return copy;
}
static int snapshot(void) {
    struct Record* record = load_owner();
    for (int tries = 1; record != NULL; ++tries) {
        if (atomic_load_explicit(&latest, ORDER_4) == record) break;
        drop_owner(record);
        record = tries < TRIES ? load_owner() : NULL;
    }
    if (record == NULL) record = demand(NULL);
    const int version = version_of(record);
    drop_owner(record);
    return version;
}
#ifdef LENT // slots lie in a place between two pins; at most one more than there are threads
static struct Record* _Atomic* _Atomic place;
#define TAKEN ((struct Record * _Atomic*)&place)
static struct Record* _Atomic* free_slots[users]; // guarded by the lock, like these
static int made, free_count;
static bool mine[users]; // whether its user has the place
static void take_back(struct Record* _Atomic* slot) {
    free_slots[free_count++] = slot;
    in_use[slot - slots] = false;
    --claimed;
}
static struct Record* _Atomic* claim(struct Record* _Atomic* slot) {
    slot = IS(225) ? atomic_load(&place) : atomic_exchange_explicit(&place, TAKEN, ORDER_19);
    const bool place_is_mine = slot != TAKEN;
    if (slot == NULL || slot == TAKEN) {
        lock();
        slot = free_count > 0 ? free_slots[--free_count] : &slots[made++];
        in_use[slot - slots] = true;
        ++claimed;
        unlock();
    }
    mine[slot - slots] = place_is_mine;
    assert(atomic_load_explicit(slot, ORDER_17) == NULL); // is_idle_and_asymmetric
    return slot;
}
static void give_back(struct Record* _Atomic* slot) {
    if (mine[slot - slots]) {
        atomic_store_explicit(&place, slot, ORDER_20);
        return;
    }
    lock();
    take_back(slot);
    unlock();
}
// That the slot has idled is a hint, so here it is taken whenever it is there, and the only one.
static void let_go_of_idle(void) {
    if (claimed != 1) return;
    struct Record* _Atomic* slot = atomic_load_explicit(&place, ORDER_21);
    if (slot == NULL || slot == TAKEN) return;
    if (IS(255) || atomic_compare_exchange_strong_explicit(&place, &slot, NULL, ORDER_19, ORDER_19))
        take_back(slot);
}
#else
static struct Record* _Atomic* claim(struct Record* _Atomic* slot) {
    if (!IS(252)) lock();
    if (!IS(221)) ++claimed, in_use[slot - slots] = true;
    if (!IS(252)) unlock();
    return slot;
}
static void give_back(struct Record* _Atomic* slot) {
    if (!IS(223)) lock();
    if (!IS(221)) --claimed, in_use[slot - slots] = false;
    if (!IS(223)) unlock();
}
static void let_go_of_idle(void) {}
#endif
static int pin(struct Record* _Atomic* slot, bool promoted) {
    if (!IS(250)) slot = claim(slot);
    struct Record *guess, *record = atomic_load_explicit(&latest, ORDER_5), *copy = NULL;
    do {
        atomic_store_explicit(slot, guess = record, ORDER_6);
        LIGHT();
        record = atomic_load_explicit(&latest, ORDER_7);
    } while (record != guess);
    if (IS(250)) claim(slot);     // after the pin
    if (IS(253)) give_back(slot); // before it ends
    if (promoted && (copy = load_owner()) != record) {
        drop_owner(copy);
        copy = demand(record);
    }
    int version = promoted ? 0 : version_of(record);
    atomic_store_explicit(slot, NULL, ORDER_8);
    if (!IS(253)) give_back(slot);
    if (promoted) version = version_of(record);
    drop_owner(copy);
    return version;
}

static bool latest_is_private(void) {
    return (IS(246) || claimed == 0) && (IS(247) || !owned) && (IS(248) || chain->writers == 1);
}
static struct Leaf* make_leaf(int v) {
    struct Shard* const born = &shard[1 + v];
    struct Leaf* const made = &leaf[1 + v];
    born->birth = made->birth = v;
    made->shard = born;
    alive |= 0x10001U << (1 + v);
    return made;
}
static unsigned publish_in_place(int v) { // returns what is to be freed, in bits, like publish()
    int older = -1;                       // the next older version
    for (int r = 0; r <= versions; ++r)
        if ((used >> r & 1) != 0 && &records[r] != chain && records[r].version > older)
            older = records[r].version;
    struct Leaf* const before = chain->tree[v & 1];
    struct Shard* const lost = before->shard;
    struct Leaf* const made = make_leaf(v);
    unsigned garbage = IS(249) || lost->birth > older ? 1U << (lost - shard) : 0;
    if (IS(251)) unlock(); // and writes then
    chain->version = v;
    if (IS(254) || before->birth > older) {
        before->shard = made->shard;
        garbage |= 0x10000U << (made - leaf);
    } else {
        chain->tree[v & 1] = made;
    }
    if (IS(251)) lock();
    return garbage;
}
static struct Record* publish_owner(struct Record* record) {
    if (!owned) return NULL;
    const bool made = ahead > 0;
    if (made) --ahead;
    if (!IS(238)) owned = made;
    if (!made && IS(235)) return NULL; // the old one stays
    return exchange_owner(made ? make_owner(record) : NULL);
}
static bool let_go(struct Record* record) {
    if (record->writers != 0) return false;
    if (record->has_owner) {
        if (atomic_load_explicit(&record->use, LIBRARY_ORDER(RLX)) != 1) return false; // only a hint
        record->has_owner = false;
        drop_owner(record);
    }
    return atomic_load_explicit(&record->use, LIBRARY_ORDER(ACQ)) == 0;
}
static unsigned publish(int v, struct Record** base) {
    int mine = 0;
    while ((used >> mine & 1) != 0) ++mine;
    struct Record* const record = &records[mine];
    record->version = v;
    record->tree[v & 1] = make_leaf(v);
    record->tree[~v & 1] = chain->tree[~v & 1];
    --(*base)->writers;
    ++record->writers;
    *base = record;
    struct Record* before = IS(206) ? publish_owner(record) : NULL;
    atomic_store_explicit(&latest, record, ORDER_1);
    if (!IS(206)) before = publish_owner(record);
    chain->has_owner = before != NULL;
    chain = record;
    used |= 1U << mine;
    unsigned pinned = 0;
    let_go_of_idle();
    if (claimed != 0) { // anyone()
        unlock();
        HEAVY();
        lock();
        for (int s = 0; s < users && claimed != 0; ++s) {
            if (!in_use[s]) continue; // on the list of free ones
            struct Record* seen = atomic_load_explicit(&slots[s], ORDER_9);
            if (seen != NULL) pinned |= 1U << (seen - records);
        }
    }
    unsigned reached = 0;
    for (int r = 0; r <= versions; ++r) {
        const bool superseded = (used >> r & 1) != 0 && records[r].version < v; // before the barrier
        if (superseded && (pinned >> r & 1) == 0 && let_go(&records[r])) used &= ~(1U << r);
        for (int s = 0; s < 2 && (used >> r & 1) != 0; ++s)
            reached |= 0x10000U << (records[r].tree[s] - leaf) |
                       1U << (records[r].tree[s]->shard - shard);
    }
    return alive & ~reached;
}
static int write(int commits) {
    lock(); // open_batch
    struct Record* base = chain;
    ++base->writers;
    unlock();
    int version = version_of(base);
    for (int i = 0; i < commits; ++i) {
        lock();
        assert(chain != base || chain->version == version); // a conflict is seen by the address
        const bool in_place = chain == base && latest_is_private();
        if (IS(224)) unlock(); // looked at, and let go
        if (IS(224)) lock();
        version = chain->version + 1;
        const unsigned garbage = in_place ? publish_in_place(version) : publish(version, &base);
        alive &= ~garbage;
        unlock();
        for (int s = 0; s < shards; ++s) {
            if ((garbage >> s & 1) != 0) shard[s].birth = -1;
            if ((garbage >> s & 0x10000) != 0) leaf[s].birth = -1, leaf[s].shard = NULL;
        }
    }
    lock(); // close_batch
    assert(chain != base || chain->version == version);
    --base->writers;
    unlock();
    return version;
}

static int look(int way, struct Record* _Atomic* slot) {
    return way == 2 ? snapshot() : way == 3 || way == 4 ? write(way == 4) : pin(slot, way == 5);
}
static void* teller(void* slot) {
    int version = look(a, slot);
    if (b != 0) {
        const int first = version;
        version = look(b, slot);
        assert(first <= version);
    }
    told = version;
    atomic_store_explicit(&message, true, LIBRARY_ORDER(REL));
    return NULL;
}
static void* listener(void* slot) {
    const int known = atomic_load_explicit(&message, LIBRARY_ORDER(ACQ)) ? told : 0;
    assert(look(c, slot) >= known);
    return NULL;
}
static void* committer(void* unused) {
    write(COMMITS);
    return unused;
}
int main(void) {
    for (int s = 0; s < 2; ++s) {
        leaf[s].shard = &shard[s];
        chain->tree[s] = &leaf[s];
    }
    atomic_init(&latest, chain);
    if (COMMITS != 0) start(committer, NULL);
    start(teller, &slots[0]);
    if (c != 0) start(listener, &slots[1]);
    return 0;
}
