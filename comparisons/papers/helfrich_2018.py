"""Helfrich, Willmott and Ye (2018): scoRNN, the scaled Cayley transform."""

from comparisons.papers import Outcome, Paper, Training
from comparisons.records import Optimizer, Setting

CODE = "Helfrich et al. 2018 (scoRNN), SpartinStuff/scoRNN [V]"
PLAIN = (
    "without scoRNN's diagonal D of ±1, which `cayley` does not have; Glorot input kernels and "
    "thresholds U(±.01) instead of U(±.01) and 0; RMSprop decay .9 assumed"
)
RMSPROP = Optimizer("rmsprop", lr=1e-3, alpha=0.9)
RMSPROP_UNITARY = Optimizer("rmsprop", lr=1e-4, alpha=0.9)

COPYING = Setting(
    hidden_size=190,
    batch_size=20,
    iterations=10_000,
    optimizer=RMSPROP,
    unitary_optimizer=RMSPROP_UNITARY,
    init="cayley",
    source=f"{CODE}, {PLAIN}; T = 2000 is [M-H]; fresh sequences instead of 20,000 cycled ones",
)
ADDING = Setting(
    hidden_size=170,
    batch_size=50,
    iterations=20_000,
    optimizer=Optimizer("adam", lr=1e-3),
    unitary_optimizer=RMSPROP_UNITARY,
    init="cayley",
    source=f"{CODE}, {PLAIN}; T = 400 and 750 are [M-H]; markers split at T/2 instead of "
    "(T - 1)/2, fresh sequences instead of 10 epochs of 100,000",
)

PAPER = Paper(
    cite="Helfrich et al. 2018",
    title="Orthogonal Recurrent Neural Networks with Scaled Cayley Transform",
    code="SpartinStuff/scoRNN",
    trainings=(
        Training("copying", (1000, 2000), ("cayley",), COPYING),
        Training("adding", (200, 400, 750), ("cayley",), ADDING),
    ),
    outcomes=(
        Outcome(
            "copying", (1000,), "scoRNN 190", ("scaled_cayley", "cayley"),
            "reaches ≈ 0, first among the models compared", "M-M",
        ),
        Outcome(
            "copying", (2000,), "scoRNN 190", ("scaled_cayley", "cayley"),
            "reaches ≈ 0 in less than about 10k iterations", "M-M",
        ),
    ),
)  # fmt: skip
