"""Measure the page of a report: its size, the time to write it, and the time to open it.

The runs are those of the preset ``quick`` with as many seeds as it takes; each has a made-up curve
with as many points as a training records, and made-up eigenphases and gradients. A headless
Chromium opens the file. "table" is the time from the start of the navigation to the first table
that is there, "ready" to the start of the scripts, and "figure" to the first figure that is drawn.
Every time is the least of several.

    python -m comparisons.benchmarks page [--runs 300 3000] [--repeats 5] [--json FILE]

The exit code is 1 if a page does not show all of its runs. The browser is that of
``UNITARY_ZOO_BROWSER``, or the ``chromium`` on the search path; the extra ``test`` drives it.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.timing import Row, seconds
from comparisons.cli.console import say, show
from comparisons.cli.values import positive
from comparisons.models import is_baseline
from comparisons.plan import plan
from comparisons.records import Point, Probes, Result, Run
from comparisons.report import write_report
from comparisons.results.store import Store
from comparisons.tasks import TASKS, Task
from comparisons.training.machine import describe_machine, versions

MB = 1e6  # bytes
WAIT_MS = 120_000

# The times are taken in the page itself, once in a frame: what is there is then about to be shown.
_WATCH = """
    const seen = (window.seen = {});
    (function look() {
        const now = performance.now();
        const page = document.documentElement;
        if (!seen.table && document.querySelector("main tbody tr")) seen.table = now;
        if (!seen.ready && page?.dataset.ready !== undefined) {
            seen.ready = now;
            document.querySelector(".task figure[data-figure]").scrollIntoView();
        }
        if (document.querySelector("figure[data-drawn] .main-svg")) seen.figure = now;
        else requestAnimationFrame(look);
    })();
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--runs", type=positive, nargs="+", default=[300, 3000])
    parser.add_argument("--repeats", type=positive, default=5)


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Write and open a page for each number of runs."""
    from playwright.sync_api import sync_playwright

    rows: list[Row] = []
    repeats = 1 if options.tiny else options.repeats
    browser = os.environ.get("UNITARY_ZOO_BROWSER") or shutil.which("chromium")
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu"]
        chromium = driver.chromium.launch(executable_path=browser, args=flags)
        for number in (8,) if options.tiny else options.runs:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                _fill(folder, number, options.tiny)
                rows.append(_measure(chromium, folder, number, repeats))
            say(str(rows[-1]))
        chromium.close()
    show("the page of a report", rows)
    return {"page": rows}


def _measure(chromium: Any, folder: Path, runs: int, repeats: int) -> Row:
    written = min(seconds(lambda: write_report(folder, figures=False)) for _ in range(repeats))
    page = folder / "report.html"
    opened = [_open(chromium, page, runs) for _ in range(repeats)]
    return {
        "runs": runs,
        "page_mb": page.stat().st_size / MB,
        "gzipped_mb": len(gzip.compress(page.read_bytes())) / MB,
        "written_s": written,
        **{f"{name}_s": min(times[name] for times in opened) / 1000 for name in opened[0]},
    }


def _open(chromium: Any, path: Path, runs: int) -> dict[str, float]:
    """Milliseconds to the first table, the start of the scripts and the first figure."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    try:
        page.add_init_script(_WATCH)
        page.goto(path.resolve().as_uri())
        page.wait_for_function("window.seen.figure", timeout=WAIT_MS)
        counts = page.locator("#counts").inner_text()
        if f"{runs} runs finished" not in counts:
            raise CorrectnessError(f"the page of {runs} runs says {counts!r}")
        times: dict[str, float] = page.evaluate("window.seen")
        return times
    finally:
        page.close()


def _fill(folder: Path, number: int, tiny: bool) -> None:
    """Fill a results folder with that many made-up results."""
    tasks, models = (["copying"], ["cayley", "gru"]) if tiny else (None, None)
    runs = list(_runs(number, tasks, models))
    store, known = Store(folder), dict[tuple[str, int, str], Task]()
    for one in runs:
        place = (one.task, one.length, one.variant)
        if place not in known:
            known[place] = TASKS.get(one.task)(one.length, one.variant)
        store.save(_result(one, known[place]))
    store.save_plan("python comparisons/run_all.py", runs)


def _runs(number: int, tasks: Sequence[str] | None, models: Sequence[str] | None) -> Iterator[Run]:
    """Yield the runs of one seed after the other."""
    for seed in count():
        for one in plan("quick", tasks, models, seeds=[seed]):
            if number == 0:
                return
            number -= 1
            yield one


def _result(run: Run, task: Task) -> Result:
    draw = random.Random(run.id)
    level = task.memoryless if task.memoryless is not None else task.baseline
    rate = draw.uniform(0.0, 5.0)
    training = run.setting.training
    steps = range(0, training.iterations + 1, run.setting.evaluation.eval_every)
    losses = [level * (0.05 + math.exp(-rate * i / training.iterations)) for i in steps]
    curve = tuple(
        Point(i, i / 100, loss, loss * draw.uniform(0.9, 1.1), draw.random(), defect=1e-6)
        for i, loss in zip(steps, losses, strict=True)
    )
    phases = tuple(sorted(draw.uniform(-math.pi, math.pi) for _ in range(128)))
    times = tuple(range(1, 51))
    norms = tuple(draw.uniform(1e-4, 1.0) for _ in times)
    unitary = not is_baseline(run.model)
    return Result(
        run=run,
        baseline=task.baseline,
        memoryless=task.memoryless,
        parameters=20_000,
        recurrent_parameters=16_384,
        curve=curve,
        ms_per_step=draw.uniform(1.0, 20.0),
        seconds=draw.uniform(10.0, 200.0),
        peak_memory_mb=draw.uniform(10.0, 300.0),
        defect_start=1e-7 if unitary else None,
        defect_end=1e-6 if unitary else None,
        threads=1,
        versions=versions(),
        machine=describe_machine("cpu"),
        date="2026-01-02T03:04:05+00:00",
        command="python comparisons/run_all.py",
        probes=Probes(phases, phases, times, norms)
        if unitary
        else Probes(None, None, times, norms),
    )
