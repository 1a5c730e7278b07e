"""eigenphase: its eigenvalues, its bases and the nearest matrix."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from unitary_zoo import Parametrization, linalg


def build(n, **options):
    return Parametrization.create("eigenphase", n, dtype=torch.float64, **options)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17, 33])
@pytest.mark.parametrize("basis", ["haar", "dft"])
@pytest.mark.parametrize("field", ["complex", "real"])
def test_eigenphases_are_those_of_the_matrix(n, basis, field):
    p = build(n, basis=basis, field=field)
    assert p.eigenphases().shape == (n,)
    found = scipy.linalg.eigvals(p.matrix().detach().numpy())
    wanted = np.exp(1j * p.eigenphases().detach().numpy())
    # Eigenvalues of a normal matrix: right to a few n eps. Each wanted one is there, and as many.
    gaps = np.abs(found[:, None] - wanted[None, :])
    rows, columns = scipy.optimize.linear_sum_assignment(gaps)
    assert gaps[rows, columns].max() < 1e-13 * n


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("determinant", [1, -1])
def test_determinant_option_is_kept(n, determinant):
    p = build(n, field="real", determinant=determinant)
    assert torch.linalg.det(p.matrix()).item() == pytest.approx(determinant, abs=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_matrix_is_circulant_in_the_dft_basis(n):
    p = build(n, basis="dft")
    first = p.matrix().detach().numpy()[:, 0]
    np.testing.assert_allclose(
        p.matrix().detach().numpy(), scipy.linalg.circulant(first), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("n", [2, 5, 8])
def test_matrix_commutes_with_shifts_in_the_real_dft_basis(n):
    # Sines and cosines of one frequency are turned into each other: that commutes with shifts.
    p = build(n, basis="dft", field="real")
    w = p.matrix().detach()
    shift = torch.eye(n, dtype=w.dtype).roll(1, 0)
    if n % 2:  # for even n the constant and the alternating wave share a block
        torch.testing.assert_close(w @ shift, shift @ w, rtol=0, atol=1e-14)
    assert linalg.unitarity_defect(w) < 1e-14


def test_basis_given_diagonalises_the_matrix():
    q = torch.linalg.qr(torch.randn(6, 6, dtype=torch.complex128)).Q
    p = build(6, basis=q)
    w = p.matrix().detach()
    diagonal = torch.polar(torch.ones(6, dtype=torch.float64), p.phases.detach())
    torch.testing.assert_close(q.mH @ w @ q, torch.diag(diagonal), rtol=0, atol=1e-14)


def test_basis_is_fixed_and_only_phases_learn():
    p = build(5)
    assert [name for name, _ in p.named_parameters()] == ["phases"]
    before = p.q.clone()
    p.reset_parameters("torus")
    torch.testing.assert_close(p.q, before, rtol=0, atol=0)


def test_assign_nearest_is_optimal_in_the_fixed_basis():
    p = build(4)
    target = build(4, generator=torch.Generator().manual_seed(9)).matrix().detach()
    p.assign_(target, nearest=True)
    best = (p.matrix().detach() - target).norm()
    with torch.no_grad():
        for _ in range(50):
            p.phases.add_(0.01 * torch.randn(4, dtype=torch.float64))
            assert (p.matrix() - target).norm() >= best - 1e-12
            p.assign_(target, nearest=True)


@pytest.mark.parametrize(
    ("field", "basis", "message"),
    [
        ("real", "fourier", "basis='fourier'"),
        ("real", torch.eye(3), r"shape \(3, 3\).*shape \(4, 4\)"),
        ("real", 2 * torch.eye(4), "unitarity defect 3.*linalg.qr"),
        ("complex", torch.ones(4, 4, dtype=torch.complex128), "unitarity defect"),
        ("real", torch.full((4, 4), math.nan), "basis"),
        ("real", torch.eye(4, dtype=torch.complex64), "real matrix"),
    ],
    ids=["name", "shape", "not orthogonal", "not unitary", "nan", "complex for real"],
)
def test_basis_unfit_is_refused_with_the_reason(field, basis, message):
    with pytest.raises(ValueError, match=message):
        build(4, field=field, basis=basis)
