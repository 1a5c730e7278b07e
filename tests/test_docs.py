"""The site's tables are made from what the schemes claim and from what the benchmarks wrote.

And its examples run.
"""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from comparisons.benchmarks import timing
from comparisons.papers import PAPERS
from unitary_zoo import Parametrization, UnitaryRNN, orthogonal

DOCS = Path(__file__).parents[1] / "docs"
BENCHMARKS = ["scan_speed", "map_speed", "expm_cost", "memory"]
MARKER = re.compile(r"<!-- benchmark: (\w+) -->")


# -------------------------------------------------------------------------------------- schemes


@pytest.fixture(scope="module")
def gen_schemes():
    return runpy.run_path(str(DOCS / "gen_schemes.py"))


def test_table_of_schemes_is_put_into_the_page(gen_schemes):
    source = (DOCS / "schemes.md").read_text(encoding="utf-8")
    page = gen_schemes["on_page_markdown"](source, page=None, config=None)
    assert "<!--" not in page
    for name in Parametrization.names():
        info = Parametrization.get(name).info
        link = f"| [`{name}`](schemes/{name}.md) |"
        rows = [line for line in page.splitlines() if line.startswith(link)]
        assert len(rows) == len(info.fields)
        assert info.group in rows[0]  # the default field stands first
        unitary = (info.deviation or "yes").replace("|", "\\|")
        assert all(row.endswith(f" | {unitary} |") for row in rows)


@pytest.mark.parametrize("name", Parametrization.names())
def test_page_of_a_scheme_says_all_that_is_claimed(gen_schemes, name):
    scheme = Parametrization.get(name)
    info, page = scheme.info, gen_schemes["page"](name)
    assert page.startswith(f"# {name}\n\n`{info.title}`\n")
    assert f"::: {scheme.__module__}.{scheme.__qualname__}\n" in page
    for field, claims in info.claims.items():
        cells = (field, claims.group, claims.determinant, claims.cost)
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {field} |"))
        assert set(cells) < set(row.strip("| ").split(" | "))
        assert ("SU(n)" in row.split("|")[-2] or "det -1" in row) == claims.special
    plain = page.replace("\\|", "|")
    assert f"| unitary | {info.deviation or 'by construction'} |" in plain
    assert f"| tolerance | {info.tolerance.factor:g} √n eps" in page
    assert f": {info.tolerance.reason} |" in plain
    assert ("`assign_` | reproduces every matrix" in page) == info.assignable
    assert f"| `{info.default_init}` |" in page
    for check, reason in info.expected_failures.items():
        assert f"- `{check}`: {reason}" in page
    assert f"```bibtex\n{info.reference}\n```" in page


def test_pages_of_schemes_stand_below_their_table(gen_schemes):
    config = SimpleNamespace(nav=[{"Overview": "index.md"}, {"Schemes": ["schemes.md"]}])
    gen_schemes["on_config"](config)
    names = Parametrization.names()
    assert config.nav == [
        {"Overview": "index.md"},
        {"Schemes": ["schemes.md", *({name: f"schemes/{name}.md"} for name in names)]},
    ]


# ------------------------------------------------------------------------------------- examples

EXECUTED = ("index", "layers", "migrating", "theory", "theory_bounds")
"""Pages of which every example runs as it stands; that of extending.md is a story of its own."""


