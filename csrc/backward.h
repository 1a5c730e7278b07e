/* The backward pass of a tile. It recomputes the states that were not kept, a segment at a time, in the workspace. */
#pragma once
#include "tile.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* The sums of a slice, dW and dV in the layout of packed panels. */
template <class T>
struct Sums {
  T *w, *v, *bias, *threshold; /* padded; null if not wanted */
  Sums(const uz_recurrence &r, const uz_sums &wanted, Arena &arena) {
    const Long n = padded<T>(r.n);
    w = wanted.dw ? arena.take<T>(r.n * n) : nullptr;
    v = wanted.dv ? arena.take<T>(r.n * padded<T>(r.m)) : nullptr;
    bias = wanted.dbias ? arena.take<T>(n) : nullptr;
    threshold = wanted.dthreshold ? arena.take<T>(n) : nullptr;
  }
};

/* The arrays in the workspace that a tile uses and the next tile reuses. */
template <class T>
struct Buffers {
  T *states;    /* (segment, tile) rows */
  T *gradients; /* (chunk, tile) rows: of the pre-activations */
  T *carried;   /* (tile) rows: the gradients of the step after the chunk */
  T *panel;     /* the packed right factor of the sums, for each member of the crew */
  Buffers(const Plan<T> &plan, Arena &arena, const Crew &crew) {
    states = arena.take<T>(plan.segment * plan.tile * plan.row);
    gradients = arena.take<T>(plan.chunk * plan.tile * plan.row);
    carried = arena.take<T>(plan.tile * plan.row);
    panel = arena.take<T>(plan.panel * crew.size) + plan.panel * crew.rank;
  }
};

/* Where h(s) is, for first <= s <= last; h(0) is the initial state, and h(s + 1) follows from h(s) at step s. */
template <class T, int ACTIVATION>
struct States {
  const Tile<T, ACTIVATION> &tile;
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

template <class T, int ACTIVATION>
struct Backward {
  static constexpr int L = Simd<T>::L;
  typedef uz::UZ_ISA::States<T, ACTIVATION> States;
  const uz_recurrence &r;
  const Plan<T> &plan;
  const Tile<T, ACTIVATION> &tile;
  const Buffers<T> &work;
  const Sums<T> &sums;
  const Crew &crew;

  Long x_width() const { return r.m ? r.m : r.n; }

  States recompute(Long first, Long last) const {
    const States states = {tile, first, work.states};
    /* h(last) too, since the derivative at a step is a function of the state after it. */
    for (Long s = first + 1; s <= last; s++)
      if (!states.kept(s)) {
        tile.forward_step(s - 1, states.at(s - 1), states.at(s), true, false);
        crew.wait();
      }
    return states;
  }

  /* Add to dW, dV and db the sums over steps [from, to), whose gradients are in the workspace. */
  void add_sums(Long from, Long to, const States &states) const {
    const Long count = (to - from) * tile.rows;
    if (sums.w) add_outer(from, to, r.n, sums.w, [&](Long i) { return states.at(i); });
    if (sums.v) add_outer(from, to, r.m, sums.v, [&](Long i) { return Rows<T>{(T *)tile.x(i), r.x_row}; });
    if (sums.bias)
      in_panels<T>(r.n, crew, [&](Long column, int vectors) {
        for (Long j = column; j < column + vectors * L; j += L) {
          Vec<T> sum = {};
          for (Long k = 0; k < count; k++) sum += load(work.gradients + k * plan.row + j);
          store(sums.bias + j, load(sums.bias + j) + sum);
        }
      });
  }

  /* Add to `sum` the gradients of steps [from, to), transposed, times the rows of n numbers at factor(step). */
  template <class F>
  UZ_MEMBER void add_outer(Long from, Long to, Long n, T *sum, F &&factor) const {
    const Long count = (to - from) * tile.rows;
    in_panels<T>(n, crew, [&](Long column, int vectors) {
      T *p = work.panel;
      for (Long i = from; i < to; i++) {
        const Rows<T> h = factor(i);
        const Long active = tile.active(i);
        for (Long row = 0; row < tile.rows; row++)
          for (int v = 0; v < vectors; v++, p += L)
            store(p, row < active ? load_row(h.at + row * h.stride, column + v * L, n) : Vec<T>{});
      }
      in_parts(0, r.n, UZ_MR, [&](Long row, Long height) {
        outer<T>((int)height, vectors, work.gradients + row, plan.row, count, work.panel, sum + r.n * column + row * vectors * L);
      });
    });
  }

