// What all models share. -DMUTANT=n weakens the order, or leaves out the step, that is numbered n:
// up to 20 the orders of detail/publication.hpp, 21 to 27 those of other headers, from 100 on the portable ones marked (S) there,
// from 200 on steps of the protocol, from 300 on acquire alone and from 400 on release alone. -DPORTABLE chooses the mode without membarrier.
//
// membarrier is a seq_cst fence on both sides: README.md says why that is a fair model.
#pragma once
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#ifndef MUTANT
#define MUTANT 0
#endif
#define RLX memory_order_relaxed
#define ACQ memory_order_acquire
#define REL memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SC memory_order_seq_cst
#define IS(n) (MUTANT == (n))
#define WEAK(n, order, weaker) (IS(n) ? (weaker) : (order))
#define BOTH(n) (IS(n) ? RLX : IS(300 + (n)) ? ACQ : IS(400 + (n)) ? REL : ACQ_REL)

// Those that the standard says where the headers name none, and the standard library's own.
#define DEFAULT_ORDER(n) WEAK(n, SC, RLX)
#define LIBRARY_ORDER(order) (order)

#ifdef GENMC
void __VERIFIER_assume(bool);
#endif

#ifndef READERS
#define READERS 2
#endif
#ifndef AHEAD // so many owners are made ahead after a snapshot that had to ask for one
#define AHEAD 1
#endif
#ifndef TRIES // of a snapshot, to find an owner that is the latest version's
#define TRIES 1
#endif
#ifndef OWNED // whether the first version has an owner already
#define OWNED 0
#endif
#ifdef PORTABLE
#define S(n, order, weaker) WEAK(100 + (n), SC, order)
#define POINT(reader) ((void)0)
#define DONE(reader) ((void)0)
#define HEAVY() ((void)0)
#elif defined(INTERRUPT)
// As the kernel does it: each reader is interrupted once, somewhere, and the caller waits for all of them.
// A load that misses the request says that the interrupt comes later.
#define S(n, order, weaker) WEAK(n, order, weaker)
static atomic_int asked, answered[READERS];
static inline void answer(int reader, int call) {
    atomic_thread_fence(SC);
    atomic_store_explicit(&answered[reader], call, LIBRARY_ORDER(REL));
}
static inline void POINT(int reader) {
    const int call = atomic_load_explicit(&asked, LIBRARY_ORDER(ACQ));
    if (call > atomic_load_explicit(&answered[reader], LIBRARY_ORDER(RLX))) answer(reader, call);
}
#define DONE(reader) answer(reader, 99) // does not run any more
static inline void HEAVY(void) {
    const int call = atomic_load_explicit(&asked, LIBRARY_ORDER(RLX)) + 1;
    atomic_thread_fence(SC);
    atomic_store_explicit(&asked, call, LIBRARY_ORDER(REL));
    for (int reader = 0; reader < READERS && !IS(202); ++reader)
        __VERIFIER_assume(atomic_load_explicit(&answered[reader], LIBRARY_ORDER(ACQ)) >= call);
    atomic_thread_fence(SC);
}
#else
#define S(n, order, weaker) WEAK(n, order, weaker)
#define POINT(reader) ((void)0)
#define DONE(reader) ((void)0)
#define HEAVY() (IS(202) ? (void)0 : atomic_thread_fence(SC))
#endif
#if defined(PORTABLE) || defined(INTERRUPT)
#define LIGHT() ((void)0)
#else
#define LIGHT() (IS(201) ? (void)0 : atomic_thread_fence(SC))
#endif

// The orders of detail/publication.hpp by their numbers, and what a mutant makes of them. orders.sh compares them with the
// headers: it knows the macros here that stand for an order, and which of the headers' orders no model has.
#define ORDER_1 S(1, REL, RLX)
#define ORDER_3 RLX
#define ORDER_4 WEAK(4, ACQ, RLX)
#define ORDER_5 RLX
#define ORDER_6 S(6, REL, RLX)
#define ORDER_7 S(7, ACQ, RLX)
#define ORDER_8 WEAK(8, REL, RLX)
#define ORDER_9 S(9, ACQ, RLX)
#define ORDER_10 WEAK(10, REL, RLX)
#define ORDER_11 BOTH(11)
#define ORDER_12 WEAK(12, ACQ, RLX)
#define ORDER_13 BOTH(13)
#define ORDER_14 RLX
#define ORDER_15 RLX
#define ORDER_16 BOTH(16)
#define ORDER_17 RLX
#define ORDER_19 WEAK(19, ACQ, RLX)
#define ORDER_20 WEAK(20, REL, RLX)
#define ORDER_21 RLX
// Those of detail/shared_cell.hpp.
#define CELL_ORDER_1 WEAK(21, ACQ, RLX)
#define CELL_ORDER_2 WEAK(22, REL, RLX)
// Those of detail/commit_lock.hpp; most models have a mutex in its place.
#define LOCK_ORDER_1 WEAK(26, ACQ, RLX)
#define LOCK_ORDER_2 WEAK(27, REL, RLX)
// Ends a try that would be repeated without having changed anything. A checker need not look at
// repetitions; a program that runs for real must.
#ifdef GENMC
#define RETRY __VERIFIER_assume(false)
#else
#define RETRY ((void)0)
#endif

static inline pthread_t start(void* (*run)(void*), void* with) {
    pthread_t thread;
    pthread_create(&thread, NULL, run, with);
    return thread;
}
