"""Schemes of third parties, through a real distribution that pip builds and installs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unitary_zoo

PLUGIN = Path(__file__).parent / "dummy_plugin"
LIBRARY = Path(unitary_zoo.__file__).parents[1]


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The folder into which pip has installed the plug-in."""
    source = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("source") / "plugin")
    target = tmp_path_factory.mktemp("site")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(target),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def with_entry_points(installed, folder, *lines):
    """A copy of the installation that announces other entry points."""
    site = shutil.copytree(installed, folder / "site")
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    entry_points.write_text("\n".join(["[unitary_zoo.schemes]", *lines, ""]))
    return site


def run(site, code):
    """The JSON that ``code`` leaves in ``out``, run by a fresh interpreter that sees ``site``."""
    program = f"""
import json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    out = {{}}
{"".join(f"    {line}" + chr(10) for line in code.strip().splitlines())}
out["warnings"] = [[w.category.__name__, str(w.message)] for w in caught]
print("RESULT" + json.dumps(out))
"""
    path = os.pathsep.join([str(site), str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": path}, cwd=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("RESULT")[2])


@pytest.fixture(scope="session")
def report(installed):
    return run(
        installed,
        """
from unitary_zoo import Parametrization
out["after import"] = "unitary_zoo_dummy" in sys.modules
Parametrization.create("expm", 3)
out["after a built-in"] = "unitary_zoo_dummy" in sys.modules
plain = Parametrization.get("dummy_plain")
out["plain"] = [plain.__module__, plain.__qualname__]
out["size"] = list(Parametrization.create("dummy_plain", 3).matrix().shape)
out["decorated"] = Parametrization.get("dummy_decorated").__qualname__
out["names"] = list(Parametrization.names())
out["complex"] = list(Parametrization.names(fields="complex"))
try:
    Parametrization.get("dummy_broken")
except LookupError as error:
    out["broken"] = f"{type(error).__name__}: {error}"
""",
    )


def test_plugin_is_installed_by_pip(installed):
    assert (installed / "unitary_zoo_dummy.py").is_file()
    assert list(installed.glob("unitary_zoo_dummy-0.1.dist-info/entry_points.txt"))


def test_plugin_is_not_loaded_by_the_import(report):
    assert report["after import"] is False


def test_plugin_is_not_loaded_by_a_built_in_name(report):
    assert report["after a built-in"] is False


def test_plugin_scheme_is_found_and_works(report):
    assert report["plain"] == ["unitary_zoo_dummy", "Plain"]
    assert report["size"] == [3, 3]


def test_plugin_scheme_may_use_the_decorator_as_well(report):
    assert report["decorated"] == "Decorated"


def test_plugin_schemes_are_in_names_and_filters(report):
    assert report["names"] == sorted(report["names"])
    for found in (report["names"], report["complex"]):
        assert {"dummy_plain", "dummy_decorated", "cayley"} <= set(found)
        assert not {"dummy_absent", "dummy_broken"} & set(found)


def test_plugin_that_is_broken_warns_once_with_the_reason(report):
    mine = [message for category, message in report["warnings"] if category == "RuntimeWarning"]
    assert len(mine) == 2
    (absent,) = [message for message in mine if "dummy_absent" in message]
    (broken,) = [message for message in mine if "dummy_broken" in message]
    assert "unitary_zoo_dummy:NoSuchClass" in absent
    assert "AttributeError" in absent
    assert "ImportError: the plug-in is missing its library" in broken


def test_plugin_that_is_broken_is_an_unknown_scheme(report):
    assert report["broken"].startswith("UnknownSchemeError: unknown scheme 'dummy_broken'")


LIST_AND_FILTER = """
from unitary_zoo import Parametrization
out["names"] = list(Parametrization.names())
out["real"] = list(Parametrization.names(field="real"))
out["owner"] = Parametrization.get("cayley").__module__
"""


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("cayley = unitary_zoo_dummy:Plain", "cayley"),  # taken
        ("dummy_dict = unitary_zoo_dummy:NOT_A_SCHEME", "dummy_dict"),
        ("dummy-dash = unitary_zoo_dummy:Plain", "dummy-dash"),
    ],
    ids=["a name that is taken", "not a scheme", "a bad name"],
)
def test_plugin_entry_that_is_unfit_warns_and_spares_the_others(installed, tmp_path, line, name):
    good = "dummy_decorated = unitary_zoo_dummy:Decorated"
    report = run(with_entry_points(installed, tmp_path, line, good), LIST_AND_FILTER)
    assert {"dummy_decorated", "expm", "cayley"} <= set(report["names"])
    assert {"dummy_decorated", "expm"} <= set(report["real"])
    assert report["owner"] == "unitary_zoo.schemes.cayley"
    assert name == "cayley" or name not in report["names"]
    assert any(name in message for _, message in report["warnings"])
