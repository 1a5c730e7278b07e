"""Records against the annotations of their classes."""

import dataclasses
import json
import math
from typing import Any

import pytest

from comparisons.plan import plan
from comparisons.records import Result, Run
from comparisons.results.schema import check


@dataclasses.dataclass
class Inner:
    number: float
    maybe: int | None = None


@dataclasses.dataclass
class Outer:
    inner: tuple[Inner, ...]
    pair: tuple[str, Any] = ("", None)
    table: dict[str, int] = dataclasses.field(default_factory=dict)
    flag: bool = False


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (Outer(inner=[]), "record.inner"),
        (Outer(inner=(Inner(1.0), {"number": 1.0})), "record.inner[1]"),
        (Outer(inner=(Inner(None),)), "record.inner[0].number"),
        (Outer(inner=(Inner("1"),)), "record.inner[0].number"),
        (Outer(inner=(Inner(True),)), "record.inner[0].number"),
        (Outer(inner=(Inner(1.0, 2.5),)), "record.inner[0].maybe"),
        (Outer(inner=(Inner(1.0, True),)), "record.inner[0].maybe"),
        (Outer(inner=(), pair=("a",)), "record.pair"),
        (Outer(inner=(), pair=(1, 2)), "record.pair[0]"),
        (Outer(inner=(), table={"a": "b"}), "record.table['a']"),
        (Outer(inner=(), table={1: 1}), "record.table: 1"),
        (Outer(inner=(), flag=0), "record.flag"),
        ("text", "record"),
    ],
)
def test_check_names_the_value_of_another_type(record, place):
    with pytest.raises(TypeError) as caught:
        check(record, Outer, "record")
    assert str(caught.value).startswith(f"{place} is ")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_check_refuses_numbers_that_are_not_finite(number):
    with pytest.raises(ValueError, match=r"record.inner\[0\].number is .* not finite"):
        check(Outer(inner=(Inner(number),)), Outer, "record")


def test_check_shortens_long_values():
    with pytest.raises(TypeError) as caught:
        check("x" * 10_000, float, "record")
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("paper", [None, "emami2019", "linwang2019"])
def test_check_accepts_runs_that_are_planned(paper):
    for run in plan(paper=paper, seeds=[0]):
        check(Run.from_dict(json.loads(json.dumps(run.to_dict()))), Run, "run")


def test_check_accepts_a_result(make_result):
    check(make_result(), Result, "result")
