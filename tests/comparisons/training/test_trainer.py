import math

import pytest
import torch
from torch import nn

from comparisons.models import BASELINES, SequenceModel, check_model, model_names
from comparisons.records import Optimizer
from comparisons.tasks import TASKS
from comparisons.training import trainer as training
from comparisons.training.optimizers import OPTIMIZERS, build_optimizers
from comparisons.training.trainer import DivergedError, train
from unitary_zoo import Parametrization, UnitaryGRU

# A text gives as many targets as steps; an image has as many steps as pixels.
LENGTHS = {"char_lm": 35, "word_lm": 35, "pixel_mnist": 64, "permuted_mnist": 64}


@pytest.mark.parametrize("model", ["expm", "gru"])
@pytest.mark.parametrize("task", TASKS.names())
def test_training_lowers_the_loss(make_run, model, task):
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
    assert [iteration for iteration, _ in seen] == list(range(1, 61))
    window = [loss for iteration, loss in seen if 20 < iteration <= 40]
    assert result.curve[2].train_loss == pytest.approx(math.fsum(window) / 20)


def test_a_result_has_every_field(make_run):
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


def test_a_baseline_claims_no_unitarity(make_run):
    result = train(make_run("lstm", unitary_optimizer=None))
    assert result.defect_start is result.defect_end is None
    assert result.recurrent_parameters == 4 * 8 * 8


def test_equal_seeds_give_equal_numbers(make_run):
    def losses(seed):
        points = train(make_run("full_capacity", seed=seed)).curve
        return [(point.train_loss, point.test_loss, point.test_accuracy) for point in points]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_models_see_the_same_data_and_the_test_set_is_another(make_run):
    task = TASKS.get("adding")(5)

    def draw(model, name):
        run = make_run(model, task="adding")
        return task.batch(4, training._stream(run, name))[0]

    assert torch.equal(draw("cayley", "train"), draw("lstm", "train"))
    assert not torch.equal(draw("cayley", "train"), draw("cayley", "test"))


def test_a_loss_that_is_no_number_is_an_error(make_run):
    huge = Optimizer("sgd", lr=1e30)
    run = make_run("tanh_rnn", task="adding", optimizer=huge, unitary_optimizer=None)
    with pytest.raises(DivergedError, match=r"iteration .* lower the learning rate"):
        train(run)


def test_a_test_loss_that_is_no_number_is_an_error(make_run):
    # One step, finite before it: only the evaluation after it sees the ruin.
    huge = Optimizer("sgd", lr=1e30)
    run = make_run("tanh_rnn", task="adding", optimizer=huge, unitary_optimizer=None, iterations=1)
    with pytest.raises(DivergedError, match="the test loss became"):
        train(run)


def test_clipping_bounds_every_entry(make_run, monkeypatch):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            grads = [p.grad.abs().max().item() for g in self.param_groups for p in g["params"]]
            seen.append(max(grads))
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    spy = Optimizer("spy", lr=0.0)
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, clip=1e-3, iterations=2))
    assert max(seen) <= 1.001e-3
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, iterations=2))
    assert max(seen) > 1.001e-3


def test_the_norm_of_the_whole_gradient_is_bounded(make_run, monkeypatch):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            grads = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
            seen.append(torch.cat(grads).norm().item())
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    spy = Optimizer("spy", lr=0.0)
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, iterations=1))
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, clip_norm=1e-3, iterations=1))
    free, bounded = seen
    assert free > 1.001e-3
    assert bounded == pytest.approx(1e-3, rel=1e-3)  # torch adds 1e-6 to the norm it divides by


@pytest.mark.parametrize("task", ["char_lm", "copying"])
def test_states_are_carried_over_where_a_text_goes_on_and_nowhere_else(make_run, task, monkeypatch):
    seen = []
    step = training._step

    def spy(model, task, optimizers, batch, state, setting):
        seen.append((batch.continues, state is not None))
        loss, last = step(model, task, optimizers, batch, state, setting)
        assert not last.requires_grad  # or gradients would reach back over all batches
        return loss, last

    monkeypatch.setattr(training, "_step", spy)
    train(make_run("cayley", task=task, iterations=3))
    goes_on = task == "char_lm"
    assert seen == [(False, False), (goes_on, goes_on), (goes_on, goes_on)]


def test_a_measured_loss_is_the_mean_over_all_targets(make_run):
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
        loss, accuracy = training._measure(model, task, run, batches)
        # float32, sums in another order
        assert loss == pytest.approx(task.loss(outputs, targets).item(), rel=1e-5)
        assert accuracy == pytest.approx(task.accuracy(outputs, targets).item(), rel=1e-5)


def test_theano_rmsprop_takes_the_steps_of_the_paper_code():
    gradients = [0.3, -2.0, 0.0, 1e-9]
    lr, decay = 1e-3, 0.9
    p = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = OPTIMIZERS["rmsprop_theano"]([{"params": [p]}], Optimizer("_", lr, decay))
    expected, square = 0.0, 1e-3
    for gradient in gradients:
        square = decay * square + (1 - decay) * gradient**2
        expected -= lr * gradient / math.sqrt(square)
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    assert p.item() == pytest.approx(expected, rel=1e-12)
    p.grad = torch.tensor(0.0, dtype=torch.float64)
    for _ in range(9000):  # until the accumulator of an entry without gradient is zero
        optimizer.step()
    assert math.isfinite(p.item())


