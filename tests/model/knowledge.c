// Whoever has learnt of a version, in whatever way and from whomever, never gets an older one. Two
// committers; one thread looks twice and tells another, which looks then. WAYS=abc says how: 1 a
// pin, 2 a snapshot, 3 a wait; with BY_LOCK it tells through the commit lock, else by a message.
// With REUSE (no pins then) what nobody owns is used again: addresses repeat. After a snapshot that
// makes its owner, AHEAD owners are made with their versions.
// Headers: Publication::publish, load and demand, Core::latest, SharedCell, PinWord::pin,
// Core::wait_for, Core::commit.
#include "model.h"
struct Record { int version; atomic_int owners; };
static struct Record records[4];
static struct Record* _Atomic latest;
static struct Record *owner, *chain; // guarded by the cell's bit, by the lock
static atomic_bool locked, told_by;
static int told;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool owned; // guarded by the lock, as `ahead`
static int ahead;
static void lock_cell(void) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
}
static void unlock_cell(void) { atomic_store_explicit(&locked, false, CELL_ORDER_2); }
static struct Record* load_owner(void) {
    lock_cell();
    struct Record* copy = owner;
    if (copy != NULL) atomic_fetch_add_explicit(&copy->owners, 1, LIBRARY_ORDER(RLX));
    unlock_cell();
    return copy;
}
static void store_owner(struct Record* record) {
    lock_cell();
    owner = record;
    unlock_cell();
}
static void drop_owner(struct Record* record) {
    atomic_fetch_sub_explicit(&record->owners, 1, LIBRARY_ORDER(ACQ_REL));
}
static struct Record* demand(void) {
    struct Record* early = IS(237) ? atomic_load_explicit(&latest, ORDER_3) : NULL; // no lock yet
    if (!IS(236)) pthread_mutex_lock(&lock);
    if (!owned) {
        owned = true;
        ahead = AHEAD;
        store_owner(IS(237) ? early : atomic_load_explicit(&latest, ORDER_3));
    }
    struct Record* copy = load_owner();
    if (!IS(236)) pthread_mutex_unlock(&lock);
    return copy;
}
static int look(int way) {
    struct Record* record;
    int version;
    if (way == 1) {
        record = atomic_load_explicit(&latest, ORDER_7);
        version = record->version;
    } else if (way == 2) {
        record = load_owner();
        for (int tries = 1; record != NULL && !IS(205); ++tries) {
            if (atomic_load_explicit(&latest, ORDER_4) == record) break;
            drop_owner(record);
            record = tries < TRIES ? load_owner() : NULL;
        }
        if (record == NULL) record = demand();
        version = record->version;
        drop_owner(record);
    } else {
        pthread_mutex_lock(&lock);
        version = chain->version;
        pthread_mutex_unlock(&lock);
    }
    return version;
}
static struct Record* unused_record(void) { // the lock is held
    struct Record* record = &records[chain->version + 1];
#ifdef REUSE
    record = records;
    while (record == chain ||
           (!IS(227) && atomic_load_explicit(&record->owners, LIBRARY_ORDER(ACQ)) != 0))
        ++record;
#endif
    return record;
}
static void publish_owner(struct Record* record) {
    if (!owned) return;
    const bool made = ahead > 0;
    if (made) --ahead;
    if (!IS(238)) owned = made;
    if (made || !IS(235)) store_owner(made ? record : NULL); // 235: the old one stays
}
static void* committer(void* unused) {
    pthread_mutex_lock(&lock);
    struct Record* record = unused_record();
    record->version = chain->version + 1;
    const int mine = record->version;
    if (IS(206)) publish_owner(record);
    atomic_store_explicit(&latest, record, ORDER_1);
    if (!IS(206)) publish_owner(record);
    chain = record;
    pthread_mutex_unlock(&lock);
    if (unused != NULL) assert(look(WAYS % 10) >= mine);
    return NULL;
}
static void* teller(void* unused) {
    const int first = look(WAYS / 100);
    const int second = look(WAYS / 10 % 10);
    assert(first <= second);
#ifdef BY_LOCK
    pthread_mutex_lock(&lock);
    told = second;
    pthread_mutex_unlock(&lock);
#else
    told = second;
    atomic_store_explicit(&told_by, true, LIBRARY_ORDER(REL));
#endif
    return unused;
}
static void* listener(void* unused) {
    int known = 0;
#ifdef BY_LOCK
    pthread_mutex_lock(&lock);
    known = told;
    pthread_mutex_unlock(&lock);
#else
    if (atomic_load_explicit(&told_by, LIBRARY_ORDER(ACQ))) known = told;
#endif
    assert(look(WAYS % 10) >= known);
    return unused;
}
int main(void) {
    atomic_init(&latest, &records[0]);
    chain = &records[0];
    owner = OWNED ? chain : NULL;
    owned = OWNED;
    ahead = AHEAD;
    start(committer, NULL);
    start(committer, &lock);
    start(teller, NULL);
    start(listener, NULL);
    return 0;
}