def examples(page: str) -> list[tuple[str, str]]:
    """Title and code of the Python examples of a page."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(
        r'^```(\w*)(?: title="([^"\n]*)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL
    )
    assert len(found) == text.count("\n```") // 2  # none is written in a way not seen here
    return [(title, code) for language, title, code in found if language == "python"]


def test_no_page_has_examples_that_are_not_run():
    pages = {page.stem for page in DOCS.glob("*.md") if "```py" in page.read_text("utf-8")}
    assert pages == {*EXECUTED, "extending"}


def installed(title: str) -> bool:
    """Whether the library that an example needs, "Before: library", is there."""
    library = title.removeprefix("Before: ").lower()
    if library == "exprnn":  # modules of a folder, in no package index
        return False
    return library == title.lower() or importlib.util.find_spec(library) is not None


@pytest.mark.parametrize("page", EXECUTED)
def test_examples_run(page):
    names: dict[str, object] = {"__name__": page}
    ran = 0
    for title, code in examples(page):
        compiled = compile(code, f"{page}.md", "exec")
        if installed(title):
            exec(compiled, names)
            ran += 1
    assert ran >= 3


def test_what_is_migrated_to_has_its_before_and_after():
    titles = [title for title, _ in examples("migrating")]
    before = [title for title in titles if title.startswith("Before")]
    assert before == ["Before: torch", "Before: geotorch", "Before: expRNN"]
    assert all(titles[titles.index(title) + 1] == "After" for title in before)


def test_tables_of_migrating_name_what_there_is():
    text = (DOCS / "migrating.md").read_text(encoding="utf-8")
    cells = [line.split("|")[2] for line in text.splitlines() if line.startswith("|")]
    calls = re.findall(r"`(orthogonal\(layer,[^`]*\))`", "".join(cells))
    recurrent = re.findall(r"`(scheme=[^`]*)`", "".join(cells))
    assert (len(calls), len(recurrent)) == (3, 4)
    names = {"orthogonal": orthogonal, "UnitaryRNN": UnitaryRNN, "lam": 0.2, "K": 5}
    for call in calls:
        weight = eval(call, names, {"layer": nn.Linear(6, 6)}).weight
        off = torch.linalg.svdvals(weight) - 1
        assert off.abs().max() < 1e-5 + names["lam"] * ("spectral_band" in call)
        assert "special" not in call or torch.linalg.det(weight) > 0
    assert "(100 if left out)" in text
    assert Parametrization.create("dtriv", 4).rebase_every == 100
    for options in recurrent:
        eval(f"UnitaryRNN(2, 4, {options})", names)


# ---------------------------------------------------------------------------- a scheme of one's own


def changes() -> list[tuple[str, str]]:
    """What the page takes out of its draft, and what it puts there."""
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    hunks = re.findall(r"^```diff\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        tuple(
            "".join(line[1:] for line in hunk.splitlines(keepends=True) if line[0] in signs)
            for signs in (" -", " +")
        )
        for hunk in hunks
    ]


def check_in_a_process(folder: Path) -> subprocess.CompletedProcess[str]:
    """The page's own command: it can be pickled there, and registers nothing in this process."""
    code = dict(examples("extending"))["check"]
    (folder / "check.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", "check.py"],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def masked(message: str) -> str:
    """Without the numbers that another machine or release rounds otherwise."""
    return re.sub(r"residual \S+, tolerance \S+:", "residual x, tolerance x:", message)


def test_the_draft_is_rejected_with_the_message_shown(tmp_path):
    draft = dict(examples("extending"))["reflection.py"]
    (tmp_path / "reflection.py").write_text(draft, encoding="utf-8")
    result = check_in_a_process(tmp_path)
    assert result.returncode == 1
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'^```text title="ConformanceError"\n(.*?)^```$', text, re.M | re.S)
    error = result.stderr.partition("ConformanceError: ")[2]
    assert masked(error) == masked(shown)


def test_the_mended_scheme_is_accepted(tmp_path):
    scheme = dict(examples("extending"))["reflection.py"]
    assert len(changes()) == 2
    for before, after in changes():
        assert scheme.count(before) == 1
        scheme = scheme.replace(before, after)
    (tmp_path / "reflection.py").write_text(scheme, encoding="utf-8")
    result = check_in_a_process(tmp_path)
    assert result.returncode == 0, result.stderr
    # And with the test that the page proposes.
    tests = dict(examples("extending"))["test_reflection.py"]
    (tmp_path / "test_reflection.py").write_text(tests, encoding="utf-8")
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert suite.returncode == 0, suite.stdout
    assert int(re.search(r"(\d+) passed", suite.stdout)[1]) > 10


# ---------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("name", ["gen_schemes", "gen_benchmarks", "gen_results"])
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


def choosing_page(folder: Path) -> str:
    hook = runpy.run_path(str(DOCS / "gen_benchmarks.py"))["on_page_markdown"]
    source = (DOCS / "choosing.md").read_text(encoding="utf-8")
    assert MARKER.findall(source) == ["schemes", "quick"]
    return hook(source, page=None, config=None, folder=folder)


