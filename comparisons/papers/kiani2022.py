"""Kiani et al. (2022): projUNN, low-rank projected updates."""

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

CODE = "Kiani et al. 2022 (projUNN), facebookresearch/projUNN [V]"


def _rmsprop(lr: float) -> Optimizer:
    return Optimizer("rmsprop", lr=lr, alpha=0.99)


LSI = (("rank", 1), ("sampler", "lsi"))
ADDING = Setting.of(
    hidden_size=170,
    batch_size=50,
    iterations=100_000,
    optimizer=_rmsprop(1e-3),
    unitary_optimizer=_rmsprop(1e-3 / 32),
    init="identity",
    nonlinearity="relu",
    lr_decay=0.94,
    decay_every=2_000,
    eval_every=2_000,
    options=LSI,
    source=f"{CODE}; fresh sequences instead of 50 epochs of 100,000, markers split at T/2 instead "
    "of (T - 1)/2",
)
COPYING = Setting.of(
    hidden_size=190,
    batch_size=128,
    iterations=20_000,
    optimizer=_rmsprop(7e-4),
    unitary_optimizer=_rmsprop(7e-4 / 32),
    init="henaff",
    nonlinearity="relu",
    lr_decay=0.9,
    decay_every=4_000,
    options=LSI,
    source=f"{CODE}; canonical layout of the task instead of theirs",
)


def _mnist(size: int, rank: int) -> Setting:
    epoch = mnist_iterations(1, 128)
    return Setting.of(
        hidden_size=size,
        batch_size=128,
        iterations=200 * epoch,
        optimizer=_rmsprop(1e-3),
        unitary_optimizer=_rmsprop(1e-3 / 32),
        lr_decay=0.2,
        decay_every=60 * epoch,
        test_size=10_000,
        eval_every=epoch,
        options=(("rank", rank), ("sampler", "lsi")),
        source=f"{CODE}; 200 epochs and three seeds as in the paper [V2]; the divisor 32 of the "
        "other tasks, batch 128 and the start are assumed; nothing is held out instead of a tenth",
    )


RANKS = (1, 2, 4, 8, 16)
SIZES = (116, 170, 360, 512)

PAPER = Paper(
    cite="Kiani et al. 2022",
    title="projUNN: efficient method for training deep networks with unitary matrices",
    code="facebookresearch/projUNN",
    trainings=(
        Training("copying", (1000, 2000), ("projunn_t",), COPYING),
        Training("adding", (200, 750), ("projunn_t",), ADDING),
        *(
            training
            for size in SIZES
            for rank in RANKS
            for training in mnist_training(
                ("projunn_d", "projunn_t"), _mnist(size, rank), ("permuted_mnist",), seeds=(0, 1, 2)
            )
        ),
    ),
    remarks_on={
        "copying": (
            "In its copying task the delimiter comes one step later than in the canonical layout, "
            "at the first step of the recall.",
        ),
        "permuted_mnist": (
            "The released script leaves the recurrent kernel at its default start, which is not "
            "orthogonal, until the first step.",
            "It holds a tenth out for validation, and its values are means of three runs; its "
            "table takes scoRNN's from two sources.",
        ),
    },
)
