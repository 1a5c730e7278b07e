"""Every registered scheme x every check that its claims call for."""

import pytest

from unitary_zoo import Parametrization
from unitary_zoo.testing import check_parametrization, parametrize_with_checks


@parametrize_with_checks(Parametrization.names())
def test_conformance(scheme, check):
    check(scheme)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("svd_projection", {"contractive": True}),
        ("svd_projection", {"special": False, "field": "real"}),
        ("lie_exp", {"special": False, "field": "real"}),
        ("lie_exp", {"rebase_every": 3}),
        ("lie_exp", {"special": True, "field": "complex"}),
        ("expm", {"special": True, "field": "complex"}),
        ("full_capacity", {"rms_normalize": True}),
        ("dtriv", {"map": "cayley"}),
        ("dtriv", {"map": "cayley", "special": True, "field": "complex"}),
        ("dtriv", {"rebase_every": None}),
        ("projunn_d", {"rank": 16}),
        ("projunn_d", {"special": False, "field": "real", "rank": 2}),
        ("projunn_t", {"rank": 16}),
        ("projunn_t", {"special": False, "field": "real", "rank": 2}),
        ("landing", {"attraction": 2.0, "safe_step": 0.1}),
        ("polar_newton_schulz", {"iterations": 0}),
        ("polar_newton_schulz", {"special": False, "field": "real"}),
        ("eigenphase", {"basis": "dft"}),
        ("eigenphase", {"field": "real", "special": False}),
        ("geotorch_so", {"triv": "cayley"}),
        ("spectral_band", {"radius": 1.0}),
        ("torch_orthogonal", {"use_trivialization": False}),
        ("torch_orthogonal", {"orthogonal_map": "cayley"}),
        ("torch_orthogonal", {"orthogonal_map": "cayley", "use_trivialization": False}),
        ("torch_orthogonal", {"orthogonal_map": "householder"}),
        ("torch_orthogonal", {"orthogonal_map": "householder", "use_trivialization": False}),
        ("eunn", {"capacity": 5}),
        ("eunn_fft", {"permute": True, "field": "complex"}),
        ("householder", {"reflections": 1}),
        ("householder", {"special": False, "field": "real"}),
        ("householder", {"special": True, "field": "complex"}),
        ("qr", {"special": False, "field": "real"}),
        ("qr", {"special": True, "field": "complex"}),
        ("scaled_cayley", {"special": False}),
    ],
    ids=str,
)
def test_options_conform(scheme, options):
    check_parametrization(scheme, **options)
