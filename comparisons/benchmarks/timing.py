"""What the benchmark scripts share: interleaved timing, tables and files of figures."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from comparisons.machine import describe_machine


def medians(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each step; in every round all take one turn."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def show(title: str, rows: list[dict[str, Any]], console: Console) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        table.add_row(*(v if isinstance(v, str) else f"{v:.2f}" for v in row.values()))
    console.print(table)


def write_json(path: Path, **sections: Any) -> None:
    """Write the sections and what they were measured on."""
    found = {
        "machine": describe_machine("cpu"),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        **sections,
    }
    path.write_text(json.dumps(found, indent=2, default=str) + "\n")
