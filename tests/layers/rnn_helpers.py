"""Layers for tests, and how near two routes to one result must be."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tests.oracles import learned
from tests.recurrent import B, M, N, T, size_for
from unitary_zoo import UnitaryRNN
from unitary_zoo.testing.subject import normal

F64 = torch.float64
EPS = torch.finfo(F64).eps
STACKS = [(layers, both) for layers in (1, 2, 3) for both in (False, True)]
# One static, one rebased and one projected scheme, and both fields.
CASES = [
    ("expm", {}),
    ("lie_exp", {}),
    ("svd_projection", {}),
    ("arjovsky", {}),
    ("cayley", {"field": "complex"}),
]


def limit(size: float, layers: int = 1) -> float:
    """Rounding of two routes to one result of that size.

    Each step of each layer sums at most 2N + B terms; W is orthogonal and the activations are
    1-Lipschitz, so a step's roundings are carried on without growth, and T steps add up. The input
    weights grow them by their norm, below 4, from layer to layer. Gradients sum T such terms.
    """
    return 8 * T**2 * (2 * N + B) * 4**layers * EPS * max(1.0, size)


def assert_near(got: Tensor, wanted: Tensor, layers: int = 1) -> None:
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    size = float(wanted.detach().abs().max())
    assert float((got - wanted).detach().abs().max()) <= limit(size, layers)


def rnn_of(scheme: str = "expm", nonlinearity: str = "tanh", **options: Any) -> UnitaryRNN:
    n = size_for(scheme)
    rnn = UnitaryRNN(M, n, scheme=scheme, nonlinearity=nonlinearity, dtype=F64, **options)
    with torch.no_grad():
        for seed, cell in enumerate(rnn.cells):
            if cell.bias_parts is not None:  # it starts at zero, and would hide a mistake
                cell.bias_parts.copy_(normal(*cell.bias_parts.shape, dtype=F64, seed=seed))
            if cell.threshold is not None:
                cell.threshold.copy_(-0.1 * normal(n, dtype=F64, seed=seed).abs())
    return rnn


def suffixes(rnn: UnitaryRNN) -> list[str]:
    """The ends of nn.RNN's parameter names, in its order of layers and directions."""
    directions = ("", "_reverse") if rnn.bidirectional else ("",)
    return [f"_l{layer}{end}" for layer in range(rnn.num_layers) for end in directions]


def same_torch_layer(rnn: UnitaryRNN) -> nn.RNN:
    """torch's layer with the same weights."""
    first = rnn.cells[0]
    ref = nn.RNN(
        M, rnn.hidden_size, rnn.num_layers, nonlinearity=first.nonlinearity,
        bias=first.bias is not None, batch_first=rnn.batch_first, bidirectional=rnn.bidirectional,
        dtype=F64,
    )  # fmt: skip
    with torch.no_grad():
        for cell, end in zip(rnn.cells, suffixes(rnn), strict=True):
            getattr(ref, f"weight_hh{end}").copy_(cell.recurrent.matrix())
            getattr(ref, f"weight_ih{end}").copy_(cell.weight_ih)
            if cell.bias is not None:
                getattr(ref, f"bias_ih{end}").copy_(cell.bias)
                getattr(ref, f"bias_hh{end}").zero_()
    return ref


def assert_same_gradients(rnn: UnitaryRNN, ref: nn.RNN) -> None:
    """Compare the gradients of all parameters; that of nn.RNN in W is led back through W(theta)."""
    for cell, end in zip(rnn.cells, suffixes(rnn), strict=True):
        assert_near(cell.weight_ih.grad, getattr(ref, f"weight_ih{end}").grad, rnn.num_layers)
        if cell.bias is not None:
            assert_near(cell.bias.grad, getattr(ref, f"bias_ih{end}").grad, rnn.num_layers)
        theta = learned(cell.recurrent)
        dw = getattr(ref, f"weight_hh{end}").grad
        for q, wanted in zip(
            theta, torch.autograd.grad(cell.recurrent.matrix(), theta, dw), strict=True
        ):
            assert_near(q.grad, wanted, rnn.num_layers)


def data_of(result: Tensor | PackedSequence) -> Tensor:
    return result.data if isinstance(result, PackedSequence) else result


def compare(rnn: UnitaryRNN, x: Any, h_0: Tensor | None, leaf: Tensor | None = None) -> None:
    """Assert that outputs, last states and every gradient equal those of nn.RNN.

    ``x`` is the input or a function of ``leaf`` that builds it.
    """
    ref, layers = same_torch_layer(rnn), rnn.num_layers
    found = []
    for module in (rnn, ref):
        leaves = [t.detach().clone().requires_grad_() for t in (leaf, h_0) if t is not None]
        start = leaves[-1] if h_0 is not None else None
        output, h_n = module(x(leaves[0]), start)
        loss = (h_n * normal(*h_n.shape, dtype=F64, seed=21)).sum()
        if rnn.return_sequence:
            data = data_of(output)
            loss = loss + (data * normal(*data.shape, dtype=F64, seed=22)).sum()
        loss.backward()
        found.append((output, h_n, [t.grad for t in leaves]))
    (output, h_n, grads), (wanted, wanted_h_n, wanted_grads) = found
    if not rnn.return_sequence:
        assert output is None
    elif isinstance(wanted, PackedSequence):
        assert isinstance(output, PackedSequence)
        assert torch.equal(output.batch_sizes, wanted.batch_sizes)
        for mine, theirs in zip(output[2:], wanted[2:], strict=True):
            assert (mine is None and theirs is None) or torch.equal(mine, theirs)
        assert_near(output.data, wanted.data, layers)
    else:
        assert_near(output, wanted, layers)
    assert_near(h_n, wanted_h_n, layers)
    for mine, theirs in zip(grads, wanted_grads, strict=True):
        assert_near(mine, theirs, layers)
    assert_same_gradients(rnn, ref)
