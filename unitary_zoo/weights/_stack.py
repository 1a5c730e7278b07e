"""SchemeStack: many static schemes of one class and size, as one module with stacked tensors."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from unitary_zoo._torch import Convert, CustomConversion
from unitary_zoo.base import Parametrization, Static
from unitary_zoo.base.description import Description
from unitary_zoo.base.info import SchemeInfo

Function = Callable[[Parametrization, int], object]


class SchemeStack(CustomConversion):
    """N schemes that differ in their tensors alone, with each tensor stacked to (N, ...).

    A convolution has a matrix for each pair of channels, and a module for each would make a state
    of thousands of entries. The map is that of one scheme under ``torch.vmap``; whatever changes a
    scheme is called for each of them.

    The training hooks, ``retract_`` and ``parameter_groups`` take it for a static scheme: it is a
    virtual subclass of :class:`Static`, whose methods they call.

    Args:
        schemes: The schemes; one may be there more than once. Their tensors are copied.
    """

    def __init__(self, schemes: Sequence[Parametrization]) -> None:
        super().__init__()
        # In a tuple, so that it is no part of the state: it holds the options and the map.
        self._held = (Holder(schemes[0]),)
        self.count = len(schemes)
        states = [tensors_of(scheme) for scheme in schemes]
        persistent = schemes[0].state_dict().keys()
        for name, like in states[0].items():
            value = torch.stack([state[name].detach() for state in states])
            if isinstance(like, nn.Parameter):
                setattr(self, name, nn.Parameter(value, requires_grad=like.requires_grad))
            else:
                self.register_buffer(name, value, persistent=name in persistent)
        self.register_load_state_dict_pre_hook(_load_each)

    @staticmethod
    def serves(scheme: Parametrization) -> bool:
        """Whether schemes like this one can be stacked.

        The steps of other families read and keep more than their tensors.
        """
        names = tensors_of(scheme)
        static = isinstance(scheme, Static) and scheme.info.supports_vmap
        return static and not any("." in name for name in names)

    @property
    def example(self) -> Parametrization:
        """A scheme with the class and the options of all of them, and tensors of no meaning."""
        return self._held[0].scheme

    @property
    def info(self) -> SchemeInfo:
        """The info of each scheme."""
        return self.example.info

    @property
    def n(self) -> int:
        """The size of each matrix."""
        return self.example.n

    @property
    def field(self) -> str:
        """The field of the matrices."""
        return self.example.field

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(self.parameters()).device

    def extra_repr(self) -> str:
        """The number and the kind of schemes, for ``repr``."""
        return f"{self.count} x {type(self.example).__name__}, {self.example.extra_repr()}"

    # ------------------------------------------------------------------------------------- read

    def columns(self, k: int) -> Tensor:
        """The first k columns of each matrix, shape (N, n, k)."""
        q: Tensor = at_once(self._held[0], tensors_of(self), lambda scheme: scheme.columns(k))
        return q

    def matrix(self) -> Tensor:
        """The matrices, shape (N, n, n)."""
        return self.columns(self.n)

    def describe(self) -> Description:
        """The description of the scheme with the largest defect."""
        found: list[Description] = []
        for i in range(self.count):
            self._call(i, lambda scheme, _: found.append(scheme.describe()))
        return max(found, key=lambda description: description.defect)

    # ----------------------------------------------------------------------------------- change

    @torch.no_grad()
    def each_(self, function: Function) -> None:
        """Call ``function(scheme, i)``, which may change the scheme, for each; if one raises, none.

        The schemes are views for the time of the call.
        """
        for name, value in self._changed(function).items():
            own = getattr(self, name)
            if own.dtype == value.dtype:
                own.copy_(value)
            else:
                own.data = value  # it stays the same parameter to an optimizer

    def _changed(self, function: Function) -> dict[str, Tensor]:
        """What the tensors would be after :meth:`each_`."""
        after = [self._call(i, function) for i in range(self.count)]
        return {name: torch.stack([state[name] for state in after]) for name in after[0]}

    def _call(self, i: int, function: Function) -> dict[str, Tensor]:
        """Call ``function`` on a copy of scheme ``i``, and return the tensors of the copy."""
        state: dict[str, Tensor] = {}
        for name, x in tensors_of(self).items():
            value = x.detach()[i].clone()
            if isinstance(x, nn.Parameter):
                value = nn.Parameter(value, requires_grad=x.requires_grad)
            state[f"scheme.{name}"] = value

        def run(scheme: Parametrization) -> dict[str, Tensor]:
            function(scheme, i)
            return {name: x.detach() for name, x in tensors_of(scheme).items()}

        return cast(dict[str, Tensor], functional_call(self._held[0], state, (run,)))

    def reset_parameters(
        self, init: str | Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start all schemes anew; see :meth:`unitary_zoo.Parametrization.reset_parameters`."""
        self.each_(lambda scheme, _: scheme.reset_parameters(init, generator=generator))

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        like = next(self.parameters())
        probe = convert(torch.empty(0, dtype=like.dtype, device=like.device))
        if like.is_meta or probe.is_meta or probe.dtype == like.dtype:
            convert_tensors(convert)
            return
        # Each scheme decides what becomes of its constants in another precision.
        self.each_(lambda scheme, _: scheme.to(probe.dtype))
        convert_tensors(lambda x: x.to(probe.device))

    # ---------------------------------------------------------------------------- training hooks

    def learnable_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that training changes."""
        return self.parameters()

    def expect_steps_(self, expected: bool, name: str = "") -> None:
        """Do nothing, as a static scheme does."""

    def check_gradients(self) -> None:
        """Do nothing, as a static scheme does."""

    def begin_step_(self) -> None:
        """Do nothing, as a static scheme does."""

    def cancel_step_(self) -> None:
        """Do nothing, as a static scheme does."""

    @torch.no_grad()
    def step_(self) -> None:
        """Call the ``step_`` of all schemes together, if they have one."""
        if type(self.example)._step is Static._step:
            return

        def run(scheme: Parametrization) -> dict[str, Tensor]:
            scheme.step_()
            return tensors_of(scheme)

        state = {name: x.detach().clone() for name, x in tensors_of(self).items()}
        try:
            after = at_once(self._held[0], state, run)
        except RuntimeError:  # the step branches on values, which are not one number here
            self.each_(lambda scheme, _: scheme.step_())
            return
        for name, value in after.items():
            getattr(self, name).copy_(value)

    def retract_(self) -> None:
        """Do nothing, as a static scheme does."""


ABCMeta.register(Static, SchemeStack)


class Holder(nn.Module):
    """A module whose forward pass is any function of a scheme, for ``functional_call``."""

    def __init__(self, scheme: Parametrization) -> None:
        super().__init__()
        self.scheme = scheme

    def forward(self, function: Callable[[Parametrization], Any]) -> Any:
        """Return what ``function`` returns for the scheme."""
        return function(self.scheme)


def at_once(
    holder: Holder, state: Mapping[str, Tensor], function: Callable[[Parametrization], Any]
) -> Any:
    """What ``function`` returns for the scheme with each of the stacked states, stacked."""
    return torch.vmap(lambda state: functional_call(holder, state, (function,)))(
        {f"scheme.{name}": value for name, value in state.items()}
    )


def tensors_of(scheme: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a scheme, or of a stack, by name."""
    return {**dict(scheme.named_parameters()), **dict(scheme.named_buffers())}


def _load_each(
    stack: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: object,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Replace the tensors of a state by what each scheme makes of its part."""
    assert isinstance(stack, SchemeStack)
    own = stack.state_dict()
    given = {name: state_dict[prefix + name] for name in own if prefix + name in state_dict}
    complete = given.keys() == own.keys()
    if not complete or any(given[name].shape != own[name].shape for name in own):
        return  # torch will say what is wrong
    if stack.device.type == "meta":
        return  # there are no values to repair
    try:
        loaded = stack._changed(
            lambda scheme, i: scheme.load_state_dict({name: x[i] for name, x in given.items()})
        )
    except RuntimeError as error:
        errors.append(f"{prefix}: {error}")
        return
    state_dict.update({prefix + name: loaded[name] for name in own})
