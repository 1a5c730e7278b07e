"""Nguyen-Duy, Pham and Nguyen (2023): asRNN, between saturated and orthogonal; numbers alone."""

from comparisons.papers import Paper

PAPER = Paper(
    cite="Nguyen-Duy et al. 2023",
    title="Adaptive-saturated RNN: Remember more with less instability",
    code="ndminhkhoi46/asRNN",
    remarks=("There is no asRNN in this comparison: its recurrent matrix is not unitary.",),
)
