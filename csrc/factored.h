/* W as a product of factors, each applied to all units of a tile by a loop over them. */
#pragma once
#include "arena.h"
#include "fourier.h"

namespace uz {
namespace UZ_ISA {
namespace {

template <class T, int PARTS>
struct Factor {
  typedef uz::UZ_ISA::Unit<T, PARTS> Unit;
  const uz_factors &w;
  const uz_factor &f;

  const T *numbers() const { return (const T *)w.numbers + PARTS * f.first; }

  /* Call use(i, j) for each pair, and use(i, i) for each unit without a partner. */
  template <class F>
  UZ_MEMBER void in_pairs(F &&use) const {
    const Long n = w.n, stride = f.stride, start = at_most(f.start, n);
    for (Long i = 0; i < start; i++) use(i, i);
    for (Long group = start; group < n; group += 2 * stride) {
      const Long paired = at_most(group + stride, n - stride), end = at_most(group + stride, n);
      for (Long i = group; i < paired; i++) use(i, i + stride);
      for (Long i = paired > group ? paired : group; i < end; i++) use(i, i);
    }
  }

  template <bool INVERSE>
  void transform(const T *from, T *to, T *spare) const {
    if constexpr (PARTS == 2) Fourier<T, INVERSE>{w.n, (const T *)w.roots, (T)w.root_scale}.run(from, to, spare);
  }

  /* v^H h */
  UZ_MEMBER Unit inner(const T *v, const T *h) const {
    Unit sum[4] = {}; /* several, since each sum waits for its last addition */
    Long k = 0;
    for (; k + 4 <= w.n; k += 4)
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) sum[i] = sum[i] + Unit::at(h, k + i).times_conjugate(v + PARTS * (k + i));
    for (; k < w.n; k++) sum[0] = sum[0] + Unit::at(h, k).times_conjugate(v + PARTS * k);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }

  __attribute__((noinline)) void multiply(const T *__restrict h, T *__restrict to, T *spare) const {
    const Long n = w.n;
    const T *a = numbers();
    switch (f.kind) {
      case UZ_DIAGONAL:
        for (Long k = 0; k < n; k++) Unit::at(h, k).times(a + PARTS * k).put(to, k);
        break;
      case UZ_FOURIER:
        transform<false>(h, to, spare);
        break;
      case UZ_INVERSE_FOURIER:
        transform<true>(h, to, spare);
        break;
      case UZ_PERMUTATION:
        for (Long k = 0; k < n; k++) Unit::at(h, f.index[k]).put(to, k);
        break;
      case UZ_REFLECTION: {
        const Unit twice = inner(a, h).scaled(2);
        for (Long k = 0; k < n; k++) (Unit::at(h, k) - twice.times(a + PARTS * k)).put(to, k);
        break;
      }
      case UZ_PAIRS: {
        const T *off = a + PARTS * n;
        in_pairs([&](Long i, Long j) {
          const Unit x = Unit::at(h, i), y = Unit::at(h, j);
          (x.times(a + PARTS * i) + y.times(off + PARTS * i)).put(to, i);
          (y.times(a + PARTS * j) + x.times(off + PARTS * j)).put(to, j);
        });
        break;
      }
    }
  }

