/* The recurrence and its gradient for one slice of the batch; compiled once for each instruction set.
 *
 * A tile of batch rows runs through all steps by itself: no step needs another row, so nothing synchronises and the tile's states
 * stay in cache. Where the states are not kept the backward pass recomputes them, a segment at a time, in the workspace.
 *
 * Every product goes through one micro-kernel, `multiply`: UZ_MR rows by UZ_NV vectors of the result in registers, the right
 * factor packed in panels of UZ_NV vectors, padded with zeros to whole vectors.
 */
#include "kernel.h"
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

/* ------------------------------------------------------------------------------------------------------------- products */

enum Order { ROW_MAJOR, SUM_MAJOR }; /* a(row, k) at a[row * lda + k], or at a[k * lda + row] */

template <class T, int MR, int NV, Order ORDER>
UZ_INLINE void multiply(Vec<T> (&sum)[MR][NV], const T *a, Long lda, Long count, const T *b) {
  constexpr int L = Simd<T>::L;
  for (Long k = 0; k < count; k++, b += NV * L) {
    Vec<T> right[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) right[v] = load(b + v * L);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const T left = ORDER == ROW_MAJOR ? a[r * lda + k] : a[k * lda + r];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[r][v] += left * right[v];
    }
  }
}

/* A product a b + a2 b2 with the right factors packed; init is the start of every row, or null. */
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

/* The same functions for a number of rows and vectors known at run time. */
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

/* [begin, end) in parts of nearly equal size, at most `most`: use(first, count). */
template <class F>
UZ_INLINE void in_parts(Long begin, Long end, Long most, F &&use) {
  const Long parts = ceil_div(end - begin, most), size = (end - begin) / parts, larger = end - begin - size * parts;
  for (Long i = 0; i < parts; i++) {
    const Long count = size + (i < larger);
    use(begin, count);
    begin += count;
  }
}

/* Columns in panels: use(first column, vectors). */
template <class T, class F>
UZ_INLINE void in_panels(Long n, F &&use) {
  constexpr Long L = Simd<T>::L;
  for (Long column = 0; column < n; column += UZ_NV * L) use(column, (int)at_most(UZ_NV, ceil_div(n - column, L)));
}

/* The product for `rows` rows and n columns; each block of it goes to `then(row, rows, column, vectors, block)` while in L1. */
template <class T, class F>
UZ_INLINE void multiply_rows(Long rows, Long n, const Factors<T> &f, F &&then) {
  alignas(64) T c[UZ_MR * UZ_NV * Simd<T>::L];
  in_panels<T>(n, [&](Long column, int vectors) {
    in_parts(0, rows, UZ_MR, [&](Long row, Long count) {
      product<T>((int)count, vectors, f, row, column, c);
      then(row, (int)count, column, vectors, c);
    });
  });
}

/* ----------------------------------------------------------------------------------------------- rows with or without pad */

/* Numbers of a row of n from `column` on: a whole vector if there is room, else what is left of the row. */
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

/* ------------------------------------------------------------------------------------------------------------ activations */

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

/* ------------------------------------------------------------------------------------------------------------------ plan */

/* How a call on `rows` rows goes about it. */
template <class T>
struct Plan {
  Long tile;    /* batch rows that run together */
  Long segment; /* steps whose states are in the workspace at a time; 0: all are in task.states */
  Long chunk;   /* steps whose gradients are summed into dW at a time */
  Long row;     /* numbers between rows of n in the workspace */
  Long panel;   /* numbers of the packed right factor of that sum */

  Plan(const uz_task &t, Long rows) {
    /* With W beyond half of a usual second-level cache it is read from further away in every step: more rows share it. */
    const Long most = t.n * padded<T>(t.n) * (Long)sizeof(T) <= 640 * 1024 ? 24 : 72;
    tile = ceil_div(rows, ceil_div(rows, most));
    chunk = at_most(t.steps, ceil_div(192, tile));
    segment = t.states ? 0 : at_most(t.steps, t.segment);
    /* An odd number of lines, so that equal columns of many rows do not meet in one set of a cache. */
    row = padded<T>(t.n);
    if (row * sizeof(T) >= 512) row += (row * sizeof(T) / 64 % 2 == 0) * 64 / sizeof(T);
    panel = chunk * tile * UZ_NV * Simd<T>::L;
  }
};

