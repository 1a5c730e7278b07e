import contextlib
import errno
import os
import shlex
import signal
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.execution import (
    EXECUTORS,
    ExecutionOptions,
    ExecutorError,
    SlurmOptions,
    attempt,
    slurm_job,
)
from comparisons.execution import spool as spool_module
from comparisons.execution.executor import failure
from comparisons.execution.faults import DIED, LOST
from comparisons.execution.slurm import CANCELLED, SlurmExecutor
from comparisons.execution.slurm_queue import QueuedJob, RefusedError, SlurmQueue, _python
from comparisons.execution.spool import Spool, spools
from comparisons.records import Failure, Result
from comparisons.training.artifacts import Artifacts


def silent(run, iteration, loss):
    """Report to nobody."""


def options(folder, *, retries=0, **slurm):
    slurm = SlurmOptions(**{"cluster": "local", **slurm})
    return ExecutionOptions(artifacts=Artifacts(folder), retries=retries, slurm=slurm)


class FakeQueue:
    """A queue whose jobs end at once, as the test's function of a job and its number says."""

    real = False

    def __init__(self, options):
        self.groups, self.known, self.cancelled = [], {}, []

    def submit(self, spool, groups):
        jobs = [self._job(spool, group) for group in groups]
        if jobs:
            spool.save_jobs({job.name: (job.number, list(job.waiting)) for job in jobs})
        return jobs

    def _job(self, spool, group):
        number = str(len(self.groups))
        self.groups.append(list(group))
        handle = types.SimpleNamespace(job_id=number, stderr=lambda: "the log")
        job = QueuedJob(number, handle, spool, {run.id: run for run in group})
        self.known[number] = self.work(job, len(self.groups))
        return job

    def earlier_job(self, name, number, spool, runs):
        handle = types.SimpleNamespace(job_id=number, stderr=lambda: "")
        return QueuedJob(name, handle, spool, runs)

    def states(self, jobs=()):
        return self.known

    def cancel(self, jobs):
        self.cancelled += [job.number for job in jobs]


@pytest.fixture
def make_executor(tmp_path, monkeypatch):
    """An executor on a queue of which ``work(job, count)`` returns the state of a new job."""

    def make(work, **more):
        monkeypatch.setattr("comparisons.execution.slurm.SlurmQueue", FakeQueue)
        monkeypatch.setattr(FakeQueue, "work", staticmethod(work), raising=False)
        executor = SlurmExecutor(options(tmp_path, **more))
        executor._poll = executor._ask_every = 0.0
        return executor

    return make


@pytest.fixture
def answer(make_result):
    """Save a result for the first ``count`` runs of a job; return the state."""

    def save(job, count=None, state="COMPLETED"):
        job.spool.note(job.name, {})
        for run in list(job.waiting.values())[:count]:
            job.spool.save(replace(make_result(), run=run))
        return state

    return save


def test_slurm_executor_names_missing_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ExecutorError, match=r"unitary_zoo\[slurm\]") as caught:
        SlurmExecutor(options(tmp_path))
    assert "\n" not in str(caught.value)


def test_slurm_executor_names_missing_slurm(monkeypatch, tmp_path):
    pytest.importorskip("submitit", reason="submitit is an extra")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match="needs sbatch, which is not on the PATH"):
        SlurmExecutor(options(tmp_path, cluster="slurm"))


def test_slurm_executor_names_unknown_option(tmp_path):
    pytest.importorskip("submitit", reason="submitit is an extra")
    with pytest.raises(ExecutorError, match="slurm_no_such") as caught:
        SlurmExecutor(options(tmp_path, more=(("slurm_no_such", "1"),)))
    assert "\n" not in str(caught.value)


def test_slurm_executor_submits_all_runs_as_one_array_and_forgets_them(
    make_executor, answer, make_run, tmp_path
):
    runs = [make_run(seed=seed) for seed in range(5)]
    executor = make_executor(lambda job, count: answer(job), runs_per_job=2)
    ended = list(executor.execute(runs, silent))
    assert sorted(one.run.seed for one in ended) == [0, 1, 2, 3, 4]
    assert executor._queue.groups == [runs[:2], runs[2:4], runs[4:]]
    assert spools(tmp_path / "slurm") == []
    assert executor._queue.cancelled == []


def test_slurm_executor_trains_more_runs_per_job_than_an_array_has_jobs(
    make_executor, answer, make_run, monkeypatch
):
    monkeypatch.setattr("comparisons.execution.slurm.LARGEST_ARRAY", 2)
    executor = make_executor(lambda job, count: answer(job))
    assert len(list(executor.execute([make_run(seed=seed) for seed in range(5)], silent))) == 5
    assert list(map(len, executor._queue.groups)) == [3, 2]


