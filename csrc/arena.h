/* Arrays in a workspace. */
#pragma once
#include "product.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* Takes arrays from the workspace, each on cache lines of its own; without a workspace it only counts. */
struct Arena {
  uintptr_t next;
  explicit Arena(void *work) : next(((uintptr_t)work + 63) & ~(uintptr_t)63) {}
  template <class T>
  T *take(Long count) {
    T *p = (T *)next;
    next += (uintptr_t)ceil_div(count * (Long)sizeof(T), 64) * 64;
    return p;
  }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
