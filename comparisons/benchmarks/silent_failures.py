"""What must never happen silently to an orthogonal weight: who passes, this library and its peers.

Every row is a small function whose docstring says what must not happen; the test suite runs the
same rows on every scheme. A library that raises an error where it cannot do something is told
apart from one that goes on with wrong numbers.

    python comparisons/benchmarks/silent_failures.py [--schemes cayley expm] [--json FILE]

Exit code 1 if a scheme of this library fails a row that applies to it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.metadata
import inspect
import io
import itertools
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from comparisons import records
from comparisons.benchmarks.subjects import (
    Ours,
    Subject,
    defect,
    double,
    every_scheme,
    is_thin,
    peers,
)
from comparisons.benchmarks.timing import show, write_json
from comparisons.cli.console import console
from comparisons.results.summary import Row as RunRow
from comparisons.tasks import TASKS
from comparisons.training import trainer as train
from unitary_zoo import UnitaryRNNCell
from unitary_zoo.nonlinearities import modrelu

SQUARE = ("square",)
SHAPES = ("square", "tall", "wide")
REAL = ("real",)
FIELDS = ("real", "complex")

Optimizers = Callable[[list[nn.Parameter]], Optimizer]

# Of what is read back from a copy, a file or a cache: the same numbers, computed once more.
SAME = 1e-6
# Of what went through coordinates: the inverse maps have conditions of order 10 to 100.
ASSIGNED = 1e-4


# ------------------------------------------------------------------------------------- the rows


@dataclass(frozen=True)
class Row:
    """Something that must not happen.

    Attributes:
        name: Of its function.
        meaning: What must not happen, in a sentence.
        function: Takes a subject and a shape; raises if it happens.
        shapes: The shapes of weights it makes a difference for.
        fields: The fields it is asked of.
        unless: Subject -> why the row does not apply to it; empty where it does.
        assigns: Whether a scheme may refuse, where its info says that it lacks some matrices.
        slow: Whether it takes a second or more.
    """

    name: str
    meaning: str
    function: Callable[[Subject, str], None]
    shapes: tuple[str, ...] = SHAPES
    fields: tuple[str, ...] = FIELDS
    unless: Callable[[Subject], str] = lambda subject: ""
    assigns: bool = False
    slow: bool = False

    def inapplicable(self, subject: Subject) -> str:
        """Why the row does not apply to a subject; empty where it does."""
        if subject.field not in self.fields:
            return f"it is not about {subject.field} weights"
        return self.unless(subject)


ROWS: dict[str, Row] = {}

_MATRIX_EXP = "torch.matrix_exp of a single small matrix is off by 2.5e-5 in single precision"
EXPECTED: dict[tuple[str, str], str] = {
    ("torch_orthogonal", "one_small_matrix"): _MATRIX_EXP,
    ("geotorch_so", "one_small_matrix"): _MATRIX_EXP,
}
"""(scheme, row) -> why this scheme fails this row by its nature; tests are strict about it."""


def row(**options: Any) -> Callable[[Callable[[Subject, str], None]], None]:
    """Decorator that enters a function into the rows."""

    def enter(function: Callable[[Subject, str], None]) -> None:
        name = function.__name__.strip("_")
        meaning = " ".join((inspect.getdoc(function) or "").split())
        ROWS[name] = Row(name, meaning, function, **options)

    return enter


def peers_have_none(what: str) -> Callable[[Subject], str]:
    """A row about something that only this library has."""
    return lambda subject: "" if isinstance(subject, Ours) else f"it has no {what}"


# ----------------------------------------------------------------------------- what they share


class Costly(AssertionError):
    """The numbers are right, but take memory that was not to be taken."""


def demand(condition: bool, words: str, error: type[AssertionError] = AssertionError) -> None:
    """Raise AssertionError, or ``error``, with these words unless the condition holds."""
    if not condition:
        raise error(words)


def distance(a: Tensor, b: Tensor) -> float:
    """Largest difference of two entries; NaN if there is one."""
    return float((double(a) - double(b)).abs().max())


def demand_same(a: Tensor, b: Tensor, what: str, limit: float = SAME) -> None:
    """Two tensors must agree."""
    off = distance(a, b)
    demand(off <= limit, f"{what}: off by {off:.2g}")


def demand_orthogonal(subject: Subject, w: Tensor, when: str) -> None:
    """A weight must be on the group to the precision of its numbers."""
    demand(bool(torch.isfinite(w).all()), f"{when}: the weight is not finite")
    # Not the defect alone, which a scheme that is not unitary by design need not keep small.
    demand(float(w.detach().abs().max()) > 0.01, f"{when}: the weight is zero")
    if not subject.exact:
        return
    n, complex_ = max(w.shape), w.is_complex()
    limit = subject.tolerance(n, torch.complex64 if complex_ else torch.float32)
    if w.dtype in (torch.bfloat16, torch.float16):
        # Rounding the entries to half an eps each moves W^H W by sqrt(n) eps.
        limit += 2 * math.sqrt(n) * torch.finfo(w.dtype).eps
    off = defect(w)
    demand(off <= limit, f"{when}: defect {off:.2g} (limit {limit:.2g})")


def demand_finite_gradients(module: nn.Module, when: str) -> None:
    """At least one parameter has a gradient, and none has an entry that is not finite."""
    found = [p.grad for p in module.parameters() if p.grad is not None]
    demand(bool(found), f"{when}: no gradient")
    finite = all(bool(torch.isfinite(grad).all()) for grad in found)
    demand(finite, f"{when}: a gradient is not finite")


def plain(subject: Subject, shape: str, *, bias: bool = False) -> nn.Linear:
    """A layer without scheme."""
    rows, columns = subject.shape(shape)
    return nn.Linear(columns, rows, bias=bias, dtype=subject.dtype)


def build(subject: Subject, shape: str, start: Tensor | None = None) -> Any:
    """A layer with an orthogonal weight, which starts as ``start`` where one is given."""
    layer = plain(subject, shape)
    return subject.attach(layer) if start is None else started(subject, layer, start)


def started(subject: Subject, layer: nn.Linear, start: Tensor) -> Any:
    """A layer whose weight was ``start`` before it became orthogonal, and is, if it can be."""
    layer.weight.data = start.to(layer.weight.dtype).contiguous()
    wanted = layer.weight.detach().clone()
    module: Any = subject.attach(layer)
    # Some start elsewhere; and a scheme of ours without this matrix refuses it.
    if distance(module.weight, wanted) > ASSIGNED:
        with contextlib.suppress(ValueError):
            module.weight = wanted
    return module


def batch(module: Any) -> Tensor:
    """Inputs of a layer, in the precision of its weight."""
    w = module.weight
    dtype = torch.complex64 if w.is_complex() else torch.float32
    return torch.randn(5, w.shape[1], dtype=dtype).to(w.dtype)


def loss_of(module: Any) -> Callable[[], Tensor]:
    """The mean square distance from random targets."""
    x = batch(module)
    y = torch.randn(5, module.weight.shape[0])
    return lambda: (module(x) - y.to(x.dtype)).abs().float().square().mean()


def learn(
    subject: Subject,
    module: nn.Module,
    optimizers: Optimizers,
    steps: int = 1,
    loss: Callable[[], Tensor] | None = None,
    hook: bool = True,
) -> None:
    """Train for some steps, as a user of the subject is told to."""
    optimizer = optimizers(list(module.parameters()))
    if hook:
        subject.hook(module, optimizer)
    loss = loss or loss_of(module)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def sgd(parameters: list[nn.Parameter]) -> Optimizer:
    """Plain gradient descent."""
    return SGD(parameters, lr=0.1)


class MuonLike(Optimizer):
    """Muon's update, orthogonalised if it is a matrix and normalised if not, with weight decay.

    ``torch.optim.Muon`` takes matrices only, and came after the oldest torch that is supported.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    # torch's own overloads promise a loss where there is a closure, which nothing here passes.
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.dim() == 2:
                    u, _, vh = torch.linalg.svd(p.grad, full_matrices=False)
                    update = u @ vh
                else:
                    update = p.grad / (p.grad.norm() + 1e-12)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)


