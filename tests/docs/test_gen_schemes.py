"""The table of the schemes and their pages: what is written by hand, recorded and claimed."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from comparisons.report.export import records
from unitary_zoo import Parametrization

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def gen_schemes():
    return runpy.run_path(str(DOCS / "gen_schemes.py"))


@pytest.fixture(scope="module")
def claimed():
    return runpy.run_path(str(DOCS / "scheme_claims.py"))


def test_hook_puts_the_table_into_the_page(gen_schemes):
    source = (DOCS / "schemes.md").read_text(encoding="utf-8")
    page = gen_schemes["on_page_markdown"](source, page=None, config=None)
    assert "<!--" not in page
    for name in Parametrization.names():
        info = Parametrization.get(name).info
        link = f"| [`{name}`](schemes/{name}.md) |"
        rows = [line for line in page.splitlines() if line.startswith(link)]
        assert len(rows) == len(info.fields)
        assert info.reach in rows[0]  # the default field stands first
        unitary = (info.deviation or "yes").replace("|", "\\|")
        assert all(row.endswith(f" | {unitary} |") for row in rows)


def page_of(gen_schemes, name: str, docs: Path = DOCS) -> str:
    """The page of a scheme as the hook completes it."""
    source = (DOCS / "schemes" / f"{name}.md").read_text(encoding="utf-8")
    file = SimpleNamespace(src_uri=f"schemes/{name}.md")
    return gen_schemes["on_page_markdown"](source, page=SimpleNamespace(file=file), docs=docs)


def test_every_scheme_has_a_page_on_when_to_take_it():
    assert {path.stem for path in (DOCS / "schemes").glob("*.md")} == {*Parametrization.names()}


@pytest.mark.parametrize("name", Parametrization.names())
def test_page_of_a_scheme_says_when_and_what_else_to_take(name):
    text = (DOCS / "schemes" / f"{name}.md").read_text(encoding="utf-8")
    title, when, example = re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]
    assert title.strip() == name
    assert when.startswith(f"When to take it\n\nTake `{name}` ")
    assert "\nTake another scheme\n\n- " in when
    others = re.findall(r"\[`(\w+)`\]\((\w+)\.md\)", when)
    assert others
    assert all(shown == linked and linked != name for shown, linked in others)
    assert example.startswith("Example\n\n```python\n")


@pytest.mark.parametrize("name", Parametrization.names())
def test_example_of_a_scheme_runs_as_a_reader_copies_it(name):
    if name == "geotorch_so":
        pytest.importorskip("geotorch")
    text = (DOCS / "schemes" / f"{name}.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert f'"{name}"' in code
    assert ("attach(" in code) == (Parametrization.get(name).info.family != "static")
    assert "optimizer.step()" in code
    exec(compile(code, f"schemes/{name}.md", "exec"), {"__name__": name})


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", Parametrization.names())
def test_page_of_a_scheme_states_its_claims(gen_schemes, claimed, name):
    scheme = Parametrization.get(name)
    info, page = scheme.info, page_of(gen_schemes, name)
    assert page.startswith(f"# {name}\n\n`{info.title}`\n\n## When to take it\n")
    assert f"::: {scheme.__module__}.{scheme.__qualname__}\n" in page
    page = page.partition("## What it claims")[2]
    for field, claims in info.claims.items():
        cells = (field, claims.reach, str(claims.determinant), claims.cost)
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {field} |"))
        assert set(cells) < set(row.strip("| ").split(" | "))
        option = row.split("|")[-2]
        assert all(f"`{determinant:+d}`" in option for determinant in claims.determinants)
    plain = page.replace("\\|", "|")
    assert (f"| unitary | {info.deviation} |" in plain) == bool(info.deviation)
    assert f"| tolerance | {info.tolerance.factor:g} √n eps" in page
    assert f": {info.tolerance.reason} |" in plain
    assert f"| `assign_` | {claimed['ASSIGNED'][info.assignable]} |" in page
    assert f"| family | {claimed['FAMILIES'][info.family]} |" in page
    assert f"| `{info.default_init}` |" in page
    for check, reason in info.expected_failures.items():
        assert f"- `{check}`: {reason}" in page
    assert f"```bibtex\n{info.reference}\n```" in page


def test_hook_lists_the_pages_below_their_table(gen_schemes):
    nav = [{"Overview": "index.md"}, {"Schemes": ["schemes.md"]}]
    config = SimpleNamespace(nav=nav)
    gen_schemes["on_config"](config)
    names = Parametrization.names()
    assert config.nav == [
        {"Overview": "index.md"},
        {"Schemes": ["schemes.md", *({name: f"schemes/{name}.md"} for name in names)]},
    ]


def test_hook_leaves_other_pages_alone(gen_schemes):
    assert gen_schemes["on_page_markdown"]("# Title\n", page=None) == "# Title\n"


def test_page_of_a_scheme_of_another_package_needs_no_file(gen_schemes, tmp_path):
    page = gen_schemes["complete"]("# cayley\n", "cayley", tmp_path)
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings == ["What it claims", "The class", "Reference"]


# --------------------------------------------------------------------------------------- numbers


@pytest.fixture(scope="module")
def numbers():
    return runpy.run_path(str(DOCS / "scheme_numbers.py"))


@pytest.fixture
def recorded(make_result, tmp_path):
    """The folder of a documentation with a training of four models and three seeds each."""
    losses = {"cayley": 0.01, "expm": 0.02, "qr": 0.5, "tanh_rnn": 0.7}
    results = [
        make_result(model, seed=seed, losses=(2.0, 0.5, loss * (1 + 0.5 * seed)))
        for model, loss in losses.items()
        for seed in range(3)
    ]
    (tmp_path / "results").mkdir()
    found = {"images": [], "failed": [], "runs": records(results)}
    (tmp_path / "results" / "quick.json").write_text(json.dumps(found))
    return tmp_path


def cells(text: str) -> list[list[str]]:
    """The cells of the tables of a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_numbers_of_a_scheme_show_interval_solution_and_ties(numbers, recorded):
    columns, _, cayley = cells(numbers["reached"]("cayley", recorded))
    assert columns == ["task", "metric", "value", "solved", "seconds to there", "among the best"]
    assert cayley[1:] == ["accuracy %", "25 [25, 25]", "3 of 3 seeds", "0.2", "yes"]
    # The seeds cannot tell a mean of 0.02 from one of 0.01, but they can tell 0.5.
    assert cells(numbers["reached"]("expm", recorded))[2][-1] == "yes"
    assert cells(numbers["reached"]("qr", recorded))[2][-3:] == ["0 of 3 seeds", "–", "no"]
    text = numbers["reached"]("cayley", recorded)
    assert "It solved 1 of 1 tasks with every seed, and on 1 of 1 no model was better" in text
    assert "`python comparisons/run_all.py --preset imaginary`" in text


