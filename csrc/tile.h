/* The forward pass of a tile: batch rows that run together through all steps. */
#pragma once
#include "activations.h"
#include "factored.h"

namespace uz {
namespace UZ_ISA {
namespace {

/* Numbers between rows of n in the workspace. */
template <class T>
UZ_INLINE Long spread(Long n) {
  /* An odd number of cache lines, so that equal columns of many rows do not fall into one set of a cache. */
  const Long row = padded<T>(n), line = 64 / sizeof(T);
  return row * sizeof(T) >= 512 && row / line % 2 == 0 ? row + line : row;
}

UZ_INLINE bool gated(const uz_recurrence &r) { return r.activation == UZ_GATED; }
/* Rows of W. */
UZ_INLINE Long outputs(const uz_recurrence &r) { return gated(r) ? 3 * r.n : r.n; }

/* How a call on `rows` rows is divided. */
template <class T>
struct Plan {
  Long tile;    /* batch rows that run together */
  Long segment; /* steps whose states, or gates, are in the workspace at a time; 0: all are in memory */
  Long chunk;   /* steps whose gradients are summed into dW at a time */
  Long row;     /* numbers between rows of n in the workspace */
  Long wide;    /* numbers between rows of gradients, which have 4 n numbers for gated units */
  Long panel;   /* numbers of the packed right factor of that sum */

  Plan(const uz_recurrence &r, Long rows) {
    /* A W larger than half of a usual second-level cache is read from beyond it in every step: more rows share each read. */
    const Long most = r.factors ? Simd<T>::L : outputs(r) * padded<T>(r.n) * (Long)sizeof(T) <= 640 * 1024 ? 24 : 72;
    tile = ceil_div(rows, ceil_div(rows, most));
    chunk = at_most(r.steps, ceil_div(192, tile));
    segment = (gated(r) ? r.gates : r.states) ? 0 : at_most(r.steps, r.segment);
    row = spread<T>(r.n);
    wide = gated(r) ? spread<T>(4 * r.n) : row;
    panel = chunk * tile * UZ_NV * Simd<T>::L;
  }
};

/* The signs of the pre-activations: bit t % BITS of word t / BITS, for each unit of each row. */
template <class T>
struct Signs {
  typedef typename Number<T>::Int Int;
  static constexpr Long BITS = 8 * sizeof(T);
  Int *words;
  Long word_stride, row_stride;

  UZ_MEMBER Int *place(Long t, Long row, Long column) const { return words + t / BITS * word_stride + row * row_stride + column; }
  UZ_MEMBER void put(Long t, Long row, Long column, Mask<T> negative) const {
    Int *p = place(t, row, column);
    const Mask<T> bit = negative & (Int)((Int)1 << (t % BITS));
    store_bits<T>(p, t % BITS ? load_bits<T>(p) | bit : bit);
  }
  UZ_MEMBER Mask<T> get(Long t, Long row, Long column) const {
    return (load_bits<T>(place(t, row, column)) & (Int)((Int)1 << (t % BITS))) != 0;
  }
};

template <class T>
Long sign_bytes(const uz_recurrence &r) {
  return ceil_div(r.steps, Signs<T>::BITS) * r.batch * padded<T>(r.n) * (Long)sizeof(T);
}

/* The rows of a tile at some step. */
template <class T>
struct Rows {
  T *at;
  Long stride;
};

/* Rows [begin, begin + rows) of the batch; steps count from 0. */
template <class T>
struct TileBase {
  static constexpr int L = Simd<T>::L;
  const uz_recurrence &r;
  const Plan<T> &plan;
  const Factored<T> &factored;
  Long begin, rows;
  const Crew &crew;

  /* How many rows have that step: the first ones. */
  Long active(Long step) const {
    if (step >= r.steps) return 0;
    Long count = rows;
    if (r.lengths)
      while (count > 0 && r.lengths[begin + count - 1] <= step) count--;
    return count;
  }
  Long steps() const { return r.lengths ? r.lengths[begin] : r.steps; }

  const T *x(Long step) const { return (const T *)r.x + step * r.x_step + begin * r.x_row; }
  Rows<T> h0() const { return {(T *)r.h0 + begin * r.h0_row, r.h0_row}; }
  Rows<T> state_out(Long step) const { return {(T *)r.states + (step * r.batch + begin) * r.n, r.n}; }
  T *kept(Long index) const { return (T *)r.kept + (index * r.batch + begin) * r.n; }
  Signs<T> signs() const {
    if (!r.signs) return {};
    const Long row = padded<T>(r.n);
    return {(typename Number<T>::Int *)r.signs + begin * row, r.batch * row, row};
  }
};

template <class T, int ACTIVATION>
struct Tile : TileBase<T> {
  using TileBase<T>::L, TileBase<T>::r, TileBase<T>::plan, TileBase<T>::factored, TileBase<T>::crew;

  /* Compute h(step + 1) from h(step), this member's columns of it. With `pad` the rows of `to` are padded; without, they have n
   * numbers. With `note` also writes what only the forward pass knows. */
  UZ_MEMBER void forward_step(Long step, Rows<T> from, Rows<T> to, bool pad, bool note) const {
    const T *x = this->x(step), *raw = r.m ? x : nullptr, *pre = r.m ? nullptr : x;
    const T *product = factored ? factored.multiply(this->active(step), from.at, from.stride) : nullptr;
    const Factors<T> f[] = {{from.at, from.stride, product ? 0 : r.n, (const T *)r.w, raw, r.x_row, r.m, (const T *)r.v, (const T *)r.bias}};
    const Long n = r.n, width = pad ? padded<T>(n) : n, x_row = r.x_row;
    const T slope = (T)r.slope;
    const T *threshold = (const T *)r.threshold;
    const Signs<T> signs = this->signs();
    multiply_rows<T>(this->active(step), n, crew, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int v = 0; v < vectors; v++) {
        const Long j = column + v * L;
        const Vec<T> b = threshold ? load(threshold + j) : Vec<T>{};
        for (int i = 0; i < count; i++) {
          Vec<T> z = load(c + (i * vectors + v) * L);
          if (product) z += load(product + (row + i) * plan.row + j);
          if (pre) z += load_row(pre + (row + i) * x_row, j, n);
          if constexpr (ACTIVATION == UZ_ABS)
            if (note && r.signs) signs.put(step, row + i, j, z < 0);
          store_row(to.at + (row + i) * to.stride, j, width, activate<T, ACTIVATION>(z, b, slope));
        }
      }
    });
  }
};

/* Run a tile through all steps. */
template <class T, class TILE>
void run_forward(const TILE &tile, T *const (&pair)[2]) {
  const uz_recurrence &r = tile.r;
  const Long row = tile.plan.row;
  Rows<T> h = tile.h0();
  for (Long step = 0; step < tile.steps(); step++) {
    const bool pad = !r.states;
    const Rows<T> to = pad ? Rows<T>{pair[step % 2], row} : tile.state_out(step);
    tile.forward_step(step, h, to, pad, true);
    tile.crew.wait();
    h = to;
    const Long done = step + 1, here = tile.active(step), left = tile.active(done);
    if (!tile.crew.leads()) continue;
    if (r.kept && done % r.keep == 0 && done < r.steps) copy_rows(here, r.n, h.at, h.stride, tile.kept(done / r.keep - 1), r.n);
    if (r.last) copy_rows(here - left, r.n, h.at + left * h.stride, h.stride, (T *)r.last + (tile.begin + left) * r.n, r.n);
  }
  tile.crew.wait(); /* the next tile uses the same workspace */
}

}  // namespace
}  // namespace UZ_ISA
}  // namespace uz
