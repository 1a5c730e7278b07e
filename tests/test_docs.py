"""The examples of the pages run, and the pages name what there is."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from comparisons.papers import PAPERS
from unitary_zoo import Parametrization, UnitaryRNN, orthogonal

DOCS = Path(__file__).parents[1] / "docs"

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
    assert ran


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


# ---------------------------------------------------------------------------------------- claims


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


def test_commands_of_experiments_name_papers_and_tasks_there_are():
    source = (DOCS / "experiments.md").read_text(encoding="utf-8")
    papers = set(re.findall(r"--paper (\w+)", source))
    assert papers
    assert papers <= set(PAPERS)
    known = {name: {t.task for t in paper.trainings} for name, paper in PAPERS.items()}
    for paper, tasks in re.findall(r"--paper (\w+) --tasks ([\w ]+?)(?: --|`)", source):
        if paper in known:
            assert set(tasks.split()) <= known[paper]