# ----------------------------------------------------------------------------------- 1. training


@row()
def adamw_step(subject: Subject, shape: str) -> None:
    """One step of AdamW with its default weight decay zeroes the weight or leaves the group."""
    module = build(subject, shape)
    learn(subject, module, lambda p: AdamW(p))
    demand_orthogonal(subject, module.weight, "after one step")


def _fifty_steps(subject: Subject, shape: str, optimizers: Optimizers) -> None:
    module = build(subject, shape)
    before = double(module.weight)
    learn(subject, module, optimizers, 50)
    demand_orthogonal(subject, module.weight, "after 50 steps")
    stays = subject.exact and not (
        isinstance(subject, Ours) and subject.cls.info.determinant == "+-1"
    )
    if shape == "square" and subject.field == "real" and stays:
        signs = [float(torch.linalg.det(w)) for w in (before, double(module.weight))]
        demand(
            signs[0] * signs[1] > 0, f"the determinant went from {signs[0]:.2g} to {signs[1]:.2g}"
        )


@row()
def sgd_weight_decay(subject: Subject, shape: str) -> None:
    """50 steps of SGD with momentum and weight decay leave the group or change the determinant."""
    _fifty_steps(subject, shape, lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1))


@row()
def muon_weight_decay(subject: Subject, shape: str) -> None:
    """50 steps like Muon's, with weight decay, leave the group or change the determinant."""
    _fifty_steps(subject, shape, lambda p: MuonLike(p, lr=0.02, weight_decay=0.1))


@row(unless=peers_have_none("step to forget"))
def forgotten_hook(subject: Subject, shape: str) -> None:
    """A training loop that forgets what has to follow a step reads a weight off the group."""
    module = build(subject, shape)
    learn(subject, module, lambda p: AdamW(p, lr=0.05), hook=False)
    try:
        weight = module.weight
    except ValueError:
        return
    demand_orthogonal(subject, weight, "after a step")


