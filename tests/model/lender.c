// Threads without a reader borrow slots from one entry of the table and put them back, and a
// committer takes back what idles there. What a borrower left in a slot, atomic or not, is what the
// next one finds; no slot is used by two, none is lost. Headers: SlotLender, Core::borrow_slot and
// put_back, PinRegistry::take_back, ReaderSlot::pin and unpin.
#include "model.h"
#define THREADS 2
#define READS 2
struct Slot { void* _Atomic word; int special; struct Slot* next_free; };
static struct Slot slots[THREADS * READS];
static struct Slot* _Atomic entry;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct Slot* free_slots; // guarded by the lock, like these
static int made, claimed;

static struct Slot* claim(void) {
    pthread_mutex_lock(&lock);
    struct Slot* slot = free_slots;
    if (slot != NULL)
        free_slots = slot->next_free;
    else
        slot = &slots[made++];
    ++claimed;
    pthread_mutex_unlock(&lock);
    return slot;
}
// The lock is held.
static void take_back(struct Slot* slot) {
    slot->next_free = free_slots;
    free_slots = slot;
    --claimed;
}

static void* borrower(void* unused) {
    for (int i = 0; i < READS; ++i) {
        struct Slot* slot = IS(225) ? atomic_load(&entry)
                                    : atomic_exchange_explicit(&entry, NULL, DEFAULT_ORDER(24));
        if (slot == NULL) slot = claim();
        assert(atomic_load_explicit(&slot->word, ORDER_17) == NULL); // is_idle_and_asymmetric
        atomic_store_explicit(&slot->word, slot, ORDER_6);
        ++slot->special; // a pin within the pin, and its end
        --slot->special;
        atomic_store_explicit(&slot->word, NULL, ORDER_8);
        struct Slot* empty = NULL;
        bool back = true;
        if (IS(226)) // whatever is there by now
            atomic_store(&entry, slot);
        else
            back = atomic_compare_exchange_strong_explicit(&entry, &empty, slot, DEFAULT_ORDER(25),
                                                           DEFAULT_ORDER(25));
        if (!back) {
            pthread_mutex_lock(&lock);
            take_back(slot);
            pthread_mutex_unlock(&lock);
        }
    }
    return unused;
}
// That the slot has idled is a hint, so here it is taken whenever it is there.
static void* committer(void* unused) {
    pthread_mutex_lock(&lock);
    struct Slot* slot = IS(255) ? atomic_load(&entry)
                                : atomic_exchange_explicit(&entry, NULL, DEFAULT_ORDER(28));
    if (slot != NULL) take_back(slot);
    pthread_mutex_unlock(&lock);
    return unused;
}
int main(void) {
    pthread_t threads[THREADS + 1];
    for (int t = 0; t < THREADS; ++t) threads[t] = start(borrower, NULL);
    threads[THREADS] = start(committer, NULL);
    for (int t = 0; t <= THREADS; ++t) pthread_join(threads[t], NULL);
    assert(claimed == (atomic_load(&entry) != NULL)); // else lost to the registry
    return 0;
}
