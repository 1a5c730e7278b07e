"""From the options of a command to the parameters of submitit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comparisons.execution.options import ExecutionOptions
from comparisons.records import Run

_LISTS = {"slurm_setup", "slurm_teardown", "slurm_srun_args"}
"""Parameters that are lists of lines or words; each option of that name adds one."""

_ONE_TASK = {"nodes", "tasks_per_node", "slurm_nodes", "slurm_tasks_per_node"}
"""Parameters that would train a run several times at once."""


def concurrent_runs(options: ExecutionOptions, runs: Sequence[Run]) -> int:
    """The runs that a job trains at the same time: ``jobs`` or, if it is None, a GPU's slots."""
    return options.jobs or (options.gpu_slots if _on_gpu(runs) else 1)


def parameters(options: ExecutionOptions, runs: Sequence[Run]) -> dict[str, Any]:
    """The parameters of submitit; those that the user names replace the others.

    Raises:
        ValueError: One of them would start a run several times.
    """
    slurm = options.slurm
    values: dict[str, Any] = {
        "name": "unitary_zoo",
        "timeout_min": slurm.minutes,
        "cpus_per_task": concurrent_runs(options, runs),
        "slurm_partition": slurm.partition,
        "slurm_array_parallelism": slurm.array,
        "slurm_additional_parameters": {"requeue": True},
    }
    if _on_gpu(runs):
        values["gpus_per_node"] = 1
    lists: dict[str, list[str]] = {}
    for name, text in slurm.more:
        if name in _ONE_TASK:
            raise ValueError(f"{name}={text} would train each run several times; leave it out")
        if name in _LISTS:
            lists.setdefault(name, []).append(text)
        else:
            values[name] = _value(text)
    # Since 22.05 a step has one CPU unless it asks for more, whatever its job has.
    steps = lists.setdefault("slurm_srun_args", [])
    steps.insert(0, f"--cpus-per-task={values['cpus_per_task']}")
    return {**values, **lists}


def _on_gpu(runs: Sequence[Run]) -> bool:
    return any(run.device.startswith("cuda") for run in runs)


def _value(text: str) -> str | int | float | bool:
    """The number or truth value that the text spells, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text:  # not 0123, which may be the number of an account
            return value
    return text
