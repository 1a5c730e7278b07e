"""A network of orthogonal layers classifies digits, and certifies how far they may be disturbed."""

from __future__ import annotations

import itertools

import torch
from recording import Outcome, arguments, record
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from unitary_zoo import orthogonal, parameter_groups

WIDTH, BATCH = 64, 128
RADIUS = 0.5
RADII = (0.1, 0.25, RADIUS, 0.75, 1.0, 1.5)
MARGIN = 0.5
"""What the loss adds to the logits of the wrong classes."""

RATES = {"orthogonal": 3e-2, "spectral norm": 1e-2, "plain": 1e-3}


# --8<-- [start:network]
class MaxMin(nn.Module):
    """Sorts pairs of units: GroupSort with groups of two, which keeps distances."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the larger units of the pairs, then the smaller ones."""
        a, b = x.chunk(2, dim=-1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=-1)


def network(method: str) -> nn.Sequential:
    """Four layers; the wide last one has orthonormal rows, so it does not stretch either."""
    sizes = [64, WIDTH, WIDTH, WIDTH, 10]
    linear = [nn.Linear(m, n) for m, n in itertools.pairwise(sizes)]
    if method == "orthogonal":
        linear = [orthogonal(layer, "weight", "expm") for layer in linear]
    elif method == "spectral norm":
        linear = [spectral_norm(layer, n_power_iterations=3) for layer in linear]
    layers = [part for layer in linear for part in (layer, MaxMin())]
    return nn.Sequential(*layers[:-1])


def lipschitz_bound(model: nn.Sequential) -> float:
    """The product of the spectral norms: no output moves more than this times its input."""
    norms = [torch.linalg.matrix_norm(m.weight, 2) for m in model if isinstance(m, nn.Linear)]
    return torch.stack(norms).prod().item()


def certified(model: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """The radius around each x within which no disturbance changes the class y; 0 if it is wrong.

    The difference of two logits moves at most √2 times as much as the vector of the logits.
    """
    logits = model(x)
    own = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return (own - others).clamp(min=0) / (2**0.5 * lipschitz_bound(model))


# --8<-- [end:network]


def loss_of(model: nn.Module, x: Tensor, y: Tensor, method: str) -> Tensor:
    """Cross-entropy; a network that cannot stretch needs a scale and is asked for a margin."""
    logits = model(x)
    if method != "plain":
        logits = 8 * (logits - MARGIN * functional.one_hot(y, 10))
    return functional.cross_entropy(logits, y)


def attacked(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> float:
    """Accuracy after 30 steps of projected gradient ascent in the ball around each x."""
    delta = torch.zeros_like(x)
    fooled = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(30):
        logits = model(x + delta.requires_grad_())
        fooled |= logits.argmax(1) != y
        (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, y), delta)
        delta = delta.detach() + radius / 8 * functional.normalize(gradient)
        delta = delta * (radius / delta.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1)
    fooled |= model(x + delta).argmax(1) != y
    return 1 - fooled.float().mean().item()


def train(method: str, rate: float, steps: int, seed: int) -> Outcome:
    """Train one network, then certify and attack it on test digits."""
    torch.manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.target))  # another split for each seed
    x = torch.tensor(digits.data, dtype=torch.float32)[order] / 16
    y = torch.tensor(digits.target)[order]
    model = network(method)
    optimizer = torch.optim.Adam(parameter_groups(model, lr=rate))
    for _ in range(steps):
        chosen = torch.randint(1200, (BATCH,))
        loss = loss_of(model, x[chosen], y[chosen], method)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    x_test, y_test = x[1400:], y[1400:]
    with parametrize.cached():  # the weights are computed once, and not at each step of an attack
        validation = loss_of(model, x[1200:1400], y[1200:1400], method).item()
        radius = certified(model, x_test, y_test)
        safe = [(r, (radius >= r).float().mean().item()) for r in RADII]
        withstood = [(r, attacked(model, x_test, y_test, r)) for r in RADII]
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
        bound = lipschitz_bound(model)
    values = {
        "accuracy": accuracy,
        f"certified at {RADIUS}": dict(safe)[RADIUS],
        f"attacked at {RADIUS}": dict(withstood)[RADIUS],
        "Lipschitz bound": bound,
    }
    facts = {"parameters": sum(p.numel() for p in model.parameters())}
    return Outcome(validation, values, facts, {"certified": safe, "attacked": withstood})


if __name__ == "__main__":
    record(train, RATES, arguments(__doc__, steps=400).parse_args())
