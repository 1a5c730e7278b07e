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
    assert best(show()) == [["`fast` 1", "`second` 2", "`third` 3"]]


def test_leaders_of_losses_are_all_that_the_seeds_cannot_tell_apart(show, tmp_path, make_result):
    losses = {"cayley": 0.01, "expm": 0.012, "lstm": 0.7}
    results = [
        make_result(model, seed=seed, losses=(2.0, loss * (1 + 0.5 * seed)))
        for model, loss in losses.items()
        for seed in range(3)
    ]

    def keep(results):
        found = {"runs": records(results), "images": [], "failed": []}
        (tmp_path / "results" / "quick.json").write_text(json.dumps(found))

    keep(results)
    page = show()
    assert "**Copying memory, T = 5**: the least test loss is that of `cayley`, 0.0144 (geo" in page
    assert page.endswith("; the seeds cannot tell `expm` from it.")
    keep([result for result in results if result.run.model != "expm"])
    assert show().endswith("; all others are worse.")
    keep([result for result in results if result.run.seed == 0])
    assert "least test loss" not in show()  # single seeds have no order
