"""Checks of tasks and models of the user's own, in the spirit of ``unitary_zoo.testing``."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn

import unitary_zoo
from comparisons.models import Builder, State
from comparisons.records import ModelSettings
from comparisons.tasks import Batch, Task, stream
from comparisons.tasks._constant import constant_loss

TOLERANCE = 1e-4
"""Largest difference of two float32 numbers that should be equal, relative to the larger one."""
BASELINE_TOLERANCE = 0.1
"""Largest relative difference of a constant baseline from its measurement on 1,000 sequences."""
SIZE = 6
UNITS, FEATURES, STEPS = 8, 3, 7


class CheckError(AssertionError):
    """A task or a model failed some checks; the message lists each with what was found."""


def check_task(task: type[Task], length: int | None = None) -> None:
    """Check that a task is what trainer and report take it for.

    Args:
        task: The class.
        length: T; None is 10, or the shortest, or that of its data.

    Raises:
        CheckError: Some checks failed.
    """
    variant = task.check_variant("")
    fixed = task.fixed_lengths.get(variant, max(10, task.shortest))
    subject = _TaskSubject(task, length or fixed)
    _run(
        task.__name__,
        {
            "shapes": subject.shapes,
            "seeds": subject.seeds,
            "test_set": subject.test_set,
            "continued_batches": subject.continued_batches,
            "loss_is_a_mean": subject.loss_is_a_mean,
            "gradient": subject.gradient,
            "metric": subject.metric,
            "baselines": subject.baselines,
        },
    )


def check_builder(builder: Builder, name: str = "") -> None:
    """Check that what a builder makes can be called as nn.RNN is, and trained.

    Args:
        builder: Called with (input_size, settings).
        name: Name of the model in the message.

    Raises:
        CheckError: Some checks failed.
    """
    subject = _BuilderSubject(builder)
    _run(
        name or getattr(builder, "__name__", repr(builder)),
        {
            "shapes": subject.shapes,
            "state": subject.state,
            "independent_sequences": subject.independent_sequences,
            "gradient": subject.gradient,
            "copies": subject.copies,
            "seed": subject.seed,
        },
    )


def _run(name: str, checks: dict[str, Callable[[], Iterator[str]]]) -> None:
    """Run the checks, each of which yields what it finds wrong."""
    faults = []
    for check, find in checks.items():
        try:
            fault = next(find(), None)
        except Exception as error:  # what it raises is a finding
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            faults.append(f"  {check}: {' '.join(fault.split())}")
    if faults:
        lines = [f"{name} fails {len(faults)} of {len(checks)} checks:", *faults]
        raise CheckError("\n".join(lines))


def _far(a: float | Tensor, b: float | Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers or tensors differ by more than the tolerance; NaN differs from all."""
    a, b = torch.as_tensor(a).detach(), torch.as_tensor(b).detach()
    if a.shape != b.shape:
        return True
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-6) if a.numel() else 1.0
    return not bool(((a - b).abs() <= tolerance * scale).all())


class _TaskSubject:
    """A task at one length and what the checks use."""

    def __init__(self, cls: type[Task], length: int) -> None:
        self.cls, self.length = cls, length

    @property
    def task(self) -> Task:
        return self.cls(self.length)

    def batches(self, seed: str, count: int = 2, size: int = SIZE) -> list[Batch]:
        return list(islice(self.task.train_batches(size, stream(seed)), count))

    def outputs(self, batch: Batch) -> Tensor:
        """Outputs that a network might have."""
        steps = [batch.inputs.shape[0]] if self.cls.per_step else []
        shape = (*steps, batch.inputs.shape[1], self.task.output_size)
        return torch.randn(shape, generator=stream("outputs"))

    def shapes(self) -> Iterator[str]:
        batch, size = self.batches("shapes", 1)[0], self.task.input_size
        x, y = batch.inputs, batch.targets
        if self.cls.tokens:
            if x.ndim != 2 or x.is_floating_point() or not 0 <= int(x.min()) <= int(x.max()) < size:
                yield f"token numbers have to be integers (steps, size) below {size}"
        elif x.ndim != 3 or x.shape[2] != size or x.dtype != torch.float32:
            yield (
                f"inputs are {tuple(x.shape)} of {x.dtype}; "
                f"they have to be (steps, {SIZE}, {size}) of torch.float32"
            )
        if x.shape[1] != SIZE:
            yield f"a batch of {SIZE} sequences has {x.shape[1]}"
        axis = int(self.cls.per_step)
        if y.ndim <= axis or y.shape[axis] != SIZE or (axis and y.shape[0] != x.shape[0]):
            yield (
                f"targets are {tuple(y.shape)}; they have to begin with "
                f"{'(steps, size' if axis else '(size'}, ...)"
            )

    def seeds(self) -> Iterator[str]:
        first, second = self.batches("a")
        again = self.batches("a")
        if not (_equal(first, again[0]) and _equal(second, again[1])):
            yield "equal generators give other batches; draw all numbers from the generator"
        if _equal(first, second):
            yield "two batches in a row are equal"

    def test_set(self) -> Iterator[str]:
        count = SIZE + 2
        once, again = (list(self.task.test_batches(SIZE, count, stream("test"))) for _ in range(2))
        if len(once) != len(again) or not all(map(_equal, once, again)):
            yield "the test set is another one the second time; draw it from the generator alone"
        found = sum(batch.inputs.shape[1] for batch in once)
        if not any(batch.continues for batch in once) and not 0 < found <= count:
            yield f"a test set of {count} sequences has {found}"

    def continued_batches(self) -> Iterator[str]:
        sizes = [batch.inputs.shape[1] for batch in self.batches("continued", 4)]
        continued = [batch.continues for batch in self.batches("continued", 4)]
        if continued[0]:
            yield "the first batch continues another; no state is there yet"
        for i in range(1, 4):
            if continued[i] and sizes[i] != sizes[i - 1]:
                yield f"a batch of {sizes[i]} sequences continues one of {sizes[i - 1]}"

    def loss_is_a_mean(self) -> Iterator[str]:
        batch = self.batches("mean", 1)[0]
        outputs, axis, task = self.outputs(batch), int(self.cls.per_step), self.task
        for name, measure in (("loss", task.loss), ("accuracy", task.accuracy)):
            whole = measure(outputs, batch.targets)
            if whole.ndim != 0 or not math.isfinite(whole.item()):
                yield f"{name} of random outputs is {whole}; it has to be a finite scalar"
            parts = [
                measure(o, t).item() * t.numel() / batch.targets.numel()
                for o, t in zip(
                    outputs.split([2, SIZE - 2], axis),
                    batch.targets.split([2, SIZE - 2], axis),
                    strict=True,
                )
            ]
            if _far(whole.item(), sum(parts)):
                yield (
                    f"{name} of {SIZE} sequences is {whole.item():.6g} and the mean over its parts "
                    f"{sum(parts):.6g}; it has to be a mean over the targets"
                )

    def gradient(self) -> Iterator[str]:
        batch = self.batches("gradient", 1)[0]
        outputs = self.outputs(batch).requires_grad_()
        (grad,) = torch.autograd.grad(self.task.loss(outputs, batch.targets), outputs)
        if not grad.isfinite().all() or not grad.any():
            yield "the gradient of the loss in the outputs is zero or not finite"

    def metric(self) -> Iterator[str]:
        value = self.task.metric(0.5, 0.5)
        if not math.isfinite(value):
            yield f"metric(0.5, 0.5) is {value}; results with it cannot be stored"

    def baselines(self) -> Iterator[str]:
        task = self.task
        baseline, memoryless = float(task.baseline), task.memoryless
        if not math.isfinite(baseline) or baseline <= 0:
            yield f"the constant baseline is {baseline}; it has to be positive and finite"
        if memoryless is not None and not memoryless <= baseline * (1 + TOLERANCE):
            yield f"the memoryless baseline is {memoryless:.4g}, above the constant one"
        own = self.cls.baseline is not Task.baseline
        if own and not any(batch.continues for batch in self.batches("baseline", 2)):
            measured = constant_loss(task)
            if _far(baseline, measured, BASELINE_TOLERANCE):
                yield (
                    f"the constant baseline is {baseline:.4g}, but the best constant answer has a "
                    f"loss of {measured:.4g}"
                )