@row()
def frozen(subject: Subject, shape: str) -> None:
    """A weight that was frozen before moves with the bias that is trained."""
    layer = plain(subject, shape, bias=True)
    layer.weight.requires_grad_(False)
    module: Any = subject.attach(layer)
    before = module.weight.detach().clone()
    learn(subject, module, lambda p: AdamW(p, lr=0.1, weight_decay=0.1), 3)
    demand(not module.weight.requires_grad, "the weight requires a gradient")
    demand_same(module.weight, before, "the weight", 0.0)


@row()
def moving_average(subject: Subject, shape: str) -> None:
    """A moving average of a model (AveragedModel) reads as a weight off the group."""
    module = build(subject, shape)
    average: Any = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(3):
        learn(subject, module, sgd, 3)
        average.update_parameters(module)
    subject.settle(average)
    demand_orthogonal(subject, average.module.weight, "the average")


# -------------------------------------------------------------------------------- 2. precision


def _converted(subject: Subject, shape: str, dtype: torch.dtype) -> None:
    module = build(subject, shape).to(dtype)
    demand(module.weight.dtype == dtype, f"the weight is {module.weight.dtype}")
    demand_orthogonal(subject, module.weight, f"in {dtype}")
    learn(subject, module, sgd, 5)
    demand_orthogonal(subject, module.weight, f"after 5 steps in {dtype}")


@row(fields=REAL)
def bfloat16(subject: Subject, shape: str) -> None:
    """A layer that is converted to bfloat16 has a weight off the group by more than rounding."""
    _converted(subject, shape, torch.bfloat16)


@row(fields=REAL)
def float16(subject: Subject, shape: str) -> None:
    """A layer that is converted to half precision has a weight off the group."""
    _converted(subject, shape, torch.float16)


@row(fields=REAL)
def bfloat16_layer(subject: Subject, shape: str) -> None:
    """A layer built in bfloat16 has a weight off the group by more than rounding."""
    module: Any = subject.attach(plain(subject, shape).to(torch.bfloat16))
    demand_orthogonal(subject, module.weight, "at the start")
    learn(subject, module, sgd, 5)
    demand_orthogonal(subject, module.weight, "after 5 steps")


@row(fields=REAL)
def bfloat16_and_back(subject: Subject, shape: str) -> None:
    """A layer that was in bfloat16 and is in single precision again is off by bfloat16's eps."""
    module = build(subject, shape)
    learn(subject, module, sgd, 3)
    demand_orthogonal(
        subject, module.to(torch.bfloat16).to(torch.float32).weight, "again in float32"
    )


def _keeps_no_masters(subject: Subject) -> str:
    return "" if isinstance(subject, Ours) else "as in any layer of torch, steps are rounded"


def _inner(layer: Any, gradient: Tensor) -> Tensor:
    return (layer.weight.float() * gradient).sum()


@row(fields=REAL, unless=_keeps_no_masters)
def small_steps_in_bfloat16(subject: Subject, shape: str) -> None:
    """Steps of a bfloat16 layer that are smaller than its rounding are lost."""
    module = build(subject, shape)
    twin = copy.deepcopy(module)
    before, gradient = module.weight.detach().clone(), torch.randn(module.weight.shape)
    for layer in (module.to(torch.bfloat16), twin):
        learn(
            subject,
            layer,
            lambda p: SGD(p, lr=2e-4),
            50,
            loss=partial(_inner, layer, gradient),
        )
    moved = distance(twin.weight, before)
    off = distance(module.float().weight, twin.weight)
    # The gradient, too, passes through bfloat16, whose eps is 1/128.
    demand(off <= 0.25 * moved, f"moved by {moved:.2g} in float32; in bfloat16 {off:.2g} off that")


@row(fields=REAL)
def autocast(subject: Subject, shape: str) -> None:
    """Under autocast to bfloat16 the weight is computed, or trained, in bfloat16."""
    module = build(subject, shape)
    learn(subject, module, sgd, 3)
    loss = loss_of(module)

    def cast_loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            demand_orthogonal(subject, module.weight.float(), "under autocast")
            return loss()

    learn(subject, module, sgd, 3, loss=cast_loss)
    demand_orthogonal(subject, module.weight, "after training under autocast")


# -------------------------------------------------------------------------------- 3. the cache


def _another(subject: Subject, module: nn.Module) -> Tensor:
    """A matrix that the module can take: the weight of its copy after some training.

    That of a layer built anew may be out of reach, where a part of the weight is fixed.
    """
    twin: Any = copy.deepcopy(module)
    learn(subject, twin, sgd, 5)
    return _on_group(subject, twin.weight)


def _on_group(subject: Subject, w: Tensor) -> Tensor:
    """The weight itself; of a scheme that is not unitary, the orthogonal matrix nearest to it.

    What is assigned to such a scheme may be projected first, as is told.
    """
    if subject.exact:
        return w.detach().clone()
    u, _, vh = torch.linalg.svd(double(w), full_matrices=False)
    return (u @ vh).to(w.dtype)


def _stale(subject: Subject, shape: str, optimizers: Optimizers) -> None:
    module = build(subject, shape)
    with parametrize.cached():
        before = module.weight.detach().clone()
        learn(subject, module, optimizers)
        after = module.weight.detach().clone()
    demand(distance(before, module.weight) > 1e-4, "the step moved nothing")
    demand_same(after, module.weight, "read after the step inside cached()")


