// Added to ggml's CPU backend by betelgeuse.builds.llama: the barrier at which its threads meet hundreds of times per
// token. How long a thread spins before it sleeps follows from how its last waits ended: long while the others come
// soon, since a core that falls asleep with its thread is slow to wake; short while they have no core.
#pragma once

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    BARRIER_SPINS_LEAST = 300,
    // 1 to 2 ms. Who has been away for longer has lost the core to others.
    BARRIER_SPINS_MOST = 100000,
};

// How long this thread spins by now.
static _Thread_local int barrier_spins = BARRIER_SPINS_LEAST;

// Returns when `threads` threads have called it. `arrived` and `passed` belong to the barrier, 0 at first.
static void barrier_wait(atomic_int * arrived, atomic_int * passed, int threads) {
    // Of all barriers: at worst a wake-up too many.
    static atomic_int asleep;

    const int round = atomic_load_explicit(passed, memory_order_relaxed);
    if (atomic_fetch_add(arrived, 1) == threads - 1) {
        atomic_store_explicit(arrived, 0, memory_order_relaxed);
        atomic_fetch_add(passed, 1);
        if (atomic_load(&asleep) > 0) {
            syscall(SYS_futex, passed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
        }
        return;
    }
    for (int spun = 0; spun < barrier_spins; spun++) {
        if (atomic_load_explicit(passed, memory_order_acquire) != round) {
            // The shortest waits say nothing about those for which sleeping is an alternative.
            if (spun > BARRIER_SPINS_LEAST / 3) {
                const int more = barrier_spins + 2 * spun;
                barrier_spins = more < BARRIER_SPINS_MOST ? more : BARRIER_SPINS_MOST;
            }
            return;
        }
        ggml_thread_cpu_relax();
    }
    // At once: by halves, two busy programs beside it would cost a sixth of the speed.
    barrier_spins = BARRIER_SPINS_LEAST;
    // Announced before the last look: whoever comes last has then either been seen or sees this.
    atomic_fetch_add(&asleep, 1);
    while (atomic_load(passed) == round) {
        syscall(SYS_futex, passed, FUTEX_WAIT_PRIVATE, round, NULL, NULL, 0);
    }
    atomic_fetch_sub(&asleep, 1);
}
