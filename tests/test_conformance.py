"""Every registered scheme x every check that its claims call for."""

import pytest

from unitary_zoo import Parametrization
from unitary_zoo.testing import parametrize_with_checks, yield_checks


@parametrize_with_checks(Parametrization.names())
def test_conformance(scheme, check):
    check(scheme)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("svd_projection", {"contractive": True}),
        ("svd_projection", {"determinant": -1, "field": "real"}),
        ("lie_exp", {"determinant": -1, "field": "real"}),
        ("lie_exp", {"rebase_every": 3}),
        ("lie_exp", {"determinant": 1, "field": "complex"}),
        ("expm", {"determinant": 1, "field": "complex"}),
        ("dtriv", {"map": "cayley"}),
        ("dtriv", {"map": "cayley", "determinant": 1, "field": "complex"}),
        ("dtriv", {"rebase_every": None}),
        ("projunn_d", {"rank": 16}),
        ("projunn_d", {"determinant": -1, "field": "real", "rank": 2}),
        ("projunn_t", {"rank": 16}),
        ("projunn_t", {"determinant": -1, "field": "real", "rank": 2}),
        ("landing", {"attraction": 2.0, "safe_step": 0.1}),
        ("polar_newton_schulz", {"iterations": 0}),
        ("polar_newton_schulz", {"determinant": -1, "field": "real"}),
        ("eigenphase", {"basis": "dft"}),
        ("eigenphase", {"field": "real", "determinant": -1}),
        ("geotorch_so", {"triv": "cayley"}),
        ("spectral_band", {"radius": 1.0}),
        ("torch_orthogonal", {"use_trivialization": False}),
        ("torch_orthogonal", {"orthogonal_map": "cayley"}),
        ("torch_orthogonal", {"orthogonal_map": "cayley", "use_trivialization": False}),
        ("torch_orthogonal", {"orthogonal_map": "householder"}),
        ("torch_orthogonal", {"orthogonal_map": "householder", "use_trivialization": False}),
        ("eunn", {"capacity": 3}),
        ("eunn_fft", {"permute": True, "field": "complex"}),
        ("householder", {"reflections": 1}),
        ("householder", {"determinant": -1, "field": "real"}),
        ("householder", {"determinant": 1, "field": "complex"}),
        ("qr", {"determinant": -1, "field": "real"}),
        ("qr", {"determinant": 1, "field": "complex"}),
        ("scaled_cayley", {"determinant": -1}),
    ],
    ids=str,
)
def test_conformance_with_options(scheme, options):
    for name, run in yield_checks(scheme, **options):
        # The option determinant changes no LinearMap, so its cost is that of the default.
        if not (name == "cost" and "determinant" in options):
            result = run()
            assert result.status != "failed", result
