"""orthogonal(module, name, scheme): any layer's weight on the group; export to plain weights."""

from __future__ import annotations

import copy
import functools
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from unitary_zoo import linalg
from unitary_zoo._torch import is_traced, is_transformed
from unitary_zoo.base import NotRepresentableError, Parametrization

M = TypeVar("M", bound=nn.Module)

_LOW_PRECISION = (torch.float16, torch.bfloat16)


def orthogonal(
    module: M,
    name: str = "weight",
    scheme: str | type[Parametrization] = "cayley",
    *,
    blocks: int = 1,
    flatten: bool = False,
    init: str | Tensor | None = None,
    **options: Any,
) -> M:
    r""":math:`Q^H Q = I` (tall and square) or :math:`Q Q^H = I` (wide) for ``module.name``.

    The drop-in for ``torch.nn.utils.parametrizations.orthogonal``: afterwards ``module.weight``
    reads as orthogonal and is differentiable in the parameters of the scheme, which are those of
    the module. The weight starts as the orthogonal matrix nearest to what it was, or, where the
    scheme represents no general matrix, as the scheme starts.

    - Assigning (``module.weight = X``) is exact for orthogonal X that the scheme can represent;
      other orthogonal X are refused. Where X is not orthogonal, schemes that take every
      orthogonal X take the orthogonal matrix nearest to it likewise, and the others refuse.
    - ``torch.nn.utils.parametrize`` serves as usual: more parametrizations on top,
      ``remove_parametrizations``, ``cached()`` (never stale here). ``pickle``,
      ``copy.deepcopy`` and ``load_state_dict`` work, the last also with the plain weight of a
      layer without scheme; :func:`plain_state_dict` is the way back.
    - A weight in half precision or bfloat16 is the cast of a matrix in float32.
    - Create the optimizer afterwards, and call :func:`unitary_zoo.attach`.
    - A module of ``torch.nn`` that is initialised lazily gets its scheme at the first batch.

    Args:
        module: The layer; changed in place.
        name: Its parameter: m x k numbers, or more dimensions, of which the last two count and the
            others are a batch.
        scheme: Registered name or class. m x k with m > k is the first k columns of an m x m
            matrix, so a tall weight costs what its longer side says, except with "householder",
            which takes k reflections for it: O(m k^2) time and O(m k) memory.
        blocks: Equal parts of the first dimension, each orthogonal by itself: 3 for the gates of a
            GRU, 4 for those of an LSTM, 3 for the ``in_proj_weight`` of an attention.
        flatten: Treat a convolution kernel as the matrix (out, in * height * width).
        init: Start from an initialiser ("haar", "henaff", ...) or a weight instead of the present.
        options: Options of the scheme.

    Returns:
        ``module``.

    Raises:
        ValueError: No such parameter, a shape that ``blocks`` does not divide, or a field that the
            scheme does not serve.
        TypeError: An argument of a wrong type.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{module!r} is not a torch.nn.Module; pass the layer that has the weight")
    cls = Parametrization.get(scheme) if isinstance(scheme, str) else scheme
    if not (isinstance(cls, type) and issubclass(cls, Parametrization)):
        raise TypeError(f"scheme={scheme!r}; pass a registered name or a Parametrization class")
    weight = _weight(module, name)
    if isinstance(weight, UninitializedParameter):
        again = {"blocks": blocks, "flatten": flatten, "init": init, **options}
        _when_materialized(module, name, lambda: orthogonal(module, name, cls, **again))
        return module
    field = _field(cls, weight, name, options)
    parametrization = OrthogonalWeight(
        weight, cls, blocks=blocks, flatten=flatten, init=init, **{**options, **field}
    )
    parametrize.register_parametrization(module, name, parametrization)
    if not weight.requires_grad:
        parametrization.requires_grad_(False)
    _adopt(module)
    return module


def plain_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The ``state_dict`` of the same architecture without parametrizations: plain weights.

    Args:
        module: A model with parametrized layers anywhere in it.

    Returns:
        Weights as they are now under their own names, and everything else as in
        ``module.state_dict()``.
    """
    state = dict(module.state_dict())
    for path, layer in module.named_modules():
        prefix = path + "." if path else ""
        for name in _chains(layer) if parametrize.is_parametrized(layer) else ():
            inner = f"{prefix}parametrizations.{name}."
            state = {key: value for key, value in state.items() if not key.startswith(inner)}
            state[prefix + name] = getattr(layer, name).detach().clone()
    return state


