"""Kerg et al. (2019): nnRNN; its copying experiment compares six models at T = 200."""

from dataclasses import replace

from comparisons.papers import Outcome, Paper, Training
from comparisons.records import Optimizer, Setting

CODE = "Kerg et al. 2019 (nnRNN), nnRNN/nnRNN_release [V]"

EXPRNN = Setting(
    hidden_size=128,
    batch_size=10,
    iterations=1_500,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.99),
    unitary_optimizer=Optimizer("rmsprop", lr=1e-4, alpha=0.99),
    init="henaff",
    source=CODE,
)
LSTM = replace(
    EXPRNN,
    optimizer=Optimizer("rmsprop", lr=5e-4),
    unitary_optimizer=None,
    init=None,
    source=CODE,
)

PAPER = Paper(
    cite="Kerg et al. 2019",
    title="Non-normal Recurrent Neural Network (nnRNN): learning long time dependencies while "
    "improving expressivity with transient dynamics",
    code="nnRNN/nnRNN_release",
    trainings=(
        Training("copying", (200,), ("expm",), EXPRNN),
        Training("copying", (200,), ("lstm",), LSTM),
    ),
    outcomes=(
        Outcome(
            "copying",
            (200,),
            "nnRNN 128",
            ("nnrnn",),
            "below ≈ .02 by about 300 iterations of 10",
            "F",
        ),
        Outcome(
            "copying",
            (200,),
            "expRNN 128",
            ("expm",),
            "below ≈ .02 by about 300 iterations of 10",
            "F",
        ),
        Outcome(
            "copying",
            (200,),
            "EURNN 128",
            ("eunn",),
            "below ≈ .02 by about 400 iterations of 10",
            "F",
        ),
        Outcome("copying", (200,), "RNN-orth 128", (), "≈ .02 by about 250 iterations of 10", "F"),
        Outcome("copying", (200,), "RNN", ("tanh_rnn",), "ends at the baseline, ≈ .0945", "F"),
        Outcome("copying", (200,), "LSTM", ("lstm",), "ends at the baseline, ≈ .0945", "F"),
    ),
    remarks=(
        "Its RNN has modReLU units on this task, ours tanh. Of its sizes those of 128 units are "
        "run here, not those matched in parameters (expRNN 176, LSTM 63).",
    ),
)
