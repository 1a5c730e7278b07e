"""Parametrization and its three families, SchemeInfo and LinearMap."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo._torch import is_traced, largest, without_autocast
from unitary_zoo.errors import NotProjectedError, NotRepresentableError, UnknownSchemeError
from unitary_zoo.registry import Registry

# --------------------------------------------------------------------------------------- info


@dataclass(frozen=True)
class Tolerance:
    """The claim that the unitarity defect stays below ``factor sqrt(n) eps``, with its reason.

    Rounding makes entries of W^H W - I of about eps; a matrix of n x n such independent entries
    of size eps / sqrt(n) to eps has a norm that grows like sqrt(n) at most.

    ``truncation`` is for a map that stops a series early: the defect it adds at any n, by the real
    dtype.
    """

    factor: float
    reason: str
    truncation: Mapping[torch.dtype, float] = dataclass_field(default_factory=dict)

    def __call__(self, n: int, dtype: torch.dtype) -> float:
        """The bound for size ``n`` and ``dtype`` (real or complex)."""
        rounding = self.factor * math.sqrt(n) * linalg.eps(dtype)
        return rounding + self.truncation.get(linalg.real_dtype(dtype), 0.0)


def _less(dimension: Callable[[int], int], n: int) -> int:
    return dimension(n) - 1


@dataclass(frozen=True)
class FieldClaims:
    """What a scheme claims over one field, "real" or "complex".

    Attributes:
        group: The set reached, in words: "SO(n)", "O(n)", "U(n)", "subset of U(n)".
        dimension: n -> number of independent directions, the rank of dW/dtheta.
        determinant: "+1" or "-1"; "fixed", the sign of the start, +1 unless ``assign_`` was given
            another; "+-1", the same but a large step can change it; "unit circle"; or in words,
            of a scheme that is not unitary.
        cost: Operations of one application W h, as an order in n.
        special: Whether the option ``special`` restricts the determinant: to +1 or -1 if real,
            to +1, SU(n), if complex.
    """

    group: str
    dimension: Callable[[int], int]
    determinant: str
    cost: str = "O(n^2)"
    special: bool = False

    def restricted(self, special: bool) -> FieldClaims:
        """The claims of the component with determinant 1 (or, ``special=False``, -1)."""
        if self.determinant == "unit circle":
            group, dimension = self.group.replace("U(n)", "SU(n)"), partial(_less, self.dimension)
            return replace(self, group=group, determinant="+1", dimension=dimension)
        group = self.group.replace("O(n)", "SO(n)" if special else "O(n) with det -1")
        return replace(self, group=group, determinant="+1" if special else "-1")


def any_size(n: int) -> bool:
    """Every n >= 1 is accepted."""
    return n >= 1


@dataclass(frozen=True)
class SchemeInfo:
    """What a scheme is and claims; every claim is checked by :mod:`unitary_zoo.testing`.

    Attributes:
        name: Registered name.
        title: One line, the map as a formula.
        reference: BibTeX entry of the source.
        family: "static" W = f(theta); "rebased" W = f(A) B with A moved into B; "projected" W
            stored and returned to the group after every optimizer step.
        claims: The claims for each field served.
        field: The field: of a class its default, of an instance what was chosen.
        tolerance: Bound on the unitarity defect.
        assignable: ``assign_`` reproduces every matrix that the scheme can produce.
        default_init: Initialiser used when none is named.
        accepts: n -> whether the scheme exists at that size.
        retraction_order: Of a rebased or projected scheme: its step agrees with the geodesic
            exp(tX) W up to O(t^(order + 1)); infinite where it is the geodesic.
        deviation: Empty for a scheme that is unitary by construction; else how far W may be from
            unitary and why. The defect of such a scheme is reported, not bounded.
        expected_failures: Names of conformance checks known to fail, with the reason.
    """

    name: str
    title: str
    reference: str
    family: str
    claims: Mapping[str, FieldClaims]
    field: str
    tolerance: Tolerance
    assignable: bool = True
    default_init: str = "haar"
    accepts: Callable[[int], bool] = any_size
    retraction_order: float | None = None
    deviation: str = ""
    expected_failures: Mapping[str, str] = dataclass_field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether W is unitary by construction, within :attr:`tolerance`."""
        return not self.deviation

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields served."""
        return tuple(self.claims)

    @property
    def group(self) -> str:
        """The set of matrices reached over :attr:`field`."""
        return self.claims[self.field].group

    @property
    def determinant(self) -> str:
        """What the determinant can be over :attr:`field`."""
        return self.claims[self.field].determinant

    @property
    def cost(self) -> str:
        """Order of the cost of one application."""
        return self.claims[self.field].cost

    def dimension(self, n: int) -> int:
        """Number of independent directions at size ``n``, the rank of dW/dtheta."""
        return self.claims[self.field].dimension(n)


def real_skew_dimension(n: int) -> int:
    """Dimension of SO(n): n(n-1)/2."""
    return linalg.skew_dimension(n, "real")


def complex_skew_dimension(n: int) -> int:
    """Dimension of U(n): n^2."""
    return linalg.skew_dimension(n, "complex")


SPECIAL_ORTHOGONAL = FieldClaims("SO(n)", real_skew_dimension, "+1")
ORTHOGONAL = FieldClaims("O(n)", real_skew_dimension, "fixed", special=True)
UNITARY = FieldClaims("U(n)", complex_skew_dimension, "unit circle")
UNITARY_OR_SPECIAL = replace(UNITARY, special=True)


@dataclass(frozen=True)
class Description:
    """What :meth:`Parametrization.describe` reports."""

    scheme: str
    n: int
    field: str
    group: str
    dtype: torch.dtype
    device: torch.device
    parameters: int
    dimension: int
    determinant: complex
    defect: float
    tolerance: float
    deviation: str
    eigenphases: Tensor

    def __repr__(self) -> str:
        """A readable summary, one quantity a line."""
        phases = self.eigenphases
        det = f"{self.determinant.real:+.6f}"
        if self.field == "complex":
            det += f"{self.determinant.imag:+.6f}i"
        claim = self.deviation or f"tolerance {self.tolerance:.2e}"
        rows = {
            "size": f"{self.n} x {self.n}, {self.field}, {self.dtype}, {self.device}",
            "group": f"{self.group}, dimension {self.dimension}",
            "parameters": str(self.parameters),
            "determinant": det,
            "unitarity defect": f"{self.defect:.2e} ({claim})",
            "eigenphases": f"{phases.min():+.4f} to {phases.max():+.4f} rad",
        }
        width = max(map(len, rows))
        lines = [f"  {key:<{width}}  {value}" for key, value in rows.items()]
        return "\n".join([f"{self.scheme}:", *lines])


# --------------------------------------------------------------------------------- linear maps


class LinearMap(ABC):
    r""":math:`h \mapsto W h` with the factors of W computed once.

    Rows are batches: ``map(h)`` is ``h @ W.T`` for h of shape (..., n). Computes in the precision
    of W, float32 or better, whatever the autocast state; a real result for h in half precision is
    in half precision.
    """

    n: int
    dtype: torch.dtype
    device: torch.device

    @property
    def multiplications(self) -> float:
        """Of real numbers, in one application to one row: what the choice of a route counts."""
        return self.n**2 * (4 if self.dtype.is_complex else 1)

    def __call__(self, h: Tensor) -> Tensor:
        """:math:`W h` for each row: ``h @ W.T``, shape (..., n)."""
        return self._run(self._apply, h)

    def adjoint(self, h: Tensor) -> Tensor:
        """:math:`W^H h` for each row: ``h @ W.conj()``, shape (..., n)."""
        return self._run(self._adjoint, h)

    def _run(self, function: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        if h.shape[-1:] != (self.n,):
            raise ValueError(
                f"last dimension of h is {tuple(h.shape[-1:])}, but W is {self.n} x {self.n}; "
                f"pass h of shape (..., {self.n})"
            )
        if not (h.is_floating_point() or h.is_complex()):
            raise TypeError(f"h has dtype {h.dtype}; pass floating-point or complex numbers")
        if h.is_complex() and not self.dtype.is_complex:
            return torch.complex(self._run(function, h.real), self._run(function, h.imag))
        with without_autocast(self.device):
            out = function(h.to(self.dtype))
        low = h.dtype in (torch.float16, torch.bfloat16) and not out.is_complex()
        return out.to(h.dtype) if low else out

    def matrix(self) -> Tensor:
        """W, shape (n, n)."""
        return self.columns(self.n)

    def columns(self, k: int) -> Tensor:
        """The first k columns of W, shape (n, k), by k applications."""
        return self._apply(torch.eye(k, self.n, dtype=self.dtype, device=self.device)).mT

    @abstractmethod
    def _apply(self, h: Tensor) -> Tensor:
        """``h @ W.T``."""

    @abstractmethod
    def _adjoint(self, h: Tensor) -> Tensor:
        """``h @ W.conj()``."""


class DenseMap(LinearMap):
    """The map of a matrix at hand."""

    def __init__(self, w: Tensor) -> None:
        self._w = w
        self.n, self.dtype, self.device = w.shape[-1], w.dtype, w.device

    def columns(self, k: int) -> Tensor:
        """The first k columns of W, shape (n, k)."""
        return self._w if k == self.n else self._w[:, :k]

    def _apply(self, h: Tensor) -> Tensor:
        return h @ self._w.mT

    def _adjoint(self, h: Tensor) -> Tensor:
        return h @ self._w.conj()


# -------------------------------------------------------------------------------- the base class

S = TypeVar("S", bound=type["Parametrization"])

_SIGNS = {"+1": 1, "-1": -1, "positive": 1}


class Initializer(Protocol):
    """n, field, determinant wanted of a real matrix, dtype, device, generator -> (n, n)."""

    def __call__(
        self,
        n: int,
        field: str,
        *,
        determinant: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None,
    ) -> Tensor: ...


INITIALIZERS: Registry[Initializer] = Registry("initialiser")


def _check_scheme(name: str, scheme: type[Parametrization]) -> None:
    if not (isinstance(scheme, type) and issubclass(scheme, Parametrization)):
        raise TypeError(f"{scheme!r} is not a subclass of Parametrization")
    info = getattr(scheme, "info", None)
    if not isinstance(info, SchemeInfo):
        raise TypeError(f"{scheme.__name__} states no info; set info = SchemeInfo(...)")
    if info.name != name:
        raise ValueError(
            f"{scheme.__name__} is to be registered as {name!r}, but its info says "
            f"{info.name!r}; use one name"
        )


_SCHEMES: Registry[type[Parametrization]] = Registry(
    "scheme",
    error=UnknownSchemeError,
    entry_points="unitary_zoo.schemes",
    validate=_check_scheme,
)


class Parametrization(nn.Module, ABC):
    r""":math:`\theta \mapsto W(\theta)` with :math:`W^H W = I`: one weight scheme at one size.

    A scheme subclasses one of the families :class:`Static`, :class:`Rebased`, :class:`Projected`,
    states its ``info`` and registers under a name. All learnable parameters are real.

    Args:
        n: Size of W, at least 1.
        field: "real" or "complex", where the scheme serves both; None is its default.
        special: True for determinant 1 only, SO(n) or SU(n); False for real matrices of
            determinant -1; None for all that the scheme reaches, starting with 1 if real. Real
            schemes that reach SO(n) only, and complex ones without SU(n), refuse what they lack.
        device: Device of parameters and matrix.
        dtype: Real dtype of the parameters; complex schemes give the complex dtype of the same
            precision.

    Raises:
        ValueError: n, field or special is not one the scheme accepts.
        TypeError: dtype is not a real floating-point dtype.
    """

    info: SchemeInfo
    _stepping: bool = False  # between begin_step_ and step_
    determinant: int = 1  # of the matrices that real initialisers draw
    _unitary_buffers: tuple[str, ...] = ()  # constant unitary factors, kept as real parts

    def __init__(
        self,
        n: int,
        *,
        field: str | None = None,
        special: bool | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = self.info.name
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"{name}: n is {n!r}; pass an int, the number of rows of W")
        if n < 1 or not self.info.accepts(n):
            accepted = [k for k in range(1, 4 * max(n, 4)) if self.info.accepts(k)][:8]
            raise ValueError(f"{name} does not accept n={n}; accepted sizes: {accepted} ...")
        if field is not None and field not in self.info.fields:
            raise ValueError(
                f"{name} does not serve field={field!r}; choose one of {list(self.info.fields)}"
            )
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"{name}: dtype={dtype} is not a real floating-point dtype; parameters are real, "
                "and complex schemes give the complex dtype of the same precision"
            )
        if field not in (None, self.info.field):
            self.info = replace(self.info, field=field)
        if special is not None:
            self._restrict(special)
        self.special = special
        self.n = n
        self._factory: dict[str, Any] = {
            "device": device,
            "dtype": dtype or torch.get_default_dtype(),
        }

    @classmethod
    def for_columns(cls, n: int, k: int, **options: Any) -> Parametrization:
        """An instance of size n of which only the first k columns are wanted."""
        return cls(n, **options)

    @property
    def _in_su(self) -> bool:
        """Whether W is restricted to SU(n)."""
        return bool(self.special) and self.field == "complex"

    def _restrict(self, special: bool) -> None:
        """Serve, and claim, the determinants that ``special`` allows."""
        info, field = self.info, self.field
        if not isinstance(special, bool):
            raise TypeError(f"{info.name}: special={special!r}; pass True, False or None")
        if info.determinant == "+1" and special:
            return
        if not info.claims[field].special or (field == "complex" and not special):
            raise ValueError(
                f"{info.name} with field={field!r} reaches {info.group} and does not serve "
                f"special={special}; leave it out, or take a scheme whose claims list it, such as "
                "lie_exp"
            )
        self.info = replace(info, claims={field: info.claims[field].restricted(special)})
        self.determinant = 1 if special else -1

    # ------------------------------------------------------------------------------- registry

    @staticmethod
    def register(name: str) -> Callable[[S], S]:
        """Class decorator that registers a scheme under ``info.name``.

        Raises:
            ValueError: The name is taken, or is not the name in the class's info.
            TypeError: The class is no Parametrization or states no info.
        """
        return cast(Callable[[S], S], _SCHEMES.register(name))

    @staticmethod
    def get(name: str) -> type[Parametrization]:
        """The scheme class called ``name``.

        Raises:
            UnknownSchemeError: No such scheme; the message suggests the nearest names.
        """
        return _SCHEMES.get(name)

    @staticmethod
    def create(name: str, n: int, **options: Any) -> Parametrization:
        """``Parametrization.get(name)(n, **options)``."""
        return _SCHEMES.get(name)(n, **options)

    @staticmethod
    def names(**claims: Any) -> tuple[str, ...]:
        """Sorted names of the registered schemes whose info has the given values.

        ``names(field="complex")``, ``names(family="static", assignable=True)``. A tuple-valued
        attribute matches by membership: ``names(fields="complex")`` also lists the schemes that
        are real by default.

        Raises:
            TypeError: No such info attribute.
        """
        known = {name for name in vars(SchemeInfo) if not name.startswith("_")}
        known |= set(SchemeInfo.__dataclass_fields__)
        known -= {"claims", "dimension", "accepts"}
        for claim in claims:
            if claim not in known:
                raise TypeError(f"no scheme claim {claim!r}; filter by one of {sorted(known)}")

        def matches(info: SchemeInfo) -> bool:
            for claim, wanted in claims.items():
                value = getattr(info, claim)
                if wanted not in value if isinstance(value, tuple) else wanted != value:
                    return False
            return True

        return tuple(name for name in _SCHEMES.names() if matches(_SCHEMES.get(name).info))

    # ------------------------------------------------------------------------------ the matrix

    @property
    def field(self) -> str:
        """The field of W: "real" or "complex"."""
        return self.info.field

    @property
    def _anchor(self) -> Tensor:
        return next(self.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of :meth:`matrix`: complex for complex schemes."""
        dtype = self._anchor.dtype
        return linalg.complex_dtype(dtype) if self.field == "complex" else dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self._anchor.device

    @abstractmethod
    def _prepare(self) -> LinearMap:
        """The map, in float32 or better; called with autocast disabled."""

    def prepare(self) -> LinearMap:
        """The map with its factors computed once, to be applied many times."""
        with without_autocast(self.device):
            return self._prepare()

    def matrix(self) -> Tensor:
        """W, shape (n, n), differentiable in the parameters. Reading changes nothing."""
        with without_autocast(self.device):
            return self._prepare().matrix().to(self.dtype)

    def columns(self, k: int) -> Tensor:
        """The first k columns of W, shape (n, k), by the cheapest route."""
        with without_autocast(self.device):
            return self._prepare().columns(k).to(self.dtype)

    def forward(self, h: Tensor) -> Tensor:
        """:math:`W h` for each row: ``h @ W.T``, shapes (..., n) -> (..., n)."""
        return self.prepare()(h)

    def adjoint(self, h: Tensor) -> Tensor:
        """:math:`W^H h` for each row: ``h @ W.conj()``, shapes (..., n) -> (..., n)."""
        return self.prepare().adjoint(h)

    def _free_matrix(self) -> nn.Parameter:
        """A learnable n x n matrix as real parts, at first the identity."""
        eye = torch.eye(self.n, **self._factory)
        if self.field == "complex":
            eye = torch.stack([eye, torch.zeros_like(eye)], dim=-1)
        return nn.Parameter(eye)

    def _full(self, x: Tensor) -> Tensor:
        """A parameter in the precision of the computation: float32 or better."""
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        before = {name: self._buffers[name] for name in self._unitary_buffers}
        super()._apply(fn, recurse)
        for name, old in before.items():
            buffer = self._buffers[name]
            if old is not None and buffer is not None and old.dtype != buffer.dtype:
                self._restore_unitary(name)
        return self

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
        for name in self._unitary_buffers:
            loaded, buffer = state_dict.get(prefix + name), self._buffers[name]
            if isinstance(loaded, Tensor) and buffer is not None and loaded.dtype != buffer.dtype:
                self._restore_unitary(name)

    def _restore_unitary(self, name: str) -> None:
        """Make a factor that came from another precision unitary, in float32 or better."""
        buffer = self._buffers[name]
        assert buffer is not None
        factor = linalg.from_parts(self._full(buffer), self.field)
        self._buffers[name] = linalg.parts(linalg.polar(factor))

    # ------------------------------------------------------------------------------- assignment

    @torch.no_grad()
    def assign_(self, w: Tensor, *, nearest: bool = False) -> float:
        r"""Set the parameters so that ``matrix()`` is ``w``.

        Args:
            w: Shape (n, n), real or complex.
            nearest: Take the nearest matrix the scheme finds instead of raising.

        Returns:
            The residual :math:`\|W(\theta) - w\|_2`.

        Raises:
            NotRepresentableError: The residual exceeds ``100 n eps``, or 0.1; parameters are
                unchanged.
            ValueError: Wrong shape, or entries that are not finite.
        """
        if w.shape != (self.n, self.n):
            raise ValueError(
                f"w has shape {tuple(w.shape)}, but {self.info.name} holds {self.n} x {self.n}; "
                "pass a square matrix of that size"
            )
        if not torch.isfinite(w).all():
            raise ValueError("w has entries that are not finite; nothing was assigned")
        wanted = linalg.double(w.detach().to(self.device))
        before = {key: value.clone() for key, value in self.state_dict().items()}
        self._assign(self._nearest(wanted))
        residual = float(torch.linalg.matrix_norm(linalg.double(self.matrix()) - wanted, 2))
        if not residual <= (limit := self._assign_limit(w)) and not nearest:
            self.load_state_dict(before)
            raise self._not_representable(residual, limit)
        self._forget()
        return residual

    @torch.no_grad()
    def assign_columns_(self, q: Tensor, *, nearest: bool = False) -> float:
        r"""Set the parameters so that ``columns(k)`` is ``q``; the other columns are free.

        Args:
            q: Shape (n, k), k <= n, real or complex.
            nearest: Take the nearest columns the scheme finds instead of raising.

        Returns:
            The residual :math:`\|W(\theta)_{:,1..k} - q\|_2`.

        Raises:
            NotRepresentableError, ValueError: As :meth:`assign_`.
        """
        if q.ndim != 2 or q.shape[0] != self.n or not 1 <= q.shape[1] <= self.n:
            raise ValueError(
                f"q has shape {tuple(q.shape)}, but {self.info.name} holds {self.n} x {self.n}; "
                f"pass from 1 to {self.n} columns of length {self.n}"
            )
        k = q.shape[1]
        if k == self.n:
            return self.assign_(q, nearest=nearest)
        if not torch.isfinite(q).all():
            raise ValueError("q has entries that are not finite; nothing was assigned")
        wanted = linalg.double(q.detach().to(self.device))
        before = {key: value.clone() for key, value in self.state_dict().items()}
        self._assign_columns(wanted)
        residual = float(torch.linalg.matrix_norm(linalg.double(self.columns(k)) - wanted, 2))
        if not residual <= (limit := self._assign_limit(q)) and not nearest:
            self.load_state_dict(before)
            raise self._not_representable(residual, limit)
        self._forget()
        return residual

    def reaches_columns(self, k: int) -> bool:
        """Whether :meth:`assign_columns_` reproduces any k orthonormal columns."""
        return self.info.assignable

    def _assign_columns(self, q: Tensor) -> None:
        """Set the parameters so that the first columns are near ``q``, double precision, k < n."""
        self.assign_(linalg.completed(q, _SIGNS.get(self.info.determinant)), nearest=True)

    def _assign_limit(self, w: Tensor) -> float:
        # Rounding of parameters and of w moves an entry by a few eps, the norm by up to n of them;
        # the maps have conditions of order 10.
        dtypes = (self.dtype, w.dtype if w.is_floating_point() or w.is_complex() else self.dtype)
        return min(0.1, 100 * self.n * max(linalg.eps(dtype) for dtype in dtypes))

    def _not_representable(self, residual: float, limit: float) -> NotRepresentableError:
        return NotRepresentableError(
            f"{self.info.name} cannot represent this matrix: residual {residual:.3g}, limit "
            f"{limit:.3g}; pass nearest=True to take the nearest matrix it can, or choose another "
            "scheme",
            residual,
        )

    def _nearest(self, w: Tensor) -> Tensor:
        """The member of the group nearest to ``w`` (n, n), double precision."""
        if self.field == "real":
            w = w.real if w.is_complex() else w
            return linalg.polar_of_sign(w, _SIGNS.get(self.info.determinant))
        w = linalg.polar(w.to(torch.complex128))
        return linalg.special(w) if self._in_su else w

    def _assign(self, w: Tensor) -> None:
        """Set the parameters to the member of the group ``w``, as near as the scheme can.

        This general method fits the parameters by L-BFGS, to the first columns where ``w`` has
        fewer than n, and finds a local optimum; a scheme with an inverse map has its own.
        """
        fit = copy.deepcopy(self).double().requires_grad_()
        optimizer = torch.optim.LBFGS(
            fit.parameters(), max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            distance = (fit.columns(w.shape[-1]) - w).abs().square().sum()
            distance.backward()
            return distance

        with torch.enable_grad():
            optimizer.step(cast(Callable[[], float], loss))
        for mine, fitted in zip(self.parameters(), fit.parameters(), strict=True):
            mine.copy_(fitted)

    # ---------------------------------------------------------------------------- initialisation

    @torch.no_grad()
    def reset_parameters(
        self, init: str | Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start anew from an initialiser's matrix.

        Args:
            init: "haar", "henaff", "cayley", "torus", "identity", "dft", a matrix, or None for
                the scheme's own default, ``info.default_init``.
            generator: Source of randomness; None is torch's global one.

        Raises:
            NotRepresentableError: The scheme cannot represent the initialiser's matrix.
            ValueError: Unknown initialiser, or one not defined for the field.
        """
        if isinstance(init, Tensor):
            self.assign_(init)
            return
        if self.device.type == "meta":
            return  # nothing to fill in; to_empty() and a second reset do it
        self._initialize(init or self.info.default_init, generator)
        self._forget()

    def _forget(self) -> None:
        """Drop what past steps have left: counters and running means."""

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        """Start from the initialiser called ``init``."""
        if not self.info.assignable:
            raise NotRepresentableError(
                f"{self.info.name} cannot start from init={init!r}: it represents no general "
                f"matrix; use init={self.info.default_init!r}, or assign_(W, nearest=True)",
                math.inf,
            )
        w = self._draw(init, generator)
        residual = self.assign_(w, nearest=True)
        # A draw only has to be near: a random matrix with an angle within a hair of pi loses
        # digits in some coordinates. A wrong component is off by order 1; a part of the group may
        # come near by chance, but not to half the digits.
        limit = 0.1
        if self.info.group.startswith("subset of "):
            limit = min(limit, math.sqrt(linalg.eps(self.dtype)))
        if not residual <= limit:
            raise NotRepresentableError(
                f"{self.info.name} cannot start from init={init!r}: residual {residual:.3g}, "
                f"limit {limit:.3g}; use init={self.info.default_init!r}, or another scheme",
                residual,
            )

    def _draw(self, init: str, generator: torch.Generator | None) -> Tensor:
        try:
            initializer = INITIALIZERS.get(init)
        except LookupError as error:
            raise ValueError(str(error)) from None
        w = initializer(
            self.n,
            self.field,
            determinant=self.determinant,
            dtype=torch.float64,
            device=generator.device if generator is not None else self.device,
            generator=generator,
        ).to(self.device)
        return linalg.special(w) if self._in_su else w

    # ---------------------------------------------------------------------------- training hooks

    def begin_step_(self) -> None:
        """What the optimizer hook calls before a step; nothing for most schemes."""

    def step_(self) -> None:
        """What the optimizer hook calls after a step: retract or rebase."""

    def retract_(self) -> None:
        """Return to the group after a change that was no optimizer step, such as an average."""

    # ------------------------------------------------------------------------------- description

    def describe(self) -> Description:
        """Parameters, dimension, determinant, unitarity defect and eigenphases of W as it is."""
        w = linalg.double(self.matrix().detach())
        return Description(
            scheme=self.info.name,
            n=self.n,
            field=self.field,
            group=self.info.group,
            dtype=self.dtype,
            device=self.device,
            parameters=sum(p.numel() for p in self.parameters()),
            dimension=self.info.dimension(self.n),
            determinant=complex(torch.linalg.det(w).item()),
            defect=float(linalg.unitarity_defect(w)),
            tolerance=self.info.tolerance(self.n, self.dtype),
            deviation=self.info.deviation,
            eigenphases=torch.linalg.eigvals(w).angle().sort().values,
        )

    def extra_repr(self) -> str:
        """Size, field and group."""
        return f"n={self.n}, {self.field}, {self.info.group}"


# ----------------------------------------------------------------------------------- families


class Static(Parametrization):
    """W = f(theta): the parameters determine W alone, and a step needs no after-care."""


class Rebased(Parametrization):
    r""":math:`W = f(A) B` with A skew and near 0; every K steps A moves into the base B.

    The learnable coordinates of A are those of :func:`linalg.skew_from_coordinates`; at A = 0
    their gradient is that of :math:`g = G W^H - W G^H`, so that with K = 1 a step of SGD is
    :math:`W \leftarrow f(-\alpha g) W`. Forgetting to attach is safe: W stays unitary.

    Args:
        n: Size of W.
        rebase_every: K, the number of steps between rebases; None or infinity is never.
        options: ``field``, ``special``, ``device`` and ``dtype``.
    """

    base: Tensor
    steps: Tensor
    _unitary_buffers = ("base",)

    def __init__(self, n: int, *, rebase_every: float | None = 1, **options: Any) -> None:
        super().__init__(n, **options)
        every = None if rebase_every == math.inf else rebase_every
        whole = isinstance(every, int) and not isinstance(every, bool)
        if every is not None and not (whole and every >= 1):
            raise ValueError(
                f"{self.info.name}: rebase_every={rebase_every!r}; pass an int of at least 1, or "
                "None for never"
            )
        self.rebase_every = every
        d = linalg.skew_dimension(n, self.field)
        self.theta = nn.Parameter(torch.zeros(d, **self._factory))
        eye = torch.eye(n, dtype=self._full(self.theta).dtype, device=self.device)
        # The base is kept as real parts: distributed back ends fail on complex buffers.
        eye = eye.to(eye.dtype.to_complex()) if self.field == "complex" else eye
        self.register_buffer("base", linalg.parts(eye).clone())
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=self.device))
        self.reset_parameters()

    @abstractmethod
    def _map(self, a: Tensor) -> Tensor:
        """f, with f(0) = I and f'(0) the identity."""

    def _prepare(self) -> LinearMap:
        a = linalg.skew_from_coordinates(self._full(self.theta), self.n, self.field)
        if self._in_su:
            a = linalg.traceless(a)
        base = linalg.restored(linalg.from_parts(self.base, self.field))
        return DenseMap(self._map(a) @ base)

    def _assign(self, w: Tensor) -> None:
        self.theta.zero_()
        self.base.copy_(linalg.parts(w))

    def _forget(self) -> None:
        self.steps.zero_()

    @torch.no_grad()
    def step_(self) -> None:
        """Count a step; at every K-th, B <- f(A) B and A <- 0, W unchanged."""
        due = self.rebase_is_due()
        self.steps += 1
        if not due:
            return
        # Thousands of products would let the defect of B grow as a random walk.
        w = linalg.newton_schulz_step(self.prepare().matrix())
        if self._in_su:
            w = linalg.special(w)
        self.base.copy_(linalg.parts(w))
        self.theta.zero_()

    def rebase_is_due(self) -> bool:
        """Whether the next :meth:`step_` will rebase."""
        if self.rebase_every is None or self.rebase_every == 1:
            return self.rebase_every == 1
        return (int(self.steps) + 1) % int(self.rebase_every) == 0

    @torch.no_grad()
    def transport(self, x: Tensor) -> Tensor:
        r"""The coordinates, after a rebase now, of a direction or mean gradient with those of x.

        :math:`X \mapsto E X E^H` with :math:`E = f(A/2)`. A change dA of A turns W by
        :math:`dW\,W^H = \phi(\mathrm{ad}_A)\,dA`, where :math:`\phi(z) = (e^z - 1)/z` for the
        exponential; a gradient in A is brought to one at A = 0 by the inverse of the adjoint of
        that. Both are this rotation, times :math:`\sinh(z/2) / (z/2)` or its inverse, 1 to second
        order in A. The rotation alone is the parallel transport of the group along
        :math:`\exp(tA) B`, keeps the length, and has no pole. (The Cayley map's own
        rotation differs from f(A/2) in the third order.)

        Args:
            x: Shape of ``theta``.
        """
        a, x_full = (
            linalg.skew_from_coordinates(self._full(y), self.n, self.field) for y in (self.theta, x)
        )
        e = self._map((linalg.traceless(a) if self._in_su else a) / 2)
        return linalg.skew_to_coordinates(e @ x_full @ e.mH).to(x.dtype)


def _checked(x: Tensor, off: Tensor, limit: float, name: str) -> Tensor:
    """``x``, if it is no farther ``off`` the group than ``limit``."""
    if x.is_meta:
        return x
    if is_traced():
        out: Tensor = _checked_operator(x, off, limit, name)
        return out
    worst = largest(off)
    if not worst <= limit:
        raise NotProjectedError(
            f"{name}: the stored weight is {worst:.3g} off the group (limit {limit:.3g}), so it "
            "was changed without a projection; call unitary_zoo.attach(model, optimizer) before "
            "training, unitary_zoo.retract_(model) on a moving average, or step_() after every "
            "optimizer step of your own"
        )
    return x


@torch.library.custom_op("unitary_zoo::checked", mutates_args=())
def _checked_operator(x: Tensor, off: Tensor, limit: float, name: str) -> Tensor:
    # An operator of its own, so that traced code still looks at the numbers.
    return _checked(x, off, limit, name).clone()


_checked_operator.register_fake(lambda x, off, limit, name: torch.empty_like(x))
_checked_operator.register_autograd(lambda ctx, grad: (grad, None, None, None))


class Projected(Parametrization):
    r"""W is stored itself, and :meth:`step_` returns it to the group after each optimizer step.

    Reading W after a change that left the group raises :class:`NotProjectedError`. While an
    attached optimizer is inside its step (a closure evaluated several times), reading gives the
    projection of the stored matrix, differentiably.
    """

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.weight = self._free_matrix()
        self.reset_parameters()

    @abstractmethod
    def _project(self, x: Tensor) -> Tensor:
        """The point of the group nearest to ``x`` (n, n), differentiable."""

    def _stored(self) -> Tensor:
        # A copy: a matrix that was read must not change with the next step.
        return linalg.from_parts(self._full(self.weight).clone(), self.field)

    def _off_group(self, x: Tensor) -> Tensor:
        """How far ``x`` is from the group, in the Frobenius norm; zero but for rounding on it."""
        return (x.mH @ x - linalg.identity_like(x)).norm()

    def _off_limit(self) -> float:
        # Rounding the entries of a unitary matrix moves W^H W by at most sqrt(n) eps.
        return 4 * math.sqrt(self.n) * linalg.eps(self.weight.dtype)

    def _prepare(self) -> LinearMap:
        x = self._stored()
        low = self.weight.dtype in (torch.float16, torch.bfloat16)
        if not self._stepping:
            # Judged by the data: fused optimizers and writes by way of .data escape the version
            # counter.
            off, limit = self._off_group(x.detach()), self._off_limit()
            x = _checked(x, off, limit, self.info.name)
        return DenseMap(self._project(x) if self._stepping or low else x)

    def _nearest(self, w: Tensor) -> Tensor:
        if self.field == "real":
            return self._project(w.real if w.is_complex() else w)
        return self._project(w.to(torch.complex128))

    def _assign(self, w: Tensor) -> None:
        self.weight.copy_(linalg.parts(w))

    def begin_step_(self) -> None:
        """Until :meth:`step_`, read W as the projection of what is stored."""
        self._stepping = True

    @torch.no_grad()
    def step_(self) -> None:
        """W <- projection of W."""
        self._stepping = False
        self.retract_()

    @torch.no_grad()
    def retract_(self) -> None:
        """Return what is stored to the group, wherever it came from."""
        self._assign(self._project(self._stored()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        before, meta = self.weight.dtype, self.device.type == "meta"
        on_group = not meta and bool(self._off_group(self._stored().detach()) <= self._off_limit())
        super()._apply(fn, recurse)
        if self.weight.dtype != before and on_group:
            # Unitary to the old precision only: projected again in the new one.
            with torch.no_grad():
                self._assign(self._project(self._stored()))
        return self


class Anchored(Projected):
    """A projected scheme that keeps, beside the weight, the matrix that its last step left.

    So a step knows where it started from, and a reading sees in O(n^2) whether the weight was
    changed without one. ``base`` holds that matrix as real parts, in float32 or better.
    """

    base: Tensor
    _unitary_buffers: tuple[str, ...] = ("base",)

    def reset_parameters(
        self, init: str | Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start anew; see :meth:`Parametrization.reset_parameters`."""
        if "base" not in self._buffers:  # the first start, drawn while the instance is built
            self.register_buffer("base", self._full(self.weight.detach()).clone())
        super().reset_parameters(init, generator)

    def _admits(self, w: Tensor) -> bool:
        """Whether ``w`` (n, n) is a matrix that a step can leave; asked when one is loaded."""
        return bool(linalg.unitarity_defect(w) <= 2 * self.info.tolerance(self.n, w.dtype))

    def _start(self) -> Tensor:
        """The matrix that the last step left, in full precision."""
        return linalg.from_parts(self.base, self.field)

    def _move(self, x: Tensor) -> Tensor:
        """What was added to the weight that the last step left to make it ``x``."""
        # That weight is the base, rounded where the weight has fewer digits.
        left = self._full(self.base.to(self.weight.dtype))
        return x - linalg.from_parts(left, self.field)

    def _off_group(self, x: Tensor) -> Tensor:
        """How far ``x`` is from what the last step left, in the Frobenius norm."""
        return self._move(x).norm()

    def _nearest(self, w: Tensor) -> Tensor:
        return Parametrization._nearest(self, w)

    @torch.no_grad()
    def retract_(self) -> None:
        """Return what is stored to the group, wherever it came from."""
        self._assign(self._nearest(linalg.double(self._stored())))

    def _assign(self, w: Tensor) -> None:
        self.base.copy_(linalg.parts(w))
        self.weight.copy_(self.base)

    @torch.no_grad()
    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
        weight, base = (state_dict.get(prefix + name) for name in ("weight", "base"))
        if not isinstance(weight, Tensor) or self.device.type == "meta":
            return
        if base is None:  # of plain weights
            self.base.copy_(self.weight)
        elif torch.equal(weight, base.to(weight.dtype)):
            self.weight.copy_(self.base)  # the base may have been restored in a new precision
        if not self._admits(self._start()):
            args[-1].append(
                f"{self.info.name}: {prefix}base has unitarity defect "
                f"{float(linalg.unitarity_defect(self._start())):.3g}; load the state of this "
                "scheme, or give the matrix to assign_(W, nearest=True)"
            )


__all__ = [
    "INITIALIZERS",
    "ORTHOGONAL",
    "SPECIAL_ORTHOGONAL",
    "UNITARY",
    "UNITARY_OR_SPECIAL",
    "Anchored",
    "DenseMap",
    "Description",
    "FieldClaims",
    "LinearMap",
    "NotProjectedError",
    "NotRepresentableError",
    "Parametrization",
    "Projected",
    "Rebased",
    "SchemeInfo",
    "Static",
    "Tolerance",
    "UnknownSchemeError",
]
