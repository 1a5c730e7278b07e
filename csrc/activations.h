/* The activations and their derivatives as functions of the state. */
#pragma once
#include "scan.h"
#include "vec.h"

namespace uz {
namespace UZ_ISA {
namespace {

template <class T>
struct Polar { /* of pairs (re, im): both numbers of a pair hold the modulus */
  Vec<T> unit, modulus;
};
template <class T>
UZ_INLINE Polar<T> to_polar(Vec<T> z) {
  /* Divided by the larger part first: no square over- or underflows. */
  const Vec<T> size = absolute<T>(z), other = swap_pairs<T>(size);
  const Vec<T> larger = size < other ? other : size;
  const Vec<T> scaled = z / at_least<T>(larger, splat<T>(Number<T>::tiny));
  const Vec<T> square = scaled * scaled;
  const Vec<T> length = root(square + swap_pairs<T>(square));
  return {scaled / at_least<T>(length, splat<T>(Number<T>::tiny)), larger * length};
}

/* h = phi(z) */
template <class T, int ACTIVATION>
UZ_INLINE Vec<T> activate(Vec<T> z, Vec<T> threshold, T slope) {
  const Vec<T> zero = {};
  if constexpr (ACTIVATION == UZ_RELU) return z < 0 ? zero : z;
  if constexpr (ACTIVATION == UZ_LEAKY_RELU) return z < 0 ? slope * z : z;
  if constexpr (ACTIVATION == UZ_ABS) return absolute<T>(z);
  if constexpr (ACTIVATION == UZ_TANH) return tanh<T>(z);
  if constexpr (ACTIVATION == UZ_SIGMOID) return sigmoid<T>(z);
  if constexpr (ACTIVATION == UZ_MODRELU) {
    const Vec<T> length = at_least<T>(absolute<T>(z) + threshold, zero);
    return z > 0 ? length : z < 0 ? -length : z * length; /* 0 unless one of them is NaN */
  }
  if constexpr (ACTIVATION == UZ_COMPLEX_MODRELU) {
    const Polar<T> p = to_polar<T>(z);
    const Vec<T> length = at_least<T>(p.modulus + threshold, zero);
    return p.modulus < Number<T>::tiny ? zero : p.unit * length;
  }
  return z;
}

/* The gradient of z from that of h; `radial` is the part of it that the threshold of modReLU receives. */
template <class T, int ACTIVATION>
UZ_INLINE Vec<T> derive(Vec<T> g, Vec<T> h, Mask<T> negative, Vec<T> threshold, T slope, Vec<T> &radial) {
  const Vec<T> zero = {};
  if constexpr (ACTIVATION == UZ_RELU) return h <= 0 ? zero : g;
  if constexpr (ACTIVATION == UZ_LEAKY_RELU) return h > 0 ? g : slope * g;
  if constexpr (ACTIVATION == UZ_ABS) return h == 0 ? zero : negative ? -g : g;
  if constexpr (ACTIVATION == UZ_TANH) return g * (1 - h * h);
  if constexpr (ACTIVATION == UZ_SIGMOID) return g * (h * (1 - h));
  if constexpr (ACTIVATION == UZ_MODRELU) {
    radial = h > 0 ? g : h < 0 ? -g : zero;
    return h == 0 ? zero : g;
  }
  if constexpr (ACTIVATION == UZ_COMPLEX_MODRELU) {
    /* dz = u (Re + i k Im)(conj(u) g) with u = h/|h|, k = |h|/|z| and |z| = |h| - b. Where b > 0 and |z| << b that difference
     * cancels, but z itself carries the rounding of W h there. */
    const Polar<T> p = to_polar<T>(h);
    const Vec<T> along = p.unit * g, across = swap_pairs<T>(p.unit) * g;
    radial = along + swap_pairs<T>(along);
    const Vec<T> floor = at_least<T>(p.modulus * Number<T>::eps, splat<T>(Number<T>::tiny));
    const Vec<T> k = p.modulus / at_least<T>(p.modulus - threshold, floor);
    return p.unit * radial - swap_pairs<T>(p.unit) * (k * (swap_pairs<T>(across) - across));
  }
  return g;
}

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
