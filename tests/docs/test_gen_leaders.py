"""The table of the best schemes is made from recorded files."""

import json
import runpy
from pathlib import Path

import pytest

from comparisons.benchmarks import timing
from comparisons.report.export import records

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hook():
    return runpy.run_path(str(DOCS / "gen_leaders.py"))


@pytest.fixture
def show(hook, tmp_path):
    """Show the table of the files of a temporary folder."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "results").mkdir()
    return lambda: hook["on_page_markdown"]("<!-- leaders -->", page=None, docs=tmp_path)


def best(page: str) -> list[list[str]]:
    """The schemes of each measure, with their numbers."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()[2:]]
    return [[cell for cell in row[1:] if cell.strip("| ")] for row in rows]


def test_page_of_choosing_shows_the_leaders(hook):
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    assert "<!-- leaders -->" in text
    page = hook["on_page_markdown"](text, page=None)
    assert "<!-- leaders -->" not in page
    assert "| measure | first | second | third |" in page


def test_leaders_of_no_files_say_so(hook, show):
    assert show() == hook["NOTHING"]


def test_leaders_are_the_three_best_by_each_measure(show, tmp_path, make_result):
    rows = [
        {
            "scheme": name, "field": field, "n": 128, "build_ms": ms / 2, "step_ms": ms / 2,
            "drift": None,
        }
        for name, field, ms in [
            ("slow", "real", 9.0), ("fast", "real", 1.0), ("other", "complex", 0.5),
            ("third", "real", 3.0), ("second", "real", 2.0),
        ]
    ]  # fmt: skip
    timing.write_json(tmp_path / "benchmarks" / "scheme_speed.json", schemes=rows)
    runs = records(
        [
            make_result("cayley", losses=(2.0, 0.5)),
            make_result("cayley", task="adding", losses=(1.0, 0.125)),
            make_result("lstm", losses=(2.0, 0.75), defect=None, unitary_optimizer=None),
        ]
    )

    def keep(runs):
        found = {"runs": runs, "images": [], "failed": []}
        (tmp_path / "results" / "quick.json").write_text(json.dumps(found))

    keep(runs)
    build = ["`fast` 1", "`second` 2", "`third` 3"]
    assert best(show()) == [build]  # no losses: there is a single seed
    keep([{**run, "seeds": 3} for run in runs])
    assert best(show()) == [build, ["`cayley` 0.5", "`lstm` 0.75"], ["`cayley` 0.125"]]
