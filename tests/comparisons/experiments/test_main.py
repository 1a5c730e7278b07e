"""The command line of all experiments."""

import pytest
from matplotlib.figure import Figure

from comparisons.experiments import norms
from comparisons.experiments.__main__ import main


def test_main_finds_a_blocked_folder_before_it_measures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(norms, "run", lambda options: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        main(["norms", "--results", str(tmp_path / "file")])
    assert "choose another --results" in capsys.readouterr().err


def test_main_prints_the_numbers_that_it_cannot_write(tmp_path, monkeypatch, capsys):
    def block(options):
        (tmp_path / "norms.json").mkdir()
        return {"some": [{"case": "found", "value": 12.5}]}, Figure()

    monkeypatch.setattr(norms, "run", block)
    assert main(["norms", "--results", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "found" in out
    assert "12.5" in out
    assert "not written" in out
