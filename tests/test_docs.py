"""The examples of the pages run, and the pages name what there is."""

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from comparisons.cli import report_command, results_command
from comparisons.cli.arguments import Parser, parser
from comparisons.papers import PAPERS
from unitary_zoo import Parametrization, UnitaryGRU, UnitaryRNN, orthogonal

DOCS = Path(__file__).parents[1] / "docs"

EXECUTED = ("index", "layers", "long_runs", "migrating", "theory", "theory_bounds")
"""Pages whose examples all run as they stand; those of extending.md have tests of their own."""


def examples(page: str) -> list[tuple[str, str]]:
    """Title and code of the Python examples of a page."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(
        r'^```(\w*)(?: title="([^"\n]*)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL
    )
    assert len(found) == text.count("\n```") // 2  # none is written in a way not seen here
    return [(title, code) for language, title, code in found if language == "python"]


def section(page: str, heading: str) -> str:
    """Text below a heading, or below the heading that has this id, up to the next one."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    name = re.escape(heading)
    start = re.search(rf"^#+ (?:{name}|.* {{ #{name} }})\n", text, re.MULTILINE)
    return re.split(r"^#+ ", text[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    """Cells of the first table of a text, without its header."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_no_page_has_examples_that_are_not_run():
    pages = {page.stem for page in DOCS.glob("*.md") if "```py" in page.read_text("utf-8")}
    assert pages == {*EXECUTED, "extending", "tutorial", *OWN_PARTS}


OWN_PARTS = ("own_model", "own_task", "own_paper", "own_preset")
"""Pages that show parts of examples/plugin.py, which tests/comparisons/test_run_all.py runs."""


@pytest.mark.parametrize("page", OWN_PARTS)
def test_page_of_own_part_shows_the_example(page):
    part = page.removeprefix("own_")
    ((title, code),) = examples(page)
    assert title == "from docs/examples/plugin.py"
    assert code == f'--8<-- "examples/plugin.py:{part}"\n'
    source = (DOCS / "examples" / "plugin.py").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"# --8<-- \[start:{part}\]\n(.*?)# --8<-- \[end:{part}\]", source, re.S)
    assert "register(" in shown


def test_example_of_own_parts_has_the_scheme_that_is_accepted():
    """It is checked as that of extending.md is, below."""
    scheme = dict(examples("extending"))["reflection.py"]
    for before, after in changes():
        scheme = scheme.replace(before, after)
    source = (DOCS / "examples" / "plugin.py").read_text(encoding="utf-8")
    assert scheme.partition("class ReflectionMap")[2] in source


def installed(title: str) -> bool:
    """Whether the library that an example needs, "Before: library", is there."""
    if not title.startswith("Before: "):
        return True
    library = title.removeprefix("Before: ").lower()
    # expRNN is modules of a folder, in no package index.
    return library != "exprnn" and importlib.util.find_spec(library) is not None


CONTINUED = "Continued"
"""The title, shown on the page, of an example that belongs to the one before it."""


@pytest.mark.parametrize("page", EXECUTED)
def test_examples_run_as_a_reader_copies_them(page):
    names: dict[str, object] = {}
    ran = 0
    for title, code in examples(page):
        compiled = compile(code, f"{page}.md", "exec")
        if not title.startswith(CONTINUED):
            names = {"__name__": page}
        if installed(title):
            exec(compiled, names)
            ran += 1
    assert ran


SHORTER = {
    "steps=500": "steps=2",
    "epochs=20": "epochs=1",
    "epoch % 5": "epoch % 1",
    "drawn[:1438]": "drawn[:64]",
    "torch.randn(100, 16, 1)": "torch.randn(20, 2, 1)",
}
"""What the tutorial says, and what is enough to see that its code runs."""


def test_tutorial_runs_in_order_in_a_shorter_form(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # it saves a figure
    pytest.importorskip("matplotlib").use("Agg")
    blocks = examples("tutorial")
    assert [title for title, _ in blocks[1:]] == [CONTINUED] * len(blocks[1:])
    code = "\n".join(code for _, code in blocks)
    for long, short in SHORTER.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    exec(compile(code, "tutorial.md", "exec"), {"__name__": "tutorial"})
    assert (tmp_path / "gradients.png").stat().st_size > 1000
    shares = re.findall(r"(\S+) of the gradient reaches the first step", capsys.readouterr().out)
    plain, lstm, unitary = map(float, shares)
    assert plain < 0.01 > lstm
    assert unitary > 0.5


def test_libraries_of_migrating_have_before_and_after():
    titles = [title for title, _ in examples("migrating")]
    before = [title for title in titles if title.startswith("Before")]
    assert before == ["Before: torch", "Before: geotorch", "Before: expRNN"]
    assert all(titles[titles.index(title) + 1] == "After" for title in before)


def test_tables_of_migrating_name_what_there_is():
    text = (DOCS / "migrating.md").read_text(encoding="utf-8")
    cells = [line.split("|")[2] for line in text.splitlines() if line.startswith("|")]
    calls = re.findall(r"`(orthogonal\(layer,[^`]*\))`", "".join(cells))
    recurrent = re.findall(r"`(scheme=[^`]*)`", "".join(cells))
    assert calls
    assert recurrent
    names = {"orthogonal": orthogonal, "UnitaryRNN": UnitaryRNN, "lam": 0.2, "K": 5}
    for call in calls:
        weight = eval(call, names, {"layer": nn.Linear(6, 6)}).weight
        off = torch.linalg.svdvals(weight) - 1
        assert off.abs().max() < 1e-5 + names["lam"] * ("spectral_band" in call)
        assert "determinant=+1" not in call or torch.linalg.det(weight) > 0
    for options in recurrent:
        eval(f"UnitaryRNN(2, 4, {options})", names)


def test_table_of_geotorch_names_the_default_of_rebase_every():
    cells = [cell for row in table(section("migrating", "From geotorch")) for cell in row]
    default = Parametrization.create("dtriv", 4).rebase_every
    assert any(f"`rebase_every={default}`" in cell for cell in cells)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or can be reached from one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            found: object = importlib.import_module(".".join(parts[:count]))
            for attribute in parts[count:]:
                annotated = attribute in getattr(found, "__annotations__", {})
                if not (annotated or hasattr(found, attribute)):
                    return False
                found = getattr(found, attribute, None)
            return True
    return False


OLDER = (
    "Layers and options",
    "A scheme of one's own",
    "Matrices, scan, theorems and checks",
    "The comparison",
)


@pytest.mark.parametrize("heading", OLDER)
def test_table_of_older_names_leads_to_names_there_are(heading):
    rooms = "base|linalg|nonlinearities|scan|testing|theory"
    cells = " ".join(new for _, new in table(section("migrating", heading)))
    names = re.findall(r"`((?:unitary_zoo|comparisons)\.[\w.]+)", cells)
    names += [f"unitary_zoo.{name}" for name in re.findall(rf"`((?:{rooms})\.[\w.]+)", cells)]
    assert names
    assert [name for name in names if not exists(name)] == []


# ---------------------------------------------------------------------------- a scheme of one's own


def changes() -> list[tuple[str, str]]:
    """The parts of the draft that the page takes out, each with what it puts there."""
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
    """Run the page's own command: in a process of its own, whose classes can be pickled."""
    code = dict(examples("extending"))["check"]
    (folder / "check.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", "check.py"],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def masked(message: str) -> str:
    """The message without the numbers, which another machine or release rounds otherwise."""
    return re.sub(r"residual \S+, tolerance \S+:", "residual x, tolerance x:", message)


def test_draft_is_rejected_with_the_message_shown(tmp_path):
    draft = dict(examples("extending"))["reflection.py"]
    (tmp_path / "reflection.py").write_text(draft, encoding="utf-8")
    result = check_in_a_process(tmp_path)
    assert result.returncode == 1
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'^```text title="ConformanceError"\n(.*?)^```$', text, re.M | re.S)
    error = result.stderr.partition("ConformanceError: ")[2]
    assert masked(error) == masked(shown)


def test_mended_scheme_is_accepted(tmp_path):
    scheme = dict(examples("extending"))["reflection.py"]
    assert len(changes()) == 2
    for before, after in changes():
        assert scheme.count(before) == 1
        scheme = scheme.replace(before, after)
    (tmp_path / "reflection.py").write_text(scheme, encoding="utf-8")
    # The test that the page proposes runs every check of the command above, and those of layers.
    tests = dict(examples("extending"))["test_reflection.py"]
    (tmp_path / "test_reflection.py").write_text(tests, encoding="utf-8")
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert suite.returncode == 0, suite.stdout
    assert int(re.search(r"(\d+) passed", suite.stdout)[1]) > 60


# ---------------------------------------------------------------------------------------- claims


def test_page_of_choosing_explains_only_columns_of_the_tables():
    rows = table(section("choosing", "What do the columns mean?"))
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])} == {
        "parameters", "dimension", "unitary", "build_ms", "step_ms", "apply_ms", "dense_ratio",
        "drift", "copying loss", "adding loss",
    }  # fmt: skip


