"""The command ``python -m comparisons results``."""

import builtins
import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

import comparisons
from comparisons.__main__ import main
from comparisons.records import Failure
from comparisons.results.claims import Claims
from comparisons.results.store import Store


@pytest.fixture
def folder(tmp_path, monkeypatch, make_result, make_run):
    """Two comparisons, ``results/a`` with a failure and ``results/b``."""
    monkeypatch.chdir(tmp_path)
    for name, change in (("a", 0.0), ("b", 0.25)):
        store = Store(tmp_path / "results" / name)
        for seed in (0, 1):
            store.save(make_result(seed=seed, losses=(2.0, 0.5 + change + seed / 10)))
    store = Store(tmp_path / "results" / "a")
    failed = make_run("lstm")
    store.save_failure(Failure(failed, "ValueError: [no] way", "Traceback [..]", "2026-01-02"))
    store.save_plan("the command", [failed, make_run("gru")])
    return tmp_path / "results"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_results_list_shows_the_runs_and_writes_nothing(folder, capsys):
    (folder / "a" / "runs" / "damaged.json").write_text("{")
    with Claims(folder / "a") as claims:
        claims.take("this-run")
        before = files(folder)
        assert main(["results", "list"]) == 0
        assert files(folder) == before
    out = capsys.readouterr().out
    assert out.count("  finished  ") == 4
    assert out.count("  failed    ") == 1
    assert "runs/damaged.json cannot be read" in out
    assert "in training on" in out
    assert "1 runs of the last command have not ended" in out
    assert main(["results", "list", "results/a", "--model", "lstm", "--task", "copying"]) == 0
    assert "1 runs" in capsys.readouterr().out
    assert main(["results", "list", "results/a", "--length", "99"]) == 0
    assert "cayley" not in capsys.readouterr().out


def test_results_show_finds_a_run_by_the_beginning_of_its_id(folder, capsys, make_result):
    assert main(["results", "show", "copying-T5-lstm"]) == 0
    out = capsys.readouterr().out
    assert "ValueError: [no] way" in out
    assert "Traceback [..]" in out
    assert main(["results", "show", make_result().run.id, "--results", "results/b"]) == 0
    out = capsys.readouterr().out
    assert "Imaginary CPU 9000" in out
    assert "0.75" in out


def test_results_compare_sets_two_folders_side_by_side(folder, capsys):
    assert main(["results", "compare", "results/a", "results/b"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "cayley" in line)
    assert "0.55 ± 0.071 (2)" in line
    assert "0.8 ± 0.071 (2)" in line
    assert "0.25" in line


def test_results_compare_sets_two_runs_side_by_side(folder, capsys):
    runs = ["copying-T5-cayley-n8-seed0", "copying-T5-cayley-n8-seed1", "--results", "results/a"]
    assert main(["results", "compare", *runs]) == 0
    out = capsys.readouterr().out
    assert "seed: A 0, B 1" in out
    assert "0.5" in out


def test_results_export_writes_tables(folder, capsys):
    assert main(["results", "export", "results/a", "--output", "-"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 3
    assert main(["results", "export", "results/a", "--curves"]) == 0
    text = (folder / "a" / "curves.csv").read_text(encoding="utf-8")
    assert len(list(csv.DictReader(io.StringIO(text)))) == 4


def test_results_export_says_what_parquet_needs(folder, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "unitary_zoo[parquet]" in refusal(["export", "results/a", "--format", "parquet"], capsys)


def test_results_prune_deletes_with_consent_alone(folder, capsys):
    (folder / "a" / "set_aside").mkdir()
    spare = folder / "a" / "set_aside" / "x.json"
    spare.write_text("")
    before = files(folder)
    assert main(["results", "prune", "results/a"]) == 0
    assert "nothing is deleted without --yes" in capsys.readouterr().out
    assert files(folder) == before
    assert main(["results", "prune", "results/a", "--yes"]) == 0
    assert set(before) - set(files(folder)) == {spare}
    assert main(["results", "prune", "results/a", "--not-planned", "--yes"]) == 0
    assert "2 files deleted" in capsys.readouterr().out
    assert main(["results", "prune", "results/a"]) == 0
    assert "no file that can go" in capsys.readouterr().out


def refusal(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["results", *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "nothing"], "does not exist"),
        (["show", "adding"], "begins with 'adding'"),
        (["show", "copying"], "name more of the id"),
        (["compare", "results/a", "copying"], "is no folder"),
        (["compare", "copying-T5-lstm", "copying-T5-lstm"], "failed"),
        (["export", "results/a", "--format", "parquet", "--output", "-"], "--output"),
        (["export", "results/a", "--output", "results/a/plan.json/x.csv"], "another --output"),
        (["prune", "results"], "run_all.py filled"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_results_refuses_in_one_line(folder, capsys, arguments, words):
    assert words in refusal(arguments, capsys)


@pytest.mark.slow
def test_results_outlives_a_reader_that_stops(folder):
    root = Path(comparisons.__file__).parents[1]
    command = f"cd {root}; {sys.executable} -m comparisons results export {folder}/a --output -"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; ({command}) | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
