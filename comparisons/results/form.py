"""The form of the files of a comparison: from a record to text, and back with every check."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from comparisons.records import Failure, Result, Run
from comparisons.results.reading import LeftAloneError
from comparisons.results.schema import check
from comparisons.studies import Study
from comparisons.tasks import TASKS

SCHEMA = 2
"""Version of the form of the files. Files of version 0 do not state it; version 2 added a result's
probes and the defects of its curve. This version reads all of them."""

_FACTS = {"machine": ("cpu", "cores", "gpu", "platform"), "versions": ("torch", "unitary_zoo")}
"""Keys of a result's dictionaries that the report reads."""


@dataclass(frozen=True)
class Plan:
    """The last command, the ids of its runs, the paper that it trained again, and its plug-ins."""

    command: str
    ids: tuple[str, ...]
    paper: str = ""
    plugins: tuple[str, ...] = ()


def to_text(ended: Result | Failure) -> str:
    """The content of a file that holds the record.

    Raises:
        TypeError: A value is not of the type that the record's class says, so that it could not be
            read back.
        ValueError: A number is infinite or undefined.
    """
    text = dumps(ended.to_dict())
    (read_failure if isinstance(ended, Failure) else read_result)(json.loads(text))
    return text


def dumps(data: dict[str, Any]) -> str:
    """The content of a file with these data, and the version of their form."""
    return json.dumps({"schema": SCHEMA, **data}, indent=1, ensure_ascii=False, allow_nan=False)


def _without_schema(data: Any) -> dict[str, Any]:
    """The record's own data.

    Raises:
        LeftAloneError: They are of a newer schema.
        TypeError: There is no record in the file.
    """
    if not isinstance(data, dict):
        raise TypeError("it holds no JSON object")
    schema = data.get("schema", 0)
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise TypeError(f"schema is {schema!r}, which is no version")
    if schema > SCHEMA:
        raise LeftAloneError(
            f"it is of schema {schema}, and this version knows those up to {SCHEMA}; update "
            "unitary_zoo, or use another folder"
        )
    return {key: value for key, value in data.items() if key != "schema"}


def read_result(data: Any) -> Result:
    """The result in the data of a file, checked for all that the report reads of it.

    Raises:
        LeftAloneError: A newer version, or one with other plug-ins, can read it.
        Exception: There is no result in the file.
    """
    result = Result.from_dict(_without_schema(data))
    check(result, Result, "result")
    if not result.curve:
        raise ValueError("result.curve has no point")
    for name, keys in _FACTS.items():
        if lacking := [key for key in keys if key not in getattr(result, name)]:
            raise ValueError(f"result.{name} lacks {', '.join(lacking)}")
    _check_run(result.run)
    return result


def read_failure(data: Any) -> Failure:
    """The failure; see :func:`read_result`."""
    failure = Failure.from_dict(_without_schema(data))
    check(failure, Failure, "failure")
    _check_run(failure.run)
    return failure


def read_plan(data: Any) -> Plan:
    """The plan; see :func:`read_result`."""
    data = _without_schema(data)
    lists = {"ids": data["ids"], "plugins": data.get("plugins", [])}
    for name, value in lists.items():
        if not isinstance(value, list):
            raise TypeError(f"plan.{name} is no list")
    plan = Plan(**{**data, **{name: tuple(value) for name, value in lists.items()}})
    check(plan, Plan, "plan")
    return plan


def read_searches(data: Any) -> tuple[Study, ...]:
    """The searches for settings; see :func:`read_result`."""
    studies = tuple(map(Study.from_dict, _without_schema(data)["studies"]))
    for study in studies:
        check(study, Study, "study")
        _check_task(study.task, study.length, study.variant)
        names = {dimension.name for dimension in study.space}
        if any(trial.values.keys() != names for trial in study.trials):
            raise ValueError(f"a trial of {study.id} has other values than its space")
    return studies


def _check_run(run: Run) -> None:
    """Raise an error if there is no such task, variant or length here, or no id can be made."""
    _check_task(run.task, run.length, run.variant)
    check(run.id, str, "run.id")


def _check_task(name: str, length: int, variant: str) -> None:
    try:
        task = TASKS.get(name)
    except LookupError as error:
        message = f"{error}; name the plug-in that brings it by --plugin"
        raise LeftAloneError(message) from None
    task.check_length(length, variant)
