"""Jovanović and Đuričić (PSI:ML 2017): an independent re-implementation of the uRNN."""

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

RMSPROP = Optimizer("rmsprop", lr=1e-3, alpha=0.9)
CODE = "PSI:ML 2017, rand0musername/urnn [V]"
START = (
    "the initial state of the uRNN is learned, from the range U(±√(3/2n)) in which theirs is drawn "
    "anew for every batch; those of the baselines are zero"
)

COPYING = Setting.of(
    hidden_size=128,
    batch_size=50,
    iterations=20_000,
    optimizer=RMSPROP,
    unitary_optimizer=RMSPROP,
    learn_h0=True,
    eval_every=500,
    source=f"{CODE}; one-hot instead of scalar input, fresh sequences instead of 10 epochs of "
    f"100,000; {START}",
)
ITERATIONS = {100: 6_000, 200: 10_000, 400: 8_000, 750: 20_000}
"""Iterations on adding by length: 10 epochs of 30, 50, 40 and 100 thousand sequences."""
ADDING = COPYING.changed(
    hidden_size=512,
    source=f"{CODE}; fresh sequences instead of 10 epochs of fixed ones; {START}",
)
MNIST = ADDING.changed(
    iterations=mnist_iterations(10, 50),
    test_size=10_000,
    eval_every=mnist_iterations(1, 50),
    source=f"{CODE}; {START}",
)


def _baseline(setting: Setting, size: int) -> Setting:
    return setting.changed(hidden_size=size, unitary_optimizer=None, learn_h0=False)


PAPER = Paper(
    cite="PSI:ML 2017 (Jovanović, Đuričić)",
    title="Unitary Evolution Recurrent Neural Networks, re-implemented",
    code="rand0musername/urnn",
    trainings=(
        Training("copying", (100,), ("arjovsky",), COPYING),
        Training("copying", (100,), ("tanh_rnn",), _baseline(COPYING, 80)),
        Training("copying", (100,), ("lstm",), _baseline(COPYING, 40)),
        *(
            Training("adding", (length,), models, setting.changed(iterations=iterations))
            for length, iterations in ITERATIONS.items()
            for models, setting in (
                (("arjovsky",), ADDING),
                (("tanh_rnn", "lstm"), _baseline(ADDING, 128)),
            )
        ),
        *mnist_training(("arjovsky",), MNIST),
        *mnist_training(("lstm",), _baseline(MNIST, 128)),
    ),
    remarks=("Its figure of MNIST is Arjovsky et al.'s; it reports no numbers of its own there.",),
    remarks_on={
        "copying": (
            'A scalar input instead of a one-hot one, and ten classes; its option "timesteps" is '
            "T + 20.",
        ),
    },
)
