"""Unitary and orthogonal weights for PyTorch: schemes, layers, scans and theory."""

from unitary_zoo import initializers, linalg, nonlinearities, scan, schemes, theory
from unitary_zoo.base import (
    NotProjectedError,
    NotRepresentableError,
    Parametrization,
    SchemeInfo,
    UnknownSchemeError,
)
from unitary_zoo.cells import UnitaryGRUCell, UnitaryRNNCell
from unitary_zoo.layers import UnitaryGRU, UnitaryRNN
from unitary_zoo.linalg import as_real
from unitary_zoo.optim import attach, parameter_groups, retract_
from unitary_zoo.weights import orthogonal, plain_state_dict

__version__ = "0.1.0"

__all__ = [
    "NotProjectedError",
    "NotRepresentableError",
    "Parametrization",
    "SchemeInfo",
    "UnitaryGRU",
    "UnitaryGRUCell",
    "UnitaryRNN",
    "UnitaryRNNCell",
    "UnknownSchemeError",
    "as_real",
    "attach",
    "initializers",
    "linalg",
    "nonlinearities",
    "orthogonal",
    "parameter_groups",
    "plain_state_dict",
    "retract_",
    "scan",
    "schemes",
    "theory",
]
