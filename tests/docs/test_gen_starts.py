"""The table of the starts is made from a recorded file."""

import runpy
from pathlib import Path

import pytest

from comparisons.benchmarks import timing

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def show():
    hook = runpy.run_path(str(DOCS / "gen_starts.py"))
    return lambda text, docs=DOCS: hook["on_page_markdown"](text, page=None, docs=docs)


def test_page_of_choosing_shows_the_recorded_file(show):
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    assert "<!-- starts -->" in text
    page = show(text)
    assert "<!-- starts" not in page
    assert "| `cayley` | `henaff` | " in page
    assert "/tmp" not in page  # the command names no folder of a machine


def test_starts_show_the_range_of_the_seeds_and_the_verdict(show, tmp_path):
    losses = {"haar": [0.25, 0.5], "dft": [0.75, None], "cayley": [0.3, 0.4]}
    rows = [
        {"scheme": "qr", "task": "copying", "start": start, "losses": values}
        for start, values in losses.items()
    ]
    verdicts = [
        {"scheme": "qr", "default": "haar", "start": "dft", "better_on": "", "worse_on": "copying"},
        {"scheme": "qr", "default": "haar", "start": "cayley", "better_on": "", "worse_on": ""},
    ]
    settings = [{"task": "copying", "length": 5}, {"task": "adding", "length": 7}]
    path = tmp_path / "results" / "probes" / "starts.json"
    timing.write_json(path, settings=settings, verdicts=verdicts, starts=rows)
    page = show("<!-- starts -->", tmp_path)
    assert "| `qr` | `haar` | 0.25 to 0.5 | – | *default* |" in page
    assert "| `qr` | `dft` | 0.75 to inf | – | worse on copying |" in page
    assert "| `qr` | `cayley` | 0.3 to 0.4 | – | not told apart |" in page


def test_missing_file_shows_the_command_that_makes_it(show, tmp_path):
    assert "`python -m comparisons.experiments starts`" in show("<!-- starts -->", tmp_path)