/* Parts of the workspace, each on its own cache lines; counts only if there is none. */
struct Arena {
  uintptr_t next;
  explicit Arena(void *work) : next(((uintptr_t)work + 63) & ~(uintptr_t)63) {}
  template <class T>
  T *take(Long count) {
    T *p = (T *)next;
    next += (uintptr_t)ceil_div(count * (Long)sizeof(T), 64) * 64;
    return p;
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

/* Rows of a tile at some step. */
template <class T>
struct Rows {
  T *at;
  Long stride;
};

/* --------------------------------------------------------------------------------------------------------------- one tile */

template <class T, int ACTIVATION>
struct Tile {
  static constexpr int L = Simd<T>::L;
  const uz_task &t;
  const Plan<T> &plan;
  Long begin, rows; /* of the batch */

  const T *x(Long step) const { return (const T *)t.x + step * t.x_step + begin * t.x_row; }
  Rows<T> h0() const { return {(T *)t.h0 + begin * t.h0_row, t.h0_row}; }
  Rows<T> state_out(Long step) const { return {(T *)t.states + (step * t.batch + begin) * t.n, t.n}; }
  T *kept(Long index) const { return (T *)t.kept + (index * t.batch + begin) * t.n; }
  Signs<T> signs() const {
    if (!t.signs) return {};
    const Long row = padded<T>(t.n);
    return {(typename Number<T>::Int *)t.signs + begin * row, t.batch * row, row};
  }

  /* h(step + 1) from h(step), with steps counted from 0: `to` has padded rows or rows of n. */
  UZ_MEMBER void forward_step(Long step, Rows<T> from, Rows<T> to, bool pad, bool note_signs) const {
    const T *raw = t.m ? x(step) : nullptr, *pre = t.m ? nullptr : x(step);
    const Factors<T> f = {from.at, from.stride, t.n, (const T *)t.w, raw, t.x_row, t.m, (const T *)t.v, (const T *)t.bias};
    const Long n = t.n, width = pad ? padded<T>(n) : n, x_row = t.x_row;
    const T slope = (T)t.slope;
    const T *threshold = (const T *)t.threshold;
    const Signs<T> signs = this->signs();
    bool zeros = false;
    multiply_rows<T>(rows, n, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int v = 0; v < vectors; v++) {
        const Long j = column + v * L;
        const Vec<T> b = threshold ? load(threshold + j) : Vec<T>{};
        Mask<T> zero = {};
        for (int r = 0; r < count; r++) {
          Vec<T> z = load(c + (r * vectors + v) * L);
          if (pre) z += load_row(pre + (row + r) * x_row, j, n);
          if constexpr (ACTIVATION == UZ_ABS)
            if (note_signs) {
              signs.put(step, row + r, j, z < 0);
              zero |= z == 0;
            }
          store_row(to.at + (row + r) * to.stride, j, width, activate<T, ACTIVATION>(z, b, slope));
        }
        if constexpr (ACTIVATION == UZ_ABS)
          for (int i = 0; i < at_most(L, n - j); i++) zeros |= zero[i] != 0;
      }
    });
    if (zeros && t.zeros) ((char *)t.zeros)[begin] = 1;
  }

  void forward(void *work) const {
    Arena arena(work);
    T *pair[2] = {arena.take<T>(rows * plan.row), arena.take<T>(rows * plan.row)};
    Rows<T> h = h0();
    for (Long step = 0; step < t.steps; step++) {
      const bool pad = !t.states;
      const Rows<T> to = pad ? Rows<T>{pair[step % 2], plan.row} : state_out(step);
      forward_step(step, h, to, pad, t.signs);
      h = to;
      const Long done = step + 1;
      if (t.kept && done % t.keep == 0 && done < t.steps) copy_rows(rows, t.n, h.at, h.stride, kept(done / t.keep - 1), t.n);
    }
    if (t.last) copy_rows(rows, t.n, h.at, h.stride, (T *)t.last + begin * t.n, t.n);
  }

