"""Slices of a batch on threads: as many as allowed, after forks, errors and in loaders."""

import itertools
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from tests.scan.native.helpers import assert_equal, inputs, results
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.scan.native import threads
from unitary_zoo.testing.subject import normal


def test_slices_cover_the_batch_for_the_threads_allowed(two_threads):
    for count, most, rows in itertools.product(range(1, 50), [1, 2, 3, 100], [1, 7, 100]):
        found = threads.slices(count, most, rows)
        assert [0, *(end for _, end in found)] == [*(begin for begin, _ in found), count]
        assert len(found) == min(count, most, 2 * math.ceil(count / (2 * rows)))
    torch.set_num_threads(1)
    assert threads.slices(10, 10, 20) == [(0, 10)]
    torch.set_num_threads(3)
    assert len(threads.slices(10, 10, 20)) == 3


def test_run_uses_as_many_threads_as_allowed(two_threads):
    torch.set_num_threads(3)
    names: list[int] = []
    barrier = threading.Barrier(3, timeout=60)

    def call() -> None:
        barrier.wait()  # passes only if three run at once
        names.append(threading.get_ident())

    threads.run([call] * 3)
    assert len(set(names)) == 3
    assert threading.get_ident() in names
    names.clear()
    torch.set_num_threads(1)
    threads.run([lambda: names.append(threading.get_ident())] * 3)
    assert names == [threading.get_ident()] * 3


def test_run_does_not_wait_for_a_busy_pool(two_threads):
    release, done = threading.Event(), threading.Event()
    held = threading.Thread(
        target=lambda: (threads.run([done.set, lambda: release.wait(60)]), None), daemon=True
    )
    threads.run([lambda: None] * 2)  # the pool exists, with one helper or more
    held.start()
    assert done.wait(60)
    ran: list[int] = []
    threads.run([lambda i=i: ran.append(i) for i in range(4)])
    assert sorted(ran) == [0, 1, 2, 3]
    release.set()
    held.join(60)
    assert not held.is_alive()


def test_run_raises_an_error_after_the_other_calls_ended(two_threads):
    running, finished = threading.Event(), []

    def slow() -> None:
        running.set()
        time.sleep(0.2)
        finished.append(True)

    def fail() -> None:
        assert running.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.run([fail, slow])
    assert finished
    with pytest.raises(ZeroDivisionError):
        threads.run([lambda: time.sleep(0.05), lambda: 1 // 0])


def test_run_makes_each_call_once_if_no_thread_starts(two_threads, monkeypatch):
    monkeypatch.setattr(threads, "_pool", None)

    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    ran: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        threads.run([lambda i=i: ran.append(i) for i in range(3)])
    threads.run([lambda: time.sleep(0.05)] * 2)  # a helper comes after all, and finds the old calls
    assert sorted(ran) == [0, 1, 2]


def big(seed: int = 0) -> dict[str, Tensor]:
    """Enough work for two threads, in two slices each."""
    return inputs(64, 64, 100, "tanh", seed=seed)


def test_scan_is_deterministic_for_one_number_of_threads(two_threads):
    tensors = big()
    first = results(tensors, "tanh", return_sequence=False)
    for _ in range(5):
        again = results(tensors, "tanh", return_sequence=False)
        assert all(torch.equal(first[key], again[key]) for key in first)
    torch.set_num_threads(1)
    one = results(tensors, "tanh", return_sequence=False)
    assert torch.equal(one["states"], first["states"])  # no row depends on another
    assert_equal(one, first, 1e-12)  # the sums over the batch are of two parts


def test_scan_from_several_threads_at_once(two_threads):
    wanted = [results(big(seed), "tanh") for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            got = list(pool.map(lambda seed: results(big(seed), "tanh"), range(4)))
            for a, b in zip(got, wanted, strict=True):
                assert_equal(a, b, 1e-12)


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
        assert torch.get_num_threads() == 1  # what a worker is given
        with torch.no_grad():
            return recurrent_scan(**big(index), nonlinearity="tanh", return_sequence=False)


def test_scan_in_the_workers_of_a_loader(two_threads):
    results(big(), "tanh")  # the pool lives
    loader = torch.utils.data.DataLoader(_Sequences(), num_workers=2, batch_size=None, timeout=60)
    torch.set_num_threads(1)
    for got, wanted in zip(loader, (_Sequences()[i] for i in range(4)), strict=True):
        assert torch.equal(got, wanted)


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["409600.0"] * 2