@row()
def cached_step(subject: Subject, shape: str) -> None:
    """Inside cached(), the weight read after an optimizer step is that of before."""
    _stale(subject, shape, sgd)


@row()
def cached_fused_step(subject: Subject, shape: str) -> None:
    """Inside cached(), the weight read after a step of a fused optimizer is that of before."""
    _stale(subject, shape, lambda p: AdamW(p, lr=0.05, fused=True))


@row()
def cached_no_grad(subject: Subject, shape: str) -> None:
    """Inside cached(), a first read under no_grad takes the gradient from the training after."""
    module: Any = subject.attach(plain(subject, shape, bias=True))
    with parametrize.cached():
        with torch.no_grad():
            module(batch(module))
        loss_of(module)().backward()  # possible in any case, because of the bias
    demand_finite_gradients(module.parametrizations, "after a read under no_grad")


@row()
def cached_two_backwards(subject: Subject, shape: str) -> None:
    """Inside cached(), a second backward pass fails or does not add its gradient."""
    module = build(subject, shape)
    loss = loss_of(module)
    loss().backward()
    once = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    with parametrize.cached():
        for _ in range(2):
            loss().backward()
    for p, grad in zip(module.parameters(), once, strict=True):
        if grad is not None:
            demand_same(p.grad, 2 * grad, "the gradient of two passes", 1e-5)


@row(assigns=True)
def cached_assignment(subject: Subject, shape: str) -> None:
    """Inside cached(), a weight that was assigned is not the one that is read."""
    module = build(subject, shape)
    wanted = _another(subject, module)
    with parametrize.cached():
        demand(distance(module.weight, wanted) > 100 * ASSIGNED, "it is the same matrix")
        module.weight = wanted
        demand_same(module.weight, wanted, "read after the assignment inside cached()", ASSIGNED)


# ----------------------------------------------------------------------------- 4. special points


def _trains_from(subject: Subject, shape: str, start: Tensor, name: str) -> None:
    rows, columns = subject.shape(shape)
    module = build(subject, shape, start[:rows, :columns])
    loss_of(module)().backward()
    demand_finite_gradients(module, name)
    learn(subject, module, lambda p: SGD(p, lr=0.01), 5)
    demand_orthogonal(subject, module.weight, f"after 5 steps from {name}")


@row()
def gradient_at_orthogonal(subject: Subject, shape: str) -> None:
    """The gradient at an exactly orthogonal matrix, a permutation, is not finite."""
    n = max(subject.shape(shape))
    _trains_from(subject, shape, torch.eye(n)[[1, 2, 0, *range(3, n)][:n]], "a permutation")


@row()
def gradient_at_identity(subject: Subject, shape: str) -> None:
    """The gradient at the identity is not finite."""
    _trains_from(subject, shape, torch.eye(max(subject.shape(shape))), "the identity")


@row()
def gradient_at_minus_one(subject: Subject, shape: str) -> None:
    """The gradient at a matrix with eigenvalues -1, such as -I, is not finite."""
    n = max(subject.shape(shape))
    some = torch.ones(n)
    some[:2] = -1
    _trains_from(subject, shape, torch.diag(some), "two eigenvalues -1")
    if n % 2 == 0:  # else its determinant is -1, and it is not of SO(n)
        _trains_from(subject, shape, -torch.eye(n), "-I")


@row(shapes=SQUARE, unless=peers_have_none("modReLU"))
def modrelu_at_zero(subject: Subject, shape: str) -> None:
    """The gradient of modReLU at z = 0 is not finite, alone or in a recurrent cell."""
    assert isinstance(subject, Ours)
    z = torch.zeros(4, dtype=subject.dtype, requires_grad=True)
    threshold = torch.tensor([-0.1, 0.0, 0.1, 0.2], requires_grad=True)
    out = modrelu(z, threshold)
    (out.real.sum() + out.abs().square().sum()).backward()
    for leaf in (z, threshold):
        demand(leaf.grad is not None and bool(torch.isfinite(leaf.grad).all()), "modReLU alone")
    n = subject.shape("square")[0]
    cell = UnitaryRNNCell(2, n, scheme=subject.scheme, nonlinearity="modrelu", **_field(subject))
    h = cell(torch.zeros(3, 2))
    h = cell(torch.zeros(3, 2), h)
    (h.real.sum() + h.abs().square().sum()).backward()
    demand_finite_gradients(cell, "a cell in the state zero")


def _field(subject: Ours) -> dict[str, Any]:
    """The option ``field`` for a scheme that has it."""
    return {"field": subject.field} if len(subject.cls.info.fields) > 1 else {}


def _not_of_two(subject: Subject) -> str:
    return "" if subject.accepts(2) else "it has no 2 x 2 matrix"


