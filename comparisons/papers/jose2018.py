"""Jose, Cissé and Fleuret (2018): KRU, Kronecker products of small factors; numbers alone."""

from comparisons.papers import Paper

PAPER = Paper(
    cite="Jose et al. 2018",
    title="Kronecker Recurrent Units",
    code="none read",
    remarks=(
        "Its factors are held near unitary by a penalty, Σ ‖WᴴW − I‖²; those of `kronecker` are "
        "unitary. Its settings were not read, so it has no runs of its own here.",
    ),
)
