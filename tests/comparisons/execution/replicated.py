"""What two processes make of runs that they train together; ``test_ddp.py`` looks at it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from comparisons import run_all
from comparisons.execution import ExecutionOptions, ddp
from comparisons.execution.ddp import DdpExecutor, follow
from comparisons.records import Optimizer, Run, Setting
from comparisons.tasks import Batch
from comparisons.training.artifacts import Artifacts
from comparisons.training.training import Training

SETTING = Setting.of(
    hidden_size=8,
    batch_size=5,  # the shares of two processes differ
    iterations=6,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    unitary_optimizer=Optimizer("rmsprop", lr=1e-4, alpha=0.9),
    test_size=7,
    eval_every=3,
)
GOOD = (
    # a hook on W, gradients bounded by their norm, and a scheme that rebases
    Run(
        "copying", "full_capacity", 5, 0,
        SETTING.changed(options=(("rms_normalize", True),), clip_norm=1e-2),
    ),
    Run("copying", "nnrnn", 5, 0, SETTING.changed(penalty=(1e-2, 1e-2))),
    # more processes than sequences
    Run("adding", "expm", 6, 0, SETTING.changed(batch_size=1)),
)  # fmt: skip
DIVERGES = Run("copying", "cayley", 5, 0, SETTING.changed(optimizer=Optimizer("sgd", lr=1e308)))
DIFFERS = Run("copying", "cayley", 5, 14, SETTING)
# States are carried over, and most steps do not use the learned initial state.
FAILS_ALONE = Run("char_lm", "dtriv", 20, 0, SETTING.changed(learn_h0=True))
AFTER = Run("copying", "cayley", 5, 0, SETTING)
FLAGS = ["--ddp", "--preset", "smoke", "--tasks", "copying", "--schemes", "cayley"]


def in_double(replace=setattr) -> None:
    """Let models and data be double."""
    torch.set_default_dtype(torch.float64)

    def converted(batch: Batch, device: str) -> Batch:
        return Batch(*(x.double() if x.is_floating_point() else x for x in batch[:2]), batch[2])

    replace(Batch, "to", converted)


def work(rank: int, folder: str, ports: tuple[int, int, int]) -> None:
    """What a process does."""
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports[0]))

    run_all.report = lambda folder: True  # drawing is slow
    assert run_all.main([*FLAGS, "--results", f"{folder}/results"]) == 0

    os.environ["MASTER_PORT"] = str(ports[1])
    in_double()
    ddp.ALIKE_SECONDS = 1.0
    step = Training.step

    def faulty(training: Training) -> None:
        step(training)
        if rank == 1 and training.run == DIFFERS:
            next(training.model.readout.parameters()).data[0, 0] += 1e-15
        if rank == 1 and training.run == FAILS_ALONE and training.iteration == 4:
            raise ValueError("of this process alone")

    Training.step = faulty
    # A checkpoint after every step.
    options = ExecutionOptions(artifacts=Artifacts(Path(folder), checkpoint_every=1e-9))
    runs = (*GOOD[:1], DIVERGES, DIFFERS, *GOOD[1:], FAILS_ALONE, AFTER)
    ended = _execute(rank, options, runs, 1)
    dist.destroy_process_group()  # as the end of the process would

    Training.step = step
    os.environ["MASTER_PORT"] = str(ports[2])
    # The first process, which holds the store, would have ended by the time this one asks.
    ddp._Group.next = _slow(ddp._Group.next)
    ended += _execute(rank, options, (FAILS_ALONE,), 0)
    if rank == 0:
        Path(folder, "ended.json").write_text(json.dumps(ended))


def _slow(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def called(group: Any) -> Any:
        time.sleep(1.0)
        return function(group)

    return called


def _execute(rank: int, options: ExecutionOptions, runs: tuple[Run, ...], code: int) -> list[dict]:
    """What the first process yields; the other one ends with the code."""
    if rank == 0:
        return [x.to_dict() for x in DdpExecutor(options).execute(runs, lambda *_: None)]
    assert follow(options) == code
    return []
