"""A scheme that counts what the hooks of an optimizer call."""

import torch
from torch import nn

from unitary_zoo.base import SPECIAL_ORTHOGONAL, DenseMap, SchemeInfo, Static, Tolerance


class Counting(Static):
    """exp of a rotation by the sum of two parameters; it counts what the hooks call."""

    info = SchemeInfo(
        name="counting", title="", reference="", family="static", field="real",
        claims={"real": SPECIAL_ORTHOGONAL}, tolerance=Tolerance(4.0, "one rotation"),
    )  # fmt: skip

    def __init__(self, n=2, **options):
        super().__init__(n, **options)
        self.first, self.second = (nn.Parameter(torch.tensor(0.1)) for _ in range(2))
        self.calls = []

    def _prepare(self):
        t = self.first + self.second
        return DenseMap(torch.stack([t.cos(), -t.sin(), t.sin(), t.cos()]).view(2, 2))

    def _begin_step(self):
        self.calls.append("begin")

    def _step(self):
        self.calls.append("step")
