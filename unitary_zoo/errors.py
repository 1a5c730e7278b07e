"""Every public exception of the library."""

from __future__ import annotations


class UnknownSchemeError(LookupError):
    """No scheme of that name is registered; the message suggests the nearest names."""


class NotRepresentableError(ValueError):
    """The scheme cannot represent the matrix it was asked to take.

    Attributes:
        residual: Spectral norm of the difference to the nearest matrix it found.
    """

    def __init__(self, message: str, residual: float) -> None:
        super().__init__(message)
        self.residual = residual


class NotProjectedError(ValueError):
    """A projected weight was read after an optimizer step but before its projection."""


class SingularMatrixError(ValueError):
    """A matrix is singular, so its QR decomposition determines no unitary factor."""


class AttachError(ValueError):
    """A model and its optimizers do not fit together."""


class BoundExceededError(ValueError):
    """A sequence exceeds a bound for which a unitary twin was built."""
