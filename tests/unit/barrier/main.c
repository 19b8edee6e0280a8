// Prints a line for each promise of barrier.h that does not hold; nothing when all do.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static int relaxed;
static void ggml_thread_cpu_relax(void) {
    __atomic_add_fetch(&relaxed, 1, __ATOMIC_RELAXED);
}
#include "barrier.h"

enum { THREADS = 5, ROUNDS = 4000, LATE = 97 };

static atomic_int arrived, passed, reached[THREADS];
static int threads;

static void * run(void * number) {
    const int me = (int) (intptr_t) number;
    for (int round = 1; round <= ROUNDS; round++) {
        if (round % LATE == 0 && round / LATE % threads == me) {
            nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        }
        atomic_store_explicit(&reached[me], round, memory_order_relaxed);
        barrier_wait(&arrived, &passed, threads);
        for (int other = 0; other < threads; other++) {
            const int there = atomic_load_explicit(&reached[other], memory_order_relaxed);
            if (there != round && there != round + 1) {
                printf("%d threads: one left round %d while another was in %d\n", threads, round, there);
                return NULL;
            }
        }
    }
    return NULL;
}

int main(void) {
    // Ends a wait that nobody ends.
    alarm(60);
    for (threads = 1; threads <= THREADS; threads += 2) {
        pthread_t others[THREADS];
        for (int i = 0; i < threads; i++) {
            atomic_store(&reached[i], 0);
            pthread_create(&others[i], NULL, run, (void *) (intptr_t) i);
        }
        for (int i = 0; i < threads; i++) {
            pthread_join(others[i], NULL);
        }
        if (threads == 1 && relaxed > 0) {
            printf("one thread waited for itself\n");
        }
    }
    if (relaxed == 0) {
        printf("nobody ever spun\n");
    }
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    // Twice 41 times, one is late by 5 ms while the others have two cores to spin on: 0.8 s if they did.
    const double seconds = (double) used.tv_sec + (double) used.tv_nsec / 1e9;
    if (seconds > 0.5) {
        printf("waiting took %.2f s of the processor\n", seconds);
    }
    return 0;
}