  /* h(step) from h(step + 1) by W^T, into padded rows; `spare` holds as many rows. */
  UZ_MEMBER void reverse_step(Long step, Rows<T> from, Rows<T> to, T *spare) const {
    /* W h = z - V x - b, with z = h(step + 1) or, for |z|, with the sign put back. */
    const Factors<T> input = {nullptr, 0, 0, nullptr, t.m ? x(step) : nullptr, t.x_row, t.m, (const T *)t.v, (const T *)t.bias};
    const T *pre = t.m ? nullptr : x(step);
    const Long n = t.n, stride = plan.row;
    const Signs<T> signs = this->signs();
    multiply_rows<T>(rows, n, input, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++) {
          const Long j = column + v * L;
          Vec<T> z = load_row(from.at + (row + r) * from.stride, j, n);
          if constexpr (ACTIVATION == UZ_ABS) z = signs.get(step, row + r, j) ? -z : z;
          Vec<T> u = load(c + (r * vectors + v) * L);
          if (pre) u += load_row(pre + (row + r) * t.x_row, j, n);
          store(spare + (row + r) * stride + j, z - u);
        }
    });
    const Factors<T> back = {spare, stride, n, (const T *)t.w_back, nullptr, 0, 0, nullptr, nullptr};
    multiply_rows<T>(rows, n, back, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++)
          store(to.at + (row + r) * to.stride + column + v * L, load(c + (r * vectors + v) * L));
    });
  }

  /* Sums of a call, in the workspace: dW and dV in the layout of packed panels. */
  struct Sums {
    T *w, *v, *bias, *threshold; /* padded; null where not wanted */
    Sums(const uz_task &t, const uz_sums &wanted, Arena &arena) {
      const Long n = padded<T>(t.n);
      w = wanted.dw ? arena.take<T>(t.n * n) : nullptr;
      v = wanted.dv ? arena.take<T>(t.n * padded<T>(t.m)) : nullptr;
      bias = wanted.dbias ? arena.take<T>(n) : nullptr;
      threshold = wanted.dthreshold ? arena.take<T>(n) : nullptr;
    }
  };

  /* What the backward pass of a tile works in. */
  struct Buffers {
    T *states;          /* (segment + 1, tile) rows */
    T *gradients;       /* (chunk, tile) rows: of the pre-activations */
    T *spare, *carried; /* tile rows */
    T *panel;           /* of the right factor of the sums */
    Buffers(const Plan<T> &plan, Arena &arena) {
      states = arena.take<T>(plan.segment ? (plan.segment + 1) * plan.tile * plan.row : 0);
      gradients = arena.take<T>(plan.chunk * plan.tile * plan.row);
      spare = arena.take<T>(plan.tile * plan.row);
      carried = arena.take<T>(plan.tile * plan.row);
      panel = arena.take<T>(plan.panel);
    }
  };

  /* h(s), with steps counted from 0, for first <= s <= last, wherever it is. */
  struct States {
    const Tile &tile;
    Long first;
    T *found; /* h(first + 1), ... in the workspace; null if all are in t.states */

    Rows<T> in_workspace(Long s) const { return {found + (s - first - 1) * tile.rows * tile.plan.row, tile.plan.row}; }
    bool kept(Long s) const { return tile.t.keep && s % tile.t.keep == 0 && s < tile.t.steps; }
    Rows<T> at(Long s) const {
      if (s == 0) return tile.h0();
      if (!found) return tile.state_out(s - 1);
      if (kept(s)) return {tile.kept(s / tile.t.keep - 1), tile.t.n};
      return in_workspace(s);
    }
  };

  States recompute(Long first, Long last, const Buffers &work) const {
    const States states = {*this, first, work.states};
    /* h(last) too: the derivative at a step is a function of the state it ends in. */
    for (Long s = first + 1; s <= last; s++)
      if (!states.kept(s)) forward_step(s - 1, states.at(s - 1), states.at(s), true, false);
    return states;
  }

  /* The same from its end. The workspace holds h(last), and afterwards h(first), at its start. */
  States run_back(Long first, Long last, const Buffers &work) const {
    const Long size = rows * plan.row;
    const States states = {*this, first, work.states + size};
    memmove(states.in_workspace(last).at, work.states, size * sizeof(T));
    for (Long s = last; s > first; s--) reverse_step(s - 1, states.in_workspace(s), states.in_workspace(s - 1), work.spare);
    if (first == 0) copy_rows(rows, t.n, work.states, plan.row, (T *)t.start + begin * t.n, t.n);
    return states;
  }

  /* dW, dV and db += the sums over steps [from, to), whose gradients are in the workspace. */
  void add_sums(Long from, Long to, const States &states, const Buffers &work, const Sums &sums) const {
    const Long count = (to - from) * rows;
    if (sums.w) add_outer(from, to, t.n, sums.w, work, [&](Long i) { return states.at(i); });
    if (sums.v) add_outer(from, to, t.m, sums.v, work, [&](Long i) { return Rows<T>{(T *)x(i), t.x_row}; });
    if (sums.bias)
      for (Long j = 0; j < t.n; j += L) {
        Vec<T> sum = {};
        for (Long k = 0; k < count; k++) sum += load(work.gradients + k * plan.row + j);
        store(sums.bias + j, load(sums.bias + j) + sum);
      }
  }

  template <class F>
  UZ_MEMBER void add_outer(Long from, Long to, Long n, T *sum, const Buffers &work, F &&factor) const {
    const Long count = (to - from) * rows;
    in_panels<T>(n, [&](Long column, int vectors) {
      T *p = work.panel;
      for (Long i = from; i < to; i++) {
        const Rows<T> h = factor(i);
        for (Long r = 0; r < rows; r++)
          for (int v = 0; v < vectors; v++, p += L) store(p, load_row(h.at + r * h.stride, column + v * L, n));
      }
      in_parts(0, t.n, UZ_MR, [&](Long row, Long height) {
        outer<T>((int)height, vectors, work.gradients + row, plan.row, count, work.panel, sum + t.n * column + row * vectors * L);
      });
    });
  }

  /* The gradient of z(step) from dz(step + 1), `after`; null at the end, where only the result's own gradient is. */
  UZ_MEMBER void backward_step(Long step, const T *after, T *dz, Rows<T> h, const Sums &sums) const {
    const Long n = t.n;
    const bool outside = step + 1 == t.steps || !t.grad_last;
    const T *grad = outside ? (const T *)t.grad + (t.grad_last ? 0 : step * t.grad_step) + begin * t.grad_row : nullptr;
    T *dx = t.dx && !t.m ? (T *)t.dx + (step * t.batch + begin) * n : nullptr;
    const T slope = (T)t.slope;
    const T *threshold = (const T *)t.threshold;
    const Signs<T> signs = this->signs();
    const Factors<T> f = {after, plan.row, after ? n : 0, (const T *)t.w_back, nullptr, 0, 0, nullptr, nullptr};
    multiply_rows<T>(rows, n, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int v = 0; v < vectors; v++) {
        const Long j = column + v * L;
        const Vec<T> b = threshold ? load(threshold + j) : Vec<T>{};
        Vec<T> radial_sum = {};
        for (int r = 0; r < count; r++) {
          Vec<T> g = load(c + (r * vectors + v) * L), radial = {};
          if (grad) g += load_row(grad + (row + r) * t.grad_row, j, n);
          Mask<T> negative = {};
          if constexpr (ACTIVATION == UZ_ABS) negative = signs.get(step, row + r, j);
          const Vec<T> state = load_row(h.at + (row + r) * h.stride, j, n);
          const Vec<T> d = derive<T, ACTIVATION>(g, state, negative, b, slope, radial);
          radial_sum += radial;
          store(dz + (row + r) * plan.row + j, d);
          if (dx) store_row(dx + (row + r) * n, j, n, d);
        }
        if (sums.threshold) store(sums.threshold + j, load(sums.threshold + j) + radial_sum);
      }
    });
  }

  /* dz W into rows of n, or dz V. */
  UZ_MEMBER void gradient_of_input(const T *dz, const T *factor, Long n, T *to) const {
    const Factors<T> f = {dz, plan.row, t.n, factor, nullptr, 0, 0, nullptr, nullptr};
    multiply_rows<T>(rows, n, f, [&](Long row, int count, Long column, int vectors, const T *c) {
      for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++)
          store_row(to + (row + r) * n, column + v * L, n, load(c + (r * vectors + v) * L));
    });
  }

  void backward(const Buffers &work, const Sums &sums) const {
    const Long whole = plan.segment ? plan.segment : t.steps;
    const Long slot = rows * plan.row;
    const T *after = nullptr;
    if (t.reverse) copy_rows(rows, t.n, (const T *)t.last + begin * t.n, t.n, work.states, plan.row);
    for (Long first = (t.steps - 1) / whole * whole, last = t.steps; last > 0; last = first, first -= whole) {
      const States states = !plan.segment ? States{*this, 0, nullptr} : t.reverse ? run_back(first, last, work) : recompute(first, last, work);
      for (Long top = last; top > first;) {
        const Long bottom = top - at_most(plan.chunk, top - first);
        for (Long step = top - 1; step >= bottom; step--) {
          T *dz = work.gradients + (step - bottom) * slot;
          backward_step(step, after, dz, states.at(step + 1), sums);
          if (t.dx && t.m) gradient_of_input(dz, (const T *)t.v_back, t.m, (T *)t.dx + (step * t.batch + begin) * t.m);
          after = dz;
        }
        add_sums(bottom, top, states, work, sums);
        memcpy(work.carried, after, slot * sizeof(T)); /* its place belongs to the next chunk */
        after = work.carried;
        top = bottom;
      }
    }
    if (t.dh0) gradient_of_input(after, (const T *)t.w_back, t.n, (T *)t.dh0 + begin * t.n);
  }
};

