// Threads without a reader borrow slots from one entry of the table and put them back. What a
// borrower left in a slot, atomic or not, is what the next one finds; no slot is used by two, none
// is lost. Headers: SlotLender, Core::borrow_slot and put_back, ReaderSlot::pin and unpin.
#include "model.h"
#define THREADS 2
#define READS 2
struct Slot { void* _Atomic word; int special; };
static struct Slot slots[THREADS * READS];
static struct Slot* _Atomic entry;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int made, given_back; // guarded by the lock

static void* borrower(void* unused) {
    for (int i = 0; i < READS; ++i) {
        struct Slot* slot = IS(225) ? atomic_load(&entry)
                                    : atomic_exchange_explicit(&entry, NULL, DEFAULT_ORDER(24));
        if (slot == NULL) { // a new one, claimed
            pthread_mutex_lock(&lock);
            slot = &slots[made++];
            pthread_mutex_unlock(&lock);
        }
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
            ++given_back;
            pthread_mutex_unlock(&lock);
        }
    }
    return unused;
}
int main(void) {
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; ++t) threads[t] = start(borrower, NULL);
    for (int t = 0; t < THREADS; ++t) pthread_join(threads[t], NULL);
    assert(made == given_back + (atomic_load(&entry) != NULL)); // else lost to the registry
    return 0;
}
