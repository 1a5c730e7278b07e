"""What a training leaves beside its result: checkpoints, trained weights and logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifacts:
    """What to keep of a training, and where.

    Attributes:
        folder: The folder of the comparison; None keeps nothing.
        checkpoint_every: Seconds between two checkpoints in ``checkpoints/<id>.pt``, which a
            finished run deletes; None keeps none.
        save_models: Whether the trained weights go to ``models/<id>.safetensors``.
        logs: Names of the libraries that log every evaluation: "tensorboard", "wandb".
    """

    folder: Path | None = None
    checkpoint_every: float | None = 120.0
    save_models: bool = False
    logs: tuple[str, ...] = ()


NOTHING = Artifacts()