/* ---------------------------------------------------------------------------------------------------------------- entries */

template <class T, int ACTIVATION>
Long work_bytes(const uz_task &t, Long rows, int backward) {
  const Plan<T> plan(t, rows);
  Arena arena(nullptr);
  if (backward) {
    const uz_sums all = {&arena, &arena, &arena, &arena};
    typename Tile<T, ACTIVATION>::Sums(t, all, arena);
    typename Tile<T, ACTIVATION>::Buffers(plan, arena);
  } else {
    for (int i = 0; i < 2; i++) arena.take<T>(plan.tile * plan.row);
  }
  return (Long)arena.next + 64; /* room to align the start */
}

template <class T, int ACTIVATION>
void forward(const uz_task &t, Long begin, Long end, void *work) {
  const Plan<T> plan(t, end - begin);
  in_parts(begin, end, plan.tile, [&](Long row, Long rows) { Tile<T, ACTIVATION>{t, plan, row, rows}.forward(work); });
}

/* From panels (n rows each) to a matrix (n, columns). */
template <class T>
void unpack(Long n, Long columns, const T *panels, void *to) {
  constexpr int L = Simd<T>::L;
  in_panels<T>(columns, [&](Long column, int vectors) {
    for (Long i = 0; i < n; i++)
      for (int v = 0; v < vectors; v++)
        store_row((T *)to + i * columns, column + v * L, columns, load(panels + n * column + (i * vectors + v) * L));
  });
}

