"""Jovanović and Đuričić (PSI:ML 2017): an independent re-implementation of the uRNN."""

from comparisons.papers import Outcome, Paper

PAPER = Paper(
    cite="PSI:ML 2017 (Jovanović, Đuričić)",
    title="Unitary Evolution Recurrent Neural Networks, re-implemented",
    code="rand0musername/urnn",
    # No trainings: it draws the initial state at random in every batch, which no model here does.
    outcomes=(
        Outcome(
            "copying", (100,), "uRNN 128", ("arjovsky",), "≈ .01–.03, noisy, at 20k steps", "F,V"
        ),
        Outcome("copying", (100,), "tanh RNN 80", ("tanh_rnn",), "≈ .1734", "F,V"),
        Outcome(
            "copying", (100,), "LSTM 40", ("lstm",), "≈ .142, mean of the last 500 steps", "F,V"
        ),
        Outcome("adding", (100,), "uRNN 512", ("arjovsky",), "≈ .035 at 6k steps", "F,V"),
        Outcome(
            "adding", (100,), "LSTM 128", ("lstm",), "≈ .0084, learns after about 3.3k steps", "F,V"
        ),
        Outcome("adding", (100,), "tanh RNN 128", ("tanh_rnn",), "≈ .169", "F,V"),
        Outcome("adding", (200,), "LSTM 128", ("lstm",), "≈ .076 at 10k steps", "F,V"),
    ),
    remarks=("On copying, a scalar input instead of a one-hot one.",),
)
