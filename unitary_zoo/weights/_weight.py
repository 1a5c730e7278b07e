"""OrthogonalWeight: the parametrization that ``orthogonal`` registers for a weight."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo._torch import Convert, CustomConversion, is_traced
from unitary_zoo.base import NotRepresentableError, Parametrization
from unitary_zoo.weights._stack import Holder, SchemeStack, at_once, tensors_of

_MANY, _SMALL = 8, 64
"""At least ``_MANY`` blocks of at most ``_SMALL`` rows and columns are computed together."""


class OrthogonalWeight(CustomConversion):
    r""":math:`\theta \mapsto Q`: a weight whose blocks have orthonormal columns or rows.

    This is what :func:`orthogonal` registers with ``torch.nn.utils.parametrize``. An m x k block is
    the first k columns of a square matrix of the scheme (m >= k), or the transpose of the first m
    columns (m < k). There is no ``original`` tensor: the learnable tensors belong to ``schemes``,
    one for each block or one :class:`SchemeStack` for all, and are in float32 or better even where
    the weight is not.
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
        options["dtype"] = torch.float32 if linalg.is_low_precision(real) else real
        self.schemes = self._build(scheme, count, device=like.device, **options)
        self.register_load_state_dict_pre_hook(_stack_separate_states)
        self._init, self._started = init, False

    def _build(self, scheme: type[Parametrization], count: int, **options: Any) -> nn.ModuleList:
        def another() -> Parametrization:
            return scheme.for_columns(self._long, self._short, **options)

        first = another()
        if count < _MANY or not SchemeStack.serves(first):
            return nn.ModuleList([first, *(another() for _ in range(count - 1))])
        # Where a value can be assigned to each, it need not start by itself.
        alike = first.reaches_columns(self._short)
        rest = [first if alike else another() for _ in range(count - 1)]
        return nn.ModuleList([SchemeStack([first, *rest])])

    @property
    def _count(self) -> int:
        stack = self._stack()
        return len(self.schemes) if stack is None else stack.count

    @property
    def _long(self) -> int:
        return max(self.rows, self.columns)

    @property
    def _short(self) -> int:
        return min(self.rows, self.columns)

    def extra_repr(self) -> str:
        """The shapes and the dtype, for ``repr``."""
        blocks = f"{self._count} blocks of " if self._count > 1 else ""
        return f"{tuple(self.shape)}, {blocks}{self.rows} x {self.columns}, {self.dtype}"

    # -------------------------------------------------------------------------------- the weight

    def forward(self) -> Tensor:
        """The weight, differentiable in the parameters of the schemes."""
        stack = self._stack()
        if stack is not None:
            q = stack.columns(self._short)
        elif len(self.schemes) == 1:
            q = self._scheme(0).columns(self._short)
        elif not self._many_small() or is_traced():
            q = torch.stack([scheme.columns(self._short) for scheme in self._schemes()])
        else:
            q = self._columns_at_once()
        q = q.mT if self.rows < self.columns else q
        return q.reshape(self.shape).to(self.dtype)

    def _stack(self) -> SchemeStack | None:
        """The schemes of all blocks as one module, if they are one."""
        stack = self.schemes[0]
        return stack if isinstance(stack, SchemeStack) else None

    def _scheme(self, i: int) -> Parametrization:
        scheme = self.schemes[i]
        assert isinstance(scheme, Parametrization)
        return scheme

    def _schemes(self) -> Iterator[Parametrization]:
        return map(self._scheme, range(len(self.schemes)))

    def _many_small(self) -> bool:
        """Whether one batched call for all blocks is faster, and the scheme supports it."""
        faster = len(self.schemes) >= _MANY and self._long <= _SMALL
        return faster and self._scheme(0).info.supports_vmap

    def _columns_at_once(self) -> Tensor:
        """The columns of all schemes, (count, n, k), by one call on their stacked states."""
        for scheme in self._schemes():
            scheme.warn_of_a_missed_step()
        states = [tensors_of(scheme) for scheme in self._schemes()]
        stacked = {key: torch.stack([state[key] for state in states]) for key in states[0]}
        k = self._short
        q: Tensor = at_once(Holder(self._scheme(0)), stacked, lambda scheme: scheme.columns(k))
        return q

    # -------------------------------------------------------------------------------- assignment

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Set the weight as :func:`orthogonal` describes; return no originals, as there are none.

        Raises:
            NotRepresentableError: ``weight`` is orthogonal and the scheme cannot represent it, or
                it is not and the scheme cannot take the nearest one. Nothing is changed.
            ValueError: A wrong shape, or entries that are not finite.
        """
        first, self._started = not self._started, True  # registration is the first call
        if weight.is_meta or self._scheme(0).device.type == "meta":
            return ()  # no values to assign; reset_parameters() after to_empty() starts it
        if not first:
            self._assign(weight, project=False)
        elif self._init is None:
            stack = self._stack()
            example = self._scheme(0) if stack is None else stack.example
            if example.reaches_columns(self._short):
                self._assign(weight, project=True)
        elif isinstance(self._init, Tensor):
            self._assign(self._init, project=False)
        else:
            self.reset_parameters(self._init)
        return ()

    def _assign(self, weight: Tensor, *, project: bool) -> None:
        """Assign each block; if ``project``, take the matrix of the scheme nearest to it."""
        if weight.shape != self.shape:
            raise ValueError(
                f"the value has shape {tuple(weight.shape)}, but the weight {tuple(self.shape)}; "
                "pass a tensor of that shape"
            )
        if not torch.isfinite(weight).all():
            raise ValueError("the value has entries that are not finite; nothing was assigned")
        blocks = weight.detach().reshape(-1, self.rows, self.columns)
        blocks = blocks.mT if self.rows < self.columns else blocks

        def assign(scheme: Parametrization, i: int) -> None:
            if project:
                scheme.assign_columns_(blocks[i], nearest=True)
            else:
                _assign_exactly(scheme, blocks[i])

        stack = self._stack()
        if stack is not None:
            stack.each_(assign)
            return
        before = [copy.deepcopy(scheme.state_dict()) for scheme in self._schemes()]
        try:
            for i, scheme in enumerate(self._schemes()):
                assign(scheme, i)
        except ValueError:
            for scheme, state in zip(self._schemes(), before, strict=True):
                scheme.load_state_dict(state)
            raise

    def reset_parameters(
        self, init: str | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start all blocks anew; see :meth:`unitary_zoo.Parametrization.reset_parameters`."""
        for scheme in self._schemes():
            scheme.reset_parameters(init, generator=generator)

    # ----------------------------------------------------------------------------------- precision

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        # The schemes stay in float32 where the weight gets a lower precision.
        device = self._scheme(0).device
        probe = convert(torch.empty(0, dtype=linalg.real_dtype(self.dtype), device=device))
        low = linalg.is_low_precision(probe.dtype)

        def convert_scheme(x: Tensor) -> Tensor:
            if low and x.is_floating_point():
                return x.to(probe.device)
            if probe.dtype.is_complex and self.dtype.is_complex and x.is_floating_point():
                # The scheme of a complex weight keeps real parts.
                return x.to(probe.device, linalg.real_dtype(probe.dtype))
            return convert(x)

        convert_tensors(convert_scheme)
        if not self.dtype.is_complex:
            self.dtype = probe.dtype
        elif not low:
            self.dtype = linalg.complex_dtype(probe.dtype)


def _assign_exactly(scheme: Parametrization, q: Tensor) -> None:
    """Set the columns to ``q``, or to its polar factor if they are not orthonormal, or refuse.

    The scheme's own nearest matrix would be far off for, say, the wrong determinant.
    """
    # Rounding the entries of orthonormal columns moves Q^H Q by at most this.
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


def _stack_separate_states(
    weight: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    """Stack the states of single blocks, as versions without :class:`SchemeStack` saved them."""
    assert isinstance(weight, OrthogonalWeight)
    stack, prefix = weight._stack(), f"{prefix}schemes."
    if stack is None:
        return
    for name in stack.state_dict():
        keys = [f"{prefix}{i}.{name}" for i in range(stack.count)]
        if all(key in state_dict for key in keys):
            blocks = [state_dict.pop(key) for key in keys]
            state_dict[keys[0]] = torch.stack(blocks)


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
