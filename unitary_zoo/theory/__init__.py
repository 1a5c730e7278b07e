"""What is proved of recurrent networks, as functions, and what can be measured of them."""

from unitary_zoo.theory.bounds import (
    Bounds,
    eigenvalue_bounds,
    gradient_bounds,
    slopes,
    trajectory_bounds,
)
from unitary_zoo.theory.probes import (
    gradient_norms,
    jacobian_norms,
    jacobians,
    state_distances,
    state_norms,
)

__all__ = [
    "Bounds",
    "eigenvalue_bounds",
    "gradient_bounds",
    "gradient_norms",
    "jacobian_norms",
    "jacobians",
    "slopes",
    "state_distances",
    "state_norms",
    "trajectory_bounds",
]
