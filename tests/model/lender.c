// Threads without a reader borrow slots from one place of the table and put them back, and a
// committer takes back what idles there. What a borrower left in a slot, atomic or not, is what the
// next one finds; no slot is used by two, none is lost. Headers: LendingPlace, SlotLender, Core::borrow_slot and
// put_back, PinRegistry::take_back, ReaderSlot::pin and unpin.
#include "model.h"
#define THREADS 2
#define READS 2
struct Slot { void* _Atomic word; int special; struct Slot* next_free; };
static struct Slot slots[THREADS * READS];
static struct Slot* _Atomic place;
#define TAKEN ((struct Slot*)&place)
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
        struct Slot* slot = IS(225) ? atomic_load(&place)
                                    : atomic_exchange_explicit(&place, TAKEN, ORDER_19);
        const bool mine = IS(226) || slot != TAKEN;
        if (slot == NULL || slot == TAKEN) slot = claim();
        assert(atomic_load_explicit(&slot->word, ORDER_17) == NULL); // is_idle_and_asymmetric
        atomic_store_explicit(&slot->word, slot, ORDER_6);
        ++slot->special; // a pin within the pin, and its end
        --slot->special;
        atomic_store_explicit(&slot->word, NULL, ORDER_8);
        if (mine) {
            atomic_store_explicit(&place, slot, ORDER_20);
        } else {
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
    struct Slot* slot = atomic_load_explicit(&place, ORDER_21);
    if (slot != NULL && slot != TAKEN) {
        if (IS(255) || // it stays where it can be borrowed
            atomic_compare_exchange_strong_explicit(&place, &slot, NULL, ORDER_19, ORDER_19))
            take_back(slot);
    }
    pthread_mutex_unlock(&lock);
    return unused;
}
int main(void) {
    pthread_t threads[THREADS + 1];
    for (int t = 0; t < THREADS; ++t) threads[t] = start(borrower, NULL);
    threads[THREADS] = start(committer, NULL);
    for (int t = 0; t <= THREADS; ++t) pthread_join(threads[t], NULL);
    assert(claimed == (atomic_load(&place) != NULL)); // else lost to the registry
    return 0;
}
