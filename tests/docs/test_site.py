"""The settings of the site agree with the package and with what is on disk."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def setting(name: str) -> str:
    """A setting of one line in mkdocs.yml, which the standard library cannot read."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.search(rf"^{name}: (.*)$", text, re.MULTILINE)[1]


def test_addresses_are_those_of_one_repository():
    address = setting("repo_url")
    owner, name = address.removeprefix("https://github.com/").split("/")
    assert setting("site_url") == f"https://{owner}.github.io/{name}/"
    for file in ("pyproject.toml", "CITATION.cff", "README.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        for found in re.findall(r"https://github\.com/[\w.-]+/unitary_zoo\b", text):
            assert found == address, file
        for found in re.findall(r"https://[\w-]+\.github\.io/\w+/", text):
            assert found == setting("site_url"), file


def test_own_styles_and_scripts_are_all_used():
    listed = re.findall(
        r"(?:stylesheets|javascripts)/[\w.]+", (ROOT / "mkdocs.yml").read_text("utf-8")
    )
    there = {
        f"{folder}/{path.name}"
        for folder in ("stylesheets", "javascripts")
        for path in (ROOT / "docs" / folder).iterdir()
    }
    assert sorted(listed) == sorted(there)
