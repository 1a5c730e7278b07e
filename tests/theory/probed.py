"""Recurrent networks of every kind that can be probed, and their states by their own forward."""

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.theory.recurrences import SIZES
from unitary_zoo import UnitaryGRU, UnitaryRNN, as_real, orthogonal
from unitary_zoo.testing.strategies import seeds
from unitary_zoo.testing.subject import normal

F64 = torch.float64

EPS = torch.finfo(F64).eps
M = 2


class Wrapped(nn.Module):
    """An unknown recurrent layer: it maps (x, h) to (output, last)."""

    def __init__(self, n: int, layers: int = 1) -> None:
        super().__init__()
        self.inner = nn.GRU(M, n, layers, dtype=F64)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner(x, h)


KINDS = {
    "tanh": lambda n: nn.RNN(M, n, dtype=F64),
    "relu": lambda n: nn.RNN(M, n, nonlinearity="relu", dtype=F64),
    "deep relu": lambda n: nn.RNN(M, n, 3, nonlinearity="relu", bias=False, dtype=F64),
    "lstm": lambda n: nn.LSTM(M, n, dtype=F64),
    "deep lstm": lambda n: nn.LSTM(M, n, 2, batch_first=True, dtype=F64),
    "gru": lambda n: nn.GRU(M, n, bias=False, dtype=F64),
    "deep gru": lambda n: nn.GRU(M, n, 2, dropout=0.5, dtype=F64).eval(),
    "unitary": lambda n: UnitaryRNN(M, n, scheme="expm", nonlinearity="leaky_relu", dtype=F64),
    "deep unitary": lambda n: UnitaryRNN(M, n, 2, "cayley", "tanh", batch_first=True, dtype=F64),
    "complex": lambda n: UnitaryRNN(M, n, 1, "full_capacity", learn_h0=True, dtype=F64),
    "deep complex": lambda n: UnitaryRNN(M, n, 2, "arjovsky", return_sequence=False, dtype=F64),
    "unitary gru": lambda n: UnitaryGRU(M, n, 2, scheme="expm", dtype=F64),
    "parametrized": lambda n: orthogonal(nn.GRU(M, n, dtype=F64), "weight_hh_l0", blocks=3),
    "wrapped": Wrapped,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
FEW = settings(max_examples=8)  # sizes and seeds; a fault in the algebra is in all of them
DRAWN = {
    "n": st.sampled_from(SIZES),
    "steps": st.sampled_from([1, 2, 5]),
    "batch": st.sampled_from([1, 3]),
    "seed": seeds(),
}


def build(kind: str, n: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rnn = KINDS[kind](n)
        with torch.no_grad():
            for name, q in rnn.named_parameters():
                if name.endswith("threshold"):  # at most 0, and large enough to matter
                    q.copy_(-0.3 * torch.rand_like(q))
    return rnn


def inputs_of(rnn, steps, batch, seed):
    x = normal(steps, batch, M, dtype=F64, seed=seed)
    return x.transpose(0, 1) if getattr(rnn, "batch_first", False) else x


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def joint(state) -> Tensor:
    """The joint state (B, N), layer by layer: h, then c."""
    layers = zip(*(part.unbind(0) for part in parts_of(state)), strict=True)
    flat = [torch.view_as_real(p).flatten(1) if p.is_complex() else p for s in layers for p in s]
    return torch.cat(flat, dim=1)


def states_of(rnn, x) -> list:
    """The state after each step, by runs over the beginning of the sequence."""
    time = 1 if getattr(rnn, "batch_first", False) else 0
    return [rnn(x.narrow(time, 0, t + 1))[1] for t in range(x.shape[time])]


def split(flat: Tensor, like):
    """The inverse of joint."""
    parts = parts_of(like)
    width = [p.shape[-1] * (2 if p.is_complex() else 1) for p in parts]
    pieces = iter(flat.split(width * len(parts[0]), dim=1))
    found = [[next(pieces) for _ in parts] for _ in range(len(parts[0]))]
    stacked = tuple(
        torch.stack([layer[i] for layer in found]).contiguous() for i in range(len(parts))
    )
    stacked = tuple(
        torch.view_as_complex(s.unflatten(-1, (-1, 2))) if p.is_complex() else s
        for s, p in zip(stacked, parts, strict=True)
    )
    return stacked if isinstance(like, tuple) else stacked[0]


class Net(nn.Module):
    """A recurrent layer with a read-out of every state, so that gradients enter at every step."""

    def __init__(self, rnn: nn.Module, features: int) -> None:
        super().__init__()
        self.rnn = rnn
        self.readout = nn.Linear(features, 2, dtype=F64)

    def forward(self, x: Tensor) -> Tensor:
        output, last = self.rnn(x)
        if output is None:
            output = parts_of(last)[0][-1]
        return self.readout(as_real(output))


def net_of(kind: str, n: int, seed: int) -> Net:
    rnn = build(kind, n, seed)
    features = rnn.output_size if isinstance(rnn, UnitaryRNN) else n
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return Net(rnn, features)


def loss(y: Tensor) -> Tensor:
    return (y - 0.3).square().sum()
