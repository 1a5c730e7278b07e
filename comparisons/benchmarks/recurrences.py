"""One recurrence in the forms that are compared: ours, PyTorch's layers, and loops in eager torch.

The recurrence is plain, or has the gates of ``nn.GRU``. Every form is written as a careful user
would write it. The loops read W once for each sequence inside ``cached()``, multiply the inputs by
V for all steps at once, and take the steps by ``unbind``, because indexing them would cost O(T^2)
in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from unitary_zoo import UnitaryGRU, UnitaryGRUCell, UnitaryRNN, UnitaryRNNCell
from unitary_zoo.base import FactoredMap
from unitary_zoo.scan import gated_scan, recurrent_scan

Tensors = Mapping[str, Tensor]
Layer = UnitaryRNN | UnitaryGRU

INPUTS = 2  # features of a step, as in the adding problem
GATED = "gated"


@dataclass(frozen=True)
class Recurrence:
    """Size, nonlinearity and field of a recurrence, and whether only the last state is returned.

    The nonlinearity :data:`GATED` stands for the gates of ``nn.GRU``, which has three matrices.
    """

    n: int
    batch: int
    steps: int
    nonlinearity: str
    last_only: bool
    is_complex: bool = False

    @property
    def is_gated(self) -> bool:
        """Whether it has the equations of ``nn.GRU``."""
        return self.nonlinearity == GATED

    @property
    def flop(self) -> int:
        """Real operations of a training step: two for each entry of W in h, dh and dW."""
        products = 3 * (4 if self.is_complex else 1) * (3 if self.is_gated else 1)
        return 2 * products * self.steps * self.batch * self.n**2

    def __str__(self) -> str:
        """The line that names it in a table."""
        result = "last state" if self.last_only else "full sequence"
        field = "complex " if self.is_complex else ""
        return f"{result}, {field}{self.nonlinearity}, n={self.n} B={self.batch} T={self.steps}"


@dataclass(frozen=True)
class Form:
    """A form of a recurrence, ready to run.

    Attributes:
        forward: Returns the last states (B, n), or all of them (T, B, n).
        leaves: The learned tensors by role; W, V, b and threshold are roles.
    """

    forward: Callable[[], Tensor]
    leaves: Tensors

    def results(self, upstream: Tensor | None = None) -> dict[str, Tensor]:
        """Run the forward and the backward pass.

        Args:
            upstream: The gradient of the states; None is that of their sum, which takes no memory.

        Returns:
            The states, and the gradients of the leaves by their roles.
        """
        states = self.forward()
        if upstream is None:
            upstream = states.new_ones(()).expand_as(states)
        gradients = torch.autograd.grad(states, list(self.leaves.values()), upstream)
        return {"states": states.detach(), **dict(zip(self.leaves, gradients, strict=True))}


def draw(
    recurrence: Recurrence, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Layer, Tensor]:
    """A layer for the recurrence and inputs (T, B, m), both in the real ``dtype``."""
    r = recurrence
    torch.manual_seed(seed)
    layer: Layer
    if r.is_gated:
        layer = UnitaryGRU(INPUTS, r.n, return_sequence=not r.last_only, dtype=dtype)
    else:
        layer = UnitaryRNN(
            INPUTS,
            r.n,
            nonlinearity=r.nonlinearity,
            field="complex" if r.is_complex else "real",
            return_sequence=not r.last_only,
            dtype=dtype,
        )
    cell = layer.cells[0]
    biases = [cell.bias_parts, *([cell.bias_hn] if isinstance(cell, UnitaryGRUCell) else [])]
    for bias in biases:
        assert bias is not None  # layers have one unless told otherwise
        nn.init.normal_(bias, std=0.1)  # zero would hide mistakes in it
    return layer, torch.randn(r.steps, r.batch, INPUTS, dtype=dtype)


def by_role(cell: UnitaryRNNCell | UnitaryGRUCell) -> dict[str, Tensor]:
    """W, V, b and, if there is one, the threshold or b_hn, as functions of the parameters."""
    tensors: dict[str, Tensor | None] = {"V": cell.weight_ih, "b": cell.bias}
    if isinstance(cell, UnitaryGRUCell):
        tensors |= {"W": cell.weight_hh, "b_hn": cell.bias_hn}
    else:
        tensors |= {"W": cell.recurrent.matrix(), "threshold": cell.threshold}
    return {role: tensor for role, tensor in tensors.items() if tensor is not None}


def weights(layer: Layer) -> dict[str, Tensor]:
    """Copies of the weights of a layer's first cell by their roles, as leaves."""
    found = by_role(layer.cells[0])
    return {role: tensor.detach().clone().requires_grad_() for role, tensor in found.items()}


