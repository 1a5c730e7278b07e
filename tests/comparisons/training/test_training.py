import io
import itertools
from dataclasses import replace

import pytest
import torch

from comparisons.models import is_baseline, model_names
from comparisons.plan.fitting import accepted_size
from comparisons.records import Optimizer, Point
from comparisons.results.store import to_text
from comparisons.tasks import TASKS, Batch
from comparisons.training.evaluation import make_task
from comparisons.training.trainer import train
from comparisons.training.training import Training, has_plateaued

ADAM = Optimizer("adam", lr=1e-2)


def saved(training):
    """The state of the training as a file gives it back."""
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def advance(training, iteration):
    if not training.curve:
        training.evaluate()
    while training.iteration < iteration and not training.finished:
        training.step()


def numbers(training):
    """All that a training has come to, without times."""
    curve = [replace(point, seconds=0.0) for point in training.curve]
    return curve, training.losses, training.rates, training.stopped


def check_goes_on(run, *iterations):
    """Compare a training that goes on from its state at these iterations with one that ran on."""
    last = run.setting.training.iterations
    whole, states = Training(run), []
    for iteration in iterations:
        advance(whole, iteration)
        states.append(saved(whole))
    advance(whole, last)
    for state in states:
        torch.manual_seed(1)
        other = Training(run, None, state)
        advance(other, last)
        assert numbers(other) == numbers(whole)
        assert other.eigenphases_start == whole.eigenphases_start
        for x, y in zip(other.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("model", model_names())
def test_training_goes_on_bit_identical(make_run, model):
    run = make_run(
        model, hidden_size=accepted_size(model, 4), iterations=4, eval_every=3, length=3,
        optimizer=ADAM, unitary_optimizer=None if is_baseline(model) else ADAM,
        lr_decay=0.5, decay_every=2,
    )  # fmt: skip
    check_goes_on(run, 2)


@pytest.mark.parametrize(
    ("model", "setting"),
    [
        ("dtriv", {"options": (("rebase_every", 3),)}),
        ("full_capacity", {"options": (("rms_normalize", True),)}),
        ("expm", {"layer": "gru", "layers": 2, "dropout": 0.3}),
        ("nnrnn", {"penalty": (0.1, 0.1)}),
        ("cayley", {"optimizer": Optimizer("rmsprop_theano", lr=1e-2), "validation_size": 5,
                    "plateau_divisor": 2.0, "patience": 2}),
    ],
)  # fmt: skip
def test_training_goes_on_bit_identical_with_state_beside_the_weights(make_run, model, setting):
    setting = {"optimizer": ADAM, "unitary_optimizer": setting.get("optimizer", ADAM), **setting}
    check_goes_on(make_run(model, iterations=5, eval_every=1, **setting), 1, 2, 4)


@pytest.mark.parametrize("task", sorted({*TASKS.names()} - {"permuted_mnist", "word_lm"}))
def test_training_goes_on_bit_identical_in_any_task(make_run, task):
    # Batches of a text continue those before, and three of 500 are more than an epoch of images.
    shuffled = task in ("pixel_mnist", "contractive_system")
    run = make_run(
        "lstm", task=task, length=64 if task == "pixel_mnist" else 4, iterations=4, hidden_size=3,
        unitary_optimizer=None, batch_size=500 if shuffled else 3,
        validation_size=3 if shuffled else 0,
    )  # fmt: skip
    check_goes_on(run, 3)


def test_training_draws_batches_again_where_they_depend_on_those_before(make_run, monkeypatch):
    task = TASKS.get("adding")
    run = make_run("lstm", task="adding", unitary_optimizer=None)

    def growing(self, size, generator):
        for number in itertools.count():
            x, y = self.batch(size, generator)
            yield Batch(x, y * number)

    def wandering(self, size, generator):
        while True:
            x, y = self.batch(size, generator)
            yield Batch(x, y + torch.rand(()))

    monkeypatch.setattr(task, "train_batches", growing)
    assert task.independent_batches  # which is wrong now
    check_goes_on(run, 4)
    monkeypatch.setattr(task, "train_batches", wandering)
    with pytest.raises(ValueError, match="other training data than it did"):
        check_goes_on(run, 4)


def test_training_refuses_state_of_other_data(make_run):
    training = Training(make_run("lstm", unitary_optimizer=None))
    state = training.state_dict()
    with pytest.raises(ValueError, match="the data were 'some others' and are"):
        Training(training.run, None, {**state, "data": "some others"})


def curve(*losses, valid=False):
    return [
        Point(i, 0.0, None if valid or not i else loss, 1.0, 0.5, loss if valid else None)
        for i, loss in enumerate(losses)
    ]


def test_has_plateaued_counts_evaluations_without_a_better_loss():
    assert not has_plateaued(curve(3.0, 2.0, 2.0), None)
    assert not has_plateaued(curve(0.1, 2.0, 2.0), 2)  # no training loss before the first step
    assert has_plateaued(curve(0.1, 2.0, 2.0, 2.5), 2)
    assert has_plateaued(curve(1.0, 2.0, 3.0, valid=True), 2)
    assert not has_plateaued(curve(1.0, 2.0, 0.5, valid=True), 1)


def test_training_stops_on_plateau_of_held_out_loss(make_run):
    still = Optimizer("sgd", lr=0.0)
    run = make_run(
        "expm", optimizer=still, unitary_optimizer=still, patience=2, eval_every=1, iterations=9,
        validation_size=5,
    )  # fmt: skip
    training = Training(run)
    advance(training, 9)
    assert (training.stopped, training.iteration) == ("plateau", 2)
    assert training.curve[0].valid_loss not in (None, training.curve[0].test_loss)


def test_held_out_sequences_neither_train_nor_test(make_run):
    for name, length, total in (("pixel_mnist", 64, 1437), ("contractive_system", 4, 700)):
        run = make_run("lstm", task=name, length=length, validation_size=100, batch_size=50)
        task = make_task(run)
        held = {x.numpy().tobytes() for b in task.held_out_batches(30) for x in b.inputs.unbind(1)}
        batches = task.train_batches(total - 100, torch.Generator())
        trained = {x.numpy().tobytes() for x in next(batches).inputs.unbind(1)}
        tested = {
            x.numpy().tobytes()
            for b in task.test_batches(50, 300, torch.Generator())
            for x in b.inputs.unbind(1)
        }
        assert len(held) == 100
        assert len(trained) > 0.99 * (total - 100)  # some digits may be equal
        assert not held & tested
        assert len(held & trained) <= 1
    with pytest.raises(ValueError, match="cannot hold out 700"):
        make_task(make_run(task="contractive_system", validation_size=700))


def test_training_that_diverges_keeps_its_finite_curve_if_it_may(make_run):
    huge = Optimizer("sgd", lr=1e30)
    setting = {"optimizer": huge, "eval_every": 1, "stop_at_nan": True}
    for model in ("tanh_rnn", "expm", "full_capacity", "svd_projection", "landing"):
        unitary = None if is_baseline(model) else huge
        result = train(make_run(model, task="adding", unitary_optimizer=unitary, **setting))
        assert result.stopped == "diverged", model
        to_text(result)  # which refuses numbers that are not finite
