"""The threads of the slices of a batch: PyTorch's own, in forks, loaders, regions and threads."""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.scan.native.helpers import inputs, results
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.scan.native import slices, team
from unitary_zoo.scan.native.slices import Division
from unitary_zoo.testing.subject import normal


def run(code: str, **environment: str) -> str:
    """Run a program in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_division_depends_on_the_threads_for_nothing_but_their_number(two_threads):
    for batch in range(1, 200):
        for n in (1, 64, 512):
            found = []
            for count in (1, 2, 3, 16):
                torch.set_num_threads(count)
                division = Division.of(batch, 100, 4 * n * n, n * n)
                assert 1 <= division.threads <= min(count, division.count * division.crew)
                found.append((division.count, division.rows))
            assert len(set(found)) == 1
            assert division.rows == -(-batch // division.count)
            assert division.rows <= (36 if n == 512 else 12)


def big(seed: int = 0) -> dict[str, Tensor]:
    """Enough work for two threads."""
    return inputs(64, 64, 100, "tanh", seed=seed)


@pytest.mark.parametrize("team", ["OpenMP", "Python"])
@pytest.mark.parametrize(
    ("n", "batch", "steps", "name"),
    [(64, 64, 100, "tanh"), (33, 9, 700, "relu"), (256, 2, 60, "abs"), (512, 70, 3, "modrelu")],
)
def test_scan_gives_the_same_bits_for_any_number_of_threads(
    n, batch, steps, name, team, two_threads, monkeypatch
):
    """Slices of the batch, and threads that share the columns of a slice."""
    if team == "Python":
        monkeypatch.setattr(slices, "runtime", lambda: None)
    tensors, found = inputs(n, batch, steps, name, dtype=torch.float32), []
    for sequence in (True, False):
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            found.append(results(tensors, name, return_sequence=sequence, backend="native"))
            assert all(
                torch.equal(value, found[-1 - (count > 1)][key]) for key, value in found[-1].items()
            )


@pytest.mark.parametrize("count", [1, 2])
def test_scan_takes_subnormal_numbers_as_zero_and_leaves_the_caller_its_own(count, two_threads):
    torch.set_num_threads(count)
    x = torch.full((64, 64, 64), 1e-40)
    out = recurrent_scan(x, torch.eye(64), x[0], "identity", backend="native")
    assert not out.any()
    assert (x * 1).all()  # by each thread of PyTorch


def test_scan_runs_on_the_threads_of_pytorch(two_threads):
    assert team.runtime() is not None
    code = (
        "import os, torch\n"
        "from unitary_zoo.scan import recurrent_scan\n"
        "torch.set_num_threads(2)\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "x = torch.zeros(100, 64, 64).exp_()\n"
        "torch_has = len(os.listdir('/proc/self/task'))\n"
        "recurrent_scan(x, torch.eye(64), x[0], 'tanh')\n"
        "assert torch_has == before + 1, (before, torch_has)\n"
        "assert len(os.listdir('/proc/self/task')) == torch_has\n"
    )
    run(code)


def test_scan_from_several_threads_at_once(two_threads):
    wanted = [results(big(seed), "tanh") for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            got = list(pool.map(lambda seed: results(big(seed), "tanh"), range(4)))
            for a, b in zip(got, wanted, strict=True):
                assert all(torch.equal(a[key], b[key]) for key in b)


def _child(tensors: dict[str, Tensor], grad: Tensor, connection) -> None:
    torch.set_num_threads(2)
    # Nothing else: the threads of PyTorch's own operations do not survive a fork.
    out = recurrent_scan(**tensors, nonlinearity="tanh", return_sequence=False)
    (dw,) = torch.autograd.grad(out, tensors["W"], grad)
    connection.send((out[-1, -1].item(), dw[-1, -1].item()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_scan_after_a_fork_with_a_live_pool(two_threads):
    tensors, grad = big(), normal(64, 64, dtype=torch.float64)
    out = recurrent_scan(**tensors, nonlinearity="tanh", return_sequence=False)
    (dw,) = torch.autograd.grad(out, tensors["W"], grad)
    wanted = (out[-1, -1].item(), dw[-1, -1].item())
    context = multiprocessing.get_context("fork")
    children = []
    for _ in range(2):  # two processes at once
        here, there = context.Pipe()
        child = context.Process(target=_child, args=(tensors, grad, there), daemon=True)
        child.start()
        children.append((child, here))
    for child, here in children:
        assert here.poll(60), "the child hangs"
        assert here.recv() == wanted
        child.join(60)
        assert child.exitcode == 0


class _Sequences(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        tensors = big(index)  # before: the operations of PyTorch would wait for their threads
        torch.set_num_threads(2)  # a worker is given one
        try:
            with torch.no_grad():
                return recurrent_scan(**tensors, nonlinearity="tanh", return_sequence=False)
        finally:
            torch.set_num_threads(1)


def test_scan_in_the_workers_of_a_loader(two_threads):
    results(big(), "tanh")  # the team lives
    loader = torch.utils.data.DataLoader(_Sequences(), num_workers=2, batch_size=None, timeout=60)
    for got, wanted in zip(loader, (_Sequences()[i] for i in range(4)), strict=True):
        assert torch.equal(got, wanted)


class _Deeper(torch.autograd.Function):
    """Starts a backward pass in a backward pass; below 60 of them autograd changes the thread."""

    @staticmethod
    def forward(ctx, x, depth):
        ctx.depth = depth
        ctx.save_for_backward(x)
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = _Deeper.apply(x, ctx.depth - 1) if ctx.depth else _with(x)
            y.backward(grad if ctx.depth else None)
        _threads.add(threading.get_native_id())
        return x.grad, None


_threads: set[int] = set()


def _with(w: Tensor) -> Tensor:
    return recurrent_scan(**big() | {"W": w}, nonlinearity="tanh", return_sequence=False).sum()


def test_scan_in_a_worker_thread_of_autograd(two_threads):
    w = big()["W"].detach().requires_grad_()
    (wanted,) = torch.autograd.grad(_with(w), w)
    _Deeper.apply(w, 70).backward(torch.ones(()).expand(64, 64).double().clone())
    assert len(_threads) > 1  # as it should be for this test
    torch.testing.assert_close(w.grad, wanted, rtol=0, atol=1e-9)


def test_scan_inside_another_parallel_region(two_threads):
    found = team.runtime()
    assert found is not None
    if found.name != "GOMP_parallel":
        pytest.skip("torch uses another runtime")
    wanted, got = results(big(), "tanh"), []
    task = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: got.append(results(big(), "tanh")))
    start = ctypes.CFUNCTYPE(None, type(task), ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)(
        found.addresses["GOMP_parallel"]
    )
    start(task, None, 2, 0)
    assert len(got) == 2
    assert all(torch.equal(one[key], wanted[key]) for one in got for key in wanted)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads what Linux tells")
def test_scan_in_a_child_that_imports_the_library_after_the_fork():
    """The team is PyTorch's; the child has none of its threads."""
    run(
        "import os, torch\n"
        "torch.set_num_threads(2)\n"
        "x = torch.zeros(100, 64, 64).exp_() - 1\n"
        "child = os.fork()\n"
        "if child:\n"
        "    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "from unitary_zoo.scan import backends, recurrent_scan\n"
        "assert 'Python threads' in backends()['native'].reason\n"
        "out = recurrent_scan(x, torch.eye(64), x[0] + 1, 'identity', return_sequence=False)\n"
        "assert out.sum() == 4096\n"
        "os._exit(0)\n"
    )


