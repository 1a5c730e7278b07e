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
def test_real_determinant_is_chosen(n, determinant):
    p = build(n, field="real", determinant=determinant)
    assert torch.linalg.det(p.matrix()).item() == pytest.approx(determinant, abs=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_dft_basis_gives_circulant_matrices(n):
    p = build(n, basis="dft")
    first = p.matrix().detach().numpy()[:, 0]
    np.testing.assert_allclose(
        p.matrix().detach().numpy(), scipy.linalg.circulant(first), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("n", [2, 5, 8])
def test_real_dft_basis_gives_circulant_matrices_where_the_phases_allow(n):
    # Sines and cosines of one frequency are turned into each other: that commutes with shifts.
    p = build(n, basis="dft", field="real")
    w = p.matrix().detach()
    shift = torch.eye(n, dtype=w.dtype).roll(1, 0)
    if n % 2:  # for even n the constant and the alternating wave share a block
        torch.testing.assert_close(w @ shift, shift @ w, rtol=0, atol=1e-14)
    assert linalg.unitarity_defect(w) < 1e-14


def test_given_basis_diagonalises():
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


def test_bad_bases_are_refused():
    with pytest.raises(ValueError, match="unitarity defect"):
        build(3, basis=torch.ones(3, 3, dtype=torch.complex128))
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        build(3, basis=torch.eye(4, dtype=torch.complex128))
    with pytest.raises(ValueError, match="'hilbert'"):
        build(3, basis="hilbert")
    with pytest.raises(ValueError, match="determinant"):
        build(3, field="complex", determinant=-1)


def test_nearest_in_the_fixed_basis_is_optimal():
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
    ("basis", "message"),
    [
        ("fourier", "basis='fourier'"),
        (torch.eye(3), r"shape \(3, 3\).*shape \(4, 4\)"),
        (2 * torch.eye(4), "unitarity defect 3.*linalg.qr"),
        (torch.full((4, 4), math.nan), "basis"),
        (torch.eye(4, dtype=torch.complex64), "real matrix"),
    ],
    ids=["name", "shape", "not unitary", "nan", "complex for real"],
)
def test_eigenphase_refuses_a_bad_basis(basis, message):
    with pytest.raises(ValueError, match=message):
        Parametrization.create("eigenphase", 4, field="real", basis=basis)
