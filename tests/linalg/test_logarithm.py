"""unitary_eigh, log_unitary and what becomes of phases, against numpy and scipy."""

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linalg.common import plane_rotations, random_skew, random_unitary
from tests.oracles import C128, DTYPES, F64, FIELDS, SIZES, as_numpy, defect, gap, rounding
from unitary_zoo import linalg
from unitary_zoo.testing.strategies import dtypes, seeds

SPECTRA = {
    "generic": [0.3, -1.1, 2.0, 2.9, -2.5, 0.0, 1.0],
    "identity": [0.0] * 7,
    "minus identity": [math.pi] * 7,
    "repeated": [0.7] * 3 + [-0.7] * 3 + [math.pi],
    "a close cluster": [1.0, 1.0 + 1e-9, 1.0 - 1e-12, 1.0 + 1e-15, -1.0, 2.0, 2.0 + 1e-8],
    "around the cut": [math.pi, -math.pi + 1e-12, math.pi - 1e-9, 0.1, 0.2, -0.1, -0.2],
    "evenly spread": [2 * math.pi * k / 7 for k in range(7)],
}


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_unitary_eigh_vectors_are_orthonormal_and_rebuild_the_matrix(spectrum):
    n = 7
    phases = np.array(SPECTRA[spectrum])
    q = random_unitary(n, C128).numpy()
    w = (q * np.exp(1j * phases)) @ q.conj().T
    found, v = linalg.unitary_eigh(torch.from_numpy(w))
    # With the cut in the widest of 7 gaps, at least 2 pi / 7, the Hermitian matrix has norm at most
    # cot(pi / 14) = 4.4; an eigensolver is right to a few n eps times that norm.
    limit = 20 * n * torch.finfo(F64).eps
    assert defect(v) <= limit
    assert gap((v * torch.exp(1j * found)) @ v.mH, w) <= limit
    assert found.abs().max() <= math.pi
    turned = np.exp(1j * found.numpy())[:, None] - np.exp(1j * phases)[None, :]
    rows, columns = scipy.optimize.linear_sum_assignment(np.abs(turned))
    assert np.abs(turned[rows, columns]).max() <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_unitary_eigh_phases_equal_numpy(n, dtype):
    w = random_unitary(n, dtype)
    found, v = linalg.unitary_eigh(w)
    assert v.dtype == C128
    # The input is unitary to a few n eps of its own dtype; in n + 1 random phases the widest gap is
    # above 1/n, so that the condition is below n.
    limit = 10 * n * n * torch.finfo(dtype).eps
    assert gap((v * torch.exp(1j * found)) @ v.mH, w) <= limit
    wanted = np.linalg.eigvals(as_numpy(w))
    distance = np.abs(np.exp(1j * found.numpy())[:, None] - wanted[None, :])
    assert distance.min(0).max() <= limit
    assert distance.min(1).max() <= limit


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("n", SIZES)
def test_log_unitary_equals_scipy(n, dtype):
    w = random_unitary(n, dtype, seed=n)
    a = linalg.log_unitary(w)
    angles = np.angle(np.linalg.eigvals(w.numpy()))
    away = math.pi - np.abs(angles).max()
    assert n == 1 or away > 1e-3  # of the seed: the principal logarithm is unique, and well defined
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of what it estimates its error to be
        wanted = scipy.linalg.logm(w.numpy())
    # Near pi the two conjugate logarithms meet: the condition is that of the eigenvectors there.
    assert gap(a, wanted) <= 100 * n * torch.finfo(F64).eps / away
    assert a.dtype == dtype


LOGARITHMS = {
    "rotation by pi": [math.pi],
    "minus identity": [math.pi] * 3,
    "two pairs of -1, two planes": [math.pi, math.pi, 0.4, 2.0],
    "repeated angle": [1.2, 1.2, 1.2],
    "repeated opposite angles": [1.2, -1.2, 0.5],
    "repeated angle near pi": [math.pi - 1e-3, math.pi - 1e-3, 0.1],
    "angles at every distance from pi": [math.pi - 10.0**-k for k in range(1, 17)],
    "within rounding of pi": [math.pi - 4e-16, math.pi - 1e-15, -math.pi + 1e-15, math.pi],
    "identity": [0.0, 0.0],
    "tiny": [1e-9, 1e-12, 0.0],
}


@pytest.mark.parametrize("rest", [0, 1, 2])
@pytest.mark.parametrize("case", LOGARITHMS)
def test_log_unitary_of_a_real_matrix_is_real_principal_and_exact(case, rest):
    angles = LOGARITHMS[case]
    n = 2 * len(angles) + rest
    q = random_unitary(n, F64, seed=n).numpy()
    w = q @ plane_rotations(angles, n) @ q.T
    a = linalg.log_unitary(torch.from_numpy(w))
    assert a.dtype == F64
    assert gap(a, -a.mT) <= rounding(n, F64, 20)  # the angles are at most pi
    # W is unitary to a few n eps, and exp is 1-Lipschitz on skew matrices; the eigensolver's error
    # is a few n eps times the cotangent of half the widest gap, below n.
    limit = 20 * n * n * torch.finfo(F64).eps
    assert np.abs(scipy.linalg.expm(a.numpy()) - w).max() <= limit
    found = np.sort(np.abs(np.linalg.eigvals(a.numpy()).imag))
    wanted = np.sort(np.abs(np.array([*angles, *angles, *[0.0] * rest])))
    assert np.abs(found - wanted).max() <= limit


