"""The classes of parametrized modules.

torch gives each parametrized module a class of its own. Its instances cannot be pickled or stacked
by ``torch.func``, and share the class with their deep copies, so that removing a parametrization
from one of them breaks the other. The classes here replace those of torch: one class serves all
modules of a base class with the same computed tensors.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from unitary_zoo import linalg
from unitary_zoo._torch import (
    before_loading,
    is_swapped_in,
    is_traced,
    is_transformed,
    own_tensors,
    rnn_members,
    without_computed_weights,
)
from unitary_zoo.base import Parametrization
from unitary_zoo.weights._cache import drop_cached, read_weight
from unitary_zoo.weights._weight import OrthogonalWeight
from unitary_zoo.weights._written import (
    forget,
    last_read,
    remember,
    warn_if_written,
    writes_expected,
)


def adopt(module: nn.Module) -> None:
    """Replace the class that torch gave a parametrized module."""
    module.__class__ = _class_for(_base(module), frozenset(parametrizations_of(module)))


def parametrizations_of(module: nn.Module) -> Mapping[str, ParametrizationList]:
    """The list of parametrizations of each computed tensor of a module, by name."""
    return cast(Mapping[str, ParametrizationList], getattr(module, "parametrizations", {}))


class _ParametrizedType(type):
    """The type of these classes.

    torch adds and deletes properties of one module's class. Here other modules share that class:
    an added property works for them too, and no property is deleted.
    """

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, _property(name) if isinstance(value, property) else value)

    def __delattr__(cls, name: str) -> None:
        if not isinstance(vars(cls).get(name), property):
            super().__delattr__(name)


def _property(name: str) -> property:
    """A tensor that is computed where it has a parametrization, and an ordinary one elsewhere."""

    def read(self: nn.Module) -> Tensor | None:
        if name not in (parametrizations := parametrizations_of(self)):
            if name in (tensors := own_tensors(self)):
                return tensors[name]
            raise AttributeError(name)
        chain = parametrizations[name]
        swapped_in = getattr(chain, _SWAPPED_IN, None)
        if swapped_in is not None:
            given: Tensor = swapped_in[0]
            return given
        if torch.compiler.is_compiling():
            return read_weight(chain)
        if warn_if_written(chain, name):
            drop_cached(chain)
        weight = read_weight(chain)
        plain = is_traced() or is_transformed() or _gradients_are_off()
        if not (weight.requires_grad or plain):
            # It is frozen: from a plain tensor, remove_parametrizations would make a buffer.
            weight = nn.Parameter(weight, requires_grad=False)
        remember(chain, weight)
        return weight

    def write(self: nn.Module, value: Tensor) -> None:
        # Only computed tensors come here: the module's __setattr__ writes the others.
        chain = parametrizations_of(self)[name]
        if is_swapped_in():
            _swap(chain, value)
            return
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} = {value!r}; assign a tensor, or call "
                f"torch.nn.utils.parametrize.remove_parametrizations(layer, {name!r}) first"
            )
        forget(chain)
        chain.right_inverse(value)
        if isinstance(value, nn.Parameter):  # learned or frozen, as the weight of any layer
            for scheme in chain.modules():
                if isinstance(scheme, Parametrization):
                    for p in scheme.learnable_parameters():
                        p.requires_grad_(value.requires_grad)

    return property(read, write)


_SWAPPED_IN = "swapped_in"
"""Attribute of a list of parametrizations during ``functional_call`` with a plain tensor.

