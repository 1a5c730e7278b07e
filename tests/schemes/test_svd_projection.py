"""svd_projection: the polar factor of a step, against scipy's."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.base.common import haar
from tests.oracles import as_numpy
from tests.schemes.descent import (
    build,
    gradient,
    target_for,
    train,
)
from unitary_zoo import NotProjectedError, NotRepresentableError, Parametrization, attach


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_step_of_sgd_is_the_polar_factor(n, field):
    p, rate = build("svd_projection", n, field=field), 0.02
    target, w = target_for(p), as_numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        w = scipy.linalg.polar(w - rate * gradient(w, target))[0]
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


@pytest.mark.parametrize("field", ["real", "complex"])
def test_contractive_step_clips_singular_values(field):
    p, rate = build("svd_projection", 5, field=field, contractive=True), 0.1
    target, w = 0.6 * target_for(p), as_numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    clipped = 0
    for found in train(p, optimizer, 8, target):
        u, s, vh = np.linalg.svd(w - rate * gradient(w, target))
        clipped += int((s > 1).sum())
        w = (u * np.minimum(s, 1)) @ vh
        assert np.abs(found - w).max() <= 100 * math.sqrt(5) * 2.3e-16 * 2.0**8
    s = np.linalg.svd(w, compute_uv=False)
    assert clipped > 0
    assert s.min() < 0.99  # not merely unitary


def test_determinant_option_gives_the_nearest_rotation():
    from scipy.spatial.transform import Rotation

    p = Parametrization.create("svd_projection", 3, determinant=1, dtype=torch.float64)
    source, target = np.random.default_rng(3).normal(size=(2, 20, 3))
    target[:, 0] *= -1  # a reflection fits best
    correlation = torch.from_numpy(target.T @ source)
    with torch.no_grad():
        p.weight.copy_(correlation)
    p.step_()
    wanted = Rotation.align_vectors(target, source)[0].as_matrix()
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_contractive_assign_is_exact_for_contractions(field):
    p = build("svd_projection", 4, field=field, contractive=True)
    x = 0.7 * haar(4, field) + 0.1 * haar(4, field, seed=1)
    assert p.assign_(x) <= 1e-14
    assert np.abs(as_numpy(p.matrix()) - x.numpy()).max() <= 1e-14
    with pytest.raises(NotRepresentableError):
        p.assign_(3 * x)
    s = np.linalg.svd(3 * x.numpy(), compute_uv=False)
    assert p.assign_(3 * x, nearest=True) == pytest.approx(max(s.max() - 1, 0.0), abs=1e-13)
    assert p.info.exact is False


def test_contractive_guard_refuses_norms_above_one_only():
    p = build("svd_projection", 4, contractive=True)
    with torch.no_grad():
        p.weight.mul_(0.5)
    assert np.linalg.norm(as_numpy(p.matrix()), 2) == pytest.approx(0.5, abs=1e-14)
    with torch.no_grad():
        p.weight.mul_(3.0)
    with pytest.raises(NotProjectedError):
        p.matrix()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 33])
def test_contractive_guard_accepts_what_a_step_leaves(n, field, dtype):
    # Every singular value is clipped, so all of what rounding adds to them counts.
    generator = torch.Generator().manual_seed(n)
    p = Parametrization.create("svd_projection", n, field=field, contractive=True, dtype=dtype)
    for _ in range(30):
        with torch.no_grad():
            noise = torch.randn(p.weight.shape, dtype=dtype, generator=generator)
            p.weight.mul_(1.01).add_(1e-3 * noise)
        p.step_()
        s = np.linalg.svd(as_numpy(p.matrix()).astype(complex), compute_uv=False)
        # Two products of orthonormal bases and the rounding of W: each moves a value by few eps.
        assert s.max() <= 1 + 4 * math.sqrt(n) * torch.finfo(dtype).eps


@pytest.mark.parametrize("determinant", [1, -1])
def test_contractive_is_refused_with_a_determinant(determinant):
    with pytest.raises(ValueError, match=rf"determinant={determinant} with contractive=True"):
        Parametrization.create("svd_projection", 4, contractive=True, determinant=determinant)