def test_page_of_choosing_answers_first_with_the_defaults():
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    rows = table(text.split("# Which scheme should I take?\n")[1].split("\n\n## ")[0])
    taken = {row[0]: re.findall(r"`(\w+)`", row[1]) for row in rows}
    for kind, layer in (("a recurrent layer", UnitaryRNN), ("a recurrent layer", UnitaryGRU),
                        ("the weight of any other layer", orthogonal)):  # fmt: skip
        assert taken[kind][0] == inspect.signature(layer).parameters["scheme"].default
    named = {name for names in taken.values() for name in names} & set(Parametrization.names())
    assert len(named) >= len(rows)


def test_page_of_choosing_agrees_with_the_measured_starts():
    found = json.loads((DOCS / "results" / "probes" / "starts.json").read_text(encoding="utf-8"))
    seeds = {
        (row["scheme"], row["task"]): row["losses"]
        for row in found["starts"]
        if row["start"] == Parametrization.get(row["scheme"]).info.default_init
    }
    tasks = {task for _, task in seeds}

    def wins(scheme: str, other: str) -> int:
        return sum(max(seeds[scheme, task]) < min(seeds[other, task]) for task in tasks)

    infos = {name: Parametrization.get(name).info for name, _ in seeds}
    better = {name: wins(name, "expm") for name in infos if infos[name].exact}
    better = {name: count for name, count in better.items() if count}
    assert better == {"eigenphase": 1, "eunn_fft": 1}
    assert not any(wins(name, "full_capacity") for name in infos if infos[name].field == "complex")
    assert 4.5 < max(max(losses) / min(losses) for losses in seeds.values()) < 5
    others = (losses for key, losses in seeds.items() if key[1] == "adding" and key[0] != "nnrnn")
    assert max(seeds["nnrnn", "adding"]) < 0.039 < 0.083 < min(map(min, others))
    # a default is that of no start which is better on two tasks and worse on none
    for row in found["verdicts"]:
        assert row["default"] == Parametrization.get(row["scheme"]).info.default_init
        assert row["worse_on"] or row["better_on"].count(",") == 0


