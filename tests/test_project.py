"""What the project says of itself in several files is the same in all of them."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import unitary_zoo

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml", reason="the workflows are YAML")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def steps() -> list[dict[str, Any]]:
    jobs = [
        job
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values()
    ]
    return [step for job in jobs for step in job.get("steps", ())]


def test_tests_run_on_every_python_that_the_package_names():
    matrix = read(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert PYPROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}


def test_wheels_are_built_by_a_python_that_the_package_names():
    ((major, minor),) = re.findall(r"^cp(\d)(\d+)-\*$", PYPROJECT["tool"]["cibuildwheel"]["build"])
    assert f"{major}.{minor}" in PYTHONS
    chosen = {
        step["with"]["python-version"]
        for step in steps()
        if "python-version" in step.get("with", ())
    }
    assert chosen - {"${{ matrix.python }}"} <= set(PYTHONS)


def test_workflows_run_steps_of_the_local_check():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (known,) = re.findall(r"^  set -- (.*)$", script, re.MULTILINE)
    run = [
        name
        for step in steps()
        for names in re.findall(r"^bash \.ci/run (.+)$", step.get("run", ""), re.MULTILINE)
        for name in names.split()
    ]
    assert sorted(run) == sorted(known.split())


@pytest.mark.parametrize(
    "step", [step for step in steps() if "uses" in step], ids=lambda step: step["uses"]
)
def test_action_is_pinned_to_a_commit(step):
    assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_action_has_one_version():
    uses = {step["uses"].partition("@")[::2] for step in steps() if "uses" in step}
    assert len(uses) == len(dict(uses))


def test_address_is_the_same_everywhere():
    urls = PYPROJECT["project"]["urls"]
    repository, site = urls["Repository"], urls["Documentation"]
    assert urls["Homepage"] == repository
    assert urls["Issues"] == f"{repository}/issues"
    assert urls["Changelog"] == f"{repository}/blob/main/CHANGELOG.md"
    citation = read("CITATION.cff")
    assert (citation["repository-code"], citation["url"]) == (repository, site)
    report = f"{repository}/security/advisories/new"
    for path in (".github/ISSUE_TEMPLATE/config.yml", "SECURITY.md"):
        assert report in (ROOT / path).read_text(encoding="utf-8"), path


def test_description_for_pypi_has_no_relative_links():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"][
        "substitutions"
    ]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    links = re.findall(r"\]\((?!#)(.+?)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []
    raw, page = (
        f"https://{host}/unitary-zoo/unitary_zoo/"
        for host in ("raw.githubusercontent.com", "github.com")
    )
    assert page == PYPROJECT["project"]["urls"]["Repository"] + "/"
    ours = [link.removeprefix(f"{raw}main/").removeprefix(f"{page}blob/main/") for link in links]
    files = [link for link in ours if not link.startswith("https://")]
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name.partition("#")[0]).is_file()] == []


def test_citation_has_the_version_of_the_package():
    assert read("CITATION.cff")["version"] == unitary_zoo.__version__


@pytest.fixture
def release(tmp_path):
    """The check of a release, and a tree that is ready for version 1.2.3."""
    spec = importlib.util.spec_from_file_location(
        "check_release", ROOT / ".ci" / "check_release.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "unitary_zoo").mkdir()
    (tmp_path / "unitary_zoo" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CITATION.cff").write_text("version: 1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text("## [1.2.3] - 2026-11-28\n")
    return module, tmp_path


def test_release_check_accepts_the_version(release):
    module, root = release
    assert module.problems("v1.2.3", root) == []


@pytest.mark.parametrize(
    ("tag", "path", "text"),
    [
        ("v1.2.4", "README.md", ""),
        ("1.2.3", "README.md", ""),
        ("v1.2.3", "CITATION.cff", "version: 1.2.2\n"),
        ("v1.2.3", "CHANGELOG.md", "## [1.2.3] - unreleased\n"),
    ],
)
def test_release_check_refuses(release, tag, path, text):
    module, root = release
    (root / path).write_text(text)
    assert len(module.problems(tag, root)) == 1
