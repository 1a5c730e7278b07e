import itertools
import math

import numpy as np
import pytest
import torch

from comparisons.models import MODELS, model_names
from comparisons.plan.fitting import accepted_size
from comparisons.training import probes
from comparisons.training.evaluation import make_task, run_stream
from comparisons.training.trainer import train
from comparisons.training.training import Training


def test_train_records_probes_and_defects(make_run):
    result = train(make_run("cayley"))
    found = result.probes
    assert len(found.eigenphases_start) == len(found.eigenphases_end) == 8
    assert found.eigenphases_start != found.eigenphases_end
    assert found.gradient_steps == tuple(range(1, 26))  # T = 5 and 20 more
    assert all(norm > 0 for norm in found.gradient_norms)
    defects = [point.defect for point in result.curve]
    assert (defects[0], defects[-1]) == (result.defect_start, result.defect_end)
    assert all(0 < defect < 1e-5 for defect in defects)


def test_train_records_no_eigenphases_of_baseline(make_run):
    result = train(make_run("lstm", unitary_optimizer=None))
    assert result.probes.eigenphases_start is result.probes.eigenphases_end is None
    assert len(result.probes.gradient_norms) == 25
    assert {point.defect for point in result.curve} == {None}


@pytest.mark.parametrize("model", model_names())
def test_measured_changes_nothing(make_run, model):
    run = make_run(model, hidden_size=accepted_size(model, 4), unitary_optimizer=None, length=2)
    training = Training(run)
    training.step()
    before = {name: x.clone() for name, x in training.model.state_dict().items()}
    random = torch.get_rng_state()
    found = probes.measured(training.model, training.task, run, None)
    assert len(found.gradient_norms) == 22
    assert torch.equal(torch.get_rng_state(), random)
    assert training.model.training
    after = training.model.state_dict()
    assert all(torch.equal(after[name], x) for name, x in before.items())
    training.step()


@pytest.mark.parametrize("layer", ["rnn", "gru"])
def test_eigenphases_are_angles_of_the_first_recurrent_matrix(make_run, layer):
    model = Training(make_run("expm", layer=layer, layers=2)).model
    cell = model.rnn.cells[0]
    scheme = cell.recurrent["n"] if layer == "gru" else cell.recurrent
    angles = np.angle(np.linalg.eigvals(scheme.matrix().detach().double().numpy()))
    assert probes.eigenphases(model) == pytest.approx(sorted(angles), abs=1e-5)


def test_eigenphases_have_no_minus_pi(make_run):
    model = Training(make_run("householder")).model
    with torch.no_grad():
        model.recurrent_scheme().assign_(-torch.eye(8), nearest=True)
    assert all(-math.pi < phase <= math.pi for phase in probes.eigenphases(model))


@pytest.mark.parametrize("model", ["expm", "arjovsky", "lstm"])
def test_gradients_are_those_by_the_state_that_goes_on(make_run, model):
    run = make_run(model, task="adding", length=6, unitary_optimizer=None)
    training = Training(run)
    steps, norms = probes.gradients(training.model, training.task, run)
    assert steps == (1, 2, 3, 4, 5, 6)
    batch = next(iter(make_task(run).test_batches(4, 6, run_stream(run, "test"))))
    _, state = training.model(batch.inputs[:3])
    parts = state if isinstance(state, tuple) else (state,)
    parts = tuple(part.detach().requires_grad_() for part in parts)
    outputs, _ = training.model(batch.inputs[3:], parts if len(parts) > 1 else parts[0])
    loss = 4 * training.task.loss(outputs, batch.targets)
    gradient = torch.autograd.grad(loss, parts[0])[0][0]
    expected = gradient.abs().square().sum(-1).mean().sqrt()
    assert norms[2] == pytest.approx(expected.item(), rel=1e-4)


def test_gradients_are_kept_at_a_hundred_steps(make_run):
    run = make_run("expm", length=130, hidden_size=2)
    training = Training(run)
    steps, norms = probes.gradients(training.model, training.task, run)
    assert (steps[0], steps[-1], len(steps), len(norms)) == (1, 150, 100, 100)
    assert {b - a for a, b in itertools.pairwise(steps)} == {1, 2}


def test_train_keeps_result_of_model_without_access(make_run):
    class Closed(torch.nn.Module):
        """Raises where it is called with fewer steps than a sequence has."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.inner = torch.nn.GRU(width, 8)

        def forward(self, x, state=None):
            if len(x) < 5:
                raise RuntimeError("too short")
            return self.inner(x, state)

    with MODELS.override(closed=lambda width, settings: Closed(width)):
        found = train(make_run("closed", unitary_optimizer=None)).probes
    assert found == probes.Probes()


def test_train_that_diverged_leaves_out_what_cannot_be_measured(make_run, monkeypatch):
    run = make_run("expm", stop_at_nan=True)
    training = Training(run)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.fill_(math.nan)
    found = probes.measured(training.model, training.task, run, training.eigenphases_start)
    assert found == probes.Probes(eigenphases_start=training.eigenphases_start)
    assert probes.unitarity_defect(training.model) is None