It holds that tensor and the computed one in whose place it is. As it is no entry of a dictionary
of ours, the compiler notices it.
"""


def _swap(chain: nn.Module, value: Tensor) -> None:
    """Use ``value`` as it is until the computed tensor, which was read before, is put back."""
    swapped_in = getattr(chain, _SWAPPED_IN, None)
    computed = last_read(chain) if swapped_in is None else swapped_in[1]
    if value is not computed:
        setattr(chain, _SWAPPED_IN, (value, computed))
    elif swapped_in is not None:
        delattr(chain, _SWAPPED_IN)


def _gradients_are_off() -> bool:
    return torch.is_inference_mode_enabled() or not torch.is_grad_enabled()


@functools.cache
def _class_for(base: type, names: frozenset[str]) -> type:
    """A subclass of ``base`` that computes the tensors ``names`` by their parametrizations."""
    meta: Any = _ParametrizedType
    if type(base) is not type:  # an abstract base class, for instance
        meta = type("_ParametrizedType", (_ParametrizedType, type(base)), {})
    members: dict[str, Any] = {name: _property(name) for name in sorted(names)}
    members |= {
        "__module__": base.__module__,
        "__deepcopy__": _deepcopy,
        "__reduce_ex__": _reduce,
        "__setattr__": _set_attribute,
        "register_parameter": _register_parameter,
        **before_loading(base, _assign_plain_weights),
    }
    if hasattr(base, "reset_parameters"):
        members["reset_parameters"] = _reset_parameters
    if issubclass(base, nn.RNNBase):
        members |= rnn_members(base)
    cls: type = meta(f"Parametrized{base.__name__}", (base,), members)
    return cls


def _base(module: nn.Module) -> Any:
    return type(module).__bases__[0]


# ------------------------------------------------------------------------------ members of a class


def _set_attribute(self: nn.Module, name: str, value: object) -> None:
    if isinstance(value, nn.Parameter) and name in parametrizations_of(self):
        # The module would register it as a parameter beside the computed tensor.
        object.__setattr__(self, name, value)
    else:
        _base(self).__setattr__(self, name, value)


def _register_parameter(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
    if name in parametrizations_of(self):
        raise ValueError(
            f"{name} is computed by its parametrization and cannot be registered as a parameter; "
            f"assign its value, layer.{name} = X, or call "
            f"torch.nn.utils.parametrize.remove_parametrizations(layer, {name!r}) first"
        )
    _base(self).register_parameter(self, name, param)


def _reduce(self: nn.Module, protocol: int) -> tuple[Any, ...]:
    return _rebuild, (_base(self), frozenset(parametrizations_of(self))), _state(self)


def _rebuild(base: Any, names: frozenset[str]) -> nn.Module:
    """A parametrized module without its state, for ``pickle``."""
    module: nn.Module = base.__new__(base)
    module.__class__ = _class_for(base, names)
    return module


def _state(module: nn.Module) -> dict[str, Any]:
    own: Any = getattr(_base(module), "__getstate__", None)
    # From Python 3.11 on, object has this method.
    default = own is None or own is getattr(object, "__getstate__", None)
    state = dict(module.__dict__ if default else own(module))
    if isinstance(module, nn.RNNBase):
        state = without_computed_weights(module, state, parametrizations_of(module))
    return state


def _deepcopy(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
    replica: Any = _rebuild(_base(self), frozenset(parametrizations_of(self)))
    memo[id(self)] = replica
    replica.__setstate__(copy.deepcopy(_state(self), memo))
    return replica


def _reset_parameters(self: nn.Module) -> None:
    """Start the layer and its schemes anew, whatever the layer writes to a computed weight."""
    weights = [
        chain[0]
        for chain in parametrizations_of(self).values()
        if isinstance(chain[0], OrthogonalWeight)
    ]
    # The schemes start before the layer, because it may read a weight that is not yet filled, and
    # again after it, because it may write to all of its parameters, as recurrent layers do.
    for weight in weights:
        weight.reset_parameters()
    with writes_expected(parametrizations_of(self).values()):
        _base(self).reset_parameters(self)
    for weight in weights:
        weight.reset_parameters()


def _assign_plain_weights(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, errors: list[str]
) -> None:
    """Replace plain weights in a ``state_dict`` by the parameters with which schemes give them."""
    for name, chain in parametrizations_of(module).items():
        value = state_dict.get(prefix + name)
        if not (isinstance(value, Tensor) and isinstance(chain[0], OrthogonalWeight)):
            continue
        del state_dict[prefix + name]
        loaded = copy.deepcopy(chain)
        try:
            loaded.right_inverse(value)
        except ValueError as error:
            errors.append(f"{prefix}{name}: {error}")
        else:
            with torch.no_grad():
                off = float((linalg.double(loaded()) - linalg.double(value)).norm())
            # Each entry of a matrix in lower precision than the scheme's is off by eps.
            if not off <= 100 * value.numel() ** 0.5 * linalg.eps(value.dtype):
                warnings.warn(
                    f"{prefix}{name}: the plain weight loaded is not one of the scheme's; the "
                    f"nearest one was taken, {off:.3g} away in the Frobenius norm",
                    stacklevel=3,
                )
        state_dict.update(loaded.state_dict(prefix=f"{prefix}parametrizations.{name}."))
