r"""Pure tensor functions on unitary and orthogonal matrices; every function takes batches.

They are coordinates of skew matrices, the exponential and Cayley maps with their inverses, products
of reflections, the polar factor, and the unitarity defect. "Skew" means skew-Hermitian,
:math:`A^H = -A`, which for real matrices is skew-symmetric.
"""

from unitary_zoo.errors import SingularMatrixError
from unitary_zoo.linalg._cayley import (
    cayley,
    cayley_of_coordinates,
    inverse_cayley,
    inverse_scaled_cayley,
)
from unitary_zoo.linalg._dtypes import (
    as_real,
    complex_dtype,
    double,
    eps,
    from_real_parts,
    identity_like,
    is_low_precision,
    real_dtype,
    view_as_real_parts,
)
from unitary_zoo.linalg._exponential import expm_of_coordinates, expm_skew
from unitary_zoo.linalg._fourier import real_fourier
from unitary_zoo.linalg._group import (
    completed,
    determinant_phase,
    frobenius_gap,
    reunitarized,
    unitarity_defect,
    with_unit_determinant,
)
from unitary_zoo.linalg._householder import compact_reflections, householder
from unitary_zoo.linalg._logarithm import (
    away_from_minus_one,
    log_unitary,
    phases_with_sum,
    unitary_eigh,
)
from unitary_zoo.linalg._low_rank import low_rank_factors, low_rank_retraction
from unitary_zoo.linalg._polar import (
    contract,
    newton_schulz_step,
    polar,
    polar_with_determinant,
    with_least_reversed,
)
from unitary_zoo.linalg._qr import gram_schmidt
from unitary_zoo.linalg._skew import (
    skew_dimension,
    skew_from_coordinates,
    skew_to_coordinates,
    traceless,
)
from unitary_zoo.linalg._spectrum import eigenphases, eigenvalues, singular_values, svd

__all__ = [
    "SingularMatrixError",
    "as_real",
    "away_from_minus_one",
    "cayley",
    "cayley_of_coordinates",
    "compact_reflections",
    "completed",
    "complex_dtype",
    "contract",
    "determinant_phase",
    "double",
    "eigenphases",
    "eigenvalues",
    "eps",
    "expm_of_coordinates",
    "expm_skew",
    "frobenius_gap",
    "from_real_parts",
    "gram_schmidt",
    "householder",
    "identity_like",
    "inverse_cayley",
    "inverse_scaled_cayley",
    "is_low_precision",
    "log_unitary",
    "low_rank_factors",
    "low_rank_retraction",
    "newton_schulz_step",
    "phases_with_sum",
    "polar",
    "polar_with_determinant",
    "real_dtype",
    "real_fourier",
    "reunitarized",
    "singular_values",
    "skew_dimension",
    "skew_from_coordinates",
    "skew_to_coordinates",
    "svd",
    "traceless",
    "unitarity_defect",
    "unitary_eigh",
    "view_as_real_parts",
    "with_least_reversed",
    "with_unit_determinant",
]
