#include "scan.h"

extern "C" __attribute__((visibility("default"))) int uz_isa_available(int isa) {
#ifdef UZ_HAVE_generic
  if (isa == uz::generic) return 1;
#endif
#ifdef UZ_HAVE_avx2
  if (isa == uz::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef UZ_HAVE_avx512
  if (isa == uz::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
#ifdef UZ_HAVE_neon
  if (isa == uz::neon) return 1;
#endif
  return 0;
}
