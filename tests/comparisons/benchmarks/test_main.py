"""The command line of all benchmarks."""

import json

import pytest

from comparisons.benchmarks import __main__ as command
from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.timing import BrokenPromiseError


@pytest.mark.parametrize("name", command.NAMES)
def test_main_finds_every_benchmark(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main([name, "--help"])
    out = capsys.readouterr().out
    assert all(flag in out for flag in ("--json", "--tiny", "--threads"))


def test_main_refuses_an_unknown_name(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["scan"])
    assert "scan_speed" in capsys.readouterr().err


def test_main_writes_the_tables_that_have_rows(run, monkeypatch, tmp_path):
    from comparisons.benchmarks import memory

    monkeypatch.setattr(memory, "run", lambda options: {"some": [{"a": 1}], "empty": []})
    path = tmp_path / "new" / "x.json"
    assert run("memory", "--json", str(path)) == 0
    found = json.loads(path.read_text())
    assert found["some"] == [{"a": 1}]
    assert "empty" not in found
    assert found["load_before"] is not None


def test_main_writes_nothing_after_a_failed_check(run, monkeypatch, tmp_path, capsys):
    from comparisons.benchmarks import memory

    def fail(options):
        raise CorrectnessError("W off by 3")

    monkeypatch.setattr(memory, "run", fail)
    path = tmp_path / "x.json"
    assert run("memory", "--json", str(path)) == 1
    assert "W off by 3" in capsys.readouterr().out
    assert not path.exists()


def test_main_writes_the_tables_of_a_broken_promise(run, monkeypatch, tmp_path, capsys):
    from comparisons.benchmarks import silent_failures

    def fail(options):
        raise BrokenPromiseError("W off by 3", {"some": [{"a": options.threads}], "empty": []})

    monkeypatch.setattr(silent_failures, "run", fail)
    path = tmp_path / "x.json"
    assert run("silent_failures", "--json", str(path)) == 1
    assert "W off by 3" in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert found["some"] == [{"a": 1}]
    assert "empty" not in found


def test_main_finds_a_blocked_file_before_it_measures(run, monkeypatch, tmp_path, capsys):
    from comparisons.benchmarks import memory

    monkeypatch.setattr(memory, "run", lambda options: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        run("memory", "--json", str(tmp_path / "file" / "x.json"))
    assert "choose another --json" in capsys.readouterr().err


def test_main_says_what_it_could_not_write(run, monkeypatch, tmp_path, capsys):
    from comparisons.benchmarks import memory

    path = tmp_path / "x.json"

    def block(options):
        path.mkdir()
        return {"some": [{"a": 1}]}

    monkeypatch.setattr(memory, "run", block)
    assert run("memory", "--json", str(path)) == 1
    assert f"{path} is not written" in capsys.readouterr().out
