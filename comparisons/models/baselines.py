"""The usual recurrent networks that the schemes are compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from comparisons.records import ModelSettings
from unitary_zoo import Parametrization, UnitaryRNN
from unitary_zoo.registry import Registry
from unitary_zoo.scan import recurrent_scan

Builder = Callable[[int, ModelSettings], nn.Module]

BASELINES: Registry[Builder] = Registry("baseline")
"""Builders ``(input_size, settings) -> module`` by name; the module is called as nn.RNN is."""


def _torch_layer(
    layer: Callable[..., nn.RNNBase], input_size: int, settings: ModelSettings, **options: str
) -> nn.RNNBase:
    """A layer of torch whose kernels start Glorot-uniform, gate by gate, and whose biases are 0.

    That is how the papers' code starts its baselines.
    """
    rnn = layer(
        input_size,
        settings.hidden_size,
        settings.layers,
        dropout=settings.dropout if settings.layers > 1 else 0.0,
        **options,
    )
    for name, parameter in rnn.named_parameters():
        if name.startswith("weight"):
            for gate in parameter.detach().split(rnn.hidden_size):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
    return rnn


@BASELINES.register("tanh_rnn")
def tanh_rnn(input_size: int, settings: ModelSettings) -> nn.Module:
    """The plain tanh RNN (Elman)."""
    return _torch_layer(nn.RNN, input_size, settings)


@BASELINES.register("irnn")
def irnn(input_size: int, settings: ModelSettings) -> nn.Module:
    """ReLU RNN started at the identity (Le, Jaitly and Hinton, 2015)."""
    rnn = _torch_layer(nn.RNN, input_size, settings, nonlinearity="relu")
    for layer in range(settings.layers):
        nn.init.eye_(rnn.get_parameter(f"weight_hh_l{layer}"))
    return rnn


@BASELINES.register("lstm")
def lstm(input_size: int, settings: ModelSettings) -> nn.Module:
    """LSTM whose forget gates start open, at bias 1."""
    rnn = _torch_layer(nn.LSTM, input_size, settings)
    for layer in range(settings.layers):
        # The gates are input, forget, cell, output. Of the two biases, one is set and one is 0.
        forget = rnn.get_parameter(f"bias_ih_l{layer}").detach().chunk(4)[1]
        nn.init.ones_(forget)
    return rnn


@BASELINES.register("gru")
def gru(input_size: int, settings: ModelSettings) -> nn.Module:
    """GRU."""
    return _torch_layer(nn.GRU, input_size, settings)


class FreeRNN(nn.Module):
    r""":math:`h_t = \phi(W h_{t-1} + V x_t + b)` with a free W, on the scan of the library.

    It starts as Keras's SimpleRNN: W orthogonal, V Glorot-uniform, b = 0.

    Args:
        input_size: Features of x.
        hidden_size: n.
        layers: Number of layers on top of each other.
        nonlinearity: Name of a real nonlinearity without parameters.
    """

    def __init__(self, input_size: int, hidden_size: int, layers: int, nonlinearity: str) -> None:
        super().__init__()
        self.nonlinearity = nonlinearity
        widths = [input_size] + [hidden_size] * (layers - 1)
        self.weight_ih = nn.ParameterList(torch.empty(hidden_size, width) for width in widths)
        self.weight_hh = nn.ParameterList(torch.empty(hidden_size, hidden_size) for _ in widths)
        self.bias = nn.ParameterList(torch.zeros(hidden_size) for _ in widths)
        for weight in self.weight_ih:
            nn.init.xavier_uniform_(weight)
        for weight in self.weight_hh:
            nn.init.orthogonal_(weight)

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The states (T, B, n) of the last layer for x (T, B, m), and each layer's last state."""
        last = []
        for i, weight in enumerate(self.weight_hh):
            h = x.new_zeros(x.shape[1], weight.shape[0]) if h_0 is None else h_0[i]
            x = recurrent_scan(
                x, weight, h, self.nonlinearity, weight_ih=self.weight_ih[i], bias=self.bias[i]
            )
            last.append(x[-1])
        return x, torch.stack(last)


@BASELINES.register("rnn")
def rnn(input_size: int, settings: ModelSettings) -> nn.Module:
    """RNN with a free matrix that starts orthogonal: ReLU, or the setting's nonlinearity."""
    nonlinearity = "relu" if settings.nonlinearity == "modrelu" else settings.nonlinearity
    return FreeRNN(input_size, settings.hidden_size, settings.layers, nonlinearity)


@BASELINES.register("contractive_rnn")
def contractive_rnn(input_size: int, settings: ModelSettings) -> nn.Module:
    """ReLU RNN whose singular values are clipped at 1 after every step (Emami et al., 2019)."""
    return UnitaryRNN(
        input_size,
        settings.hidden_size,
        settings.layers,
        scheme="svd_projection",
        nonlinearity="relu",
        contractive=True,
    )


def is_baseline(name: str) -> bool:
    """Whether ``name`` is one of the usual networks, and neither a scheme nor a user's model."""
    return name in BASELINES.names()


def is_scheme(name: str) -> bool:
    """Whether ``name`` is that of a scheme, which is trained in a recurrent layer."""
    return name in Parametrization.names()
