"""Chang et al. (2019): AntisymmetricRNN, a discretised stable flow; numbers alone."""

from comparisons.papers import Paper

PAPER = Paper(
    cite="Chang et al. 2019",
    title="AntisymmetricRNN: A Dynamical System View on Recurrent Neural Networks",
    code="none read",
    remarks=(
        "There is no AntisymmetricRNN in this comparison: I + εA with A skew is a step along the "
        "exponential, and not orthogonal.",
    ),
)
