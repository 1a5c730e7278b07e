"""The table and the pages of the schemes are made from what these claim."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from unitary_zoo import Parametrization

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def gen_schemes():
    return runpy.run_path(str(DOCS / "gen_schemes.py"))


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


@pytest.mark.parametrize("name", Parametrization.names())
def test_page_of_a_scheme_states_its_claims(gen_schemes, name):
    scheme = Parametrization.get(name)
    info, page = scheme.info, gen_schemes["page"](name)
    assert page.startswith(f"# {name}\n\n`{info.title}`\n")
    assert f"::: {scheme.__module__}.{scheme.__qualname__}\n" in page
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
    assert f"| `assign_` | {gen_schemes['ASSIGNED'][info.assignable]} |" in page
    assert f"| family | {gen_schemes['FAMILIES'][info.family]} |" in page
    assert f"| `{info.default_init}` |" in page
    for check, reason in info.expected_failures.items():
        assert f"- `{check}`: {reason}" in page
    assert f"```bibtex\n{info.reference}\n```" in page


def test_hook_lists_the_pages_below_their_table(gen_schemes):
    config = SimpleNamespace(nav=[{"Overview": "index.md"}, {"Schemes": ["schemes.md"]}])
    gen_schemes["on_config"](config)
    names = Parametrization.names()
    assert config.nav == [
        {"Overview": "index.md"},
        {"Schemes": ["schemes.md", *({name: f"schemes/{name}.md"} for name in names)]},
    ]


def test_hook_leaves_other_pages_alone(gen_schemes):
    assert gen_schemes["on_page_markdown"]("# Title\n", page=None) == "# Title\n"
