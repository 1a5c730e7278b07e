"""Zhang, Lei and Dhillon (2018): spectral-RNN, singular values held near 1."""

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

ADAM = Optimizer("adam", lr=1e-3)
CODE = "Zhang et al. 2018 (spectral-RNN), zhangjiong724/spectral-RNN [V]"
FULL = (
    "orthogonal factors of full dimension instead of 16 reflections each, slope .01 of the leaky "
    "ReLU (its own is not known)"
)
ADDING = Setting.of(
    hidden_size=128,
    batch_size=128,
    iterations=39_100,
    optimizer=ADAM,
    unitary_optimizer=ADAM,
    nonlinearity="leaky_relu",
    lr_decay=0.99,
    decay_every=391,
    eval_every=391,
    options=(("radius", 0.01),),
    source=f"{CODE}; {FULL}; fresh sequences instead of 100 epochs of 50,000",
)
MNIST = ADDING.changed(
    hidden_size=256,
    iterations=mnist_iterations(100, 128),
    decay_every=mnist_iterations(1, 128),
    test_size=10_000,
    eval_every=mnist_iterations(1, 128),
    source=f"{CODE}; {FULL}; size of the paper [V2], the rest as on adding; 60,000 images instead "
    "of four fifths of all 70,000",
)

PAPER = Paper(
    cite="Zhang et al. 2018",
    title="Stabilizing Gradients for Deep Neural Networks via Efficient SVD Parameterization",
    code="zhangjiong724/spectral-RNN",
    trainings=(
        Training("adding", (100,), ("spectral_band",), ADDING),
        *mnist_training(("spectral_band",), MNIST, ("pixel_mnist",)),
    ),
    remarks_on={
        "pixel_mnist": (
            "97.7 % in the proceedings; its script splits all 70,000 images by itself.",
        ),
        "adding": ("No number is published for it.",),
    },
)
