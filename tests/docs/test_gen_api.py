"""The pages of the API document each name once, and their tables come from the docstrings."""

import inspect
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

import unitary_zoo
from unitary_zoo import optim, scan, testing, theory

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page.stem for page in (DOCS / "api").glob("*.md"))


@pytest.fixture(scope="module")
def hook():
    return SimpleNamespace(**runpy.run_path(str(DOCS / "gen_api.py")))


def test_pages_document_every_public_name_once(hook):
    found = [name.rpartition(".")[2] for page in PAGES for name in hook.documented(page)]
    assert len(found) == len(set(found))
    public = {
        name
        for module in (unitary_zoo, optim, scan, testing, theory)
        for name in module.__all__
        if not inspect.ismodule(getattr(module, name))
    }
    assert public <= set(found)


def test_overview_has_the_table_of_every_page():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- api: (\w+) -->", text)) == PAGES
    for page in PAGES:
        own = (DOCS / "api" / f"{page}.md").read_text(encoding="utf-8")
        assert own.startswith(f"# {re.search(rf'## .(.*).[(]api/{page}.md', text)[1]}\n")
        assert f"<!-- api: {page} -->" in own


def test_table_links_each_name_with_the_first_paragraph_of_its_docstring(hook):
    shown = hook.on_page_markdown("before\n\n<!-- api: scan -->", page=None)
    assert shown.startswith("before\n\n| name | what it is |\n")
    wanted = " ".join(inspect.getdoc(scan.backends).partition("\n\n")[0].split())
    assert f"| [`backends`][unitary_zoo.scan.backends] | {wanted} |" in shown
    assert hook.on_page_markdown("<!-- results: quick -->", page=None) == "<!-- results: quick -->"


def test_table_refuses_a_name_without_a_docstring(hook):
    with pytest.raises(LookupError, match=r"unitary_zoo\.nowhere .* no docstring"):
        hook.first_paragraph("unitary_zoo.nowhere")
