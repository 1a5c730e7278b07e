"""Lezcano-Casado (2019): dynamic trivializations, the exponential around a base that moves."""

from comparisons.papers import Paper, Training, mnist_training
from comparisons.papers.lezcano2019 import COPYING as EXPRNN_COPYING
from comparisons.papers.lezcano2019 import PAPER as EXPRNN
from comparisons.papers.lezcano2019 import RATES, mnist
from comparisons.records import Setting

PERIODS = {1: "K = 1", 100: "K = 100", None: "K = ∞"}
"""Names of the numbers of steps between two rebases; None never rebases."""


def _rebased(setting: Setting, every: int | None) -> Setting:
    return setting.changed(
        options=(("rebase_every", every),),
        source=f"{setting.source}; {PERIODS[every]}",
    )


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
    remarks=("Its base is projected to the group by hand now and then; here at every rebase.",),
    remarks_on=EXPRNN.remarks_on,
)
