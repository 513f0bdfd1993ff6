// Commits write the next version into the record of the latest, with plain writes, where nobody can get at
// that but through the lock, and free at once what they replace; else they publish another record.
// Meanwhile one thread looks in ways a and b (WAYS=abc) and tells another, which looks in way c: 1 a pin, under
// a slot claimed for it, 2 a snapshot, 3 a writer's base, 4 a commit, 0 nothing. Nobody finds a version half
// written or freed, nor an older one than he knows of; a writer's base stays what it was. Records are used again.
// Headers: Core::commit_section, latest_is_private, publish_in_place, publish, demand_owner and open_batch,
// PinRegistry::claim, give_back and anyone, PinWord, Publication, VersionChain::supersede and let_go, CommitLock.
#include "model.h"
enum { users = 2, ways = WAYS, versions = COMMITS + (WAYS / 100 == 4) + (WAYS / 10 % 10 == 4) + (WAYS % 10 == 4) };
struct Object { int value; }; // the version that it was born in; version v replaces the shard v % 2
struct Record {
    int version;
    struct Object* shards[2];
    int writers;             // guarded by the lock
    bool has_owner;          // the same; of a superseded one
    atomic_int use;          // of the owner
    atomic_bool expired;
};
static struct Object objects[2 + versions];
static struct Record records[1 + versions];
static struct Record* _Atomic latest;
static struct Record* _Atomic slots[users];
static atomic_bool held;                   // the lock, which guards what follows up to `locked`
static struct Record* chain = &records[0]; // the latest, again
static unsigned used = 1, alive = 3;       // bits, of records and objects
static int claimed, ahead;
static bool owned;
static atomic_bool locked; // the cell's bit, which guards its owner
static struct Record* owner;
static int told; // guarded by the message
static atomic_bool message;

static void lock(void) {
    while (atomic_exchange_explicit(&held, true, LOCK_ORDER_1)) RETRY;
}
static void unlock(void) { atomic_store_explicit(&held, false, LOCK_ORDER_2); }
static void drop_owner(struct Record* record) {
    if (record != NULL && atomic_fetch_sub_explicit(&record->use, 1, LIBRARY_ORDER(ACQ_REL)) == 1)
        atomic_store_explicit(&record->expired, true, ORDER_10);
}
static struct Record* make_owner(struct Record* record) {
    atomic_store_explicit(&record->expired, false, ORDER_14);
    atomic_store_explicit(&record->use, 1, LIBRARY_ORDER(RLX));
    return record;
}
static struct Record* load_owner(void) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
    struct Record* copy = owner;
    if (copy != NULL) atomic_fetch_add_explicit(&copy->use, 1, LIBRARY_ORDER(RLX));
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
static int read_version(const struct Record* record) {
    const int v = record->version;
    assert(record->shards[v & 1]->value == v);
    assert(record->shards[~v & 1]->value == (v > 0 ? v - 1 : 0));
    return v;
}

