"""The choice of a backend."""

import re

import pytest
import torch

from tests.scan.recurrent_helpers import N, inputs
from unitary_zoo import Parametrization
from unitary_zoo.scan import backends, choice, recurrent_scan
from unitary_zoo.testing.subject import haar, normal, usable_backends


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the backends that ran."""
    names: list[str] = []
    for name, module in choice.BACKENDS.items():
        function = "run" if name == choice.PLAIN_LOOP else "forward"
        original = getattr(module, function)

        def run(*arguments, name=name, original=original, **options):
            names.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(module, function, run)
    monkeypatch.delenv("UNITARY_ZOO_SCAN", raising=False)
    return names


def test_backends_are_listed():
    found = backends()
    assert tuple(found) == ("native", "portable", "reference")  # the last is the last resort
    assert found["portable"].available
    assert found["reference"].available
    if found["native"].available:
        assert re.search(
            r"instruction set (generic|neon|avx2|avx512), on .* threads", found["native"].reason
        )
    else:
        assert found["native"].reason


def fast() -> str:
    return usable_backends()[0]


def test_auto_takes_the_fast_backend_and_a_name_forces_one(ran):
    recurrent_scan(**inputs(), nonlinearity="tanh")
    recurrent_scan(**inputs(), nonlinearity="tanh", backend="reference")
    recurrent_scan(**inputs(), nonlinearity="tanh", backend="portable")
    assert ran == [fast(), "reference", "portable"]


def test_auto_takes_a_backend_without_overhead_for_short_runs(ran):
    """The loop runs a single step; W is packed only if there are rows enough to pay for it."""
    one = inputs()
    one["x"] = one["x"][:1]
    recurrent_scan(**one, nonlinearity="tanh")
    for rows in (1, 2):
        n = 2 * choice.PACKING + 1
        w = haar(n, torch.float64)
        x, h0 = normal(2, rows, n, dtype=w.dtype), normal(rows, n, dtype=w.dtype)
        recurrent_scan(x, w, h0, "tanh")
    assert ran == ["reference", "portable", fast()]


def test_environment_overrides_auto_only(ran, monkeypatch):
    monkeypatch.setenv("UNITARY_ZOO_SCAN", "reference")
    recurrent_scan(**inputs(), nonlinearity="tanh")
    recurrent_scan(**inputs(), nonlinearity="tanh", backend="portable")
    monkeypatch.setenv("UNITARY_ZOO_SCAN", "auto")
    recurrent_scan(**inputs(), nonlinearity="tanh")
    assert ran == ["reference", "portable", fast()]


def test_unknown_backend_names_the_choices(monkeypatch):
    message = r"unknown scan backend 'fastest'.*portable.*reference"
    with pytest.raises(ValueError, match=message):
        recurrent_scan(**inputs(), nonlinearity="tanh", backend="fastest")
    monkeypatch.setenv("UNITARY_ZOO_SCAN", "fastest")
    with pytest.raises(ValueError, match=message):
        recurrent_scan(**inputs(), nonlinearity="tanh")


def test_forced_backend_gives_the_reason_of_a_refusal():
    tensors = inputs(dtype=torch.complex128)
    tensors["W"] = Parametrization.create("arjovsky", N, dtype=torch.float64).prepare()
    with pytest.raises(ValueError, match=r"'portable' cannot.*FactoredMap.*backend='auto'"):
        recurrent_scan(**tensors, nonlinearity="identity", backend="portable")
    recurrent_scan(**tensors, nonlinearity="identity", backend="reference")
