"""A run of the comparison records how far its weight is off the group, and the table shows it."""

import math

import pytest

from comparisons import records
from comparisons.results.summary import Summary
from comparisons.tasks import TASKS
from comparisons.training import trainer
from unitary_zoo import Parametrization


@pytest.mark.parametrize("scheme", Parametrization.names())
def test_run_records_and_shows_the_defect(scheme):
    accepts = Parametrization.get(scheme).info.accepts
    size = next(n for n in (6, 8, 4, 5, 7) if accepts(n))
    optimizer = records.Optimizer("rmsprop", lr=1e-3)
    setting = records.Setting.of(
        hidden_size=size, batch_size=2, iterations=2, optimizer=optimizer,
        unitary_optimizer=optimizer, test_size=2, eval_every=2,
    )  # fmt: skip
    result = trainer.train(records.Run("copying", scheme, 3, 0, setting))
    shown = Summary((result,), TASKS.get("copying")(3)).cells("")
    for column, value in (("defect start", result.defect_start), ("defect end", result.defect_end)):
        assert value is not None
        assert math.isfinite(value)
        # Two digits are shown.
        assert math.isclose(float(shown[column]), value, rel_tol=0.1)
