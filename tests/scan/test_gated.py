"""gated_scan against torch.nn.GRU: states and all gradients; closed forms; what it accepts.

How far two correct implementations may differ is measured, not guessed: nn.GRU is run in single and
in double precision on the same numbers. The difference is what rounding does to this very problem,
in units of the single precision eps; another order of the same sums must stay within a small
multiple of it, in either precision.
"""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from unitary_zoo.scan import gated_scan, recurrent_scan
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import haar, normal

T, B, M, N = 5, 3, 2, 4
F32, F64 = torch.float32, torch.float64
BACKENDS = ["portable", "reference"]
EVERY = pytest.mark.parametrize("backend", ["auto", *BACKENDS])
# A few products of sums of at most T B N terms of order 1 to 10, in double precision.
CLOSE = {"rtol": 0.0, "atol": T * B * N * 100 * torch.finfo(F64).eps}


def draw(
    steps: int = T, batch: int = B, n: int = N, m: int = M,
    *, bias: bool = True, bias_hn: bool = True, seed: int = 0, scale: float = 1.0,
) -> dict[str, Tensor]:  # fmt: skip
    """Numbers that single precision holds exactly, in double precision; each W orthogonal."""
    tensors = {
        "x": normal(steps, batch, m, dtype=F32, seed=seed + 1),
        "W": torch.cat([haar(n, F32, seed=seed + 2 + i) for i in range(3)]),
        "h0": normal(batch, n, dtype=F32, seed=seed + 5),
        "weight_ih": scale * normal(3 * n, m, dtype=F32, seed=seed + 6),
        "bias": normal(3 * n, dtype=F32, seed=seed + 7) if bias else None,
        "bias_hn": normal(n, dtype=F32, seed=seed + 8) if bias_hn else None,
    }
    return {name: t.to(F64) for name, t in tensors.items() if t is not None}


def leaves(tensors: dict[str, Tensor], dtype: torch.dtype = F64, *only: str) -> dict[str, Tensor]:
    """Copies; all require a gradient, or those named."""
    return {
        name: t.detach().to(dtype, copy=True).requires_grad_(not only or name in only)
        for name, t in tensors.items()
    }


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


def results(run: Callable[[dict[str, Tensor]], Tensor], given: dict[str, Tensor]):
    """The states, and the gradient of a fixed functional of them in each input requiring one."""
    out = run(given)
    wanted = {name: t for name, t in given.items() if t.requires_grad}
    weight = normal(*out.shape, dtype=F32, seed=99).to(out.dtype)
    grads = torch.autograd.grad((weight * out).sum(), list(wanted.values()))
    return {"states": out.detach(), **dict(zip(wanted, grads, strict=True))}


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


# ------------------------------------------------------------------------------ equals torch.nn.GRU


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17, 33])
def test_equals_torch(n):
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
def test_either_bias_may_be_left_out(bias, bias_hn, backend):
    truth = Truth(draw(bias=bias, bias_hn=bias_hn))
    truth.check(results(truth.scan(backend=backend), leaves(truth.tensors)), F64)


@pytest.mark.parametrize("return_sequence", [True, False])
def test_gradient_of_one_input_alone(return_sequence):
    truth = Truth(draw(), return_sequence)
    for backend, one in itertools.product(BACKENDS, truth.tensors):
        found = results(truth.scan(backend=backend), leaves(truth.tensors, F64, one))
        assert set(found) == {"states", one}
        truth.check(found, F64, f"{backend}, {one} alone")