def test_page_of_choosing_names_the_schemes_that_claim_it():
    infos = {name: Parametrization.get(name).info for name in Parametrization.names()}

    def named(heading: str) -> set[str]:
        first, *_ = section("choosing", heading).strip().split("\n\n")
        return set(re.findall(r"`(\w+)`", first)) & set(infos)

    fast = {name for name, info in infos.items() if info.cost != "O(n^2)"}
    assert named("large-n") == fast | {"householder"}
    assert named("near") == {name for name, info in infos.items() if not info.exact}


def test_commands_of_experiments_name_papers_and_tasks_there_are():
    source = (DOCS / "experiments.md").read_text(encoding="utf-8")
    papers = set(re.findall(r"--paper (\w+)", source))
    assert papers
    assert papers <= set(PAPERS)
    known = {name: {t.task for t in paper.trainings} for name, paper in PAPERS.items()}
    for paper, tasks in re.findall(r"--paper (\w+) --tasks ([\w ]+?)(?: --|`)", source):
        if paper in known:
            assert set(tasks.split()) <= known[paper]


# --------------------------------------------------------------------------------------- commands

ROOT = DOCS.parent
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


def folder_parser() -> Parser:
    """The parser of ``python -m comparisons``."""
    found = Parser()
    subcommands = found.add_subparsers()
    results_command.add_to(subcommands)
    report_command.add_to(subcommands)
    return found


def commands(script: str) -> list[list[str]]:
    """The words behind a script, wherever the pages name it."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    found = re.findall(rf"{script}\b([^\n`'&#]*)", "\n".join(texts))
    return [words.split() for words in found]


def test_commands_of_pages_are_taken_by_their_parsers():
    found = commands(r"comparisons/run_all\.py")
    assert len(found) > 30
    for words in found:
        if "--plugin" in words:  # which would be loaded in this process
            place = words.index("--plugin")
            assert (ROOT / words[place + 1]).is_file()
            del words[place : place + 2]
        parser("").parse_args(["cpu" if word == "cuda" else word for word in words])
    for command, least in (("results", 6), ("report", 4)):
        found = commands(f"-m comparisons {command}")
        assert len(found) >= least
        for words in found:
            folder_parser().parse_args([command, *words])


def test_flags_of_pages_are_there():
    def flags(of: argparse.ArgumentParser) -> set[str]:
        found = set(of._option_string_actions)
        for action in of._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= set().union(*map(flags, action.choices.values()))
        return found

    known = flags(parser("")) | flags(folder_parser())
    own = {page.stem for page in DOCS.glob("own_*.md")}
    pages = {"clusters", "experiments", "extending", "grids", "long_runs", "results", "search",
             "several_devices", "slurm", *own}  # fmt: skip
    for page in pages:
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        assert set(re.findall(r"`(--[\w-]+)", text)) <= known, page
