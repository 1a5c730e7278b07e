"""Emami et al. (2019): unitary against contractive ReLU networks, over the number of units."""

from dataclasses import replace

from comparisons.papers import Outcome, Paper, Training
from comparisons.records import Optimizer, Setting

ADAM = Optimizer("adam", lr=1e-2)
SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
SYSTEM = Setting(
    hidden_size=4,
    batch_size=10,
    iterations=7_000,
    optimizer=ADAM,
    nonlinearity="relu",
    bias=True,
    test_size=300,
    eval_every=700,
    source="Emami et al. 2019, poster and melikaemami/URNN [V]: 100 epochs of 70 batches at the "
    "poster's learning rate (the program's default is 0.001); Adam's epsilon is torch's 1e-8 "
    "instead of 1e-7",
)
URNN_SYSTEM = replace(SYSTEM, unitary_optimizer=ADAM)
LSTM_SYSTEM = replace(
    SYSTEM,
    source=f"{SYSTEM.source}; recurrent kernels start Glorot-uniform, gate by gate",
)
CONTRACTIVE_SYSTEM = replace(
    SYSTEM,
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
OURS = {"RNN": ("rnn",), "URNN": ("svd_projection",), "LSTM": ("lstm",)}

PAPER = Paper(
    cite="Emami et al. 2019",
    title="Input-Output Equivalence of Unitary and Contractive RNNs",
    code="melikaemami/URNN",
    trainings=tuple(
        Training(
            "contractive_system",
            (1000,),
            models,
            replace(setting, hidden_size=size),
            variants=("20dB", "15dB"),
        )
        for models, setting in (
            (("svd_projection",), URNN_SYSTEM),
            (("rnn",), SYSTEM),
            (("lstm",), LSTM_SYSTEM),
            (("contractive_rnn",), CONTRACTIVE_SYSTEM),
        )
        for size in SIZES
    ),
    outcomes=tuple(
        Outcome(
            "contractive_system",
            (1000,),
            f"{model} {size}",
            OURS[model],
            f"R² ≈ {value:.3f} at {variant.removesuffix('dB')} dB, mean of 30 realisations",
            "F",
            size=size,
            variant=variant,
            value=value,
        )
        for (variant, model), values in SYSTEM_R2.items()
        for size, value in zip(SIZES, values, strict=True)
        if value is not None
    ),
    remarks=(
        "The poster divides AᵀA by ‖A‖₂², the authors' program does not; the variants 20dB and "
        "15dB follow the poster.",
        "Its URNN replaces the recurrent matrix by its polar factor after every batch, as "
        "svd_projection does.",
    ),
)