@pytest.mark.parametrize(
    "diagonal",
    [[-1, -1], [-1, -1, 1], [1, -1, 1, -1], [-1] * 4, [-1] * 6, [-1, -1, 1, 1, 1, -1, -1]],
)
def test_log_unitary_of_exact_signs_is_exact(diagonal):
    # Nothing here tells one plane of the eigenvalue -1 from another, not even rounding.
    w = torch.diag(torch.tensor(diagonal, dtype=F64))
    a = linalg.log_unitary(w).numpy()
    limit = 100 * len(diagonal) * torch.finfo(F64).eps
    assert np.abs(a + a.T).max() <= limit
    assert np.abs(scipy.linalg.expm(a) - w.numpy()).max() <= limit
    # The principal logarithm: half turns in the planes of -1, and nothing elsewhere.
    assert (
        np.abs(a @ a - np.diag([-(math.pi**2) if x < 0 else 0.0 for x in diagonal])).max() <= limit
    )


@pytest.mark.parametrize(
    "phases", [[math.pi], [math.pi, math.pi, 0.1], [-math.pi + 1e-15, 3.0, 1.0]]
)
def test_log_unitary_of_a_complex_matrix_is_principal_at_minus_one(phases):
    n = len(phases)
    q = random_unitary(n, C128, seed=3).numpy()
    w = (q * np.exp(1j * np.array(phases))) @ q.conj().T
    a = linalg.log_unitary(torch.from_numpy(w))
    assert gap(a, -a.mH) <= rounding(n, F64, 20)
    limit = 100 * n * torch.finfo(F64).eps
    assert np.abs(scipy.linalg.expm(a.numpy()) - w).max() <= limit
    assert np.linalg.norm(a.numpy(), 2) <= math.pi + limit


@pytest.mark.parametrize("n", SIZES)
def test_log_unitary_refuses_a_real_determinant_minus_one(n):
    w = random_unitary(n, F64)
    w[:, 0] *= -1
    with pytest.raises(ValueError, match=r"determinant -1.*flip the sign.*field='complex'"):
        linalg.log_unitary(w)
    a = linalg.log_unitary(w.to(C128))  # the second remedy works
    assert np.abs(scipy.linalg.expm(a.numpy()) - w.numpy()).max() <= 100 * n * n * 2.3e-16


@given(n=st.integers(1, 12), dtype=dtypes(), seed=seeds(), field=st.sampled_from(FIELDS))
@settings(max_examples=40)
def test_log_unitary_inverts_the_exponential_below_pi(n, dtype, seed, field):
    a = random_skew(n, C128 if field == "complex" else F64, 3.0, seed=seed)
    w = torch.from_numpy(scipy.linalg.expm(a.numpy())).to(
        dtype.to_complex() if a.is_complex() else dtype
    )
    # Of the input's own precision, and 1/(pi - 3) = 7 for the nearness of the cut.
    assert gap(linalg.log_unitary(w), a) <= 100 * n * torch.finfo(dtype).eps


@pytest.mark.parametrize("turns", [0, 1, -2, 5])
def test_phases_with_sum_differ_by_a_full_turn_at_most(turns):
    phases = torch.tensor([3.0, -2.9, 0.1, 1.5, -0.7], dtype=F64)
    before, total = phases.clone(), float(phases.sum()) - 2 * math.pi * turns
    found = linalg.phases_with_sum(phases, total)
    assert torch.equal(phases, before)
    assert float(found.sum()) == pytest.approx(total, abs=1e-13)
    moved = (phases - found) / (2 * math.pi)
    # Those farthest to the side of the turns are moved, each by one.
    order = phases.argsort(descending=turns > 0)
    np.testing.assert_allclose(moved[order][: abs(turns)], np.sign(turns), atol=1e-14)
    assert not moved[order][abs(turns) :].any()


@pytest.mark.parametrize("dtype", [F64, C128])
def test_away_from_minus_one_shrinks_the_angles_within_the_margin_only(dtype):
    margin, q = 1e-3, random_unitary(4, dtype).numpy()
    for angle, factor in ((math.pi - 5e-4, 1 - margin), (3.0, 1.0)):
        w = torch.from_numpy(q @ plane_rotations([angle, 0.4], 4) @ q.conj().T)
        wanted = q @ plane_rotations([factor * angle, factor * 0.4], 4) @ q.conj().T
        found = linalg.away_from_minus_one(w, margin)
        assert gap(found, wanted) <= 1e-13
        assert (found is w) == (factor == 1.0)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_logarithm_shows_what_is_not_finite(value, dtype):
    # The eigensolvers of LAPACK raise errors, or end the process.
    for w in (torch.full((3, 3), value, dtype=dtype), torch.eye(3, dtype=dtype)):
        w[0, 1] = value
        assert not torch.isfinite(linalg.log_unitary(w)).any()
        for found in linalg.unitary_eigh(w):
            assert not torch.isfinite(found).any()
        assert linalg.away_from_minus_one(w, 0.1) is w
