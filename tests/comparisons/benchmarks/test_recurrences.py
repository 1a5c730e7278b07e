"""The forms of a recurrence that are compared."""

import pytest
import torch

from comparisons.benchmarks import recurrences
from comparisons.benchmarks.recurrences import Recurrence


@pytest.mark.parametrize("last_only", [True, False])
def test_orthogonal_loops_hold_one_parametrized_matrix(last_only):
    r = Recurrence(5, 2, 4, "relu", last_only)
    x = recurrences.draw(r, torch.float64)[1]
    for build in (recurrences.geotorch_loop, recurrences.torch_orthogonal_loop):
        loop = build(r, x)
        names = list(loop.leaves)
        # The matrix is the only leaf that is parametrized, and the loop must keep norms with it.
        assert sum("parametrizations" in name for name in names) == 1
        assert "bias_hh" not in names
        states = loop.forward()
        assert states.shape == ((2, 5) if last_only else (4, 2, 5))
        assert set(loop.results(torch.ones_like(states))) == {"states", *names}