template <class T, int ACTIVATION>
void backward(const uz_task &t, Long begin, Long end, const uz_sums &wanted, void *work) {
  typedef Tile<T, ACTIVATION> Tile;
  const Plan<T> plan(t, end - begin);
  Arena arena(work);
  const Arena zeroed = arena;
  const typename Tile::Sums sums(t, wanted, arena);
  memset((void *)zeroed.next, 0, arena.next - zeroed.next);
  const typename Tile::Buffers buffers(plan, arena);
  in_parts(begin, end, plan.tile, [&](Long row, Long rows) { Tile{t, plan, row, rows}.backward(buffers, sums); });
  if (sums.w) unpack(t.n, t.n, sums.w, wanted.dw);
  if (sums.v) unpack(t.n, t.m, sums.v, wanted.dv);
  if (sums.bias) unpack(1, t.n, sums.bias, wanted.dbias);
  if (sums.threshold) unpack(1, t.n, sums.threshold, wanted.dthreshold);
}

template <class T>
Long pack_bytes(Long rows, Long cols) {
  return rows * padded<T>(cols) * (Long)sizeof(T);
}

template <class T>
void pack(int embed, Long rows, Long cols, const void *from, Long k_stride, Long j_stride, void *to) {
  const T *a = (const T *)from;
  T *p = (T *)to;
  const auto element = [&](Long k, Long j) -> T {
    if (!embed) return a[k * k_stride + j * j_stride];
    /* Blocks [[re, -im], [im, re]], rows for the output. */
    const T *pair = a + 2 * (k / 2 * k_stride + j / 2 * j_stride);
    if (k % 2 == j % 2) return pair[0];
    const bool output_odd = embed == 1 ? j % 2 : k % 2;
    return output_odd ? pair[1] : -pair[1];
  };
  in_panels<T>(cols, [&](Long column, int vectors) {
    for (Long k = 0; k < rows; k++)
      for (Long j = column; j < column + vectors * Simd<T>::L; j++) *p++ = j < cols ? element(k, j) : 0;
  });
}