@row(shapes=SQUARE, unless=_not_of_two)
def one_small_matrix(subject: Subject, shape: str) -> None:
    """A single 2 x 2 rotation by 0.5, trained in single precision, is off by more than 1e-6."""
    angle = torch.tensor(0.5)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)

    def identity(dtype: torch.dtype) -> Any:
        return started(subject, nn.Linear(2, 2, bias=False, dtype=dtype), torch.eye(2))

    module = identity(subject.dtype)

    def distance_of_squares() -> Tensor:
        return (module.weight - rotation).abs().square().sum()

    learn(subject, module, sgd, 60, loss=distance_of_squares)
    # The same parameters, computed in double precision.
    exact = identity(torch.complex128 if subject.field == "complex" else torch.float64)
    exact.load_state_dict(module.state_dict())
    subject.settle(exact)
    demand_same(module.weight, exact.weight, "against double precision", 1e-6)


# ----------------------------------------------------------------------- 5. copies and files


def _works_like(subject: Subject, replica: Any, module: Any, what: str) -> None:
    """A replica must have the same weight and be trainable."""
    demand_same(replica.weight, module.weight, what)
    before = module.weight.detach().clone()
    learn(subject, replica, sgd, 3)
    demand_orthogonal(subject, replica.weight, f"{what}, trained")
    demand(distance(replica.weight, before) > 1e-4, f"{what} does not learn")
    demand_same(module.weight, before, f"{what} was trained, and the original moved", 0.0)


@row()
def pickled(subject: Subject, shape: str) -> None:
    """A module cannot be pickled, as processes and schedulers do, or comes back different."""
    module = build(subject, shape)
    _works_like(subject, pickle.loads(pickle.dumps(module)), module, "the pickled module")


@row()
def saved(subject: Subject, shape: str) -> None:
    """torch.save of a module fails or loads as another one."""
    module, file = build(subject, shape), io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    _works_like(subject, loaded, module, "the saved module")


@row()
def copied(subject: Subject, shape: str) -> None:
    """A deep copy is not equal, or training it changes the original."""
    module = build(subject, shape)
    _works_like(subject, copy.deepcopy(module), module, "the copy")


@row()
def copy_made_plain(subject: Subject, shape: str) -> None:
    """remove_parametrizations on a deep copy breaks the original."""
    module = build(subject, shape)
    before = module.weight.detach().clone()
    parametrize.remove_parametrizations(copy.deepcopy(module), "weight")
    demand_same(module.weight, before, "the original")
    learn(subject, module, sgd)
    demand_orthogonal(subject, module.weight, "the original, trained")


@row()
def state_dict(subject: Subject, shape: str) -> None:
    """A state_dict that is saved and loaded gives another weight."""
    module, other, file = build(subject, shape), build(subject, shape), io.BytesIO()
    learn(subject, module, sgd, 3)
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    _works_like(subject, other, module, "the module loaded")


@row(assigns=True)
def plain_checkpoint(subject: Subject, shape: str) -> None:
    """The checkpoint of a layer without scheme, its weight orthogonal, is not what one gets."""
    module, layer = build(subject, shape), plain(subject, shape)
    layer.weight.data = _another(subject, module)
    module.load_state_dict(layer.state_dict())
    demand_same(module.weight, layer.weight, "the weight loaded", ASSIGNED)


@row()
def plain_export(subject: Subject, shape: str) -> None:
    """The plain weights that a layer exports compute something else."""
    module, layer = build(subject, shape), plain(subject, shape)
    learn(subject, module, sgd, 3)
    x = batch(module)
    wanted = module(x)
    layer.load_state_dict(subject.export(module))
    demand_same(layer(x), wanted, "the output", 1e-5)


@row()
def made_plain(subject: Subject, shape: str) -> None:
    """remove_parametrizations leaves another weight, or no ordinary layer."""
    module = build(subject, shape)
    before = module.weight.detach().clone()
    parametrize.remove_parametrizations(module, "weight")
    demand(type(module) is nn.Linear, f"the layer is a {type(module).__name__}")
    demand(isinstance(module.weight, nn.Parameter), "the weight is no parameter")
    demand_same(module.weight, before, "the weight", 0.0)


# -------------------------------------------------------------- 6. assignment and determinant


@row(assigns=True)
def assigned(subject: Subject, shape: str) -> None:
    """An orthogonal matrix that is assigned is neither kept nor refused."""
    module = build(subject, shape)
    wanted = _another(subject, module)
    module.weight = wanted
    demand_same(module.weight, wanted, "the weight assigned", ASSIGNED)


@row()
def assigned_off_the_group(subject: Subject, shape: str) -> None:
    """A matrix that is not orthogonal is assigned, neither refused nor made orthogonal."""
    module = build(subject, shape)
    with contextlib.suppress(ValueError):
        module.weight = module.weight.detach() + 0.3 * torch.randn(module.weight.shape)
    demand_orthogonal(subject, module.weight, "after the assignment")


@row(shapes=SQUARE, fields=REAL)
def determinant_assigned(subject: Subject, shape: str) -> None:
    """A matrix of the other determinant is assigned, neither kept nor refused."""
    module = build(subject, shape)
    before = module.weight.detach().clone()
    wanted = _on_group(subject, before)
    wanted[0] *= -1
    try:
        module.weight = wanted
    except ValueError:
        demand_same(module.weight, before, "refused, and yet the weight")
        return
    demand_same(module.weight, wanted, "the weight assigned", ASSIGNED)


