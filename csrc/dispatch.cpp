/* The C interface: each call goes to the kernel of the instruction set it names. */
#include "kernel.h"

#define UZ_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

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

UZ_EXPORT int64_t uz_work_bytes(int isa, const uz_recurrence *r, int64_t rows, int backward) {
  return kernel(isa)->work_bytes(*r, rows, backward);
}

UZ_EXPORT void uz_forward(int isa, const uz_recurrence *r, int64_t begin, int64_t end, void *work) {
  kernel(isa)->forward(*r, begin, end, work);
}

UZ_EXPORT void uz_backward(int isa, const uz_recurrence *r, int64_t begin, int64_t end, const uz_sums *sums, void *work) {
  kernel(isa)->backward(*r, begin, end, *sums, work);
}
