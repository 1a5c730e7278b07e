"""Vorontsov et al. (2017): singular values in a margin around 1, or a soft penalty."""

from comparisons.papers import Paper, mnist_iterations, mnist_training
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
MARGINS = (0.001, 0.01, 0.1, 1.0)

PAPER = Paper(
    cite="Vorontsov et al. 2017",
    title="On orthogonality and learning recurrent networks with long term dependencies",
    code="veugene/spectre_release",
    trainings=(
        *mnist_training(("cayley",), MNIST.changed(init="cayley")),
        *(
            training
            for margin in MARGINS
            for training in mnist_training(
                ("spectral_band",), MNIST.changed(options=(("radius", margin),))
            )
        ),
    ),
    remarks=(
        "On its copying task the input is a scalar, and on adding the target is the mean of the "
        "two numbers, with a baseline of 1/24; no number of either is set beside ours.",
    ),
)
