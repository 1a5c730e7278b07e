"""The number of units that gives a model the parameters asked for."""

import pytest

from comparisons.plan import plan, sizes
from comparisons.tasks import TASKS


@pytest.mark.parametrize(
    ("size", "units"), [(60, 8), (70, 8), (76, 9), (90, 9), (160, 9), (170, 16), (300, 16)]
)
def test_equal_parameters_takes_nearest_size_where_sizes_have_gaps(monkeypatch, size, units):
    known = (1, 2, 4, 8, 9, 16, 32)
    monkeypatch.setattr(
        sizes, "accepted_size", lambda model, n: next(own for own in known if own >= n)
    )
    monkeypatch.setattr(
        sizes, "parameters", lambda setting, model, task: setting.model.hidden_size**2
    )
    (run,) = plan("smoke", ["copying"], ["gru"])
    found = sizes.equal_parameters(run.setting, "gru", size, TASKS.get("copying")(10))
    assert found.model.hidden_size == units
    assert f"{units**2:,} parameters" in found.source
