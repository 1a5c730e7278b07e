"""arjovsky against the product of its eight factors by numpy and scipy."""

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.schemes.dispatch import Written
from unitary_zoo import NotRepresentableError, Parametrization, linalg


def dense_product(p):
    """D3 R2 F^-1 D2 P R1 F D1 with scipy's DFT matrix, factor by factor in complex128."""
    n = p.n
    phases = p.phases.detach().double().numpy()
    v = p.reflectors.detach().double().numpy()
    v = v[..., 0] + 1j * v[..., 1]
    f = scipy.linalg.dft(n, scale="sqrtn")
    d1, d2, d3 = (np.diag(np.exp(1j * row)) for row in phases)
    r1, r2 = (np.eye(n) - 2 * np.outer(x, x.conj()) / np.vdot(x, x) for x in v)
    permute = np.eye(n)[p.permutation.numpy()]
    return d3 @ r2 @ np.linalg.inv(f) @ d2 @ permute @ r1 @ f @ d1


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 33, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrix_equals_the_explicit_product(n, dtype):
    p = Parametrization.create("arjovsky", n, dtype=dtype)
    wanted = dense_product(p)
    # Eight factors, each with entries right to a few eps; phases up to pi rounded to eps.
    limit = 40 * np.finfo(np.float32 if dtype == torch.float32 else np.float64).eps
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=limit)
    h = torch.randn(4, n, dtype=p.dtype)
    scale = float(h.norm())
    np.testing.assert_allclose(
        p(h).detach().numpy(), h.numpy() @ wanted.T, rtol=0, atol=limit * scale
    )
    np.testing.assert_allclose(
        p.adjoint(h).detach().numpy(), h.numpy() @ wanted.conj(), rtol=0, atol=limit * scale
    )


def test_forward_writes_no_square_matrix():
    n, batch = 256, 3
    p = Parametrization.create("arjovsky", n)
    h = torch.randn(batch, n, dtype=p.dtype)
    with torch.no_grad(), Written() as written:
        p(h)
    assert written.largest <= 2 * 2 * n * batch


def test_matrix_ignores_the_length_of_reflectors():
    p = Parametrization.create("arjovsky", 9, dtype=torch.float64)
    w = p.matrix().detach()
    for factor in (1e-170, 1e-8, 1e8, 1e170):
        with torch.no_grad():
            p.reflectors.mul_(factor)
            torch.testing.assert_close(p.matrix(), w, rtol=0, atol=1e-14)
            p.reflectors.div_(factor)


def test_matrix_has_finite_gradients_at_zero_reflectors():
    p = Parametrization.create("arjovsky", 5, dtype=torch.float64)
    with torch.no_grad():
        p.reflectors.zero_()
    w = p.matrix()
    assert linalg.unitarity_defect(w) < 1e-14
    w.real.sum().backward()
    assert torch.isfinite(p.reflectors.grad).all()


def test_start_is_that_of_the_paper():
    p = Parametrization.create("arjovsky", 4000)
    assert p.phases.abs().max() <= torch.pi
    assert p.reflectors.abs().max() <= 1
    # Uniform on (-a, a): standard deviation a/sqrt(3); its estimate from m draws is off by about
    # sqrt(1/(5 m)) relative, five of which are allowed.
    for values, a in ((p.phases, torch.pi), (p.reflectors, 1.0)):
        relative = float(values.detach().std()) / (a / 3**0.5) - 1
        assert abs(relative) < 5 * (1 / (5 * values.numel())) ** 0.5
    assert torch.equal(p.permutation.sort().values, torch.arange(4000))
    assert not torch.equal(p.permutation, torch.arange(4000))


def test_start_depends_on_the_generator_alone():
    def build():
        return Parametrization.create(
            "arjovsky", 12, generator=torch.Generator().manual_seed(4)
        ).matrix()

    torch.testing.assert_close(build(), build(), rtol=0, atol=0)


def test_dimension_is_that_of_the_group_up_to_n_5():
    # The dimension counts: 7n - 7 directions against n^2 (the paper's count of 7n says n <= 7).
    info = Parametrization.get("arjovsky").info
    assert [n for n in range(1, 12) if info.dimension(n) == n * n] == [1, 2, 3, 4, 5]


def test_assign_nearest_finds_its_own_matrix_and_returns_the_residual():
    p = Parametrization.create("arjovsky", 4, dtype=torch.float64)
    w = p.matrix().detach()
    assert p.assign_(w) < 1e-12
    target = Parametrization.create("full_capacity", 4, dtype=torch.float64).matrix().detach()
    before = float(torch.linalg.matrix_norm(w - target, 2))
    residual = p.assign_(target, nearest=True)
    found = float(torch.linalg.matrix_norm(p.matrix().detach() - target, 2))
    assert residual == pytest.approx(found, abs=1e-12)
    assert residual < before


def test_reset_parameters_refuses_other_initialisers_with_the_remedy():
    p = Parametrization.create("arjovsky", 6)
    with pytest.raises(NotRepresentableError, match="init='arjovsky'"):
        p.reset_parameters("haar")
