// Readers come and go while one thread commits. Where no slot is claimed it frees what it replaces
// at once, without a barrier and without a look: the lock must do. Slots are used again.
// Headers: PinRegistry::claim, give_back and anyone, VersionChain::supersede, Core::look_for_pins.
#include "model.h"
enum { versions = VERSIONS };
struct Record { int version; };
struct Slot { struct Record* _Atomic word; int special; struct Slot* next; bool in_use; };
static struct Record records[versions + 1];
static struct Record* _Atomic latest;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct Slot slots[2];
static struct Slot* free_slots = &slots[0]; // these three are guarded by the lock
static int made = 1;
static int claimed;
static void* reader(void* unused) {
    pthread_mutex_lock(&lock); // claim
    struct Slot* slot = free_slots != NULL ? free_slots : &slots[made++];
    free_slots = free_slots != NULL ? free_slots->next : NULL;
    if (!IS(221)) ++claimed, slot->in_use = true;
    pthread_mutex_unlock(&lock);
    assert(atomic_load_explicit(&slot->word, ORDER_17) == NULL && slot->special == 0);
    slot->special = 1; // the reader's own, no atomic
    struct Record *guess, *record = atomic_load_explicit(&latest, ORDER_5);
    do {
        atomic_store_explicit(&slot->word, guess = record, ORDER_6);
        LIGHT();
        record = atomic_load_explicit(&latest, ORDER_7);
    } while (record != guess);
    assert(record->version == 1 + (int)(record - records));
    slot->special = 0;
    if (!IS(222)) atomic_store_explicit(&slot->word, NULL, ORDER_8);
    if (!IS(223)) pthread_mutex_lock(&lock); // give_back
    slot->next = free_slots;
    free_slots = slot;
    if (!IS(221)) --claimed, slot->in_use = false;
    if (!IS(223)) pthread_mutex_unlock(&lock);
    if (IS(222)) atomic_store_explicit(&slot->word, NULL, ORDER_8); // too late
    return unused;
}
static void* committer(void* unused) {
    unsigned kept = 1; // bits, one for each version that is not freed
    for (int v = 1; v <= versions; ++v) {
        records[v].version = v + 1;
        pthread_mutex_lock(&lock);
        const bool early = claimed != 0;
        if (IS(224)) pthread_mutex_unlock(&lock); // looked at before the publication, and let go
        if (IS(224)) pthread_mutex_lock(&lock);
        atomic_store_explicit(&latest, &records[v], ORDER_1);
        kept |= 1U << v;
        unsigned named = 1U << v;
        if (IS(224) ? early : claimed != 0) { // anyone()
            pthread_mutex_unlock(&lock);
            HEAVY();
            pthread_mutex_lock(&lock);
            for (int s = 0; s < made && claimed != 0; ++s) {
                if (!slots[s].in_use) continue; // on the list of free ones
                struct Record* seen = atomic_load_explicit(&slots[s].word, ORDER_9);
                if (seen != NULL) named |= 1U << (seen - records);
            }
        }
        for (int old = 0; old < v; ++old)
            if ((kept & ~named & 1U << old) != 0) records[old].version = 0;
        kept &= named;
        pthread_mutex_unlock(&lock);
    }
    return unused;
}
int main(void) {
    records[0].version = 1;
    atomic_init(&latest, &records[0]);
    start(reader, NULL);
    start(reader, NULL);
    start(committer, NULL);
    return 0;
}
