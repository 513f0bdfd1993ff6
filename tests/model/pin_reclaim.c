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
        struct Record* record = atomic_load_explicit(&latest, ORDER_5);
        for (;;) {
            atomic_store_explicit(slot, record, ORDER_6);
            LIGHT();
            struct Record* again = atomic_load_explicit(&latest, ORDER_7);
            if (again == record || IS(203)) break;
            record = again;
        }
        assert(record->data == 1 + (int)(record - records)); // the reads of the shards
        atomic_store_explicit(slot, NULL, ORDER_8);
    }
    return NULL;
}

static void* committer(void* unused) {
    bool freed[versions] = {false};
    for (int v = 1; v <= versions; ++v) {
        records[v].data = v + 1;
        atomic_store_explicit(&latest, &records[v], ORDER_1);
        HEAVY();
        bool pinned[versions] = {false};
        for (int r = 0; r < readers; ++r) {
            struct Record* seen = atomic_load_explicit(&slots[r], ORDER_9);
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
