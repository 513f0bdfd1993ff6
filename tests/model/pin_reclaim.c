// Readers pin the latest version while one thread publishes newer ones and frees what no slot
// names. Freeing is a write to what readers read, so freeing too early is a data race.
// Headers: Publication::publish, PinWord::pin, clear and scan, Core::look_for_pins.
#include "model.h"
enum { readers = 2, pins = PINS, versions = 2 };

struct Record { int data; };
static struct Record records[versions + 1];
static struct Record* _Atomic latest;
static struct Record* _Atomic slots[readers];

static void* reader(void* my_slot) {
    struct Record* _Atomic* slot = my_slot;
    for (int i = 0; i < pins; ++i) {
        struct Record* record = atomic_load_explicit(&latest, WEAK(5, ACQ, RLX)); // (5)
        for (;;) {
            atomic_store_explicit(slot, record, S(6, REL, RLX)); // (6)
            LIGHT();
            struct Record* again = atomic_load_explicit(&latest, S(7, ACQ, RLX)); // (7)
            if (again == record || IS(203)) break;
            record = again;
        }
        assert(record->data == 1 + (int)(record - records)); // the reads of the shards
        atomic_store_explicit(slot, NULL, WEAK(8, REL, RLX)); // (8)
    }
    return NULL;
}

static void* committer(void* unused) {
    bool freed[versions] = {false};
    for (int v = 1; v <= versions; ++v) {
        records[v].data = v + 1;
        atomic_store_explicit(&latest, &records[v], S(1, REL, RLX)); // (1)
        HEAVY();
        bool pinned[versions] = {false};
        for (int r = 0; r < readers; ++r) {
            struct Record* seen = atomic_load_explicit(&slots[r], S(9, ACQ, RLX)); // (9)
            for (int old = 0; old < v; ++old)
                if (seen == &records[old] && !IS(204)) pinned[old] = true;
        }
        for (int old = 0; old < v; ++old)
            if (!pinned[old] && !freed[old]) {
                records[old].data = 0;
                freed[old] = true;
            }
    }
    return unused;
}

int main(void) {
    records[0].data = 1;
    atomic_init(&latest, &records[0]);
    for (int r = 0; r < readers; ++r) start(reader, &slots[r]);
    start(committer, NULL);
    return 0;
}
