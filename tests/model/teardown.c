// The last user closes an index while the last owners of two versions let go of them, and a record is
// used again once its control block is out of use. A user makes the owner of one of the versions; a
// further one never has any. The index is freed once, by whoever is last.
// Headers: Core::demand_owner, drop_user, close and survivor_died, OwnerState, UserCount.
#include "model.h"
#ifndef RECORDS
#define RECORDS 2
#endif

struct Record { int control; atomic_uchar end; };
enum { released = 1, orphaned = 2 };
static struct Record records[RECORDS + 1]; // the last one has no owner
static struct Record* const made = &records[RECORDS - 1];
static int core = 1; // 0: freed
static atomic_int users = 2;
static atomic_int survivors = 1;

static bool drop(atomic_int* count) {
    return atomic_fetch_sub_explicit(count, 1, ORDER_16) == 1;
}
static void free_core(void) {
    assert(core == 1);
    core = 0;
}
static void* last_owner(void* which) {
    struct Record* record = which;
    const int mine = core; // a snapshot's record leads to the index's allocator
    assert(mine == 1);
    record->control = 1; // the control block is being taken apart
    const unsigned char before =
        atomic_fetch_or_explicit(&record->end, released, ORDER_11);
    if ((before & orphaned) != 0 && drop(&survivors)) free_core();
    return NULL;
}
static void close_core(void) {
    for (int r = 0; r <= RECORDS; ++r) {
        if (!IS(214)) atomic_fetch_add_explicit(&survivors, 1, ORDER_15);
        const unsigned char before =
            atomic_fetch_or_explicit(&records[r].end, orphaned, ORDER_13);
        if (IS(214)) atomic_fetch_add_explicit(&survivors, 1, ORDER_15); // after it was told to report
        if ((before & released) != 0) {
            records[r].control = 2; // its memory is free
            drop(&survivors);
        }
    }
    assert(core == 1); // what closing does after it has told the records
    if (drop(&survivors)) free_core();
}
static void* user(void* which) {
    const int mine = core;
    assert(mine == 1);
    struct Record* record = which;
    pthread_t owner;
    if (record != NULL) { // a commit looks whether the record can be used again
        if ((atomic_load_explicit(&record->end, ORDER_12) & released) != 0) record->control = 3;
    } else { // a snapshot: make_owner
        if (!IS(244)) atomic_store_explicit(&made->end, 0, ORDER_14);
        made->control = 4;
        owner = start(last_owner, made);
    }
    if (drop(&users)) close_core();
    if (record == NULL) pthread_join(owner, NULL);
    return NULL;
}

int main(void) {
    pthread_t threads[RECORDS + 1];
    atomic_init(&made->end, released);
    atomic_init(&records[RECORDS].end, IS(245) ? 0 : released);
    for (int r = 0; r < RECORDS - 1; ++r) threads[r] = start(last_owner, &records[r]);
    threads[RECORDS - 1] = start(user, &records[0]);
    threads[RECORDS] = start(user, NULL);
    for (int t = 0; t <= RECORDS; ++t) pthread_join(threads[t], NULL);
    assert(core == 0);
    return 0;
}
