/* The interface of the compiled scan: plain C, called through ctypes with data pointers.
 *
 * One recurrence, h_t = phi(W h_{t-1} + V x_t + b) or that of gated units, in real arithmetic. A complex recurrence of size k is a
 * real one of size n = 2k: its numbers lie in memory as (re, im) pairs, and uz_pack embeds its matrices as 2 x 2 blocks
 * [[re, -im], [im, re]].
 * No call allocates memory or keeps state. The batch is divided into slices, and each slice into the threads of a crew, which share
 * its columns; neither which thread runs a slice nor the size of a crew changes a result. The slices run on the threads of the
 * OpenMP runtime whose functions the caller passes, or in the calling thread. Subnormal numbers count as 0.
 */
#pragma once
#include <stdint.h>

/* Increased with every change of this interface; the caller compares it with its own. */
enum { UZ_VERSION = 8 };

enum uz_isa { UZ_GENERIC, UZ_NEON, UZ_AVX2, UZ_AVX512 };

enum uz_activation {
  UZ_IDENTITY,
  UZ_RELU,
  UZ_LEAKY_RELU,
  UZ_ABS,
  UZ_TANH,
  UZ_SIGMOID,
  UZ_MODRELU,
  UZ_COMPLEX_MODRELU,
  UZ_GATED, /* three of them: the units of torch.nn.GRU */
};

enum uz_factor_kind {
  UZ_DIAGONAL,        /* h -> a h; n numbers a */
  UZ_FOURIER,         /* the unitary Fourier transform; complex, n a power of two */
  UZ_INVERSE_FOURIER,
  UZ_PERMUTATION,     /* unit i becomes unit index[i] of the input */
  UZ_REFLECTION,      /* h -> h - 2 a (a^H h); n numbers a */
  UZ_PAIRS,           /* h -> d h + o (h exchanged); n numbers d and n numbers o */
};

typedef struct {
  int64_t kind;
  int64_t first;         /* the place of its numbers among those of all factors */
  int64_t stride, start; /* of UZ_PAIRS: (i, i + stride) in groups of 2 stride units that begin at start */
  const int64_t *index;  /* of UZ_PERMUTATION */
} uz_factor;

/* W as a product; list[0] is applied first. Counts are in real numbers if `parts` is 1, and in complex ones if it is 2. */
typedef struct {
  int64_t parts, n;
  int64_t count, numbers_count;
  const uz_factor *list;
  const void *numbers;
  const void *roots; /* exp(-2 pi i k / n), k < n, for Fourier transforms */
  double root_scale; /* 1 / sqrt(n) */
} uz_factors;

/* One recurrence. All counts and strides are in real numbers; the last dimension of every array has stride 1.
 *
 * Gated units (UZ_GATED) have two gates, r and z, and a candidate c, each of n numbers:
 *   r = sigmoid(W_r h + V_r x + b_r), z = sigmoid(W_z h + V_z x + b_z), p = W_n h + b_hn, c = tanh(r p + V_n x + b_n),
 *   h_t = (1 - z) c + z h_{t-1}.
 * `w`, `v` and `bias` are then the packed arrays for r, z and n, one after the other; `w_back` packs a matrix whose rows are those
 * of W_n, W_r and W_z, and `v_back` one of V_r, V_z and V_n.
 */
typedef struct {
  int64_t is_double, activation;
  int64_t steps, batch, n;
  int64_t m; /* numbers of a raw input; 0: x holds pre-activations (steps, batch, n), not for UZ_GATED */
  double slope; /* of UZ_LEAKY_RELU below zero */

  const void *x; /* (steps, batch, m or n) */
  int64_t x_step, x_row;
  const void *h0; /* (batch, n) */
  int64_t h0_row;
  const int64_t *lengths; /* (batch) *: steps of each row, at least 1 and descending; then `last` holds the states at the ends */

  const uz_factors *factors; /* W as a product, in the place of w and w_back *; the crew is then one thread */

  /* By uz_pack; those marked * may be null. */
  const void *w, *w_back;   /* W for forward and for backward */
  const void *v, *v_back;   /* V *, and for the gradient of x * */
  const void *bias;         /* n * */
  const void *threshold;    /* n, for both kinds of modReLU * */
  const void *bias_hn;      /* n, for UZ_GATED * */

  void *states;       /* (steps, batch, n) *: all states */
  void *last;         /* (batch, n) *: the last state */
  void *kept;         /* ((steps - 1) / keep, batch, n) *: states after keep, 2 keep, ... steps */
  int64_t keep;       /* steps between kept states; 0: none is kept */
  void *signs;        /* uz_sign_bytes *: the signs of the pre-activations of UZ_ABS, which its gradient needs */
  void *gates;        /* (steps, batch, 4, n) *: p, r, z and c of UZ_GATED; backward recomputes them if it is null */

  /* Backward only. The states are in `states`, or in `kept`; those that are not kept are recomputed, `segment` steps at a time, a
   * multiple of `keep`. */
  int64_t segment;
  const void *grad;   /* (steps, batch, n), or (batch, n) if grad_last: the gradient of the result */
  int64_t grad_step, grad_row, grad_last;
  void *dx;           /* (steps, batch, m or n) * */
  void *dh0;          /* (batch, n) * */
} uz_recurrence;

