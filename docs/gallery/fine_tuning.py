"""Orthogonal fine-tuning (OFT) of a small transformer that is first trained on other images."""

from __future__ import annotations

import copy
import functools

import torch
from recording import Outcome, arguments, record
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization
from transformer import Transformer

from unitary_zoo import orthogonal

BLOCK, RANK, BATCH = 8, 2, 64
EXAMPLES = 200
"""Images of the new kind, of which there are few."""

RATES = {"OFT": 1e-2, "low rank": 3e-2, "all weights": 3e-3, "head alone": 1e-1}
PEFT = "OFT by peft"


# --8<-- [start:adapters]
class Rotated(nn.Module):
    """W0 Rᵀ: R is block-diagonal, orthogonal, and I at first; W0 is frozen."""

    def __init__(self, size: int) -> None:
        super().__init__()
        blocks = torch.eye(BLOCK).repeat(size // BLOCK, 1, 1)
        self.blocks = nn.Parameter(blocks)
        orthogonal(self, "blocks", "cayley")

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with each block of its columns rotated."""
        columns = weight.unflatten(1, (-1, BLOCK))
        return torch.einsum("okb,kcb->okc", columns, self.blocks).flatten(1)


class LowRank(nn.Module):
    """W0 + B A, the rival of low rank (LoRA)."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(RANK, columns) / columns**0.5)
        self.b = nn.Parameter(torch.zeros(rows, RANK))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight + self.b @ self.a


def adapt(model: Transformer, method: str) -> Transformer:
    """Freeze a copy of the model, except for its head and what the method adds."""
    model = copy.deepcopy(model)
    if method == "all weights":
        return model
    model.requires_grad_(False)
    if method == PEFT:
        with_peft(model)
    elif method != "head alone":
        for layer in [m for m in model.layers.modules() if isinstance(m, nn.Linear)]:
            rows, columns = layer.weight.shape
            adapter = Rotated(columns) if method == "OFT" else LowRank(rows, columns)
            register_parametrization(layer, "weight", adapter)
    model.head.requires_grad_(True)
    return model


# --8<-- [end:adapters]


# --8<-- [start:peft]
def with_peft(model: Transformer) -> None:
    """The same by peft: the exact Cayley map, and no dropout of blocks."""
    from peft import OFTConfig, inject_adapter_in_model

    names = ["query", "key", "value", "out", "up", "down"]
    config = OFTConfig(r=0, oft_block_size=BLOCK, target_modules=names, use_cayley_neumann=False)
    inject_adapter_in_model(config, model)


# --8<-- [end:peft]


def fit(model: nn.Module, x: Tensor, y: Tensor, rate: float, steps: int) -> None:
    """Train the parameters that are not frozen."""
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(free, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(x), (BATCH,))
        loss = functional.cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def images(seed: int) -> tuple[Tensor, Tensor]:
    """All images in a random order, and what they show."""
    torch.manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.target))
    x = torch.tensor(digits.images, dtype=torch.float32)[order] / 8 - 1
    y = torch.tensor(digits.target)[order]
    return x, y


@functools.cache
def trained(steps: int, seed: int) -> Transformer:
    """The transformer that all methods start from, trained on upright digits."""
    x, y = images(seed)
    model = Transformer()
    fit(model, x[:1000], y[:1000], 3e-3, steps)
    return model


def train(method: str, rate: float, steps: int, seed: int) -> Outcome:
    """Adapt a transformer to digits that lie on their side."""
    start = trained(2 * steps, seed)
    x, y = images(seed)
    lying, few = x.rot90(dims=(1, 2)), slice(1000, 1000 + EXAMPLES)
    model = adapt(start, method)
    torch.manual_seed(seed)  # every method draws the same batches
    fit(model, lying[few], y[few], rate, steps)

    def accuracy(of: nn.Module, x: Tensor) -> float:
        return (of(x[1400:]).argmax(1) == y[1400:]).float().mean().item()

    with torch.no_grad():
        validation = functional.cross_entropy(model(lying[1200:1400]), y[1200:1400]).item()
        values = {"before": accuracy(start, lying), "after": accuracy(model, lying)}
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Outcome(validation, values, {"parameters": count})


if __name__ == "__main__":
    parser = arguments(__doc__, steps=200)
    parser.add_argument("--peft", action="store_true", help="also train by peft's own OFT")
    options = parser.parse_args()
    record(train, RATES | ({PEFT: RATES["OFT"]} if options.peft else {}), options)
