// A view becomes a snapshot while its version is reclaimed, and a weak_ptr of it is locked meanwhile.
// Headers: Core::promote, VersionChain::let_go, OwnerState, PinWord::clear and scan.
#include "model.h"
static int data = 1;                 // what the version leads to
static atomic_int use = 1;           // of the control block: the chain's owner
static atomic_bool expired;          // OwnerState
static void* _Atomic slot = &data;   // the view's pin
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool has_owner = true;        // Record::owner, guarded by the lock
static void drop_owner(void) { // shared_ptr's own orders: acquire and release
    if (atomic_fetch_sub_explicit(&use, 1, LIBRARY_ORDER(ACQ_REL)) == 1)
        atomic_store_explicit(&expired, true, ORDER_10);
}
static void clear_slot(void) { atomic_store_explicit(&slot, NULL, ORDER_8); }
static void* viewer(void* unused) {
    assert(data == 1);
    if (IS(210)) clear_slot();     // before the owner is taken
    pthread_mutex_lock(&lock);
    assert(has_owner);
    atomic_fetch_add_explicit(&use, 1, LIBRARY_ORDER(RLX)); // promote: a copy of Record::owner
    pthread_mutex_unlock(&lock);
    if (!IS(210)) clear_slot();
    assert(data == 1);
    drop_owner();
    return unused;
}
static void* locker(void* unused) { // weak_ptr::lock
    int count = atomic_load(&use);
    if (count == 0 || !atomic_compare_exchange_strong(&use, &count, count + 1)) return unused;
    assert(data == 1);
    drop_owner();
    return unused;
}
static bool unowned(void) { // VersionChain::let_go
    if (has_owner) {
        if (atomic_load_explicit(&use, LIBRARY_ORDER(RLX)) != 1) return false; // only a hint
        has_owner = false;
        drop_owner();
        if (IS(211)) return true; // trusts the hint
    }
    return atomic_load_explicit(&expired, ORDER_12);
}
static void* reclaimer(void* unused) {
    for (int i = 0; i < 2; ++i) {
        pthread_mutex_lock(&lock);
        const bool early = IS(212) && unowned(); // the owners before the slots
        const bool clear = IS(213) || atomic_load_explicit(&slot, ORDER_9) == NULL;
        const bool free = clear && (IS(212) ? early : unowned());
        pthread_mutex_unlock(&lock);
        if (free) data = 0;
        if (free) break;
    }
    return unused;
}
int main(void) {
    start(viewer, NULL);
    start(locker, NULL);
    start(reclaimer, NULL);
    return 0;
}
