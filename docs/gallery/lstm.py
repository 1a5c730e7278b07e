"""An LSTM with an orthogonal recurrent matrix in each gate recalls symbols after a delay."""

from __future__ import annotations

import torch
from recording import Outcome, arguments, record
from torch import Tensor, nn
from torch.nn import functional

from unitary_zoo import orthogonal, parameter_groups

SYMBOLS, LENGTH, DELAY = 8, 4, 20
HIDDEN, BATCH = 64, 32

RATES = {"orthogonal gates": 1e-2, "orthogonal start, then free": 1e-2, "plain": 3e-3}


# --8<-- [start:model]
class Memory(nn.Module):
    """An LSTM and a read-out for the last steps, in which the symbols are to be recalled."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SYMBOLS + 2, HIDDEN)
        self.readout = nn.Linear(HIDDEN, SYMBOLS)
        with torch.no_grad():  # a gate that forgets less at first: usual, and here for every method
            self.lstm.bias_ih_l0[HIDDEN : 2 * HIDDEN].fill_(1.0)
        if method == "orthogonal gates":
            orthogonal(self.lstm, "weight_hh_l0", "expm", blocks=4)
        elif method == "orthogonal start, then free":
            for gate in self.lstm.weight_hh_l0.detach().chunk(4):
                nn.init.orthogonal_(gate)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the symbols, (LENGTH, batch, SYMBOLS)."""
        return self.readout(self.lstm(x)[0][-LENGTH:])


# --8<-- [end:model]


def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Symbols, a delay, then signals to recall them; and the symbols, (LENGTH, count)."""
    symbols = torch.randint(SYMBOLS, (LENGTH, count), generator=generator)
    delay = torch.full((DELAY, count), SYMBOLS)
    recall = torch.full((LENGTH, count), SYMBOLS + 1)
    inputs = torch.cat([symbols, delay, recall])
    return functional.one_hot(inputs, SYMBOLS + 2).float(), symbols


def measure(model: Memory, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy and the accuracy on new sequences."""
    x, symbols = draw(count, generator)
    logits = model(x)
    loss = functional.cross_entropy(logits.flatten(0, 1), symbols.flatten())
    return loss, (logits.argmax(-1) == symbols).float().mean()


# --8<-- [start:train]
def train(method: str, rate: float, steps: int, seed: int) -> Outcome:
    """Train one LSTM and measure it on new sequences."""
    torch.manual_seed(seed)
    drawn, tested = (torch.Generator().manual_seed(2 * seed + i) for i in range(2))
    model = Memory(method)
    optimizer = torch.optim.Adam(parameter_groups(model, lr=rate))
    curve = []
    for step in range(steps):
        loss, accuracy = measure(model, BATCH, drawn)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0:
            curve.append((step, loss.item()))
    # --8<-- [end:train]
    with torch.no_grad():
        validation, _ = measure(model, 1000, tested)
        loss, accuracy = measure(model, 1000, tested)
        gates = torch.stack(model.lstm.weight_hh_l0.chunk(4)).double()
    defect = torch.linalg.matrix_norm(gates.mT @ gates - torch.eye(HIDDEN, dtype=gates.dtype)).max()
    values = {"test accuracy": accuracy.item(), "test loss, nats": loss.item()}
    facts = {"parameters": sum(p.numel() for p in model.parameters())}
    return Outcome(
        validation.item(), values | {"‖WᵀW − I‖": defect.item()}, facts, {"training loss": curve}
    )


if __name__ == "__main__":
    record(train, RATES, arguments(__doc__, steps=600).parse_args())