  /* Write the gradient of the factor's input from that of its output g, and add that of its numbers to `sums`, with the input h;
   * both are null if that is not wanted. */
  __attribute__((noinline)) void backward(const T *__restrict h, const T *__restrict g, T *__restrict to, T *spare, T *sums) const {
    const Long n = w.n;
    const T *a = numbers();
    if (sums) sums += Unit::SIZE * f.first;
    switch (f.kind) {
      case UZ_DIAGONAL:
        for (Long k = 0; k < n; k++) {
          const Unit u = Unit::at(g, k);
          u.times_conjugate(a + PARTS * k).put(to, k);
          if (sums) u.times_conjugate(Unit::at(h, k)).add_to(sums, k);
        }
        break;
      case UZ_FOURIER:
        transform<true>(g, to, spare);
        break;
      case UZ_INVERSE_FOURIER:
        transform<false>(g, to, spare);
        break;
      case UZ_PERMUTATION:
        for (Long k = 0; k < n; k++) Unit::at(g, k).put(to, f.index[k]);
        break;
      case UZ_REFLECTION: {
        const Unit of_g = inner(a, g).scaled(2), of_h = sums ? inner(a, h).scaled(2) : Unit{};
        for (Long k = 0; k < n; k++) {
          const Unit u = Unit::at(g, k);
          (u - of_g.times(a + PARTS * k)).put(to, k);
          /* -2 (g conj(v^H h) + h conj(v^H g)) */
          if (sums) (Unit{} - u.times_conjugate(of_h) - Unit::at(h, k).times_conjugate(of_g)).add_to(sums, k);
        }
        break;
      }
      case UZ_PAIRS: {
        const T *off = a + PARTS * n;
        in_pairs([&](Long i, Long j) {
          const Unit u = Unit::at(g, i), v = Unit::at(g, j);
          (u.times_conjugate(a + PARTS * i) + v.times_conjugate(off + PARTS * j)).put(to, i);
          (v.times_conjugate(a + PARTS * j) + u.times_conjugate(off + PARTS * i)).put(to, j);
          if (!sums) return;
          const Unit x = Unit::at(h, i), y = Unit::at(h, j);
          u.times_conjugate(x).add_to(sums, i);
          u.times_conjugate(y).add_to(sums, n + i);
          if (i == j) return;
          v.times_conjugate(y).add_to(sums, j);
          v.times_conjugate(x).add_to(sums, n + j);
        });
        break;
      }
    }
  }
};

/* The product of all factors for a tile, with arrays of lanes in the workspace. */
template <class T>
struct Factored {
  const uz_recurrence &r;
  Long row, size; /* numbers between rows, and in an array of lanes: whole blocks */
  T *lanes;       /* the inputs of the factors and three more arrays; forward: three arrays */
  T *product;     /* rows: W h */
  T *gradient;    /* rows: W^H g of the step after */
  T *sums;        /* the gradients of the numbers, in lanes */

  Factored(const uz_recurrence &r, Long rows, Long row, bool backward, Arena &arena) : r(r), row(row) {
    if (!r.factors) return;
    size = padded<T>(r.n) * Simd<T>::L;
    lanes = arena.take<T>((backward ? r.factors->count + 3 : 3) * size);
    product = arena.take<T>(rows * row);
    if (!backward) return;
    gradient = arena.take<T>(rows * row);
    sums = arena.take<T>(numbers() * Simd<T>::L);
  }

  explicit operator bool() const { return r.factors; }
  Long numbers() const { return r.factors->parts * r.factors->numbers_count; }
  T *array(Long i) const { return lanes + i * size; }

  template <int PARTS>
  Factor<T, PARTS> factor(Long i) const {
    return {*r.factors, r.factors->list[i]};
  }

  /* Return W h for each row. */
  const T *multiply(Long rows, const T *h, Long h_row) const {
    r.factors->parts == 2 ? multiply_parts<2>(rows, h, h_row) : multiply_parts<1>(rows, h, h_row);
    return product;
  }

  /* Keep W^H g for each row, and add the gradients of the numbers if `sum`, where h is the input of W; it has the first rows only,
   * and g is zero in the others. */
  void backward(Long h_rows, const T *h, Long h_row, Long rows, const T *g, bool sum) const {
    r.factors->parts == 2 ? backward_parts<2>(h_rows, h, h_row, rows, g, sum) : backward_parts<1>(h_rows, h, h_row, rows, g, sum);
  }

  template <int PARTS>
  void multiply_parts(Long rows, const T *h, Long h_row) const {
    rows_to_lanes(rows, r.n, h, h_row, array(0));
    const Long count = r.factors->count;
    for (Long i = 0; i < count; i++) factor<PARTS>(i).multiply(array(i % 2), array(1 - i % 2), array(2));
    lanes_to_rows(rows, r.n, array(count % 2), product, row);
  }

  template <int PARTS>
  void backward_parts(Long h_rows, const T *h, Long h_row, Long rows, const T *g, bool sum) const {
    const Long count = r.factors->count;
    T *spare = array(count + 2);
    if (sum) {
      rows_to_lanes(h_rows, r.n, h, h_row, array(0));
      for (Long i = 0; i + 1 < count; i++) factor<PARTS>(i).multiply(array(i), array(i + 1), spare);
    }
    T *pair[2] = {array(count), array(count + 1)};
    rows_to_lanes(rows, r.n, g, row, pair[0]);
    for (Long i = count - 1, turn = 0; i >= 0; i--, turn ^= 1)
      factor<PARTS>(i).backward(sum ? array(i) : nullptr, pair[turn], pair[1 - turn], spare, sum ? sums : nullptr);
    lanes_to_rows(rows, r.n, pair[count % 2], gradient, row);
  }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
