"""Training of what is missing, and the fate of results that cannot be stored."""

import errno
import os
import signal
from dataclasses import replace

import pytest

from comparisons.cli import execute
from comparisons.cli.execute import Keeper, complete
from comparisons.execution.executor import Division, failure
from comparisons.results import store as store_module
from comparisons.results.claims import Claims
from comparisons.results.store import Store
from comparisons.training.artifacts import Artifacts


class Fake:
    """An executor that ends runs as it is told to; ``asked`` are those it was given."""

    def __init__(self, endings):
        self.endings = endings

    def execute(self, runs, on_progress):
        self.asked = []
        for run in runs:
            self.asked.append(run)
            yield self.endings(run)


class Disk:
    """The writer of the store, which refuses while the disk is full."""

    def __init__(self, full):
        self.full, self.write = full, store_module.write_file

    def __call__(self, path, text):
        if self.full(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.write(path, text)


@pytest.fixture
def disk(monkeypatch):
    def make(full):
        monkeypatch.setattr(store_module, "write_file", Disk(full))

    return make


@pytest.fixture
def runs(make_run):
    return [make_run(seed=seed) for seed in range(4)]


@pytest.fixture
def finish(make_result):
    return lambda run: replace(make_result(), run=run)


def train(runs, finish, folder):
    keeper, executor = Keeper(Store(folder), "the command"), Fake(finish)
    complete(executor, runs, Store(folder), keeper)
    return keeper, executor


def test_complete_stores_what_a_full_disk_refused_once_there_is_room(
    tmp_path, runs, finish, disk, capsys
):
    refused = []

    def full(path):
        refused.append(path)
        return len(refused) <= 3  # run 0; then runs 0 and 1

    disk(full)
    keeper, executor = train(runs, finish, tmp_path)
    out = capsys.readouterr().out
    assert executor.asked == runs  # the others went on
    assert keeper.unsaved == []
    assert [result.run for result in Store(tmp_path).load().results] == runs
    assert out.count("not stored") == 2
    assert out.count("done") == 4


def test_complete_deletes_a_checkpoint_when_its_result_is_stored(tmp_path, runs, finish, disk):
    disk(lambda path: "seed1" in path.name)
    places = [Artifacts(tmp_path).checkpoint(run.id) for run in runs]
    places[0].parent.mkdir()
    for place in places:
        place.touch()
    train(runs, finish, tmp_path)
    assert [place.exists() for place in places] == [False, True, False, False]


def test_complete_stores_at_the_end_what_the_last_result_could_not(tmp_path, runs, finish, disk):
    refused = []

    def full(path):
        refused.append(path)
        return len(refused) <= 10  # 1 + 2 + 3 + 4 attempts, all but those at the end

    disk(full)
    keeper, _ = train(runs, finish, tmp_path)
    assert keeper.unsaved == []
    assert len(Store(tmp_path).load().results) == 4


def test_complete_names_what_was_never_stored(tmp_path, runs, finish, disk, capsys):
    disk(lambda path: "seed1" in path.name)
    keeper, executor = train(runs, finish, tmp_path)
    assert executor.asked == runs
    assert [ended.run for ended in keeper.unsaved] == [runs[1]]
    assert len(Store(tmp_path).load().results) == 3
    capsys.readouterr()
    keeper.report_unsaved()
    out = capsys.readouterr().out
    assert "1 runs ended and could not be stored" in out
    assert str(runs[1]) in out
    assert out.rstrip().endswith("the command")


def test_complete_goes_on_where_the_folder_becomes_a_file(tmp_path, runs, finish):
    def block(run):
        if run.seed == 1:
            (tmp_path / "runs").rename(tmp_path / "elsewhere")
            (tmp_path / "runs").write_text("")
        if run.seed == 3:
            (tmp_path / "runs").unlink()
            (tmp_path / "elsewhere").rename(tmp_path / "runs")
        return finish(run)

    keeper, _ = train(runs, block, tmp_path)
    assert keeper.unsaved == []
    assert [result.run for result in Store(tmp_path).load().results] == runs


def test_complete_keeps_a_result_that_no_file_can_hold_as_failure(
    tmp_path, runs, finish, make_run, capsys
):
    def undefined(run):
        return replace(finish(run), defect_end=float("nan")) if run.seed == 1 else finish(run)

    keeper, _ = train(runs, undefined, tmp_path)
    contents = Store(tmp_path).load()
    assert keeper.failed == 1
    assert len(contents.results) == 3
    assert [(found.run, found.kind) for found in contents.failures] == [(runs[1], "ValueError")]
    assert "failed" in capsys.readouterr().out


def test_complete_loses_no_result_to_an_interruption(tmp_path, runs, finish, monkeypatch):
    interrupted = []

    class Interrupted(Store):
        def save(self, result):
            if not interrupted:
                interrupted.append(result.run)
                raise KeyboardInterrupt
            super().save(result)

    keeper = Keeper(Interrupted(tmp_path), "the command")
    with pytest.raises(KeyboardInterrupt):
        complete(Fake(finish), runs, Store(tmp_path), keeper)
    assert [result.run for result in Store(tmp_path).load().results] == interrupted == runs[:1]


def test_complete_leaves_runs_to_another_command(tmp_path, runs, finish, capsys):
    with Claims(tmp_path) as other:
        assert all(other.take(run.id) for run in runs[:2])
        _, executor = train(runs, finish, tmp_path)
    assert executor.asked == runs[2:]
    assert "2 runs are left to another command" in capsys.readouterr().out
    _, executor = train(runs, finish, tmp_path)
    assert executor.asked == runs[:2]
    assert list((tmp_path / "claims").iterdir()) == []


def test_complete_shares_runs_with_a_command_that_begins_later(tmp_path, runs, finish, capsys):
    """Each claims a run when it can start it, and asks again for what the other held."""
    other = Claims(tmp_path)

    def meanwhile(run):
        if run is runs[0]:
            other.__enter__()
            assert not other.take(runs[0].id)
            assert other.take(runs[1].id)
            assert other.take(runs[2].id)
            assert other.take(runs[3].id)
            Store(tmp_path).save(finish(runs[3]))
            other.release(runs[3].id)
            Store(tmp_path).save_failure(failure(runs[1], "ValueError: no"))
            other.release(runs[1].id)
        elif run is runs[2]:
            raise AssertionError("the other command holds it")
        return finish(run)

    _, executor = train(runs, meanwhile, tmp_path)
    other.__exit__(None, None, None)
    assert executor.asked == runs[:1]
    out = capsys.readouterr().out
    assert "2 runs were trained by another command" in out
    assert "1 runs are left to another command" in out
    _, executor = train(runs, finish, tmp_path)  # an earlier failure is tried again
    assert executor.asked == [runs[1], runs[2]]


def test_complete_takes_over_from_a_command_that_ends_meanwhile(tmp_path, runs, finish):
    other = Claims(tmp_path)
    other.__enter__()
    assert other.take(runs[0].id)

    def ending(run):
        if run is runs[1]:
            other.__exit__(None, None, None)
        return finish(run)

    _, executor = train(runs, ending, tmp_path)
    assert executor.asked == [*runs[1:], runs[0]]


def test_complete_keeps_the_claim_of_a_run_that_is_not_stored(tmp_path, runs, finish, disk):
    disk(lambda path: "seed1" in path.name)

    def ask(run):
        if run is runs[3]:
            with Claims(tmp_path) as other:
                assert [other.take(earlier.id) for earlier in runs[:2]] == [True, False]
        return finish(run)

    train(runs, ask, tmp_path)


@pytest.mark.parametrize("blocked", ["claims", "claim"])
def test_complete_trains_without_claims_and_says_so(
    tmp_path, runs, finish, capsys, monkeypatch, blocked
):
    if blocked == "claims":
        (tmp_path / "claims").write_text("in the way")
    else:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr(Claims, "_create", lambda *arguments: throw(error))
    _, executor = train(runs, finish, tmp_path)
    assert executor.asked == runs
    assert capsys.readouterr().out.count("runs cannot be claimed") == 1


def throw(error):
    raise error


def test_complete_sets_damaged_files_aside_and_leaves_newer_ones_alone(
    tmp_path, runs, finish, capsys
):
    store = Store(tmp_path)
    for run in runs:
        store.save(finish(run))
    files = [tmp_path / "runs" / f"{run.id}.json" for run in runs]
    files[0].write_text("{")
    newer = files[1].read_text(encoding="utf-8").replace('"schema": 2', '"schema": 1000')
    files[1].write_text(newer, encoding="utf-8")
    _, executor = train(runs, finish, tmp_path)
    assert executor.asked == runs[:1]
    assert files[1].read_text(encoding="utf-8") == newer
    (aside,) = (tmp_path / "set_aside").iterdir()
    assert aside.read_text() == "{"
    out = capsys.readouterr().out
    assert f"runs/{files[0].name} is set aside as {aside}" in out
    assert f"runs/{files[1].name} cannot be read (it is of schema 1000" in out
    assert "update unitary_zoo" in out


def test_complete_stores_failures_as_results(tmp_path, runs, disk):
    refused = []

    def full(path):
        refused.append(path)
        return len(refused) == 1

    disk(full)
    keeper, _ = train(runs, lambda run: failure(run, "ValueError: no"), tmp_path)
    assert keeper.failed == 4
    assert keeper.unsaved == []
    assert [found.run for found in Store(tmp_path).load().failures] == runs


def test_complete_reports_first_complete_task_and_says_what_is_left(
    tmp_path, make_run, finish, capsys
):
    runs = [make_run(seed=seed) for seed in range(4)] + [make_run(task="adding")]
    Store(tmp_path).prepare("the command", runs)
    train(runs, finish, tmp_path)
    out = capsys.readouterr().out
    assert "left on this machine" in out
    assert out.count("a first report") == 1
    assert "This report is partial" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_outlook_weighs_runs_by_their_cost(make_run, monkeypatch):
    now = iter((0.0, 10.0))
    monkeypatch.setattr(execute.time, "monotonic", lambda: next(now))
    runs = [make_run("expm", seed=seed) for seed in range(4)]
    outlook = execute.Outlook([*runs, make_run("expm", iterations=48)])  # of 6 each, 24 of 72
    assert [outlook.left(run) for run in runs] == [None, None, None, pytest.approx(20.0)]


def test_complete_takes_sigterm_as_ctrl_c(tmp_path, runs, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    class Terminated:
        def execute(self, runs, on_progress):
            signal.raise_signal(signal.SIGTERM)
            yield

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        complete(Terminated(), runs, store, Keeper(store, "the command"))
    assert signal.getsignal(signal.SIGTERM) == before


def test_complete_says_how_the_machine_is_divided(tmp_path, runs, finish, capsys):
    class Dividing(Fake):
        def divide(self, runs):
            return Division(7, {}, "7 runs at a time, as measured")

    store = Store(tmp_path)
    complete(Dividing(finish), runs, store, Keeper(store, "the command"))
    assert "7 runs at a time, as measured" in capsys.readouterr().out
