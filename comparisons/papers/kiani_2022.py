"""Kiani et al. (2022): projUNN, low-rank projected updates."""

from comparisons.papers import Outcome, Paper

PAPER = Paper(
    cite="Kiani et al. 2022",
    title="projUNN: efficient method for training deep networks with unitary matrices",
    code="facebookresearch/projUNN",
    outcomes=(
        Outcome(
            "copying", (1000, 2000), "projUNN-T 190, rank 1", ("projunn_t",),
            "converges (figure); rank 1 is the fastest", "V2",
        ),
        Outcome(
            "adding", (200, 750), "projUNN-T 170", ("projunn_t",), "learns (figure)", "V2"
        ),
    ),
)  # fmt: skip
