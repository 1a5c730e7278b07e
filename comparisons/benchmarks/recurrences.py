"""One recurrence in the forms that are compared: ours, PyTorch's layers, and loops in eager torch.

Every form is written as a careful user would write it. The loops read W once for each sequence
inside ``cached()``, multiply the inputs by V for all steps at once, and take the steps by
``unbind``, because indexing them would cost O(T^2) in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from unitary_zoo import UnitaryRNN, UnitaryRNNCell
from unitary_zoo.scan import recurrent_scan

Tensors = Mapping[str, Tensor]

INPUTS = 2  # features of a step, as in the adding problem


@dataclass(frozen=True)
class Recurrence:
    """Size, nonlinearity and field of a recurrence, and whether only the last state is returned."""

    n: int
    batch: int
    steps: int
    nonlinearity: str
    last_only: bool
    is_complex: bool = False

    @property
    def flop(self) -> int:
        """Real operations of a training step: two for each entry of W in h, dh and dW."""
        return (24 if self.is_complex else 6) * self.steps * self.batch * self.n**2

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
) -> tuple[UnitaryRNN, Tensor]:
    """A layer for the recurrence and inputs (T, B, m), both in the real ``dtype``."""
    r = recurrence
    torch.manual_seed(seed)
    layer = UnitaryRNN(
        INPUTS,
        r.n,
        scheme="expm",
        nonlinearity=r.nonlinearity,
        field="complex" if r.is_complex else "real",
        return_sequence=not r.last_only,
        dtype=dtype,
    )
    bias = layer.cells[0].bias_parts
    assert bias is not None  # layers have one unless told otherwise
    nn.init.normal_(bias, std=0.1)  # zero would hide mistakes in it
    return layer, torch.randn(r.steps, r.batch, INPUTS, dtype=dtype)


def by_role(cell: UnitaryRNNCell) -> dict[str, Tensor]:
    """W, V, b and, for modReLU, the threshold, as functions of the cell's parameters."""
    tensors = {
        "W": cell.recurrent.matrix(),
        "V": cell.weight_ih,
        "b": cell.bias,
        "threshold": cell.threshold,
    }
    return {role: tensor for role, tensor in tensors.items() if tensor is not None}


def weights(layer: UnitaryRNN) -> dict[str, Tensor]:
    """Copies of a layer's W, V, b and threshold, as leaves."""
    found = by_role(layer.cells[0])
    return {role: tensor.detach().clone().requires_grad_() for role, tensor in found.items()}


def our_layer(layer: UnitaryRNN, x: Tensor) -> Form:
    """UnitaryRNN, which builds W = exp(A) in every forward."""

    def forward() -> Tensor:
        states, last = layer(x)
        return last[0] if states is None else states

    return Form(forward, dict(layer.named_parameters()))


def our_recurrence(
    recurrence: Recurrence, w: Tensors, x: Tensor, checkpoint: int | None = None
) -> Form:
    """``recurrent_scan`` with W as a leaf, which corresponds to nn.RNN."""
    h0 = w["V"].new_zeros(recurrence.batch, recurrence.n)

    def forward() -> Tensor:
        return recurrent_scan(
            x,
            w["W"],
            h0,
            recurrence.nonlinearity,
            weight_ih=w["V"],
            bias=w["b"],
            threshold=w.get("threshold"),
            return_sequence=not recurrence.last_only,
            checkpoint=checkpoint,
        )

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
    x = x.to(w["V"].dtype)  # once, not at every pass

    def forward() -> Tensor:
        return _loop(recurrence, x, w["W"], w["V"], w["b"], w.get("threshold"))

    return Form(forward, w)


def geotorch_loop(recurrence: Recurrence, x: Tensor) -> Form:
    """The loop with W from geotorch, built once per sequence."""
    return _orthogonal_loop(recurrence, x, geotorch.orthogonal)


def torch_orthogonal_loop(recurrence: Recurrence, x: Tensor) -> Form:
    """The loop with W from torch's ``parametrizations.orthogonal``, built once per sequence."""
    return _orthogonal_loop(recurrence, x, parametrizations.orthogonal)


def _orthogonal_loop(
    recurrence: Recurrence, x: Tensor, constrain: Callable[[nn.Module, str], object]
) -> Form:
    cell = nn.RNNCell(INPUTS, recurrence.n, dtype=x.dtype)  # for its parameters alone
    del cell.bias_hh
    cell.register_parameter("bias_hh", None)
    constrain(cell, "weight_hh")

    def forward() -> Tensor:
        with parametrize.cached():
            return _loop(recurrence, x, cell.weight_hh, cell.weight_ih, cell.bias_ih, None)

    return Form(forward, dict(cell.named_parameters()))


def _loop(
    recurrence: Recurrence,
    x: Tensor,
    w: Tensor,
    v: Tensor,
    b: Tensor,
    threshold: Tensor | None,
) -> Tensor:
    activate = _EAGER[recurrence.nonlinearity]
    inputs = nn.functional.linear(x, v, b).unbind(0)
    transposed = w.mT
    h = x.new_zeros(x.shape[1], recurrence.n)
    states = []
    for u in inputs:
        h = activate(torch.addmm(u, h, transposed), threshold)
        if not recurrence.last_only:
            states.append(h)
    return h if recurrence.last_only else torch.stack(states)


def _modrelu(z: Tensor, threshold: Tensor | None) -> Tensor:
    """The formula as it is usually written; the gradient of sgn is that of z / |z|."""
    assert threshold is not None
    return torch.relu(z.abs() + threshold) * z.sgn()


_EAGER: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "relu": lambda z, _: torch.relu(z),
    "tanh": lambda z, _: torch.tanh(z),
    "modrelu": _modrelu,
}