@pytest.mark.parametrize("checkpoint", [1, 2, 9, 100])
@pytest.mark.parametrize("return_sequence", [True, False])
def test_checkpoint_changes_nothing(return_sequence, checkpoint):
    truth = Truth(draw(9), return_sequence)
    for backend, dtype in itertools.product(BACKENDS, (F32, F64)):
        run = truth.scan(backend=backend, checkpoint=checkpoint)
        truth.check(results(run, leaves(truth.tensors, dtype)), dtype, f"{backend}, {dtype}")


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_first_and_second_derivatives(backend, return_sequence):
    """By finite differences."""
    tensors = leaves(draw(3, 2, 3))

    def run(*values: Tensor) -> Tensor:
        given = dict(zip(tensors, values, strict=True))
        return gated_scan(**given, return_sequence=return_sequence, backend=backend)

    assert torch.autograd.gradcheck(run, tuple(tensors.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, tuple(tensors.values()), fast_mode=True)


# ------------------------------------------------------------------------------------- closed forms

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
def test_states_stay_between_the_start_and_one(n, steps, batch, seed, dtype, scale):
    """A mean of the last state and of a tanh, whatever the inputs."""
    tensors = {k: t.to(dtype) for k, t in draw(steps, batch, n, seed=seed, scale=scale).items()}
    states = gated_scan(**tensors)
    bound = tensors["h0"].abs().clamp(min=1)
    # Each step's mean rounds twice.
    assert bool((states.abs() <= bound * (1 + 4 * steps * torch.finfo(dtype).eps)).all())


SATURATED = 1e4  # sigma(1e4) is 1 and sigma(-1e4) is 0, in either precision


@settings(max_examples=25)
@given(**problems)
def test_a_closed_update_gate_keeps_the_state(n, steps, batch, seed, dtype, scale):
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
def test_open_gates_leave_the_tanh_network(n, steps, batch, seed, dtype, scale):
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


def test_a_closed_reset_gate_hides_the_state_from_the_candidate():
    tensors = draw()
    tensors["weight_ih"][:N] = 0
    tensors["bias"][:N] = -SATURATED
    other = dict(tensors, W=tensors["W"].clone(), bias_hn=tensors["bias_hn"] + 3)
    other["W"][2 * N :] = haar(N, F64, seed=44)
    assert torch.equal(gated_scan(**tensors), gated_scan(**other))


# -------------------------------------------------------------------------- precision and machinery


@EVERY
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("inside", [True, False])
def test_autocast_changes_no_bit(inside, checkpoint, backend):
    """The reverse loop, too, runs in the precision of the forward one, where it is ours."""
    given = leaves(draw(), F32)
    options = {"backend": backend, "checkpoint": checkpoint}
    wanted = results(lambda given: gated_scan(**given, **options), given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (given["x"] @ given["weight_ih"].mT).dtype == torch.bfloat16  # it is on
        out = gated_scan(**given, **options)
        got = results(lambda _: out, given) if inside and backend != "reference" else None
    got = got or results(lambda _: out, given)
    assert all(torch.equal(got[name], value) for name, value in wanted.items())
    assert {t.dtype for t in got.values()} == {F32}


@EVERY
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_single_and_rounds_once(low, backend):
    given = leaves(draw(), low)
    got = gated_scan(**given, backend=backend)
    wanted = gated_scan(**{name: t.float() for name, t in given.items()}, backend=backend)
    assert got.dtype == low
    assert torch.equal(got, wanted.to(low))
    for grad in torch.autograd.grad(got.sum(), list(given.values())):
        assert grad.dtype == low
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize("name", ["x", "W", "h0", "weight_ih", "bias", "bias_hn"])
def test_the_widest_dtype_rules(name):
    wide = draw()
    given = {key: t if key == name else t.to(F32) for key, t in wide.items()}
    got = gated_scan(**given)
    assert got.dtype == F64
    assert torch.equal(got, gated_scan(**wide))  # single precision holds the others exactly


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
def test_no_grad_and_inference_mode_give_the_same(return_sequence, backend):
    given = leaves(draw())
    before = copy.deepcopy(given)
    options = {"return_sequence": return_sequence, "backend": backend}
    wanted = gated_scan(**given, **options)
    assert wanted.requires_grad
    with torch.no_grad():
        plain = gated_scan(**given, **options)
    with torch.inference_mode():
        inference = gated_scan(**given, **options)
    for got in (plain, inference):
        assert not got.requires_grad
        torch.testing.assert_close(got.clone(), wanted.detach(), **CLOSE)
    # Nor does what is returned share memory with what was given.
    plain.zero_()
    assert all(torch.equal(given[name], before[name]) for name in given)


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
def test_layout_of_the_inputs_does_not_matter(return_sequence, backend):
    bases = {
        "x": normal(B, M, T, dtype=F64, seed=1),
        "W": normal(N, 3 * N, dtype=F64, seed=2),
        "h0": normal(1, N, dtype=F64, seed=3),
        "weight_ih": normal(2 * M, 6 * N, dtype=F64, seed=4),
        "bias": normal(3 * N, 2, dtype=F64, seed=5),
        "bias_hn": normal(1, dtype=F64, seed=6),
    }
    views = {
        "x": lambda t: t.permute(2, 0, 1),
        "W": lambda t: t.mT,
        "h0": lambda t: t.expand(B, N),
        "weight_ih": lambda t: t[::2, ::2].mT,
        "bias": lambda t: t[:, 1],
        "bias_hn": lambda t: t.expand(N),
    }

    def run(contiguous: bool) -> list[Tensor]:
        tensors = leaves(bases)
        given = {name: views[name](tensors[name]) for name in tensors}
        if contiguous:
            given = {name: t.contiguous() for name, t in given.items()}
        else:
            assert not any(t.is_contiguous() for t in given.values())
        out = gated_scan(**given, return_sequence=return_sequence, backend=backend)
        # The gradient of a sum is one number expanded.
        return [out, *torch.autograd.grad(out.sum(), list(tensors.values()))]

    for got, wanted in zip(run(False), run(True), strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE)


@EVERY
@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("return_sequence", [True, False])
def test_writing_into_the_output_never_corrupts_gradients(return_sequence, visible, backend):
    """Written with autograd looking on, or behind its back: right, or an error that says so."""
    given = leaves(draw())
    options = {"return_sequence": return_sequence, "backend": backend}
    wanted = torch.autograd.grad(3 * gated_scan(**given, **options).sum(), list(given.values()))
    out = gated_scan(**given, **options)
    got, refused = None, ""
    try:
        if visible:
            out.mul_(3)
            loss = out.sum()
        else:
            loss = 3 * out.sum()
            with torch.no_grad():
                out.zero_()
        got = torch.autograd.grad(loss, list(given.values()))
    except RuntimeError as error:
        refused = str(error)
    if got is None:
        assert "inplace" in refused
    else:
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


@EVERY
@pytest.mark.parametrize("checkpoint", [None, 2])
def test_a_gradient_to_be_differentiated_counts_each_path_once(checkpoint, backend):
    """The state at the start of the second half is a function of the same W, V and b."""

    def twice(backend: str, checkpoint: int | None) -> list[Tensor]:
        tensors = leaves(draw())
        h, weights = tensors["h0"], {k: t for k, t in tensors.items() if k not in ("x", "h0")}
        for part in (tensors["x"][:3], tensors["x"][3:]):
            options = {"backend": backend, "checkpoint": checkpoint, "return_sequence": False}
            h = gated_scan(part, h0=h, **weights, **options)
        values = list(tensors.values())
        first = torch.autograd.grad(h.square().sum(), values, create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), values)]

    for got, wanted in zip(twice(backend, checkpoint), twice("reference", None), strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE)


