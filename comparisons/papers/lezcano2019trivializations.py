"""Lezcano-Casado (2019): dynamic trivializations, the exponential around a base that moves."""

from comparisons.papers import Paper, Source, Training, mnist_accuracy, mnist_training
from comparisons.papers.lezcano2019 import COPYING as EXPRNN_COPYING
from comparisons.papers.lezcano2019 import PAPER as EXPRNN
from comparisons.papers.lezcano2019 import RATES, mnist
from comparisons.records import Setting

PERIODS = {1: "K = 1", 100: "K = 100", None: "K = ∞"}
"""Steps between two rebases; None is never."""


def _rebased(setting: Setting, every: int | None) -> Setting:
    return setting.changed(
        options=(("rebase_every", every),),
        source=f"{setting.source}; {PERIODS[every]}",
    )


ACCURACIES = {
    1: {170: (98.3, 95.2), 360: (98.4, 96.3), 512: (98.7, 96.7)},
    100: {170: (98.2, 95.1), 360: (98.8, 96.4), 512: (98.9, 96.7)},
    None: {170: (98.1, 95.0), 360: (98.3, 96.5), 512: (98.9, 96.8)},
}
"""On MNIST and permuted MNIST by K and size."""
TAGS_PIXEL = {1: Source.RECALLED_MEDIUM, 100: Source.RECALLED_LOW, None: Source.RECALLED_LOW}

PAPER = Paper(
    cite="Lezcano-Casado 2019",
    title="Trivializations for Gradient-Based Optimization on Manifolds",
    code="Lezcano/expRNN",
    trainings=(
        Training("copying", (1000, 2000), ("dtriv",), _rebased(EXPRNN_COPYING, 100)),
        *(
            training
            for every in PERIODS
            for task, rates in RATES.items()
            for size, lr in rates.items()
            for training in mnist_training(("dtriv",), _rebased(mnist(size, lr), every), (task,))
        ),
    ),
    outcomes=tuple(
        outcome
        for every, name in PERIODS.items()
        for size, (pixel, permuted) in ACCURACIES[every].items()
        for first, second, tag in (
            (pixel, None, TAGS_PIXEL[every]),
            (None, permuted, Source.SECOND_HAND),
        )
        for outcome in mnist_accuracy(
            f"dtriv, {name},", ("dtriv",), size, first, second, tag, (("rebase_every", every),)
        )
    ),
    remarks=("Its base is projected to the group by hand now and then; here at every rebase.",),
    remarks_on=EXPRNN.remarks_on,
)
