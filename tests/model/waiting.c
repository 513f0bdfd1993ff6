// Threads wait for the versions that two others commit. Nobody sleeps when all is done. A condition
// variable is a bit for each sleeper here: set under the mutex that going to sleep lets go of; to
// notify is to wake those whose bit is set at that moment.
// Headers: Core::wait_for, announce, finish_commit.
#include "model.h"
enum { waits = WAITS, versions = 2, rounds = 2 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, news = PTHREAD_MUTEX_INITIALIZER;
static int latest, waiters; // guarded by the lock
static atomic_bool asleep[waits], woken[waits];

static bool reached(int version, int add) {
    pthread_mutex_lock(&lock);
    const bool yes = latest >= version;
    if (!yes) waiters += add;
    pthread_mutex_unlock(&lock);
    return yes;
}
static void count(int add) {
    pthread_mutex_lock(&lock);
    waiters += add;
    pthread_mutex_unlock(&lock);
}
static void* waiter(void* which) {
    const int me = which == NULL ? 0 : 1;
    const int version = versions - me;
    if (reached(version, IS(231) ? 0 : 1)) return NULL;
    for (int round = 0; round < rounds; ++round) {
        const bool early = IS(232) && reached(version, 0); // looks without the mutex
        pthread_mutex_lock(&news);
        const bool come = IS(232) ? early : reached(version, 0);
        if (!come && IS(231)) count(1); // is counted after its look
        atomic_store(&woken[me], false);
        atomic_store(&asleep[me], !come);
        pthread_mutex_unlock(&news);
        if (come) break;
        if (!atomic_load(&woken[me])) return NULL; // woken later, or never
    }
    count(-1);
    return NULL;
}
static void* committer(void* unused) {
    pthread_mutex_lock(&lock);
    if (IS(233)) pthread_mutex_unlock(&lock);
    const bool early = IS(233) && waiters != 0; // looks before it publishes
    if (IS(233)) pthread_mutex_lock(&lock);
    ++latest;
    const bool awaited = IS(233) ? early : waiters != 0;
    pthread_mutex_unlock(&lock);
    if (!awaited) return unused;
    if (!IS(234)) pthread_mutex_lock(&news); // announce
    if (!IS(234)) pthread_mutex_unlock(&news);
    for (int w = 0; w < waits; ++w)
        if (atomic_load(&asleep[w])) atomic_store(&woken[w], true);
    return unused;
}
int main(void) {
    pthread_t threads[waits + versions];
    for (int t = 0; t < waits; ++t) threads[t] = start(waiter, t == 0 ? NULL : &lock);
    for (int t = 0; t < versions; ++t) threads[waits + t] = start(committer, NULL);
    for (int t = 0; t < waits + versions; ++t) pthread_join(threads[t], NULL);
    for (int w = 0; w < waits; ++w) assert(!atomic_load(&asleep[w]) || atomic_load(&woken[w]));
    return 0;
}
