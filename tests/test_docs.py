"""The site's table of schemes is made from what the schemes claim."""

import runpy
from pathlib import Path

from unitary_zoo import Parametrization

DOCS = Path(__file__).parents[1] / "docs"


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


def test_other_pages_are_left_alone():
    hook = runpy.run_path(str(DOCS / "gen_schemes.py"))["on_page_markdown"]
    assert hook("# Title\n", page=None) == "# Title\n"
