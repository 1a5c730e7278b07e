"""Initialisers against the matrices and distributions of scipy."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
import torch

from tests.oracles import FIELDS, SIZES
from unitary_zoo import Parametrization
from unitary_zoo.initializers import INITIALIZERS

EPS = np.finfo(float).eps
RANDOM = ("haar", "henaff", "cayley", "torus")
ANY_REAL = (*RANDOM, "identity")
DEFINED = [(name, field) for name in (*ANY_REAL, "dft") for field in FIELDS]
DEFINED.remove(("dft", "real"))


def draw(name, n, field="real", determinant=1, seed=0, dtype=torch.float64):
    w = INITIALIZERS.get(name)(
        n, field, determinant=determinant, dtype=dtype, device=torch.device("cpu"),
        generator=None if seed is None else torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return w.numpy()


def block_angles(w):
    """Angles of the 2 x 2 rotation blocks; anything else in the matrix is an error."""
    n = len(w)
    angles, rest = [], w.copy()
    for k in range(0, n - 1, 2):
        (a, b), (c, d) = w[k : k + 2, k : k + 2]
        assert (a, b) == (d, -c)
        angles.append(np.arctan2(c.real, a.real))
        rest[k : k + 2, k : k + 2] = np.eye(2)
    np.testing.assert_array_equal(rest, np.eye(n))
    return np.array(angles)


def is_uniform(sample, low, high):
    """The Kolmogorov-Smirnov test, which one uniform sample in a thousand fails."""
    return scipy.stats.kstest(sample, scipy.stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_names_contain_those_of_the_design():
    assert set(INITIALIZERS.names()) >= {*RANDOM, "identity", "dft"}


# ------------------------------------------------------------------------------- for all of them


@pytest.mark.parametrize(("name", "field"), DEFINED)
def test_matrix_is_unitary_in_the_field_and_precision_given(name, field):
    for n in SIZES:
        for dtype in (torch.float32, torch.float64):
            w = draw(name, n, field, dtype=dtype)
            precision = np.complex64 if dtype is torch.float32 else np.complex128
            assert w.shape == (n, n)
            assert w.dtype == (precision if field == "complex" else precision(0).real.dtype)
            wide = w.astype(complex)
            # A QR or FFT is right to a few n eps of the precision.
            limit = 10 * n * np.finfo(w.dtype).eps
            assert np.linalg.norm(wide.conj().T @ wide - np.eye(n), 2) <= limit


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("name", ANY_REAL)
def test_determinant_of_a_real_matrix_is_the_one_given(name, determinant):
    for n in SIZES:
        for seed in range(4):
            w = draw(name, n, determinant=determinant, seed=seed)
            assert np.linalg.det(w) == pytest.approx(determinant, abs=10 * n * EPS)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", RANDOM)
def test_generator_decides_alone_if_given(name, field):
    before = torch.random.get_rng_state()
    first, again, other = (draw(name, 4, field, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("name", RANDOM)
def test_generator_of_torch_decides_if_none_is_given(name):
    torch.manual_seed(5)
    first = draw(name, 4, seed=None)
    second = draw(name, 4, seed=None)
    torch.manual_seed(5)
    np.testing.assert_array_equal(draw(name, 4, seed=None), first)
    assert np.abs(first - second).max() > 1e-3


# ------------------------------------------------------------------------------------------ haar


@pytest.fixture(scope="module", params=[("complex", 5), ("real", 7)], ids=lambda p: p[0])
def sample(request):
    """2000 Haar matrices drawn one after the other; real ones of both components."""
    field, n = request.param
    generator = torch.Generator().manual_seed(1)
    options = {"dtype": torch.float64, "device": torch.device("cpu"), "generator": generator}
    haar = INITIALIZERS.get("haar")
    draws = [haar(n, field, determinant=(-1) ** k, **options).numpy() for k in range(2000)]
    return np.stack(draws)


def test_haar_traces_have_the_moments_of_diaconis_and_shahshahani(sample):
    trace = np.trace(sample, axis1=1, axis2=2)
    # E tr = 0 and E |tr|^2 = 1; the variance of |tr|^2 is 1 on U(n) and 2 on O(n), so the mean of
    # 2000 has a standard error of at most sqrt(2 / 2000). Four of them.
    error = math.sqrt(2 / len(trace))
    assert abs(trace.mean()) <= 4 * error
    assert abs((np.abs(trace) ** 2).mean() - 1) <= 4 * error
    square = np.trace(sample @ sample, axis1=1, axis2=2)
    # E tr W^2 is 0 on U(n) and 1 on O(n), with E |tr W^2|^2 - |E tr W^2|^2 = 2 on both.
    wanted = 0 if np.iscomplexobj(sample) else 1
    assert abs(square.mean() - wanted) <= 4 * error


def test_haar_entries_all_have_the_same_moments(sample):
    n = sample.shape[-1]
    # |w|^2 has mean 1/n and standard deviation below sqrt(2)/n; w has standard deviation
    # 1/sqrt(n). The largest of up to 49 entries is below five standard errors.
    assert np.abs(sample.mean(0)).max() <= 5 / math.sqrt(n * len(sample))
    second = (np.abs(sample) ** 2).mean(0)
    assert np.abs(second - 1 / n).max() <= 5 * math.sqrt(2 / len(sample)) / n


def test_haar_eigenphases_are_uniform_on_the_circle():
    # Without the sign fix of the QR decomposition they are not.
    generator = torch.Generator().manual_seed(2)
    options = {"dtype": torch.float64, "device": torch.device("cpu"), "generator": generator}
    haar = INITIALIZERS.get("haar")
    draws = [haar(3, "complex", determinant=1, **options).numpy() for _ in range(1500)]
    # The phases of one matrix repel each other: one of each, at random, makes them independent.
    pick = np.random.default_rng(0).integers(3, size=len(draws))
    phases = np.angle([np.linalg.eigvals(w)[k] for w, k in zip(draws, pick, strict=True)])
    assert is_uniform(phases, -math.pi, math.pi)


def test_haar_is_invariant_under_multiplication():
    # Re tr(Q W) has the same distribution for every fixed unitary Q; Q from scipy.
    generator = torch.Generator().manual_seed(3)
    options = {"dtype": torch.float64, "device": torch.device("cpu"), "generator": generator}
    haar = INITIALIZERS.get("haar")
    draws = np.stack([haar(4, "complex", determinant=1, **options).numpy() for _ in range(3000)])
    q = scipy.stats.unitary_group.rvs(4, random_state=0)
    plain = np.trace(draws[:1500], axis1=1, axis2=2).real
    turned = np.trace(q @ draws[1500:], axis1=1, axis2=2).real
    assert scipy.stats.ks_2samp(plain, turned).pvalue > 1e-3


# --------------------------------------------------------------------------------------- rotations


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("name", "low", "high"), [("henaff", -math.pi, math.pi), ("cayley", 0, math.pi / 2)]
)
def test_rotation_blocks_have_angles_in_the_interval(name, low, high, n):
    for field in FIELDS:
        angles = block_angles(draw(name, n, field))
        assert len(angles) == n // 2
        assert ((angles > low) & (angles < high)).all()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("henaff", -math.pi, math.pi), ("torus", -math.pi, math.pi), ("cayley", 0, math.pi / 2)],
)
def test_rotation_angles_are_uniform(name, low, high):
    assert is_uniform(block_angles(draw(name, 1200)), low, high)


@pytest.mark.parametrize("name", ["henaff", "cayley", "torus"])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_determinant_minus_one_negates_the_last_column(name, n):
    plain, flipped = draw(name, n), draw(name, n, determinant=-1)
    np.testing.assert_array_equal(flipped[:, :-1], plain[:, :-1])
    np.testing.assert_array_equal(flipped[:, -1], -plain[:, -1])


def test_real_torus_is_henaff():
    np.testing.assert_array_equal(draw("torus", 7), draw("henaff", 7))


def test_complex_torus_is_a_diagonal_of_uniform_phases():
    w = draw("torus", 600, "complex")
    np.testing.assert_array_equal(w, np.diag(np.diagonal(w)))
    assert is_uniform(np.angle(np.diagonal(w)), -math.pi, math.pi)


@pytest.mark.parametrize("n", SIZES)
def test_identity_is_exact(n):
    for field in FIELDS:
        np.testing.assert_array_equal(draw("identity", n, field), np.eye(n))
    reflected = np.eye(n)
    reflected[-1, -1] = -1
    np.testing.assert_array_equal(draw("identity", n, determinant=-1), reflected)


@pytest.mark.parametrize("n", SIZES)
def test_dft_equals_scipy(n):
    wanted = scipy.linalg.dft(n, scale="sqrtn")
    # scipy's own entries are powers of a rounded root of unity: n eps.
    assert np.abs(draw("dft", n, "complex") - wanted).max() <= 4 * n * EPS


def test_dft_refuses_real_matrices_with_the_remedy():
    with pytest.raises(ValueError, match=r"init='dft'.*field='complex'.*'haar'"):
        draw("dft", 4)


# ------------------------------------------------------------------------------ in the schemes

ON_THE_GROUP = [
    (scheme, init, field)
    for scheme in ("cayley", "expm", "lie_exp", "svd_projection", "full_capacity")
    for init, field in DEFINED
    if field in Parametrization.get(scheme).info.fields
]


def build(scheme, n, field, **options):
    if len(Parametrization.get(scheme).info.fields) > 1:
        options["field"] = field
    return Parametrization.create(scheme, n, dtype=torch.float64, **options)


@pytest.mark.parametrize(("scheme", "init", "field"), ON_THE_GROUP)
def test_scheme_on_the_whole_group_starts_at_the_matrix(scheme, init, field):
    for n in SIZES:
        p = build(scheme, n, field)
        p.reset_parameters(init, generator=torch.Generator().manual_seed(0))
        wanted = draw(init, n, field)
        # Rounding of maps and inverses with conditions up to 1/(pi - angle); Cayley coordinates
        # within sqrt(eps) of -1 are moved by pi sqrt(eps), which the DFT's eigenvalues -1 need.
        away = np.abs(np.linalg.eigvals(wanted) + 1).min()
        limit = 200 * n * n * EPS / max(away, math.sqrt(EPS))
        if scheme == "cayley" and away < math.sqrt(EPS):
            limit = 4 * math.sqrt(EPS)
        assert np.abs(p.matrix().detach().numpy() - wanted).max() <= limit


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("n", SIZES)
def test_cayley_angles_are_the_same_under_either_map(n, field):
    angles = block_angles(draw("cayley", n))
    for scheme, coordinate in (("cayley", np.tan(angles / 2)), ("expm", angles)):
        p = build(scheme, n, field)
        p.reset_parameters("cayley", generator=torch.Generator().manual_seed(0))
        w = p.matrix().detach().numpy()
        for k, t in enumerate(angles):
            block = [[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]
            found = w[2 * k : 2 * k + 2, 2 * k : 2 * k + 2]
            assert np.abs(found - block).max() <= 100 * n * EPS
        # exp(A) turns by an entry of A and (I + A)^-1 (I - A) by twice its arctangent: so the
        # released expRNN, which takes the entry of the latter as that of the former, turns less.
        found = np.sort(np.abs(p.theta.detach().numpy()))[::-1][: len(angles)]
        np.testing.assert_allclose(found, np.sort(coordinate)[::-1], atol=100 * n * EPS)


@pytest.mark.parametrize("basis", ["haar", "dft"])
@pytest.mark.parametrize(("init", "field"), DEFINED)
def test_eigenphase_starts_with_the_spectrum_of_the_matrix(init, field, basis):
    for n in SIZES:
        for determinant in (1, -1) if field == "real" else (1,):
            p = build(
                "eigenphase",
                n,
                field,
                basis=basis,
                determinant=determinant if field == "real" else None,
            )
            p.reset_parameters(init, generator=torch.Generator().manual_seed(0))
            wanted = np.linalg.eigvals(draw(init, n, field, determinant))
            found = np.linalg.eigvals(p.matrix().detach().numpy())
            gaps = np.abs(found[:, None] - wanted[None, :])
            rows, columns = scipy.optimize.linear_sum_assignment(gaps)
            # Eigenvalues of unitary matrices have condition one.
            assert gaps[rows, columns].max() <= 100 * n * EPS
