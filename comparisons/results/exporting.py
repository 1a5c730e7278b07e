"""Results as rows of plain values, and as files of other formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from comparisons.records import Failure, Result, Run, Setting
from comparisons.results.store import Contents

Row = dict[str, Any]


class ExportError(RuntimeError):
    """A format needs a library that is not installed; the message says which."""


def setting_values(setting: Setting) -> Row:
    """The values of a setting, by the keys of files; an optimizer has a key for each of its own."""
    found: Row = {}
    for key, value in setting.to_dict().items():
        if key.endswith("optimizer"):
            for name in ("kind", "lr", "alpha"):
                found[f"{key}_{name}"] = None if value is None else value[name]
        else:
            found[key] = json.dumps(value) if isinstance(value, (tuple, list)) else value
    return found


def run_rows(contents: Contents) -> list[Row]:
    """A row for each run, finished or failed; all have the same keys."""
    rows = [_finished(result) for result in contents.results]
    rows += [_failed(failure) for failure in contents.failures]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def point_rows(contents: Contents) -> list[Row]:
    """A row for each evaluation of each finished run."""
    return [
        {**_names(result.run), **vars(point)}
        for result in contents.results
        for point in result.curve
    ]


def to_csv(rows: Sequence[Row]) -> str:
    """The rows as comma-separated values under a line of names; an unknown value is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_parquet(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file.

    Raises:
        ExportError: pyarrow is not installed.
    """
    try:
        import pyarrow  # an extra that few need
        import pyarrow.parquet
    except ImportError:
        raise ExportError(
            "the format parquet needs pyarrow, which is not installed; install the extra "
            "unitary_zoo[parquet], or use csv"
        ) from None
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), sink)
    return bytes(sink.getvalue())


def _names(run: Run) -> Row:
    return {
        "id": run.id,
        "task": run.task,
        "variant": run.variant,
        "length": run.length,
        "model": run.model,
        "seed": run.seed,
    }


def _finished(result: Result) -> Row:
    run, chosen = result.run, result.chosen
    reported = {
        "test_loss": float(chosen.test_loss),
        "test_accuracy": float(chosen.test_accuracy),
        "valid_loss": chosen.valid_loss,
        "reported_iteration": chosen.iteration,
        "final_test_loss": float(result.final.test_loss),
        "final_train_loss": result.final.train_loss,
    }
    return {
        **_names(run),
        "state": "finished",
        "error": "",
        **reported,
        **dict(_measured(result)),
        "device": run.device,
        "paper": run.paper,
        **setting_values(run.setting),
    }


def _measured(result: Result) -> Iterator[tuple[str, Any]]:
    for name, value in vars(result).items():
        if name in ("run", "curve"):
            continue
        if isinstance(value, dict):
            yield from ((f"{name}_{key}", item) for key, item in value.items())
        else:
            yield name, json.dumps(value) if isinstance(value, tuple) else value


def _failed(failure: Failure) -> Row:
    return {
        **_names(failure.run),
        "state": "failed",
        "error": failure.error,
        "date": failure.date,
        "device": failure.run.device,
        "paper": failure.run.paper,
        **setting_values(failure.run.setting),
    }
