/* The unitary discrete Fourier transform over the units of a tile, n a power of two. */
#pragma once
#include "lanes.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* Stockham's passes of radix 4 and a last one of radix 2: the order is right without a permutation.
 *
 * A pass splits every transform of length `length` into four of a quarter of it; there are `count` of them, side by side. The roots
 * are exp(-2 pi i k / n), k < n; the inverse uses their conjugates. */
template <class T, bool INVERSE>
struct Fourier {
  typedef uz::UZ_ISA::Unit<T, 2> Unit;
  Long n;
  const T *roots;
  T scale; /* of the last pass */

  UZ_MEMBER Unit turn(Unit u, Long root) const {
    const T *w = roots + 2 * root;
    return INVERSE ? u.times_conjugate(w) : u.times(w);
  }

  __attribute__((noinline)) void pass4(Long length, Long count, const T *__restrict from, T *__restrict to) const {
    const Long quarter = length / 4, apart = count * quarter;
    for (Long p = 0; p < quarter; p++)
      for (Long q = 0; q < count; q++) {
        const Long at = q + count * p, out = q + count * 4 * p;
        const Unit a = Unit::at(from, at), b = Unit::at(from, at + apart);
        const Unit c = Unit::at(from, at + 2 * apart), d = Unit::at(from, at + 3 * apart);
        const Unit ac = a + c, a_c = a - c, bd = b + d, b_d = b - d;
        /* i (b - d), or -i (b - d) of the inverse */
        const Unit turned = INVERSE ? Unit{b_d.im, -b_d.re} : Unit{-b_d.im, b_d.re};
        if (quarter == 1) {
          (ac + bd).scaled(scale).put(to, out);
          (a_c - turned).scaled(scale).put(to, out + count);
          (ac - bd).scaled(scale).put(to, out + 2 * count);
          (a_c + turned).scaled(scale).put(to, out + 3 * count);
        } else {
          (ac + bd).put(to, out);
          turn(a_c - turned, count * p).put(to, out + count);
          turn(ac - bd, count * 2 * p).put(to, out + 2 * count);
          turn(a_c + turned, count * 3 * p).put(to, out + 3 * count);
        }
      }
  }

  __attribute__((noinline)) void pass2(Long count, const T *__restrict from, T *__restrict to) const {
    for (Long q = 0; q < count; q++) {
      const Unit a = Unit::at(from, q), b = Unit::at(from, q + count);
      (a + b).scaled(scale).put(to, q);
      (a - b).scaled(scale).put(to, q + count);
    }
  }

  /* Transform `from` into `to`, by way of `spare`. */
  void run(const T *from, T *to, T *spare) const {
    Long passes = 0;
    for (Long length = n; length > 1; length /= length == 2 ? 2 : 4) passes++;
    if (!passes) memcpy(to, from, Unit::SIZE * sizeof(T));
    for (Long length = n, count = 1; length > 1; passes--) {
      T *next = passes % 2 ? to : spare;
      if (length == 2)
        pass2(count, from, next);
      else
        pass4(length, count, from, next);
      const Long radix = length == 2 ? 2 : 4;
      from = next, length /= radix, count *= radix;
    }
  }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
