"""What is proved of recurrent networks, as functions, and what can be measured of them."""

from unitary_zoo.errors import BoundExceededError
from unitary_zoo.theory._slopes import slopes
from unitary_zoo.theory.bounds import (
    Bounds,
    eigenvalue_bounds,
    gradient_bounds,
    trajectory_bounds,
)
from unitary_zoo.theory.dilation import halmos_dilation
from unitary_zoo.theory.equivalence import unitary_equivalent
from unitary_zoo.theory.minimality import (
    RankCertificate,
    contractive_witness,
    smallest_twin_error,
    unitary_rank_certificate,
)
from unitary_zoo.theory.probes import (
    gradient_norms,
    jacobian_norms,
    jacobians,
    state_distances,
    state_norms,
)
from unitary_zoo.theory.sigmoid import (
    scalar_recurrent_weight,
    sigmoid_approximation,
    sigmoid_error_bound,
)

__all__ = [
    "BoundExceededError",
    "Bounds",
    "RankCertificate",
    "contractive_witness",
    "eigenvalue_bounds",
    "gradient_bounds",
    "gradient_norms",
    "halmos_dilation",
    "jacobian_norms",
    "jacobians",
    "scalar_recurrent_weight",
    "sigmoid_approximation",
    "sigmoid_error_bound",
    "slopes",
    "smallest_twin_error",
    "state_distances",
    "state_norms",
    "trajectory_bounds",
    "unitary_equivalent",
    "unitary_rank_certificate",
]
