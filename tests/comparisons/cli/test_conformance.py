import json

import pytest

from comparisons import plugins
from comparisons.cli import conformance
from comparisons.cli.conformance import NotConformingError, require_conformance
from comparisons.models import MODELS
from unitary_zoo.testing import ConformanceError

CODE = """
from dataclasses import replace
from torch import nn
from comparisons.models import MODELS
from unitary_zoo import Parametrization, orthogonal
from unitary_zoo.schemes import Cayley

@Parametrization.register("brought")
class Brought(Cayley):
    info = replace(Cayley.info, name="brought")

@MODELS.register("with_brought")
def with_brought(input_size, settings):
    return orthogonal(nn.RNN(input_size, settings.hidden_size), "weight_hh_l0", "brought")
"""


@pytest.fixture
def checked(monkeypatch):
    """Names of the schemes that the kit was asked for; those called "bad" fail."""
    names = []

    def check(scheme):
        names.append(scheme.__name__)
        if scheme.__name__ == "Bad":
            raise ConformanceError("Bad fails 1 of 41 checks:\n  unitary: residual 1, tolerance 0")
        return [None] * 41

    monkeypatch.setattr(conformance, "check_parametrization", check)
    return names


def test_schemes_of_plugins_are_checked_once_for_each_code(
    tmp_path, make_run, checked, apart, capsys
):
    path, folder = tmp_path / "mine.py", tmp_path / "results"
    path.write_text(CODE, encoding="utf-8")
    for code, expected in ((CODE, 1), (CODE, 1), (CODE + "# changed", 2)):
        path.write_text(code, encoding="utf-8")
        with apart():
            plugins.load([str(path)])
            require_conformance([make_run("cayley"), make_run("lstm")], folder)
            for model in ("brought", "with_brought"):
                require_conformance([make_run(model)], folder)
            assert "with_brought" in MODELS.names()
        assert checked == ["Brought"] * expected
    assert capsys.readouterr().out.count("scheme brought passes 41 checks") == 2


def test_scheme_that_fails_trains_nothing_unless_the_checks_are_skipped(
    tmp_path, make_run, checked, own_parts, capsys
):
    path, folder = tmp_path / "mine.py", tmp_path / "results"
    path.write_text(CODE.replace("Brought", "Bad"), encoding="utf-8")
    plugins.load([str(path)])
    with pytest.raises(NotConformingError, match=r"(?s)Bad fails 1 .*unitary.*--skip-conformance"):
        require_conformance([make_run("brought")], folder)
    assert not folder.exists()
    require_conformance([make_run("brought")], folder, skip=True)
    found = json.loads((folder / "conformance.json").read_text("utf-8"))
    assert found == {"passed": [], "unchecked": ["brought"]}
    (folder / "conformance.json").write_text('{"passed": 3}')
    with pytest.raises(NotConformingError):
        require_conformance([make_run("brought")], folder)
    assert checked == ["Bad"] * 2
