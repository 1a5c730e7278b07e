"""Recurrences with the maps of schemes, made dense or applied by their factors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import learned
from tests.scan.loop import Inputs, loop
from unitary_zoo import Parametrization
from unitary_zoo.base import DenseMap
from unitary_zoo.scan import choice, recurrent_scan
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import Subject, normal


def scheme_cases():
    for name in Parametrization.names():
        for field in Parametrization.get(name).info.fields:
            yield pytest.param(Subject(Parametrization.get(name)), field, id=f"{name}-{field}")
    dft = Subject(Parametrization.get("eigenphase"), {"basis": "dft"})
    yield pytest.param(dft, "complex", id="eigenphase_dft-complex")


@pytest.mark.parametrize("factors", [True, False])
@pytest.mark.parametrize(("subject", "field"), list(scheme_cases()))
def test_scan_with_a_map_equals_the_loop_with_its_matrix(subject, field, factors, monkeypatch):
    """States and gradients of the parameters, with the map made dense or applied by factors."""
    monkeypatch.setattr(choice, "by_factors", lambda *args: factors)
    for n in subject.sizes(1, 2, 7):
        p = subject.build(n, field, torch.float64)
        x, h0 = normal(5, 2, n, dtype=p.dtype), normal(2, n, dtype=p.dtype, seed=2)
        threshold = -0.1 * normal(n, dtype=torch.float64, seed=3).abs()
        cotangent = normal(5, 2, n, dtype=p.dtype, seed=4)
        got = recurrent_scan(x, p.prepare(), h0, "modrelu", threshold=threshold)
        wanted = loop(
            "modrelu", Inputs(x, p.matrix(), h0, None, None, threshold), return_sequence=True
        )[0]
        size = float(wanted.detach().abs().max())
        # W acts without growth and modReLU with b <= 0 too, so 5 steps of sums of n terms add up;
        # a factored map does as many sums for each of at most eight factors.
        limit = 5 * 8 * n * torch.finfo(torch.float64).eps
        assert float((got - wanted).detach().abs().max()) <= limit * size
        theta = [q for q in learned(p) if q.numel()]
        if not theta:
            continue
        for a, b in zip(
            torch.autograd.grad((cotangent.conj() * got).real.sum(), theta),
            torch.autograd.grad((cotangent.conj() * wanted).real.sum(), theta),
            strict=True,
        ):
            # dW is a sum over steps and batch of products of that accuracy; the maps
            # theta -> W have derivatives of order 1.
            terms = 5 * 2 * n * size * float(cotangent.abs().max())
            assert float((a - b).abs().max()) <= limit * terms


def structured_map(n: int = 6):
    return Parametrization.create("eigenphase", n, basis="dft", dtype=torch.float64).prepare()


@pytest.mark.parametrize("factors", [True, False])
def test_scan_makes_a_map_dense_once_or_never(factors, monkeypatch):
    monkeypatch.setattr(choice, "by_factors", lambda *args: factors)
    w = structured_map()
    assert not isinstance(w, DenseMap)
    calls = {"matrix": 0, "map": 0}

    def count(what, function):
        def counted(*args):
            calls[what] += 1
            return function(*args)

        return counted

    monkeypatch.setattr(type(w), "__call__", count("map", type(w).__call__))
    monkeypatch.setattr(type(w), "matrix", count("matrix", type(w).matrix))
    recurrent_scan(torch.zeros(12, 2, 6, dtype=torch.float64), w, torch.zeros(2, 6), "identity")
    if factors:
        assert calls == {"matrix": 0, "map": 12}
    else:
        assert calls["matrix"] == 1
        assert calls["map"] <= 1  # the matrix may be the image of the identity


def test_by_factors_chooses_the_cheaper_form():
    """The sizes lie far from the crossings of the benchmark `scan_speed --structured`."""
    of_size = {n: Parametrization.create("arjovsky", n).prepare() for n in (8, 128, 256, 1024)}
    for n, w in of_size.items():
        for compiled in (False, True):
            assert choice.by_factors(w, 1, 2, compiled)  # one step is no reason to build W
        assert choice.by_factors(w, 100, 20, compiled=False) == (n == 1024)
        assert choice.by_factors(w, 1000, 1, compiled=False) == (n == 1024)
        assert choice.by_factors(w, 1000, 20, compiled=True) == (n >= 128)
        assert choice.by_factors(w, 1000, 1, compiled=True) == (n >= 128)
    dense = Parametrization.create("expm", 8).prepare()
    assert dense.multiplications == 64
    assert of_size[8].multiplications < 4 * of_size[128].multiplications


def test_scan_makes_no_map_dense_for_one_step(monkeypatch):
    w = structured_map()
    monkeypatch.setattr(w, "matrix", lambda: pytest.fail("W built for one step"))
    recurrent_scan(torch.zeros(1, 2, 6, dtype=torch.float64), w, torch.zeros(2, 6), "identity")


@given(
    data=st.data(),
    name=st.sampled_from(Parametrization.names(exact=True)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 3)),
    seed=strategies.seeds(),
)
def test_scan_of_a_linear_network_at_rest_keeps_the_norm(data, name, shape, seed):
    p = data.draw(strategies.parametrizations(name, largest=12))
    steps, batch = shape
    h0 = normal(batch, p.n, dtype=p.dtype, seed=seed)
    states = recurrent_scan(
        torch.zeros(steps, batch, p.n, dtype=p.dtype), p.prepare(), h0, "identity"
    )
    # A step changes the norm by half the defect, and rounds sums of n terms.
    eps = torch.finfo(p.dtype).eps
    limit = steps * (p.info.tolerance(p.n, p.dtype) / 2 + p.n * eps)
    ratio = states.detach().norm(dim=-1) / h0.norm(dim=-1)
    assert float((ratio - 1).abs().max()) <= limit