def test_job_that_died_costs_an_attempt_only_of_the_run_it_was_at(make_executor, answer, make_run):
    runs = [make_run(seed=seed) for seed in range(4)]

    def work(job, count):
        if runs[1].id not in job.waiting:
            return answer(job)
        return answer(job, list(job.waiting).index(runs[1].id), "OUT_OF_MEMORY")

    executor = make_executor(work, runs_per_job=4, retries=1)
    ended = {one.run: one for one in executor.execute(runs, silent)}
    assert executor._queue.groups == [runs, [runs[1]], runs[2:]]
    failed = ended.pop(runs[1])
    assert (failed.kind, failed.attempts, failed.traceback) == (DIED, 2, "the log")
    assert "OUT_OF_MEMORY" in failed.error
    assert all(isinstance(one, Result) for one in ended.values())
    assert len(ended) == 3


def test_jobs_that_never_start_end(make_executor, make_run):
    runs = [make_run(seed=seed) for seed in range(4)]
    executor = make_executor(lambda job, count: "FAILED", runs_per_job=4, retries=1)
    ended = list(executor.execute(runs, silent))
    assert [one.attempts for one in ended] == [2] * 4
    assert len(executor._queue.groups) == 5


@pytest.mark.parametrize(
    ("state", "kind", "count"), [("CANCELLED", CANCELLED, 1), ("NODE_FAIL", LOST, 2)]
)
def test_job_that_was_cancelled_is_not_submitted_again(make_executor, make_run, state, kind, count):
    executor = make_executor(lambda job, count: state, retries=1)
    (failed,) = executor.execute([make_run()], silent)
    assert failed.kind == kind
    assert len(executor._queue.groups) == count


@pytest.mark.parametrize("state", ["PREEMPTED", "FAILED"])
def test_preemption_costs_no_attempt(make_executor, answer, make_run, state):
    def work(job, count):
        if count == 5:
            return answer(job)
        job.spool.start(job.name)
        if state == "FAILED":  # so SLURM calls it where the job ended within its time of grace
            job.spool.stop(job.name)
        return state

    (ended,) = make_executor(work).execute([make_run()], silent)
    assert isinstance(ended, Result)


def test_job_that_died_after_it_was_started_again_was_not_stopped(make_executor, make_run):
    def work(job, count):
        job.spool.stop(job.name)
        job.spool.start(job.name)
        return "FAILED"

    (failed,) = make_executor(work).execute([make_run()], silent)
    assert failed.kind == DIED


def test_slurm_executor_cancels_jobs_when_it_is_closed(make_executor, answer, make_run):
    executor = make_executor(lambda job, count: answer(job) if count == 1 else "RUNNING")
    runs = executor.execute([make_run(seed=seed) for seed in range(3)], silent)
    next(runs)
    runs.close()
    assert executor._queue.cancelled == ["0", "1", "2"]


def test_slurm_executor_reports_refusal(make_executor, make_run, monkeypatch):
    def refuse(self, spool, groups):
        raise RefusedError("no such partition")

    monkeypatch.setattr(FakeQueue, "submit", refuse)
    executor = make_executor(None)
    with pytest.raises(ExecutorError, match="no such partition"):
        next(executor.execute([make_run()], silent))


def test_slurm_executor_adopts_what_a_killed_command_left(
    make_executor, answer, make_run, make_result, tmp_path
):
    finished, failed, queued, ended, new = (make_run(seed=seed) for seed in range(5))
    earlier = Spool(tmp_path / "slurm" / "earlier")
    earlier.save(replace(make_result(), run=finished))
    earlier.save(failure(failed, "an error", kind="ValueError"))
    table = {"0": ("71", [finished.id, failed.id, queued.id]), "1": ("72", [ended.id])}
    earlier.save_jobs(table)
    executor = make_executor(lambda job, count: answer(job))
    executor._queue.known = {"71": "RUNNING", "72": "FAILED"}
    results = []
    for one in executor.execute([finished, failed, queued, ended, new], silent):
        results.append(one)
        if len(results) == 4:  # all others: the job of the killed command is at work all the time
            earlier.save(replace(make_result(), run=queued))
            executor._queue.known["71"] = "COMPLETED"
    assert [one.run for one in results][0::4] == [finished, queued]
    assert all(isinstance(one, Result) for one in results)
    assert executor._queue.groups == [[failed], [ended], [new]]
    assert spools(tmp_path / "slurm") == []


