"""Vorontsov et al. (2017): singular values in a margin around 1, or a soft penalty."""

from comparisons.papers import Paper, Source, mnist_accuracy, mnist_iterations, mnist_training
from comparisons.records import Optimizer, Setting

RMSPROP = Optimizer("rmsprop", lr=1e-4, alpha=0.9)
MNIST = Setting.of(
    hidden_size=128,
    batch_size=100,
    iterations=mnist_iterations(100, 100),
    optimizer=RMSPROP,
    unitary_optimizer=RMSPROP,
    learn_h0=True,
    clip_norm=100.0,
    test_size=10_000,
    eval_every=mnist_iterations(1, 100),
    nonlinearity="relu",
    source="Vorontsov et al. 2017, veugene/spectre_release [V]; batch, length of the training and "
    "ReLU assumed; no weight decay; the orthogonal factors are Cayley maps that learn at 1e-4 by "
    "RMSprop, instead of a Cayley step at 1e-6, which its code takes along a doubtful direction; "
    "the spectrum learns at 1e-4 instead of 1e-4 / 2m for a margin of m",
)
MARGINS = {
    0.0: (77.2, 83.6),
    0.001: (79.2, 84.6),
    0.01: (85.5, 89.6),
    0.1: (94.1, 91.4),
    1.0: (93.8, 90.8),
}
"""Accuracies on MNIST and permuted MNIST by margin."""

PAPER = Paper(
    cite="Vorontsov et al. 2017",
    title="On orthogonality and learning recurrent networks with long term dependencies",
    code="veugene/spectre_release",
    trainings=(
        *mnist_training(("cayley",), MNIST),
        *(
            training
            for margin in MARGINS
            if margin
            for training in mnist_training(
                ("spectral_band",), MNIST.changed(options=(("radius", margin),))
            )
        ),
    ),
    outcomes=(
        *(
            outcome
            for margin, (pixel, permuted) in MARGINS.items()
            for outcome in mnist_accuracy(
                f"margin {margin:g},",
                ("spectral_band",) if margin else ("cayley",),
                128,
                pixel,
                permuted,
                Source.RECALLED_MEDIUM,
                (("radius", margin),) if margin else (),
            )
        ),
        *mnist_accuracy("factorised", ("spectral_band",), 128, 94.6, None, Source.SECOND_HAND),
        *mnist_accuracy("soft orthogonality", (), 128, 94.1, 91.4, Source.SECOND_HAND),
        *mnist_accuracy("LSTM", ("lstm",), 128, 97.3, 92.6, Source.SECOND_HAND),
    ),
    remarks=(
        "On its copying task the input is a scalar, and on adding the target is the mean of the "
        "two numbers, with a baseline of 1/24; no number of either is set beside ours.",
    ),
)