def test_numbers_of_a_single_seed_have_neither_interval_nor_order(numbers, make_result, recorded):
    found = {"images": [], "failed": [], "runs": records([make_result("cayley")])}
    (recorded / "results" / "quick.json").write_text(json.dumps(found))
    text = numbers["reached"]("cayley", recorded)
    assert cells(text)[2][2:] == ["25", "1 of 1 seeds", "0.2", "–"]
    assert "single seed" in text
    assert "no model was better" not in text


def test_numbers_of_a_scheme_compare_a_step_with_that_of_the_rnn(numbers, recorded):
    assert "took 1.00 times as long" in numbers["cost"]("cayley", recorded)


def test_numbers_of_a_scheme_are_those_of_its_own_rows(numbers):
    text = numbers["cost"]("householder")
    found = json.loads((DOCS / "benchmarks" / "scheme_speed.json").read_text(encoding="utf-8"))
    own = [row for row in found["schemes"] if row["scheme"].startswith("householder")]
    sizes = [row for row in found["memory"] if row["scheme"].startswith("householder")]
    assert len(cells(text)) == len(own) + 2 + (len(sizes) + 2) * bool(sizes)
    assert cells(text)[0][:4] == ["options", "field", "n", "parameters"]
    assert any(row[0] == "reflections=8" for row in cells(text))
    assert found["command"] in text
    assert "condition" in text


def test_numbers_of_a_scheme_that_nobody_measured_are_left_out(numbers, tmp_path):
    assert numbers["reached"]("cayley", tmp_path) == numbers["cost"]("cayley", tmp_path) == ""
