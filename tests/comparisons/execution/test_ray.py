import contextlib
import functools
import importlib
import signal
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.execution import ExecutionOptions, ExecutorError, faults, ray_cluster, ray_task
from comparisons.execution.local import LocalExecutor
from comparisons.execution.ray import RayExecutor
from comparisons.execution.ray_task import Answer, Note, Orders
from comparisons.records import Failure, Result
from comparisons.training.artifacts import Artifacts
from comparisons.training.machine import usable_cpus


def silent(run, iteration, loss):
    """Report to nobody."""


def test_ray_executor_names_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r"unitary_zoo\[ray\]") as caught:
        RayExecutor(ExecutionOptions(jobs=1))
    assert "\n" not in str(caught.value)


class RayError(Exception):
    """The base class of Ray's errors."""


ERRORS = {
    name: type(name, (RayError,), {})
    for name in (
        "LocalRayletDiedError", "NodeDiedError", "ObjectLostError", "OutOfMemoryError",
        "WorkerCrashedError",
    )
}  # fmt: skip


class Call:
    """A reference to what a function returns."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Remote:
    """What Ray calls by ``remote``."""

    def __init__(self, remote):
        self.remote = remote


class FakeRay(types.ModuleType):
    """Ray in one process: a task runs when its reference is got, and the board is dead."""

    exceptions = types.SimpleNamespace(RayError=RayError, **ERRORS)
    util = types.SimpleNamespace(
        scheduling_strategies=types.SimpleNamespace(
            NodeAffinitySchedulingStrategy=lambda node, soft: node
        )
    )

    def __init__(self, notes=None):
        super().__init__("ray")
        self.notes, self.options, self.cancelled, self.waited = notes, [], [], 0

    def is_initialized(self):
        return True  # what the caller has connected is not connected, and not shut down

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": cpus}} for cpus in (8.0, 4.0, 0.0)]

    def cluster_resources(self):
        return {"CPU": 12.0}

    def get_runtime_context(self):
        return types.SimpleNamespace(get_node_id=lambda: "here")

    def remote(self, function=None, **options):
        if function is None:
            return functools.partial(self.remote, **options)
        if function is ray_task.Board:
            board = Remote(lambda: types.SimpleNamespace(take=Remote(lambda: Call(self.told))))
            return types.SimpleNamespace(options=lambda **_: board)

        def bound(**more):
            self.options.append({**options, **more})
            return Remote(functools.partial(Call, function))

        return types.SimpleNamespace(options=bound)

    def told(self):
        if self.notes is None:
            raise RayError("the actor died")
        return self.notes

    def wait(self, references, num_returns=1, timeout=None):
        self.waited = max(self.waited, len(references))
        hangs = self.notes is not None and not self.cancelled
        return ([], references) if hangs else (references[:1], references[1:])

    def get(self, call, timeout=None):
        return call.function(*call.arguments)

    def cancel(self, reference, force):
        self.cancelled.append(reference)

    def kill(self, actor):
        """End nothing."""


@pytest.fixture
def fake(monkeypatch):
    def install(work, **options):
        ray = FakeRay(**options)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr("comparisons.execution.ray_task.work", work)
        return ray

    return install


@pytest.mark.parametrize(
    ("error", "kind", "attempts"),
    [
        (ERRORS["NodeDiedError"]("gone"), faults.LOST, 3),
        (ERRORS["ObjectLostError"]("gone"), faults.LOST, 3),
        (ERRORS["WorkerCrashedError"]("gone"), faults.DIED, 3),
        (ERRORS["OutOfMemoryError"]("gone"), "OutOfMemoryError", 3),
        (ModuleNotFoundError("what was sent cannot be read back"), "ModuleNotFoundError", 1),
    ],
)
def test_ray_executor_tries_again_where_that_can_help(
    make_run, make_result, fake, error, kind, attempts
):
    tried = []

    def work(ticket, run, orders, board):
        tried.append(run.seed)
        if run.seed == 0 or (run.seed == 1 and tried.count(1) == 1):
            raise error
        return Answer(make_result(seed=run.seed))

    fake(work)
    runs = [make_run(seed=seed) for seed in range(3)]
    executor = RayExecutor(ExecutionOptions(jobs=2, retries=2))
    ended = {ended.run.seed: ended for ended in executor.execute(runs, silent)}
    assert (ended[0].kind, ended[0].attempts) == (kind, attempts)
    assert tried.count(0) == attempts
    assert "\n" not in ended[0].error
    assert isinstance(ended[1], Result if attempts > 1 else Failure)
    assert ended[2] == make_result(seed=2)


def test_ray_executor_asks_for_share_of_smallest_node_in_a_window(make_run, make_result, fake):
    ray = fake(lambda ticket, run, orders, board: Answer(replace(make_result(), run=run)))
    runs = [make_run(seed=seed) for seed in range(500)]
    runs[1] = replace(runs[1], device="cuda")
    runs[2] = make_run(seed=2, iterations=10**6)
    executor = RayExecutor(ExecutionOptions(jobs=2, gpu_slots=3))
    assert {ended.run for ended in executor.execute(runs, silent)} == set(runs)
    assert {task["num_cpus"] for task in ray.options} == {2.0}
    assert [task.get("num_gpus") for task in ray.options[:3]] == [None, 0.3333, None]
    assert [task["max_calls"] for task in ray.options[:3]] == [0, 1, 1]
    assert ray.waited <= 128


def test_ray_executor_cancels_run_that_hangs(make_run, fake):
    def cancelled(ticket, run, orders, board):
        raise ERRORS["WorkerCrashedError"]("cancelled")

    ray = fake(cancelled, notes={1: Note("here", 0, 7, 0.5)})
    hung, waiting = make_run(), make_run(seed=1)
    ray.told = lambda: ray.notes if not ray.told_once else {}
    ray.told_once = False
    news = []

    def once(*update):
        news.append(update)
        ray.told_once = True

    executor = RayExecutor(ExecutionOptions(jobs=1, timeout=0.01))
    ended = {ended.run: ended for ended in executor.execute([hung, waiting], once)}
    assert news == [(hung, 7, 0.5)]
    assert ended[hung].kind == faults.HUNG
    assert ended[waiting].kind == faults.DIED  # it was not at work, and so it did not hang
    assert len(ray.cancelled) == 1


@pytest.mark.parametrize("iteration", [None, 0])
def test_ray_executor_gives_run_more_time_before_its_first_sign_of_life(
    make_run, make_result, fake, iteration
):
    ray = fake(lambda *arguments: Answer(make_result()), notes={1: Note("here", 7, iteration)})
    ended_runs = RayExecutor(ExecutionOptions(timeout=1e-9)).execute([make_run()], silent)
    looks = []

    def told():
        looks.append(None)
        if len(looks) == 3:
            ray.cancelled.append("enough")  # the fake then lets the run end
        return ray.notes if len(looks) == 1 else {}

    ray.told = told
    (ended,) = ended_runs
    assert ("enough" in ray.cancelled) is (iteration is None)
    assert isinstance(ended, Result)


def test_ray_executor_lets_runs_at_work_save_checkpoints_when_it_is_closed(
    make_run, make_result, fake, tmp_path
):
    ray = fake(lambda ticket, *_: Answer(make_result(seed=ticket)), notes={2: Note("there", 7, 3)})
    ray.cancelled.append("nothing")  # so that the first run ends
    sent = []
    remote = ray.remote

    def noted(function=None, **options):
        if function is not ray_task.send:
            return remote(function, **options)
        call = Remote(lambda *arguments: sent.append((arguments, len(ray.cancelled))))
        return types.SimpleNamespace(options=lambda **more: call)

    ray.remote = noted
    options = ExecutionOptions(artifacts=Artifacts(tmp_path))
    ended_runs = RayExecutor(options).execute([make_run(seed=s) for s in (1, 2, 3)], silent)
    next(ended_runs)
    ended_runs.close()
    # The run that waits is cancelled before, and the one at work after it had the time to save.
    assert sent == [((signal.SIGTERM, [7]), 2)]
    assert len(ray.cancelled) == 3


def test_ray_executor_keeps_result_whose_files_cannot_be_written(
    make_run, make_result, fake, tmp_path
):
    fake(lambda *arguments: Answer(make_result(), (("models/weights", b"weights"),)))
    (tmp_path / "models").write_text("in the way")
    options = ExecutionOptions(artifacts=Artifacts(tmp_path, save_models=True))
    with pytest.warns(UserWarning, match="weights cannot be written"):
        assert list(RayExecutor(options).execute([make_run()], silent)) == [make_result()]


def test_ray_leaves_sigterm_to_the_command():
    pytest.importorskip("ray", reason="its private modules set the addresses it listens on")

    def init(**options):
        ray.is_initialized = lambda: True
        signal.signal(signal.SIGTERM, lambda *_: None)  # as Ray does

    ray = types.SimpleNamespace(is_initialized=lambda: False, init=init)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert ray_cluster.connect(ray, ray_cluster.THIS_MACHINE, ())
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)


def on_node(monkeypatch, attempt, run, orders):
    """What a node answers where ``attempt`` trains."""
    context = types.SimpleNamespace(get_node_id=lambda: "there")
    monkeypatch.setitem(
        sys.modules, "ray", types.SimpleNamespace(get_runtime_context=lambda: context)
    )
    monkeypatch.setattr(ray_task, "attempt", attempt)
    board = types.SimpleNamespace(put=types.SimpleNamespace(remote=lambda *note: None))
    return ray_task.work(1, run, orders, board)


@pytest.mark.parametrize("shared", [True, False])
def test_task_sends_files_where_folder_is_not_shared(
    make_run, make_result, monkeypatch, tmp_path, shared
):
    def attempt(run, threads, progress, options):
        assert (options.artifacts.folder == tmp_path) is shared
        assert options.artifacts.checkpoint_every == (5.0 if shared else None)
        path = options.artifacts.folder / "models" / "weights.safetensors"
        path.parent.mkdir()
        path.write_bytes(b"weights")
        return make_result()

    options = ExecutionOptions(artifacts=Artifacts(tmp_path, 5.0, save_models=True))
    orders = Orders(options, 1, "token" if shared else "elsewhere")
    (tmp_path / "token").touch()
    answer = on_node(monkeypatch, attempt, make_run(), orders)
    assert answer.ended == replace(make_result(), peak_memory_mb=None)
    assert answer.files == (() if shared else (("models/weights.safetensors", b"weights"),))


def test_ray_executor_writes_what_comes_back(make_run, make_result, fake, tmp_path):
    def work(ticket, run, orders, board):
        tokens.append((tmp_path / orders.token).exists())
        return Answer(make_result(), (("models/weights.safetensors", b"weights"),))

    tokens = []
    fake(work)
    options = ExecutionOptions(artifacts=Artifacts(tmp_path, save_models=True))
    assert list(RayExecutor(options).execute([make_run()], silent)) == [make_result()]
    assert tokens == [True]
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "models",
        "models/weights.safetensors",
    ]


@pytest.mark.parametrize("here", [True, False])
def test_task_has_plugin_file_of_the_command(make_run, make_result, monkeypatch, tmp_path, here):
    path = tmp_path / "own.py"
    if here:
        path.write_bytes(b"x = 1")

    def attempt(run, threads, progress, options):
        used, module = map(Path, options.plugins)
        assert (used == path) is here
        assert (used.name, used.read_bytes(), str(module)) == ("own.py", b"x = 1", "json")
        return make_result()

    options = ExecutionOptions(plugins=(str(path), "json"))
    orders = Orders(options, 1, plugin_files=((str(path), b"x = 1"),))
    assert isinstance(on_node(monkeypatch, attempt, make_run(), orders).ended, Result)


def test_ray_executor_refuses_address_without_cluster():
    pytest.importorskip("ray", reason="Ray is an extra")
    started = time.monotonic()
    with pytest.raises(ExecutorError, match=r"127\.0\.0\.1:1 .*refused.*ray start") as caught:
        RayExecutor(ExecutionOptions(ray_address="127.0.0.1:1"))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 20


def test_ray_cluster_example_fits_schema_of_ray():
    pytest.importorskip("ray", reason="Ray is an extra")
    yaml = pytest.importorskip("yaml", reason="Ray brings it")
    util = importlib.import_module("ray.autoscaler._private.util")
    path = Path(__file__).parents[3] / "docs" / "examples" / "ray_cluster.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    util.validate_config(util.prepare_config(config))


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two raylets with one CPU each, of which this process is on the first."""
    ray = pytest.importorskip("ray", reason="Ray is an extra")
    cluster_utils = importlib.import_module("ray.cluster_utils")
    constants = importlib.import_module("ray._private.ray_constants")
    monkeypatch.setattr(constants, "ENABLE_RAY_CLUSTER", False)  # what listens is on loopback
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster, cluster.add_node(num_cpus=1)
    finally:
        ray.shutdown()
        cluster.shutdown()


