"""Emami et al. (2019): unitary against contractive ReLU networks, over the number of units."""

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

SYSTEM_R2 = {
    ("20dB", "RNN"): (.915, .969, .977, .983, .985, .988, .988, None, .988, .988, .989),
    ("20dB", "URNN"): (.853, .938, .954, None, .970, .978, .982, .981, .982, .985, .985),
    ("20dB", "LSTM"): (.912, .941, .956, None, .972, .976, .979, .981, .982, .984, .984),
    ("15dB", "RNN"): (.924, .926, .943, .944, .957, .956, .953, None, .960, .960, .960),
    ("15dB", "URNN"): (.867, .907, .920, None, .939, .940, .933, .946, .944, .949, .952),
}  # fmt: skip
"""R² by SNR and model at each of :data:`SIZES`, read off the figure (±.002); None is unreadable."""
OURS = {
    "RNN": ("rnn",),
    "URNN": ("svd_projection",),
    "LSTM": ("lstm",),
    "ContRNN": ("contractive_rnn",),
}

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
MNIST_ACCURACY = {
    ("URNN", 1e-3): (63.5, 77.8, 82.8, 85.1, 84.3, 87.0),
    ("ContRNN", 1e-3): (67.0, 72.9, 77.8, 82.7, 84.4, 84.5),
    ("RNN", 1e-4): (50.3, 68.3, 71.1, 76.9, 79.4, 83.3),
    ("RNN", 1e-3): (67.7, 76.2, 79.1, 58.1, 64.3, 66.6),
}
"""Accuracies in % by learning rate at each of :data:`MNIST_SIZES`, read off the figure (±0.5)."""

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
                setting.changed( hidden_size=size),
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
                (model,), setting.changed( hidden_size=size), ("permuted_mnist",)
            )
        ),
    ),
    outcomes=(
        *(
            PublishedResult(
                "contractive_system",
                (1000,),
                f"{model} {size}",
                OURS[model],
                f"R² ≈ {value:.3f}, mean of 30 realisations",
                Source.FIGURE,
                size=size,
                variant=variant,
                value=value,
            )
            for (variant, model), values in SYSTEM_R2.items()
            for size, value in zip(SIZES, values, strict=True)
            if value is not None
        ),
        *(
            outcome
            for (model, rate), values in MNIST_ACCURACY.items()
            for size, value in zip(MNIST_SIZES, values, strict=True)
            for outcome in mnist_accuracy(
                f"{model}, lr {rate:g},", OURS[model], size, None, value, Source.FIGURE,
                (("optimizer", replace(RMSPROP, lr=rate)),),
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
)  # fmt: skip
