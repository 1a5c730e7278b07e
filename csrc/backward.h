/* The backward pass of a tile. It recomputes the states that were not kept, a segment at a time, in the workspace. */
#pragma once
#include "tile.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* The sums of a slice, dW and dV in the layout of packed panels. */
template <class T>
struct Sums {
  T *w, *v, *columns, *threshold; /* padded; null if not wanted */
  Sums(const uz_recurrence &r, const uz_sums &wanted, Arena &arena) {
    const Long n = padded<T>(r.n);
    w = wanted.dw ? arena.take<T>(r.factors ? padded<T>(r.factors->parts * r.factors->numbers_count) : outputs(r) * n) : nullptr;
    v = wanted.dv ? arena.take<T>(outputs(r) * padded<T>(r.m)) : nullptr;
    /* the sums of the columns of the gradients; a last vector of db_n may end beyond them */
    columns = wanted.dbias || wanted.dbias_hn ? arena.take<T>(gated(r) ? 4 * r.n + 2 * Simd<T>::L : n) : nullptr;
    threshold = wanted.dthreshold ? arena.take<T>(n) : nullptr;
  }
};

/* The arrays in the workspace that a tile uses and the next tile reuses. */
template <class T>
struct Buffers {
  T *states;    /* (segment, tile) rows */
  T *gradients; /* (chunk, tile) rows: of the sums; or (segment, tile) rows, where they take the place of recomputed gates */
  T *carried;   /* (tile) rows: the gradients of the step after the chunk */
  T *through;   /* (tile) rows: the gradients that gated units pass to the state before */
  T *panel;     /* the packed right factor of the sums, for each member of the crew */
  Buffers(const uz_recurrence &r, const Plan<T> &plan, Arena &arena, const Crew &crew) {
    const Long tile = plan.tile;
    states = arena.take<T>(r.states ? 0 : plan.segment * tile * plan.row);
    gradients = arena.take<T>((gated(r) && plan.segment ? plan.segment : plan.chunk) * tile * plan.wide);
    carried = arena.take<T>(tile * plan.wide);
    through = arena.take<T>(gated(r) ? tile * plan.row : 0);
    panel = arena.take<T>(plan.panel * crew.size) + plan.panel * crew.rank;
  }
};

/* Where h(s) is, for first <= s <= last; h(0) is the initial state, and h(s + 1) follows from h(s) at step s. */
template <class T>
struct States {
  const TileBase<T> &tile;
  Long first;
  T *found; /* h(first + 1), ... in the workspace; null if all are in r.states */

  Rows<T> in_workspace(Long s) const { return {found + (s - first - 1) * tile.rows * tile.plan.row, tile.plan.row}; }
  bool kept(Long s) const { return tile.r.keep && s % tile.r.keep == 0 && s < tile.r.steps; }
  Rows<T> at(Long s) const {
    if (s == 0) return tile.h0();
    if (!found) return tile.state_out(s - 1);
    if (kept(s)) return {tile.kept(s / tile.r.keep - 1), tile.r.n};
    return in_workspace(s);
  }
};

/* What the backward passes of all recurrences share. */
template <class T>
struct BackwardBase {
  static constexpr int L = Simd<T>::L;
  const TileBase<T> &tile;
  const Buffers<T> &work;
  const Sums<T> &sums;

  const uz_recurrence &r = tile.r;
  const Plan<T> &plan = tile.plan;
  const Crew &crew = tile.crew;

  /* The gradient of the result that belongs to the states after `step`; only those of the rows from first_in_result(step) on are in
   * the result. */
  const T *gradient_of_result(Long step) const {
    return (const T *)r.grad + (r.grad_last ? 0 : step * r.grad_step) + tile.begin * r.grad_row;
  }
  Long first_in_result(Long step) const { return r.grad_last ? tile.active(step + 1) : 0; }

  /* Rows that ended before `step` have no gradient there. */
  void clear_ended(Long step, T *gradients) const {
    const Long active = tile.active(step), ended = tile.rows - active;
    if (!ended || !crew.leads()) return;
    memset(gradients + active * plan.wide, 0, ended * plan.wide * sizeof(T));
    if (r.dx && !r.m) memset((T *)r.dx + (step * r.batch + tile.begin + active) * r.n, 0, ended * r.n * sizeof(T));
  }

