"""Files of trained weights."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from comparisons.models import (
    ModelFileError,
    SequenceModel,
    is_baseline,
    load_model,
    model_names,
    save_model,
)
from comparisons.plan.fitting import accepted_size
from comparisons.records import Optimizer
from comparisons.training.artifacts import Artifacts
from comparisons.training.trainer import train_model
from comparisons.training.training import Training

FAST = Optimizer("sgd", lr=0.1)


@pytest.mark.parametrize("model", model_names())
def test_load_model_gives_the_outputs_of_the_trained_one(make_run, model, tmp_path):
    run = make_run(
        model, hidden_size=accepted_size(model, 4), dropout=0.5, length=2, optimizer=FAST,
        unitary_optimizer=None if is_baseline(model) else FAST,
    )  # fmt: skip
    training = Training(run)
    training.step()
    save_model(training.model, run, tmp_path / "m.safetensors")
    before = torch.get_rng_state()
    loaded = load_model(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    x = next(training.task.test_batches(3, 3, torch.Generator())).inputs
    with torch.no_grad():
        assert torch.equal(loaded(x)[0], training.model.eval()(x)[0])
    state = training.model.state_dict()
    assert all(torch.equal(x, state[name]) for name, x in loaded.state_dict().items())


def test_train_keeps_the_weights_that_it_ends_with(make_run, tmp_path):
    run = make_run("expm", task="char_lm", iterations=2)
    artifacts = Artifacts(tmp_path, None, save_models=True)
    model, _ = train_model(run, None, artifacts)
    loaded = load_model(artifacts.model(run.id))
    assert all(map(torch.equal, loaded.parameters(), model.parameters()))
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_train_ends_where_the_weights_cannot_be_written(make_run, tmp_path):
    (tmp_path / "models").write_text("a file is in the way")
    with pytest.warns(UserWarning, match="safetensors cannot be written"):
        train_model(make_run(iterations=1), None, Artifacts(tmp_path, None, save_models=True))


@pytest.fixture
def saved(make_run, tmp_path):
    """A file of weights, and its metadata."""
    run, path = make_run("expm"), tmp_path / "m.safetensors"
    model = SequenceModel(run.model, run.setting, Training(run).task)
    save_model(model, run, path)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return path, json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]


def test_load_model_names_damaged_and_foreign_files(saved):
    path, metadata = saved
    content = path.read_bytes()

    def refused(reason):
        with pytest.raises(ModelFileError, match=rf"m\.safetensors {reason}"):
            load_model(path)

    path.write_bytes(content[:-1])
    refused("cannot be read")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused("is damaged")
    path.write_bytes(content)
    state = load_file(path)
    save_file(state, path)
    refused("does not say which run")
    save_file(state, path, {**metadata, "unitary_zoo.run": "{}"})
    refused("names no run")
    run = metadata["unitary_zoo.run"]
    save_file(state, path, {**metadata, "unitary_zoo.run": run.replace('"expm"', '"hers"')})
    refused("holds .*cannot be built here .*plug-in")
    save_file(state, path, {**metadata, "unitary_zoo.run": run.replace('"expm"', '"eunn"')})
    refused("holds other tensors than")
    path.unlink()
    refused("does not exist")


def test_save_model_says_that_safetensors_is_missing(make_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    artifacts = Artifacts(tmp_path, None, save_models=True)
    with pytest.raises(ModelFileError, match=r"install the extra unitary_zoo\[comparisons\]"):
        train_model(make_run(), None, artifacts)