/* Sums over the batch; each may be null. */
typedef struct {
  void *dw;         /* (n, n); for UZ_GATED (3, n, n): the gradients of W_n, W_r and W_z */
  void *dv;         /* (n, m); for UZ_GATED (3, n, m): of V_r, V_z and V_n */
  void *dbias;      /* (n); for UZ_GATED (3, n): of b_r, b_z and b_n */
  void *dthreshold; /* (n); for UZ_COMPLEX_MODRELU both numbers of a pair hold the sum */
  void *dbias_hn;   /* (n) */
} uz_sums;

/* The slices of a batch, nearly equal, and which of them a call runs. */
typedef struct {
  int64_t count;
  int64_t first, last; /* this call runs the slices [first, last) */
  int64_t crew;        /* threads that share a slice */
  void *work;          /* for each crew at work at a time, uz_work_bytes */
  int64_t work_bytes;
  void *partial;       /* backward: uz_partial_bytes for each of all slices: their sums */
  int64_t partial_bytes;
} uz_slices;

/* Functions of an OpenMP runtime that is loaded; either that of GCC or those of LLVM and Intel start a team. */
typedef struct {
  int32_t reserved, flags, reserved2, reserved3;
  const char *source;
} uz_location;
typedef void (*uz_microtask)(int *global_number, int *number, void *argument);
typedef struct {
  int64_t threads; /* of a team, at most */
  void (*gomp_parallel)(void (*task)(void *), void *argument, unsigned threads, unsigned flags);
  void (*kmpc_fork_call)(uz_location *, int arguments, uz_microtask task, ...);
  void (*kmpc_push_num_threads)(uz_location *, int global_number, int threads);
  int (*kmpc_global_thread_num)(uz_location *);
  int (*thread_number)(void);
  int (*thread_count)(void);
} uz_team;

#ifdef __cplusplus
extern "C" {
#endif

int uz_version(void);

/* Whether both this library and the processor have that instruction set. */
int uz_isa_available(int isa);

/* Bytes of a packed (rows, cols) factor: rows run over the sum, cols over the result. */
int64_t uz_pack_bytes(int isa, int is_double, int64_t rows, int64_t cols);

/* packed[k][j] = a[k * k_stride + j * j_stride]. With `embed` the strides count complex numbers, rows and cols count real ones
 * (even), and `embed` is 1 for the embedding of a itself as (k: input, j: output), 2 for (k: output, j: input). */
void uz_pack(int isa, int is_double, int embed, int64_t rows, int64_t cols, const void *a, int64_t k_stride, int64_t j_stride,
             void *packed);

/* Bytes of `signs` for the whole recurrence. */
int64_t uz_sign_bytes(int isa, const uz_recurrence *r);

/* Bytes of the workspace of a crew on so many rows; backward != 0 for uz_backward. */
int64_t uz_work_bytes(int isa, const uz_recurrence *r, int64_t rows, int backward, int64_t crew);

/* Bytes of the sums of one slice. */
int64_t uz_partial_bytes(int isa, const uz_recurrence *r, const uz_sums *wanted);

/* Run slices of the batch; a null team is the calling thread. */
void uz_forward(int isa, const uz_recurrence *r, const uz_slices *slices, const uz_team *team);
void uz_backward(int isa, const uz_recurrence *r, const uz_sums *wanted, const uz_slices *slices, const uz_team *team);

/* Add the sums of all slices, in their order. */
void uz_add_slices(int isa, const uz_recurrence *r, const uz_sums *to, const uz_slices *slices, const uz_team *team);

#ifdef __cplusplus
}
#endif
