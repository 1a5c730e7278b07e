/* Threads of the OpenMP runtime that the process has loaded, which PyTorch runs its own operations on. Its functions come by address,
 * so that the library needs no OpenMP to build or to load.
 */
#pragma once
#include <sched.h>
#include <stdint.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#include "scan.h"

namespace uz {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

struct Barrier {
  alignas(64) int64_t arrived = 0;
  alignas(64) int64_t phase = 0;

  /* Wait until `size` threads have come. */
  void wait(int64_t size) {
    const int64_t now = __atomic_load_n(&phase, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == size) {
      __atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&phase, now + 1, __ATOMIC_RELEASE);
      return;
    }
    /* The others are about to come, unless the machine has fewer free cores than threads. */
    for (int spins = 0; __atomic_load_n(&phase, __ATOMIC_ACQUIRE) == now; spins++)
      if (spins < 4096)
        pause_briefly();
      else
        sched_yield();
  }
};

/* The threads that share the columns of one slice. */
struct Crew {
  int64_t rank = 0, size = 1;
  Barrier *barrier = nullptr;

  void wait() const {
    if (size > 1) barrier->wait(size);
  }
  /* This member's parts of `count`: [first, last). */
  int64_t first(int64_t count) const { return count * rank / size; }
  int64_t last(int64_t count) const { return count * (rank + 1) / size; }
  bool leads() const { return rank == 0; }
};

/* While one lives, its thread takes subnormal numbers as 0. Vanishing gradients become subnormal, and processors compute with
 * such numbers up to a hundred times more slowly. */
class NoSubnormals {
#if defined(__SSE__)
  const unsigned before = _mm_getcsr();

 public:
  NoSubnormals() { _mm_setcsr(before | 0x8040); } /* results and operands */
  ~NoSubnormals() { _mm_setcsr(before); }
#elif defined(__aarch64__)
  uint64_t before;

 public:
  NoSubnormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (uint64_t)1 << 24));
  }
  ~NoSubnormals() { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
#endif
};

/* Call body(rank, size) once in each thread of a team; the runtime may give fewer threads than asked for, or the caller alone. */
template <class F>
void in_team(const uz_team *team, int64_t threads, const F &body) {
  if (!team || team->threads < threads) threads = team ? team->threads : 1;
  if (threads < 2) {
    const NoSubnormals here;
    return body(0, 1);
  }
  struct Call {
    const F &body;
    const uz_team *team;
    void run() const {
      const NoSubnormals here;
      body(team->thread_number(), team->thread_count());
    }
  };
  const Call call = {body, team};
  if (team->gomp_parallel) {
    team->gomp_parallel([](void *c) { ((const Call *)c)->run(); }, (void *)&call, (unsigned)threads, 0);
  } else {
    uz_location here = {0, 2 /* code of a compiler */, 0, 0, ";unitary_zoo;scan;0;0;;"};
    team->kmpc_push_num_threads(&here, team->kmpc_global_thread_num(&here), (int)threads);
    const uz_microtask task = [](int *, int *, void *c) { ((const Call *)c)->run(); };
    team->kmpc_fork_call(&here, 1, task, (void *)&call);
  }
}

/* Call use(item) for each item below `count`, each by the thread that is free. */
template <class F>
void share(const uz_team *team, int64_t count, const F &use) {
  int64_t next = 0;
  in_team(team, count, [&](int64_t, int64_t) {
    for (int64_t i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < count;) use(i);
  });
}

}  // namespace uz
