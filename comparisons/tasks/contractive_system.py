"""System identification of Emami et al. (2019): a random contractive ReLU RNN behind noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from comparisons.tasks import TASKS, Batch, Task, split_off, stream
from unitary_zoo.scan import recurrent_scan

STATES, INPUTS, OUTPUTS = 4, 2, 2
LEAK = 0.01
ACTIVE = 0.6
TRAIN, TEST = 700, 300


@dataclass(frozen=True)
class System:
    r""":math:`h_t = \max(W h_{t-1} + F x_t + b, 0)`, :math:`y_t = C h_t + d`, in float64.

    Attributes:
        weight: W (4, 4).
        weight_ih: F (4, 2).
        bias: b (4).
        readout: C (2, 4).
        readout_bias: d (2).
    """

    weight: Tensor
    weight_ih: Tensor
    bias: Tensor
    readout: Tensor
    readout_bias: Tensor

    @classmethod
    def draw(cls, generator: torch.Generator, normalized: bool = True) -> System:
        r""":math:`W = I - \epsilon A^T A / \|A\|_2^2` or, not normalised, without the divisor.

        A, F, b, C and d have independent standard normal entries, and :math:`\epsilon = 0.01`. So
        :math:`\|W\|_2 = 1 - \epsilon \lambda_{\min}(A^T A) / \|A\|_2^2 < 1`.
        """
        a, weight_ih, bias, readout, readout_bias = (
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in (
                (STATES, STATES), (STATES, INPUTS), (STATES,), (OUTPUTS, STATES), (OUTPUTS,)
            )
        )  # fmt: skip
        scale = torch.linalg.matrix_norm(a, 2).square() if normalized else 1.0
        weight = torch.eye(STATES, dtype=a.dtype) - LEAK * a.mT @ a / scale
        return cls(weight, weight_ih, bias, readout, readout_bias)

    def calibrated(self, x: Tensor) -> System:
        r"""The system after 100 steps :math:`b \leftarrow b - 0.1 (p - 0.6)`.

        p is the share of all times and sequences of ``x`` (T, B, 2) at which a unit exceeds 1e-3.
        """
        system = self
        for _ in range(100):
            active = (system.states(x) > 1e-3).to(x.dtype).mean((0, 1))
            system = replace(system, bias=system.bias - 0.1 * (active - ACTIVE))
        return system

    def states(self, x: Tensor) -> Tensor:
        """The states (T, B, 4) for the inputs (T, B, 2), from zero."""
        h = x.new_zeros(x.shape[1], STATES)
        return recurrent_scan(x, self.weight, h, "relu", weight_ih=self.weight_ih, bias=self.bias)

    def outputs(self, x: Tensor) -> Tensor:
        """The outputs (T, B, 2), without noise."""
        return self.states(x) @ self.readout.mT + self.readout_bias


@dataclass(frozen=True)
class Data:
    """1,000 sequences, those of the training set first.

    Each sequence is contiguous in memory, which makes it much faster to gather those of a batch.

    Attributes:
        inputs: (1000, T, 2).
        targets: (1000, T, 2), with noise.
        power: Mean square of the targets of the test set.
    """

    inputs: Tensor
    targets: Tensor
    power: float


@TASKS.register("contractive_system")
class ContractiveSystem(Task):
    r"""Predict the noisy outputs of a random contractive RNN: :math:`1 - R^2`, at every step.

    The system has 4 ReLU states, 2 inputs and 2 linear outputs (:class:`System`). Its biases are
    calibrated, on 100 sequences, so that every unit is active about 60% of the time. Inputs are
    standard normal, and all outputs carry normal noise of variance
    :math:`\sigma^2 = \overline{y^2}\, 10^{-\mathrm{SNR}/10}`. Each seed
    draws a system and its data. 700 sequences are for training, shuffled in each epoch, in whole
    batches only; 300 are for testing.

    The loss is the mean squared error divided by the mean square of the noisy test outputs, a
    constant; a step of Adam does not depend on it, except for Adam's epsilon.
    Since that power is no variance, the best constant prediction has :math:`R^2 > 0`.

    The variants named "code" take :math:`W = I - 0.01 A^T A`, as the authors' program does where
    their poster divides by :math:`\|A\|_2^2`: such a system forgets about ten times faster.

    Source: Emami, Sahraee-Ardakan, Rangan and Fletcher, Input-output equivalence of unitary and
    contractive RNNs, 2019, and the authors' program.
    """

    name = "contractive_system"
    title = "Contractive system identification"
    loss_name = "mean squared error / power"
    accuracy_name = "R²"
    metric_name = "R²"
    baseline_formula = "variance of the outputs / their power: the best constant prediction"
    memoryless_formula = "that of the mean output, given the step and its input"
    shortest = 1
    variants: ClassVar[dict[str, str]] = {
        "20dB": "20 dB",
        "15dB": "15 dB",
        "10dB": "10 dB",
        "20dB-code": "20 dB, W not normalised",
        "15dB-code": "15 dB, W not normalised",
        "10dB-code": "10 dB, W not normalised",
    }
    input_size = INPUTS
    output_size = OUTPUTS
    per_step = True
    halve_unitary_units = True
    data = "700 sequences of one random system for each seed, 300 for testing"

    @property
    def noise_to_signal(self) -> float:
        """Variance of the noise in units of the mean square of the outputs without it."""
        return 10 ** (-float(self.variant.split("dB")[0]) / 10)

    @property
    def system(self) -> System:
        """The system behind the data; the same for every SNR."""
        return self._drawn[0]

    @property
    def realization(self) -> Data:
        """All sequences of this seed."""
        return self._drawn[1]

    @cached_property
    def _drawn(self) -> tuple[System, Data]:
        generator = stream(f"{self.name}/{self.seed}")

        def normal(count: int, features: int) -> Tensor:
            shape = (self.length, count, features)
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        system = System.draw(generator, normalized=not self.variant.endswith("-code"))
        system = system.calibrated(normal(100, INPUTS))
        x = normal(TRAIN + TEST, INPUTS)
        y = system.outputs(x)
        y = y + (y.square().mean() * self.noise_to_signal).sqrt() * normal(TRAIN + TEST, OUTPUTS)
        power = y[:, TRAIN:].square().mean().item()
        inputs, targets = (z.float().transpose(0, 1).contiguous() for z in (x, y))
        return system, Data(inputs, targets, power)

    @property
    def baseline(self) -> float:
        """Loss of predicting each output's mean over the test set."""
        y = self.realization.targets[TRAIN:]
        return (y.var((0, 1), correction=0).mean() / self.realization.power).item()

    @cached_property
    def memoryless(self) -> float:
        r"""Loss of :math:`E[y_t | x_t]` on the test set.

        :math:`h_{t-1}` is independent of :math:`x_t`, so the mean is one over the states that the
        system has after t - 1 steps of the training sequences. With 700 of them the loss is larger
        than the least one by a share of 1/700 of what the states add to it.
        """
        data, system = self.realization, self.system
        x = data.inputs.double().transpose(0, 1)
        before = torch.zeros(TRAIN, STATES, dtype=x.dtype)
        error = 0.0
        for now, states, y in zip(
            x, system.states(x[:, :TRAIN]), data.targets.transpose(0, 1), strict=True
        ):
            drive = now[TRAIN:] @ system.weight_ih.mT + system.bias
            h = (before @ system.weight.mT + drive[:, None]).relu().mean(1)
            expected = h @ system.readout.mT + system.readout_bias
            error += (y[TRAIN:] - expected).square().mean().item()
            before = states
        return error / self.length / data.power

    @property
    def optimum(self) -> float:
        """The share of the noise in the power, 1 / (1 + 10^(SNR / 10)), in expectation."""
        return self.noise_to_signal / (1 + self.noise_to_signal)

    def train_batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches without end, shuffled in every epoch."""
        kept = self._kept
        size = min(size, len(kept))
        while True:
            order = kept[torch.randperm(len(kept), generator=generator)]
            yield from map(self._batch, order[: len(kept) // size * size].split(size))

    def test_batches(self, size: int, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """The same test sequences every time, in their order."""
        last = TRAIN + min(count, TEST)
        yield from map(self._batch, torch.arange(TRAIN, last).split(size))

    @cached_property
    def _kept(self) -> Tensor:
        """The numbers of the sequences that train."""
        return torch.arange(TRAIN)

    def hold_out(self, count: int, generator: torch.Generator) -> None:
        """Draw ``count`` of the 700 sequences, which then do not train.

        Raises:
            ValueError: None would be left.
        """
        self._held_out, self._kept = split_off(self.name, TRAIN, count, generator)

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """These sequences."""
        return map(self._batch, self._held_out.split(size))

    def _batch(self, chosen: Tensor) -> Batch:
        x, y = self.realization.inputs[chosen], self.realization.targets[chosen]
        return Batch(x.transpose(0, 1).contiguous(), y.transpose(0, 1).contiguous())

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error divided by the power."""
        return F.mse_loss(outputs, targets) / self.realization.power

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1 minus the loss."""
        return 1 - self.loss(outputs, targets)

    def metric(self, loss: float, accuracy: float) -> float:
        """R²."""
        return 1 - loss
