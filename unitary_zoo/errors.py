"""Every public exception and warning of the library, and the check of integer arguments."""

from __future__ import annotations

from typing import TypeGuard


class UnknownSchemeError(LookupError):
    """No scheme has the name asked for; the message suggests the nearest names."""


class NotRepresentableError(ValueError):
    """The scheme cannot represent the matrix it was asked to take.

    Attributes:
        residual: Spectral norm of the difference to the nearest matrix that the scheme found.
    """

    def __init__(self, message: str, residual: float) -> None:
        super().__init__(message)
        self.residual = residual


class NotProjectedError(ValueError):
    """A projected weight was read after an optimizer step but before its projection."""


class NotFiniteError(ValueError):
    """A gradient, a step or an average brought numbers that are not finite; W is kept."""


class MissedStepWarning(UserWarning):
    """The parameters of an attached scheme changed, but the hooks of its optimizer did not run."""


class SingularMatrixError(ValueError):
    """A matrix is singular, so its QR decomposition determines no unitary factor."""


class AttachError(ValueError):
    """A model and its optimizers do not fit together."""


class BoundExceededError(ValueError):
    """A sequence exceeds a bound for which a unitary network was built."""


def is_int(value: object) -> TypeGuard[int]:
    """Whether ``value`` is an int, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_int(name: str, value: object, least: int) -> None:
    """Raise an error unless ``value`` is an int of at least ``least``.

    Raises:
        TypeError: ``value`` is not an int.
        ValueError: ``value`` is less than ``least``.
    """
    if not is_int(value):
        raise TypeError(f"{name}={value!r}; pass an int of at least {least}")
    if value < least:
        raise ValueError(f"{name}={value!r}; pass an int of at least {least}")
