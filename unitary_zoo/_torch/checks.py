"""Check arguments in code that is traced, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch.tracing import is_traced


def traceable_check(name: str, schema: str, check: Callable[..., None]) -> Callable[..., Tensor]:
    """Return a function ``f(x, *arguments)`` that calls ``check(*arguments)`` and returns ``x``.

    Traced code calls the check again whenever it runs, as the custom operator
    ``unitary_zoo::name``. Nothing is checked on the meta device. Gradients pass through to ``x``.

    Args:
        name: Name of the operator.
        schema: Its signature, such as ``"(Tensor x, Tensor distance, float limit) -> Tensor"``.
        check: Raises an error if the arguments are bad.
    """

    def operate(x: Tensor, *arguments: Any) -> Tensor:
        check(*arguments)
        return x.clone()

    operator = torch.library.custom_op(
        f"unitary_zoo::{name}", operate, mutates_args=(), schema=schema
    )
    others = (None,) * schema.count(",")
    operator.register_fake(lambda x, *arguments: torch.empty_like(x))
    operator.register_autograd(lambda ctx, grad: (grad, *others))

    def checked(x: Tensor, *arguments: Any) -> Tensor:
        if x.is_meta:
            return x
        if is_traced():
            return operator(x, *arguments)
        check(*arguments)
        return x

    return checked
