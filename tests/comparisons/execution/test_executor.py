import asyncio

import pytest
import torch

from comparisons.execution import attempt, executor
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
