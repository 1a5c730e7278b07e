"""Wisdom et al. (2016): full-capacity uRNN; copying at T = 1000 and 2000."""

from dataclasses import replace

from comparisons.papers import Outcome, Paper, Training
from comparisons.papers.arjovsky_2016 import LSTM_COPYING, URNN_COPYING
from comparisons.records import Optimizer

CODE = (
    "Wisdom et al. 2016, stwisdom/urnn [V]; fresh sequences instead of 100,000 fixed ones; form of "
    "RMSprop and of the initial state as in Arjovsky's code (assumed)"
)
COPYING = (1000, 2000)

FULL = replace(
    URNN_COPYING,
    iterations=10_000,
    unitary_optimizer=Optimizer("sgd", lr=1e-3),
    source=f"{CODE}; the Cayley step takes the raw gradient; W starts from the Haar measure "
    "instead of a random product of Arjovsky's form",
)
RESTRICTED = replace(URNN_COPYING, hidden_size=470, iterations=10_000, source=CODE)
LSTM = replace(LSTM_COPYING, hidden_size=68, iterations=10_000, source=f"{CODE}; plain LSTM")

PAPER = Paper(
    cite="Wisdom et al. 2016",
    title="Full-Capacity Unitary Recurrent Neural Networks",
    code="stwisdom/urnn",
    trainings=(
        Training("copying", COPYING, ("full_capacity",), FULL),
        Training("copying", COPYING, ("arjovsky",), RESTRICTED),
        Training("copying", COPYING, ("lstm",), LSTM),
    ),
    outcomes=(
        Outcome("copying", COPYING, "full-capacity uRNN 128", ("full_capacity",), "solved", "M-M"),
        Outcome("copying", (1000,), "restricted uRNN 470", ("arjovsky",), "solved, slowly", "M-M"),
        Outcome("copying", (2000,), "restricted uRNN 470", ("arjovsky",), "fails", "M-M"),
        Outcome("copying", COPYING, "LSTM 68", ("lstm",), "at the baseline", "M-M"),
    ),
    remarks=(
        "Its code reads the gradient of W from half of the hidden rows; the gradient used here is "
        "complete, about twice as large in expectation.",
    ),
)
