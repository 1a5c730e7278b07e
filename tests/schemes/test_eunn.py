"""eunn against its blocks applied one by one, and against torch_eunn."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
import torch_eunn

from tests.schemes.dispatch import Written
from unitary_zoo import NotRepresentableError, Parametrization

SIZES = [1, 2, 3, 7, 16, 17, 33]


def build(n, **options):
    return Parametrization.create("eunn", n, **{"dtype": torch.float64, **options})


def angles(p):
    """theta, phi and omega as numpy arrays, zero where the field has none."""
    theta = p.theta.detach().double().numpy()
    if p.field == "real":
        return theta, np.zeros_like(theta), np.zeros(p.n)
    return theta, p.phi.detach().double().numpy(), p.omega.detach().double().numpy()


def dense_product(p):
    """D F_L ... F_1, block by block from the left onto two rows of what there is."""
    n, k = p.n, 0
    theta, phi, omega = angles(p)
    w = np.eye(n, dtype=complex)
    for layer in range(p.capacity):
        for i in range(layer % 2, n - 1, 2):
            c, s, e = np.cos(theta[k]), np.sin(theta[k]), np.exp(1j * phi[k])
            w[i : i + 2] = np.array([[c, -e * s], [s, e * c]]) @ w[i : i + 2]
            k += 1
    assert k == len(theta)
    return np.exp(1j * omega)[:, None] * w


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("capacity", [1, 2, 3, 8, "n"])
@pytest.mark.parametrize("field", ["complex", "real"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrix_equals_the_explicit_product(n, capacity, field, dtype):
    p = build(n, capacity=n if capacity == "n" else capacity, field=field, dtype=dtype)
    wanted = dense_product(p)
    # Each of L layers and D turns numbers of size 1 by angles up to pi, rounded to eps.
    limit = 4 * (p.capacity + 1) * torch.finfo(dtype).eps
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=limit)
    h = torch.randn(4, n, dtype=p.dtype, generator=torch.Generator().manual_seed(n))
    scale = limit * float(h.norm())
    image, back = p(h).detach().numpy(), p.adjoint(h).detach().numpy()
    np.testing.assert_allclose(image, h.numpy() @ wanted.T, rtol=0, atol=scale)
    np.testing.assert_allclose(back, h.numpy() @ wanted.conj(), rtol=0, atol=scale)


def test_parameters_are_as_many_as_in_the_paper():
    # L/2 layers of n/2 pairs and L/2 of n/2 - 1, two angles each, and n phases.
    for n, capacity in ((8, 2), (8, 6), (64, 10)):
        pairs = capacity // 2 * (n // 2 + n // 2 - 1)
        assert sum(q.numel() for q in build(n, capacity=capacity).parameters()) == 2 * pairs + n
        assert build(n, capacity=capacity, field="real").theta.numel() == pairs


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("field", ["complex", "real"])
def test_dimension_is_the_rank_of_the_derivative(n, field):
    """The rank of dW/dtheta from central differences of the explicit product."""
    for capacity in range(1, n + 3):
        p = build(n, capacity=capacity, field=field)
        columns, step = [], 1e-5
        with torch.no_grad():
            for q in p.parameters():
                for i in range(q.numel()):
                    ends = []
                    for sign in (1, -2):
                        q[i] += sign * step
                        ends.append(dense_product(p))
                    q[i] += step
                    d = ((ends[0] - ends[1]) / (2 * step)).ravel()
                    columns.append(np.concatenate([d.real, d.imag]))
        # Right to 1e-9; true singular values of a random point are far above 1e-6.
        rank = np.linalg.matrix_rank(np.array(columns), tol=1e-6)
        assert rank == p.info.dimension(n), capacity
        whole = n * n if field == "complex" else n * (n - 1) // 2
        assert (rank == whole) == p.info.whole
        assert p.info.assignable == (rank == whole)


def targets(n, field):
    """Matrices of the whole group: at random, and with many zeros."""
    seed = np.random.default_rng(n)
    if n == 1:
        yield np.eye(1) if field == "real" else np.array([[np.exp(2j)]])
        return
    eye = np.eye(n)
    yield eye
    cycle = np.roll(eye, 1, axis=0)
    yield cycle if np.linalg.det(cycle) > 0 else cycle * np.where(np.arange(n) == 0, -1.0, 1.0)
    yield np.diag([-1.0] * (n // 2 * 2) + [1.0] * (n % 2))
    if field == "real":
        yield scipy.stats.special_ortho_group.rvs(n, random_state=seed)
        return
    yield scipy.stats.unitary_group.rvs(n, random_state=seed)
    yield scipy.linalg.dft(n, scale="sqrtn")
    yield np.diag(np.exp(1j * seed.uniform(-np.pi, np.pi, n)))
    yield eye[::-1] * 1j


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("more", [0, 1, 2])
@pytest.mark.parametrize("field", ["complex", "real"])
def test_assign_is_exact_with_n_layers(n, more, field):
    p = build(n, capacity=n + more, field=field)
    for w in targets(n, field):
        assert p.assign_(torch.tensor(w)) <= 20 * n * np.finfo(float).eps
        # The angles were found for the explicit product, not for the code that applies them: n
        # layers, and n^2/2 eliminations that round w.
        assert np.abs(dense_product(p) - w).max() <= 20 * n * np.finfo(float).eps


def test_assign_with_fewer_layers_is_refused_or_fitted():
    p = build(6, capacity=3)
    w = torch.tensor(scipy.stats.unitary_group.rvs(6, random_state=np.random.default_rng(0)))
    with pytest.raises(NotRepresentableError, match="nearest=True"):
        p.assign_(w)
    before = float(torch.linalg.matrix_norm(p.matrix().detach() - w, 2))
    assert p.assign_(w, nearest=True) < before
    with pytest.raises(NotRepresentableError, match="init='eunn'"):
        p.reset_parameters("haar")


@pytest.mark.parametrize("capacity", [0, -1, 2.0, True, "2"])
def test_capacity_must_be_a_positive_int(capacity):
    with pytest.raises(ValueError, match=r"capacity=.*at least 1"):
        build(4, capacity=capacity)


def test_start_is_uniform_on_the_circle():
    p = build(4001)
    for q in p.parameters():
        values = q.detach()
        assert values.abs().max() <= math.pi
        # The standard deviation of m uniform numbers is off by about sqrt(1/(5 m)), relative.
        relative = float(values.std()) / (math.pi / 3**0.5) - 1
        assert abs(relative) < 5 * (1 / (5 * values.numel())) ** 0.5


@pytest.mark.parametrize("field", ["complex", "real"])
def test_forward_and_backward_take_memory_of_order_capacity_times_n(field):
    n, batch, capacity = 16384, 2, 4
    p = build(n, capacity=capacity, field=field, dtype=torch.float32)
    h = torch.randn(batch, n, dtype=p.dtype)
    with Written() as written:
        p(h).abs().sum().backward()
    # A stack of L/2 layers, or the rows; n x n would be 4000 times as much.
    assert written.largest <= 4 * capacity * n
    # Some 40 operations a layer, forth and back, on rows or angles.
    assert written.total <= 60 * (capacity + 1) * (batch + 2) * n


def test_forward_work_is_proportional_to_the_capacity():
    counts, h = [], torch.randn(3, 512, dtype=torch.complex128)
    for capacity in (4, 64):
        q = build(512, capacity=capacity).prepare()
        with torch.no_grad(), Written() as written:
            q(h)
        counts.append(written.total)
        assert q.multiplications == 8 * capacity * 512
    assert counts[1] == 16 * counts[0]


@pytest.mark.parametrize(("n", "capacity"), [(2, 2), (4, 2), (6, 4), (8, 8)])
def test_matrix_equals_torch_eunn(n, capacity):
    """Its blocks are diag(e^{i phi}, 1) R(theta), and its odd layers pair the ends as well."""
    torch.manual_seed(n)
    theirs, ours = torch_eunn.EUNN(n, capacity).double(), build(n, capacity=capacity)
    angles, turned, k = theirs.angles.data, np.zeros(n), 0
    angles[-2:, 1::2] = 0  # the pair of the ends is left alone
    with torch.no_grad():
        for layer in range(capacity):
            for i in range(layer % 2, n - 1, 2):
                pair = 2 * (i // 2)
                # A phase after a rotation goes before the next one, where ours has its own, and
                # a phase common to a pair goes through.
                ours.theta[k], ours.phi[k] = angles[pair + 1, layer], turned[i + 1] - turned[i]
                turned[i : i + 2] = turned[i] + float(angles[pair, layer]), turned[i]
                k += 1
        ours.omega.copy_(torch.from_numpy(turned))
        basis = torch.view_as_real(torch.eye(n, dtype=torch.complex128))
        wanted = torch.view_as_complex(theirs(basis).contiguous()).mT
    # As in the explicit product above; angles of a few turns are rounded to so many eps.
    limit = 100 * capacity * torch.finfo(torch.float64).eps
    torch.testing.assert_close(ours.matrix().detach(), wanted, rtol=0, atol=limit)
