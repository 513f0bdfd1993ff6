// Two writers add one to the same shard, each on a base that it holds.
// First committer wins: an increment that was acknowledged is never lost. Boxes that nobody holds
// are used again, so that the comparison of addresses could be fooled.
// Headers: Core::commit, open_batch, ChangeList::agrees_with, Publication::latest.
#include "model.h"
#define WRITERS 2
#define TRIES 2

struct Box { int value; int holders; }; // holders: guarded by the commit lock
static struct Box boxes[WRITERS + 2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct Box* _Atomic latest; // a version is its one box here
static int committed; // guarded by the lock

static struct Box* unused_box(void) { // the lock is held; what is neither held nor latest
    struct Box* box = boxes;
    while (box->holders != 0) ++box;
    box->holders = 1;
    return box;
}

static void* writer(void* unused) {
    for (int i = 0; i < TRIES; ++i) {
        pthread_mutex_lock(&lock);
        struct Box* base = atomic_load_explicit(&latest, ORDER_3); // under the lock
        if (!IS(208)) ++base->holders; // without: freed, and its address used again
        struct Box* mine = unused_box();
        pthread_mutex_unlock(&lock);
        if (IS(208) && base->holders == 0) return unused;
        mine->value = base->value + 1; // the clone and the edit, no lock held
        if (IS(207)) base = atomic_load_explicit(&latest, ORDER_3); // compared without the lock
        bool agrees = IS(207) && base == atomic_load_explicit(&latest, ORDER_3);
        pthread_mutex_lock(&lock);
        struct Box* now = atomic_load_explicit(&latest, ORDER_3);
        if (!IS(207)) agrees = now == base || IS(209);
        if (agrees) {
            --now->holders; // superseded: the latest is no holder any more
            atomic_store_explicit(&latest, mine, ORDER_1);
            ++committed;
        } else {
            --mine->holders;
        }
        if (!IS(208) && !IS(207)) --base->holders;
        pthread_mutex_unlock(&lock);
        if (agrees) break;
    }
    return unused;
}

int main(void) {
    boxes[0].holders = 1;
    atomic_init(&latest, &boxes[0]);
    pthread_t threads[WRITERS];
    for (int w = 0; w < WRITERS; ++w) threads[w] = start(writer, NULL);
    for (int w = 0; w < WRITERS; ++w) pthread_join(threads[w], NULL);
    assert(atomic_load(&latest)->value == committed);
    assert(committed == WRITERS); // with two tries the loser comes through
    return 0;
}
