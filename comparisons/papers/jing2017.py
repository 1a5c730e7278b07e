"""Jing et al. (2017): EUNN, unitary matrices of tunable capacity from rotations of pairs."""

from dataclasses import replace

from comparisons.papers import Paper, Training, mnist_training
from comparisons.records import Optimizer, Setting

CODE = "Jing et al. 2017 (EUNN), jingli9111/EUNN-tensorflow [V]"
START = (
    "Glorot input kernel instead of U(±.01), read-out of real and imaginary parts instead of the "
    "real ones alone"
)
RMSPROP = Optimizer("rmsprop", lr=1e-3, alpha=0.9)

COPYING = Setting.of(
    hidden_size=128,
    batch_size=128,
    iterations=10_000,
    optimizer=RMSPROP,
    unitary_optimizer=RMSPROP,
    options=(("capacity", 4),),
    source=f"{CODE}; {START}",
)
SLOWER = replace(RMSPROP, lr=1e-4)
MNIST = COPYING.changed(
    hidden_size=1024,
    iterations=20_000,
    optimizer=SLOWER,
    unitary_optimizer=SLOWER,
    test_size=10_000,
    eval_every=1_000,
    options=(("capacity", 2),),
    source=f"{CODE}; iterations of its README, sizes of the paper [M-H]; {START}; all 60,000 "
    "instead of 55,000 with 5,000 held out",
)

PAPER = Paper(
    cite="Jing et al. 2017",
    title="Tunable Efficient Unitary Neural Networks (EUNN) and their application to RNNs",
    code="jingli9111/EUNN-tensorflow",
    trainings=(
        Training("copying", (100,), ("eunn",), COPYING),
        Training("copying", (200,), ("eunn_fft",), COPYING.changed(options=())),
        *mnist_training(("eunn",), MNIST, ("permuted_mnist",)),
        *mnist_training(
            ("eunn_fft",), MNIST.changed(hidden_size=512, options=()), ("permuted_mnist",)
        ),
    ),
    remarks_on={
        "permuted_mnist": (
            "Its permutation is Python's shuffle with seed 2017, here RandomState(92916); its "
            "README runs the real form of the network.",
        ),
    },
)
