"""gated_scan against torch.nn.GRU: states and all gradients; closed forms.

How far two correct implementations may differ is measured, not guessed: nn.GRU is run in single and
in double precision on the same numbers. The difference is what rounding does to this very problem,
in units of the single precision eps; another order of the same sums must stay within a small
multiple of it, in either precision.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.scan.gated_helpers import BACKENDS, F32, F64, M, N, draw, leaves, results
from unitary_zoo.scan import gated_scan, recurrent_scan
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import haar


def by_torch(given: dict[str, Tensor], return_sequence: bool) -> Tensor:
    """nn.GRU on these tensors."""
    n, m = given["W"].shape[1], given["x"].shape[2]
    gru = nn.GRU(m, n, dtype=given["x"].dtype)
    zero = given["x"].new_zeros(3 * n)
    own = given.get("bias_hn", zero[:n])
    weights = {
        "weight_ih_l0": given["weight_ih"],
        "weight_hh_l0": given["W"],
        "bias_ih_l0": given.get("bias", zero),
        "bias_hh_l0": torch.cat([zero[: 2 * n], own]),
    }
    out, h_n = torch.func.functional_call(gru, weights, (given["x"], given["h0"].unsqueeze(0)))
    return out if return_sequence else h_n.squeeze(0)


class Truth:
    """What nn.GRU finds in double precision, and what rounding does to it, in units of eps."""

    def __init__(self, tensors: dict[str, Tensor], return_sequence: bool = True) -> None:
        self.tensors, self.return_sequence = tensors, return_sequence
        run = lambda given: by_torch(given, return_sequence)
        self.true = results(run, leaves(tensors))
        rough = results(run, leaves(tensors, F32))
        eps, n = torch.finfo(F32).eps, tensors["W"].shape[1]
        self.rounding = {
            # At least that of a sum of n terms of the size of the result: few entries may happen
            # to be right.
            name: max(
                float((rough[name] - true).abs().max()) / eps,
                math.sqrt(n) * max(1.0, float(true.abs().max())),
            )
            for name, true in self.true.items()
        }

    def check(self, found: dict[str, Tensor], dtype: torch.dtype, where: str = "") -> None:
        for name, got in found.items():
            assert got.shape == self.true[name].shape, f"{where}: shape of {name}"
            assert got.dtype == dtype, f"{where}: dtype of {name}"
            error = float((got - self.true[name]).abs().max())
            # 16: two roundings of one kind may differ by that, and hardly by more.
            limit = 16 * self.rounding[name] * torch.finfo(dtype).eps
            assert error <= limit, f"{where}: {name} off by {error:.3g}, limit {limit:.3g}"

    def scan(self, **options: Any) -> Callable[[dict[str, Tensor]], Tensor]:
        return lambda given: gated_scan(**given, return_sequence=self.return_sequence, **options)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17, 33])
def test_gated_scan_equals_torch(n):
    for steps, batch, bias, return_sequence in itertools.product(
        (1, 2, 9), (1, 4), (True, False), (True, False)
    ):
        truth = Truth(draw(steps, batch, n, bias=bias, bias_hn=bias, seed=n), return_sequence)
        for backend, dtype in itertools.product(BACKENDS, (F32, F64)):
            where = f"{backend}, {dtype}, T={steps}, B={batch}, b {bias}, {return_sequence=}"
            found = results(truth.scan(backend=backend), leaves(truth.tensors, dtype))
            truth.check(found, dtype, where)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("bias", "bias_hn"), [(True, False), (False, True)])
def test_gated_scan_equals_torch_without_one_of_the_biases(bias, bias_hn, backend):
    truth = Truth(draw(bias=bias, bias_hn=bias_hn))
    truth.check(results(truth.scan(backend=backend), leaves(truth.tensors)), F64)


@pytest.mark.parametrize("return_sequence", [True, False])
def test_gated_scan_gives_the_gradient_of_a_single_input(return_sequence):
    truth = Truth(draw(), return_sequence)
    for backend, one in itertools.product(BACKENDS, truth.tensors):
        found = results(truth.scan(backend=backend), leaves(truth.tensors, F64, one))
        assert set(found) == {"states", one}
        truth.check(found, F64, f"{backend}, {one} alone")


@pytest.mark.parametrize("checkpoint", [1, 2, 9, 100])
@pytest.mark.parametrize("return_sequence", [True, False])
def test_gated_scan_with_checkpoints_equals_torch(return_sequence, checkpoint):
    truth = Truth(draw(9), return_sequence)
    for backend, dtype in itertools.product(BACKENDS, (F32, F64)):
        run = truth.scan(backend=backend, checkpoint=checkpoint)
        truth.check(results(run, leaves(truth.tensors, dtype)), dtype, f"{backend}, {dtype}")


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gated_scan_derivatives_equal_finite_differences(backend, return_sequence):
    tensors = leaves(draw(3, 2, 3))

    def run(*values: Tensor) -> Tensor:
        given = dict(zip(tensors, values, strict=True))
        return gated_scan(**given, return_sequence=return_sequence, backend=backend)

    assert torch.autograd.gradcheck(run, tuple(tensors.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, tuple(tensors.values()), fast_mode=True)


problems = {
    "n": st.integers(1, 9),
    "steps": st.integers(1, 8),
    "batch": st.integers(1, 4),
    "seed": strategies.seeds(),
    "dtype": strategies.dtypes(),
    "scale": strategies.scales(),
}


@settings(max_examples=40)
@given(**problems)
def test_gated_scan_states_stay_between_the_start_and_one(n, steps, batch, seed, dtype, scale):
    """Each state is a mean of the last state and of a tanh, whatever the inputs."""
    tensors = {k: t.to(dtype) for k, t in draw(steps, batch, n, seed=seed, scale=scale).items()}
    states = gated_scan(**tensors)
    bound = tensors["h0"].abs().clamp(min=1)
    # Each step's mean rounds twice.
    assert bool((states.abs() <= bound * (1 + 4 * steps * torch.finfo(dtype).eps)).all())


SATURATED = 1e4  # sigma(1e4) is 1 and sigma(-1e4) is 0, in either precision


@settings(max_examples=25)
@given(**problems)
def test_gated_scan_with_a_closed_update_gate_keeps_the_state(n, steps, batch, seed, dtype, scale):
    tensors = {k: t.to(dtype) for k, t in draw(steps, batch, n, seed=seed, scale=scale).items()}
    tensors["weight_ih"][n : 2 * n] = 0
    tensors["bias"][n : 2 * n] = SATURATED
    given = leaves(tensors, dtype)
    states = gated_scan(**given)
    assert torch.equal(states, tensors["h0"].expand_as(states))
    grads = torch.autograd.grad(states[-1].sum(), list(given.values()))
    for name, grad in zip(given, grads, strict=True):
        assert torch.equal(grad, torch.full_like(grad, float(name == "h0"))), name


@settings(max_examples=25)
@given(**problems)
def test_gated_scan_with_open_gates_is_the_tanh_network(n, steps, batch, seed, dtype, scale):
    """z = 0 and r = 1: h' = tanh(V x + b + W h), which has a scan of its own."""
    del scale  # the two routes round the same numbers only where those are of one size
    tensors = draw(steps, batch, n, seed=seed)
    tensors["weight_ih"][: 2 * n] = 0
    tensors["bias"][:n], tensors["bias"][n : 2 * n] = SATURATED, -SATURATED
    given = {name: t.to(dtype) for name, t in tensors.items()}
    wanted = recurrent_scan(
        given["x"], given["W"][2 * n :], given["h0"], "tanh", weight_ih=given["weight_ih"][2 * n :],
        bias=given["bias"][2 * n :] + given["bias_hn"], backend="reference",
    )  # fmt: skip
    # A step rounds sums of n + m + 2 terms below 20; it is 1-Lipschitz, so that steps add up.
    limit = 20 * steps * (n + M + 2) * torch.finfo(dtype).eps
    assert float((gated_scan(**given) - wanted).abs().max()) <= limit


def test_gated_scan_with_a_closed_reset_gate_hides_the_state_from_the_candidate():
    tensors = draw()
    tensors["weight_ih"][:N] = 0
    tensors["bias"][:N] = -SATURATED
    other = dict(tensors, W=tensors["W"].clone(), bias_hn=tensors["bias_hn"] + 3)
    other["W"][2 * N :] = haar(N, F64, seed=44)
    assert torch.equal(gated_scan(**tensors), gated_scan(**other))
