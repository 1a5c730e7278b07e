"""A normalising flow whose coupling layers are joined by learned rotations."""

from __future__ import annotations

import torch
from recording import Outcome, arguments, record
from sklearn.datasets import load_digits
from torch import Tensor, nn

from unitary_zoo import orthogonal, parameter_groups

LAYERS, BATCH, NOISE = 4, 128, 0.1

RATES = {"rotations": 3e-2, "any matrices": 3e-2, "permutations": 3e-2}


# --8<-- [start:flow]
def mixing(method: str, size: int) -> nn.Module:
    """The linear map before a coupling layer; each kind starts as an orthogonal matrix."""
    layer = nn.Linear(size, size, bias=False)
    if method == "rotations":
        return orthogonal(layer, "weight", "expm", init="haar")
    if method == "any matrices":
        nn.init.orthogonal_(layer.weight)
        return layer
    layer.weight.data = torch.eye(size)[torch.randperm(size)]
    return layer.requires_grad_(False)


class Step(nn.Module):
    """Mixes the coordinates, then scales and shifts one half by functions of the other."""

    def __init__(self, method: str, size: int) -> None:
        super().__init__()
        self.mix = mixing(method, size)
        self.changes_volume = method == "any matrices"
        self.net = nn.Sequential(nn.Linear(size // 2, 32), nn.ReLU(), nn.Linear(32, size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new x and log |det| of the Jacobian matrix."""
        kept, changed = self.mix(x).chunk(2, dim=1)
        scale, shift = self.net(kept).chunk(2, dim=1)
        scale = 2 * torch.tanh(scale / 2)  # no step changes a volume by more than e² an axis
        volume = scale.sum(1)
        if self.changes_volume:  # log |det| of rotations and permutations is 0
            volume = volume + torch.linalg.slogdet(self.mix.weight).logabsdet
        return torch.cat([kept, changed * scale.exp() + shift], dim=1), volume


class Flow(nn.Module):
    """Maps the data to a normal distribution and keeps account of the volume."""

    def __init__(self, method: str, size: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Step(method, size) for _ in range(LAYERS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log |det dz/dx|."""
        volume = x.new_zeros(len(x))
        for step in self.steps:
            x, change = step(x)
            volume = volume + change
        return x, volume


def nll(flow: Flow, x: Tensor) -> Tensor:
    """Mean negative log-likelihood of x in nats."""
    z, volume = flow(x)
    return -(torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + volume).mean()


# --8<-- [end:flow]


def parabolas(count: int) -> Tensor:
    """Points near parabolas in four planes, seen through one rotation of the 8 dimensions."""
    u, noise = torch.randn(2, count, 4)
    points = torch.cat([u, (u.square() - 1) / 2**0.5 + NOISE * noise], dim=1)
    unknown = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).Q
    return points @ unknown.T


def digits() -> Tensor:
    """All digits, 64 grey levels each, made continuous by noise of one level, in random order."""
    levels = torch.tensor(load_digits().data, dtype=torch.float32)
    levels = levels[torch.randperm(len(levels))]
    return (levels + torch.rand_like(levels) - 8.5) / 4


def fit(method: str, rate: float, steps: int, data: Tensor) -> tuple[int, float, float]:
    """Train on all but 400 points; parameters, validation and test NLL."""
    flow = Flow(method, data.shape[1])
    optimizer = torch.optim.Adam(parameter_groups(flow, lr=rate))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = nll(flow, data[torch.randint(len(data) - 400, (BATCH,))])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        validation, test = (nll(flow, part).item() for part in data[-400:].split(200))
    return sum(p.numel() for p in flow.parameters() if p.requires_grad), validation, test


def train(method: str, rate: float, steps: int, seed: int) -> Outcome:
    """Train a flow on each of the two sets of points."""
    torch.manual_seed(seed)
    sets = {"parabolas, 8D": parabolas(10_000), "digits, 64D": digits()}
    fits = {name: fit(method, rate, steps, data) for name, data in sets.items()}
    facts = {f"parameters, {data.shape[1]}D": fits[name][0] for name, data in sets.items()}
    values = {f"test NLL in nats, {name}": test for name, (_, _, test) in fits.items()}
    return Outcome(sum(validation for _, validation, _ in fits.values()), values, facts)


if __name__ == "__main__":
    record(train, RATES, arguments(__doc__, steps=300).parse_args())
