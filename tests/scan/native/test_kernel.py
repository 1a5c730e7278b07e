"""The kernel at awkward sizes and special numbers, with every instruction set."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.scan.native.helpers import (
    ACTIVATIONS,
    ISAS,
    REAL,
    SMOOTH,
    assert_equal,
    inputs,
    results,
)
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.scan.native import library
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import haar, normal

EVERY_ISA = pytest.mark.parametrize("isa", ISAS)


def awkward_cases() -> list:
    """Every size with one of the variants in turn: each size meets many, and each variant all."""
    variants = [
        (name, is_complex, sequence, checkpoint, m)
        for name, is_complex in ACTIVATIONS
        for sequence, checkpoint in [(True, None), (False, None), (False, 7)]
        for m in (0, 3)
    ]
    sizes = [
        (n, batch, steps)
        for n in [1, 2, 3, 7, 15, 16, 17, 33, 64, 100, 190, 513]
        for batch in [1, 2, 5, 24, 25, 130]
        for steps in [1, 2, 9, 1000]
        # The loop would take long; 1000 steps of wide batches are in the cases with a small n.
        if batch * steps * n * n <= 3e8
    ]
    cases = []
    for i, size in enumerate(sizes):
        variant = variants[i * 17 % len(variants)]  # 17 has no factor in common with their number
        name, is_complex, sequence, checkpoint, m = variant
        label = "n{}-B{}-T{}".format(*size) + f"-{'complex_' * is_complex}{name}"
        label += f"-{'all' if sequence else 'last'}-checkpoint_{checkpoint}-m{m}"
        cases.append(pytest.param(*size, *variant, id=label))
    return cases


@pytest.mark.parametrize(
    ("n", "batch", "steps", "name", "is_complex", "sequence", "checkpoint", "m"), awkward_cases()
)
def test_kernel_equals_the_loop_in_double_precision(
    n, batch, steps, name, is_complex, sequence, checkpoint, m, monkeypatch
):
    """All results differ by at most 1e-10, with each instruction set."""
    tensors = inputs(n, batch, steps, name, is_complex=is_complex, m=m)
    wanted = results(tensors, name, return_sequence=sequence, backend="reference")
    options = {"return_sequence": sequence, "checkpoint": checkpoint, "backend": "native"}
    for isa in ISAS:
        monkeypatch.setenv(library.ENVIRONMENT, isa)
        assert_equal(results(tensors, name, **options), wanted, 1e-10, isa)


@pytest.mark.parametrize(
    ("n", "batch", "steps"),
    [(1, 25, 70), (3, 5, 300), (16, 25, 70), (17, 5, 300), (33, 25, 70), (64, 5, 300),
     (100, 25, 70), (190, 5, 300), (190, 1, 9)],
)  # fmt: skip
@pytest.mark.parametrize(("name", "is_complex"), ACTIVATIONS)
def test_kernel_in_single_precision_errs_by_rounding(
    name, is_complex, n, batch, steps, monkeypatch
):
    """Compared with double precision on the same numbers; gradients only without kinks."""
    eps = torch.finfo(torch.float32).eps
    low = inputs(n, batch, steps, name, is_complex=is_complex, dtype=torch.float32)
    high = {
        key: t.detach().to(torch.complex128 if t.is_complex() else torch.float64)
        for key, t in low.items()
    }
    high = {key: t.requires_grad_() for key, t in high.items()}
    wanted = results(high, name, backend="reference")
    if (name, is_complex) not in SMOOTH:
        # A unit that one rounding switches has another gradient, but hardly another state.
        wanted = {"states": wanted["states"]}
    # No step enlarges an error: W is orthogonal, and every slope is at most 1, but for the turn of
    # the complex modReLU, which its negative threshold bounds. A step adds roundings of a sum of n
    # terms, which grow like the root of n, and so do those of the steps; 8 for the worst of all
    # numbers. The error is relative to the largest state, sqrt(steps) |x|.
    limit = 8 * eps * math.sqrt(n + 2) * math.sqrt(steps)
    for isa in ISAS:
        monkeypatch.setenv(library.ENVIRONMENT, isa)
        assert_equal(results(low, name, backend="native"), wanted, limit, isa)


@given(
    n=st.integers(1, 40),
    batch=st.integers(1, 40),
    steps=st.integers(1, 70),
    m=st.integers(0, 20),
    activation=st.sampled_from(ACTIVATIONS),
    isa=st.sampled_from(ISAS),
    sequence=st.booleans(),
    checkpoint=st.none() | st.integers(1, 80),
    seed=strategies.seeds(),
    data=st.data(),
)
def test_kernel_equals_the_loop_for_any_shape_and_gradients(
    n, batch, steps, m, activation, isa, sequence, checkpoint, seed, data
):
    name, is_complex = activation
    tensors = inputs(n, batch, steps, name, is_complex=is_complex, m=m, seed=seed % 2**31)
    wanted_of = data.draw(st.sets(st.sampled_from(sorted(tensors)), min_size=1))
    for key in set(tensors) - wanted_of:
        tensors[key].requires_grad_(False)

    def found(**options) -> list[Tensor]:
        out = recurrent_scan(**tensors, nonlinearity=name, return_sequence=sequence, **options)
        loss = (out.real.square() + out.imag if is_complex else out.square()).sum() / out.numel()
        grads = torch.autograd.grad(loss, [tensors[key] for key in sorted(wanted_of)])
        return [out.detach(), *grads]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(library.ENVIRONMENT, isa)
        got = found(backend="native", checkpoint=checkpoint)
    for a, b in zip(got, found(backend="reference"), strict=True):
        assert float((a - b).abs().max()) <= 1e-10 * max(1.0, float(b.abs().max()))


@EVERY_ISA
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", REAL)
def test_kernel_treats_special_numbers_as_pytorch(name, dtype, isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tiny = torch.finfo(dtype).tiny
    z = torch.tensor(
        [0.0, -0.0, math.inf, -math.inf, math.nan, tiny, -tiny, 1e-3, -1e-3, 20.0, -20.0, 88.0,
         -88.0, 710.0, -710.0, 1e30, -1e30],
        dtype=dtype,
    ).view(1, 1, -1)  # fmt: skip
    n = z.shape[-1]
    for threshold in (-0.5, 0.0, 0.5) if name == "modrelu" else (None,):
        b = None if threshold is None else torch.full((n,), threshold, dtype=dtype)
        # W = 0 times the state 0, or NaN would spread to all.
        args = z, torch.zeros(n, n, dtype=dtype), torch.zeros(1, n, dtype=dtype), name
        got = recurrent_scan(*args, threshold=b, backend="native")
        wanted = recurrent_scan(*args, threshold=b, backend="reference")
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(got, wanted, rtol=8 * eps, atol=4 * tiny, equal_nan=True)


@EVERY_ISA
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_kernel_complex_modrelu_is_zero_below_the_normal_numbers(dtype, isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tiny = torch.finfo(dtype).tiny
    z = torch.tensor([0.5 * tiny, 0.5j * tiny, 0, 2 * tiny], dtype=dtype).view(1, 1, 4)
    args = z, torch.zeros(4, 4, dtype=dtype), torch.zeros(1, 4, dtype=dtype), "modrelu"
    threshold = torch.full((4,), 0.5, dtype=dtype.to_real())
    got, wanted = (
        recurrent_scan(*args, threshold=threshold, backend=backend)
        for backend in ("native", "reference")
    )
    assert torch.equal(got, wanted)
    assert got.abs().flatten().tolist() == [0, 0, 0, 0.5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@EVERY_ISA
def test_kernel_tanh_and_sigmoid_err_by_four_eps(dtype, isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    z = torch.cat([torch.linspace(-30, 30, 6001), torch.logspace(-30, 0, 999)]).to(dtype)
    for name in ("tanh", "sigmoid"):
        args = z.view(-1, 1, 1), torch.zeros(1, 1), torch.zeros(1, 1), name
        got = recurrent_scan(*args, backend="native").flatten()
        wanted = getattr(torch, name)(z.double())
        # A polynomial, a sum and a quotient, each rounded, on either side of the true value.
        error = ((got.double() - wanted) / wanted).abs()
        assert float(error.max()) <= 4 * torch.finfo(dtype).eps


@EVERY_ISA
@pytest.mark.parametrize("is_complex", [False, True])
def test_kernel_keeps_the_norm_over_ten_thousand_linear_steps(isa, is_complex, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    dtype = torch.complex64 if is_complex else torch.float32
    n, h0 = 64, normal(3, 64, dtype=dtype)
    x = torch.zeros(1, 1, n, dtype=dtype).expand(10_000, 3, n)
    for name in ("identity",) if is_complex else ("identity", "abs"):
        h = recurrent_scan(x, haar(n, dtype), h0, name, return_sequence=False, backend="native")
        drift = (h.norm(dim=-1) / h0.norm(dim=-1) - 1).abs().max()
        assert float(drift) < 1e-4  # rounding at random gives about 1e-5


@EVERY_ISA
@pytest.mark.parametrize("checkpoint", [None, 7])
@pytest.mark.parametrize("n", [3, 16, 40])
def test_kernel_abs_passes_no_gradient_through_zeros(n, checkpoint, isa, monkeypatch):
    """Where states are recomputed, too, the signs are those of the forward pass."""
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tensors = inputs(n, 5, 60, "abs", m=0)
    tensors["x"] = torch.cat([torch.zeros(5, 5, n), tensors["x"].detach()]).requires_grad_()
    for key in ("h0", "bias"):
        tensors[key] = torch.zeros_like(tensors[key]).requires_grad_()
    wanted = results(tensors, "abs", return_sequence=False, backend="reference")
    assert not wanted["h0"].any()
    options = {"return_sequence": False, "checkpoint": checkpoint, "backend": "native"}
    assert_equal(results(tensors, "abs", **options), wanted, 1e-10)


@EVERY_ISA
def test_kernel_gives_nan_states_for_a_nan_threshold(isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    zero = torch.zeros(2, 1, 3)
    out = recurrent_scan(
        zero, torch.eye(3), zero[0], "modrelu", threshold=torch.full((3,), math.nan),
        backend="native",
    )  # fmt: skip
    assert out.isnan().all()
