"""The Halmos dilation against scipy's matrix roots and numpy's ranks."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.strategies import dtypes, seeds
from unitary_zoo.testing.subject import haar, normal
from unitary_zoo.theory import halmos_dilation

F64 = torch.float64
SIZES = st.sampled_from([1, 2, 3, 7, 17, 33])


def contraction(n: int, ones: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Singular values in (0.1, 0.95), and ``ones`` that are 1; rounded to ``dtype``."""
    u, v = haar(n, F64, seed), haar(n, F64, seed + 1)
    s = 0.1 + 0.85 * torch.rand(n, dtype=F64, generator=torch.Generator().manual_seed(seed))
    s[:ones] = 1
    return ((u * s) @ v.mT).to(dtype)


@settings(max_examples=50)
@given(n=SIZES, part=st.floats(0, 1), dtype=dtypes(), seed=seeds(), minimal=st.booleans())
def test_dilation_is_orthogonal_with_w_as_its_block(n, part, dtype, seed, minimal):
    ones = round(part * n)
    w = contraction(n, ones, dtype, seed)
    out = halmos_dilation(w, minimal)
    assert out.dtype == dtype
    assert len(out) == (2 * n - ones if minimal else 2 * n)
    assert torch.equal(out[:n, :n], w)
    # Rounding the entries moves W_u by sqrt(2n) eps / 2 at most, and so do the products, by a small
    # factor; where s = 1, W misses 1 by its own rounding. The scheme of the embedding claims the
    # same limit.
    assert float(unitarity_defect(out)) <= 16 * (2 * n) ** 0.5 * torch.finfo(dtype).eps


@pytest.mark.parametrize("n", [1, 2, 7, 17])
def test_dilation_blocks_are_the_roots_of_the_formula(n):
    w = contraction(n, 0, F64, n)
    out, eye = halmos_dilation(w).numpy(), np.eye(n)
    w = w.numpy()
    # The roots have condition 1 / c < 4, and scipy's own error is of the same order.
    near = {"rtol": 0, "atol": 1e3 * n * np.finfo(float).eps}
    np.testing.assert_allclose(out[:n, n:], scipy.linalg.sqrtm(eye - w @ w.T).real, **near)
    np.testing.assert_allclose(out[n:, :n], scipy.linalg.sqrtm(eye - w.T @ w).real, **near)
    np.testing.assert_allclose(out[n:, n:], -w.T, **near)


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("n", [2, 7])
def test_dilation_corrects_an_inaccurate_svd(n, minimal, monkeypatch):
    w, svd = contraction(n, 0, F64, n), torch.linalg.svd
    skew = normal(n, n, dtype=F64)
    turn = torch.linalg.matrix_exp(1e-9 * (skew - skew.mT))

    def inaccurate(x):
        u, s, vh = svd(x)
        return u, s, turn @ vh

    monkeypatch.setattr(torch.linalg, "svd", inaccurate)
    # The correction leaves the square of the error, 1e-18 n^2, over the least c, about .3.
    assert float(unitarity_defect(halmos_dilation(w, minimal))) <= 16 * (2 * n) ** 0.5 * 2.3e-16


@pytest.mark.parametrize("s", [1 - 2**-20, 1 - 2**-40, 1 - 2**-52])
def test_dilation_keeps_digits_of_a_value_near_one(s):
    out = halmos_dilation(torch.tensor([[s]], dtype=F64))
    exact = ((1 - s) * (1 + s)) ** 0.5  # 1 - s is exact, by Sterbenz
    assert abs(float(out[1, 0]) - exact) <= 2 * np.finfo(float).eps * exact


def test_dilation_size_is_the_least():
    """An orthogonal matrix of N rows with the block W has N >= n + rank(I - W^T W)."""
    for ones in range(8):
        w = contraction(7, ones, F64, ones)
        rank = np.linalg.matrix_rank(np.eye(7) - (w.mT @ w).numpy(), tol=1e-10)
        assert len(halmos_dilation(w, minimal=True)) == 7 + rank


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_dilation_refuses_a_norm_above_one(dtype):
    w = torch.eye(3, dtype=dtype)
    w[1, 1] = 1.25
    with pytest.raises(ValueError, match=r"W has norm 1\.25, and the limit is 1.*clip"):
        halmos_dilation(w)
    slightly = normal(3, 3, dtype=dtype)
    slightly = slightly / torch.linalg.matrix_norm(slightly.double(), 2).to(dtype)
    assert len(halmos_dilation(slightly)) == 6  # of norm 1 but for rounding


@pytest.mark.parametrize(
    ("w", "match"),
    [
        (torch.ones(2, 3), r"float32 of shape \(2, 3\); pass a matrix \(n, n\)"),
        (torch.ones(0, 0), r"shape \(0, 0\)"),
        (torch.ones(2, 2, 2), r"shape \(2, 2, 2\)"),
        (0.5j * torch.eye(2), r"complex64 of shape \(2, 2\); .* in float32 or float64"),
        (torch.eye(2).half(), "float16"),
        (torch.eye(2) * torch.nan, "W has infinite or undefined entries"),
        (torch.eye(2) * torch.inf, "W has infinite or undefined entries"),
    ],
    ids=str,
)
def test_dilation_refuses_all_but_real_square_matrices(w, match):
    with pytest.raises(ValueError, match=match):
        halmos_dilation(w)


@pytest.mark.parametrize(("n", "seed"), [(3, 958), (3, 1025), (7, 1535)])
@pytest.mark.parametrize("minimal", [False, True])
def test_dilation_is_orthogonal_where_the_svd_is_inaccurate(n, seed, minimal):
    """LAPACK's factors have been seen to miss these matrices by 40 eps."""
    out = halmos_dilation(contraction(n, n // 2 + (seed == 1025), F64, seed), minimal)
    # Three products of 2n terms, one after another, and the sum of their squares in the norm.
    assert float(unitarity_defect(out)) <= 6 * (2 * n) ** 0.5 * torch.finfo(F64).eps
