"""Learn an unknown quantum circuit from states that go in and outcomes that are counted."""

from __future__ import annotations

import torch
from recording import Outcome, arguments, record
from torch import Tensor, nn

from unitary_zoo import Parametrization

QUBITS = 3
WALL = ((0,), (1,), (0,))
"""Layers of the circuit: the first qubits of gates that act on two neighbours each."""
STATES, SHOTS, STARTS = 20, 2000, 3

RATES = {"gates of two qubits": 3e-2, "any unitary": 1e-1, "any matrix": 3e-2}


# --8<-- [start:model]
class Gates(nn.Module):
    """A circuit of 4 x 4 unitary gates; on states as vectors it is a 8 x 8 unitary matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.places = [place for layer in WALL for place in layer]
        self.gates = nn.ModuleList(
            Parametrization.create("expm", 4, field="complex") for _ in self.places
        )

    def forward(self, states: Tensor) -> Tensor:
        """Return the states after the circuit, (batch, 8)."""
        for place, gate in zip(self.places, self.gates, strict=True):
            # The two qubits of the gate become the last axis, on which a scheme acts.
            split = states.reshape(-1, 2**place, 4, 2 ** (QUBITS - place - 2)).mT
            states = gate(split).mT.flatten(1)
        return states


class AnyMatrix(nn.Module):
    """A matrix whose outputs are normalised, since it is not unitary."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(2**QUBITS, 2**QUBITS, dtype=torch.cfloat) / 2 ** (QUBITS / 2)
        )

    def forward(self, states: Tensor) -> Tensor:
        """Return the outputs with norm 1, (batch, 8)."""
        return nn.functional.normalize(states @ self.weight.T)


def circuit(method: str) -> nn.Module:
    """A model with a random start."""
    if method == "gates of two qubits":
        return Gates()
    if method == "any unitary":
        return Parametrization.create("expm", 2**QUBITS, field="complex")
    return AnyMatrix()


# --8<-- [end:model]


def product_states(count: int) -> Tensor:
    """States in which each qubit was prepared by itself, (count, 8)."""
    qubits = nn.functional.normalize(torch.randn(count, QUBITS, 2, dtype=torch.cfloat), dim=-1)
    states = qubits[:, 0]
    for k in range(1, QUBITS):
        states = (states[:, :, None] * qubits[:, k, None, :]).flatten(1)
    return states


def divergence(observed: Tensor, model: nn.Module, states: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the model's outcomes from those observed, in nats."""
    born = model(states).abs().square().clamp(min=1e-9)
    return (torch.special.xlogy(observed, observed) - observed * born.log()).sum(1).mean()


def train(method: str, rate: float, steps: int, seed: int) -> Outcome:
    """Learn one circuit from counts, and compare with its probabilities on new states."""
    torch.manual_seed(seed)
    truth = Gates().requires_grad_(False)  # another one for each seed
    states, new = product_states(2 * STATES), product_states(1000)
    chance = truth(states).abs().square()
    drawn = torch.multinomial(chance, SHOTS, replacement=True)
    counted = torch.zeros_like(chance).scatter_add_(1, drawn, torch.ones(drawn.shape)) / SHOTS
    exact = truth(new).abs().square()
    tries = []
    for _ in range(STARTS):  # the problem is not convex: keep the start that validates best
        model, curve = circuit(method), []
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for step in range(steps):
            loss = divergence(counted[:STATES], model, states[:STATES])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 10 == 0:
                curve.append((step, divergence(exact, model, new).item()))
        tries.append((divergence(counted[STATES:], model, states[STATES:]).item(), model, curve))
    validation, model, curve = min(tries, key=lambda one: one[0])
    with torch.no_grad():
        found = model(new).abs().square()
        test = divergence(exact, model, new).item()
    fidelity = (exact * found).sqrt().sum(1).square().mean().item()
    facts = {"real parameters": sum(p.numel() * (1 + p.is_complex()) for p in model.parameters())}
    values = {"fidelity of the outcomes": fidelity, "test divergence, nats": test}
    return Outcome(validation, values, facts, {"test divergence": curve})


if __name__ == "__main__":
    record(train, RATES, arguments(__doc__, steps=200).parse_args())
