// Threads ask for the latest version in both ways; none may see it go back, nor one not yet written.
// Headers: Publication::publish and load, SharedCell (its stand-in, a lock bit), PinWord::pin.
#include "model.h"
enum { versions = 2 };
struct Record { int version; };
static struct Record records[versions + 1];
static struct Record* _Atomic latest;
static struct Record* owner; // guarded by the lock bit
static atomic_bool locked;
static void lock_cell(void) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
}
static void unlock_cell(void) {
    atomic_store_explicit(&locked, false, CELL_ORDER_2);
}
static int snapshot(void) { // Publication::load
    for (;;) {
        lock_cell();
        struct Record* copy = owner;
        unlock_cell();
        if (IS(205) || atomic_load_explicit(&latest, ORDER_4) == copy)
            return copy->version;
        RETRY;
    }
}
static int pin(void) { // nothing is freed here, so there is no slot and no barrier
    for (;;) {
        struct Record* record = atomic_load_explicit(&latest, ORDER_5);
        if (atomic_load_explicit(&latest, ORDER_7) == record) return record->version;
    }
}
static void publish_owner(int v) {
    lock_cell();
    owner = &records[v];
    unlock_cell();
}
static void* committer(void* unused) {
    for (int v = 1; v <= versions; ++v) {
        records[v].version = v;
        if (IS(206)) publish_owner(v); // the owner first
        atomic_store_explicit(&latest, &records[v], ORDER_1);
        if (!IS(206)) publish_owner(v);
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
    owner = &records[0];
    start(committer, NULL);
    start(reader, NULL);
    start(reader, &records[0]);
    return 0;
}