  /* The product of the gradients of the step after with W; they are null at the last step, whose state has no gradient but that of
   * the result. */
  Factors<T> through_w(const T *after) const {
    return {after, plan.wide, after && !tile.factored ? outputs(r) : 0, (const T *)r.w_back, nullptr, 0, 0, nullptr, nullptr};
  }

  /* Add to `sum` the gradients of steps [from, to), transposed, times the rows of n numbers at factor(step). */
  template <class F>
  UZ_MEMBER void add_outer(Long from, Long to, const T *gradients, Long n, T *sum, F &&factor) const {
    const Long count = (to - from) * tile.rows, height = outputs(r);
    in_panels<T>(n, crew, [&](Long column, int vectors) {
      T *p = work.panel;
      for (Long i = from; i < to; i++) {
        const Rows<T> h = factor(i);
        const Long active = tile.active(i);
        for (Long row = 0; row < tile.rows; row++)
          for (int v = 0; v < vectors; v++, p += L)
            store(p, row < active ? load_row(h.at + row * h.stride, column + v * L, n) : Vec<T>{});
      }
      in_parts(0, height, UZ_MR, [&](Long row, Long rows) {
        outer<T>((int)rows, vectors, gradients + row, plan.wide, count, work.panel, sum + height * column + row * vectors * L);
      });
    });
  }

  /* Add the sums over steps [from, to): dW by the gradients at `for_w`, dV by those at `for_v`, and the sums of all `width` columns
   * from `for_w` on. */
  UZ_MEMBER void add_sums(Long from, Long to, const T *for_w, const T *for_v, Long width, const States<T> &states) const {
    const Long count = (to - from) * tile.rows;
    if (sums.w && !tile.factored) add_outer(from, to, for_w, r.n, sums.w, [&](Long i) { return states.at(i); });
    if (sums.v) add_outer(from, to, for_v, r.m, sums.v, [&](Long i) { return Rows<T>{(T *)tile.x(i), r.x_row}; });
    if (sums.columns)
      in_panels<T>(width, crew, [&](Long column, int vectors) {
        for (Long j = column; j < column + vectors * L; j += L) {
          Vec<T> sum = load(sums.columns + j);
          for (Long k = 0; k < count; k++) sum += load_row(for_w + k * plan.wide, j, width);
          store(sums.columns + j, sum);
        }
      });
  }

  /* Write a product into rows of n numbers, this member's columns, and what is to be added to it. */
  UZ_MEMBER void write_product(const Factors<T> &factors, Long n, T *to, const T *plus = nullptr) const {
    const Factors<T> f[] = {factors};
    multiply_rows<T>(tile.rows, n, crew, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
          Vec<T> sum = load(c + (i * vectors + v) * L);
          if (plus) sum += load(plus + (row + i) * plan.row + column + v * L);
          store_row(to + (row + i) * n, column + v * L, n, sum);
        }
    });
  }
  UZ_MEMBER void write_dx(Long step, const T *gradients) const {
    const Factors<T> f = {gradients, plan.wide, outputs(r), (const T *)r.v_back, nullptr, 0, 0, nullptr, nullptr};
    write_product(f, r.m, (T *)r.dx + (step * r.batch + tile.begin) * r.m);
  }
};

