"""What two processes make of runs that they train together; ``test_ddp.py`` looks at it."""

import json
import os

import torch

from comparisons import run_all
from comparisons.execution import ExecutionOptions, ddp
from comparisons.execution.ddp import DdpExecutor, follow
from comparisons.records import Optimizer, Run, Setting
from comparisons.tasks import Batch
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
    Run("copying", "projunn_d", 5, 0, SETTING.changed(clip=1e-3)),
    # a hook on W, gradients bounded by their norm, and a scheme that rebases
    Run(
        "copying", "full_capacity", 5, 0,
        SETTING.changed(options=(("rms_normalize", True),), clip_norm=1e-2),
    ),
    Run("copying", "nnrnn", 5, 0, SETTING.changed(penalty=(1e-2, 1e-2))),
    # states carried over, and an initial state that some steps do not use
    Run("char_lm", "dtriv", 20, 0, SETTING.changed(learn_h0=True)),
    Run("char_lm", "lstm", 20, 0, SETTING.changed(unitary_optimizer=None)),
    # more processes than sequences
    Run("adding", "expm", 6, 0, SETTING.changed(batch_size=1)),
)  # fmt: skip
DIVERGES = Run("copying", "cayley", 5, 0, SETTING.changed(optimizer=Optimizer("sgd", lr=1e308)))
DIFFERS = Run("copying", "cayley", 5, 14, SETTING)
FAILS_ALONE = Run("copying", "cayley", 5, 13, SETTING)
AFTER = Run("copying", "cayley", 5, 0, SETTING)
FLAGS = ["--ddp", "--preset", "smoke", "--tasks", "copying", "--schemes", "cayley", "gru"]


def in_double(replace=setattr) -> None:
    """Let models and data be double."""
    torch.set_default_dtype(torch.float64)

    def converted(batch: Batch, device: str) -> Batch:
        return Batch(*(x.double() if x.is_floating_point() else x for x in batch[:2]), batch[2])

    replace(Batch, "to", converted)


def work(rank: int, folder: str, ports: tuple[int, int]) -> None:
    """What a process does."""
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports[0]))

    run_all._report = lambda folder: True  # drawing is slow
    assert run_all.main([*FLAGS, "--results", f"{folder}/results"]) == 0

    os.environ["MASTER_PORT"] = str(ports[1])
    in_double()
    ddp.ALIKE_SECONDS = 1.0
    step = Training.step

    def faulty(training: Training) -> None:
        step(training)
        if rank == 1 and training.run == DIFFERS:
            next(training.model.readout.parameters()).data[0, 0] += 1e-15
        if rank == 1 and training.run == FAILS_ALONE and training.iteration == 2:
            raise ValueError("of this process alone")

    Training.step = faulty
    runs = (*GOOD[:1], DIVERGES, DIFFERS, *GOOD[1:], FAILS_ALONE, AFTER)
    if rank == 0:
        ended = [x.to_dict() for x in DdpExecutor(ExecutionOptions()).execute(runs, _nothing)]
        with open(f"{folder}/ended.json", "w") as file:
            json.dump(ended, file)
    else:
        assert follow(ExecutionOptions()) == 1


def _nothing(*_) -> None:
    pass
