"""System identification of Wisdom et al. (2016): which unitary matrix made these states?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from comparisons.tasks import TASKS, Generated, stream
from unitary_zoo import Parametrization, UnitaryRNN, as_real
from unitary_zoo.nonlinearities import modrelu
from unitary_zoo.scan import recurrent_scan

UNITS = (8, 4, 6, 7, 16)
FAMILIES = {
    "full": "a product of two matrices of Arjovsky's family",
    "restricted": "a matrix of Arjovsky's family",
}
MEASURED = 1000  # sequences behind the power of the targets
PAIRED = 50  # sequences behind each of two means of the next state


@dataclass(frozen=True)
class System:
    r""":math:`h_t = \mathrm{modReLU}(W h_{t-1} + x_t)`, from zero, in complex128.

    Attributes:
        weight: W (N, N), unitary.
        threshold: Thresholds of modReLU (N), real.
    """

    weight: Tensor
    threshold: Tensor

    @classmethod
    def draw(cls, units: int, factors: int, generator: torch.Generator) -> System:
        """W is a product of draws from Arjovsky's family; thresholds are U[-0.11, -0.09]."""
        weight = torch.eye(units, dtype=torch.complex128)
        for _ in range(factors):
            factor = Parametrization.create(
                "arjovsky", units, generator=generator, dtype=torch.float64
            )
            weight = weight @ factor.matrix().detach()
        shift = torch.rand(units, generator=generator, dtype=torch.float64)
        return cls(weight, -0.11 + 0.02 * shift)

    def states(self, x: Tensor) -> Tensor:
        """The states (T, B, N) for the inputs (T, B, N)."""
        h = x.new_zeros(x.shape[1:])
        return recurrent_scan(x, self.weight, h, "modrelu", threshold=self.threshold)


