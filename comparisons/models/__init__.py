"""Model names to modules: every registered scheme in a `UnitaryRNN`, and the usual baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import unitary_zoo
from comparisons.records import Setting
from comparisons.tasks import Task
from unitary_zoo import Parametrization, UnitaryGRU, UnitaryRNN
from unitary_zoo.registry import Registry
from unitary_zoo.scan import recurrent_scan

State = Tensor | tuple[Tensor, Tensor]
"""The last states of a recurrent layer; an LSTM's are the pair (h, c)."""

BASELINES: Registry[Callable[[int, Setting], nn.Module]] = Registry("baseline")
"""Builders ``(input_size, setting) -> module`` by name; the module is called as nn.RNN is."""


def _torch(
    layer: Callable[..., nn.RNNBase], input_size: int, setting: Setting, **options: str
) -> nn.RNNBase:
    """Glorot-uniform kernels and zero biases, a gate at a time, as the papers' code has them."""
    rnn = layer(
        input_size,
        setting.hidden_size,
        setting.layers,
        dropout=setting.dropout if setting.layers > 1 else 0.0,
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
def tanh_rnn(input_size: int, setting: Setting) -> nn.Module:
    """The plain tanh RNN (Elman)."""
    return _torch(nn.RNN, input_size, setting)


@BASELINES.register("irnn")
def irnn(input_size: int, setting: Setting) -> nn.Module:
    """ReLU RNN started at the identity (Le, Jaitly and Hinton, 2015)."""
    rnn = _torch(nn.RNN, input_size, setting, nonlinearity="relu")
    for layer in range(setting.layers):
        nn.init.eye_(rnn.get_parameter(f"weight_hh_l{layer}"))
    return rnn


@BASELINES.register("lstm")
def lstm(input_size: int, setting: Setting) -> nn.Module:
    """LSTM whose forget gates start open, at bias 1."""
    rnn = _torch(nn.LSTM, input_size, setting)
    for layer in range(setting.layers):
        # The gates are input, forget, cell, output, with two biases; one of them carries it.
        forget = rnn.get_parameter(f"bias_ih_l{layer}").detach().chunk(4)[1]
        nn.init.ones_(forget)
    return rnn


@BASELINES.register("gru")
def gru(input_size: int, setting: Setting) -> nn.Module:
    """GRU."""
    return _torch(nn.GRU, input_size, setting)


class FreeRNN(nn.Module):
    r""":math:`h_t = \phi(W h_{t-1} + V x_t + b)`, nothing held back, on the scan of the library.

    It starts as Keras's SimpleRNN: W orthogonal, V Glorot-uniform, b = 0.

    Args:
        input_size: Features of x.
        hidden_size: n.
        layers: On top of each other.
        nonlinearity: A real one without parameters, by name.
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
        """(T, B, m) to the states (T, B, n) of the last layer and the last ones of each."""
        last = []
        for i, weight in enumerate(self.weight_hh):
            h = x.new_zeros(x.shape[1], weight.shape[0]) if h_0 is None else h_0[i]
            x = recurrent_scan(
                x, weight, h, self.nonlinearity, weight_ih=self.weight_ih[i], bias=self.bias[i]
            )
            last.append(x[-1])
        return x, torch.stack(last)


@BASELINES.register("rnn")
def rnn(input_size: int, setting: Setting) -> nn.Module:
    """RNN with a free matrix that starts orthogonal: ReLU, or the setting's nonlinearity."""
    nonlinearity = "relu" if setting.nonlinearity == "modrelu" else setting.nonlinearity
    return FreeRNN(input_size, setting.hidden_size, setting.layers, nonlinearity)


@BASELINES.register("contractive_rnn")
def contractive_rnn(input_size: int, setting: Setting) -> nn.Module:
    """ReLU RNN whose singular values are clipped at 1 after every step (Emami et al., 2019)."""
    return UnitaryRNN(
        input_size,
        setting.hidden_size,
        setting.layers,
        scheme="svd_projection",
        nonlinearity="relu",
        contractive=True,
    )


def model_names() -> tuple[str, ...]:
    """Every model the comparison can train: the registered schemes, then the baselines."""
    return Parametrization.names() + BASELINES.names()


def check_model(name: str) -> str:
    """``name`` itself, if it is a scheme or a baseline.

    Raises:
        LookupError: It is neither; the message suggests the nearest of both.
    """
    known: Registry[str] = Registry("scheme")
    for model in model_names():
        known.register(model)(model)
    return known.get(name)


def is_baseline(name: str) -> bool:
    """Whether ``name`` is a baseline and no scheme."""
    return name in BASELINES.names()


def training_of(model: str, setting: Setting) -> str:
    """The setting's summary without what it says of schemes alone, if the model is a baseline."""
    if is_baseline(model):
        usual = setting.nonlinearity if model == "rnn" else "modrelu"
        setting = replace(setting, nonlinearity=usual, bias=False, learn_h0=False)
    return setting.summary


def _in_layers(
    scheme: str, input_size: int, setting: Setting, return_sequence: bool
) -> UnitaryRNN | UnitaryGRU:
    options: dict[str, Any] = {
        "num_layers": setting.layers,
        "scheme": scheme,
        "bias": setting.bias,
        "dropout": setting.dropout if setting.layers > 1 else 0.0,
        "learn_h0": setting.learn_h0,
        "return_sequence": return_sequence,
        **dict(setting.options),
    }
    if setting.layer == "gru":
        return UnitaryGRU(input_size, setting.hidden_size, **options)
    if setting.layer != "rnn":
        raise ValueError(f"layer={setting.layer!r}; use 'rnn' or 'gru'")
    nonlinearity = setting.nonlinearity
    return UnitaryRNN(input_size, setting.hidden_size, nonlinearity=nonlinearity, **options)


class SequenceModel(nn.Module):
    """Recurrent layers and a linear read-out, at every step or of the last state.

    The read-out of a complex layer is that of Arjovsky et al.: o = U [Re h; Im h] + b, U real and
    Glorot-uniform or as ``Setting.init_range`` says, b = 0. Tokens go through an embedding first.

    Args:
        name: A scheme or a baseline.
        setting: Sizes, nonlinearity and initialisation.
        task: Gives the numbers of inputs and outputs, and whether every step has one.
    """

    def __init__(self, name: str, setting: Setting, task: Task) -> None:
        super().__init__()
        self.per_step = task.per_step
        self.dropout = nn.Dropout(setting.dropout)
        self.embedding: nn.Module = nn.Identity()
        width = task.input_size
        if task.tokens:
            width = setting.embedding or setting.hidden_size
            self.embedding = embedding = nn.Embedding(task.input_size, width)
            if setting.init_range is not None:
                nn.init.uniform_(embedding.weight, -setting.init_range, setting.init_range)
        self.rnn: nn.Module
        if is_baseline(name):
            self.rnn = BASELINES.get(name)(width, setting)
            features = setting.hidden_size
        else:
            self.rnn = layer = _in_layers(name, width, setting, task.per_step)
            features = layer.output_size
        self.readout: nn.Module
        if setting.identify:
            if not isinstance(self.rnn, UnitaryRNN):
                raise TypeError(f"{name} is no unitary layer; only those identify a unitary system")
            self.readout = task.identify(self.rnn)
        else:
            self.readout = linear = nn.Linear(features, task.output_size)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            if setting.init_range is not None:
                nn.init.uniform_(linear.weight, -setting.init_range, setting.init_range)
        if setting.init is not None:
            for scheme in self.schemes():
                scheme.reset_parameters(init=setting.init)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Outputs of the read-out, and the last states.

        Args:
            inputs: (steps, batch, features), or token numbers (steps, batch).
            state: Last states of the sequences that these go on with; None starts them anew.

        Returns:
            Outputs (steps, batch, outputs), or (batch, outputs) of the last step; the last states.
        """
        output, last = self.rnn(self.dropout(self.embedding(inputs)), state)
        h = last[0] if isinstance(last, tuple) else last
        features = unitary_zoo.as_real(output if self.per_step else h[-1])
        return self.readout(self.dropout(features)), last

    def schemes(self) -> Iterator[Parametrization]:
        """The unitary weights; none in a baseline."""
        return (module for module in self.modules() if isinstance(module, Parametrization))

    def recurrent_parameters(self) -> int:
        """Trainable numbers behind the recurrent matrix."""
        in_schemes = sum(p.numel() for scheme in self.schemes() for p in scheme.parameters())
        free = (p.numel() for name, p in self.rnn.named_parameters() if "weight_hh" in name)
        return in_schemes + sum(free)

    def unitarity_defect(self) -> float | None:
        """Largest spectral norm of W^H W - I among the unitary weights; None without any."""
        return max((scheme.describe().defect for scheme in self.schemes()), default=None)