@row(shapes=SQUARE, unless=peers_have_none("option for it"))
def determinant_chosen(subject: Subject, shape: str) -> None:
    """The determinant that was asked for is not the one of the weight, whatever its start."""
    assert isinstance(subject, Ours)
    claims = subject.cls.info.claims[subject.field]
    for special, mirrored in itertools.product((True, False), repeat=2):
        layer = plain(subject, shape)
        if mirrored:
            layer.weight.data[0] *= -1
        served = claims.special and (special or subject.field == "real")
        served = served or (special and claims.determinant == "+1")
        try:
            module: Any = subject.attach(layer, special=special)
        except ValueError:
            demand(not served, f"special={special} is refused")
            continue
        demand(served, f"special={special} is accepted, though info does not claim it")
        learn(subject, module, sgd, 5)
        found = complex(torch.linalg.det(double(module.weight)))
        demand(abs(found - (1 if special else -1)) < 1e-4, f"special={special}: {found:.3g}")


# -------------------------------------------------------------------------------- 7. recurrence


def _recurrent(subject: Subject, kind: type[nn.RNNBase], blocks: int) -> tuple[Any, Any]:
    """A layer with an orthogonal recurrent weight, and a plain one of that size."""
    n = subject.shape("square")[0]
    sizes: dict[str, Any] = {"input_size": 3, "hidden_size": n, "batch_first": True}
    return subject.attach(kind(**sizes), "weight_hh_l0", blocks=blocks), kind(**sizes)


def _step_of(subject: Subject, module: Any) -> None:
    x = torch.randn(2, 7, 3)
    goal = torch.randn(2, 7, module.hidden_size)
    learn(
        subject, module, lambda p: SGD(p, lr=0.5), 3,
        loss=lambda: (module(x)[0] - goal).square().mean(),
    )  # fmt: skip


@row(shapes=SQUARE, fields=REAL)
def gates_of_lstm(subject: Subject, shape: str) -> None:
    """A gate of an LSTM with orthogonal recurrent weights is not orthogonal by itself."""
    module, _ = _recurrent(subject, nn.LSTM, 4)
    for when in ("at the start", "after 3 steps"):
        for gate in module.weight_hh_l0.chunk(4):
            demand_orthogonal(subject, gate, f"a gate {when}")
        _step_of(subject, module)


def _forward_uses(subject: Subject, kind: type[nn.RNNBase], blocks: int) -> None:
    module, layer = _recurrent(subject, kind, blocks)
    x = torch.randn(2, 7, 3)
    for when in ("at the start", "after 3 steps"):
        before = module.weight_hh_l0.detach().clone()
        layer.load_state_dict({key: getattr(module, key) for key in layer.state_dict()})
        demand_same(module(x)[0], layer(x)[0], f"the output {when}", 1e-5)
        _step_of(subject, module)
        demand(distance(module.weight_hh_l0, before) > 1e-4, "the weight does not learn")


@row(shapes=SQUARE, fields=REAL)
def lstm_forward(subject: Subject, shape: str) -> None:
    """The forward pass of an LSTM ignores the orthogonal weight, or what it learns."""
    _forward_uses(subject, nn.LSTM, 4)


@row(shapes=SQUARE, fields=REAL)
def gru_forward(subject: Subject, shape: str) -> None:
    """The forward pass of a GRU ignores the orthogonal weight, or what it learns."""
    _forward_uses(subject, nn.GRU, 3)


# ------------------------------------------------------------------------------------ 8. memory


def _not_thin(subject: Subject) -> str:
    if isinstance(subject, Ours) and not (subject.thin or is_thin(subject.scheme)):
        return "it costs what the longer side says, as its documentation states"
    return ""


@row(shapes=("tall",), fields=REAL, unless=_not_thin)
def thin_embedding(subject: Subject, shape: str) -> None:
    """An embedding of 300 x 5 holds, or keeps for the backward pass, a matrix of 300 x 300."""
    rows, columns = subject.size(300), 5
    module: Any = subject.attach_thin(nn.Embedding(rows, columns))
    tensors = [*module.parameters(), *module.buffers()]
    kept: list[int] = [0]

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        module(torch.arange(10)).sum()
    demand_orthogonal(subject, module.weight, "at the start")
    held = sum(x.numel() for x in tensors)
    half = rows * rows // 2
    demand(held < half, f"it holds {held} numbers for a weight of {rows * columns}", Costly)
    demand(max(kept) < half, f"the backward pass keeps a tensor of {max(kept)} numbers", Costly)


# ---------------------------------------------------------------------------- 9. transformations


@row(shapes=SQUARE, slow=True)
def compiled(subject: Subject, shape: str) -> None:
    """torch.compile breaks the graph, or computes another output or gradient."""
    module = build(subject, shape)
    loss = loss_of(module)
    loss().backward()
    wanted, grads = loss().detach(), [p.grad for p in module.parameters()]
    module.zero_grad()
    torch._dynamo.reset()
    found = torch.compile(loss, fullgraph=True, backend="aot_eager")()
    found.backward()
    demand_same(found, wanted, "the loss", 1e-5)
    for p, grad in zip(module.parameters(), grads, strict=True):
        if grad is not None:
            demand_same(p.grad, grad, "a gradient", 1e-5)