@pytest.mark.parametrize("name", ["libiomp5.so", "libomp.so"])
def test_scan_with_the_runtime_of_intel_or_llvm(name):
    """Preloaded, as their users do; PyTorch runs on it then, too."""
    try:
        path = ctypes.CDLL(name)._name
    except OSError:
        pytest.skip("is not on this machine")
    run(
        "import torch\n"
        "from unitary_zoo.scan import recurrent_scan\n"
        "from unitary_zoo.scan.native import team\n"
        "torch.set_num_threads(2)\n"
        "x = torch.zeros(100, 64, 64)\n"
        "def total(): return float(recurrent_scan(x, torch.eye(64), x[0] + 1, 'identity').sum())\n"
        "assert total() == 409600\n"
        "team._GCC = ('no such function',)\n"
        "team._runtime.cache_clear()\n"
        "assert team.runtime().name == '__kmpc_fork_call'\n"
        "assert total() == 409600\n",
        LD_PRELOAD=path,
    )


def test_scan_at_the_exit_of_the_interpreter():
    code = (
        "import atexit, torch\n"
        "from unitary_zoo.scan import recurrent_scan\n"
        "torch.set_num_threads(2)\n"
        "def last():\n"
        "    x = torch.zeros(100, 64, 64)\n"
        "    print(float(recurrent_scan(x, torch.eye(64), x[0] + 1, 'identity').sum()))\n"
        "atexit.register(last)\n"
        "last()\n"
    )
    assert run(code).split() == ["409600.0"] * 2
