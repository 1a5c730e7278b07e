"""The floating-point operations of the recurrences, for ``torch.utils.flop_counter``.

They are those of the matrix products, as torch counts them: two for each multiplication, and no
more if the numbers are complex. A backward pass has two products for each one of the forward pass
whose factors both need a gradient. States that are recomputed count where ``checkpoint`` asks for
it, and nowhere else, whatever a backend saves by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

Shape = tuple[int, ...]


def _products(x: Shape, w: Shape, weight_ih: Shape | None) -> tuple[int, int]:
    """Return the operations of V x and of W h for all steps."""
    rows = 2 * x[0] * x[1]
    return rows * (weight_ih[0] * weight_ih[1] if weight_ih else 0), rows * w[0] * w[1]


def _forward(x: Shape, w: Shape, h0: Shape, weight_ih: Shape | None, *_: Any, **__: Any) -> int:
    return sum(_products(x, w, weight_ih))


def _backward(
    grad: Shape, states: Any, needed: list[bool], x: Shape, w: Shape, h0: Shape,
    weight_ih: Shape | None, bias: Any, vector: Any, *options: Any, **_: Any,
) -> int:  # fmt: skip
    # The options end with the checkpoint and the backend.
    of_x, of_w, of_h0, of_weight_ih = needed[:4]
    inputs, recurrent = _products(x, w, weight_ih)
    steps = x[0]
    # Without a gradient of h_0 the first step needs no product for it.
    through_states = recurrent if of_h0 else recurrent - recurrent // steps
    again = 0 if options[-2] is None else inputs + recurrent
    return through_states + of_w * recurrent + (of_x + of_weight_ih) * inputs + again


def register(forward: str, backward: str) -> None:
    """Register the formulas of two operators of the library, given by their names."""
    operators = torch.ops.unitary_zoo
    register_flop_formula(getattr(operators, forward))(_forward)
    register_flop_formula(getattr(operators, backward))(_backward)
