"""What a scheme is made of: claims, linear maps, the base class and its three families."""

from unitary_zoo.base.anchored import ProjectedFromBase
from unitary_zoo.base.assignment import fit_columns
from unitary_zoo.base.batches import matrices
from unitary_zoo.base.description import Description
from unitary_zoo.base.factors import (
    Diagonal,
    FactoredMap,
    Fourier,
    Pairs,
    Permutation,
    Reflection,
)
from unitary_zoo.base.info import (
    ORTHOGONAL,
    ORTHOGONAL_CROSSING,
    SPECIAL_ORTHOGONAL,
    UNITARY,
    UNITARY_OR_SPECIAL,
    Determinant,
    FieldClaims,
    Group,
    SchemeInfo,
    Tolerance,
    any_size,
    complex_matrix_dimension,
    complex_skew_dimension,
    real_matrix_dimension,
    real_skew_dimension,
)
from unitary_zoo.base.linear_map import DenseMap, LinearMap
from unitary_zoo.base.parametrization import SCHEMES, Parametrization, Static
from unitary_zoo.base.projected import Projected
from unitary_zoo.base.rebased import Rebased
from unitary_zoo.errors import NotProjectedError, NotRepresentableError, UnknownSchemeError
from unitary_zoo.initializers import INITIALIZERS, Initializer

Anchored = ProjectedFromBase  # the name in 0.x

__all__ = [
    "INITIALIZERS",
    "ORTHOGONAL",
    "ORTHOGONAL_CROSSING",
    "SCHEMES",
    "SPECIAL_ORTHOGONAL",
    "UNITARY",
    "UNITARY_OR_SPECIAL",
    "Anchored",
    "DenseMap",
    "Description",
    "Determinant",
    "Diagonal",
    "FactoredMap",
    "FieldClaims",
    "Fourier",
    "Group",
    "Initializer",
    "LinearMap",
    "NotProjectedError",
    "NotRepresentableError",
    "Pairs",
    "Parametrization",
    "Permutation",
    "Projected",
    "ProjectedFromBase",
    "Rebased",
    "Reflection",
    "SchemeInfo",
    "Static",
    "Tolerance",
    "UnknownSchemeError",
    "any_size",
    "complex_matrix_dimension",
    "complex_skew_dimension",
    "fit_columns",
    "matrices",
    "real_matrix_dimension",
    "real_skew_dimension",
]