@row(shapes=SQUARE, slow=True)
def exported(subject: Subject, shape: str) -> None:
    """torch.export fails or computes another output."""
    module = build(subject, shape)
    x = batch(module)
    program = torch.export.export(module, (x,)).module()
    demand_same(program(x), module(x), "the output", 1e-5)


@row()
def meta_device(subject: Subject, shape: str) -> None:
    """A layer built on the meta device, filled and loaded, has another weight."""
    trained = build(subject, shape)
    learn(subject, trained, sgd, 3)
    with torch.device("meta"):
        module = build(subject, shape)
    module.to_empty(device="cpu")
    module.load_state_dict(trained.state_dict())
    demand_same(module.weight, trained.weight, "the weight loaded")


@row()
def ensemble(subject: Subject, shape: str) -> None:
    """Two layers stacked for torch.func compute something else than each does."""
    pair = [build(subject, shape), build(subject, shape)]
    x = batch(pair[0])
    state = torch.func.stack_module_state(pair)

    def apart(parameters: Any, buffers: Any) -> Tensor:
        return torch.func.functional_call(pair[0], (parameters, buffers), (x,))

    together = torch.vmap(apart)(*state)
    demand_same(together, torch.stack([module(x) for module in pair]), "the outputs", 1e-5)


def _no_complex(subject: Subject) -> str:
    if isinstance(subject, Ours) and "complex" not in subject.cls.info.fields:
        return "it is real"
    return ""


@row(fields=REAL, unless=_no_complex)
def complex_weight(subject: Subject, shape: str) -> None:
    """A complex weight has W^T W = I, or nothing, instead of W^H W = I."""
    module = build(subject.over("complex"), shape)
    demand_orthogonal(subject, module.weight, "at the start")
    learn(subject, module, sgd, 3)
    demand_orthogonal(subject, module.weight, "after 3 steps")


# ------------------------------------------------------------------------------ 10. comparisons


def _no_run(subject: Subject) -> str:
    if not isinstance(subject, Ours):
        return "the comparison runs schemes"
    return "" if subject.field == subject.cls.info.field else "runs take a scheme's default field"


@row(shapes=SQUARE, unless=_no_run)
def recorded_defect(subject: Subject, shape: str) -> None:
    """A run of the comparison does not record how far its weight is off the group, or hides it."""
    assert isinstance(subject, Ours)
    optimizer = records.Optimizer("rmsprop", lr=1e-3)
    setting = records.Setting(
        subject.shape("square")[0], batch_size=2, iterations=2, optimizer=optimizer,
        unitary_optimizer=optimizer, test_size=2, eval_every=2,
    )  # fmt: skip
    result = train.train(records.Run("copying", subject.scheme, 3, 0, setting))
    shown = RunRow((result,), TASKS.get("copying")(3)).cells("")
    for column, value in (("defect start", result.defect_start), ("defect end", result.defect_end)):
        demand(value is not None and math.isfinite(value), f"{column} is {value}")
        cell = shown[column]
        # Two digits are shown.
        demand(math.isclose(float(cell), value or 0.0, rel_tol=0.1), f"{column} reads {cell}")


# ------------------------------------------------------------------------------------ outcomes

PASSES, COSTLY, ERROR, SILENT, NONE = "passes", "costly", "error", "SILENT", "-"
BAD = (SILENT, ERROR, COSTLY)


@dataclass(frozen=True)
class Outcome:
    """How a row ended for a subject and a shape.

    Attributes:
        kind: It passes; or takes too much memory; or an error was raised; or, silently, the numbers
            are wrong.
        error: What was raised, if it does not pass.
    """

    kind: str
    error: Exception | None = None


def examine(row: Row, subject: Subject, shape: str) -> Outcome:
    """Run a row."""
    torch.manual_seed(0)
    try:
        row.function(subject, shape)
    except AssertionError as error:
        return Outcome(COSTLY if isinstance(error, Costly) else SILENT, error)
    except Exception as error:  # whatever a library raises is not silent
        refused = row.assigns and isinstance(subject, Ours) and subject.may_refuse(shape)
        return Outcome(PASSES) if refused else Outcome(ERROR, error)
    return Outcome(PASSES)


