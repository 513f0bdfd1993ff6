// Threads ask for the latest version in both ways; none may see it go back, nor one not yet written.
// A snapshot that finds no owner makes it; the next AHEAD owners are made with their versions.
// Headers: Publication::publish, load and demand, Core::latest, SharedCell (its stand-in, a lock
// bit), PinWord::pin.
#include "model.h"
enum { versions = 2 };
struct Record { int version; };
static struct Record records[versions + 1];
static struct Record* _Atomic latest;
static struct Record* owner; // guarded by the lock bit
static atomic_bool locked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool owned; // guarded by the lock, as `ahead`
static int ahead;
static void lock_cell(void) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
}
static void unlock_cell(void) {
    atomic_store_explicit(&locked, false, CELL_ORDER_2);
}
static struct Record* load_owner(void) {
    lock_cell();
    struct Record* copy = owner;
    unlock_cell();
    return copy;
}
static void store_owner(struct Record* record) {
    lock_cell();
    owner = record;
    unlock_cell();
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
static int snapshot(void) {
    for (int tries = 0; tries < TRIES; ++tries) {
        struct Record* copy = load_owner();
        const bool agree = IS(205) || atomic_load_explicit(&latest, ORDER_4) == copy;
        if (copy == NULL) break;
        if (agree) return copy->version;
    }
    return demand()->version;
}
static int pin(void) { // nothing is freed here, so there is no slot and no barrier
    return atomic_load_explicit(&latest, ORDER_7)->version;
}
static void publish_owner(int v) {
    if (!owned) return;
    const bool made = ahead > 0;
    if (made) --ahead;
    if (!IS(238)) owned = made;
    if (made || !IS(235)) store_owner(made ? &records[v] : NULL); // 235: the old one stays
}
static void* committer(void* unused) {
    for (int v = 1; v <= versions; ++v) {
        pthread_mutex_lock(&lock);
        records[v].version = v;
        if (IS(206)) publish_owner(v); // the owner first
        atomic_store_explicit(&latest, &records[v], ORDER_1);
        if (!IS(206)) publish_owner(v);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}
static void* reader(void* how) {
    const int first = how != NULL ? snapshot() : pin();
    assert(first <= (how != NULL ? pin() : snapshot()));
    return NULL;
}
int main(void) {
    atomic_init(&latest, &records[0]);
    start(committer, NULL);
    start(reader, NULL);
    start(reader, &records[0]);
    return 0;
}
