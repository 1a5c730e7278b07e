"""A scheme, a model, a task, a paper and a preset of one's own.

python comparisons/run_all.py --plugin docs/examples/plugin.py --preset tiny --tasks first_sign
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from comparisons.models import MODELS, CellLayer
from comparisons.papers import PAPERS, Paper, PublishedResult, Source, Training
from comparisons.plan import PRESETS, Preset, fitted
from comparisons.records import ModelSettings, Optimizer, Setting
from comparisons.tasks import TASKS, Generated
from unitary_zoo import orthogonal
from unitary_zoo.base import (
    Determinant,
    FieldClaims,
    Group,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


class ReflectionMap(LinearMap):
    """h - 2 v (v . h): one application in O(n), without the matrix."""

    def __init__(self, v: Tensor) -> None:
        self.v = v
        self.n, self.dtype, self.device = len(v), v.dtype, v.device

    def _multiply(self, h: Tensor) -> Tensor:
        return h - (2 * (h @ self.v)).unsqueeze(-1) * self.v

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        return self._multiply(h)  # a reflection is its own inverse


def _dimension(n: int) -> int:
    return n - 1


@Parametrization.register("reflection")
class Reflection(Static):
    r""":math:`W = I - 2 v v^T / \|v\|^2`.

    Learnable: ``v`` (n).
    """

    info = SchemeInfo(
        name="reflection",
        title="W = I - 2 v v^T / |v|^2",
        reference="@misc{reflection, title = {The example of the documentation}}",
        family="static",
        claims={
            "real": FieldClaims(
                Group.NEGATIVE_ORTHOGONAL, _dimension, Determinant.MINUS_ONE, "O(n)", whole=False
            )
        },
        field="real",
        tolerance=Tolerance(8.0, "v has length 1 within 2 eps, which counts four times"),
        default_init="reflection",
    )
    initial_determinant = -1
    _own_init = "reflection"

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.v = nn.Parameter(torch.ones(n, **self._factory))
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        v = self._promoted(self.v)
        return ReflectionMap(v / v.norm())

    def _assign(self, w: Tensor) -> None:
        columns = torch.eye(self.n, dtype=w.dtype, device=w.device) - w  # 2 v v^T
        v = columns[:, columns.norm(dim=0).argmax()]
        self.v.copy_(v / v.norm())

    def _start_own(self, generator: torch.Generator | None) -> None:
        v = torch.randn(self.n, generator=generator, dtype=torch.float64)
        self.v.copy_(v / v.norm())


# --8<-- [start:model]
class LeakyCell(nn.Module):
    """h' = h + a (tanh(W h + V x + b) - h): W orthogonal, one leak a for each unit."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.kernel = nn.Linear(input_size, hidden_size)
        self.recurrent = orthogonal(nn.Linear(hidden_size, hidden_size, bias=False))
        self.leak = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        new = torch.tanh(self.recurrent(h) + self.kernel(x))
        return h + torch.sigmoid(self.leak) * (new - h)


@MODELS.register("leaky")
def leaky(input_size: int, settings: ModelSettings) -> nn.Module:
    """Leaky integrator with an orthogonal recurrent weight."""
    return CellLayer(LeakyCell, input_size, settings)


# --8<-- [end:model]

SETTING = Setting.of(
    hidden_size=32,
    batch_size=20,
    iterations=200,
    optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9),
    test_size=200,
    eval_every=50,
    source="the example's own",
)


# --8<-- [start:task]
@TASKS.register("first_sign")
class FirstSign(Generated):
    """After T normal numbers, say whether the first of them was positive."""

    name = "first_sign"
    loss_name = "cross-entropy (nats)"
    accuracy_name = "share of signs that are right"
    per_step = False
    input_size = 1
    output_size = 2
    quick = (20, SETTING)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Numbers (T, size, 1) and classes (size,)."""
        x = torch.randn(self.length, size, 1, generator=generator)
        return x, (x[0, :, 0] > 0).long()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(-1) == targets).float().mean()


# --8<-- [end:task]


# --8<-- [start:paper]
PAPERS.register("example2026")(
    Paper(
        cite="Example 2026",
        title="Reflections remember signs",
        code="docs/examples/plugin.py",
        trainings=(
            Training("first_sign", (20,), ("reflection", "leaky"), SETTING),
            Training("first_sign", (20,), ("lstm",), SETTING.changed(hidden_size=16)),
        ),
        published=(
            PublishedResult(
                task="first_sign",
                lengths=(20,),
                model="Reflection RNN",
                label="Reflection RNN, 32 units",
                ours=("reflection",),
                text="97.5 %",
                tag=Source.PRINTED,
                size=32,
                value=97.5,
            ),
        ),
    )
)
# --8<-- [end:paper]


# --8<-- [start:preset]
def tiny(task: str, model: str) -> list[Training]:
    """Settings by which the model is trained on the task; none leaves it out."""
    setting = SETTING.changed(iterations=100, source="the example's preset")
    return [Training(task, (20,), (model,), fitted(setting, model), seeds=(0, 1))]


PRESETS.register("tiny")(Preset("100 iterations at T = 20, on two seeds", tiny))
# --8<-- [end:preset]
