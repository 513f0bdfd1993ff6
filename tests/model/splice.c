// A writer copies a published node while another commit replaces and retires that very node, and
// replays its change on a version that it holds, ahead of taking the lock; a reader reads meanwhile.
// Headers: TreeBuilder::copy, DeadList::push, Core::commit_elsewhere (Ahead).
#include "model.h"

struct Node { int child[2]; struct Node* next; };
static struct Node nodes[5];
static struct Node* _Atomic latest = &nodes[0];
static struct Node* dead; // guarded by the lock
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void copy(struct Node* to, const struct Node* from) {
    to->child[0] = from->child[0];
    to->child[1] = from->child[1];
    if (IS(215)) to->next = from->next; // the whole node, header included
}
static void publish(struct Node* built, struct Node* before) { // the lock is held
    before->next = dead; // retired: of the latest tree
    dead = before;
    atomic_store_explicit(&latest, built, ORDER_1);
}
static void* writer(void* which) { // changes its own child: never a conflict
    const int mine = which == NULL ? 0 : 1;
    struct Node* const room = &nodes[1 + 2 * mine];
    pthread_mutex_lock(&lock); // Hold: the version cannot be dropped
    struct Node* onto = atomic_load_explicit(&latest, ORDER_3);
    pthread_mutex_unlock(&lock);
    copy(&room[0], onto);
    room[0].child[mine] = 1;
    pthread_mutex_lock(&lock);
    struct Node* now = atomic_load_explicit(&latest, ORDER_3);
    if (now == onto || IS(216)) { // 216: published though another commit came
        publish(&room[0], IS(217) ? &nodes[0] : now);
    } else {
        copy(&room[1], now);
        room[1].child[mine] = 1;
        publish(&room[1], IS(217) ? &nodes[0] : now); // 217: retires what the base had
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}
static void* reader(void* unused) {
    const struct Node* node = atomic_load_explicit(&latest, ORDER_7);
    assert(node == &nodes[0] || node->child[0] + node->child[1] >= 1);
    return unused;
}

int main(void) {
    pthread_t first = start(writer, NULL);
    pthread_t second = start(writer, &lock);
    start(reader, NULL);
    start(reader, NULL);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    const struct Node* node = atomic_load(&latest);
    assert(node->child[0] == 1 && node->child[1] == 1);
    assert(dead->next == &nodes[0] && dead != &nodes[0] && nodes[0].next == NULL);
    return 0;
}
