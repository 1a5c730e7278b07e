import math

import pytest
import torch

from comparisons.models import SequenceModel
from comparisons.records import Optimizer
from comparisons.tasks import TASKS
from comparisons.training.evaluation import measure, run_stream
from comparisons.training.trainer import DivergedError, train
from comparisons.training.training import Training

# A text gives as many targets as steps; an image has as many steps as pixels.
LENGTHS = {"char_lm": 35, "word_lm": 35, "pixel_mnist": 64, "permuted_mnist": 64}


@pytest.mark.parametrize(
    ("model", "task"),
    [*(("expm", task) for task in TASKS.names()), ("gru", "adding"), ("gru", "char_lm")],
)
def test_train_lowers_loss(make_run, model, task):
    fast = Optimizer("rmsprop", lr=1e-2, alpha=0.9)
    slow = Optimizer("rmsprop", lr=1e-3, alpha=0.9)
    run = make_run(
        model, task=task, iterations=60, hidden_size=16, batch_size=16, test_size=64, eval_every=20,
        optimizer=fast, unitary_optimizer=slow if model == "expm" else None,
        length=LENGTHS.get(task, 5),
    )  # fmt: skip
    seen = []
    result = train(run, lambda iteration, loss: seen.append((iteration, loss)))
    first, last = result.curve[0], result.final
    assert last.test_loss < 0.4 * first.test_loss + 0.6 * result.baseline
    assert [point.iteration for point in result.curve] == [0, 20, 40, 60]
    iterations = [iteration for iteration, _ in seen]  # some twice, as evaluations report too
    assert iterations == sorted(iterations)
    losses = dict(seen)
    assert list(losses) == list(range(61))
    window = [losses[iteration] for iteration in range(21, 41)]
    assert result.curve[2].train_loss == pytest.approx(math.fsum(window) / 20)


def test_train_fills_every_field_of_result(make_run):
    result = train(make_run("cayley"))
    assert result.curve[0].train_loss is None
    assert result.curve[0].seconds == 0
    assert 0 < result.curve[1].seconds < result.final.seconds < result.seconds
    assert 0 <= result.final.test_accuracy <= 1
    assert result.baseline == TASKS.get("copying")(5).baseline
    # read-out 8 * 9 + 9, input 8 * 10, modReLU 8, skew matrix 8 * 7 / 2
    assert result.parameters == 81 + 80 + 8 + 28
    assert result.recurrent_parameters == 28
    assert result.ms_per_step > 0
    assert result.peak_memory_mb is None or result.peak_memory_mb >= 0
    assert result.defect_start is not None
    assert result.defect_end is not None
    assert result.defect_end < 1e-5
    assert result.threads == torch.get_num_threads()
    assert set(result.versions) == {"python", "torch", "unitary_zoo"}
    assert result.machine["cpu"]
    assert result.machine["cores"] >= 1
    assert result.date.endswith("+00:00")


def test_train_records_no_defect_of_baseline(make_run):
    result = train(make_run("lstm", unitary_optimizer=None))
    assert result.defect_start is result.defect_end is None
    assert result.recurrent_parameters == 4 * 8 * 8


def test_train_is_reproducible(make_run):
    def losses(seed):
        points = train(make_run("full_capacity", seed=seed)).curve
        return [(point.train_loss, point.test_loss, point.test_accuracy) for point in points]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_train_data_are_shared_by_models_and_differ_from_test_data(make_run):
    task = TASKS.get("adding")(5)

    def draw(model, name):
        run = make_run(model, task="adding")
        return task.batch(4, run_stream(run, name))[0]

    assert torch.equal(draw("cayley", "train"), draw("lstm", "train"))
    assert not torch.equal(draw("cayley", "train"), draw("cayley", "test"))


def test_train_raises_on_undefined_training_loss(make_run):
    huge = Optimizer("sgd", lr=1e30)
    run = make_run("tanh_rnn", task="adding", optimizer=huge, unitary_optimizer=None)
    with pytest.raises(DivergedError, match=r"iteration .* lower the learning rate"):
        train(run)


def test_train_raises_on_undefined_test_loss(make_run):
    # One step, finite before it: only the evaluation after it sees the ruin.
    huge = Optimizer("sgd", lr=1e30)
    run = make_run("tanh_rnn", task="adding", optimizer=huge, unitary_optimizer=None, iterations=1)
    with pytest.raises(DivergedError, match="the test loss became"):
        train(run)


@pytest.mark.parametrize("task", ["char_lm", "copying"])
def test_train_carries_states_only_where_batch_continues(make_run, task, monkeypatch):
    seen = []
    update = Training._update

    def spy(training, batch, share, state):
        seen.append((batch.continues, state is not None))
        loss = update(training, batch, share, state)
        assert not training.state.requires_grad  # or gradients would reach back over all batches
        return loss

    monkeypatch.setattr(Training, "_update", spy)
    train(make_run("cayley", task=task, iterations=3))
    goes_on = task == "char_lm"
    assert seen == [(False, False), (goes_on, goes_on), (goes_on, goes_on)]


def test_measure_is_mean_over_targets(make_run):
    run = make_run("expm")
    copying = TASKS.get("copying")(5)
    uneven = list(copying.test_batches(4, 6, torch.Generator().manual_seed(0)))
    text = TASKS.get("char_lm")(7)
    streams = list(text.valid_batches(4, 12))
    assert [batch.targets.shape[1] for batch in uneven] == [4, 2]
    assert [batch.continues for batch in streams] == [False, True, True]
    for task, batches, dim in ((copying, uneven, 1), (text, streams, 0)):
        model = SequenceModel("expm", run.setting, task)
        inputs, targets = (torch.cat([batch[i] for batch in batches], dim) for i in (0, 1))
        outputs = model(inputs)[0]
        loss, accuracy = measure(model, task, run.device, batches)
        # float32, sums in another order
        assert loss == pytest.approx(task.loss(outputs, targets).item(), rel=1e-5)
        assert accuracy == pytest.approx(task.accuracy(outputs, targets).item(), rel=1e-5)


def test_penalty_enters_gradient_and_not_recorded_loss(make_run):
    sgd = Optimizer("sgd", lr=0.5)

    def gains(penalty):
        run = make_run("nnrnn", optimizer=sgd, unitary_optimizer=sgd, penalty=penalty)
        training = Training(run)
        (scheme,) = training.model.schemes()
        scheme.gains.data.fill_(0.5)
        training.step()
        return scheme.gains.detach(), training.losses[0]

    (free, loss), (held, same) = gains(None), gains((0.1, 0.0))
    assert loss == same  # what is recorded is the task's loss
    # lr times the derivative of delta (gamma - 1)^2: 0.5 * 2 * 0.1 * (0.5 - 1)
    torch.testing.assert_close(free - held, torch.full_like(free, -0.05))


def test_penalty_refuses_model_without_one(make_run):
    with pytest.raises(TypeError, match="no penalty of its own"):
        train(make_run("cayley", penalty=(0.1,)))
