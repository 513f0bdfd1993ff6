// Threads ask for the latest version in both ways; none may see it go back, nor one not yet written.
// Headers: Publication::publish and load, SharedCell (its stand-in, a lock bit), PinWord::pin.
#include "model.h"
enum { versions = 2 };
struct Record { int version; };
static struct Record records[versions + 1];
static struct Record* _Atomic latest;
static struct Record* owner; // guarded by the lock bit
static atomic_bool locked;
static void lock_cell(void) { // shared_cell.hpp (1)
    while (atomic_exchange_explicit(&locked, true, WEAK(21, ACQ, RLX))) RETRY;
}
static void unlock_cell(void) { // shared_cell.hpp (2)
    atomic_store_explicit(&locked, false, WEAK(22, REL, RLX));
}
static int snapshot(void) { // Publication::load
    for (;;) {
        lock_cell();
        struct Record* copy = owner;
        unlock_cell();
        if (IS(205) || atomic_load_explicit(&latest, WEAK(4, ACQ, RLX)) == copy) // (4)
            return copy->version;
        RETRY;
    }
}
static int pin(void) { // nothing is freed here, so there is no slot and no barrier
    struct Record* record = atomic_load_explicit(&latest, WEAK(5, ACQ, RLX)); // (5)
    for (;;) {
        struct Record* again = atomic_load_explicit(&latest, WEAK(7, ACQ, RLX)); // (7)
        if (again == record) return record->version;
        record = again;
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
        atomic_store_explicit(&latest, &records[v], WEAK(1, REL, RLX)); // (1)
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