def test_backward_twice():
    given = leaves(draw())
    loss = gated_scan(**given).square().sum()
    first = torch.autograd.grad(loss, list(given.values()), retain_graph=True)
    second = torch.autograd.grad(loss, list(given.values()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
def test_empty_batch(return_sequence, backend):
    """As torch.nn.GRU: no rows in, no rows out, gradients zero."""
    given = leaves(draw(batch=0))
    out = gated_scan(**given, return_sequence=return_sequence, backend=backend)
    assert out.shape == ((T, 0, N) if return_sequence else (0, N))
    for grad, tensor in zip(
        torch.autograd.grad(out.sum(), list(given.values())), given.values(), strict=True
    ):
        assert torch.equal(grad, torch.zeros_like(tensor))


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torch_func_goes_through():
    """vmap over rows is the batch; forward mode agrees with reverse mode."""
    given = draw()
    wanted = gated_scan(**given)
    rest = {name: t for name, t in given.items() if name not in ("x", "h0")}
    one = lambda x, h: gated_scan(x.unsqueeze(1), h0=h.unsqueeze(0), **rest).squeeze(1)
    got = torch.vmap(one, in_dims=(1, 0), out_dims=1)(given["x"], given["h0"])
    torch.testing.assert_close(got, wanted, **CLOSE)
    run = lambda w: gated_scan(**dict(given, W=w))
    tangent, weight = normal(3 * N, N, dtype=F64, seed=31), normal(T, B, N, dtype=F64, seed=32)
    _, forward = torch.func.jvp(run, (given["W"],), (tangent,))
    w = given["W"].clone().requires_grad_()
    (reverse,) = torch.autograd.grad((weight * run(w)).sum(), w)
    torch.testing.assert_close((weight * forward).sum(), (reverse * tangent).sum(), **CLOSE)


# ------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("return_sequence", [True, False])
def test_what_is_kept_for_the_backward_pass(return_sequence):
    given = leaves(draw(60, 2, 16), F32)
    known = {t.untyped_storage()._cdata for t in given.values()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda t: t):
        gated_scan(**given, return_sequence=return_sequence)
    # The states with the first one; of each step both gates, the product and the candidate.
    assert sum(saved.values()) == (61 + 4 * 60) * 2 * 16 * 4


@pytest.mark.parametrize("inference", [True, False])
def test_the_last_state_keeps_no_others(inference):
    given = leaves(draw(60, 2, 16), F32)
    with torch.inference_mode(inference):
        last = gated_scan(**given, return_sequence=False)
    assert last.untyped_storage().nbytes() == 2 * 16 * 4


def test_nothing_unwritten_is_read(monkeypatch):
    def run() -> list[Tensor]:
        found = []
        for return_sequence in (True, False):
            given = leaves(draw())
            scan = lambda given: gated_scan(**given, return_sequence=return_sequence)
            found += results(scan, given).values()
            with torch.no_grad():
                found.append(scan(given))
        return found

    wanted, count = run(), 0

    def poisoned(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            return function(*args, **kwargs).fill_(math.nan)

        return call

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))
    # The same operations on the same numbers: no bit may differ.
    assert all(torch.equal(a, b) for a, b in zip(run(), wanted, strict=True))
    assert count > 0


# ------------------------------------------------------------------------------ choice and refusals


def test_environment_forces_a_backend(monkeypatch):
    given = draw()
    monkeypatch.setenv("UNITARY_ZOO_SCAN", "reference")
    torch.testing.assert_close(
        gated_scan(**given), gated_scan(**given, backend="portable"), **CLOSE
    )
    monkeypatch.setenv("UNITARY_ZOO_SCAN", "native")
    with pytest.raises(ValueError, match=r"'native' cannot run this: .*no gated.*UNITARY_ZOO_SCAN"):
        gated_scan(**given)
    gated_scan(**given, backend="portable")


def test_gated_scan_names_the_choices_for_an_unknown_backend():
    with pytest.raises(ValueError, match=r"unknown.*'fastest'.*auto.*portable.*reference"):
        gated_scan(**draw(), backend="fastest")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (T, B)),
        ("x", (T, B, M + 1)),
        ("W", (N, N)),
        ("W", (3 * N, N + 1)),
        ("W", (3, N, N)),
        ("h0", (N,)),
        ("h0", (B + 1, N)),
        ("weight_ih", (N, M)),
        ("bias", (N,)),
        ("bias_hn", (3 * N,)),
        ("bias_hn", ()),
    ],
)
def test_wrong_shapes_are_refused(name, shape):
    with pytest.raises(ValueError, match=r"has shape \(.*pass "):
        gated_scan(**dict(draw(), **{name: torch.zeros(shape, dtype=F64)}))


@pytest.mark.parametrize("name", ["W", "h0", "weight_ih", "bias", "bias_hn"])
def test_tensors_on_several_devices_are_refused(name):
    given = draw()
    given[name] = given[name].to("meta")
    with pytest.raises(ValueError, match=f"{name} is on meta, and x is on cpu"):
        gated_scan(**given)


@pytest.mark.parametrize("name", ["x", "W", "h0", "weight_ih", "bias", "bias_hn"])
def test_complex_numbers_are_refused(name):
    given = draw()
    given[name] = given[name].to(torch.complex128)
    with pytest.raises(ValueError, match=rf"{name} is torch\.complex128.*as_real"):
        gated_scan(**given)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="T = 0"):
        gated_scan(**draw(0))


@pytest.mark.parametrize("checkpoint", [0, -1, True, 2.5, "3"])
def test_bad_checkpoint_is_refused(checkpoint):
    with pytest.raises(ValueError, match="checkpoint="):
        gated_scan(**draw(), checkpoint=checkpoint)
