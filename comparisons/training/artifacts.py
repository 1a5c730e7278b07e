"""What a training leaves beside its result: checkpoints, trained weights and logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifacts:
    """What to keep of a training, and where.

    Attributes:
        folder: The folder of the comparison; None keeps nothing.
        checkpoint_every: Seconds between two checkpoints in ``checkpoints/<id>.pt``, which whoever
            stores the result deletes; None keeps none.
        save_models: Whether the trained weights go to ``models/<id>.safetensors``.
        logs: Names of the libraries that log every evaluation: "tensorboard", "wandb".
    """

    folder: Path | None = None
    checkpoint_every: float | None = 120.0
    save_models: bool = False
    logs: tuple[str, ...] = ()

    def checkpoint(self, id: str) -> Path | None:
        """The file of the checkpoint of a run; None where none is kept."""
        if self.folder is None or self.checkpoint_every is None:
            return None
        return self.folder / "checkpoints" / f"{id}.pt"

    def model(self, id: str) -> Path | None:
        """The file of the trained weights of a run; None where they are not kept."""
        if self.folder is None or not self.save_models:
            return None
        return self.folder / "models" / f"{id}.safetensors"

    def log(self, id: str) -> Path | None:
        """The folder of the logs of a run; None where there are none."""
        return self.folder / "logs" / id if self.folder is not None and self.logs else None


NOTHING = Artifacts()
