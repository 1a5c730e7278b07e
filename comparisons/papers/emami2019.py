"""Emami et al. (2019): unitary against contractive ReLU networks, over the number of units."""

from dataclasses import replace

from comparisons.papers import (
    Paper,
    Training,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

ADAM = Optimizer("adam", lr=1e-2)
SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
SYSTEM = Setting.of(
    hidden_size=4,
    batch_size=10,
    iterations=7_000,
    optimizer=ADAM,
    nonlinearity="relu",
    bias=True,
    test_size=300,
    eval_every=70,
    report_best_test=True,
    source="Emami et al. 2019, poster and melikaemami/URNN [V]: 100 epochs of 70 batches at the "
    "poster's learning rate (the program's default is 0.001); Adam's epsilon is torch's 1e-8 "
    "instead of 1e-7",
)
URNN_SYSTEM = SYSTEM.changed(unitary_optimizer=ADAM)
LSTM_SYSTEM = SYSTEM.changed(
    source=f"{SYSTEM.source}; recurrent kernels start Glorot-uniform, gate by gate",
)
CONTRACTIVE_SYSTEM = SYSTEM.changed(
    source=f"not in the paper's experiment; trained as its RNN: {SYSTEM.source}",
)


MNIST_SIZES = (16, 32, 48, 64, 80, 96)
RMSPROP = Optimizer("rmsprop", lr=1e-3, alpha=0.9)
MNIST = Setting.of(
    hidden_size=64,
    batch_size=64,
    iterations=mnist_iterations(100, 64),
    optimizer=RMSPROP,
    nonlinearity="relu",
    bias=True,
    test_size=10_000,
    eval_every=mnist_iterations(1, 64),
    report_best_test=True,
    source="Emami et al. 2019, poster and melikaemami/URNN [V]: 100 epochs (the poster stops early "
    "by validation, for which the program takes the test set); RMSprop's epsilon is torch's 1e-8 "
    "instead of 1e-7",
)
SLOW_MNIST = MNIST.changed(optimizer=replace(RMSPROP, lr=1e-4))
URNN_MNIST = MNIST.changed(unitary_optimizer=RMSPROP)

PAPER = Paper(
    cite="Emami et al. 2019",
    title="Input-Output Equivalence of Unitary and Contractive RNNs",
    code="melikaemami/URNN",
    trainings=(
        *(
            Training(
                "contractive_system",
                (1000,),
                (model,),
                setting.changed(hidden_size=size),
                variants=("20dB", "15dB"),
                seeds=tuple(range(30)),  # realisations of system and data
            )
            for model, setting in (
                ("svd_projection", URNN_SYSTEM),
                ("rnn", SYSTEM),
                ("lstm", LSTM_SYSTEM),
                ("contractive_rnn", CONTRACTIVE_SYSTEM),
            )
            for size in SIZES
        ),
        *(
            training
            for model, setting in (
                ("svd_projection", URNN_MNIST),
                ("contractive_rnn", MNIST),
                ("rnn", SLOW_MNIST),
                ("rnn", MNIST),
            )
            for size in MNIST_SIZES
            for training in mnist_training(
                (model,), setting.changed(hidden_size=size), ("permuted_mnist",)
            )
        ),
    ),
    remarks=(
        "Its program keeps the test loss of every epoch; how its figure takes one of them is not "
        "said. Here it is the least: a ReLU network that is free to expand has epochs in which its "
        "loss is many times that.",
        "The poster divides AᵀA by ‖A‖₂², the authors' program does not; the variants 20dB and "
        "15dB follow the poster.",
        "Its URNN replaces the recurrent matrix by its polar factor after every batch, as "
        "svd_projection does.",
    ),
)