# -------------------------------------------------------------------------- checks of arguments


def _weight(module: nn.Module, name: str) -> Tensor:
    """The parameter ``name``, if it can be made orthogonal."""
    where = f"{type(module).__name__}.{name}"
    if parametrize.is_parametrized(module, name):
        raise ValueError(
            f"{where} has a parametrization already, and an orthogonal one has to be the first; "
            "call torch.nn.utils.parametrize.remove_parametrizations, then orthogonal(), and add "
            "others afterwards"
        )
    weight = module._parameters.get(name)
    if weight is None:
        suitable = [key for key, p in module._parameters.items() if p is not None]
        raise ValueError(
            f"{type(module).__name__} has no parameter {name!r} of its own; it has {suitable}"
        )
    if isinstance(weight, UninitializedParameter):
        return weight
    if weight.dim() < 2 or 0 in weight.shape:
        raise ValueError(
            f"{where} has shape {tuple(weight.shape)}; only a tensor of two or more dimensions, "
            "none of them 0, can be orthogonal"
        )
    for option in ("padding_idx", "max_norm"):
        if isinstance(module, nn.Embedding) and getattr(module, option) is not None:
            raise ValueError(
                f"{where}: {option}={getattr(module, option)} rewrites rows of the embedding, "
                f"which an orthogonal weight does not allow; build it without {option}"
            )
    return weight


def _field(
    scheme: type[Parametrization], weight: Tensor, name: str, options: Mapping[str, Any]
) -> dict[str, str]:
    """The option ``field`` where the scheme has to be told."""
    field = "complex" if weight.is_complex() else "real"
    if field not in scheme.info.fields:
        raise ValueError(
            f"{name} is {weight.dtype} and {scheme.info.name} is "
            f"{' and '.join(scheme.info.fields)} only; take one of "
            f"{', '.join(Parametrization.names(fields=field))}"
        )
    if options.get("field", field) != field:
        raise ValueError(
            f"field={options['field']!r}, but {name} is {weight.dtype}; leave field out, it "
            "follows the weight"
        )
    taken = [option for option in ("device", "dtype") if option in options]
    if taken:
        raise TypeError(f"{taken} given; the scheme follows the weight, so convert the module")
    return {"field": field} if len(scheme.info.fields) > 1 else {}


def _when_materialized(module: nn.Module, name: str, then: Callable[[], object]) -> None:
    """Call ``then`` at the first forward pass of a lazy module, when its weight has a shape."""

    def hook(lazy: nn.Module, _: Any) -> None:
        handle.remove()
        then()

    handle = module.register_forward_pre_hook(hook)


# --------------------------------------------------------------------------- the parametrization


