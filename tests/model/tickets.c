// One update stands in line and leaves again while two committers look whether to give way. The line
// is walked and changed under the lock; the count is a hint that is read without it. Who learns of a
// ticket from the update itself finds it.
// Headers: TicketLine::stand, leave, give_way and must_wait.
#include "model.h"

struct Ticket { int number; struct Ticket* next; };
static struct Ticket* first; // guarded by the lock
static int last_number;
static atomic_int waiting; // seq_cst in the header: no order is named
static atomic_bool told;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void* update(void* unused) {
    struct Ticket ticket = {0, NULL};
    pthread_mutex_lock(&lock); // stand
    ticket.number = ++last_number;
    first = &ticket;
    atomic_fetch_add_explicit(&waiting, 1, DEFAULT_ORDER(23));
    pthread_mutex_unlock(&lock);
    atomic_store_explicit(&told, true, LIBRARY_ORDER(REL));
    if (!IS(218)) pthread_mutex_lock(&lock); // leave
    first = ticket.next;
    ticket.number = 0;
    atomic_fetch_sub_explicit(&waiting, 1, DEFAULT_ORDER(23));
    if (!IS(218)) pthread_mutex_unlock(&lock);
    ticket.number = -1; // the update ends, its frame is used for something else
    return unused;
}
static void* committer(void* unused) {
    const bool knows = atomic_load_explicit(&told, LIBRARY_ORDER(ACQ));
    for (int looks = 0; looks < 2; ++looks) { // give_way: patience is bounded
        const int hint = atomic_load_explicit(&waiting, DEFAULT_ORDER(23));
        if (hint == 0) return unused;
        if (!IS(219)) pthread_mutex_lock(&lock); // must_wait
        bool wait = false;
        for (const struct Ticket* ticket = first; ticket != NULL; ticket = ticket->next) {
            assert(ticket->number > 0);
            wait = true;
        }
        if (!IS(219)) pthread_mutex_unlock(&lock);
        assert(hint == 1 && (knows || last_number == 1 || !wait));
        if (!wait) break;
    }
    return unused;
}

int main(void) {
    start(update, NULL);
    start(committer, NULL);
    start(committer, NULL);
    return 0;
}
