"""Wisdom et al. (2016): full-capacity uRNN; copying, MNIST and system identification."""

from dataclasses import replace

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.papers.arjovsky2016 import LSTM_COPYING, URNN_COPYING
from comparisons.records import Optimizer, Setting

CODE = (
    "Wisdom et al. 2016, stwisdom/urnn [V]; fresh sequences instead of 100,000 fixed ones; form of "
    "RMSprop and of the initial state as in Arjovsky's code (assumed)"
)
COPYING = (1000, 2000)

FULL = URNN_COPYING.changed(
    iterations=10_000,
    unitary_optimizer=Optimizer("sgd", lr=1e-3),
    source=f"{CODE}; the Cayley step takes the raw gradient; W starts from the Haar measure "
    "instead of a random product of Arjovsky's form",
)
RESTRICTED = URNN_COPYING.changed(hidden_size=470, iterations=10_000, source=CODE)
LSTM = LSTM_COPYING.changed(hidden_size=68, iterations=10_000, source=f"{CODE}; plain LSTM")

MNIST = (
    "Wisdom et al. 2016, stwisdom/urnn [V]; 200 epochs of 60,000 without early stopping, instead "
    "of at most 200 of 55,000, stopped after 5 without a better loss on 5,000 held out; form of "
    "RMSprop and of the initial state as in Arjovsky's code (assumed)"
)


def _mnist(size: int, lr: float, unitary_lr: float | None = None) -> Setting:
    """The full-capacity uRNN's setting if W has a rate of its own, else the restricted one's."""
    rmsprop = replace(URNN_COPYING.training.optimizer, lr=lr)
    full = unitary_lr is not None
    return URNN_COPYING.changed(
        hidden_size=size,
        batch_size=50,
        iterations=mnist_iterations(200, 50),
        optimizer=rmsprop,
        unitary_optimizer=Optimizer("sgd", unitary_lr) if unitary_lr is not None else rmsprop,
        test_size=10_000,
        eval_every=mnist_iterations(1, 50),
        options=(("rms_normalize", True),) if full else (),
        source=f"{MNIST}; the gradient of W is divided by its root mean square (natGradRMS); W "
        "starts from the Haar measure instead of a random product of Arjovsky's form"
        if full
        else MNIST,
    )


def _lstm_mnist(size: int) -> Setting:
    return _mnist(size, 1e-3).changed(
        unitary_optimizer=None,
        learn_h0=False,
        clip_norm=1.0,
        source=f"{MNIST}; plain LSTM",
    )


STATES = (4, 6, 7, 8, 16)
IDENTIFICATION = {
    n: Setting.of(
        hidden_size=n,
        batch_size=50,
        iterations=40_000,
        optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
        unitary_optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
        only_recurrent_weight=True,
        eval_every=400,
        source="Wisdom et al. 2016 [M-H]: 100 epochs of 20,000 sequences, W alone is learned; the "
        "6 seeds are 6 starts on one system, and draw fresh sequences in place of 20,000 fixed "
        "ones; the best is taken by test loss; form of RMSprop assumed",
    )
    for n in STATES
}
FULL_IDENTIFICATION = {
    n: setting.changed(
        unitary_optimizer=Optimizer("sgd", lr=1e-3),
        source=f"{setting.source}; the Cayley step takes the raw gradient",
    )
    for n, setting in IDENTIFICATION.items()
}

PAPER = Paper(
    cite="Wisdom et al. 2016",
    title="Full-Capacity Unitary Recurrent Neural Networks",
    code="stwisdom/urnn",
    trainings=(
        Training("copying", COPYING, ("full_capacity",), FULL),
        Training("copying", COPYING, ("arjovsky",), RESTRICTED),
        Training("copying", COPYING, ("lstm",), LSTM),
        *mnist_training(("full_capacity",), _mnist(116, 1e-3, 1e-6)),
        *mnist_training(("full_capacity",), _mnist(512, 1e-4, 1e-6)),
        *mnist_training(("arjovsky",), _mnist(512, 1e-4)),
        *mnist_training(("lstm",), _lstm_mnist(128)),
        *mnist_training(("lstm",), _lstm_mnist(256)),
        *(
            Training(
                "unitary_system",
                (150,),
                (model,),
                settings[n],
                (f"restricted-{n}", f"full-{n}"),
                seeds=tuple(range(6)),
            )
            for model, settings in (
                ("arjovsky", IDENTIFICATION),
                ("full_capacity", FULL_IDENTIFICATION),
            )
            for n in STATES
        ),
    ),
    remarks=(
        "Its code reads the gradient of W from half of the hidden rows; the gradient used here is "
        "complete, about twice as large in expectation.",
        "The paper prints the tangent as Gᴴ W - Wᴴ G beside a factor on the left, which is no "
        "direction of descent for columns; the step here is its code's, A = G Wᴴ - W Gᴴ.",
    ),
    remarks_on={
        "unitary_system": (
            "Its table is of the best of 6 starts; the best of our seeds is comparable with it, "
            "their mean is not.",
        ),
    },
)
