"""Train a tiny run when this module is imported, which the fork server alone does.

Workers are forked from there, and so begin with everything that a first training loads and sets up:
it takes most of the time of a short run. All workers begin alike, whatever others have trained. One
thread must be enough, because a process that has used several cannot be forked safely.
"""

import contextlib
import gc

import torch

from comparisons.records import Optimizer, Run, Setting
from comparisons.training.trainer import train

OPTIMIZER = Optimizer("rmsprop", lr=1e-3)
RUN = Run(
    "copying",
    "cayley",
    5,
    0,
    Setting.of(
        hidden_size=4,
        batch_size=2,
        iterations=2,
        optimizer=OPTIMIZER,
        unitary_optimizer=OPTIMIZER,
        test_size=2,
        eval_every=1,
        source="the fork server's",
    ),
)


def warm_up() -> None:
    """Train on one thread, and leave no trace that a training could see."""
    torch.set_num_threads(1)
    before = torch.get_rng_state()
    # A server that fails here would take all workers along; each of them reports the error itself.
    with contextlib.suppress(BaseException):
        train(RUN)
    torch.set_rng_state(before)
    gc.collect()
    gc.freeze()  # otherwise the collections of a worker would copy the memory it shares


warm_up()
