"""Trainings that end before their time, and the files from which they go on."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch

from comparisons.data import DataError
from comparisons.records import Optimizer
from comparisons.training import training
from comparisons.training.artifacts import Artifacts
from comparisons.training.checkpoints import CheckpointFile, CheckpointWarning
from comparisons.training.trainer import DivergedError, StoppedError, train


@pytest.fixture
def run(make_run):
    return make_run("dtriv", iterations=6, eval_every=2)


@pytest.fixture
def artifacts(tmp_path):
    """A checkpoint after every step."""
    return Artifacts(tmp_path, checkpoint_every=0.0)


def numbers(result):
    return [replace(point, seconds=0.0) for point in result.curve]


class Interruption(Exception):
    pass


def interrupted_at(iteration, by=None):
    """A progress that raises, or does something else, at the first news of that iteration."""
    done = []

    def progress(at, loss):
        if at == iteration and not done:
            done.append(at)
            if by is not None:
                return by()
            raise Interruption
        return None

    return progress


def test_train_goes_on_from_checkpoint_until_that_is_deleted(run, artifacts):
    path = artifacts.checkpoint(run.id)
    for iteration in (3, 5):
        with pytest.raises(Interruption):
            train(run, interrupted_at(iteration), artifacts)
        assert path.exists()
    path.with_name(f".{path.name}.1.tmp").touch()  # of a process that was killed as it wrote
    result = train(run, None, artifacts)
    assert result.resumed_at == (2, 4)
    assert numbers(result) == numbers(train(run))
    assert result.seconds > result.final.seconds > result.curve[1].seconds > 0
    again = train(run, None, artifacts)  # the result may have been lost
    assert again.resumed_at == (2, 4, 5)
    assert numbers(again) == numbers(result)
    CheckpointFile(path, run).delete()
    assert not list(path.parent.iterdir())
    assert train(run, None, artifacts).resumed_at == ()


@pytest.mark.slow  # a process of its own
def test_train_goes_on_bit_identical_after_kill(run, artifacts):
    program = """if True:
        import json, os, signal, sys
        from pathlib import Path
        import torch
        from comparisons.records import Run
        from comparisons.training.artifacts import Artifacts
        from comparisons.training.trainer import train
        torch.set_num_threads(int(sys.argv[3]))
        kill = lambda at, loss: at == 4 and os.kill(os.getpid(), signal.SIGKILL)
        train(Run.from_dict(json.loads(sys.argv[1])), kill, Artifacts(Path(sys.argv[2]), 0.0))
    """

    arguments = [json.dumps(run.to_dict()), str(artifacts.folder), str(torch.get_num_threads())]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert ended.returncode == -signal.SIGKILL
    result = train(run, None, artifacts)
    assert result.resumed_at == (3,)
    assert numbers(result) == numbers(train(run))


def test_train_saves_and_stops_at_sigterm(run, tmp_path):
    artifacts = Artifacts(tmp_path)  # nothing is due for two minutes
    before = signal.getsignal(signal.SIGTERM)
    terminate = interrupted_at(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedError, match="goes on from iteration 3"):
        train(run, terminate, artifacts)
    assert signal.getsignal(signal.SIGTERM) is before
    result = train(run, None, artifacts)
    assert result.resumed_at == (3,)
    assert numbers(result) == numbers(train(run))


def test_train_leaves_signals_alone_outside_of_the_main_thread(run, artifacts):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(run, None, artifacts)))
    thread.start()
    thread.join()
    assert len(results) == 1


def test_train_goes_on_where_disk_is_full(run, artifacts, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(CheckpointWarning, match="cannot be written .*No space") as seen:
        train(run, None, artifacts)
    assert len(seen) == 1


class Code:
    def __reduce__(self):
        return print, ("code of a file was run",)


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Code()))
    elif how == "code":
        torch.save({"format": 1, "origin": "", "state": Code()}, path)
    elif how == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        saved = torch.load(path, weights_only=True)
        if how == "part":
            del saved["state"]["training"]["optimizers"]
        elif how == "version":
            saved["origin"] = saved["origin"].replace(torch.__version__, "1.0")
        else:
            saved["state"]["training"]["model"]["state"].popitem()
        torch.save(saved, path)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("empty", "it is damaged"),
        ("cut", "it is damaged"),
        ("flipped", "it is damaged in"),
        ("pickle", "it is damaged"),
        ("code", "UnpicklingError"),
        ("foreign", "no checkpoint of format 1"),
        ("folder", "no regular file"),
        ("part", "KeyError: 'optimizers'"),
        ("version", "torch is '1.0' there and"),
        ("model", "Missing key"),
    ],
)
def test_train_sets_unusable_checkpoint_aside(run, artifacts, how, reason, capsys):
    path = artifacts.checkpoint(run.id)
    with pytest.raises(Interruption):
        train(run, interrupted_at(2), artifacts)
    damage(path, how)
    with pytest.warns(CheckpointWarning, match=f"{reason}.*begins anew"):
        result = train(run, None, artifacts)
    assert result.resumed_at == ()
    assert numbers(result) == numbers(train(run))
    CheckpointFile(path, run).delete()
    assert [file.name for file in path.parent.iterdir()] == [f"{path.name}.unusable"]
    assert not capsys.readouterr().out


def test_train_leaves_checkpoint_alone_where_the_run_cannot_begin_either(
    run, artifacts, monkeypatch
):
    with pytest.raises(Interruption):
        train(run, interrupted_at(3), artifacts)

    def missing(run):
        raise DataError("no data on this node")

    with monkeypatch.context() as patch:
        patch.setattr(training, "make_task", missing)
        with pytest.raises(DataError):
            train(run, None, artifacts)
    assert train(run, None, artifacts).resumed_at == (2,)


def test_train_does_not_go_on_from_another_configuration(run, make_run, artifacts):
    other = make_run("dtriv", iterations=6, eval_every=3)
    with pytest.raises(Interruption):
        train(other, interrupted_at(2), artifacts)
    os.replace(artifacts.checkpoint(other.id), artifacts.checkpoint(run.id))
    with pytest.warns(CheckpointWarning, match="eval_every is 3 there and 2 here"):
        assert train(run, None, artifacts).resumed_at == ()


def test_train_deletes_checkpoint_of_training_that_diverged(make_run, artifacts):
    huge = Optimizer("sgd", lr=1e30)
    run = make_run("tanh_rnn", task="adding", optimizer=huge, unitary_optimizer=None)
    with pytest.raises(DivergedError):
        train(run, None, artifacts)
    assert not artifacts.checkpoint(run.id).exists()
