"""From the flags to what a command is to do: runs, searches before them, and a folder."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from comparisons.cli.conformance import NotConformingError, require_conformance
from comparisons.cli.serving import ServingError
from comparisons.data import DataError, files
from comparisons.execution import ExecutorError
from comparisons.papers import find_paper
from comparisons.plan import DEFAULT_PRESET, PlanError, plan
from comparisons.plan.grid import Grid, read_grid
from comparisons.plan.search import Search, Seeker
from comparisons.plan.search import seekers as seekers_of
from comparisons.plan.spaces import read_space
from comparisons.records import Run
from comparisons.tasks import TASKS

REFUSALS = (PlanError, DataError, NotConformingError, ExecutorError, ServingError)
"""Errors that keep a command from starting; the message says what to change."""


@dataclass(frozen=True)
class Asked:
    """What a command asks for: runs, the searches before them, a paper, and a folder."""

    runs: list[Run]
    seekers: list[Seeker]
    paper: str
    folder: Path
    plugins: tuple[str, ...] = ()


def planned(args: argparse.Namespace, command: str = "") -> Asked:
    """What the flags ask for.

    Except in a dry run, data are checked to be there, and schemes of plug-ins to conform.

    Raises:
        PlanError: The flags ask for something that does not exist.
        DataError: Data are missing or damaged.
        NotConformingError: A scheme of a plug-in fails the conformance kit.
    """
    if args.data_dir is not None:
        files.use_folder(args.data_dir)
    try:
        grid = None if args.grid is None else read_grid(args.grid)
        search = _search(args, grid)
    except (LookupError, ValueError) as error:
        raise PlanError(str(error)) from None
    runs = plan(
        args.preset or DEFAULT_PRESET,
        args.tasks,
        args.schemes,
        lengths=args.lengths,
        variants=args.variants,
        real_data=files.folder() is not None,
        seeds=args.seeds,
        device=args.device,
        iterations=args.iterations,
        hidden_size=args.hidden_size,
        paper=args.paper,
        grid=grid,
    )
    try:
        seekers = [] if search is None else seekers_of(runs, search, command)
    except ValueError as error:
        raise PlanError(str(error)) from None
    name = args.grid.stem if args.grid else args.paper or args.preset or DEFAULT_PRESET
    folder = args.results or Path("results", name)
    if not args.dry_run:
        for task, variant in sorted({(run.task, run.variant) for run in runs}):
            TASKS.get(task).prepare(variant, args.download)
        require_conformance(runs, folder, args.skip_conformance)
    paper = args.paper or (grid.paper if grid is not None else "")
    return Asked(runs, seekers, paper, folder, tuple(args.plugin))


def _search(args: argparse.Namespace, grid: Grid | None) -> Search | None:
    """The search of the flags and of the grid file, of which the flags have the last word.

    Raises:
        ValueError: A space is given and no number of trials, or its file cannot be read.
        LookupError: There is no such paper.
    """
    found = grid.search if grid is not None else None
    if args.search is not None:
        found = Search(args.search) if found is None else replace(found, trials=args.search)
    if found is None:
        if args.search_space or args.search_sampler:
            raise ValueError("a search needs a number of trials for each model; give --search N")
        return None
    if args.search_sampler is not None:
        found = replace(found, sampler=args.search_sampler)
    if args.search_space is not None:
        if Path(args.search_space).suffix:
            found = replace(found, space=read_space(Path(args.search_space)), paper="")
        else:
            find_paper(args.search_space)
            found = replace(found, space=None, paper=args.search_space)
    return found
