/* The backward pass of gated units. Gates that were not kept are recomputed, a segment at a time, and their gradients take their
 * place in the workspace. */
#pragma once
#include "backward.h"
#include "gated.h"

namespace uz {
namespace UZ_ISA {
namespace {

template <class T>
struct Backward<T, UZ_GATED> : BackwardBase<T> {
  typedef BackwardBase<T> Base;
  using Base::L, Base::r, Base::plan, Base::tile, Base::work, Base::crew;

  void recompute(Long first, Long last, const States<T> &states) const {
    const Tile<T, UZ_GATED> tile = {this->tile};
    for (Long s = first; s < last; s++) {
      const bool known = r.states || states.kept(s + 1) || s + 1 == last; /* h(last) is not needed */
      T *gates = work.gradients + (s - first) * tile.rows * plan.wide;
      tile.compute(s, states.at(s), known ? Rows<T>{} : states.at(s + 1), true, {gates, plan.wide});
      crew.wait();
    }
  }

  /* Write the gradients of the sums at `step` into d, where the recomputed gates are; `after` are those of the next step. */
  UZ_MEMBER void step(Long step, const T *after, T *d, const States<T> &states) const {
    const Long n = r.n;
    const T *grad = this->gradient_of_result(step);
    const Long in_result = this->first_in_result(step), go_on = tile.active(step + 1);
    const Rows<T> h = states.at(step);
    const Rows<T> gates = r.gates ? Tile<T, UZ_GATED>{tile}.gates(step) : Rows<T>{d, plan.wide};
    const Factors<T> f[] = {this->through_w(after)};
    multiply_rows<T>(tile.active(step), n, crew, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int k = 0; k < count * vectors; k++) {
        const Long i = row + k / vectors, j = column + k % vectors * L;
        T *through = work.through + i * plan.row + j;
        Vec<T> g = load(c + k * L);
        if (i < go_on) g += load(through);
        if (i >= in_result) g += load_row(grad + i * r.grad_row, j, n);
        const T *own = gates.at + i * gates.stride;
        const Vec<T> product = load_row(own + PRODUCT * n, j, n), reset = load_row(own + RESET * n, j, n),
                     update = load_row(own + UPDATE * n, j, n), candidate = load_row(own + CANDIDATE * n, j, n);
        const Vec<T> state = load_row(h.at + i * h.stride, j, n);
        const Vec<T> of_candidate = g * (1 - update) * (1 - candidate * candidate), of_product = of_candidate * reset;
        T *to = d + i * plan.wide;
        store_row(to + PRODUCT * n, j, n, of_product);
        store_row(to + RESET * n, j, n, of_product * product * (1 - reset));
        store_row(to + UPDATE * n, j, n, g * (state - candidate) * (update * (1 - update)));
        store_row(to + CANDIDATE * n, j, n, of_candidate);
        store(through, g * update);
      }
    });
  }

  void input_step(Long step, const T *d) const { this->write_dx(step, d + r.n); }
  void add(Long from, Long to, const T *d, const States<T> &states) const {
    this->add_sums(from, to, d, d + r.n, 4 * r.n, states);
  }
  const T *of_first_state() const { return work.through; }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
