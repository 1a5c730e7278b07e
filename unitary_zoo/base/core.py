"""The size, field and map of a parametrization: what it takes to read W."""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo._torch import without_autocast
from unitary_zoo.base.info import SchemeInfo
from unitary_zoo.base.linear_map import LinearMap
from unitary_zoo.base.precision import UnitaryBuffers, check_dtype, promoted
from unitary_zoo.base.sharding import read_whole
from unitary_zoo.errors import check_int, is_int


class SchemeCore(UnitaryBuffers, ABC):
    """The part of :class:`Parametrization` that reads W; the arguments are explained there."""

    info: SchemeInfo
    initial_determinant: int = 1
    _started: bool = True  # False from the constructor of a family to the first start
    # The tensors of which `_matrix_of` computes W, for a class that has it.
    _batched: tuple[str, ...] = ()

    def __init__(
        self,
        n: int,
        *,
        field: str | None = None,
        determinant: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        name = self.info.name
        if unknown:
            raise _unknown_option(name, unknown, options_of(type(self)))
        check_int(f"{name}: n", n, 1)
        if not self.info.accepts(n):
            accepted = [k for k in range(1, 4 * max(n, 4)) if self.info.accepts(k)][:8]
            raise ValueError(f"{name} does not accept n={n}; accepted sizes: {accepted} ...")
        if field is not None and field not in self.info.fields:
            raise ValueError(
                f"{name} does not serve field={field!r}; choose one of {list(self.info.fields)}"
            )
        if field not in (None, self.info.field):
            self.info = replace(self.info, field=field)
        if dtype is not None:
            check_dtype(dtype, self.info, "dtype")
        if determinant is not None:
            self._restrict(determinant)
        self.determinant = determinant
        self.n = n
        self._factory: dict[str, Any] = {
            "device": device,
            "dtype": dtype or torch.get_default_dtype(),
        }

    @property
    def _is_special_unitary(self) -> bool:
        """Whether W is restricted to SU(n)."""
        return self.determinant is not None and self.field == "complex"

    def _restrict(self, determinant: int) -> None:
        """Serve, and claim, this determinant only."""
        info, field = self.info, self.field
        if not is_int(determinant):
            raise TypeError(f"{info.name}: determinant={determinant!r}; pass +1, -1 or None")
        claims = info.claims[field]
        if determinant not in (1, -1) or not claims.serves(determinant):
            raise ValueError(
                f"{info.name} with field={field!r} reaches {info.reach} and does not serve "
                f"determinant={determinant:+d}; leave it out, or take a scheme whose claims list "
                "it, such as lie_exp"
            )
        if determinant != claims.determinant.sign:
            self.info = replace(info, claims={field: claims.restricted(determinant)})
            self.initial_determinant = determinant

    @property
    def field(self) -> str:
        """The field of W: "real" or "complex"."""
        return self.info.field

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of :meth:`matrix`: complex for complex schemes."""
        dtype = self._reference_parameter.dtype
        return linalg.complex_dtype(dtype) if self.field == "complex" else dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self._reference_parameter.device

    @abstractmethod
    def _prepare(self) -> LinearMap:
        """Return the map, in float32 or better; called with autocast disabled."""

    def _check_read(self) -> None:
        """Refuse a read, or warn of it, where something is wrong with what is stored."""

    def _matrix_of(self, *tensors: Tensor) -> Tensor:
        """Return W (..., n, n) from the tensors that ``_batched`` names, or from batches of them.

        They come in the precision of the computation.
        """
        raise NotImplementedError(f"{self.info.name} takes no batches")

    def _batch_options(self) -> tuple[object, ...]:
        """Return the options that ``_matrix_of`` reads, beside field and determinant."""
        return ()

    def prepare(self) -> LinearMap:
        """Return the map with its factors computed once, to be applied many times."""
        with without_autocast(self.device), read_whole(self):
            return self._prepare()

    def matrix(self) -> Tensor:
        """Return W, shape (n, n), differentiable in the parameters. Reading changes nothing."""
        with without_autocast(self.device), read_whole(self):
            return self._prepare().matrix().to(self.dtype)

    def columns(self, k: int) -> Tensor:
        """Return the first k columns of W, shape (n, k), by the cheapest route."""
        with without_autocast(self.device), read_whole(self):
            return self._prepare().columns(k).to(self.dtype)

    def forward(self, h: Tensor) -> Tensor:
        """:math:`W h` for each row: ``h @ W.T``, shapes (..., n) -> (..., n)."""
        return self.prepare()(h)

    def adjoint(self, h: Tensor) -> Tensor:
        """:math:`W^H h` for each row: ``h @ W.conj()``, shapes (..., n) -> (..., n)."""
        return self.prepare().adjoint(h)

    def _identity_parts(self, dtype: torch.dtype) -> Tensor:
        """Return I of size n as real parts, in a real dtype."""
        eye = torch.eye(self.n, dtype=dtype, device=self._factory["device"])
        return torch.stack([eye, torch.zeros_like(eye)], -1) if self.field == "complex" else eye

    def _free_matrix(self) -> nn.Parameter:
        """Return a learnable n x n matrix as real parts, at first the identity."""
        return nn.Parameter(self._identity_parts(self._factory["dtype"]))

    def _promoted(self, x: Tensor) -> Tensor:
        """Return a parameter in the precision of the computation: float32 or better."""
        return promoted(x)

    def _check_started(self) -> None:
        if not self._started:
            raise TypeError(
                f"{type(self).__name__}: the parameters were never started; call "
                f"self.reset_parameters() in the last line of {type(self).__name__}.__init__"
            )


def options_of(scheme: type[SchemeCore]) -> list[str]:
    """Return the names of the options that a scheme takes, from the signatures of its chain."""
    found: set[str] = set()
    for cls in scheme.__mro__:
        if (constructor := vars(cls).get("__init__")) is None:
            continue
        parameters = inspect.signature(constructor).parameters.values()
        found |= {p.name for p in parameters if p.default is not p.empty}
        if cls is SchemeCore or all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break  # it passes no other options on
    if len(scheme.info.fields) == 1:
        found.discard("field")
    if not any(claims.serves(sign) for claims in scheme.info.claims.values() for sign in (1, -1)):
        found.discard("determinant")
    return sorted(found)


def _unknown_option(scheme: str, unknown: dict[str, object], options: list[str]) -> TypeError:
    name, value = next(iter(unknown.items()))
    if name == "special" and isinstance(value, bool | None):
        new = None if value is None else 1 if value else -1
        return TypeError(
            f"{scheme}: the option special={value} is called determinant; pass determinant={new}"
        )
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"; did you mean {near[0]}?" if near else ";"
    return TypeError(
        f"{scheme} got an unexpected option {name}={value!r}{hint} it takes {', '.join(options)}"
    )