def our_layer(layer: Layer, x: Tensor) -> Form:
    """UnitaryRNN or UnitaryGRU, which build W = exp(A) in every forward."""

    def forward() -> Tensor:
        states, last = layer(x)
        return last[0] if states is None else states

    return Form(forward, dict(layer.named_parameters()))


def our_recurrence(
    recurrence: Recurrence,
    w: Tensors,
    x: Tensor,
    checkpoint: int | None = None,
    backend: str = "auto",
    product: FactoredMap | None = None,
) -> Form:
    """The scan with W as a leaf, as nn.RNN and nn.GRU have it, or the numbers of a ``product``."""
    r = recurrence
    h0 = w["V"].new_zeros(r.batch, r.n)

    def forward() -> Tensor:
        if r.is_gated:
            return gated_scan(
                x, w["W"], h0, w["V"], bias=w["b"], bias_hn=w["b_hn"], backend=backend,
                return_sequence=not r.last_only, checkpoint=checkpoint,
            )  # fmt: skip
        matrix = w["W"] if product is None else FactoredMap(r.n, product.factors, w["W"])
        return recurrent_scan(
            x, matrix, h0, r.nonlinearity, weight_ih=w["V"], bias=w["b"], backend=backend,
            threshold=w.get("threshold"), return_sequence=not r.last_only, checkpoint=checkpoint,
        )  # fmt: skip

    return Form(forward, w)


def torch_rnn(recurrence: Recurrence, w: Tensors, x: Tensor) -> Form:
    """nn.RNN with these weights; with tanh where it lacks the nonlinearity."""
    known = recurrence.nonlinearity in ("relu", "tanh")
    nonlinearity = recurrence.nonlinearity if known else "tanh"
    rnn = nn.RNN(INPUTS, recurrence.n, nonlinearity=nonlinearity, dtype=x.dtype)
    roles = {"weight_hh_l0": "W", "weight_ih_l0": "V", "bias_ih_l0": "b"}
    with torch.no_grad():
        for name, role in roles.items():
            rnn.get_parameter(name).copy_(w[role])
        rnn.get_parameter("bias_hh_l0").zero_()
    leaves = {roles.get(name, name): leaf for name, leaf in rnn.named_parameters()}
    return _of_torch(rnn, leaves, x, recurrence.last_only)


def torch_lstm(recurrence: Recurrence, x: Tensor) -> Form:
    """nn.LSTM of the same size; it has four times the weights."""
    lstm = nn.LSTM(INPUTS, recurrence.n, dtype=x.dtype)
    return _of_torch(lstm, dict(lstm.named_parameters()), x, recurrence.last_only)


def torch_gru(recurrence: Recurrence, w: Tensors, x: Tensor) -> Form:
    """nn.GRU with these weights."""
    n = recurrence.n
    gru = nn.GRU(INPUTS, n, dtype=x.dtype)
    roles = {"weight_hh_l0": "W", "weight_ih_l0": "V", "bias_ih_l0": "b"}
    with torch.no_grad():
        for name, role in roles.items():
            gru.get_parameter(name).copy_(w[role])
        gru.get_parameter("bias_hh_l0").zero_()[2 * n :] = w["b_hn"]
    leaves = {roles.get(name, name): leaf for name, leaf in gru.named_parameters()}
    return _of_torch(gru, leaves, x, recurrence.last_only)


