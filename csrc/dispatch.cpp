/* The C interface: each call goes to the kernel of the instruction set it names. */
#include "kernel.h"

#define UZ_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int64_t MOST_CREWS = 64;

const uz::Kernel *kernel(int isa) {
  switch (isa) {
#ifdef UZ_HAVE_generic
    case UZ_GENERIC:
      return &uz::table_generic;
#endif
#ifdef UZ_HAVE_neon
    case UZ_NEON: /* part of every 64-bit ARM processor */
      return &uz::table_neon;
#endif
#ifdef UZ_HAVE_avx2
    case UZ_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &uz::table_avx2 : nullptr;
#endif
#ifdef UZ_HAVE_avx512
    case UZ_AVX512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")
                 ? &uz::table_avx512
                 : nullptr;
#endif
    default:
      return nullptr;
  }
}

/* Call run(index, begin, end, work, crew) for each slice of the call, in every member of a crew. */
template <class F>
void run_slices(const uz_slices &s, int64_t rows, const uz_team *team, const F &run) {
  const int64_t count = s.last - s.first;
  const auto run_one = [&](int64_t i, int64_t place, const uz::Crew &crew) {
    run(i, rows * i / s.count, rows * (i + 1) / s.count, (char *)s.work + place * s.work_bytes, crew);
  };
  if (s.crew == 1) {
    int64_t next = s.first;
    return uz::in_team(team, count, [&](int64_t rank, int64_t) {
      for (int64_t i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < s.last;) run_one(i, rank, {});
    });
  }
  uz::Barrier barriers[MOST_CREWS];
  uz::in_team(team, (count < MOST_CREWS ? count : MOST_CREWS) * s.crew, [&](int64_t rank, int64_t threads) {
    /* The team may be smaller than asked for. */
    const int64_t size = s.crew < threads ? s.crew : threads, crews = threads / size, mine = rank / size;
    if (mine >= crews) return;
    const uz::Crew crew = {rank % size, size, barriers + mine};
    for (int64_t i = s.first + mine; i < s.last; i += crews) {
      run_one(i, mine, crew);
      crew.wait(); /* the next slice uses the same workspace */
    }
  });
}

}  // namespace

UZ_EXPORT int uz_version(void) { return UZ_VERSION; }

UZ_EXPORT int uz_isa_available(int isa) { return kernel(isa) != nullptr; }

UZ_EXPORT int64_t uz_pack_bytes(int isa, int is_double, int64_t rows, int64_t cols) {
  return kernel(isa)->pack_bytes(is_double, rows, cols);
}

UZ_EXPORT void uz_pack(int isa, int is_double, int embed, int64_t rows, int64_t cols, const void *a, int64_t k_stride,
                       int64_t j_stride, void *packed) {
  kernel(isa)->pack(is_double, embed, rows, cols, a, k_stride, j_stride, packed);
}

UZ_EXPORT int64_t uz_sign_bytes(int isa, const uz_recurrence *r) { return kernel(isa)->sign_bytes(*r); }

UZ_EXPORT int64_t uz_work_bytes(int isa, const uz_recurrence *r, int64_t rows, int backward, int64_t crew) {
  return kernel(isa)->work_bytes(*r, rows, backward, crew);
}

UZ_EXPORT int64_t uz_partial_bytes(int isa, const uz_recurrence *r, const uz_sums *wanted) {
  return kernel(isa)->partial_bytes(*r, *wanted);
}

UZ_EXPORT void uz_forward(int isa, const uz_recurrence *r, const uz_slices *slices, const uz_team *team) {
  const auto run = kernel(isa)->forward;
  run_slices(*slices, r->batch, team, [=](int64_t, int64_t begin, int64_t end, void *work, const uz::Crew &crew) {
    run(*r, begin, end, work, crew);
  });
}

UZ_EXPORT void uz_backward(int isa, const uz_recurrence *r, const uz_sums *wanted, const uz_slices *slices, const uz_team *team) {
  const auto run = kernel(isa)->backward;
  run_slices(*slices, r->batch, team, [=](int64_t i, int64_t begin, int64_t end, void *work, const uz::Crew &crew) {
    run(*r, begin, end, *wanted, (char *)slices->partial + i * slices->partial_bytes, work, crew);
  });
}

UZ_EXPORT void uz_add_slices(int isa, const uz_recurrence *r, const uz_sums *to, const uz_slices *slices, const uz_team *team) {
  const uz::Kernel *k = kernel(isa);
  uz::share(team, k->sum_parts(*r, *to), [=](int64_t part) { k->add_slices(*r, *to, *slices, part); });
}