def test_page_of_choosing_shows_the_schemes_by_field_and_size(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["schemes.py"])
    row = {"scheme": "cayley", "field": "real", "n": 128, "parameters": 8128, "build_ms": 1.5}
    rows = [row, {**row, "scheme": "expm"}, {**row, "n": 512}, {**row, "field": "complex"}]
    held = [{"scheme": "arjovsky", "held_mb": 7.0}]
    timing.write_json(tmp_path / "schemes.json", schemes=rows, memory=held)
    page = choosing_page(tmp_path)
    lines = page[page.index("## Measured: the schemes") :].splitlines()
    titles = [line for line in lines if line.startswith("####")]
    assert titles == ["#### real, n = 128", "#### real, n = 512", "#### complex, n = 128"]
    assert "| arjovsky | 7.00 |" in lines  # of what is held: one table
    at = lines.index("#### real, n = 128")
    assert lines[at + 2 : at + 6] == [
        "| scheme | parameters | build ms |",
        "| :-- | --: | --: |",
        "| cayley | 8128 | 1.50 |",
        "| expm | 8128 | 1.50 |",
    ]
    assert page.count("No run is recorded yet. This makes one") == 1


def test_leaders_are_the_three_best_by_each_measure(tmp_path):
    hook = runpy.run_path(str(DOCS / "gen_benchmarks.py"))
    assert hook["leaders"](tmp_path) == "*No run is recorded yet.*"
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
    (tmp_path / "schemes.json").write_text(json.dumps({"schemes": rows}))
    quick = [{"scheme": "good", "field": "real", "n": 128, "copying_loss": 0.01}]
    (tmp_path / "quick.json").write_text(json.dumps({"quick": quick}))
    lines = hook["leaders"](tmp_path).splitlines()
    assert lines[2:] == [
        "| W(θ) and step, real, n = 128, ms | `fast` 1.00 | `second` 2.00 | `third` 3.00 |",
        "| copying, test loss | `good` 0.010 |  |  |",
    ]
    page = hook["on_page_markdown"]("<!-- leaders -->", folder=tmp_path)
    assert page.splitlines() == lines


