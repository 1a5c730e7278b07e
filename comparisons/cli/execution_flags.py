"""The flags of ``run_all.py`` on how and where runs are trained."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from comparisons.cli.values import non_negative, pair, positive, seconds
from comparisons.execution import EXECUTORS, ExecutionOptions, ExecutorError, SlurmOptions
from comparisons.execution.ddp import COMMAND, local_rank, started_by_torchrun
from comparisons.models import ModelFileError, check_safetensors
from comparisons.training.artifacts import Artifacts
from comparisons.training.logs import LOGS, LogError, check_logs


def add_execution_flags(p: argparse.ArgumentParser) -> None:
    """Add the flags, in groups."""
    where = p.add_argument_group("where runs are trained")
    where.add_argument(
        "--executor", default="local", choices=EXECUTORS,
        help="processes of this machine, a Ray cluster, jobs of SLURM, or processes of torchrun; "
        "%(default)s",
    )  # fmt: skip
    where.add_argument(
        "--ddp", dest="executor", action="store_const", const="ddp",
        help=f"train each run in all processes that torchrun starts, on shares of its batches: "
        f"{COMMAND}",
    )  # fmt: skip
    where.add_argument(
        "--jobs", type=_jobs, default="auto", metavar="N",
        help="runs trained at the same time on a machine, which share its CPUs; 'auto' chooses by "
        "measurement. Another number gives each run other threads, and so other last digits",
    )  # fmt: skip
    where.add_argument(
        "--gpu-slots", type=positive, default=1, metavar="N",
        help="runs trained at the same time on one GPU; %(default)s",
    )  # fmt: skip
    where.add_argument(
        "--ray-address", metavar="ADDRESS",
        help="a Ray cluster, such as auto or ray://HOST:10001; the one that Ray finds or a new one "
        "here, if not given",
    )  # fmt: skip
    where.add_argument(
        "--slurm-partition", metavar="NAME",
        help="where jobs go; the cluster's default, if not given",
    )  # fmt: skip
    where.add_argument(
        "--slurm-minutes", type=positive, default=240, metavar="N",
        help="time limit of a job, which then goes on from its checkpoint; %(default)s",
    )  # fmt: skip
    where.add_argument(
        "--slurm-array", type=positive, default=256, metavar="N",
        help="largest number of jobs at the same time; %(default)s",
    )  # fmt: skip
    where.add_argument(
        "--slurm-runs-per-job", type=positive, default=1, metavar="N",
        help="runs that a job trains one after the other; %(default)s",
    )  # fmt: skip
    where.add_argument(
        "--slurm-option", type=pair, action="append", default=[], metavar="NAME=VALUE",
        help="another parameter of submitit, such as slurm_account=NAME",
    )  # fmt: skip
    faults = p.add_argument_group("when something goes wrong")
    faults.add_argument(
        "--timeout", type=seconds, metavar="SECONDS",
        help="end a run that finishes no step for so long, or for 10 minutes before its first sign "
        "of life if that is longer; never, if not given",
    )  # fmt: skip
    faults.add_argument(
        "--retries", type=non_negative, default=1, metavar="N",
        help="further attempts at a run that was killed, hung or lost its machine; %(default)s",
    )  # fmt: skip
    faults.add_argument(
        "--checkpoint-every", type=seconds, default=120.0, metavar="SECONDS",
        help="time between two checkpoints, from which an interrupted run goes on; 0 keeps none; "
        "%(default)g",
    )  # fmt: skip
    kept = p.add_argument_group("what is kept beside the results")
    kept.add_argument(
        "--save-models", action="store_true", help="keep the trained weights, as safetensors"
    )
    kept.add_argument(
        "--log", nargs="+", default=[], choices=LOGS, help="also log every evaluation for these"
    )


def execution_options(args: argparse.Namespace, folder: Path) -> ExecutionOptions:
    """The options that the flags ask for; ``folder`` is that of the comparison.

    Raises:
        ExecutorError: They need a library that is not installed, or do not fit the processes that
            torchrun has started.
    """
    try:
        check_logs(args.log)
        if args.save_models:
            check_safetensors()
    except (LogError, ModelFileError) as error:
        raise ExecutorError(str(error)) from None
    _check_processes(args)
    return ExecutionOptions(
        jobs=args.jobs,
        timeout=args.timeout,
        retries=args.retries,
        gpu_slots=args.gpu_slots,
        plugins=tuple(args.plugin),
        artifacts=Artifacts(
            folder.resolve(), args.checkpoint_every or None, args.save_models, tuple(args.log)
        ),
        ray_address=args.ray_address,
        slurm=SlurmOptions(
            partition=args.slurm_partition,
            minutes=args.slurm_minutes,
            array=args.slurm_array,
            runs_per_job=args.slurm_runs_per_job,
            more=tuple(args.slurm_option),
        ),
    )


def _jobs(text: str) -> int | None:
    return None if text == "auto" else positive(text)


def _check_processes(args: argparse.Namespace) -> None:
    if args.executor != "ddp":
        if started_by_torchrun():
            raise ExecutorError(
                "torchrun starts several processes, of which each would train every run; add "
                "--ddp, so that they train each run together, or leave torchrun out"
            )
        return
    if args.device.startswith("cuda"):
        place, count = local_rank(), torch.cuda.device_count()
        if ":" in args.device:
            raise ExecutorError(
                f"--device {args.device} is one GPU, but with --ddp each process takes one of its "
                "own; give --device cuda, and choose GPUs by CUDA_VISIBLE_DEVICES"
            )
        if place >= count:
            raise ExecutorError(
                f"process {place} of this machine has no GPU of its own, for there are {count}; "
                f"give torchrun --nproc-per-node {count}"
            )
