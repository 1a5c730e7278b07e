import pytest

from comparisons.tasks import TASKS
from comparisons.tasks._constant import constant_loss


@pytest.mark.parametrize(
    ("name", "length"),
    [("adding", 10), ("copying", 5), ("kth_highest", 12), ("contractive_system", 20)],
)
def test_constant_loss_agrees_with_the_formula(name, length):
    task = TASKS.get(name)(length)
    assert constant_loss(task) == pytest.approx(task.baseline, rel=0.04)