template <class T>
Long sign_bytes(const uz_task &t) {
  return ceil_div(t.steps, Signs<T>::BITS) * t.batch * padded<T>(t.n) * (Long)sizeof(T);
}

/* ------------------------------------------------------------------------------------------- from run-time to compile-time */

template <class F>
UZ_INLINE auto with_activation(Long activation, F &&use) {
  switch (activation) {
#define UZ_CASE(NAME) \
  case NAME:          \
    return use(Constant<NAME>());
    UZ_CASE(UZ_RELU)
    UZ_CASE(UZ_LEAKY_RELU)
    UZ_CASE(UZ_ABS)
    UZ_CASE(UZ_TANH)
    UZ_CASE(UZ_SIGMOID)
    UZ_CASE(UZ_MODRELU)
    UZ_CASE(UZ_COMPLEX_MODRELU)
#undef UZ_CASE
    default:
      return use(Constant<UZ_IDENTITY>());
  }
}

Long entry_pack_bytes(int is_double, Long rows, Long cols) {
  return is_double ? pack_bytes<double>(rows, cols) : pack_bytes<float>(rows, cols);
}

void entry_pack(int is_double, int embed, Long rows, Long cols, const void *a, Long k_stride, Long j_stride, void *packed) {
  (is_double ? pack<double> : pack<float>)(embed, rows, cols, a, k_stride, j_stride, packed);
}

Long entry_sign_bytes(const uz_task &t) { return t.is_double ? sign_bytes<double>(t) : sign_bytes<float>(t); }

Long entry_work_bytes(const uz_task &t, Long rows, int backward) {
  return with_activation(t.activation, [&](auto a) {
    return (t.is_double ? work_bytes<double, a.value> : work_bytes<float, a.value>)(t, rows, backward);
  });
}

void entry_forward(const uz_task &t, Long begin, Long end, void *work) {
  with_activation(t.activation, [&](auto a) {
    (t.is_double ? forward<double, a.value> : forward<float, a.value>)(t, begin, end, work);
  });
}

void entry_backward(const uz_task &t, Long begin, Long end, const uz_sums &sums, void *work) {
  with_activation(t.activation, [&](auto a) {
    (t.is_double ? backward<double, a.value> : backward<float, a.value>)(t, begin, end, sums, work);
  });
}

}  // namespace
}  // namespace UZ_ISA

#define UZ_TABLE_(isa) table_##isa
#define UZ_TABLE(isa) UZ_TABLE_(isa)
const Kernel UZ_TABLE(UZ_ISA) = {UZ_ISA::entry_pack_bytes, UZ_ISA::entry_pack,    UZ_ISA::entry_sign_bytes,
                                 UZ_ISA::entry_work_bytes, UZ_ISA::entry_forward, UZ_ISA::entry_backward};

}  // namespace uz
