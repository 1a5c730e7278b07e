import multiprocessing
import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from comparisons.execution import ExecutionOptions, faults
from comparisons.execution.local import LocalExecutor, pool, worker
from comparisons.records import Failure, Result
from comparisons.training.artifacts import Artifacts
from comparisons.training.machine import usable_cpus
from comparisons.training.trainer import train

forked = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="workers are not forked"
)


def silent(run, iteration, loss):
    """Report to nobody."""


def ended_by_seed(runs, **options):
    """Results and failures by the seed of their runs."""
    ended_runs = LocalExecutor(ExecutionOptions(**options)).execute(runs, silent)
    return {ended.run.seed: ended for ended in ended_runs}


class Code(str):
    """An option of a run that is executed where it is unpickled: in the worker, before the run."""

    def __reduce__(self):
        return exec, (str(self), {})


def instead(body):
    """An option that puts other code in the place of the worker's training."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        (
            "code",
            Code(
                "import comparisons.execution.local.worker as worker\n"
                "import ctypes, os, signal, time\n"
                "train = worker.attempt\n"
                f"def attempt(run, *arguments):\n{lines}"
                "    from dataclasses import replace\n"
                "    setting = run.setting.changed(options=())\n"
                "    return train(replace(run, setting=setting), *arguments)\n"
                "worker.attempt = attempt\n"
            ),
        ),
    )


def losses(result):
    return [point.test_loss for point in result.curve]


def test_local_executor_trains_runs_and_reports_progress(make_run):
    runs = [make_run(seed=seed, iterations=100) for seed in range(3)]
    news = []
    ended_runs = list(
        LocalExecutor(ExecutionOptions(jobs=2)).execute(runs, lambda *update: news.append(update))
    )
    assert {ended.run for ended in ended_runs} == set(runs)
    assert all(isinstance(ended, Result) for ended in ended_runs)
    assert all(run in runs and 0 < done <= 100 for run, done, _ in news)
    assert {ended.threads for ended in ended_runs} == {max(1, usable_cpus() // 2)}


def test_local_executor_gives_single_run_all_threads(make_run):
    (ended,) = LocalExecutor(ExecutionOptions(jobs=None)).execute([make_run()], silent)
    assert ended.threads == usable_cpus()


def test_local_executor_results_do_not_depend_on_runs_before(make_run):
    spoil = instead("import torch\ntorch.set_default_dtype(torch.float64)\ntorch.manual_seed(3)")
    runs = [make_run(seed=1, hidden_size=64, options=spoil), make_run(seed=2), make_run(seed=3)]
    ended = ended_by_seed(runs, jobs=1)
    again = ended_by_seed(runs[:0:-1], jobs=1)
    before = torch.get_num_threads()
    torch.set_num_threads(usable_cpus())
    try:
        for seed in (2, 3):
            here = train(runs[seed - 1])
            assert losses(ended[seed]) == losses(again[seed]) == losses(here)
            assert ended[seed].peak_memory_mb == pytest.approx(again[seed].peak_memory_mb, abs=4)
    finally:
        torch.set_num_threads(before)


def test_local_executor_isolates_exception(make_run):
    good = make_run()
    bad = make_run("no_such_model", seed=1)
    ended = ended_by_seed([bad, good], jobs=usable_cpus(), retries=2)
    assert isinstance(ended[0], Result)
    failure = ended[1]
    assert isinstance(failure, Failure)
    assert failure.error.startswith("LookupError: unknown model 'no_such_model'")
    assert "\n" not in failure.error
    assert "Traceback" in failure.traceback
    assert failure.attempts == 1  # it would fail again


@pytest.mark.parametrize("retries", [0, 1])
def test_local_executor_tries_killed_run_again(make_run, retries):
    runs = [make_run(seed=seed, iterations=400) for seed in range(2)]
    alive = set()

    def kill_one(run, iteration, loss):
        if len(alive) == 2:
            return
        alive.add(run)
        if len(alive) == 2:  # both workers are at work, and one of them dies
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    options = ExecutionOptions(jobs=2, retries=retries)
    ended_runs = list(LocalExecutor(options).execute(runs, kill_one))
    assert {ended.run for ended in ended_runs} == set(runs)
    failures = [ended for ended in ended_runs if isinstance(ended, Failure)]
    if retries:
        assert not failures
    else:
        (failure,) = failures
        assert failure.error == "the worker process died (killed by SIGKILL; out of memory?)"
        assert (failure.kind, failure.attempts) == (faults.DIED, 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_local_executor_isolates_worker_that_crashes(make_run, jobs):
    runs = [
        make_run(),
        make_run(seed=1, options=instead("os._exit(0)")),
        make_run(seed=2, options=instead("def crash(): ctypes.string_at(0)\ncrash()")),
        make_run(seed=3, options=(("code", Code("import os; os._exit(3)")),)),
        make_run(seed=4),
    ]
    ended = ended_by_seed(runs, jobs=jobs)
    assert isinstance(ended[0], Result)
    assert isinstance(ended[4], Result)
    assert "exit code 0 before the run was finished" in ended[1].error
    assert "exit code 3 before the run was finished" in ended[3].error
    assert "killed by SIGSEGV" in ended[2].error
    assert "in crash" in ended[2].traceback
    assert {ended[seed].kind for seed in (1, 2, 3)} == {faults.DIED}


@forked
def test_local_executor_ends_run_that_hangs(make_run, monkeypatch):
    monkeypatch.setattr(worker, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(worker, "START_SECONDS", 2.0)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    runs = [
        make_run(seed=0, options=instead("def hang(): time.sleep(60)\nhang()")),
        make_run(seed=1),
        make_run(seed=2, options=instead(f"{deaf}def hang(): time.sleep(60)\nhang()")),
    ]
    ended = ended_by_seed(runs, jobs=3, timeout=2.0)
    assert isinstance(ended[1], Result)
    for seed in (0, 2):
        assert ended[seed].kind == faults.HUNG
        assert "no step was finished for 2 s" in ended[seed].error
        assert "in hang" in ended[seed].traceback


@pytest.mark.parametrize(
    ("told", "seconds", "hangs"), [(0.0, 9.0, False), (0.0, 601.0, True), (100.0, 9.0, True)]
)
def test_worker_has_more_time_before_its_first_sign_of_life(
    make_run, monkeypatch, told, seconds, hangs
):
    context = multiprocessing.get_context("spawn")
    own = worker.Worker(context, make_run(), 1, ExecutionOptions(timeout=5.0))
    own._begun, own._counters[2] = 100.0, told
    monkeypatch.setattr(worker.time, "monotonic", lambda: 100.0 + seconds)
    own.watch()
    assert (own._reason is not None) is hangs
    own.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no memory is told")
def test_local_executor_ends_run_that_outgrows_its_memory(make_run, monkeypatch):
    monkeypatch.setattr(pool, "_share_mb", lambda jobs: 150.0 if jobs > 1 else 1000.0)
    greedy = instead("def grow():\n  x = b'.' * (300 << 20)\n  time.sleep(0.4)\ngrow()")
    runs = [make_run(seed=0, options=greedy), make_run(seed=1)]
    ended = ended_by_seed(runs, jobs=2)
    assert isinstance(ended[1], Result)
    assert ended[0].kind in faults.NO_MEMORY
    assert "its share of this machine's memory is 150 MB" in ended[0].error
    assert "in grow" in ended[0].traceback
    again = ended_by_seed(runs, jobs=2, retries=1)  # alone, with all of the memory
    assert isinstance(again[0], Result)
    assert isinstance(again[1], Result)
    # All of the memory was not enough: another attempt is in vain.
    monkeypatch.setattr(pool, "_share_mb", lambda jobs: 150.0)
    assert ended_by_seed(runs[:1], jobs=1, retries=3)[0].attempts == 1


def test_local_executor_goes_on_where_a_process_cannot_start(make_run, monkeypatch):
    runs = [make_run(seed=seed) for seed in range(2)]
    start = worker.Worker.start

    def refuse_first(own):
        if own.run == runs[0]:
            raise BlockingIOError(11, "no more processes")
        start(own)

    monkeypatch.setattr(worker.Worker, "start", refuse_first)
    refused, trained = LocalExecutor(ExecutionOptions(jobs=1)).execute(runs, silent)
    assert (refused.run, refused.kind) == (runs[0], "BlockingIOError")
    assert isinstance(trained, Result)


@forked
def test_local_executor_gives_workers_time_to_save_on_close(make_run, tmp_path):
    saved = tmp_path / "saved"
    save = instead(
        "def save(*_):\n"
        "  time.sleep(0.3)\n"
        f"  open({str(saved)!r}, 'w').close()\n"
        "  os._exit(0)\n"
        "signal.signal(signal.SIGTERM, save)"
    )
    runs = [make_run(iterations=100), make_run(seed=1, iterations=10**6, options=save)]
    ended_runs = LocalExecutor(ExecutionOptions(jobs=2)).execute(runs, silent)
    assert next(ended_runs).run == runs[0]
    ended_runs.close()
    assert saved.exists()
    assert not multiprocessing.active_children()


def test_local_executor_keeps_division_of_a_folder(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "usable_cpus", lambda: 4)
    runs = [make_run(seed=seed) for seed in range(8)]
    options = ExecutionOptions(jobs=None, artifacts=Artifacts(tmp_path))
    first = LocalExecutor(options).divide(runs)
    assert (first.jobs, set(first.threads.values())) == (4, {1})
    assert "too short" in first.reason
    # What is left gets the threads it would have had, and a new run what is best for it.
    second = LocalExecutor(options).divide(runs[-1:])
    assert (second.jobs, second.threads) == (1, {runs[-1].id: 1})
    assert "as chosen before" in second.reason
    new = make_run(seed=99)
    assert LocalExecutor(options).divide([new]).threads == {new.id: 4}
    # Another number of jobs, or of CPUs, is another choice.
    assert LocalExecutor(replace(options, jobs=2)).divide(runs[:2]).threads[runs[0].id] == 2
    monkeypatch.setattr(pool, "usable_cpus", lambda: 2)
    assert LocalExecutor(options).divide(runs[:1]).threads == {runs[0].id: 2}


class FakeWorker:
    """A worker without a process."""

    started = ()

    def __init__(self, context, run, threads, options, gpu, share_mb):
        self.run, self.threads, self.gpu, self.share_mb = run, threads, gpu, share_mb

    def start(self):
        """Start nothing."""


def test_places_share_gpus_and_threads(make_run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, 5,")
    monkeypatch.setattr(pool, "usable_cpus", lambda: 8)
    monkeypatch.setattr(pool, "Worker", FakeWorker)
    runs = [replace(make_run(seed=seed), device="cuda") for seed in range(6)]
    pinned = replace(make_run(seed=9), device="cuda:1")
    executor = LocalExecutor(ExecutionOptions(jobs=None, gpu_slots=2))
    division = executor.divide([*runs, pinned])
    assert (division.jobs, set(division.threads.values())) == (4, {2})
    places = pool._Places(division, 8, pool.GpuSlots(2))
    waiting = pool._Waiting([*runs, pinned])
    while run := places.next_run(waiting, pool.deque()):
        places.start(None, run, executor.options)
    assert [worker.gpu for worker in places.workers] == ["GPU-a", "5", "GPU-a", "5"]
    assert all(worker.share_mb is None for worker in places.workers)
    places._remove(places.workers[2])
    assert places.next_run(pool._Waiting([pinned]), pool.deque()) is None  # its GPU is full
    places.start(None, runs[4], executor.options)
    places._remove(places.workers[1])
    assert places.next_run(pool._Waiting([pinned]), pool.deque()) is pinned
    places.start(None, pinned, executor.options)
    assert places.workers[-1].gpu is None  # it says itself which one, and must see both
    assert places._gpus.take("cuda") is None
    assert executor.divide(runs[:1]).threads == {runs[0].id: 8}


def test_local_executor_keeps_no_division_of_gpus_that_may_be_others(
    make_run, monkeypatch, tmp_path
):
    runs = [replace(make_run(seed=seed), device="cuda") for seed in range(6)]
    jobs = []
    for gpus, slots in ((2, 2), (1, 1), (2, 1)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        options = ExecutionOptions(gpu_slots=slots, artifacts=Artifacts(tmp_path))
        jobs.append(LocalExecutor(options).divide(runs).jobs)
    assert jobs == [4, 1, 2]


@forked
def test_worker_sees_its_gpu_alone(make_run):
    tell = instead("raise KeyError(os.environ['CUDA_VISIBLE_DEVICES'])")
    own = worker.Worker(
        pool.worker_context(), make_run(options=tell), 1, ExecutionOptions(), gpu="GPU-b"
    )
    own.start()
    multiprocessing.connection.wait(own.ends, 60)
    assert "GPU-b" in own.ended().error


def test_worker_sends_failure_where_result_cannot_be_pickled(make_run, make_result, monkeypatch):
    unsendable = replace(make_result(), machine={"time": time})
    monkeypatch.setattr(worker, "attempt", lambda *arguments: unsendable)
    monkeypatch.setattr(worker, "_follow_parent", lambda: None)
    monkeypatch.setattr(worker, "_tell_crashes", lambda trace: None)
    before = signal.getsignal(signal.SIGINT)
    answers, answer = multiprocessing.Pipe(duplex=False)
    try:
        worker._work(answer, answer, [0.0, 0.0, 0.0], make_run(), 1, ExecutionOptions(), None)
    finally:
        signal.signal(signal.SIGINT, before)
    ended = answers.recv()
    assert isinstance(ended, Failure)
    assert "pickle" in ended.error
