import pytest

from comparisons.tasks import TASKS
from comparisons.tasks._constant import constant_loss
from comparisons.tasks.adding import Adding


@pytest.mark.parametrize(
    ("name", "length"),
    [("adding", 10), ("copying", 5), ("kth_highest", 12), ("contractive_system", 20)],
)
def test_constant_loss_agrees_with_the_formula(name, length):
    task = TASKS.get(name)(length)
    assert constant_loss(task) == pytest.approx(task.baseline, rel=0.04)


def test_constant_loss_is_measured_once_in_a_process():
    class Counted(Adding):
        draws = 0

        def batch(self, size, generator):
            Counted.draws += 1
            return super().batch(size, generator)

    losses = [constant_loss(Counted(length)) for length in (10, 10, 12, 10)]
    assert Counted.draws == 4  # two batches for each length
    assert losses[0] == losses[1] == losses[3] != losses[2]