def test_page_of_choosing_explains_only_columns_of_the_tables():
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    table = text[text.index("| column |") : text.index("## In short")]
    named = {
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`([^`]+)`", line.split("|")[1] if "|" in line else "")
    }
    assert named == {
        "parameters", "dimension", "unitary", "build_ms", "step_ms", "apply_ms", "dense_ratio",
        "gradient_condition", "drift", "copying loss", "adding loss",
    }  # fmt: skip


def test_page_of_choosing_names_the_schemes_that_claim_it():
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")

    def named(paragraph: str, end: str) -> set[str]:
        found = text[text.index(f"**{paragraph}") :]
        known = Parametrization.names()
        return set(re.findall(r"`(\w+)`", found[: found.index(end)])) & set(known)

    infos = {name: Parametrization.get(name).info for name in Parametrization.names()}
    fast = {name for name, info in infos.items() if info.cost != "O(n^2)"}
    assert named("n in the thousands.", "They reach") == fast | {"householder"}
    near = {name for name, info in infos.items() if not info.exact}
    assert named("Exactly orthogonal", "## Measured") == near


def test_page_of_experiments_shows_what_is_recorded(tmp_path):
    hook = runpy.run_path(str(DOCS / "gen_results.py"))["on_page_markdown"]
    source = (DOCS / "experiments.md").read_text(encoding="utf-8")
    page = hook(source, folder=tmp_path)
    assert page.count("No run is recorded yet") == source.count("<!-- results: ") == 6
    assert "`python comparisons/run_all.py --paper psiml2017`" in page
    run = {
        "task": "adding", "title": "Adding problem", "variant": "", "T": 100, "n": 8, "seeds": 2,
        "iterations": 60, "batch": 4, "training": "sgd 1", "metric_name": "accuracy %",
        "loss": 0.25, "baseline": 0.1667, "optimum": None, "data": "generated sequences",
        "commands": ["python it"], "machine": {"gpu": None, "cpu": "Imaginary CPU 9000"},
        "versions": {"torch": "2"}, "date": "2026-01-02",
    }  # fmt: skip
    runs = [
        {
            **run,
            "model": "cayley",
            "metric": 50.0,
            "metric_median": 50.5,
            "metric_spread": 1.5,
            "published": "",
        },
        {
            **run,
            "model": "lstm",
            "metric": 25.0,
            "metric_median": 25.0,
            "metric_spread": None,
            "published": "≈ 26 [F]",
        },
    ]
    failed = ["Adding problem, T = 100: rnn, n = 8 (DivergedError): seeds 0, 3"]
    images = ["psiml2017-adding-T100-curves.png"]
    found = {"runs": runs, "images": images, "failed": failed}
    (tmp_path / "psiml2017.json").write_text(json.dumps(found))
    page = hook(source, folder=tmp_path)
    assert page.count("No run is recorded yet") == 5
    lines = page.splitlines()
    header = "| model | n | seeds | iterations | batch | training | accuracy % | loss"
    at = lines.index(f"{header} | published |")
    assert (
        lines[at + 2]
        == "| cayley | 8 | 2 | 60 | 4 | sgd 1 | 50.00 ± 1.50 (median 50.50) | 0.250 |  |"
    )
    assert lines[at + 3] == "| lstm | 8 | 2 | 60 | 4 | sgd 1 | 25.00 | 0.250 | ≈ 26 [F] |"
    for shown in runs:
        shown["published"] = ""
    (tmp_path / "psiml2017.json").write_text(json.dumps(found))
    assert f"{header} |" in hook(source, folder=tmp_path).splitlines()
    assert "![Figure of psiml2017](images/psiml2017-adding-T100-curves.png)" in lines
    assert f"Failed, and counted in no row: {failed[0]}." in lines
    assert "Made 2026-01-02 by `python it` on Imaginary CPU 9000, torch 2." in lines


def test_many_tasks_are_a_matrix(tmp_path):
    hook = runpy.run_path(str(DOCS / "gen_results.py"))["on_page_markdown"]
    run = {
        "variant": "", "T": 5, "metric_name": "R²", "baseline": 1.0, "commands": ["python it"],
        "machine": {"gpu": None, "cpu": "Imaginary"}, "versions": {"torch": "2"},
        "date": "2026-01-02",
    }  # fmt: skip
    runs = [
        {**run, "task": f"t{i}", "title": f"Task {i}", "model": model, "metric": metric}
        for i in range(9)
        for model, metric in [("expm", 0.5), ("lstm", 0.25)][: 2 if i else 1]
    ]
    (tmp_path / "quick.json").write_text(json.dumps({"runs": runs, "images": [], "failed": []}))
    lines = hook("<!-- results: quick -->", folder=tmp_path).splitlines()
    assert lines[0].startswith("| model | Task 0, T = 5: R² | Task 1, T = 5: R² |")
    assert lines[2] == "| expm |" + " 0.500 |" * 9
    assert lines[3] == "| lstm | – |" + " 0.250 |" * 8
    assert lines[4] == "| *loss without memory* |" + " 1.00 |" * 9


def test_recorded_experiments_are_shown():
    source = (DOCS / "experiments.md").read_text(encoding="utf-8")
    recorded = {path.stem for path in (DOCS / "results").glob("*.json")}
    assert recorded <= set(re.findall(r"<!-- results: (\w+) -->", source))


def test_commands_of_experiments_name_papers_and_tasks_there_are():
    source = (DOCS / "experiments.md").read_text(encoding="utf-8")
    papers = set(re.findall(r"--paper (\w+)", source))
    assert papers == {"arjovsky2016", "psiml2017", "linwang2019", "emami2019", "lezcano2019"}
    known = {name: {t.task for t in paper.trainings} for name, paper in PAPERS.items()}
    for paper, tasks in re.findall(r"--paper (\w+) --tasks ([\w ]+?)(?: --|`)", source):
        if paper in known:
            assert set(tasks.split()) <= known[paper]