@pytest.fixture
def read_only(monkeypatch):
    """Let the files of spools be refused while the list holds something."""
    reasons, write, move = [], spool_module.write_file, os.replace

    def refuse(call):
        def wrapped(*arguments, **more):
            if reasons:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))
            return call(*arguments, **more)

        return wrapped

    monkeypatch.setattr(spool_module, "write_file", refuse(write))
    monkeypatch.setattr(spool_module.os, "replace", refuse(move))
    monkeypatch.setattr(Path, "unlink", refuse(Path.unlink))
    return reasons


def test_slurm_executor_yields_all_results_where_folder_becomes_read_only(
    make_executor, answer, make_run, read_only, tmp_path
):
    ended_runs = make_executor(lambda job, count: answer(job)).execute(
        [make_run(seed=seed) for seed in range(3)], silent
    )
    results = [next(ended_runs)]
    read_only.append("now")
    results += ended_runs
    assert sorted(one.run.seed for one in results) == [0, 1, 2]
    read_only.clear()
    (left,) = spools(tmp_path / "slurm")
    assert len(left.ended()) == 3  # for the next command, if this one could not store them


def test_job_saves_a_result_once_the_folder_takes_it(
    make_run, make_result, read_only, monkeypatch, tmp_path
):
    runs = [make_run(seed=seed) for seed in range(2)]

    class Executor:
        def __init__(self, options, keep_choice):
            """Train nothing."""

        def execute(self, runs, on_progress):
            read_only.append("now")
            for run in runs:
                on_progress(run, 1, 0.5)
                yield replace(make_result(), run=run)

    monkeypatch.setattr(slurm_job, "LocalExecutor", Executor)
    monkeypatch.setattr(slurm_job.time, "sleep", lambda seconds: read_only.clear())
    job = slurm_job.Job("00000", tuple(runs), Spool(tmp_path), options(tmp_path))
    job()
    assert job.spool.ended() == {run.id for run in runs}
    monkeypatch.setattr(slurm_job, "SAVE_SECONDS", 0.0)
    job = replace(job, spool=Spool(tmp_path / "other"))
    with pytest.raises(OSError, match="Read-only"):  # and the log of the job says so
        job()


def test_queue_refuses_jobs_that_cannot_be_written_and_names_others_anew(
    make_run, read_only, monkeypatch, tmp_path
):
    pytest.importorskip("submitit", reason="submitit is an extra")
    queue = SlurmQueue(options(tmp_path))
    submitted = []

    class Submitter:
        def batch(self):
            return contextlib.nullcontext()

        def submit(self, job):
            if job.runs[0].seed == 1:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            submitted.append(job.name)
            return types.SimpleNamespace(job_id="7")

    monkeypatch.setattr(queue, "_submitter", lambda spool, runs: Submitter())
    spool = Spool(tmp_path / "some")
    with pytest.raises(RefusedError, match="give the folder room and write permission"):
        queue.submit(spool, [(make_run(seed=1),)])
    read_only.append("now")
    queue.submit(spool, [(make_run(),)])
    queue.submit(spool, [(make_run(),)])
    assert len(set(submitted)) == 2


def test_command_of_a_job_finds_package_and_data_from_any_folder(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("UNITARY_ZOO_DATA", "/my data")
    words = shlex.split(_python())
    root = Path(__file__).parents[3]
    assert words[1:3] == [f"PYTHONPATH={root}{os.pathsep}/somewhere", "UNITARY_ZOO_DATA=/my data"]
    assert words[3] == sys.executable


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the job's process in /proc")
# Without SLURM, a job is a child of this process; it may outlive its last run by a moment.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_preempted_job_goes_on_to_the_same_results(make_run, tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an extra")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")  # as in a job of SLURM
    run = make_run(iterations=3000, eval_every=1000)
    bad = replace(run, task="no_such_task")
    preempted = []

    def preempt(run, iteration, loss):
        if preempted:
            return
        preempted.append(iteration)
        ((controller, _),) = spools(tmp_path / "slurm")[0].jobs().values()
        (job,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
        os.kill(int(job), signal.SIGUSR2)

    executor = EXECUTORS["slurm"](options(tmp_path, runs_per_job=2))
    ended = {one.run: one for one in executor.execute([run, bad], preempt)}
    assert len(preempted) == 1
    assert preempted[0] < 3000
    log = next((tmp_path / "slurm").glob("*/logs/*.out")).read_text()
    assert log.count("Starting with") == 2  # submitit's word for a job that starts
    assert isinstance(ended[bad], Failure)
    assert "Traceback" in ended[bad].traceback
    through = attempt(run, threads=1)
    curves = [
        [(point.iteration, point.train_loss, point.test_loss) for point in result.curve]
        for result in (ended[run], through)
    ]
    assert curves[0] == curves[1]
    assert spools(tmp_path / "slurm") == []
