"""Python threads for the slices of a batch: as many as allowed, after errors, with a busy pool."""

import threading
import time

import pytest
import torch

from unitary_zoo.scan.native import threads


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
