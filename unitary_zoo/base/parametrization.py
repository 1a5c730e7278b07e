"""Parametrization: one weight scheme at one size, and the registry of schemes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from unitary_zoo import linalg
from unitary_zoo.base.description import Description
from unitary_zoo.base.info import SchemeInfo
from unitary_zoo.base.steps import Steppable
from unitary_zoo.errors import UnknownSchemeError
from unitary_zoo.registry import Registry

S = TypeVar("S", bound=type["Parametrization"])


def _check_scheme(name: str, scheme: type[Parametrization]) -> None:
    if not (isinstance(scheme, type) and issubclass(scheme, Parametrization)):
        raise TypeError(
            f"{scheme!r} is not a subclass of Parametrization; register a class derived from "
            "Static, Rebased or Projected"
        )
    info = getattr(scheme, "info", None)
    if not isinstance(info, SchemeInfo):
        raise TypeError(f"{scheme.__name__} states no info; set info = SchemeInfo(...)")
    if info.name != name:
        raise ValueError(
            f"{scheme.__name__} is to be registered as {name!r}, but its info says "
            f"{info.name!r}; use one name"
        )


SCHEMES: Registry[type[Parametrization]] = Registry(
    "scheme",
    error=UnknownSchemeError,
    entry_points="unitary_zoo.schemes",
    validate=_check_scheme,
)


class Parametrization(Steppable):
    r""":math:`\theta \mapsto W(\theta)` with :math:`W^H W = I`: one weight scheme at one size.

    A scheme subclasses one of the families :class:`Static`, :class:`Rebased`, :class:`Projected`,
    states its ``info`` and registers under a name. All learnable parameters are real. The
    constructor of a scheme, and no constructor of a base class, starts the parameters: its last
    line is ``self.reset_parameters()``.

    Args:
        n: Size of W, at least 1.
        field: "real" or "complex", where the scheme serves both; None is its default.
        determinant: For real schemes +1 or -1, the component of O(n); for complex ones +1, the
            subgroup SU(n). None is all that the scheme reaches, from a start of determinant 1 if
            real. A value is refused where the scheme has no such choice.
        device: Device of parameters and matrix.
        dtype: Real dtype of the parameters; complex schemes give the complex dtype of the same
            precision.

    Attributes:
        determinant: The option as given.
        initial_determinant: The determinant of the matrices that real initialisers draw.

    Raises:
        ValueError: n, field or determinant is not one that the scheme accepts.
        TypeError: n is not an int, dtype is not a real floating-point dtype, or an option is
            unknown.
    """

    @classmethod
    def for_columns(cls, n: int, k: int, **options: Any) -> Parametrization:
        """Return an instance of size n of which only the first k columns are wanted."""
        return cls(n, **options)

    # ------------------------------------------------------------------------------- registry

    @staticmethod
    def register(name: str) -> Callable[[S], S]:
        """Return a class decorator that registers a scheme under ``info.name``.

        Raises:
            ValueError: The name is taken, or is not the name in the class's info.
            TypeError: The class is not a Parametrization or states no info.
        """
        return cast(Callable[[S], S], SCHEMES.register(name))

    @staticmethod
    def get(name: str) -> type[Parametrization]:
        """Return the scheme class called ``name``.

        Raises:
            UnknownSchemeError: No such scheme; the message suggests the nearest names.
        """
        return SCHEMES.get(name)

    @staticmethod
    def create(name: str, n: int, **options: Any) -> Parametrization:
        """Return ``Parametrization.get(name)(n, **options)``."""
        return SCHEMES.get(name)(n, **options)

    @staticmethod
    def names(**claims: Any) -> tuple[str, ...]:
        """Return the sorted names of the registered schemes whose info has the given values.

        ``names(field="complex")``, ``names(family="static", assignable=True)``. A tuple-valued
        attribute matches by membership: ``names(fields="complex")`` also lists the schemes that
        are real by default. An enumeration matches by member or value, ``names(group="U(n)")``.

        Raises:
            TypeError: No such info attribute.
        """
        return tuple(name for name in SCHEMES.names() if SCHEMES.get(name).info.matches(claims))

    # ------------------------------------------------------------------------------- description

    def describe(self) -> Description:
        """Return parameters, dimension, determinant, unitarity defect and eigenphases of W.

        The last three are NaN where W is not finite.
        """
        w = linalg.double(self.matrix().detach())
        finite = bool(w.isfinite().all())
        return Description(
            scheme=self.info.name,
            n=self.n,
            field=self.field,
            group=self.info.reach,
            dtype=self.dtype,
            device=self.device,
            parameters=sum(p.numel() for p in self.learnable_parameters()),
            dimension=self.info.dimension(self.n),
            determinant=complex(torch.linalg.det(w).item()) if finite else complex(math.nan),
            defect=float(linalg.unitarity_defect(w)) if finite else math.nan,
            tolerance=self.info.tolerance(self.n, self.dtype),
            deviation=self.info.deviation,
            eigenphases=linalg.eigenphases(w),
        )

    def extra_repr(self) -> str:
        """Return size, field and group."""
        return f"n={self.n}, {self.field}, {self.info.reach}"


class Static(Parametrization):
    """W = f(theta): the parameters alone determine W, and every value of them is valid.

    W stays valid without a step. A scheme may still define ``_step``, which keeps its parameters in
    the range of their dtype and leaves W as it is.
    """
