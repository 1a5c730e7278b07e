"""Model names to modules: every registered scheme in a `UnitaryRNN`, and the usual baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

import unitary_zoo
from comparisons.records import Setting
from comparisons.tasks import Task
from unitary_zoo import Parametrization, UnitaryRNN
from unitary_zoo.registry import Registry

BASELINES: Registry[Callable[[int, int], nn.RNNBase]] = Registry("baseline")
"""Builders ``(input_size, hidden_size) -> nn.RNNBase`` by name."""


def _glorot(rnn: nn.RNNBase) -> nn.RNNBase:
    """Glorot-uniform kernels and zero biases, a gate at a time, as the papers' code has them."""
    for name, parameter in rnn.named_parameters():
        if name.startswith("weight"):
            for gate in parameter.detach().split(rnn.hidden_size):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
    return rnn


@BASELINES.register("tanh_rnn")
def tanh_rnn(input_size: int, hidden_size: int) -> nn.RNNBase:
    """The plain tanh RNN (Elman)."""
    return _glorot(nn.RNN(input_size, hidden_size))


@BASELINES.register("irnn")
def irnn(input_size: int, hidden_size: int) -> nn.RNNBase:
    """ReLU RNN started at the identity (Le, Jaitly and Hinton, 2015)."""
    rnn = _glorot(nn.RNN(input_size, hidden_size, nonlinearity="relu"))
    nn.init.eye_(rnn.get_parameter("weight_hh_l0"))
    return rnn


@BASELINES.register("lstm")
def lstm(input_size: int, hidden_size: int) -> nn.RNNBase:
    """LSTM whose forget gates start open, at bias 1."""
    rnn = _glorot(nn.LSTM(input_size, hidden_size))
    # torch orders the gates input, forget, cell, output and adds two biases; one of them carries it
    nn.init.ones_(rnn.get_parameter("bias_ih_l0").detach()[hidden_size : 2 * hidden_size])
    return rnn


@BASELINES.register("gru")
def gru(input_size: int, hidden_size: int) -> nn.RNNBase:
    """GRU."""
    return _glorot(nn.GRU(input_size, hidden_size))


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


class SequenceModel(nn.Module):
    """A recurrent layer and a linear read-out, at every step or of the last state.

    The read-out of a complex layer is that of Arjovsky et al.: o = U [Re h; Im h] + b, U real and
    Glorot-uniform, b = 0.

    Args:
        name: A scheme or a baseline.
        setting: Sizes, nonlinearity and initialisation.
        task: Gives the numbers of inputs and outputs, and whether every step has one.
    """

    def __init__(self, name: str, setting: Setting, task: Task) -> None:
        super().__init__()
        self.per_step = task.per_step
        self.rnn: nn.Module
        if is_baseline(name):
            self.rnn = BASELINES.get(name)(task.input_size, setting.hidden_size)
            features = setting.hidden_size
        else:
            self.rnn = UnitaryRNN(
                task.input_size,
                setting.hidden_size,
                scheme=name,
                nonlinearity=setting.nonlinearity,
                bias=False,
                learn_h0=setting.learn_h0,
                return_sequence=task.per_step,
            )
            features = self.rnn.output_size
        self.readout = nn.Linear(features, task.output_size)
        nn.init.xavier_uniform_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)
        if setting.init is not None:
            for scheme in self.schemes():
                scheme.reset_parameters(init=setting.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(steps, batch, inputs) to (steps, batch, outputs), or (batch, outputs) of the last."""
        output, state = self.rnn(inputs)
        if self.per_step:
            features = output
        else:  # an LSTM's state is the pair (h, c)
            features = (state[0] if isinstance(state, tuple) else state)[-1]
        return self.readout(unitary_zoo.as_real(features))

    def schemes(self) -> Iterator[Parametrization]:
        """The unitary weights; none in a baseline."""
        return (module for module in self.modules() if isinstance(module, Parametrization))

    def recurrent_parameters(self) -> int:
        """Trainable numbers behind the recurrent matrix."""
        if isinstance(self.rnn, nn.RNNBase):
            return self.rnn.get_parameter("weight_hh_l0").numel()
        return sum(p.numel() for scheme in self.schemes() for p in scheme.parameters())

    def unitarity_defect(self) -> float | None:
        """Largest spectral norm of W^H W - I among the unitary weights; None without any."""
        return max((scheme.describe().defect for scheme in self.schemes()), default=None)