def _equal(a: Batch, b: Batch) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


class _BuilderSubject:
    """A builder and what the checks use."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.x = torch.randn(STEPS, SIZE, FEATURES, generator=stream("inputs"))

    def build(self, seed: int = 0) -> nn.Module:
        """A small layer without dropout."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.builder(FEATURES, ModelSettings(hidden_size=UNITS)).eval()

    def shapes(self) -> Iterator[str]:
        layer = self.build()
        output, last = layer(self.x, None)
        features = unitary_zoo.as_real(output)
        expected = (STEPS, SIZE, getattr(layer, "output_size", UNITS))
        if tuple(features.shape) != expected:
            yield (
                f"outputs have {tuple(features.shape)} real features, expected {expected}: "
                "(steps, size, hidden_size), or output_size where the layer has that attribute"
            )
        h = _parts(last)[0]
        if h.ndim != 3 or _far(h[-1], output[-1]):
            yield "the last state has to be (layers, size, n), and its last layer the last output"

    def state(self) -> Iterator[str]:
        layer = self.build()
        whole, last = layer(self.x, None)
        first, state = layer(self.x[:3], None)
        if _far(first, whole[:3]):
            yield "an output depends on later inputs"
        rest, end = layer(self.x[3:], state)
        if _far(rest, whole[3:]) or any(map(_far, _parts(end), _parts(last))):
            yield "a sequence in two parts, the state carried over, gives other outputs than whole"

    def independent_sequences(self) -> Iterator[str]:
        layer = self.build()
        if _far(layer(self.x[:, 1:3], None)[0], layer(self.x, None)[0][:, 1:3]):
            yield "the outputs of a sequence depend on the others of its batch"

    def gradient(self) -> Iterator[str]:
        layer = self.build()
        output = unitary_zoo.as_real(layer(self.x, None)[0])
        (output * torch.randn(output.shape, generator=stream("weights"))).sum().backward()
        learned = {name: p for name, p in layer.named_parameters() if p.requires_grad}
        without = [name for name, p in learned.items() if p.grad is None or not p.grad.any()]
        if not learned:
            yield "it has no parameters"
        if without:
            yield f"no gradient reaches {', '.join(without)}"
        if not all(p.grad is not None and p.grad.isfinite().all() for p in learned.values()):
            yield "a gradient is not finite"

    def copies(self) -> Iterator[str]:
        layer = self.build()
        output = layer(self.x, None)[0]
        if _far(copy.deepcopy(layer)(self.x, None)[0], output):
            yield "a deep copy gives other outputs"
        other = self.build(seed=1)
        other.load_state_dict(layer.state_dict())
        if _far(other(self.x, None)[0], output):
            yield "with the same state_dict, another one gives other outputs"

    def seed(self) -> Iterator[str]:
        first, second = (list(self.build(seed=3).state_dict().values()) for _ in range(2))
        if not all(map(torch.equal, first, second)):
            yield "equal seeds give other starts; draw all numbers from torch's generator"


def _parts(state: State) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)
