"""The experiment on bounds, and the printed bounds by eigenvalues, which it is about."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons.experiments import vanishing
from comparisons.experiments.vanishing import eigenvalue_bounds
from unitary_zoo import theory
from unitary_zoo.testing.strategies import seeds
from unitary_zoo.testing.subject import haar, normal

F64 = torch.float64


def test_vanishing_measures_norms_within_bounds(run):
    cases = run("vanishing", "--tiny")["cases"]
    assert [(c["nonlinearity"], c["factor"]) for c in cases] == [
        (name, mu) for name in vanishing.NONLINEARITIES for mu in vanishing.FACTORS
    ]
    for case in cases:
        steps = range(7, -1, -1)
        slope = 0.25 if case["nonlinearity"] == "sigmoid" else 1.0
        expected = [k * math.log(slope * case["factor"]) for k in steps]
        assert case["log_upper"] == pytest.approx(expected, abs=1e-10)
        upper = [math.exp(log) * (1 + 1e-9) for log in expected]
        assert all(m <= u for m, u in zip(case["largest"], upper, strict=True))
        assert case["largest"][-1] == pytest.approx(1)
        if case["nonlinearity"] == "abs":
            assert case["least"] == pytest.approx([case["factor"] ** k for k in steps])


@pytest.mark.parametrize(
    ("slopes", "low", "high"),
    [((1.0, 1.0), 1.1**7, 1.1**7), ((0.0, 0.2), 0.0, 0.22**7)],
    ids=["below", "above"],
)
def test_vanishing_raises_if_a_bound_is_broken(run, monkeypatch, slopes, low, high):
    real = theory.gradient_bounds
    # The planted fault: other slopes of the sigmoid.
    monkeypatch.setattr(theory, "gradient_bounds", lambda w, _, steps: real(w, slopes, steps))
    message = re.escape(f"bounds {low:.6g} to {high:.6g}")
    with pytest.raises(vanishing.BoundError, match=f"^sigmoid, mu = 1.1, t = 0: .*{message}$"):
        run("vanishing", "--tiny", "--factors", "1.1")


@pytest.mark.parametrize("argv", [("--factors", "1.5"), ("--length", "1")])
def test_vanishing_refuses_arguments(run, argv, capsys):
    with pytest.raises(SystemExit) as stop:
        run("vanishing", *argv)
    assert stop.value.code == 2
    assert argv[1] in capsys.readouterr().err


def test_eigenvalue_bounds_fail_for_a_matrix_that_is_not_normal():
    w = torch.tensor([[0.5, 10.0], [0.0, 0.4]], dtype=F64)
    # The Jacobian of three steps of the linear network: [[.125, 10 (.25 + .2 + .16)], [0, .064]].
    s = np.linalg.svd(np.linalg.matrix_power(w.numpy(), 3), compute_uv=False)
    assert s.max() == pytest.approx(math.sqrt(6.1**2 + 0.125**2), rel=1e-3)
    printed = eigenvalue_bounds(w, "identity", 3)
    assert float(printed.upper) == pytest.approx(0.5**3)
    assert s.max() > 40 * float(printed.upper)
    # And the least: s_min(W^3) is far below .4^3.
    assert s.min() < float(printed.lower)


@settings(max_examples=20)
@given(n=st.sampled_from([1, 2, 3, 7]), seed=seeds(), steps=st.integers(0, 20))
def test_eigenvalue_bounds_are_the_gradient_bounds_of_a_normal_matrix(n, seed, steps):
    u = haar(n, torch.complex128, seed=seed)
    w = u * (0.5 + normal(n, dtype=F64, seed=seed + 1).abs()) @ u.mH
    ours, theirs = (f(w, "identity", steps) for f in (theory.gradient_bounds, eigenvalue_bounds))
    # Eigenvalues of a normal matrix are as well conditioned as singular values; both are off by
    # O(n) eps ||W||, relative to the least one, which is over .5, by ||W|| < 6 times that or so.
    limit = 1000 * n * torch.finfo(F64).eps * max(1, steps)
    torch.testing.assert_close(ours.log_upper, theirs.log_upper, rtol=0, atol=limit)
    torch.testing.assert_close(ours.log_lower, theirs.log_lower, rtol=0, atol=limit)
