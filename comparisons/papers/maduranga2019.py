"""Maduranga, Helfrich and Ye (2019): scuRNN, the scaled Cayley transform on U(n)."""

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

CODE = "Maduranga et al. 2019 (scuRNN), Gayan225/scuRNN [V]"
ONE = (
    "one RMSprop, decay .9 assumed, for A and for the phases of D, which have an Adagrad of their "
    "own there; initial state in U(±√(3/2n)) instead of U(±.01)"
)

COPYING = Setting.of(
    hidden_size=130,
    batch_size=20,
    iterations=2_000,
    optimizer=Optimizer("adam", lr=1e-3),
    unitary_optimizer=Optimizer("rmsprop", lr=1e-4, alpha=0.9),
    learn_h0=True,
    source=f"{CODE}; {ONE}; fresh sequences instead of 20,000 cycled ones",
)
ADDING = COPYING.changed(
    hidden_size=116,
    batch_size=50,
    iterations=60_000,
    eval_every=500,
    source=f"{CODE}; {ONE}; angles of the start on [0, π/2] instead of [0, 2π]; fresh sequences "
    "instead of 30 epochs of 100,000, markers split at T/2 instead of (T - 1)/2",
)
MNIST = COPYING.changed(
    hidden_size=116,
    batch_size=50,
    iterations=mnist_iterations(70, 50),
    test_size=10_000,
    eval_every=mnist_iterations(1, 50),
    source=f"{CODE}; {ONE}; 70 epochs of 60,000 instead of 55,000 with 5,000 held out",
)

PAPER = Paper(
    cite="Maduranga et al. 2019",
    title="Complex Unitary Recurrent Neural Networks Using Scaled Cayley Transform",
    code="Gayan225/scuRNN",
    trainings=(
        Training("copying", (2000,), ("scaled_cayley_unitary",), COPYING),
        Training("adding", (750,), ("scaled_cayley_unitary",), ADDING),
        *mnist_training(("scaled_cayley_unitary",), MNIST),
        *mnist_training(
            ("scaled_cayley_unitary",),
            MNIST.changed(hidden_size=250, source=f"{MNIST.source}; the size is [M-H]"),
        ),
    ),
    remarks=("Its modReLU divides by √(|z|² + 1e-5), here by |z| where that is not 0.",),
    remarks_on={
        "permuted_mnist": ("The released script would stop at the branch that permutes.",),
    },
)
