/* Vectors of the instruction set that this file is compiled for, by the vector extensions of GCC and Clang. */
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define UZ_VECTOR_BYTES 64
/* Rows and vectors of a block of the product: 24 accumulators of 32 registers. */
#define UZ_MR 12
#elif defined(__AVX2__)
#define UZ_VECTOR_BYTES 32
#define UZ_MR 6 /* 12 accumulators of 16 registers */
#else
#define UZ_VECTOR_BYTES 16
#if defined(__aarch64__)
#define UZ_MR 12
#else
#define UZ_MR 6
#endif
#endif
#define UZ_NV 2

#define UZ_MEMBER inline __attribute__((always_inline))
#define UZ_INLINE static UZ_MEMBER

namespace uz {
namespace UZ_ISA { /* a namespace for each instruction set: the linker must not merge their functions */

template <class T>
struct Number;
template <>
struct Number<float> {
  typedef int32_t Int;
  static constexpr float tiny = 1.17549435e-38f, magic = 12582912.f /* 1.5 * 2^23 */, lowest_exponent = -87.f;
  static constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f, log2e = 1.44269504f, eps = 1.1920929e-7f;
  static constexpr int mantissa = 23, bias = 127, exp_degree = 7;
};
template <>
struct Number<double> {
  typedef int64_t Int;
  static constexpr double tiny = 2.2250738585072014e-308, magic = 6755399441055744. /* 1.5 * 2^52 */, lowest_exponent = -708.;
  static constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10,
                          log2e = 1.4426950408889634, eps = 2.220446049250313e-16;
  static constexpr int mantissa = 52, bias = 1023, exp_degree = 13;
};

template <class T>
struct Simd {
  typedef typename Number<T>::Int Int;
  typedef T V __attribute__((vector_size(UZ_VECTOR_BYTES)));
  typedef Int M __attribute__((vector_size(UZ_VECTOR_BYTES)));
  static constexpr int L = UZ_VECTOR_BYTES / sizeof(T);
};
template <class T>
using Vec = typename Simd<T>::V;
template <class T>
using Mask = typename Simd<T>::M;

template <class T>
UZ_INLINE Vec<T> splat(T x) {
  return x - Vec<T>{}; /* x + 0 would be an addition, since -0 + 0 is 0 */
}

template <class T>
UZ_INLINE Vec<T> load(const T *p) {
  Vec<T> v;
  memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
UZ_INLINE void store(T *p, Vec<T> v) {
  memcpy(p, &v, sizeof v);
}

template <class T>
UZ_INLINE Mask<T> load_bits(const typename Number<T>::Int *p) {
  Mask<T> v;
  memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
UZ_INLINE void store_bits(typename Number<T>::Int *p, Mask<T> v) {
  memcpy(p, &v, sizeof v);
}

/* The first `count` numbers; the others are 0. 0 < count < L. */
UZ_INLINE Vec<float> load_first(const float *p, int count) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#elif defined(__AVX2__)
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return (Vec<float>)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
#else
  Vec<float> v = {};
  for (int i = 0; i < count; i++) v[i] = p[i];
  return v;
#endif
}
UZ_INLINE Vec<double> load_first(const double *p, int count) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_maskz_loadu_pd((__mmask8)((1u << count) - 1), p);
#elif defined(__AVX2__)
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  return (Vec<double>)_mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), lane));
#else
  Vec<double> v = {};
  for (int i = 0; i < count; i++) v[i] = p[i];
  return v;
#endif
}

UZ_INLINE void store_first(float *p, Vec<float> v, int count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#elif defined(__AVX2__)
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane), (__m256)v);
#else
  for (int i = 0; i < count; i++) p[i] = v[i];
#endif
}
UZ_INLINE void store_first(double *p, Vec<double> v, int count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_pd(p, (__mmask8)((1u << count) - 1), (__m512d)v);
#elif defined(__AVX2__)
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  _mm256_maskstore_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), lane), (__m256d)v);
#else
  for (int i = 0; i < count; i++) p[i] = v[i];
#endif
}

template <class T>
UZ_INLINE Vec<T> absolute(Vec<T> x) {
  return (Vec<T>)((Mask<T>)x & ~(Mask<T>)splat<T>(T(-0.)));
}

/* max(x, low); a NaN in x stays. */
template <class T>
UZ_INLINE Vec<T> at_least(Vec<T> x, Vec<T> low) {
  return x < low ? low : x;
}

UZ_INLINE Vec<float> root(Vec<float> x) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_sqrt_ps((__mmask16)-1, (__m512)x);
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < Simd<float>::L; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}
UZ_INLINE Vec<double> root(Vec<double> x) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_maskz_sqrt_pd((__mmask8)-1, (__m512d)x);
#elif defined(__AVX2__)
  return (Vec<double>)_mm256_sqrt_pd((__m256d)x);
#else
  for (int i = 0; i < Simd<double>::L; i++) x[i] = __builtin_sqrt(x[i]);
  return x;
#endif
}

/* Swap neighbours: (re, im) becomes (im, re). */
template <class T>
UZ_INLINE Vec<T> swap_pairs(Vec<T> x) {
  constexpr int L = Simd<T>::L;
#if defined(__clang__)
  if constexpr (L == 2) return __builtin_shufflevector(x, x, 1, 0);
  if constexpr (L == 4) return __builtin_shufflevector(x, x, 1, 0, 3, 2);
  if constexpr (L == 8) return __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
  if constexpr (L == 16)
    return __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
#else
  Mask<T> order;
  for (int i = 0; i < L; i++) order[i] = i ^ 1;
  return __builtin_shuffle(x, order);
#endif
}

/* 2^k and exp(r) - 1 with x = k ln 2 + r, |r| <= ln(2) / 2, for x <= 0; x below the lowest exponent counts as that. */
template <class T>
UZ_INLINE void split_exponential(Vec<T> x, Vec<T> &power, Vec<T> &rest) {
  typedef Number<T> N;
  x = at_least<T>(x, splat<T>(N::lowest_exponent));
  /* Adding 1.5 * 2^mantissa leaves the rounded integer in the low bits. */
  const Vec<T> shifted = x * N::log2e + N::magic;
  const Vec<T> k = shifted - N::magic;
  const Vec<T> r = (x - k * N::ln2_hi) - k * N::ln2_lo;
  power = (Vec<T>)(((Mask<T>)shifted + N::bias) << N::mantissa);
  Vec<T> sum = splat<T>(1);
  for (int j = N::exp_degree; j > 1; j--) sum = 1 + sum * r * (T(1) / j);
  rest = r * sum;
}

template <class T>
UZ_INLINE Vec<T> sigmoid(Vec<T> z) {
  Vec<T> power, rest;
  split_exponential<T>(-absolute<T>(z), power, rest);
  const Vec<T> e = power + power * rest; /* exp(-|z|) */
  return (z < 0 ? e : splat<T>(1)) / (1 + e);
}

template <class T>
UZ_INLINE Vec<T> tanh(Vec<T> z) {
  Vec<T> power, rest;
  split_exponential<T>(-2 * absolute<T>(z), power, rest);
  const Vec<T> e = power * rest + (power - 1); /* exp(-2|z|) - 1, to full relative accuracy near 0 */
  const Vec<T> h = -e / (e + 2);
  return z < 0 ? -h : h;
}

}  // namespace UZ_ISA
}  // namespace uz
