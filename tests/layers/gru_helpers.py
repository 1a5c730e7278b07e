"""Gated layers and cells for tests."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tests.oracles import learned
from tests.recurrent import M, size_for
from unitary_zoo import (
    Parametrization,
    UnitaryGRU,
    UnitaryGRUCell,
)
from unitary_zoo.testing.subject import normal

F32, F64 = torch.float32, torch.float64
GATES = ["all", "candidate"]
REAL = Parametrization.names(fields="real")


@torch.no_grad()
def biased(module: UnitaryGRU | UnitaryGRUCell) -> Any:
    """The module, with biases off zero, where they start and would hide a mistake."""
    cells = module.cells if isinstance(module, UnitaryGRU) else [module]
    for seed, cell in enumerate(cells):
        for bias in (cell.bias, cell.bias_hn):
            if bias is not None:
                bias.copy_(normal(*bias.shape, dtype=bias.dtype, seed=seed + len(bias)))
    return module


def gru_of(
    scheme: str = "expm", n: int | None = None, dtype: torch.dtype = F64, **options: Any
) -> UnitaryGRU:
    n = size_for(scheme) if n is None else n
    return biased(UnitaryGRU(M, n, scheme=scheme, dtype=dtype, **options))


def suffixes(gru: UnitaryGRU) -> list[str]:
    """The ends of nn.GRU's parameter names, in its order of layers and directions."""
    directions = ("", "_reverse") if gru.bidirectional else ("",)
    return [f"_l{layer}{end}" for layer in range(gru.num_layers) for end in directions]


def same_torch_layer(gru: UnitaryGRU, dtype: torch.dtype = F64) -> nn.GRU:
    """torch's layer with the same weights."""
    ref = nn.GRU(
        M, gru.hidden_size, gru.num_layers, bias=gru.cells[0].bias is not None,
        batch_first=gru.batch_first, bidirectional=gru.bidirectional, dtype=dtype,
    )  # fmt: skip
    with torch.no_grad():
        for cell, end in zip(gru.cells, suffixes(gru), strict=True):
            getattr(ref, f"weight_hh{end}").copy_(cell.weight_hh)
            getattr(ref, f"weight_ih{end}").copy_(cell.weight_ih)
            if cell.bias is not None:
                getattr(ref, f"bias_ih{end}").copy_(cell.bias)
                getattr(ref, f"bias_hh{end}").zero_()[-gru.hidden_size :] = cell.bias_hn
    return ref


def run(module: nn.Module, x: Callable[[Tensor], Any], leaf: Tensor, h_0: Tensor | None):
    """Output, last states and the gradients of a functional of both in ``leaf`` and ``h_0``."""
    dtype = next(module.parameters()).dtype
    leaves = [t.to(dtype, copy=True).requires_grad_() for t in (leaf, h_0) if t is not None]
    output, h_n = module(x(leaves[0]), leaves[1] if h_0 is not None else None)
    found = {"h_n": h_n}
    if output is not None:
        found["output"] = output.data if isinstance(output, PackedSequence) else output
    sum(
        (t * normal(*t.shape, dtype=F32, seed=seed).to(dtype)).sum()
        for seed, t in zip((21, 22), found.values(), strict=False)
    ).backward()
    for name, tensor in zip(("dx", "dh_0"), leaves, strict=False):
        found[name] = tensor.grad
    return output, {name: t.detach() for name, t in found.items()}


def torch_gradients(ref: nn.GRU, gru: UnitaryGRU) -> dict[str, Tensor]:
    """The gradients of nn.GRU by the names that the cells of ``gru`` have for theirs."""
    found, n = {}, gru.hidden_size
    for i, end in enumerate(suffixes(gru)):
        found[f"weight_ih {i}"] = getattr(ref, f"weight_ih{end}").grad
        found[f"weight_hh {i}"] = getattr(ref, f"weight_hh{end}").grad
        if ref.bias:
            found[f"bias {i}"] = getattr(ref, f"bias_ih{end}").grad
            found[f"bias_hn {i}"] = getattr(ref, f"bias_hh{end}").grad[-n:]
    return found


def compare(gru: UnitaryGRU, x: Any, h_0: Tensor | None, leaf: Tensor) -> None:
    """Assert that outputs, last states and every gradient equal those of nn.GRU in float64.

    ``x`` is a function of ``leaf`` that builds the input.
    """
    dtype = next(gru.parameters()).dtype
    true_ref, rough_ref = same_torch_layer(gru), same_torch_layer(gru, F32)
    wanted_output, true = run(true_ref, x, leaf, h_0)
    _, rough = run(rough_ref, x, leaf, h_0)
    output, got = run(gru, x, leaf, h_0)
    if isinstance(wanted_output, PackedSequence):
        assert isinstance(output, PackedSequence)
        assert torch.equal(output.batch_sizes, wanted_output.batch_sizes)
        for mine, theirs in zip(output[2:], wanted_output[2:], strict=True):
            assert (mine is None and theirs is None) or torch.equal(mine, theirs)
    true |= torch_gradients(true_ref, gru)
    rough |= torch_gradients(rough_ref, gru)
    eps, n = torch.finfo(F32).eps, gru.hidden_size
    # At least that of a sum of n terms of the size of the result: few entries may happen to be
    # right.
    rounding = {
        name: max(
            float((rough[name] - value).abs().max()) / eps,
            math.sqrt(n) * max(1.0, float(value.abs().max())),
        )
        for name, value in true.items()
    }

    def check(name: str, mine: Tensor, factor: float, wanted: Tensor) -> None:
        assert mine.shape == wanted.shape, name
        assert mine.dtype == dtype, name
        # 16: two roundings of one kind may differ by that, and hardly by more.
        limit = 16 * factor * torch.finfo(dtype).eps
        assert float((mine - wanted).abs().max()) <= limit, name

    for name, mine in got.items():
        check(name, mine, rounding[name], true[name])
    for i, cell in enumerate(gru.cells):
        for name in ("weight_ih", "bias", "bias_hn"):
            if (mine := getattr(cell, name)) is not None:
                check(name, mine.grad, rounding[f"{name} {i}"], true[f"{name} {i}"])
        dw = true[f"weight_hh {i}"].to(dtype)
        if cell.weight_rz is not None:
            check("weight_rz", cell.weight_rz.grad, rounding[f"weight_hh {i}"], dw[: 2 * n])
        # Their gradient in W, led back through W(theta): a coordinate moves up to n entries of W,
        # each with a weight below 4.
        theta = learned(cell.recurrent)
        back = torch.autograd.grad(cell.weight_hh, theta, dw, allow_unused=True)
        for q, theirs in zip(theta, back, strict=True):
            if q.numel():
                check("theta", q.grad, 4 * n * rounding[f"weight_hh {i}"], theirs)


plain = lambda leaf: leaf
