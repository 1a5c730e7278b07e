/* Rows across vectors: unit after unit, each number of it a vector with one lane for every row of a tile. */
#pragma once
#include "product.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* One unit of all rows: a number of each row, or its real and imaginary part. */
template <class T, int PARTS>
struct Unit {
  static constexpr Long SIZE = PARTS * Simd<T>::L;
  Vec<T> re, im; /* im only if PARTS is 2 */

  static UZ_MEMBER Unit at(const T *lanes, Long k) {
    const T *p = lanes + k * SIZE;
    if constexpr (PARTS == 1) return {load(p), Vec<T>()};
    return {load(p), load(p + Simd<T>::L)};
  }
  UZ_MEMBER void put(T *lanes, Long k) const {
    T *p = lanes + k * SIZE;
    store(p, re);
    if constexpr (PARTS == 2) store(p + Simd<T>::L, im);
  }
  UZ_MEMBER void add_to(T *lanes, Long k) const { (at(lanes, k) + *this).put(lanes, k); }

  UZ_MEMBER Unit operator+(const Unit &u) const { return {re + u.re, im + u.im}; }
  UZ_MEMBER Unit operator-(const Unit &u) const { return {re - u.re, im - u.im}; }
  UZ_MEMBER Unit scaled(T a) const { return {a * re, a * im}; }
  UZ_MEMBER Unit conjugate() const { return {re, -im}; }

  /* The product with number a[0] + i a[1], or with its conjugate, the same for all rows. */
  UZ_MEMBER Unit times(const T *a) const {
    if constexpr (PARTS == 1) return {a[0] * re, Vec<T>()};
    return {a[0] * re - a[1] * im, a[0] * im + a[1] * re};
  }
  UZ_MEMBER Unit times_conjugate(const T *a) const {
    if constexpr (PARTS == 1) return {a[0] * re, Vec<T>()};
    return {a[0] * re + a[1] * im, a[0] * im - a[1] * re};
  }
  /* The product with the conjugate of u, row by row. */
  UZ_MEMBER Unit times_conjugate(const Unit &u) const {
    if constexpr (PARTS == 1) return {re * u.re, Vec<T>()};
    return {re * u.re + im * u.im, im * u.re - re * u.im};
  }
};

/* (a[0], b[0], a[1], b[1], ...): the first L of these numbers, or the last L. */
template <class T, bool LAST>
UZ_INLINE Vec<T> interleave(Vec<T> a, Vec<T> b) {
  constexpr int L = Simd<T>::L, H = LAST ? L / 2 : 0;
#if defined(__clang__)
  if constexpr (L == 2) return __builtin_shufflevector(a, b, H, H + 2);
  if constexpr (L == 4) return __builtin_shufflevector(a, b, H, H + 4, H + 1, H + 5);
  if constexpr (L == 8) return __builtin_shufflevector(a, b, H, H + 8, H + 1, H + 9, H + 2, H + 10, H + 3, H + 11);
  if constexpr (L == 16)
    return __builtin_shufflevector(a, b, H, H + 16, H + 1, H + 17, H + 2, H + 18, H + 3, H + 19, H + 4, H + 20, H + 5, H + 21,
                                   H + 6, H + 22, H + 7, H + 23);
#else
  Mask<T> order;
  for (int i = 0; i < L; i++) order[i] = H + i / 2 + i % 2 * L;
  return __builtin_shuffle(a, b, order);
#endif
}

/* Exchange rows and columns: each of log2(L) perfect shuffles moves one bit of the index. */
template <class T>
UZ_INLINE void transpose(Vec<T> (&v)[Simd<T>::L]) {
  constexpr int L = Simd<T>::L;
#pragma GCC unroll 4
  for (int k = 1; k < L; k *= 2) {
    Vec<T> shuffled[L];
#pragma GCC unroll 8
    for (int i = 0; i < L / 2; i++) {
      shuffled[2 * i] = interleave<T, false>(v[i], v[i + L / 2]);
      shuffled[2 * i + 1] = interleave<T, true>(v[i], v[i + L / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; i++) v[i] = shuffled[i];
  }
}

/* Copy at most L rows of n numbers into lanes; those without a row are zero. */
template <class T>
__attribute__((noinline)) void rows_to_lanes(Long rows, Long n, const T *from, Long stride, T *lanes) {
  constexpr int L = Simd<T>::L;
  for (Long column = 0; column < n; column += L, lanes += L * L) {
    Vec<T> v[L];
#pragma GCC unroll 16
    for (int r = 0; r < L; r++) v[r] = r < rows ? load_row(from + r * stride, column, n) : Vec<T>{};
    transpose<T>(v);
#pragma GCC unroll 16
    for (int c = 0; c < L; c++) store(lanes + c * L, v[c]); /* the lanes are padded to whole blocks */
  }
}

/* Copy lanes into rows of padded<T>(n) numbers. */
template <class T>
__attribute__((noinline)) void lanes_to_rows(Long rows, Long n, const T *lanes, T *to, Long stride) {
  constexpr int L = Simd<T>::L;
  for (Long column = 0; column < n; column += L, lanes += L * L) {
    Vec<T> v[L];
#pragma GCC unroll 16
    for (int c = 0; c < L; c++) v[c] = load(lanes + c * L);
    transpose<T>(v);
#pragma GCC unroll 16
    for (int r = 0; r < L; r++)
      if (r < rows) store(to + r * stride + column, v[r]);
  }
}

/* Store in to[k], k < count, the sum over the lanes of number k. */
template <class T>
__attribute__((noinline)) void add_lanes(Long count, const T *lanes, T *to) {
  for (Long k = 0; k < count; k++) {
    T sum = 0;
    for (int lane = 0; lane < Simd<T>::L; lane++) sum += lanes[k * Simd<T>::L + lane];
    to[k] = sum;
  }
}

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
