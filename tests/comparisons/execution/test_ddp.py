"""Runs that two processes train together."""

import json
import multiprocessing
import signal
import socket

import pytest
import torch

from comparisons.execution import ExecutionOptions, ddp
from comparisons.execution.executor import failure
from comparisons.execution.faults import LOST, STOPPED
from comparisons.records import Failure, Result
from comparisons.results.store import Store
from comparisons.run_all import main
from comparisons.training.interruption import TerminationRequest
from comparisons.training.trainer import train
from tests.comparisons.execution import replicated
from tests.comparisons.execution.replicated import DIFFERS, DIVERGES, FAILS_ALONE, GOOD


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have left what came of their runs."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    try:
        ports = _free_port(), _free_port(), _free_port()
    except OSError as error:
        pytest.skip(f"no sockets here: {error}")
    folder = tmp_path_factory.mktemp("replicated")
    context = multiprocessing.get_context("spawn")
    arguments = [(rank, str(folder), ports) for rank in range(2)]
    workers = [context.Process(target=replicated.work, args=given) for given in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(200)
        worker.kill()  # one that is still there waits for the other
    assert [worker.exitcode for worker in workers] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def ended(folder):
    """What the executor yielded."""
    records = json.loads((folder / "ended.json").read_text())
    return [Result.from_dict(x) if "curve" in x else Failure.from_dict(x) for x in records]


@pytest.mark.slow
@pytest.mark.parametrize("run", [*GOOD, FAILS_ALONE], ids=lambda run: f"{run.task}-{run.model}")
def test_two_processes_train_as_one(ended, run, monkeypatch):
    replicated.in_double(monkeypatch.setattr)
    try:
        alone = train(run)
    finally:
        torch.set_default_dtype(torch.float32)
    together = next(x for x in ended if x.run == run and isinstance(x, Result))
    assert together.machine["processes"] == 2
    # from the checkpoint of the first process, with the states of both
    assert together.resumed_at == ((3,) if run == FAILS_ALONE else ())
    for a, b in zip(alone.curve, together.curve, strict=True):
        # Sums of doubles in another order; six steps do not enlarge that by much.
        assert _losses(a) == pytest.approx(_losses(b), rel=1e-12)
        assert a.test_accuracy == pytest.approx(b.test_accuracy, abs=1e-6)  # single precision


def _losses(point):
    return [x for x in (point.train_loss, point.test_loss, point.valid_loss) if x is not None]


@pytest.mark.slow
def test_runs_go_on_after_a_failure_of_all_processes(ended):
    runs = [GOOD[0], DIVERGES, DIFFERS, *GOOD[1:], FAILS_ALONE]
    assert [x.run for x in ended[:-1]] == runs
    assert ended[1].kind == "DivergedError"
    assert ended[2].kind == "ReplicasDifferError"


@pytest.mark.slow
def test_failure_of_one_process_ends_the_job_with_its_own_traceback(ended):
    assert ended[-2].kind == LOST
    assert "ValueError: of this process alone" in ended[-2].error
    assert "in faulty" in ended[-2].traceback


@pytest.mark.slow
def test_main_stores_each_run_once_with_ddp(folder):
    results = Store(folder / "results").load().results
    assert [result.run.model for result in results] == ["cayley"]


@pytest.mark.parametrize("kind", [STOPPED, "KeyboardInterrupt"])
def test_ddp_executor_takes_the_end_of_the_job_for_no_failure(make_run, monkeypatch, kind):
    class Group:
        def __init__(self, options):
            """Meet nobody."""

        def tell(self, run):
            """Tell nobody."""

        def train(self, run, on_progress):
            return failure(run, "asked to end", kind=kind)

    monkeypatch.setattr(ddp, "_Group", Group)
    monkeypatch.setattr(ddp, "_check_environment", lambda: None)
    ended_runs = ddp.DdpExecutor(ExecutionOptions()).execute([make_run()], lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        next(ended_runs)


def test_ctrl_c_asks_a_training_of_several_processes_for_a_checkpoint():
    before = signal.getsignal(signal.SIGINT)
    with ddp.ctrl_c_like_sigterm(), TerminationRequest() as request:
        signal.raise_signal(signal.SIGINT)
    assert request.received
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("environment", "flags", "hint"),
    [
        ({}, ["--ddp"], "torchrun --nproc-per-node N comparisons/run_all.py --ddp"),
        ({"TORCHELASTIC_RUN_ID": "none"}, [], "add --ddp"),
    ],
)
def test_main_refuses_torchrun_or_ddp_alone_in_one_line(
    environment, flags, hint, monkeypatch, capsys
):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        main(["--preset", "smoke", *flags])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert hint in err
    assert (out, err.count("\n")) == ("", 1)


def test_main_prints_nothing_in_a_process_that_follows(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", "1")
    assert main(["--preset", "smoke"]) == 0
    assert main(["--ddp", "--list"]) == 0
    with pytest.raises(SystemExit) as caught:
        main(["--frobnicate"])
    assert caught.value.code == 0
    assert capsys.readouterr() == ("", "")
