"""Lezcano-Casado and Martínez-Rubio (2019): expRNN, the exponential of a skew matrix."""

from comparisons.papers import Outcome, Paper, Training
from comparisons.records import Optimizer, Setting

COPYING = Setting(
    hidden_size=190,
    batch_size=128,
    iterations=4_000,
    optimizer=Optimizer("rmsprop", lr=2e-4, alpha=0.99),
    unitary_optimizer=Optimizer("rmsprop", lr=2e-5, alpha=0.99),
    init="henaff",
    source="Lezcano-Casado & Martínez-Rubio 2019 (expRNN), Lezcano/expRNN [V]; canonical layout "
    "of the task instead of theirs, Glorot instead of Kaiming input and output kernels",
)

PAPER = Paper(
    cite="Lezcano-Casado & Martínez-Rubio 2019",
    title="Cheap Orthogonal Constraints in Neural Networks",
    code="Lezcano/expRNN",
    trainings=(Training("copying", (1000, 2000), ("expm",), COPYING),),
    outcomes=(
        Outcome(
            "copying", (1000, 2000), "expRNN 190", ("expm",),
            "solved within 4,000 iterations of 128", "M-M",
        ),
    ),
    remarks=(
        "In its copying task the delimiter comes one step later than in the canonical layout used "
        "here, at the first step of the recall; lengths and recalled steps are the same.",
    ),
)  # fmt: skip
