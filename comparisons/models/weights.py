"""Files of trained weights: safetensors, with the run as metadata, from which the model is built.

from comparisons.models import load_model
model = load_model("results/quick/models/NAME.safetensors")
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comparisons.models.exact import load_exactly_
from comparisons.models.sequence_model import SequenceModel
from comparisons.output import write_file
from comparisons.records import Run
from comparisons.tasks import TASKS

_RUN, _DIGEST = "unitary_zoo.run", "unitary_zoo.sha256"
"""Names of our metadata in a file: the run as JSON, and a digest of the tensors."""


class ModelFileError(ValueError):
    """A file of weights cannot be used; the message says why, and what helps."""


def save_model(model: SequenceModel, run: Run, path: Path) -> None:
    """Write the weights and buffers of a trained model, in one step.

    Raises:
        OSError: The file cannot be written.
        ModelFileError: The model holds something else than tensors, or safetensors is missing.
    """
    check_safetensors()
    from safetensors.torch import save

    state: dict[str, Tensor] = {}
    for name, x in model.state_dict().items():
        if not isinstance(x, Tensor):
            raise ModelFileError(
                f"{run.model} keeps {name!r}, a {type(x).__name__}, in its state, and a file of "
                "weights holds tensors alone; make it a buffer, or leave --save-models out"
            )
        # Copies: the format refuses tensors that share memory.
        state[name] = x.detach().cpu().contiguous().clone()
    metadata = {_RUN: json.dumps(run.to_dict()), _DIGEST: _digest(state)}
    write_file(path, save(state, metadata))


def load_model(path: str | os.PathLike[str]) -> SequenceModel:
    """The trained model of a file that ``--save-models`` has written, on the CPU, in ``eval`` mode.

    Its outputs are those of the model that was saved, bit by bit. What a plug-in brought has to be
    loaded first: ``comparisons.plugins.load``.

    Raises:
        ModelFileError: The file is damaged, foreign, or of a model, task or data that are not here.
    """
    state, run = _read(Path(path))
    try:
        with torch.random.fork_rng(devices=[]):  # the start is drawn, and then overwritten
            task = TASKS.get(run.task)(run.length, run.variant, run.seed)
            model = SequenceModel(run.model, run.setting, task)
    except (LookupError, TypeError, ValueError, OSError, ImportError) as error:
        raise ModelFileError(
            f"{path} holds {run}, which cannot be built here ({error}); load the plug-in or the "
            "data that it was trained with first"
        ) from error
    try:
        load_exactly_(model, {"state": state, "buffers": {}})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(
            f"{path} holds other tensors than {run} has here ({reason}); use the version of the "
            "library, the plug-ins and the data with which it was trained"
        ) from error
    return model.eval()


def _read(path: Path) -> tuple[dict[str, Tensor], Run]:
    """The tensors and the run of a file."""
    check_safetensors()
    from safetensors import SafetensorError, safe_open

    again = "train the run again with --save-models, or take another file of a folder models"
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            # The file is no mapping: it has keys(), and cannot be iterated.
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelFileError(f"{path} does not exist; {again}") from None
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); {again}") from None
    if _RUN not in metadata:
        raise ModelFileError(f"{path} does not say which run it is of, so it is not ours; {again}")
    if metadata.get(_DIGEST) != _digest(state):
        raise ModelFileError(f"{path} is damaged: its tensors have changed; {again}")
    try:
        return state, Run.from_dict(json.loads(metadata[_RUN]))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{path} names no run that is known here ({error}); {again}") from None


def check_safetensors() -> None:
    """Raise an error unless the library is installed.

    Raises:
        ModelFileError: It is not.
    """
    try:
        import safetensors  # noqa: F401  # only to see that it is there
    except ImportError:
        raise ModelFileError(
            "files of weights need safetensors, which is not installed; install the extra "
            "unitary_zoo[comparisons]"
        ) from None


def _digest(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        x = state[name].contiguous()
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(x.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
