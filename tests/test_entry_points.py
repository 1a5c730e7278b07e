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
def outcome(installed):
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


def test_pip_installs_the_distribution(installed):
    assert (installed / "unitary_zoo_dummy.py").is_file()
    assert list(installed.glob("unitary_zoo_dummy-0.1.dist-info/entry_points.txt"))


def test_importing_the_library_loads_no_plugin(outcome):
    assert outcome["after import"] is False


def test_looking_up_a_known_name_loads_no_plugin(outcome):
    assert outcome["after a built-in"] is False


def test_a_scheme_announced_by_entry_point_is_found_and_works(outcome):
    assert outcome["plain"] == ["unitary_zoo_dummy", "Plain"]
    assert outcome["size"] == [3, 3]


def test_a_scheme_may_use_the_decorator_as_well(outcome):
    assert outcome["decorated"] == "Decorated"


def test_names_and_filters_contain_the_plugins_schemes(outcome):
    assert outcome["names"] == sorted(outcome["names"])
    for found in (outcome["names"], outcome["complex"]):
        assert {"dummy_plain", "dummy_decorated", "cayley"} <= set(found)
        assert not {"dummy_absent", "dummy_broken"} & set(found)


def test_each_broken_entry_point_warns_once_with_its_reason(outcome):
    mine = [message for category, message in outcome["warnings"] if category == "RuntimeWarning"]
    assert len(mine) == 2
    (absent,) = [message for message in mine if "dummy_absent" in message]
    (broken,) = [message for message in mine if "dummy_broken" in message]
    assert "unitary_zoo_dummy:NoSuchClass" in absent
    assert "AttributeError" in absent
    assert "ImportError: the plug-in is missing its library" in broken


def test_asking_for_a_broken_one_is_a_miss(outcome):
    assert outcome["broken"].startswith("UnknownSchemeError: unknown scheme 'dummy_broken'")


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
def test_a_plugin_that_announces_nonsense_warns_and_takes_no_other_down(
    installed, tmp_path, line, name
):
    good = "dummy_decorated = unitary_zoo_dummy:Decorated"
    outcome = run(with_entry_points(installed, tmp_path, line, good), LIST_AND_FILTER)
    assert {"dummy_decorated", "expm", "cayley"} <= set(outcome["names"])
    assert {"dummy_decorated", "expm"} <= set(outcome["real"])
    assert outcome["owner"] == "unitary_zoo.schemes.cayley"
    assert name == "cayley" or name not in outcome["names"]
    assert any(name in message for _, message in outcome["warnings"])