def kill_node(node):
    """Kill the raylet and all that it has started, at once."""
    psutil = pytest.importorskip("psutil", reason="it finds the processes of a node")
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    for process in [raylet, *raylet.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def losses(result):
    return [(p.iteration, p.train_loss, p.test_loss, p.test_accuracy) for p in result.curve]


@pytest.mark.slow
def test_ray_executor_ends_every_run_once_where_a_node_is_killed(make_run, two_nodes, monkeypatch):
    cluster, second = two_nodes
    bad = replace(make_run(), task="no_such_task")
    runs = [make_run(seed=seed, iterations=2000, eval_every=1000) for seed in range(3)]
    failures, working = [], set()
    again = faults.Attempts.again

    def counted(attempts, failure):
        failures.append(failure)
        return again(attempts, failure)

    def kill_once(run, iteration, loss):
        if len(working) < 2:
            working.add(run)
            if len(working) == 2:  # on two nodes with one CPU each
                kill_node(second)

    monkeypatch.setattr(faults.Attempts, "again", counted)
    executor = RayExecutor(ExecutionOptions(retries=1, ray_address=cluster.address))
    ended_runs = list(executor.execute([bad, *runs], kill_once))
    assert sorted(ended.run.seed for ended in ended_runs if ended.run != bad) == [0, 1, 2]
    by_run = {ended.run: ended for ended in ended_runs}
    assert by_run[bad].attempts == 1
    assert "Traceback" in by_run[bad].traceback
    (lost,) = [failure for failure in failures if failure.run != bad]
    assert lost.kind == faults.LOST
    assert cluster.list_all_nodes()  # the cluster was not shut down
    (local,) = LocalExecutor(ExecutionOptions(jobs=usable_cpus())).execute([lost.run], silent)
    assert losses(by_run[lost.run]) == losses(local)
