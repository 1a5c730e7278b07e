"""Dtypes of a scheme: which it takes, and what a change of precision does to its tensors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import Convert, CustomConversion, LoadingHook, own_tensors
from unitary_zoo.base.info import SchemeInfo
from unitary_zoo.base.sharding import changed_whole

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the computation for parameters of ``dtype``: float32 or better."""
    return torch.promote_types(dtype, torch.float32)


def promoted(x: Tensor) -> Tensor:
    """Return ``x`` in the precision of the computation: float32 or better."""
    return x.to(wide_dtype(x.dtype))


def check_dtype(dtype: torch.dtype, info: SchemeInfo, what: str) -> None:
    """Raise an error unless the parameters of a scheme can have this dtype.

    Args:
        dtype: The dtype asked for.
        info: The info of the scheme.
        what: What has that dtype, for the message.

    Raises:
        TypeError: ``dtype`` is complex, an integer, or a float of 8 bits or fewer.
    """
    if dtype in _DTYPES:
        return
    if not dtype.is_complex:
        remedy = "pass torch.float64, float32, bfloat16 or float16"
    elif info.field == "complex":
        remedy = (
            "its parameters are real numbers and its matrices complex already, so pass "
            f"{dtype.to_real()} for matrices in {linalg.complex_dtype(dtype.to_real())}"
        )
    elif "complex" in info.fields:
        remedy = "a real scheme never becomes complex; build it anew with field='complex'"
    else:
        remedy = (
            "it is real only; build a complex scheme, one of "
            "Parametrization.names(fields='complex')"
        )
    raise TypeError(
        f"{info.name}: {what}={dtype} is not a real floating-point dtype of 16 bits or more; "
        f"{remedy}"
    )


class UnitaryBuffers(CustomConversion, LoadingHook, ABC):
    """A module with constant unitary factors that stay unitary when their precision changes.

    ``_unitary_buffers`` names the factors, buffers or frozen parameters. They are kept as real
    parts, since distributed backends fail on complex buffers, and in float32 or better. A factor
    that comes from another precision, by ``.to()`` or by ``load_state_dict``, is replaced by its
    polar factor.
    ``_wide_buffers`` names others that are kept in float32 or better, as they are.

    The parameters have one of four real dtypes. A conversion to another, and a state that has
    another, is refused before anything is changed. Counts stay integers.
    """

    info: SchemeInfo
    n: int
    _unitary_buffers: tuple[str, ...] = ()
    _wide_buffers: tuple[str, ...] = ()

    @property
    @abstractmethod
    def field(self) -> str:
        """The field of the factors: "real" or "complex"."""

    @property
    def _reference_parameter(self) -> Tensor:
        """The parameter whose dtype and device are the scheme's."""
        return next(self.parameters())

    def _wide_constants(self) -> dict[str, Tensor]:
        """Return the buffers that are kept in float32 or better, by name."""
        named = ((name, getattr(self, name)) for name in self._unitary_buffers + self._wide_buffers)
        return {name: x for name, x in named if x is not None}

    # ---------------------------------------------------------------------------------- .to()

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        like = self._reference_parameter
        probe = convert(torch.empty(0, dtype=like.dtype, device=like.device))
        check_dtype(probe.dtype, self.info, "dtype")
        before = {name: x.dtype for name, x in self._wide_constants().items()}
        wide = {id(x) for x in self._wide_constants().values()}

        def keeping_kinds(x: Tensor) -> Tensor:
            y = convert(x)
            if not (x.is_floating_point() or x.is_complex()):
                return y if y.dtype == x.dtype else x.to(y.device)
            keep = id(x) in wide and y.dtype != wide_dtype(y.dtype)
            return x.to(y.device, wide_dtype(y.dtype)) if keep else y

        convert_tensors(keeping_kinds)
        for name, x in self._wide_constants().items():
            if name in self._unitary_buffers and x.dtype != before[name]:
                self._restore_unitary(name)

    # ------------------------------------------------------------------------ load_state_dict

    def _before_loading(
        self, state: MutableMapping[str, Any], prefix: str, errors: list[str]
    ) -> None:
        for name, own in own_tensors(self).items():
            key = prefix + name
            given = state.get(key)
            if own is None or not isinstance(given, Tensor):
                continue
            if own.is_floating_point() or given.is_complex() > own.is_complex():
                try:
                    check_dtype(given.dtype, self.info, f"dtype of {key}")
                except TypeError as error:
                    errors.append(str(error))
                    continue
            elif not own.is_complex() and given.dtype != own.dtype:
                given = given.to(own.dtype)  # a count in a state that was converted as a whole
            state[key] = given.contiguous()  # with assign=True it becomes part of the module

    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        if self._reference_parameter.is_meta:
            return
        with changed_whole(self):
            self._repair_factors(state, prefix)
            self._regain_precision(state, prefix)

    def _repair_factors(self, state: Mapping[str, Any], prefix: str) -> None:
        """Return factors that came in another precision, or rounded, to the group."""
        # With assign=True the dtypes are those of the state, half precision included.
        dtype = wide_dtype(self._reference_parameter.dtype)
        for name, x in self._wide_constants().items():
            given = state.get(prefix + name)
            if not isinstance(given, Tensor):
                continue
            x.data = x.to(dtype)
            if name not in self._unitary_buffers:
                continue
            if given.dtype != dtype:
                self._restore_unitary(name)
            else:
                self._restore_rounded(name)

    def _regain_precision(self, state: Mapping[str, Any], prefix: str) -> None:
        """Repair parameters that a state of lower precision has; most schemes need not."""

    def _restore_rounded(self, name: str) -> None:
        """Restore a factor that was rounded before it came into its present dtype."""
        x = getattr(self, name)
        defect = float(linalg.unitarity_defect(linalg.from_real_parts(x, self.field)))
        # A factor has at most half of the lower limit by itself, after many steps of low rank.
        # Rounding the entries to bfloat16 moves W^H W by no more than the upper one.
        low, high = 32 * linalg.eps(x.dtype), linalg.eps(torch.bfloat16)
        if low < defect / math.sqrt(self.n) <= high:
            self._restore_unitary(name)

    @torch.no_grad()
    def _restore_unitary(self, name: str) -> None:
        x = getattr(self, name)
        factor = linalg.polar(linalg.from_real_parts(x, self.field))
        x.data = linalg.view_as_real_parts(factor).contiguous()
