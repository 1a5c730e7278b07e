"""Unitary and orthogonal weights for PyTorch: schemes, layers, scans and theory."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from unitary_zoo import initializers, linalg, nonlinearities, scan, schemes
from unitary_zoo.base import (
    NotProjectedError,
    NotRepresentableError,
    Parametrization,
    SchemeInfo,
    UnknownSchemeError,
)
from unitary_zoo.cells import UnitaryGRUCell, UnitaryRNNCell
from unitary_zoo.errors import MissedStepWarning, NotFiniteError
from unitary_zoo.layers import UnitaryGRU, UnitaryRNN
from unitary_zoo.linalg import as_real
from unitary_zoo.optim import attach, parameter_groups, retract_
from unitary_zoo.weights import orthogonal, plain_state_dict

if TYPE_CHECKING:
    from unitary_zoo import theory

__version__ = "0.1.0"

__all__ = [
    "MissedStepWarning",
    "NotFiniteError",
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


def __getattr__(name: str) -> ModuleType:
    # Few programs use the theory; the others need not wait for its import.
    if name == "theory":
        return import_module("unitary_zoo.theory")
    raise AttributeError(f"module 'unitary_zoo' has no attribute {name!r}")
