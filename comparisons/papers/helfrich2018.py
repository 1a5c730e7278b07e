"""Helfrich, Willmott and Ye (2018): scoRNN, the scaled Cayley transform."""

from dataclasses import replace

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

CODE = "Helfrich et al. 2018 (scoRNN), SpartinStuff/scoRNN [V]"
KERNELS = (
    "Glorot input kernels and thresholds U(±.01) instead of U(±.01) and 0; RMSprop decay .9 assumed"
)
RMSPROP = Optimizer("rmsprop", lr=1e-3, alpha=0.9)
RMSPROP_UNITARY = Optimizer("rmsprop", lr=1e-4, alpha=0.9)

COPYING = Setting.of(
    hidden_size=190,
    batch_size=20,
    iterations=10_000,
    optimizer=RMSPROP,
    unitary_optimizer=RMSPROP_UNITARY,
    options=(("negative_ones", 95),),
    source=f"{CODE}; {KERNELS}; T = 2000 is [M-H]; fresh sequences instead of 20,000 cycled ones",
)
ADDING = Setting.of(
    hidden_size=170,
    batch_size=50,
    iterations=20_000,
    optimizer=Optimizer("adam", lr=1e-3),
    unitary_optimizer=RMSPROP_UNITARY,
    options=(("negative_ones", 85),),
    source=f"{CODE}; {KERNELS}; T = 400 and 750 are [M-H]; markers split at T/2 instead of "
    "(T - 1)/2, fresh sequences instead of 10 epochs of 100,000",
)


def _mnist(size: int, negative_ones: int, unitary_lr: float, tag: str) -> Setting:
    return Setting.of(
        hidden_size=size,
        batch_size=50,
        iterations=mnist_iterations(70, 50),
        optimizer=RMSPROP,
        unitary_optimizer=replace(RMSPROP_UNITARY, lr=unitary_lr),
        test_size=10_000,
        eval_every=mnist_iterations(1, 50),
        options=(("negative_ones", negative_ones),),
        source=f"Helfrich et al. 2018 (scoRNN), {tag}; {KERNELS}; 70 epochs of 60,000 instead of "
        "55,000 with 5,000 held out",
    )


RELEASED = "SpartinStuff/scoRNN [V]"
LARGER = "larger sizes [M-M]"
SIZES = (
    (170, 1e-4, RELEASED),
    (360, 1e-4, f"{LARGER}, learning rate of A assumed"),
    (512, 1e-5, LARGER),
)
HALF = "half of D is -1 [V2, M-H]"

PAPER = Paper(
    cite="Helfrich et al. 2018",
    title="Orthogonal Recurrent Neural Networks with Scaled Cayley Transform",
    code="SpartinStuff/scoRNN",
    trainings=(
        Training("copying", (1000, 2000), ("scaled_cayley",), COPYING),
        Training("adding", (200, 400, 750), ("scaled_cayley",), ADDING),
        *(
            training
            for size, lr, tag in SIZES
            for task, count, note in (
                ("pixel_mnist", size // 10, "a tenth of D is -1"),
                ("permuted_mnist", size // 2, HALF),
            )
            for training in mnist_training(
                ("scaled_cayley",), _mnist(size, count, lr, f"{tag}; {note}"), (task,)
            )
        ),
    ),
    remarks=("`cayley` is scoRNN without its diagonal D of ±1.",),
    remarks_on={
        "adding": ("Its second half begins at (T - 1)/2, here at T/2.",),
    },
)
