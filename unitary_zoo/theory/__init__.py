"""Theorems on recurrent networks as functions, and measurements of gradients and states."""

from unitary_zoo.errors import BoundExceededError
from unitary_zoo.theory._slopes import slopes
from unitary_zoo.theory.bounds import Bounds, gradient_bounds, trajectory_bounds
from unitary_zoo.theory.dilation import halmos_dilation
from unitary_zoo.theory.equivalence import unitary_equivalent
from unitary_zoo.theory.minimality import (
    RankCertificate,
    forgetting_rnn,
    unitary_rank_certificate,
)
from unitary_zoo.theory.probes import (
    gradient_norms,
    jacobian_norms,
    jacobians,
    state_distances,
    state_norms,
)
from unitary_zoo.theory.sigmoid import sigmoid_approximation, sigmoid_error_bound

__all__ = [
    "BoundExceededError",
    "Bounds",
    "RankCertificate",
    "forgetting_rnn",
    "gradient_bounds",
    "gradient_norms",
    "halmos_dilation",
    "jacobian_norms",
    "jacobians",
    "sigmoid_approximation",
    "sigmoid_error_bound",
    "slopes",
    "state_distances",
    "state_norms",
    "trajectory_bounds",
    "unitary_equivalent",
    "unitary_rank_certificate",
]