@dataclass(frozen=True)
class Finding:
    """How a row ended for a subject, over its shapes; None where it does not apply."""

    row: Row
    subject: Subject
    outcomes: dict[str, Outcome] | None

    @property
    def expected(self) -> str:
        """Why the subject fails by its nature; empty if it does not."""
        if self.row.inapplicable(self.subject) or not isinstance(self.subject, Ours):
            return ""
        return EXPECTED.get((self.subject.scheme, self.row.name), "")

    @property
    def kind(self) -> str:
        """The worst of the shapes."""
        kinds = {outcome.kind for outcome in (self.outcomes or {}).values()}
        return next((kind for kind in (*BAD, PASSES) if kind in kinds), NONE)

    @property
    def cell(self) -> str:
        """For the table: the worst, and of which shapes if it is not the same for all."""
        outcomes = self.outcomes or {}
        shapes = [shape for shape, outcome in outcomes.items() if outcome.kind == self.kind]
        alike = self.kind in (PASSES, NONE) or len(shapes) == len(outcomes)
        return self.kind if alike else f"{self.kind} ({', '.join(shapes)})"

    @property
    def words(self) -> Iterator[dict[str, str]]:
        """What was raised, each once."""
        if self.expected:
            yield self._line(", ".join(self.row.shapes), "expected", self.expected)
        shapes: dict[tuple[str, str], list[str]] = {}
        for shape, outcome in (self.outcomes or {}).items():
            if outcome.error is not None:
                key = (outcome.kind, _words(outcome.error))
                shapes.setdefault(key, []).append(shape)
        for (kind, words), of in shapes.items():
            yield self._line(", ".join(of), kind, words)

    def _line(self, shapes: str, outcome: str, found: str) -> dict[str, str]:
        return {
            "row": _title(self.row.name),
            "of": self.subject.label,
            "shapes": shapes,
            "outcome": outcome,
            "found": found,
        }


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    text = lines[0] if len(lines[0]) <= 160 else lines[0][:157] + "..."
    return text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"


def _title(name: str) -> str:
    return name.replace("_", " ")


def find(row: Row, subject: Subject, tiny: bool = False) -> Finding:
    """Run a row on all its shapes, or on the first, if it applies."""
    none = Finding(row, subject, None)
    if row.inapplicable(subject) or none.expected:
        return none
    shapes = row.shapes[:1] if tiny else row.shapes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of their own deprecated calls
        return Finding(row, subject, {shape: examine(row, subject, shape) for shape in shapes})


# --------------------------------------------------------------------------------- the tables


def table(
    rows: Iterable[Row], columns: Sequence[Subject], schemes: Sequence[Ours], tiny: bool
) -> tuple[list[dict[str, str]], list[Finding]]:
    """The table, a column for each subject and one for all schemes together; all findings."""
    lines, findings = [], []
    for row in rows:
        line = {"what must not go wrong": _title(row.name)}
        ours = [find(row, scheme, tiny) for scheme in schemes]
        found = [find(row, subject, tiny) for subject in columns]
        for finding in found:
            line[finding.subject.label] = finding.cell
            if isinstance(finding.subject, Ours):
                line.setdefault(ALL, _together(ours))
        lines.append(line)
        findings += found + ours
        console.print(f"{_title(row.name)}: done")
    return lines, findings


ALL = "all our schemes"


def _together(findings: Sequence[Finding]) -> str:
    """One cell for many schemes."""
    bad = [f"{f.subject.label}: {f.cell}" for f in findings if f.kind in BAD]
    passed = sum(finding.kind == PASSES for finding in findings)
    if bad:
        return "; ".join(bad)
    but = "".join(f"; not {f.subject.label}" for f in findings if f.expected)
    return f"{PASSES} ({passed}){but}" if passed else NONE


def main() -> int:
    """Run the rows on everything and print who passes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemes", nargs="+", default=["cayley"], help="columns of their own")
    parser.add_argument("--only", default="", help="the rows whose name holds this text")
    parser.add_argument(
        "--tiny", action="store_true", help="one shape each, no compiler, no column of all schemes"
    )
    parser.add_argument("--json", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the matrices are tiny
    rows = [
        row for row in ROWS.values() if options.only in row.name and not (options.tiny and row.slow)
    ]
    ours = [_column(name) for name in options.schemes]
    lines, findings = table(
        rows, [*ours, *peers()], [] if options.tiny else list(every_scheme()), options.tiny
    )
    words = [words for finding in findings for words in finding.words]
    versions = [
        {"library": name, "version": importlib.metadata.version(name)}
        for name in ("torch", "geotorch")
    ]
    show("what was found where a row is not passed", words, console)
    show("who passes", lines, console)
    show("versions", versions, console)
    if options.json:
        meanings = [{"row": _title(row.name), "what must not happen": row.meaning} for row in rows]
        sections = {"who_passes": lines, "rows": meanings, "what_was_found": words}
        sections = {key: part for key, part in sections.items() if part}
        write_json(options.json, libraries=versions, **sections)
    return 1 if any(map(_fails, findings)) else 0


def _column(name: str) -> Ours:
    """A scheme over its default field; for thin weights the one that is meant for them, if any."""
    thin = "householder" if is_thin("householder") else name
    return Ours(f"ours, {name}", Ours("", scheme=name).cls.info.field, scheme=name, thin=thin)


def _fails(finding: Finding) -> bool:
    """Whether a scheme of this library does what it must not."""
    subject = finding.subject
    if not isinstance(subject, Ours) or finding.kind not in BAD:
        return False
    # A cost that no scheme claims to spare is shown, but is no broken promise.
    return finding.kind != COSTLY or is_thin(subject.thin or subject.scheme)


if __name__ == "__main__":
    sys.exit(main())
