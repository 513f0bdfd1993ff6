// Readers pin the latest version while one thread publishes newer ones and frees what no slot
// names. Freeing is a write to what readers read, so freeing too early is a data race. What was
// freed is used again, so that a pointer that was loaded may come to mean another version. A reader
// begins with the version that it had last, which may have been freed, and used again, since.
// Headers: Publication::publish and guess, ReaderSlot::pin, PinWord::pin, clear and scan,
// Core::look_for_pins.
#include "model.h"
#ifndef VERSIONS
#define VERSIONS 2
#endif
enum { pins = PINS, versions = VERSIONS };

struct Record { int version; };
static struct Record records[versions + 1];
static struct Record* _Atomic latest;
static struct Record* _Atomic slots[READERS];

static void* reader(void* my_slot) {
    struct Record* _Atomic* slot = my_slot;
    const int me = (int)(slot - slots); // POINT: where membarrier may interrupt
    int before = 1;
    struct Record* last = NULL;
    for (int i = 0; i < pins; ++i) {
        struct Record *record, *guess = last;
        POINT(me);
        if (guess == NULL) guess = atomic_load_explicit(&latest, ORDER_5);
        for (;;) {
            POINT(me);
            atomic_store_explicit(slot, guess, ORDER_6);
            POINT(me);
            LIGHT();
            record = atomic_load_explicit(&latest, ORDER_7);
            if (record == guess || IS(203)) break;
            guess = record;
        }
        last = record;
        POINT(me);
        assert(record->version >= before); // the reads of the shards
        before = record->version;
        POINT(me);
        atomic_store_explicit(slot, NULL, ORDER_8);
    }
    DONE(me);
    return NULL;
}

static void* committer(void* unused) {
    unsigned used = 1; // bits, one for each record
    for (int v = 1; v <= versions; ++v) {
        int mine = 0;
        while ((used >> mine & 1) != 0) ++mine;
        used |= 1U << mine;
        records[mine].version = v + 1;
        atomic_store_explicit(&latest, &records[mine], ORDER_1);
        HEAVY();
        unsigned kept = 1U << mine;
        for (int r = 0; r < READERS; ++r) {
            struct Record* seen = atomic_load_explicit(&slots[r], ORDER_9);
            if (seen != NULL && !IS(204)) kept |= 1U << (seen - records);
        }
        for (int old = 0; old <= versions; ++old)
            if ((used & ~kept & 1U << old) != 0) records[old].version = 0;
        used &= kept;
    }
    return unused;
}

int main(void) {
    records[0].version = 1;
    atomic_init(&latest, &records[0]);
    for (int r = 0; r < READERS; ++r) start(reader, &slots[r]);
    start(committer, NULL);
    return 0;
}
