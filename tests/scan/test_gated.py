"""gated_scan: precision, the machinery of gradients, memory and backends."""

import copy

import pytest
import torch
from torch import Tensor

from tests.scan.gated_helpers import BACKENDS, F32, F64, B, M, N, T, draw, leaves, results
from tests.scan.memory import poison, saved_bytes
from unitary_zoo.scan import gated_scan
from unitary_zoo.testing.subject import normal

EVERY = pytest.mark.parametrize("backend", ["auto", *BACKENDS])
# A few products of sums of at most T B N terms of order 1 to 10, in double precision.
CLOSE = {"rtol": 0.0, "atol": T * B * N * 100 * torch.finfo(F64).eps}


@EVERY
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("inside", [True, False])
def test_gated_scan_under_autocast_changes_no_bit(inside, checkpoint, backend):
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
def test_gated_scan_of_half_precision_computes_in_single_and_rounds_once(low, backend):
    given = leaves(draw(), low)
    got = gated_scan(**given, backend=backend)
    wanted = gated_scan(**{name: t.float() for name, t in given.items()}, backend=backend)
    assert got.dtype == low
    assert torch.equal(got, wanted.to(low))
    for grad in torch.autograd.grad(got.sum(), list(given.values())):
        assert grad.dtype == low
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize("name", ["x", "W", "h0", "weight_ih", "bias", "bias_hn"])
def test_gated_scan_result_has_the_widest_dtype(name):
    wide = draw()
    given = {key: t if key == name else t.to(F32) for key, t in wide.items()}
    got = gated_scan(**given)
    assert got.dtype == F64
    assert torch.equal(got, gated_scan(**wide))  # single precision holds the others exactly


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
def test_gated_scan_gives_the_same_without_gradients(return_sequence, backend):
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
    # The result shares no memory with the inputs.
    plain.zero_()
    assert all(torch.equal(given[name], before[name]) for name in given)


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
def test_gated_scan_takes_any_layout_of_the_inputs(return_sequence, backend):
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
def test_gated_scan_allows_or_refuses_a_write_into_its_output(return_sequence, visible, backend):
    """Gradients after a write, recorded by autograd or not, are right, or an error names it."""
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
def test_gated_scan_second_derivative_counts_each_path_once(checkpoint, backend):
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


def test_gated_scan_gives_the_same_gradients_twice():
    given = leaves(draw())
    loss = gated_scan(**given).square().sum()
    first = torch.autograd.grad(loss, list(given.values()), retain_graph=True)
    second = torch.autograd.grad(loss, list(given.values()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
def test_gated_scan_takes_an_empty_batch(return_sequence, backend):
    """The result has no rows and all gradients are 0, as in torch.nn.GRU."""
    given = leaves(draw(batch=0))
    out = gated_scan(**given, return_sequence=return_sequence, backend=backend)
    assert out.shape == ((T, 0, N) if return_sequence else (0, N))
    for grad, tensor in zip(
        torch.autograd.grad(out.sum(), list(given.values())), given.values(), strict=True
    ):
        assert torch.equal(grad, torch.zeros_like(tensor))


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_gated_scan_runs_under_vmap_and_forward_mode():
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


@pytest.mark.parametrize("return_sequence", [True, False])
def test_gated_scan_saves_states_gates_product_and_candidate(return_sequence):
    given = leaves(draw(60, 2, 16), F32)
    _, saved = saved_bytes(
        lambda: gated_scan(**given, return_sequence=return_sequence), given.values()
    )
    # The states; of each step both gates, the product and the candidate.
    assert saved == (60 + 4 * 60) * 2 * 16 * 4


@pytest.mark.parametrize("inference", [True, False])
def test_gated_scan_last_state_holds_no_other_state(inference):
    given = leaves(draw(60, 2, 16), F32)
    with torch.inference_mode(inference):
        last = gated_scan(**given, return_sequence=False)
    assert last.untyped_storage().nbytes() == 2 * 16 * 4


def test_gated_scan_reads_no_unwritten_memory(monkeypatch):
    def run() -> list[Tensor]:
        found = []
        for return_sequence in (True, False):
            given = leaves(draw())
            scan = lambda given: gated_scan(**given, return_sequence=return_sequence)
            found += results(scan, given).values()
            with torch.no_grad():
                found.append(scan(given))
        return found

    wanted = run()
    count = poison(monkeypatch)
    # The same operations on the same numbers: no bit may differ.
    assert all(torch.equal(a, b) for a, b in zip(run(), wanted, strict=True))
    assert count[0] > 0


def test_gated_scan_takes_the_backend_of_the_environment(monkeypatch):
    given = draw()
    monkeypatch.setenv("UNITARY_ZOO_SCAN", "reference")
    torch.testing.assert_close(
        gated_scan(**given), gated_scan(**given, backend="portable"), **CLOSE
    )


def test_gated_scan_names_the_backends_for_an_unknown_one():
    with pytest.raises(ValueError, match=r"unknown.*'fastest'.*auto.*portable.*reference"):
        gated_scan(**draw(), backend="fastest")
