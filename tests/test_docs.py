"""The site's tables are made from what the schemes claim and from what the benchmarks wrote."""

import re
import runpy
from pathlib import Path

import pytest

from comparisons.benchmarks import timing
from unitary_zoo import Parametrization

DOCS = Path(__file__).parents[1] / "docs"
BENCHMARKS = ["scan_speed", "map_speed", "schemes", "memory"]
MARKER = re.compile(r"<!-- benchmark: (\w+) -->")


def test_table_of_schemes_is_put_into_the_page():
    hook = runpy.run_path(str(DOCS / "gen_schemes.py"))["on_page_markdown"]
    page = hook((DOCS / "schemes.md").read_text(encoding="utf-8"), page=None, config=None)
    assert "<!--" not in page
    for name in Parametrization.names():
        info = Parametrization.get(name).info
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == len(info.fields)
        assert info.group in rows[0]  # the default field stands first
        assert info.reference in page


@pytest.mark.parametrize("name", ["gen_schemes", "gen_benchmarks"])
def test_other_pages_are_left_alone(name):
    hook = runpy.run_path(str(DOCS / f"{name}.py"))["on_page_markdown"]
    assert hook("# Title\n", page=None) == "# Title\n"


def speed_page(folder: Path) -> str:
    hook = runpy.run_path(str(DOCS / "gen_benchmarks.py"))["on_page_markdown"]
    source = (DOCS / "speed.md").read_text(encoding="utf-8")
    assert MARKER.findall(source) == BENCHMARKS
    return hook(source, page=None, config=None, folder=folder)


def test_page_of_speed_says_what_was_never_run(tmp_path):
    page = speed_page(tmp_path)
    assert "<!--" not in page
    for name in BENCHMARKS:
        assert (
            f"`python comparisons/benchmarks/{name}.py --json docs/benchmarks/{name}.json`" in page
        )
    assert page.count("No run is recorded yet") == len(BENCHMARKS)
    # No row of figures but those in files.
    assert not any(line.startswith("|") for line in page.splitlines())


def test_page_of_speed_shows_what_was_measured(monkeypatch, tmp_path):
    machine = {"cpu": "Imaginary CPU 9000", "instructions": "NONE", "cores": 3}
    monkeypatch.setattr(timing, "describe_machine", lambda device: machine)
    monkeypatch.setattr("sys.argv", ["scan_speed.py", "--rounds", "99"])
    rows = [
        {"case": "a|b", "their_ms": 1.5, "target": None, "met": True},
        {"case": "c", "their_ms": 250.25, "target": 3, "met": False},
    ]
    timing.write_json(tmp_path / "scan_speed.json", speed=rows, limit=[{"threads": 2}])
    page = speed_page(tmp_path)
    for fact in ("Imaginary CPU 9000", "3 cores", "--rounds 99", timing.versions()["torch"]):
        assert fact in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[:4] == [
        "| case | their ms | target | met |",
        "| :-- | --: | --: | --: |",
        "| a\\|b | 1.50 | - | yes |",
        "| c | 250 | 3 | no |",
    ]
    assert table[4] == "| threads |"
    assert page.count("No run is recorded yet") == len(BENCHMARKS) - 1


def test_recorded_runs_can_be_shown():
    runs = {path.stem for path in (DOCS / "benchmarks").glob("*.json")}
    pages = {page: page.read_text(encoding="utf-8") for page in DOCS.glob("*.md")}
    shown = [name for text in pages.values() for name in MARKER.findall(text)]
    assert sorted(shown) == sorted(set(shown))
    assert runs <= set(shown)  # a file that no page shows is forgotten
    hook = runpy.run_path(str(DOCS / "gen_benchmarks.py"))["on_page_markdown"]
    made = "".join(hook(text, page=None) for text in pages.values())
    assert made.count("No run is recorded yet") == len(shown) - len(runs)


def test_page_of_silent_failures_shows_who_passes(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["silent_failures.py"])
    timing.write_json(
        tmp_path / "silent_failures.json",
        libraries=[{"library": "geotorch", "version": "1.2.3"}],
        who_passes=[
            {"what must not go wrong": "a step", "ours": "passes", "torch": "SILENT (tall)"}
        ],
        rows=[{"row": "a step", "what must not happen": "A step that zeroes the weight."}],
    )
    hook = runpy.run_path(str(DOCS / "gen_benchmarks.py"))["on_page_markdown"]
    source = (DOCS / "silent_failures.md").read_text(encoding="utf-8")
    assert MARKER.findall(source) == ["silent_failures"]
    page = hook(source, page=None, folder=tmp_path)
    for line in (
        "### silent failures: who passes",
        "| a step | passes | SILENT (tall) |",
        "| a step | A step that zeroes the weight. |",
        "| geotorch | 1.2.3 |",
    ):
        assert line in page.splitlines()
