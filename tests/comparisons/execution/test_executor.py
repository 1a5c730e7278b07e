import asyncio
from dataclasses import replace

import pytest
import torch

from comparisons.execution import attempt, executor, faults
from comparisons.records import Failure


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), GeneratorExit(), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()],
)
def test_attempt_turns_whatever_is_raised_into_failure(make_run, monkeypatch, error):
    def train(*arguments):
        raise error

    monkeypatch.setattr(executor, "train", train)
    ended = attempt(make_run(), torch.get_num_threads())
    assert isinstance(ended, Failure)
    assert ended.kind == type(error).__name__
    assert "Traceback" in ended.traceback


class Nameless(ValueError):
    """An error whose message cannot be read."""

    def __str__(self):
        raise AttributeError("name")


def test_failure_by_an_error_whose_message_raises_names_both(make_run):
    ended = executor.failure_by(Nameless(), make_run())
    assert (ended.kind, ended.error) == ("Nameless", "Nameless: its message raises AttributeError")


def test_attempts_count_a_run_that_cannot_be_hashed(make_run):
    run = make_run(options=(("widths", [1, 2]),))  # as a grid file gives it
    died = executor.failure(run, "died", kind=faults.DIED)
    attempts = faults.Attempts(1)
    assert attempts.again(died)
    assert not attempts.again(replace(died, run=make_run(options=(("widths", [1, 2]),))))
    assert attempts.counted(died).attempts == 2