/* Run a tile back through all steps, a segment at a time if its states are recomputed, and a chunk at a time. */
template <class T, class PASS>
UZ_INLINE void run_backward(const PASS &pass) {
  const uz_recurrence &r = pass.r;
  const Plan<T> &plan = pass.plan;
  const Long steps = pass.tile.steps(), whole = plan.segment ? plan.segment : steps, slot = pass.tile.rows * plan.wide;
  const T *after = nullptr;
  if (r.dx && pass.crew.leads()) {
    const Long width = r.m ? r.m : r.n;
    for (Long step = steps; step < r.steps; step++)
      memset((T *)r.dx + (step * r.batch + pass.tile.begin) * width, 0, pass.tile.rows * width * sizeof(T));
  }
  for (Long first = (steps - 1) / whole * whole, last = steps; last > 0; last = first, first -= whole) {
    const States<T> states = {pass.tile, first, r.states ? nullptr : pass.work.states};
    if (plan.segment) pass.recompute(first, last, states);
    for (Long top = last; top > first;) {
      const Long bottom = top - at_most(plan.chunk, top - first);
      T *gradients = pass.work.gradients + (gated(r) && plan.segment ? (bottom - first) * slot : 0);
      for (Long step = top - 1; step >= bottom; step--) {
        T *d = gradients + (step - bottom) * slot;
        pass.step(step, after, d, states);
        pass.clear_ended(step, d);
        pass.crew.wait();
        if (r.dx && r.m) pass.input_step(step, d);
        if (pass.tile.factored) {
          const Rows<T> h = states.at(step);
          pass.tile.factored.backward(pass.tile.active(step), h.at, h.stride, pass.tile.rows, d, pass.sums.w);
        }
        after = d;
      }
      pass.add(bottom, top, gradients, states);
      if (pass.crew.leads()) memcpy(pass.work.carried, after, slot * sizeof(T)); /* its place is written again */
      pass.crew.wait();
      after = pass.work.carried;
      top = bottom;
    }
  }
  if (r.dh0) pass.write_product(pass.through_w(after), r.n, (T *)r.dh0 + pass.tile.begin * r.n, pass.of_first_state());
}

template <class T, int ACTIVATION>
struct Backward : BackwardBase<T> {
  typedef BackwardBase<T> Base;
  using Base::L, Base::r, Base::plan, Base::tile, Base::work, Base::sums, Base::crew;

  void recompute(Long first, Long last, const States<T> &states) const {
    const Tile<T, ACTIVATION> tile = {this->tile};
    /* h(last) too, since the derivative at a step is a function of the state after it. */
    for (Long s = first + 1; s <= last; s++)
      if (!states.kept(s)) {
        tile.forward_step(s - 1, states.at(s - 1), states.at(s), true, false);
        crew.wait();
      }
  }

  /* Write the gradient of the pre-activations at `step` into dz; `after` is that of the next step. */
  UZ_MEMBER void step(Long step, const T *after, T *dz, const States<T> &states) const {
    const Long n = r.n;
    const T *grad = this->gradient_of_result(step);
    const Long in_result = this->first_in_result(step);
    const Rows<T> h = states.at(step + 1);
    T *dx = r.dx && !r.m ? (T *)r.dx + (step * r.batch + tile.begin) * n : nullptr;
    const T slope = (T)r.slope;
    const T *threshold = (const T *)r.threshold;
    const Signs<T> signs = tile.signs();
    const Factors<T> f[] = {this->through_w(after)};
    const T *by_factors = after && tile.factored ? tile.factored.gradient : nullptr;
    multiply_rows<T>(tile.active(step), n, crew, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int v = 0; v < vectors; v++) {
        const Long j = column + v * L;
        const Vec<T> b = threshold ? load(threshold + j) : Vec<T>{};
        Vec<T> radial_sum = {};
        for (int i = 0; i < count; i++) {
          Vec<T> g = load(c + (i * vectors + v) * L), radial = {};
          if (by_factors) g += load(by_factors + (row + i) * plan.row + j);
          if (row + i >= in_result) g += load_row(grad + (row + i) * r.grad_row, j, n);
          Mask<T> negative = {};
          if constexpr (ACTIVATION == UZ_ABS) negative = signs.get(step, row + i, j);
          const Vec<T> state = load_row(h.at + (row + i) * h.stride, j, n);
          const Vec<T> d = derive<T, ACTIVATION>(g, state, negative, b, slope, radial);
          radial_sum += radial;
          store(dz + (row + i) * plan.wide + j, d);
          if (dx) store_row(dx + (row + i) * n, j, n, d);
        }
        if (sums.threshold) store(sums.threshold + j, load(sums.threshold + j) + radial_sum);
      }
    });
  }

  void input_step(Long step, const T *dz) const { this->write_dx(step, dz); }
  void add(Long from, Long to, const T *dz, const States<T> &states) const { this->add_sums(from, to, dz, dz, r.n, states); }
  const T *of_first_state() const { return tile.factored ? tile.factored.gradient : nullptr; }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