@TASKS.register("unitary_system")
class UnitarySystem(Generated):
    r"""Predict all states of a unitary RNN from its inputs: :math:`E\|\hat h - h\|^2 / E\|h\|^2`.

    The system has N complex modReLU units, :math:`h_t = \mathrm{modReLU}(W h_{t-1} + x_t)`, with
    :math:`h_0 = 0`; its inputs are circular complex normal numbers with :math:`E|x|^2 = 1`.
    Networks see 2N real inputs [Re x, Im x] and answer with 2N real outputs [Re h, Im h] at every
    step. A complex network of N units can be the system, and with ``only_recurrent_weight`` it
    learns W alone (:meth:`identify`).

    The variant fixes the system: its size N and the family of W. The seed draws the sequences and
    the network's start, so that seeds are the paper's initialisations. Sequences are fresh in
    every batch. The paper has 20,000 fixed ones, too many for the at most :math:`N^2` parameters of
    W to overfit. An `arjovsky` model has a permutation of its own, not the system's.

    Where W alone is learned, a wrong W has a larger loss than the baseline, nearly 2 if it is drawn
    at random: it keeps the length of the state, and cannot answer 0 as a free read-out can. A
    family that does not contain the system's W may not do better: the best loss found with
    `eigenphase` at N = 8, T = 25 is 1.4.

    The mean square of the targets is measured once, on 1,000 sequences.

    Source: Wisdom, Powers, Hershey, Le Roux and Atlas, Full-capacity unitary recurrent neural
    networks, 2016.
    """

    name = "unitary_system"
    title = "Unitary system identification"
    loss_name = "normalised mean squared error"
    accuracy_name = "share of the targets' power"
    metric_name = "normalised MSE"
    baseline_formula = "1, the power of the targets: the best constant is 0, as inputs are circular"
    memoryless_formula = "that of the mean state, given the step and its input"
    shortest = 1
    variants: ClassVar[dict[str, str]] = {
        f"{family}-{n}": f"N = {n}, W = {title}"
        for n in UNITS
        for family, title in FAMILIES.items()
    }
    per_step = True
    restarts = True
    data = "generated sequences of one system"

    def __init__(self, length: int, variant: str = "", seed: int = 0) -> None:
        super().__init__(length, variant, seed)
        self.family, n = self.variant.split("-")
        self.units = int(n)

    @property
    def input_size(self) -> int:
        """Number of real and imaginary parts."""
        return 2 * self.units

    @property
    def output_size(self) -> int:
        """Number of real and imaginary parts."""
        return 2 * self.units

    @cached_property
    def system(self) -> System:
        """The system, which is the same for every length and seed."""
        factors = 2 if self.family == "full" else 1
        return System.draw(self.units, factors, stream(f"{self.name}/{self.variant}"))

    @cached_property
    def power(self) -> float:
        """Mean square of the targets."""
        generator = stream(f"{self.name}/{self.variant}/{self.length}/power")
        return self.batch(MEASURED, generator)[1].square().mean().item()

    @property
    def baseline(self) -> float:
        """Loss of always predicting 0."""
        return 1.0

    @cached_property
    def memoryless(self) -> float:
        r""":math:`1 - E\|f_t(x_t)\|^2 / E\|h_t\|^2` with :math:`f_t(x) = E[h_t | x_t = x]`.

        It is estimated, at N = 8 and T = 25 within .003: :math:`h_{t-1}` is independent of
        :math:`x_t`, so f is a mean over the states after t - 1 steps. Two means over states of
        different sequences are multiplied, so that the estimate of :math:`E\|f\|^2` has no bias.
        """
        system, generator = self.system, stream(f"{self.name}/{self.variant}/{self.length}/mean")
        shape = (self.length, 4 * PAIRED, self.units)
        x = torch.randn(shape, generator=generator, dtype=torch.complex128)
        before = torch.zeros(4 * PAIRED, self.units, dtype=x.dtype)
        explained = 0.0
        for now, states in zip(x, system.states(x), strict=True):
            recalled = (before[2 * PAIRED :] @ system.weight.mT).unflatten(0, (2, PAIRED))
            z = recalled[:, :, None] + now[: 2 * PAIRED]  # (halves, states, inputs, N)
            first, second = modrelu(z, system.threshold).mean(1)
            explained += (first.conj() * second).real.mean().item()
            before = states
        # Half the power of a complex state is that of each of its parts.
        return 1 - explained / self.length / (2 * self.power)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs (T, size, 2N) and states (T, size, 2N), real and imaginary parts."""
        # torch draws complex normal numbers with E|x|^2 = 1.
        x = torch.randn(self.length, size, self.units, generator=generator, dtype=torch.complex128)
        return as_real(x).float(), as_real(self.system.states(x)).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error divided by the power."""
        return F.mse_loss(outputs, targets) / self.power

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1 minus the loss."""
        return 1 - self.loss(outputs, targets)

    def metric(self, loss: float, accuracy: float) -> float:
        """The loss."""
        return loss

    def identify(self, rnn: UnitaryRNN) -> nn.Module:
        """Set V = [I, iI] and the true thresholds, and freeze them; the states are the outputs.

        Raises:
            ValueError: The layer cannot be the system, whatever its W.
        """
        cell = rnn.cells[0]
        found = (len(rnn.cells), cell.hidden_size, cell.is_complex, cell.threshold is not None)
        extra = [p is not None for p in (cell.bias_parts, cell.h0_parts)]
        if found != (1, self.units, True, True) or any(extra) or cell.threshold is None:
            raise ValueError(
                f"{rnn} cannot be the system of {self.name} ({self.variant}); use one layer of "
                f"{self.units} complex modReLU units without a bias or a learned initial state, or "
                "leave only_recurrent_weight at False"
            )
        eye = torch.eye(self.units).to(cell.weight_ih_parts)
        nothing = torch.zeros_like(eye)
        with torch.no_grad():
            cell.weight_ih_parts[..., 0] = torch.cat([eye, nothing], dim=1)
            cell.weight_ih_parts[..., 1] = torch.cat([nothing, eye], dim=1)
            cell.threshold.copy_(self.system.threshold)
        cell.weight_ih_parts.requires_grad_(False)
        cell.threshold.requires_grad_(False)
        return nn.Identity()