static void claim(void) {
    lock();
    if (!IS(221)) ++claimed;
    unlock();
}
static int pin(struct Record* _Atomic* slot) {
    if (!IS(250)) claim();
    struct Record* record;
    do {
        record = atomic_load_explicit(&latest, ORDER_5);
        atomic_store_explicit(slot, record, ORDER_6);
        LIGHT();
    } while (atomic_load_explicit(&latest, ORDER_7) != record);
    if (IS(250)) claim(); // too late
    const int version = read_version(record);
    if (!IS(222)) atomic_store_explicit(slot, NULL, ORDER_8);
    if (!IS(223)) lock(); // give_back
    if (!IS(221)) --claimed;
    if (!IS(223)) unlock();
    if (IS(222)) atomic_store_explicit(slot, NULL, ORDER_8); // too late
    return version;
}
static struct Record* demand(void) {
    struct Record* early = IS(237) ? atomic_load_explicit(&latest, ORDER_3) : NULL; // no lock yet
    if (!IS(236)) lock();
    if (!owned) {
        owned = !IS(241);
        ahead = AHEAD;
        struct Record* record = IS(237) ? early : atomic_load_explicit(&latest, ORDER_3);
        drop_owner(exchange_owner(make_owner(record)));
    }
    struct Record* copy = load_owner();
    if (!IS(236)) unlock();
    return copy;
}
static int snapshot(void) {
    struct Record* record = load_owner();
    for (int tries = 1; record != NULL && !IS(205); ++tries) {
        if (atomic_load_explicit(&latest, ORDER_4) == record) break;
        drop_owner(record);
        record = tries < TRIES ? load_owner() : NULL;
    }
    if (record == NULL) record = demand();
    const int version = read_version(record);
    drop_owner(record);
    return version;
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
    return atomic_load_explicit(&record->expired, ORDER_12);
}
static bool latest_is_private(void) {
    return (IS(246) || claimed == 0) && (IS(247) || !owned) && (IS(248) || chain->writers == 1) &&
           (IS(249) || (used & (used - 1)) == 0);
}
// Returns what is to be freed, in bits, as the other.
static unsigned publish_in_place(int v) {
    const unsigned replaced = 1U << (chain->shards[v & 1] - objects);
    if (IS(251)) unlock(); // and writes then
    chain->version = v;
    chain->shards[v & 1] = &objects[1 + v];
    alive &= ~replaced;
    if (IS(251)) lock();
    return replaced;
}
static unsigned publish(int v, struct Record** base) {
    int mine = 0;
    while ((used >> mine & 1) != 0) ++mine;
    struct Record* const record = &records[mine];
    record->version = v;
    record->shards[v & 1] = &objects[1 + v];
    record->shards[~v & 1] = chain->shards[~v & 1];
    --(*base)->writers;
    *base = record;
    ++record->writers;
    struct Record* superseded = IS(206) ? publish_owner(record) : NULL;
    atomic_store_explicit(&latest, record, ORDER_1);
    if (!IS(206)) superseded = publish_owner(record);
    chain->has_owner = superseded != NULL;
    chain = record;
    used |= 1U << mine;
    unsigned candidates = used & ~(1U << mine);
    if (claimed != 0) { // anyone()
        unlock();
        HEAVY();
        lock();
        for (int s = 0; s < users && claimed != 0; ++s) {
            struct Record* seen = atomic_load_explicit(&slots[s], ORDER_9);
            if (seen != NULL) candidates &= ~(1U << (seen - records));
        }
    }
    unsigned reached = 0;
    for (int r = 0; r <= versions; ++r) {
        if ((candidates >> r & 1) != 0 && let_go(&records[r])) used &= ~(1U << r);
        for (int s = 0; s < 2 && (used >> r & 1) != 0; ++s)
            reached |= 1U << (records[r].shards[s] - objects);
    }
    const unsigned garbage = alive & ~reached;
    alive &= reached;
    return garbage;
}
static int write(int commits) {
    lock(); // open_batch
    struct Record* base = chain;
    ++base->writers;
    unlock();
    int known = read_version(base);
    for (int i = 0; i < commits; ++i) {
        lock();
        assert(chain != base || chain->version == known); // nobody else has committed
        const bool in_place = chain == base && latest_is_private();
        if (IS(224)) unlock(); // looked at, and let go
        if (IS(224)) lock();
        known = chain->version + 1;
        objects[1 + known].value = known;
        alive |= 1U << (1 + known);
        const unsigned garbage = in_place ? publish_in_place(known) : publish(known, &base);
        unlock();
        for (int o = 0; o < 2 + versions; ++o)
            if ((garbage >> o & 1) != 0) objects[o].value = -1;
    }
    lock(); // close_batch
    assert(chain != base || chain->version == known);
    --base->writers;
    unlock();
    return known;
}

static int look(int way, struct Record* _Atomic* slot) {
    return way == 1 ? pin(slot) : way == 2 ? snapshot() : write(way == 4);
}
static void* teller(void* slot) {
    told = look(ways / 100, slot);
    if (ways / 10 % 10 != 0) {
        const int second = look(ways / 10 % 10, slot);
        assert(told <= second);
        told = second;
    }
    atomic_store_explicit(&message, true, LIBRARY_ORDER(REL));
    return NULL;
}
static void* listener(void* slot) {
    const int known = atomic_load_explicit(&message, LIBRARY_ORDER(ACQ)) ? told : 0;
    assert(look(ways % 10, slot) >= known);
    return NULL;
}
static void* committer(void* unused) {
    write(COMMITS);
    return unused;
}
int main(void) {
    for (int r = 0; r <= versions; ++r) atomic_init(&records[r].expired, true);
    chain->shards[0] = &objects[0];
    chain->shards[1] = &objects[1];
    atomic_init(&latest, chain);
    start(committer, NULL);
    start(teller, &slots[0]);
    if (ways % 10 != 0) start(listener, &slots[1]);
    return 0;
}
