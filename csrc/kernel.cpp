/* The recurrence and its gradient for one slice of the batch; compiled once for each instruction set.
 *
 * A tile of batch rows runs through all steps by itself: no step needs another row, so nothing synchronises and the tile's states
 * stay in cache. tile.h has the forward pass, backward.h the backward pass, and product.h the product, in which both spend
 * their time.
 */
#include "backward.h"
#include "kernel.h"

namespace uz {
namespace UZ_ISA {
namespace {

template <class T, int ACTIVATION>
Long work_bytes(const uz_recurrence &r, Long rows, int backward) {
  const Plan<T> plan(r, rows);
  Arena arena(nullptr);
  if (backward) {
    const uz_sums all = {&arena, &arena, &arena, &arena};
    Sums<T>(r, all, arena);
    Buffers<T>(plan, arena);
  } else {
    for (int i = 0; i < 2; i++) arena.take<T>(plan.tile * plan.row);
  }
  return (Long)arena.next + 64; /* room to align the start */
}

template <class T, int ACTIVATION>
void forward(const uz_recurrence &r, Long begin, Long end, void *work) {
  const Plan<T> plan(r, end - begin);
  in_parts(begin, end, plan.tile, [&](Long row, Long rows) { Tile<T, ACTIVATION>{r, plan, row, rows}.forward(work); });
}

/* Copy panels of n rows to a matrix (n, columns). */
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
void backward(const uz_recurrence &r, Long begin, Long end, const uz_sums &wanted, void *work) {
  const Plan<T> plan(r, end - begin);
  Arena arena(work);
  const Arena zeroed = arena;
  const Sums<T> sums(r, wanted, arena);
  memset((void *)zeroed.next, 0, arena.next - zeroed.next);
  const Buffers<T> buffers(plan, arena);
  in_parts(begin, end, plan.tile, [&](Long row, Long rows) {
    const Tile<T, ACTIVATION> tile = {r, plan, row, rows};
    Backward<T, ACTIVATION>{r, plan, tile, buffers, sums}.run();
  });
  if (sums.w) unpack(r.n, r.n, sums.w, wanted.dw);
  if (sums.v) unpack(r.n, r.m, sums.v, wanted.dv);
  if (sums.bias) unpack(1, r.n, sums.bias, wanted.dbias);
  if (sums.threshold) unpack(1, r.n, sums.threshold, wanted.dthreshold);
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

Long entry_sign_bytes(const uz_recurrence &r) { return r.is_double ? sign_bytes<double>(r) : sign_bytes<float>(r); }

Long entry_work_bytes(const uz_recurrence &r, Long rows, int backward) {
  return with_activation(r.activation, [&](auto a) {
    return (r.is_double ? work_bytes<double, a.value> : work_bytes<float, a.value>)(r, rows, backward);
  });
}

void entry_forward(const uz_recurrence &r, Long begin, Long end, void *work) {
  with_activation(r.activation, [&](auto a) {
    (r.is_double ? forward<double, a.value> : forward<float, a.value>)(r, begin, end, work);
  });
}

void entry_backward(const uz_recurrence &r, Long begin, Long end, const uz_sums &sums, void *work) {
  with_activation(r.activation, [&](auto a) {
    (r.is_double ? backward<double, a.value> : backward<float, a.value>)(r, begin, end, sums, work);
  });
}

}  // namespace
}  // namespace UZ_ISA

#define UZ_TABLE_(isa) table_##isa
#define UZ_TABLE(isa) UZ_TABLE_(isa)
const Kernel UZ_TABLE(UZ_ISA) = {UZ_ISA::entry_pack_bytes, UZ_ISA::entry_pack,    UZ_ISA::entry_sign_bytes,
                                 UZ_ISA::entry_work_bytes, UZ_ISA::entry_forward, UZ_ISA::entry_backward};

}  // namespace uz
