"""Lezcano-Casado and Martínez-Rubio (2019): expRNN, the exponential of a skew matrix."""

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

CODE = "Lezcano-Casado & Martínez-Rubio 2019 (expRNN), Lezcano/expRNN [V]"
KERNELS = "Glorot instead of Kaiming input and output kernels"
COPYING = Setting.of(
    hidden_size=190,
    batch_size=128,
    iterations=4_000,
    optimizer=Optimizer("rmsprop", lr=2e-4, alpha=0.99),
    unitary_optimizer=Optimizer("rmsprop", lr=2e-5, alpha=0.99),
    init="henaff",
    source=f"{CODE}; canonical layout of the task instead of theirs, {KERNELS}",
)
RATES = {
    "pixel_mnist": {170: 7e-4, 360: 5e-4, 512: 3e-4},
    "permuted_mnist": {170: 1e-3, 360: 7e-4, 512: 5e-4},
}
"""Learning rates by task and size of all but W, whose rate is a tenth of it."""


def mnist(size: int, lr: float) -> Setting:
    """The setting of expRNN and its successors on MNIST."""
    return COPYING.changed(
        hidden_size=size,
        iterations=mnist_iterations(70, 128),
        optimizer=Optimizer("rmsprop", lr=lr, alpha=0.99),
        unitary_optimizer=Optimizer("rmsprop", lr=lr / 10, alpha=0.99),
        init="cayley",
        test_size=10_000,
        eval_every=mnist_iterations(1, 128),
        report_best_test=True,
        source=f"{CODE}; the rates of each size are [V2]; RMSprop decay .99 as in its code, where "
        f"others report .9; {KERNELS}",
    )


PAPER = Paper(
    cite="Lezcano-Casado & Martínez-Rubio 2019",
    title="Cheap Orthogonal Constraints in Neural Networks",
    code="Lezcano/expRNN",
    trainings=(
        Training("copying", (1000, 2000), ("expm",), COPYING),
        *(
            training
            for task, rates in RATES.items()
            for size, lr in rates.items()
            for training in mnist_training(("expm",), mnist(size, lr), (task,))
        ),
    ),
    remarks_on={
        "copying": (
            "In its copying task the delimiter comes one step later than in the canonical layout "
            "used here, at the first step of the recall; lengths and recalled steps are the same.",
        ),
        **dict.fromkeys(
            RATES,
            (
                "It reports the best accuracy on the test set over all epochs, and holds nothing "
                "out; the numbers here are those of the last iteration.",
                "Its angles at the start are tan(t/2) for t uniform on [0, π/2]: what the Cayley "
                "map needs for an angle of t, taken as an exponent.",
            ),
        ),
    },
)
