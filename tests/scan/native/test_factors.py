"""Recurrences whose W is a product of factors in the compiled kernel."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.scan.native.helpers import ISAS, assert_equal, inputs
from unitary_zoo.base import Diagonal, FactoredMap, Fourier, Pairs, Permutation, Reflection
from unitary_zoo.base.factors import Factor
from unitary_zoo.scan import choice, recurrent_scan
from unitary_zoo.scan.native import library
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import normal

FOURIER = [Diagonal(), Fourier(), Reflection(), Diagonal(), Fourier(inverse=True), Reflection()]


def factors_of(n: int, is_complex: bool) -> list[Factor]:
    """All factors that the size and the field allow, the pairs near and far and off the start."""
    order = torch.arange(n).roll(1).flip(0)
    rest = [Permutation(order), Pairs(1), Pairs(max(n // 2, 1)), Reflection(), Pairs(2, 1)]
    return [*(FOURIER if is_complex and n & (n - 1) == 0 else [Diagonal()]), *rest]


def numbers_of(factors: list[Factor], n: int, dtype: torch.dtype) -> Tensor:
    """Numbers with which no factor lengthens a row much, so that 300 steps stay bounded."""
    parts = []
    for i, factor in enumerate(factors):
        a = normal(factor.count(n), dtype=dtype, seed=20 + i)
        if isinstance(factor, Reflection):
            a = a / a.norm()  # unitary
        elif isinstance(factor, Pairs):
            a = 0.5 * a / a.abs().clamp(min=1)  # |d| + |o| <= 1
        else:
            a = a / a.abs().clamp(min=1)
        parts.append(a)
    return torch.cat(parts).requires_grad_()


def operands(n: int, batch: int, steps: int, name: str, is_complex: bool, **options):
    """Leaves, with the numbers of the factors in the place of W, and the factors."""
    tensors = inputs(n, batch, steps, name, is_complex=is_complex, **options)
    factors = factors_of(n, is_complex)
    tensors["W"] = numbers_of(factors, n, tensors["W"].dtype)
    return tensors, factors


def results(tensors, factors, name, **options) -> dict[str, Tensor]:
    """The states, and the gradients of a fixed functional of them."""
    w = FactoredMap(tensors["h0"].shape[1], factors, tensors["W"])
    out = recurrent_scan(**{**tensors, "W": w}, nonlinearity=name, **options)
    cotangent = normal(*out.shape, dtype=torch.complex64, seed=9).to(torch.complex128)
    cotangent = (cotangent if out.is_complex() else cotangent.real).to(out.dtype)
    loss = (cotangent.conj() * out).real.sum() / math.sqrt(out.numel())
    asked = {key: tensor for key, tensor in tensors.items() if tensor.requires_grad}
    grads = torch.autograd.grad(loss, list(asked.values()))
    return {"states": out.detach(), **dict(zip(asked, grads, strict=True))}


CASES = [
    (1, 1, 9, "modrelu", True, True, None, 2), (1, 5, 2, "tanh", False, False, 7, 0),
    (2, 24, 1, "identity", True, True, None, 0), (2, 25, 9, "abs", False, False, None, 2),
    (3, 130, 2, "modrelu", True, False, None, 2), (4, 25, 9, "modrelu", True, False, 7, 2),
    (7, 5, 300, "sigmoid", False, True, None, 2), (8, 5, 300, "modrelu", True, False, None, 0),
    (16, 130, 2, "modrelu", True, True, 2, 2), (17, 24, 9, "leaky_relu", False, True, None, 2),
    (32, 25, 9, "modrelu", True, True, None, 2), (33, 1, 300, "relu", False, False, 7, 2),
    (33, 25, 2, "identity", True, True, None, 2), (64, 24, 9, "modrelu", True, False, 7, 2),
    (64, 130, 1, "modrelu", False, True, None, 2), (64, 1, 300, "modrelu", True, False, None, 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("n", "batch", "steps", "name", "is_complex", "sequence", "checkpoint", "m"), CASES
)
def test_factors_equal_the_loop_in_double_precision(
    n, batch, steps, name, is_complex, sequence, checkpoint, m, monkeypatch
):
    tensors, factors = operands(n, batch, steps, name, is_complex, m=m)
    wanted = results(tensors, factors, name, return_sequence=sequence, backend="reference")
    options = {"return_sequence": sequence, "checkpoint": checkpoint, "backend": "native"}
    for isa in ISAS:
        monkeypatch.setenv(library.ENVIRONMENT, isa)
        assert_equal(results(tensors, factors, name, **options), wanted, 1e-10, isa)


@settings(max_examples=40)
@given(
    n=st.integers(1, 40),
    batch=st.integers(1, 40),
    steps=st.integers(1, 30),
    m=st.integers(0, 5),
    is_complex=st.booleans(),
    isa=st.sampled_from(ISAS),
    sequence=st.booleans(),
    checkpoint=st.none() | st.integers(1, 40),
    layout=st.tuples(st.integers(1, 45), st.integers(0, 45)),
    seed=strategies.seeds(),
    data=st.data(),
)
def test_factors_equal_the_loop_for_any_shape_and_gradients(
    n, batch, steps, m, is_complex, isa, sequence, checkpoint, layout, seed, data
):
    tensors, _ = operands(n, batch, steps, "modrelu", is_complex, m=m, seed=seed % 2**31)
    factors = [*factors_of(n, is_complex), Pairs(*layout)]
    tensors["W"] = numbers_of(factors, n, tensors["W"].dtype)
    asked = data.draw(st.sets(st.sampled_from(sorted(tensors)), min_size=1))
    for key in set(tensors) - asked:
        tensors[key].requires_grad_(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(library.ENVIRONMENT, isa)
        options = {"return_sequence": sequence, "checkpoint": checkpoint}
        got = results(tensors, factors, "modrelu", backend="native", **options)
    wanted = results(tensors, factors, "modrelu", backend="reference", return_sequence=sequence)
    assert_equal(got, wanted, 1e-10)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("n", "is_complex"), [(64, True), (33, False)])
def test_factors_in_single_precision_err_by_rounding(n, is_complex, isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    low, factors = operands(n, 25, 9, "identity", is_complex, dtype=torch.float32)
    high = {k: t.detach().to(torch.promote_types(t.dtype, torch.float64)) for k, t in low.items()}
    high = {key: t.requires_grad_() for key, t in high.items()}
    wanted = results(high, factors, "identity", backend="reference")
    got = results(low, factors, "identity", backend="native")
    # No factor enlarges an error by more than a few; a step rounds each of its factors once and
    # the sums of two reflections over n numbers, at random, in both passes.
    eps = torch.finfo(torch.float32).eps
    assert_equal(got, wanted, 8 * eps * math.sqrt(9 * (len(factors) + 2 * n)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("special", [math.nan, math.inf])
def test_factors_let_special_numbers_through_in_their_row_only(special, isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tensors, factors = operands(8, 25, 3, "modrelu", True)
    with torch.no_grad():
        tensors["h0"][3, 5] = special
    w = FactoredMap(8, factors, tensors["W"])
    with torch.no_grad():
        out = recurrent_scan(**{**tensors, "W": w}, nonlinearity="modrelu", backend="native")
    assert out[:, 3].isnan().all()  # the sum of infinities of both signs is NaN
    assert out[:, [*range(3), *range(4, 25)]].isfinite().all()


def test_factors_give_equal_bits_whatever_the_threads(two_threads):
    tensors, factors = operands(32, 70, 60, "modrelu", True, dtype=torch.float32)
    double = results(tensors, factors, "modrelu", backend="native")
    torch.set_num_threads(1)
    single = results(tensors, factors, "modrelu", backend="native")
    assert all(torch.equal(double[key], single[key]) for key in single)


@pytest.mark.parametrize("isa", ISAS)
def test_factors_end_each_row_at_its_length(isa, monkeypatch):
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tensors, factors = operands(8, 20, 12, "modrelu", True)
    lengths = torch.arange(20).flip(0) // 2 + 1
    options = {"return_sequence": False, "lengths": lengths}
    got = results(tensors, factors, "modrelu", backend="native", **options)
    wanted = results(tensors, factors, "modrelu", backend="reference", **options)
    assert_equal(got, wanted, 1e-10)


def test_factors_have_second_derivatives_and_transforms(monkeypatch):
    monkeypatch.setattr(choice, "by_factors", lambda *args: True)
    tensors, factors = operands(2, 1, 2, "tanh", False)
    rest = {key: tensor.detach() for key, tensor in tensors.items() if key != "W"}

    def loss(numbers: Tensor) -> Tensor:
        w = FactoredMap(2, factors, numbers)
        return recurrent_scan(**rest, W=w, nonlinearity="tanh").square().sum()

    numbers = tensors["W"]
    assert torch.autograd.gradgradcheck(loss, (numbers,))
    wanted = torch.autograd.grad(loss(numbers), numbers)[0]
    torch.testing.assert_close(torch.func.grad(loss)(numbers.detach()), wanted)


def test_factors_become_a_matrix_for_a_dispatch_mode(monkeypatch):
    """A counter of operations sees the operator, which takes matrices."""
    monkeypatch.setattr(choice, "by_factors", lambda *args: True)
    tensors, factors = operands(8, 2, 3, "identity", True, m=0)
    with FlopCounterMode(display=False) as counter:
        results(tensors, factors, "identity")
    assert counter.get_total_flops() >= 2 * 2 * 3 * 2 * 8 * 8


def test_native_refuses_a_fourier_transform_of_another_size():
    w = FactoredMap(6, [Diagonal(), Fourier()], torch.ones(6, dtype=torch.complex64))
    x, h0 = torch.zeros(2, 1, 6), torch.zeros(1, 6)
    with pytest.raises(ValueError, match="powers of two, and n = 6"):
        recurrent_scan(x, w, h0, "identity", backend="native")
    assert not recurrent_scan(x, w, h0, "identity").any()
