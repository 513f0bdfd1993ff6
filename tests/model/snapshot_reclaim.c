// Views become snapshots while their version is superseded and reclaimed; with one view, a weak_ptr is
// locked meanwhile. Whoever needs an owner first makes it; with OWNED=1 somebody had before.
// Headers: Core::promote and demand_owner, Publication::publish, load and demand,
// VersionChain::supersede and let_go, OwnerState, PinWord::clear and scan.
#include "model.h"
static int data = 1;                 // what the version leads to
static atomic_int use;               // of the control block
static atomic_bool expired = true;   // OwnerState
static void* _Atomic slots[VIEWERS]; // the views' pins
static atomic_bool superseded;       // the raw pointer names the next version
static atomic_bool locked;           // the cell's bit
static bool in_cell;                 // guarded by it: the owner is there
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool owned, has_owner; // Publication's, and Record::owner; guarded by the lock

static void drop_owner(void) { // shared_ptr's own orders: acquire and release
    if (atomic_fetch_sub_explicit(&use, 1, LIBRARY_ORDER(ACQ_REL)) == 1)
        atomic_store_explicit(&expired, true, ORDER_10);
}
static void make_owner(void) { // the lock is held
    if (!IS(239)) atomic_store_explicit(&expired, false, ORDER_14);
    atomic_store_explicit(&use, 1, LIBRARY_ORDER(RLX));
}
static bool copy_of(const bool* there) {
    if (*there) atomic_fetch_add_explicit(&use, 1, LIBRARY_ORDER(RLX));
    return *there;
}
static bool load_owner(void) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
    const bool copied = copy_of(&in_cell);
    atomic_store_explicit(&locked, false, CELL_ORDER_2);
    return copied;
}
static bool exchange_owner(bool now) {
    while (atomic_exchange_explicit(&locked, true, CELL_ORDER_1)) RETRY;
    const bool before = in_cell;
    in_cell = now;
    atomic_store_explicit(&locked, false, CELL_ORDER_2);
    return before;
}
static void promote(void) {
    if (load_owner()) {
        if (!atomic_load_explicit(&superseded, ORDER_4)) return;
        drop_owner();
    }
    if (!IS(236)) pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&superseded, ORDER_3)) {
        if (!owned || IS(240)) { // 240: makes a second one
            make_owner();
            exchange_owner(true);
        }
        owned = !IS(241); // 241: does not say so
        load_owner();
    } else {
        if (!has_owner || IS(242)) make_owner(); // 242: makes a second one
        has_owner = true;
        copy_of(&has_owner);
    }
    if (!IS(236)) pthread_mutex_unlock(&lock);
}
static void* locker(void* unused) { // weak_ptr::lock, if there was an owner that it could be of
    int count = atomic_load(&use);
    if (count == 0 || !atomic_compare_exchange_strong(&use, &count, count + 1)) return unused;
    assert(data == 1);
    drop_owner();
    return unused;
}
static void* viewer(void* slot) {
    void* _Atomic* const mine = slot;
    assert(data == 1);
    if (IS(210)) atomic_store_explicit(mine, NULL, ORDER_8); // before the owner is taken
    promote();
    if (!IS(210)) atomic_store_explicit(mine, NULL, ORDER_8);
    assert(data == 1);
    drop_owner();
    return NULL;
}
static bool unowned(void) { // let_go
    if (has_owner) {
        if (atomic_load_explicit(&use, LIBRARY_ORDER(RLX)) != 1) return false; // only a hint
        has_owner = false;
        drop_owner();
        if (IS(211)) return true; // trusts the hint
    } else if (IS(243)) {
        return true; // no owner here, so nobody
    }
    return atomic_load_explicit(&expired, ORDER_12);
}
static bool unpinned(void) {
    for (int s = 0; s < VIEWERS; ++s)
        if (!IS(213) && atomic_load_explicit(&slots[s], ORDER_9) != NULL) return false;
    return true;
}
static void* reclaimer(void* unused) {
    pthread_mutex_lock(&lock);
    atomic_store_explicit(&superseded, true, ORDER_1);
    if (owned) has_owner = !IS(235) && exchange_owner(false); // 235: leaves it there
    owned = false;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2; ++i) {
        pthread_mutex_lock(&lock);
        const bool early = IS(212) && unowned(); // the owners before the slots
        const bool free = unpinned() && (IS(212) ? early : unowned());
        pthread_mutex_unlock(&lock);
        if (free) data = 0;
        if (free) break;
    }
    return unused;
}
int main(void) {
    if (OWNED) make_owner();
    owned = in_cell = OWNED;
    for (int s = 0; s < VIEWERS; ++s) slots[s] = &data;
    for (int s = 0; s < VIEWERS; ++s) start(viewer, &slots[s]);
    if (VIEWERS == 1) start(locker, NULL);
    start(reclaimer, NULL);
    return 0;
}