def test_the_two_optimizers_share_the_parameters_out(make_run):
    run = make_run("lie_exp", unitary_optimizer=Optimizer("sgd", lr=0.5))
    model = SequenceModel("lie_exp", run.setting, TASKS.get("copying")(5))
    free, unitary = build_optimizers(model, run.setting.training)
    assert isinstance(free, torch.optim.RMSprop)
    assert isinstance(unitary, torch.optim.SGD)
    assert unitary.param_groups[0]["lr"] == 0.5
    (scheme,) = model.schemes()
    held = [{id(p) for g in o.param_groups for p in g["params"]} for o in (free, unitary)]
    assert held[1] == {id(p) for p in scheme.parameters()}
    assert held[0] | held[1] == {id(p) for p in model.parameters()}
    assert not held[0] & held[1]


@pytest.mark.parametrize("model", model_names())
def test_every_model_answers_every_task(make_run, model):
    for name in TASKS.names():
        task = TASKS.get(name)(LENGTHS.get(name, 6))
        batch = next(task.train_batches(3, torch.Generator().manual_seed(0)))
        outputs = SequenceModel(model, make_run().setting, task)(batch.inputs)[0]
        classes = () if batch.targets.is_floating_point() else (task.output_size,)
        assert outputs.shape == (*batch.targets.shape, *classes), name
        assert outputs.dtype == torch.float32, name


def test_arjovsky_has_the_parameter_counts_of_the_paper(make_run):
    setting = make_run(learn_h0=True, hidden_size=128).setting
    copying = SequenceModel("arjovsky", setting, TASKS.get("copying")(5))
    assert sum(p.numel() for p in copying.parameters()) == 48 * 128 + 9
    adding = SequenceModel("arjovsky", setting, TASKS.get("adding")(5))
    assert sum(p.numel() for p in adding.parameters()) == 16 * 128 + 1


def test_baselines_start_as_their_papers_say(make_run):
    setting = make_run(hidden_size=5).setting
    irnn = BASELINES.get("irnn")(3, setting.model)
    assert torch.equal(irnn.weight_hh_l0, torch.eye(5))
    assert irnn.nonlinearity == "relu"
    lstm = BASELINES.get("lstm")(3, setting.model)
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).reshape(4, 5)
    expected = torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None].expand(4, 5)  # the forget gate's
    assert torch.equal(bias, expected)
    bound = math.sqrt(6 / (5 + 5))  # Glorot, of each gate on its own
    assert lstm.weight_hh_l0.abs().max() <= bound
    assert lstm.weight_hh_l0.abs().max() > 0.8 * bound


def test_names_are_checked_across_schemes_and_baselines():
    assert check_model("gru") == "gru"
    assert set(Parametrization.names()) < set(model_names())
    with pytest.raises(LookupError, match="expm"):
        check_model("exppm")


def test_the_initialiser_of_a_setting_is_used(make_run):
    def start(init):
        model = SequenceModel("cayley", make_run(init=init).setting, TASKS.get("copying")(5))
        (scheme,) = model.schemes()
        return scheme.matrix()

    torch.testing.assert_close(start("identity"), torch.eye(8))
    assert (start(None) - torch.eye(8)).abs().max() > 0.1


@pytest.mark.parametrize(("lr", "divisors"), [(1e-12, [1, 1, 4, 4, 16, 16]), (0.1, [1] * 6)])
def test_learning_rates_fall_when_validation_stands_still(make_run, monkeypatch, lr, divisors):
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    run = make_run(
        "gru", task="char_lm", optimizer=Optimizer("spy", lr=lr), unitary_optimizer=None,
        plateau_divisor=4.0, eval_every=2,
    )  # fmt: skip
    losses = [point.valid_loss for point in train(run).curve]
    assert (losses[-1] < losses[0]) == (lr == 0.1)
    assert rates == pytest.approx([lr / divisor for divisor in divisors])


def test_learning_rates_decay_at_their_time(make_run, monkeypatch):
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    spy = Optimizer("spy", lr=1e-3)
    train(
        make_run("gru", optimizer=spy, unitary_optimizer=None, lr_decay=0.5, decay_every=2,
                 iterations=5)
    )  # fmt: skip
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])


def test_the_penalty_of_a_scheme_is_part_of_the_gradient(make_run):
    sgd = Optimizer("sgd", lr=0.5)

    def gains(penalty):
        run = make_run("nnrnn", optimizer=sgd, unitary_optimizer=sgd, penalty=penalty)
        task = TASKS.get(run.task)(run.length)
        torch.manual_seed(0)
        model = SequenceModel(run.model, run.setting, task)
        (scheme,) = model.schemes()
        scheme.gains.data.fill_(0.5)
        optimizers = build_optimizers(model, run.setting.training)
        batch = next(task.train_batches(4, torch.Generator().manual_seed(0)))
        loss, _ = training._step(model, task, optimizers, batch, None, run.setting.training)
        return scheme.gains.detach(), loss

    (free, loss), (held, same) = gains(None), gains((0.1, 0.0))
    assert loss == same  # what is recorded is the task's loss
    # lr times the derivative of delta (gamma - 1)^2: 0.5 * 2 * 0.1 * (0.5 - 1)
    torch.testing.assert_close(free - held, torch.full_like(free, -0.05))


def test_a_model_without_a_penalty_is_refused(make_run):
    with pytest.raises(TypeError, match="no penalty of its own"):
        train(make_run("cayley", penalty=(0.1,)))


def test_a_scheme_serves_in_a_gru(make_run):
    setting = make_run(layer="gru", layers=2, bias=True).setting
    model = SequenceModel("lie_exp", setting, TASKS.get("copying")(5))
    assert isinstance(model.rnn, UnitaryGRU)
    assert len(list(model.schemes())) == 2 * 3  # the two gates and the candidate
    assert train(make_run("lie_exp", layer="gru", bias=True)).defect_end < 1e-5
    with pytest.raises(ValueError, match="layer='lstm'"):
        SequenceModel("lie_exp", setting.changed(layer="lstm"), TASKS.get("copying")(5))
