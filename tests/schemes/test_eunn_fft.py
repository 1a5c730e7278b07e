"""eunn_fft against its blocks one by one, and against numpy's FFT."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.schemes.dispatch import Written
from unitary_zoo import NotRepresentableError, Parametrization

SIZES = [1, 2, 4, 8, 32, 128]


def build(n, **options):
    return Parametrization.create("eunn_fft", n, **{"dtype": torch.float64, **options})


def reversed_bits(n):
    bits = n.bit_length() - 1
    return [int(format(i, f"0{bits}b")[::-1], 2) if bits else 0 for i in range(n)]


def dense_product(p):
    """(P) D F_L ... F_1, one n x n matrix for each block, in order of strides n/2, ..., 2, 1."""
    n, k, stride = p.n, 0, p.n // 2
    theta = p.theta.detach().double().numpy()
    phi, omega = np.zeros_like(theta), np.zeros(n)
    if p.field == "complex":
        phi, omega = p.phi.detach().double().numpy(), p.omega.detach().double().numpy()
    w = np.eye(n, dtype=complex)
    while stride:
        layer = np.eye(n, dtype=complex)
        for group in range(0, n, 2 * stride):
            for i in range(group, group + stride):
                c, s, e = np.cos(theta[k]), np.sin(theta[k]), np.exp(1j * phi[k])
                ij = [i, i + stride]
                layer[np.ix_(ij, ij)] = [[c, -e * s], [s, e * c]]
                k += 1
        w, stride = layer @ w, stride // 2
    assert k == len(theta)
    w = np.diag(np.exp(1j * omega)) @ w
    return w[reversed_bits(n)] if p.permute else w


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "options", [{}, {"permute": True}, {"field": "real"}], ids=["complex", "permuted", "real"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrix_equals_the_explicit_product(n, options, dtype):
    p = build(n, dtype=dtype, **options)
    wanted = dense_product(p)
    # Each of at most 7 layers and D turns numbers of size 1 by angles up to pi, rounded to eps.
    limit = 4 * 8 * torch.finfo(dtype).eps
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=limit)
    h = torch.randn(2, 4, n, dtype=p.dtype, generator=torch.Generator().manual_seed(n))
    scale = limit * float(h.norm())
    image, back = p(h).detach().numpy(), p.adjoint(h).detach().numpy()
    np.testing.assert_allclose(image, h.numpy() @ wanted.T, rtol=0, atol=scale)
    np.testing.assert_allclose(back, h.numpy() @ wanted.conj(), rtol=0, atol=scale)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reset_parameters_dft_is_the_fft_of_numpy(n, dtype):
    p = build(n, permute=True, dtype=dtype)
    p.reset_parameters("dft")
    h = torch.randn(3, n, dtype=p.dtype, generator=torch.Generator().manual_seed(n))
    wanted = np.fft.fft(h.numpy().astype(complex), norm="ortho")
    # Each of at most 7 layers and D turns numbers of size |h| by angles up to pi, rounded to eps.
    limit = 4 * 8 * torch.finfo(dtype).eps * float(h.norm(dim=-1).max())
    assert np.abs(p(h).detach().numpy() - wanted).max() <= limit


@pytest.mark.parametrize("n", [2, 4, 16, 64])
def test_assign_of_the_fft_gives_quarter_angles(n):
    """Butterflies (a + b, a - b) are turns by a quarter of pi; without P, bits stay reversed."""
    p = build(n)
    dft = scipy.linalg.dft(n, scale="sqrtn")
    assert p.assign_(torch.tensor(dft[reversed_bits(n)])) <= 1e-14 * n
    np.testing.assert_allclose(np.abs(np.sin(2 * p.theta.detach().numpy())), 1, atol=1e-13)
    if n > 2:
        with pytest.raises(NotRepresentableError, match="'dft'"):
            p.reset_parameters("dft")


def test_matrix_of_twiddle_angles_is_the_fft():
    """n = 4, decimation in frequency; theta = -pi/4 makes (a + e b, -(a - e b)), e = exp(i phi)."""
    p = build(4, permute=True)
    with torch.no_grad():
        p.theta.fill_(-math.pi / 4)
        # Units 2 and 3 are now -(x0 - x2) and -(x1 - x3); the twiddle of the latter is -i.
        p.phi.zero_()[3] = -math.pi / 2
        # A sign is left on the difference of (0, 1) and on the sum of (2, 3).
        p.omega.zero_()[1:3] = math.pi
    wanted = np.fft.fft(np.eye(4), norm="ortho")
    assert np.abs(p.matrix().detach().numpy() - wanted).max() <= 1e-15


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "options", [{}, {"permute": True}, {"field": "real"}], ids=["complex", "permuted", "real"]
)
def test_assign_is_exact_for_its_own_matrices(n, options):
    w = torch.tensor(dense_product(build(n, **options)))
    w = w.real if "field" in options else w
    p = build(n, **options)
    # Norms and overlaps of up to n numbers in 7 nested splits, each right to a few eps.
    limit = 30 * n**0.5 * np.finfo(float).eps
    assert p.assign_(w) <= limit
    assert np.abs(dense_product(p) - w.numpy()).max() <= limit


def test_parameters_are_as_many_as_in_the_paper():
    for n in (1, 2, 8, 64):
        numbers = sum(q.numel() for q in build(n).parameters())
        assert (
            numbers
            == n * round(math.log2(n)) + n
            == Parametrization.get("eunn_fft").info.dimension(n)
        )


@pytest.mark.parametrize("n", [3, 6, 12, 100])
def test_size_must_be_a_power_of_two(n):
    with pytest.raises(ValueError, match=f"n={n}; accepted sizes: .1, 2, 4, 8"):
        build(n)


def test_permute_is_refused_for_real_matrices():
    with pytest.raises(ValueError, match="field='complex'"):
        build(4, permute=True, field="real")


@pytest.mark.parametrize("field", ["complex", "real"])
def test_forward_and_backward_take_memory_of_order_n(field):
    n, batch, layers = 16384, 2, 14
    p = build(n, field=field, dtype=torch.float32)
    h = torch.randn(batch, n, dtype=p.dtype)
    with Written() as written:
        p(h).abs().sum().backward()
    # The rows, and the numbers of all layers, 2 n each; n x n would be 300 times as much.
    assert written.largest <= 4 * layers * n
    # Some 40 operations a layer, forth and back, on rows or angles.
    assert written.total <= 60 * layers * (batch + 2) * n
