"""Theorems about unitary recurrent networks, as functions that carry them out."""

from unitary_zoo.theory.dilation import halmos_dilation
from unitary_zoo.theory.equivalence import unitary_equivalent
from unitary_zoo.theory.input_check import BoundExceededError
from unitary_zoo.theory.necessity import (
    RankCertificate,
    contractive_witness,
    smallest_twin_error,
    unitary_rank_certificate,
)
from unitary_zoo.theory.sigmoid import (
    scalar_recurrent_weight,
    sigmoid_approximation,
    sigmoid_error_bound,
)

__all__ = [
    "BoundExceededError",
    "RankCertificate",
    "contractive_witness",
    "halmos_dilation",
    "scalar_recurrent_weight",
    "sigmoid_approximation",
    "sigmoid_error_bound",
    "smallest_twin_error",
    "unitary_equivalent",
    "unitary_rank_certificate",
]
