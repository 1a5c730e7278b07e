"""Recurrent layers between an embedding and a read-out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

import unitary_zoo
from comparisons.models.baselines import BASELINES, Builder, is_scheme
from comparisons.models.own import MODELS, schemes_in
from comparisons.records import ModelSettings, Setting
from comparisons.tasks import Task
from unitary_zoo import Parametrization, UnitaryGRU, UnitaryRNN, linalg
from unitary_zoo.registry import unknown_name

State = Tensor | tuple[Tensor, ...]
"""The last states of a recurrent layer; an LSTM's are the pair (h, c)."""


def builder_of(name: str) -> Builder:
    """The builder of a baseline or of a plug-in's model.

    Raises:
        LookupError: There is no model of that name; the message suggests the nearest.
    """
    for registry in (BASELINES, MODELS):
        if name in registry.names():
            return registry.get(name)
    known = (*Parametrization.names(), *BASELINES.names(), *MODELS.names())
    raise LookupError(unknown_name("model", name, known))


NORMALIZE = "rms_normalize"
"""The only option that the scheme does not take: W's optimizer then normalises its gradient."""


def _unitary_layer(
    scheme: str, input_size: int, settings: ModelSettings, return_sequence: bool
) -> UnitaryRNN | UnitaryGRU:
    options: dict[str, Any] = {
        "num_layers": settings.layers,
        "scheme": scheme,
        "bias": settings.bias,
        "dropout": settings.dropout if settings.layers > 1 else 0.0,
        "learn_h0": settings.learn_h0,
        "return_sequence": return_sequence,
        **{name: value for name, value in settings.options if name != NORMALIZE},
    }
    if settings.layer == "gru":
        return UnitaryGRU(input_size, settings.hidden_size, **options)
    if settings.layer != "rnn":
        raise ValueError(f"layer={settings.layer!r}; use 'rnn' or 'gru'")
    nonlinearity = settings.nonlinearity
    return UnitaryRNN(input_size, settings.hidden_size, nonlinearity=nonlinearity, **options)


class SequenceModel(nn.Module):
    """Recurrent layers and a linear read-out, at every step or of the last state.

    The read-out of a complex layer is that of Arjovsky et al.: o = U [Re h; Im h] + b, U real and
    Glorot-uniform or as ``init_range`` says, b = 0. Tokens go through an embedding first.

    Args:
        name: A scheme, a baseline or a model of a plug-in.
        setting: Only its ``model`` is read.
        task: Gives the numbers of inputs and outputs, and whether every step has an output.
    """

    def __init__(self, name: str, setting: Setting, task: Task) -> None:
        super().__init__()
        settings = setting.model
        self.per_step = task.per_step
        self.dropout = nn.Dropout(settings.dropout)
        self.embedding: nn.Module = nn.Identity()
        width = task.input_size
        if task.tokens:
            width = settings.embedding or settings.hidden_size
            self.embedding = embedding = nn.Embedding(task.input_size, width)
            if settings.init_range is not None:
                nn.init.uniform_(embedding.weight, -settings.init_range, settings.init_range)
        self.rnn: nn.Module
        if is_scheme(name):
            self.rnn = _unitary_layer(name, width, settings, task.per_step)
        else:
            self.rnn = builder_of(name)(width, settings)
        # Complex states have two features for each unit.
        features = getattr(self.rnn, "output_size", settings.hidden_size)
        self.readout: nn.Module
        if settings.only_recurrent_weight:
            if not isinstance(self.rnn, UnitaryRNN):
                raise TypeError(f"{name} is no unitary layer; only those identify a unitary system")
            self.readout = task.identify(self.rnn)
        else:
            self.readout = linear = nn.Linear(features, task.output_size)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            if settings.init_range is not None:
                nn.init.uniform_(linear.weight, -settings.init_range, settings.init_range)
        if settings.init is not None:
            for scheme in self.schemes():
                scheme.reset_parameters(init=settings.init)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The outputs of the read-out, and the last states.

        Args:
            inputs: (steps, batch, features), or token numbers (steps, batch).
            state: Last states of the sequences that these continue; None starts anew.

        Returns:
            Outputs (steps, batch, outputs), or (batch, outputs) of the last step; the last states.
        """
        output, last = self.rnn(self.dropout(self.embedding(inputs)), state)
        h = last[0] if isinstance(last, tuple) else last
        features = unitary_zoo.as_real(output if self.per_step else h[-1])
        return self.readout(self.dropout(features)), last

    def schemes(self) -> Iterator[Parametrization]:
        """The unitary weights; none in most baselines."""
        return iter(schemes_in(self))

    def recurrent_scheme(self) -> Parametrization | None:
        """The scheme of the first layer's recurrent matrix, a GRU's of its candidate; or None."""
        if isinstance(self.rnn, UnitaryGRU):
            return cast(Parametrization, self.rnn.cells[0].recurrent["n"])
        return next(self.schemes(), None)

    def recurrent_parameters(self) -> int:
        """Trainable numbers behind the recurrent matrices.

        They are those of schemes and those of parameters called ``weight_hh``, as torch calls them;
        a layer of another kind names its own by a method ``recurrent_parameters``.
        """
        own = getattr(self.rnn, "recurrent_parameters", None)
        if own is not None:
            found = list(own())
        else:
            found = [p for name, p in self.rnn.named_parameters() if "weight_hh" in name]
        found += [p for scheme in self.schemes() for p in scheme.learnable_parameters()]
        # A weight_hh with a scheme is found twice.
        return sum(p.numel() for p in {id(p): p for p in found}.values())

    def unitarity_defect(self) -> float | None:
        """Largest spectral norm of W^H W - I among the unitary weights; None without any."""
        # describe() would find the eigenvalues too, which takes several times as long.
        defects = [linalg.unitarity_defect(scheme.matrix()) for scheme in self.schemes()]
        return max(map(float, defects), default=None)
