"""Wisdom et al. (2016): full-capacity uRNN; copying, MNIST and system identification."""

from dataclasses import replace

from comparisons.papers import (
    Paper,
    PublishedResult,
    Source,
    Training,
    mnist_accuracy,
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
    """Of the full-capacity uRNN where W has a learning rate of its own, else of the restricted."""
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
ERRORS = {
    ("restricted", "arjovsky"): (4.81e-1, 6.75e-3, 3.53e-1, 3.51e-1, 7.30e-1),
    ("restricted", "full_capacity"): (1.28e-1, 3.03e-1, 2.16e-1, 5.04e-2, 1.28e-1),
    ("full", "arjovsky"): (3.21e-4, 3.36e-1, 3.36e-1, 2.69e-1, 7.60e-1),
    ("full", "full_capacity"): (8.72e-2, 3.86e-1, 2.62e-1, 7.22e-2, 1.00e-6),
}
"""Normalised squared errors by the family of the system and our model, for each of STATES."""
NAMES = {"arjovsky": "restricted uRNN", "full_capacity": "full-capacity uRNN"}

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
    outcomes=(
        PublishedResult(
            "copying", COPYING, "full-capacity uRNN 128", ("full_capacity",), "solved", Source.RECALLED_MEDIUM, 128
        ),
        PublishedResult(
            "copying", (1000,), "restricted uRNN 470", ("arjovsky",), "solved, slowly", Source.RECALLED_MEDIUM, 470
        ),
        PublishedResult("copying", (2000,), "restricted uRNN 470", ("arjovsky",), "fails", Source.RECALLED_MEDIUM, 470),
        PublishedResult("copying", COPYING, "LSTM 68", ("lstm",), "at the baseline", Source.RECALLED_MEDIUM, 68),
        *mnist_accuracy("LSTM", ("lstm",), 128, 97.8, 91.3, Source.RECALLED_HIGH),
        *mnist_accuracy("LSTM", ("lstm",), 256, 98.2, 91.7, Source.RECALLED_HIGH),
        *mnist_accuracy("restricted uRNN", ("arjovsky",), 512, 97.5, None, Source.SECOND_HAND),
        *mnist_accuracy("restricted uRNN", ("arjovsky",), 512, None, 93.3, Source.RECALLED_HIGH),
        *mnist_accuracy("full-capacity uRNN", ("full_capacity",), 116, 92.8, 92.1, Source.SECOND_HAND),
        *mnist_accuracy("full-capacity uRNN", ("full_capacity",), 512, 96.9, 94.1, Source.SECOND_HAND),
        *(
            PublishedResult(
                "unitary_system", (150,), f"{NAMES[model]} {n}", (model,), f"≈ {error:.3g}", Source.RECALLED_HIGH,
                n, f"{family}-{n}", error,
            )
            for (family, model), errors in ERRORS.items()
            for n, error in zip(STATES, errors, strict=True)
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
)  # fmt: skip