class OrthogonalWeight(nn.Module):
    r""":math:`\theta \mapsto Q`: a weight whose blocks have orthonormal columns or rows.

    What :func:`orthogonal` registers with ``torch.nn.utils.parametrize``. A block of m x k numbers
    is the first k columns of a square matrix of the scheme (m >= k), or the transpose of the first
    m columns (m < k). There is no ``original`` tensor: the learnable ones are those of ``schemes``,
    one for each block, in float32 or better also where the weight is not.
    """

    def __init__(
        self,
        like: Tensor,
        scheme: type[Parametrization],
        *,
        blocks: int = 1,
        flatten: bool = False,
        init: str | Tensor | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.shape, self.dtype = like.shape, like.dtype
        count, self.rows, self.columns = _split(like.shape, blocks, flatten)
        real = linalg.real_dtype(like.dtype)
        options["dtype"] = torch.float32 if real in _LOW_PRECISION else real
        self.schemes = nn.ModuleList(
            scheme.for_columns(self._long, self._short, device=like.device, **options)
            for _ in range(count)
        )
        self._init, self._started = init, False

    @property
    def _long(self) -> int:
        return max(self.rows, self.columns)

    @property
    def _short(self) -> int:
        return min(self.rows, self.columns)

    def extra_repr(self) -> str:
        """Shapes and dtype."""
        blocks = f"{len(self.schemes)} blocks of " if len(self.schemes) > 1 else ""
        return f"{tuple(self.shape)}, {blocks}{self.rows} x {self.columns}, {self.dtype}"

    # -------------------------------------------------------------------------------- the weight

    def forward(self) -> Tensor:
        """The weight, differentiable in the parameters of the schemes."""
        if len(self.schemes) == 1:
            q = self._scheme(0).columns(self._short)
        elif not self._many_small() or is_traced():
            q = torch.stack([scheme.columns(self._short) for scheme in self._schemes()])
        else:
            q = self._columns_at_once()
        q = q.mT if self.rows < self.columns else q
        return q.reshape(self.shape).to(self.dtype)

    def _scheme(self, i: int) -> Parametrization:
        scheme = self.schemes[i]
        assert isinstance(scheme, Parametrization)
        return scheme

    def _schemes(self) -> Iterator[Parametrization]:
        return map(self._scheme, range(len(self.schemes)))

    def _many_small(self) -> bool:
        """Whether all blocks should go, and can, through one call of a batched scheme."""
        worth_it = len(self.schemes) >= _MANY and self._long <= _SMALL
        return worth_it and "transforms" not in self._scheme(0).info.expected_failures

    def _columns_at_once(self) -> Tensor:
        """The columns of all schemes, (count, n, k), by one call with their states stacked."""
        states = [
            {**dict(scheme.named_parameters()), **dict(scheme.named_buffers())}
            for scheme in self._schemes()
        ]
        stacked = {key: torch.stack([state[key] for state in states]) for key in states[0]}
        one = _Columns(self._scheme(0), self._short)
        return torch.vmap(lambda state: functional_call(one, state, ()))(
            {f"scheme.{key}": value for key, value in stacked.items()}
        )

    # -------------------------------------------------------------------------------- assignment

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Make the weight ``weight``, as :func:`orthogonal` says; there are no originals to return.

        Raises:
            NotRepresentableError: ``weight`` is orthogonal, but not of this scheme; or not
                orthogonal, and the scheme finds no nearest matrix. Nothing is changed.
            ValueError: A wrong shape, or entries that are not finite.
        """
        first, self._started = not self._started, True
        if weight.is_meta or self._scheme(0).device.type == "meta":
            return ()  # nothing to look at; reset_parameters() after to_empty() starts it
        if not first:
            self._assign(weight, project=False)
        elif self._init is None:
            if self._scheme(0).reaches_columns(self._short):
                self._assign(weight, project=True)
        elif isinstance(self._init, Tensor):
            self._assign(self._init, project=False)
        else:
            self.reset_parameters(self._init)
        return ()

    def _assign(self, weight: Tensor, *, project: bool) -> None:
        """Assign each block; ``project`` says to take the nearest matrix in any case."""
        if weight.shape != self.shape:
            raise ValueError(
                f"the value has shape {tuple(weight.shape)}, but the weight {tuple(self.shape)}; "
                "pass a tensor of that shape"
            )
        if not torch.isfinite(weight).all():
            raise ValueError("the value has entries that are not finite; nothing was assigned")
        blocks = weight.detach().reshape(-1, self.rows, self.columns)
        blocks = blocks.mT if self.rows < self.columns else blocks
        before = [copy.deepcopy(scheme.state_dict()) for scheme in self._schemes()]
        try:
            for scheme, block in zip(self._schemes(), blocks, strict=True):
                if project:
                    scheme.assign_columns_(block, nearest=True)
                else:
                    _assign_exactly(scheme, block)
        except ValueError:
            for scheme, state in zip(self._schemes(), before, strict=True):
                scheme.load_state_dict(state)
            raise

    def reset_parameters(
        self, init: str | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start anew: see :meth:`unitary_zoo.Parametrization.reset_parameters`."""
        for scheme in self._schemes():
            scheme.reset_parameters(init, generator=generator)

    # ----------------------------------------------------------------------------------- precision

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        anchor = self._scheme(0)
        probe = fn(torch.empty(0, dtype=linalg.real_dtype(self.dtype), device=anchor.device))
        low = probe.dtype in _LOW_PRECISION

        def convert(x: Tensor) -> Tensor:
            # The parameters stay in float32: only the weight is cast.
            return x.to(probe.device) if low and x.is_floating_point() else fn(x)

        super()._apply(convert, recurse)
        if not self.dtype.is_complex:
            self.dtype = probe.dtype
        elif not low:
            self.dtype = linalg.complex_dtype(probe.dtype)
        return self


def _assign_exactly(scheme: Parametrization, q: Tensor) -> None:
    """Make the columns ``q``, or its polar factor if they are not orthonormal, or refuse.

    The nearest matrix of the scheme itself would be far off for, say, the wrong determinant.
    """
    # Rounding of orthonormal columns to their precision moves Q^H Q by so much.
    limit = 4 * math.sqrt(len(q)) * linalg.eps(q.dtype)
    on_group = float(linalg.unitarity_defect(q)) <= limit
    may_project = not on_group and scheme.reaches_columns(q.shape[-1])
    if not may_project or not scheme.info.exact:
        try:
            scheme.assign_columns_(q)
        except NotRepresentableError:
            if not may_project:
                raise
        else:
            return
    u, _, vh = torch.linalg.svd(linalg.double(q), full_matrices=False)
    scheme.assign_columns_(u @ vh)


_MANY, _SMALL = 8, 64
"""From so many blocks on, and up to that size, they are evaluated together."""


class _Columns(nn.Module):
    """The columns of a scheme as the forward pass of a module, for ``functional_call``."""

    def __init__(self, scheme: Parametrization, k: int) -> None:
        super().__init__()
        self.scheme, self.k = scheme, k

    def forward(self) -> Tensor:
        return self.scheme.columns(self.k)


def _split(shape: torch.Size, blocks: int, flatten: bool) -> tuple[int, int, int]:
    """The number of blocks, and the rows and columns of each."""
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
        raise ValueError(f"blocks={blocks!r}; pass an int of at least 1")
    if not isinstance(flatten, bool):
        raise TypeError(f"flatten={flatten!r}; pass True or False")
    if shape[0] % blocks:
        raise ValueError(
            f"blocks={blocks} does not divide the first dimension of {tuple(shape)}; a GRU has 3 "
            "blocks, an LSTM 4"
        )
    size = [shape[0], math.prod(shape[1:])] if flatten else list(shape)
    size = [blocks, size[0] // blocks, *size[1:]]
    return math.prod(size[:-2]), size[-2], size[-1]


# ---------------------------------------------------------------------------- the module's class

# torch gives each parametrized module a class of its own, whose instances refuse to be pickled,
# cannot be stacked by torch.func, and share that class with their deep copies, so that removing a
# parametrization from one of them breaks the other. The classes below take its place: one for all
# modules of a class with the same tensors computed.


class _Computing(type):
    """The type of such classes: what torch writes to one module's class does no harm to others."""

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, _property(name) if isinstance(value, property) else value)

    def __delattr__(cls, name: str) -> None:
        if not isinstance(vars(cls).get(name), property):
            super().__delattr__(name)


def _property(name: str) -> property:
    """A tensor computed by its parametrizations; of a module that has none, an ordinary one."""

    def read(self: nn.Module) -> Tensor | None:
        if name in (chains := _chains(self)):
            weight = _read(chains[name])
            if weight.requires_grad or is_traced() or is_transformed() or _gradients_are_off():
                return weight
            # Frozen: torch's remove_parametrizations would else leave a buffer.
            return nn.Parameter(weight, requires_grad=False)
        for tensors in (self._parameters, self._buffers):
            if name in tensors:
                return tensors[name]
        raise AttributeError(name)

    def write(self: nn.Module, value: Tensor) -> None:
        _chains(self)[name].right_inverse(value)  # Module.__setattr__ serves the ordinary ones

    return property(read, write)


def _gradients_are_off() -> bool:
    return torch.is_inference_mode_enabled() or not torch.is_grad_enabled()


def _adopt(module: nn.Module) -> None:
    """Give a module that torch has parametrized our class for it."""
    module.__class__ = _class_for(_base(module), frozenset(_chains(module)))


@functools.cache
def _class_for(base: type, names: frozenset[str]) -> type:
    """A subclass of ``base`` that computes the tensors ``names`` by their parametrizations."""
    meta: Any = _Computing
    if type(base) is not type:  # an abstract base class, for instance
        meta = type("_Computing", (_Computing, type(base)), {})
    members: dict[str, Any] = {name: _property(name) for name in sorted(names)}
    members |= {
        "__module__": base.__module__,
        "__deepcopy__": _deepcopy,
        "__reduce_ex__": _reduce,
        "_load_from_state_dict": _load_from_state_dict,
    }
    if hasattr(base, "reset_parameters"):
        members["reset_parameters"] = _reset_parameters
    if issubclass(base, nn.RNNBase):
        members["_update_flat_weights"] = _update_flat_weights
        members["__setstate__"] = _set_state_of_rnn
    cls: type = meta(f"Parametrized{base.__name__}", (base,), members)
    return cls


def _base(module: nn.Module) -> Any:
    return type(module).__bases__[0]


def _chains(module: nn.Module) -> Mapping[str, Any]:
    """The parametrizations of each tensor of a module."""
    return cast(Mapping[str, Any], getattr(module, "parametrizations", {}))


def _reduce(self: nn.Module, protocol: int) -> tuple[Any, ...]:
    return _rebuild, (_base(self), frozenset(_chains(self))), _state(self)


def _rebuild(base: Any, names: frozenset[str]) -> nn.Module:
    """A parametrized module without its state, for ``pickle``."""
    module: nn.Module = base.__new__(base)
    module.__class__ = _class_for(base, names)
    return module


def _state(module: nn.Module) -> dict[str, Any]:
    own: Any = getattr(_base(module), "__getstate__", None)
    # object has one from Python 3.11 on
    default = own is None or own is getattr(object, "__getstate__", None)
    state = dict(module.__dict__ if default else own(module))
    if isinstance(module, nn.RNNBase):
        state["_flat_weights"] = [
            None if name in _chains(module) else weight
            for name, weight in zip(module._flat_weights_names, module._flat_weights, strict=True)
        ]
    return state


def _deepcopy(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
    replica: Any = _rebuild(_base(self), frozenset(_chains(self)))
    memo[id(self)] = replica
    replica.__setstate__(copy.deepcopy(_state(self), memo))
    return replica


def _reset_parameters(self: nn.Module) -> None:
    """Start anew; what the layer itself does to a computed weight is without effect."""
    starts = [c[0] for c in _chains(self).values() if isinstance(c[0], OrthogonalWeight)]
    # Before, because the layer may read its weight, which could be memory not yet filled; and
    # after, because it may write to all of its parameters (recurrent ones do).
    for start in starts:
        start.reset_parameters()
    _base(self).reset_parameters(self)
    for start in starts:
        start.reset_parameters()


def _update_flat_weights(self: Any) -> None:
    """Hand the weights as they are now to the next forward pass, each computed once."""
    self._flat_weights = [getattr(self, name) for name in self._flat_weights_names]


def _set_state_of_rnn(self: Any, state: dict[str, Any]) -> None:
    restore: Any = _base(self).__setstate__
    restore(self, state)
    self._init_flat_weights()


def _load_from_state_dict(
    self: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: Any,
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    """Load; the plain weight of a layer without scheme is assigned."""
    for name, chain in _chains(self).items():
        value = state_dict.get(prefix + name)
        if not (isinstance(value, Tensor) and isinstance(chain[0], OrthogonalWeight)):
            continue
        del state_dict[prefix + name]
        loaded = copy.deepcopy(chain)
        try:
            loaded.right_inverse(value)
        except ValueError as error:
            error_msgs.append(f"{prefix}{name}: {error}")
        else:
            with torch.no_grad():
                off = float((linalg.double(loaded()) - linalg.double(value)).norm())
            # Entries of a matrix in lower precision than the scheme's are off by eps each.
            if not off <= 100 * value.numel() ** 0.5 * linalg.eps(value.dtype):
                warnings.warn(
                    f"{prefix}{name}: the plain weight loaded is not one of the scheme's; the "
                    f"nearest one was taken, {off:.3g} away in the Frobenius norm",
                    stacklevel=2,
                )
        state_dict.update(loaded.state_dict(prefix=f"{prefix}parametrizations.{name}."))
    _base(self)._load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    )


# ------------------------------------------------------------------------------------ the cache


class _Computed:
    """A weight and the learnable tensors that it was computed from."""

    def __init__(self, weight: Tensor, leaves: list[Tensor]) -> None:
        self.weight, self.leaves = weight, leaves


class _Alias(torch.autograd.Function):
    """A computed weight under a node of its own, whose way back stays open."""

    @staticmethod
    def forward(ctx: Any, computed: _Computed, *leaves: Tensor) -> Tensor:
        ctx.computed = computed
        return computed.weight.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad() if torch.is_grad_enabled() else torch.no_grad():
            grads = torch.autograd.grad(
                ctx.computed.weight,
                ctx.computed.leaves,
                grad,
                retain_graph=True,
                create_graph=torch.is_grad_enabled(),
                allow_unused=True,
            )
        return None, *grads


class _Reading:
    """A weight that was read, and the state in which it was computed."""

    def __init__(self, chain: nn.Module) -> None:
        self._tensors, self._mode = _tensors(chain), _mode(chain)
        self._values = [x.detach().clone() for x in self._tensors]
        self.weight: Tensor = chain()
        leaves = [x for x in self._tensors if x.requires_grad]
        if self.weight.requires_grad and leaves:
            # All reads share this alias, so the way back through the scheme is taken once for all.
            self.weight = _Alias.apply(_Computed(self.weight, leaves), *leaves)

    def holds(self, chain: nn.Module) -> bool:
        """Whether computing the weight anew would give the same."""
        now = _tensors(chain)
        return (
            self._mode == _mode(chain)
            and len(now) == len(self._tensors)
            and all(map(operator.is_, now, self._tensors))
            # By the data: fused optimizers and writes by way of .data escape version counters.
            and all(map(torch.equal, now, self._values))
        )


def _tensors(chain: nn.Module) -> list[Tensor]:
    return [*chain.parameters(), *chain.buffers()]


def _mode(chain: nn.Module) -> list[bool]:
    """What, beside the numbers, decides what a read returns."""
    learned = [x.requires_grad for x in chain.parameters()]
    return [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *learned]


_readings: WeakKeyDictionary[nn.Module, _Reading] = WeakKeyDictionary()


def _read(chain: nn.Module) -> Tensor:
    """The weight; inside ``parametrize.cached()`` computed once for as long as nothing changes."""
    weight: Tensor
    if is_traced() or is_transformed():
        weight = chain()
        return weight
    if not parametrize._cache_enabled:
        _readings.pop(chain, None)
        weight = chain()
        return weight
    reading = _readings.get(chain)
    if reading is None or not reading.holds(chain):
        reading = _readings[chain] = _Reading(chain)
    return reading.weight
