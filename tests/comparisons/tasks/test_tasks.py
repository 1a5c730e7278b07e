import pytest
import torch
from hypothesis import strategies as st

from comparisons.tasks import TASKS

lengths = st.integers(2, 60)
sizes = st.integers(1, 12)
LENGTHS = {"pixel_mnist": 64, "permuted_mnist": 64}  # an image has as many steps as pixels
seeds = st.integers(0, 2**32)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TASKS.names())
def test_task_data_are_reproducible_and_fresh(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    batches = task.train_batches(5, generator(7))
    first, second = next(batches), next(batches)
    again = next(task.train_batches(5, generator(7)))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.inputs, second.inputs)


@pytest.mark.parametrize("name", TASKS.names())
def test_task_test_set_is_reproducible_and_has_asked_size(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    once, again = ([*task.test_batches(5, 12, generator(7))] for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    if not once[-1].continues:  # a text is one sequence, cut into batches
        assert [batch.inputs.shape[1] for batch in once] == [5, 5, 2]


@pytest.mark.parametrize("name", TASKS.names())
def test_task_right_answer_has_zero_loss_and_full_accuracy(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    targets = next(task.train_batches(6, generator(0))).targets
    outputs = targets
    if not targets.is_floating_point():
        outputs = 50.0 * torch.nn.functional.one_hot(targets, task.output_size).float()
    assert task.loss(outputs, targets).item() < 1e-6
    assert task.accuracy(outputs, targets).item() == 1.0


@pytest.mark.parametrize("name", TASKS.names())
def test_task_memoryless_baseline_is_at_most_the_constant_one(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    assert task.memoryless is not None
    assert 0 < task.memoryless <= task.baseline
    # a formula of its own wherever it is another number
    assert (task.memoryless == task.baseline) <= (not task.memoryless_formula)
    assert task.memoryless_formula or task.memoryless == task.baseline


@pytest.mark.parametrize("name", TASKS.names())
def test_task_describes_itself(name):
    task = TASKS.get(name)
    assert task.name == name
    assert task.title
    assert task.baseline_formula
    with pytest.raises(ValueError, match="longer"):
        task(task.shortest - 1)


def test_task_registry_suggests_nearest_name():
    with pytest.raises(LookupError, match="copying"):
        TASKS.get("copyng")


@pytest.mark.parametrize("name", TASKS.names())
def test_task_parts_of_batch_are_its_sequences_in_order(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    batch = next(task.train_batches(5, generator(0)))
    parts = [task.part(batch, index, 7) for index in range(7)]
    assert [part.inputs.shape[1] for part in parts] == [1, 1, 1, 1, 1, 0, 0]
    assert torch.equal(torch.cat([part.inputs for part in parts], 1), batch.inputs)
    dim = int(task.per_step)
    assert torch.equal(torch.cat([part.targets for part in parts], dim), batch.targets)
    # the weighted losses of shares are those of the whole
    outputs = torch.randn(*batch.targets.shape[: dim + 1], task.output_size)
    shares = [
        (x.targets.numel() / batch.targets.numel(), x)
        for x in (task.part(batch, i, 2) for i in (0, 1))
    ]
    losses = [
        share * task.loss(own, part.targets)
        for (share, part), own in zip(shares, outputs.tensor_split(2, dim), strict=True)
    ]
    assert sum(losses).item() == pytest.approx(task.loss(outputs, batch.targets).item(), rel=1e-5)
