/* The forward pass of gated units: two gates and a candidate, each with a matrix of its own. */
#pragma once
#include "tile.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* The places of a unit's numbers in a row of gates (4, n), and of the gradients of its sums. W multiplies the state for the first
 * three, V the input for the last three. */
enum { PRODUCT, RESET, UPDATE, CANDIDATE };

template <class T>
struct Tile<T, UZ_GATED> : TileBase<T> {
  using TileBase<T>::L, TileBase<T>::r, TileBase<T>::crew;

  Rows<T> gates(Long step) const { return {(T *)r.gates + (step * r.batch + this->begin) * 4 * r.n, 4 * r.n}; }

  UZ_MEMBER void forward_step(Long step, Rows<T> from, Rows<T> to, bool pad, bool note) const {
    compute(step, from, to, pad, note && r.gates ? gates(step) : Rows<T>{});
  }

  /* Compute h(step + 1) and the gates, or one of them, from h(step): this member's columns. */
  UZ_MEMBER void compute(Long step, Rows<T> from, Rows<T> to, bool pad, Rows<T> gates) const {
    const Long n = r.n, m = r.m, line = padded<T>(n), width = pad ? line : n;
    const T *w = (const T *)r.w, *v = (const T *)r.v, *bias = (const T *)r.bias, *x = this->x(step);
    const auto gate = [&](Long i) -> Factors<T> {
      return {from.at, from.stride, n, w + i * n * line, x, r.x_row, m, v + i * m * line, bias ? bias + i * line : nullptr};
    };
    const Factors<T> of_input = {nullptr, 0, 0, nullptr, x, r.x_row, m, v + 2 * m * line, bias ? bias + 2 * line : nullptr};
    const Factors<T> of_state = {from.at, from.stride, n, w + 2 * n * line, nullptr, 0, 0, nullptr, (const T *)r.bias_hn};
    const Factors<T> f[] = {gate(0), gate(1), of_state, of_input};
    multiply_rows<T>(this->active(step), n, crew, f, [&](Long row, int count, Long column, int vectors, const T *blocks) {
      for (int k = 0; k < count * vectors; k++) {
        const Long i = row + k / vectors, j = column + k % vectors * L;
        const T *c = blocks + k * L;
        const Vec<T> reset = sigmoid<T>(load(c)), update = sigmoid<T>(load(c + BLOCK<T>)), product = load(c + 2 * BLOCK<T>);
        const Vec<T> candidate = tanh<T>(load(c + 3 * BLOCK<T>) + reset * product);
        if (gates.at) {
          T *g = gates.at + i * gates.stride;
          store_row(g + PRODUCT * n, j, n, product);
          store_row(g + RESET * n, j, n, reset);
          store_row(g + UPDATE * n, j, n, update);
          store_row(g + CANDIDATE * n, j, n, candidate);
        }
        const Vec<T> h = load_row(from.at + i * from.stride, j, n);
        if (to.at) store_row(to.at + i * to.stride, j, width, (1 - update) * candidate + update * h);
      }
    });
  }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
