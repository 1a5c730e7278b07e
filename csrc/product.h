/* Matrix products of a few rows with a packed right factor.
 *
 * Every product goes through one micro-kernel, `multiply`: UZ_MR rows by UZ_NV vectors of the result in registers. The right
 * factor is packed in panels of UZ_NV vectors and padded with zeros to whole vectors.
 */
#pragma once
#include "team.h"
#include "vec.h"

namespace uz {
namespace UZ_ISA {
namespace {

typedef int64_t Long;

UZ_INLINE Long at_most(Long a, Long b) { return a < b ? a : b; }
UZ_INLINE Long ceil_div(Long a, Long b) { return (a + b - 1) / b; }

template <class T>
UZ_INLINE Long padded(Long n) {
  return ceil_div(n, Simd<T>::L) * Simd<T>::L;
}

constexpr Long AHEAD = 8; /* terms of the sum between a prefetch and its use */

enum Order { ROW_MAJOR, SUM_MAJOR }; /* a(row, k) at a[row * lda + k], or at a[k * lda + row] */

template <class T, int MR, int NV, Order ORDER>
UZ_INLINE void multiply(Vec<T> (&sum)[MR][NV], const T *a, Long lda, Long count, const T *b) {
  constexpr int L = Simd<T>::L;
  for (Long k = 0; k < count; k++, b += NV * L) {
    Vec<T> right[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) right[v] = load(b + v * L);
    /* The right factor streams through the first-level cache, and the left one lies in columns here. */
    for (int v = 0; v < NV; v++) __builtin_prefetch(b + (AHEAD * NV + v) * L);
    if (ORDER == SUM_MAJOR) __builtin_prefetch(a + (k + AHEAD) * lda);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const T left = ORDER == ROW_MAJOR ? a[r * lda + k] : a[k * lda + r];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[r][v] += left * right[v];
    }
  }
}

/* The product init + a b + a2 b2 with packed right factors; init is the same for every row, or null. */
template <class T>
struct Factors {
  const T *a;
  Long lda, count;
  const T *b;
  const T *a2;
  Long lda2, count2;
  const T *b2;
  const T *init;
};

template <class T, int MR, int NV>
__attribute__((noinline)) void product_block(const Factors<T> &f, Long row, Long column, T *c) {
  constexpr int L = Simd<T>::L;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++) {
    const Vec<T> start = f.init ? load(f.init + column + v * L) : Vec<T>{};
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) sum[r][v] = start;
  }
  if (f.count) multiply<T, MR, NV, ROW_MAJOR>(sum, f.a + row * f.lda, f.lda, f.count, f.b + column * f.count);
  if (f.count2) multiply<T, MR, NV, ROW_MAJOR>(sum, f.a2 + row * f.lda2, f.lda2, f.count2, f.b2 + column * f.count2);
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(c + (r * NV + v) * L, sum[r][v]);
}

/* c += a^T b for a block of rows of c (columns of a); c is laid out as b's panel is. */
template <class T, int MR, int NV>
__attribute__((noinline)) void outer_block(const T *a, Long lda, Long count, const T *b, T *c) {
  constexpr int L = Simd<T>::L;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[r][v] = load(c + (r * NV + v) * L);
  multiply<T, MR, NV, SUM_MAJOR>(sum, a, lda, count, b);
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(c + (r * NV + v) * L, sum[r][v]);
}

/* The same functions for numbers of rows and vectors that are known at run time. */
template <class T, int MR = UZ_MR>
UZ_INLINE void product(int rows, int vectors, const Factors<T> &f, Long row, Long column, T *c) {
  if constexpr (MR > 0) {
    if (rows != MR) return product<T, MR - 1>(rows, vectors, f, row, column, c);
    if (vectors == UZ_NV) return product_block<T, MR, UZ_NV>(f, row, column, c);
    product_block<T, MR, 1>(f, row, column, c);
  }
}
template <class T, int MR = UZ_MR>
UZ_INLINE void outer(int rows, int vectors, const T *a, Long lda, Long count, const T *b, T *c) {
  if constexpr (MR > 0) {
    if (rows != MR) return outer<T, MR - 1>(rows, vectors, a, lda, count, b, c);
    if (vectors == UZ_NV) return outer_block<T, MR, UZ_NV>(a, lda, count, b, c);
    outer_block<T, MR, 1>(a, lda, count, b, c);
  }
}
static_assert(UZ_NV == 2, "a panel has UZ_NV vectors or one");

/* Split [begin, end) into parts of nearly equal size, at most `most`, and call use(first, count) for each. */
template <class F>
UZ_INLINE void in_parts(Long begin, Long end, Long most, F &&use) {
  const Long parts = ceil_div(end - begin, most), size = (end - begin) / parts, larger = end - begin - size * parts;
  for (Long i = 0; i < parts; i++) {
    const Long count = size + (i < larger);
    use(begin, count);
    begin += count;
  }
}

/* Call use(first column, vectors) for each of this member's panels of n columns. */
template <class T, class F>
UZ_INLINE void in_panels(Long n, const Crew &crew, F &&use) {
  constexpr Long width = UZ_NV * Simd<T>::L;
  const Long panels = ceil_div(n, width), last = crew.last(panels);
  for (Long i = crew.first(panels); i < last; i++)
    use(i * width, (int)at_most(UZ_NV, ceil_div(n - i * width, Simd<T>::L)));
}

/* Numbers of a block of a product. */
template <class T>
constexpr Long BLOCK = UZ_MR * UZ_NV * Simd<T>::L;

/* Products for `rows` rows and this member's part of n columns; calls then(row, rows, column, vectors, blocks) for each place, with
 * the blocks of all products one after the other, while they are in L1. */
template <class T, int COUNT, class F>
UZ_INLINE void multiply_rows(Long rows, Long n, const Crew &crew, const Factors<T> (&f)[COUNT], F &&then) {
  alignas(64) T c[COUNT * BLOCK<T>];
  in_panels<T>(n, crew, [&](Long column, int vectors) {
    in_parts(0, rows, UZ_MR, [&](Long row, Long count) {
      for (int i = 0; i < COUNT; i++) product<T>((int)count, vectors, f[i], row, column, c + i * BLOCK<T>);
      then(row, (int)count, column, vectors, c);
    });
  });
}

/* Rows of n numbers, with or without padding. */

/* The numbers of a row of n from `column` on: a whole vector if there is room, else the rest of the row. */
template <class T>
UZ_INLINE Vec<T> load_row(const T *row, Long column, Long n) {
  const Long left = n - column;
  return left >= Simd<T>::L ? load(row + column) : load_first(row + column, (int)left);
}
template <class T>
UZ_INLINE void store_row(T *row, Long column, Long n, Vec<T> v) {
  const Long left = n - column;
  if (left >= Simd<T>::L)
    store(row + column, v);
  else
    store_first(row + column, v, (int)left);
}

template <class T>
UZ_INLINE void copy_rows(Long rows, Long n, const T *from, Long from_row, T *to, Long to_row) {
  for (Long r = 0; r < rows; r++) memcpy(to + r * to_row, from + r * from_row, n * sizeof(T));
}

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
