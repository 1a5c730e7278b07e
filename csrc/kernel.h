/* What each compilation of kernel.cpp offers to dispatch.cpp. */
#pragma once
#include "scan.h"
#include "team.h"

namespace uz {

template <int VALUE>
struct Constant {
  static constexpr int value = VALUE;
};

struct Kernel {
  int64_t (*pack_bytes)(int is_double, int64_t rows, int64_t cols);
  void (*pack)(int is_double, int embed, int64_t rows, int64_t cols, const void *a, int64_t k_stride, int64_t j_stride, void *packed);
  int64_t (*sign_bytes)(const uz_recurrence &r);
  int64_t (*work_bytes)(const uz_recurrence &r, int64_t rows, int backward, int64_t crew);
  int64_t (*partial_bytes)(const uz_recurrence &r, const uz_sums &wanted);
  /* The rows [begin, end) of the batch, by all members of a crew. */
  void (*forward)(const uz_recurrence &r, int64_t begin, int64_t end, void *work, const Crew &crew);
  void (*backward)(const uz_recurrence &r, int64_t begin, int64_t end, const uz_sums &wanted, void *partial, void *work,
                   const Crew &crew);
  /* A part of the sum over slices; there are sum_parts of them. */
  int64_t (*sum_parts)(const uz_recurrence &r, const uz_sums &wanted);
  void (*add_slices)(const uz_recurrence &r, const uz_sums &to, const uz_slices &slices, int64_t part);
};

/* One for each instruction set; namespace-scope constants are internal unless declared extern. */
extern const Kernel table_generic, table_neon, table_avx2, table_avx512;

}  // namespace uz
