/* The recurrences and their gradients for one slice of the batch; compiled once for each instruction set.
 *
 * A tile of batch rows runs through all steps by itself: no step needs another row, so nothing synchronises and the tile's states
 * stay in cache. tile.h has the forward pass, backward.h the backward pass, gated.h and gated_backward.h those of gated units, and
 * product.h the product, in which all spend their time.
 */
#include "gated_backward.h"
#include "kernel.h"

namespace uz {
namespace UZ_ISA {
namespace {

template <class T>
Long work_bytes(const uz_recurrence &r, Long rows, int backward, const Crew &crew) {
  const Plan<T> plan(r, rows);
  Arena arena(nullptr);
  if (backward)
    Buffers<T>(r, plan, arena, crew);
  else
    for (int i = 0; i < 2; i++) arena.take<T>(plan.tile * plan.row);
  Factored<T>(r, plan.tile, plan.row, backward, arena);
  return (Long)arena.next + 64; /* room to align the start */
}

template <class T>
Long partial_bytes(const uz_recurrence &r, const uz_sums &wanted) {
  Arena arena(nullptr);
  Sums<T>(r, wanted, arena);
  return (Long)arena.next + 64;
}

template <class T, int ACTIVATION>
void forward(const uz_recurrence &r, Long begin, Long end, void *work, const Crew &crew) {
  const Plan<T> plan(r, end - begin);
  Arena arena(work);
  T *const pair[2] = {arena.take<T>(plan.tile * plan.row), arena.take<T>(plan.tile * plan.row)};
  const Factored<T> factored(r, plan.tile, plan.row, false, arena);
  in_parts(begin, end, plan.tile, [&](Long row, Long rows) {
    run_forward<T>(Tile<T, ACTIVATION>{{r, plan, factored, row, rows, crew}}, pair);
  });
}

template <class T, int ACTIVATION>
void backward(const uz_recurrence &r, Long begin, Long end, const uz_sums &wanted, void *partial, void *work, const Crew &crew) {
  const Plan<T> plan(r, end - begin);
  Arena arena(partial);
  const Arena zeroed = arena;
  const Sums<T> sums(r, wanted, arena);
  if (crew.leads()) memset((void *)zeroed.next, 0, arena.next - zeroed.next);
  crew.wait();
  arena = Arena(work);
  const Buffers<T> buffers(r, plan, arena, crew);
  const Factored<T> factored(r, plan.tile, plan.row, true, arena);
  if (factored) memset(factored.sums, 0, factored.numbers() * Simd<T>::L * sizeof(T));
  in_parts(begin, end, plan.tile, [&](Long row, Long rows) {
    const TileBase<T> tile = {r, plan, factored, row, rows, crew};
    run_backward<T>(Backward<T, ACTIVATION>{{tile, buffers, sums}});
  });
  if (factored && sums.w) add_lanes(factored.numbers(), factored.sums, sums.w);
}

/* ---------------------------------------------------------------------------------------------------- the sum over slices */

/* A panel of the sums of all slices, for a matrix (n, columns). */
template <class T, class F>
void add_panel(const uz_slices &slices, Long n, Long columns, Long panel, void *to, F &&of_slice) {
  constexpr Long L = Simd<T>::L;
  const Long column = panel * UZ_NV * L;
  const int vectors = (int)at_most(UZ_NV, ceil_div(columns - column, L));
  for (Long i = 0; i < n; i++)
    for (int v = 0; v < vectors; v++) {
      const Long at = n * column + (i * vectors + v) * L;
      Vec<T> sum = load(of_slice(0) + at);
      for (Long k = 1; k < slices.count; k++) sum += load(of_slice(k) + at);
      store_row((T *)to + i * columns, column + v * L, columns, sum);
    }
}

template <class T>
Long panels(const void *wanted, Long columns) {
  return wanted ? ceil_div(columns, UZ_NV * Simd<T>::L) : 0;
}

Long w_columns(const uz_recurrence &r) { return r.factors ? r.factors->parts * r.factors->numbers_count : r.n; }

template <class T>
Long sum_parts(const uz_recurrence &r, const uz_sums &to) {
  return panels<T>(to.dw, w_columns(r)) + panels<T>(to.dv, r.m) + panels<T>(to.dbias, outputs(r)) + panels<T>(to.dbias_hn, r.n) +
         panels<T>(to.dthreshold, r.n);
}

template <class T>
void add_slices(const uz_recurrence &r, const uz_sums &to, const uz_slices &slices, Long part) {
  const auto add = [&](Long n, Long columns, void *total, T *Sums<T>::*member, Long offset) {
    const Long count = panels<T>(total, columns);
    if (part >= 0 && part < count)
      add_panel<T>(slices, n, columns, part, total, [&](Long k) {
        Arena arena((char *)slices.partial + k * slices.partial_bytes);
        return Sums<T>(r, to, arena).*member + offset;
      });
    part -= count;
  };
  add(r.factors ? 1 : outputs(r), w_columns(r), to.dw, &Sums<T>::w, 0);
  add(outputs(r), r.m, to.dv, &Sums<T>::v, 0);
  add(1, outputs(r), to.dbias, &Sums<T>::columns, gated(r) ? r.n : 0);
  add(1, r.n, to.dbias_hn, &Sums<T>::columns, 0);
  add(1, r.n, to.dthreshold, &Sums<T>::threshold, 0);
}

/* --------------------------------------------------------------------------------------------------------------- packing */

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
  in_panels<T>(cols, {}, [&](Long column, int vectors) {
    for (Long k = 0; k < rows; k++)
      for (Long j = column; j < column + vectors * Simd<T>::L; j++) *p++ = j < cols ? element(k, j) : 0;
  });
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
    UZ_CASE(UZ_GATED)
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

Long entry_sign_bytes(const uz_recurrence &r) { return r.is_double ? sign_bytes<double>(r) : sign_bytes<float>(r); }

Long entry_work_bytes(const uz_recurrence &r, Long rows, int backward, Long crew) {
  return (r.is_double ? work_bytes<double> : work_bytes<float>)(r, rows, backward, {0, crew});
}

Long entry_partial_bytes(const uz_recurrence &r, const uz_sums &wanted) {
  return (r.is_double ? partial_bytes<double> : partial_bytes<float>)(r, wanted);
}

void entry_forward(const uz_recurrence &r, Long begin, Long end, void *work, const Crew &crew) {
  with_activation(r.activation, [&](auto a) {
    (r.is_double ? forward<double, a.value> : forward<float, a.value>)(r, begin, end, work, crew);
  });
}

void entry_backward(const uz_recurrence &r, Long begin, Long end, const uz_sums &wanted, void *partial, void *work, const Crew &crew) {
  with_activation(r.activation, [&](auto a) {
    (r.is_double ? backward<double, a.value> : backward<float, a.value>)(r, begin, end, wanted, partial, work, crew);
  });
}

Long entry_sum_parts(const uz_recurrence &r, const uz_sums &to) { return (r.is_double ? sum_parts<double> : sum_parts<float>)(r, to); }

void entry_add_slices(const uz_recurrence &r, const uz_sums &to, const uz_slices &slices, Long part) {
  (r.is_double ? add_slices<double> : add_slices<float>)(r, to, slices, part);
}

}  // namespace
}  // namespace UZ_ISA

#define UZ_TABLE_(isa) table_##isa
#define UZ_TABLE(isa) UZ_TABLE_(isa)
const Kernel UZ_TABLE(UZ_ISA) = {UZ_ISA::entry_pack_bytes, UZ_ISA::entry_pack,    UZ_ISA::entry_sign_bytes,
                                 UZ_ISA::entry_work_bytes, UZ_ISA::entry_partial_bytes, UZ_ISA::entry_forward,
                                 UZ_ISA::entry_backward,   UZ_ISA::entry_sum_parts,     UZ_ISA::entry_add_slices};

}  // namespace uz