  /* Write the gradient of the pre-activations at `step` into dz; it is zero in rows that have ended before.
   * `after` is that of the next step, or null at the last step, where the state has no gradient but that of the result. */
  UZ_MEMBER void backward_step(Long step, const T *after, T *dz, Rows<T> h) const {
    const Long n = r.n;
    const Long active = tile.active(step), first_in_result = r.grad_last ? tile.active(step + 1) : 0;
    const T *grad = (const T *)r.grad + (r.grad_last ? 0 : step * r.grad_step) + tile.begin * r.grad_row;
    T *dx = r.dx && !r.m ? (T *)r.dx + (step * r.batch + tile.begin) * n : nullptr;
    const T slope = (T)r.slope;
    const T *threshold = (const T *)r.threshold;
    const Signs<T> signs = tile.signs();
    const Factors<T> f = {after, plan.row, after ? n : 0, (const T *)r.w_back, nullptr, 0, 0, nullptr, nullptr};
    multiply_rows<T>(active, n, crew, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int v = 0; v < vectors; v++) {
        const Long j = column + v * L;
        const Vec<T> b = threshold ? load(threshold + j) : Vec<T>{};
        Vec<T> radial_sum = {};
        for (int i = 0; i < count; i++) {
          Vec<T> g = load(c + (i * vectors + v) * L), radial = {};
          if (row + i >= first_in_result) g += load_row(grad + (row + i) * r.grad_row, j, n);
          Mask<T> negative = {};
          if constexpr (ACTIVATION == UZ_ABS) negative = signs.get(step, row + i, j);
          const Vec<T> state = load_row(h.at + (row + i) * h.stride, j, n);
          const Vec<T> d = derive<T, ACTIVATION>(g, state, negative, b, slope, radial);
          radial_sum += radial;
          store(dz + (row + i) * plan.row + j, d);
          if (dx) store_row(dx + (row + i) * n, j, n, d);
        }
        if (sums.threshold) store(sums.threshold + j, load(sums.threshold + j) + radial_sum);
      }
    });
    if (active < tile.rows && crew.leads()) {
      memset(dz + active * plan.row, 0, (tile.rows - active) * plan.row * sizeof(T));
      if (dx) memset(dx + active * n, 0, (tile.rows - active) * n * sizeof(T));
    }
  }

  /* Write dz times a packed factor into rows of n numbers, dz W or dz V: this member's columns. */
  UZ_MEMBER void gradient_of_input(const T *dz, const T *factor, Long n, T *to) const {
    const Factors<T> f = {dz, plan.row, r.n, factor, nullptr, 0, 0, nullptr, nullptr};
    multiply_rows<T>(tile.rows, n, crew, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++)
          store_row(to + (row + i) * n, column + v * L, n, load(c + (i * vectors + v) * L));
    });
  }

  void run() const {
    const Long steps = tile.steps(), whole = plan.segment ? plan.segment : steps;
    const Long slot = tile.rows * plan.row;
    const T *after = nullptr;
    if (r.dx && crew.leads())
      for (Long step = steps; step < r.steps; step++)
        memset((T *)r.dx + (step * r.batch + tile.begin) * x_width(), 0, tile.rows * x_width() * sizeof(T));
    for (Long first = (steps - 1) / whole * whole, last = steps; last > 0; last = first, first -= whole) {
      const States states = plan.segment ? recompute(first, last) : States{tile, 0, nullptr};
      for (Long top = last; top > first;) {
        const Long bottom = top - at_most(plan.chunk, top - first);
        for (Long step = top - 1; step >= bottom; step--) {
          T *dz = work.gradients + (step - bottom) * slot;
          backward_step(step, after, dz, states.at(step + 1));
          crew.wait();
          if (r.dx && r.m) gradient_of_input(dz, (const T *)r.v_back, r.m, (T *)r.dx + (step * r.batch + tile.begin) * r.m);
          after = dz;
        }
        add_sums(bottom, top, states);
        if (crew.leads()) memcpy(work.carried, after, slot * sizeof(T)); /* the next chunk overwrites its place */
        crew.wait();
        after = work.carried;
        top = bottom;
      }
    }
    if (r.dh0) gradient_of_input(after, (const T *)r.w_back, r.n, (T *)r.dh0 + tile.begin * r.n);
  }
};

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