def _of_torch(rnn: nn.RNNBase, leaves: Tensors, x: Tensor, last_only: bool) -> Form:
    def forward() -> Tensor:
        states, h_n = rnn(x)
        if not last_only:
            return states
        # Not states[-1], whose backward pass would fill a whole sequence with zeros.
        return (h_n[0] if isinstance(rnn, nn.LSTM) else h_n)[0]

    return Form(forward, leaves)


def eager_loop(recurrence: Recurrence, w: Tensors, x: Tensor) -> Form:
    """The loop in eager torch, with W as a leaf."""
    r = recurrence
    x = x.to(w["V"].dtype)  # once, not at every pass

    def forward() -> Tensor:
        inputs = nn.functional.linear(x, w["V"], w["b"])
        return _loop(inputs, w["W"], r.nonlinearity, w.get("threshold"), r.last_only)

    return Form(forward, w)


def geotorch_loop(recurrence: Recurrence, x: Tensor) -> Form:
    """The loop with W from geotorch, built once per sequence."""
    return _orthogonal_loop(recurrence, x, geotorch.orthogonal)


def torch_orthogonal_loop(recurrence: Recurrence, x: Tensor) -> Form:
    """The loop with W from torch's ``parametrizations.orthogonal``, built once per sequence."""
    return _orthogonal_loop(recurrence, x, parametrizations.orthogonal)


Constrain = Callable[[nn.Module, str], object]
"""Makes the weight of this name orthogonal."""


class OrthogonalLoop(nn.Module):
    """h_t = f(W h_{t-1} + V x_t + b), with an orthogonal W that is built once per sequence.

    Args:
        inputs: Features of a step.
        n: Units of a state.
        constrain: The library that makes W orthogonal.
        nonlinearity: relu or tanh.
        last_only: Return the last states (B, n) instead of all of them (T, B, n).
    """

    def __init__(
        self, inputs: int, n: int, constrain: Constrain, nonlinearity: str, last_only: bool
    ) -> None:
        super().__init__()
        self.cell = nn.RNNCell(inputs, n)  # for its parameters alone
        del self.cell.bias_hh
        self.cell.register_parameter("bias_hh", None)
        constrain(self.cell, "weight_hh")
        self.nonlinearity, self.last_only = nonlinearity, last_only

    def forward(self, x: Tensor) -> Tensor:
        """The states of a sequence (T, B, m)."""
        cell = self.cell
        with parametrize.cached():
            inputs = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
            return _loop(inputs, cell.weight_hh, self.nonlinearity, None, self.last_only)


def _orthogonal_loop(recurrence: Recurrence, x: Tensor, constrain: Constrain) -> Form:
    r = recurrence
    loop = OrthogonalLoop(INPUTS, r.n, constrain, r.nonlinearity, r.last_only).to(x.dtype)
    return Form(lambda: loop(x), dict(loop.named_parameters()))


def _loop(
    inputs: Tensor, w: Tensor, nonlinearity: str, threshold: Tensor | None, last_only: bool
) -> Tensor:
    """The states for inputs (T, B, n), which hold V x_t + b."""
    activate = _EAGER[nonlinearity]
    transposed = w.mT
    h = torch.zeros_like(inputs[0])
    states = []
    for u in inputs.unbind(0):
        h = activate(torch.addmm(u, h, transposed), threshold)
        if not last_only:
            states.append(h)
    return h if last_only else torch.stack(states)


def _modrelu(z: Tensor, threshold: Tensor | None) -> Tensor:
    """The formula as it is usually written; the gradient of sgn is that of z / |z|."""
    assert threshold is not None
    return torch.relu(z.abs() + threshold) * z.sgn()


_EAGER: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "relu": lambda z, _: torch.relu(z),
    "tanh": lambda z, _: torch.tanh(z),
    "modrelu": _modrelu,
}
