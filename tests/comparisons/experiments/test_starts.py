"""The experiment on starts: what is trained, and when a start counts as better."""

import json

import pytest

from comparisons.experiments import starts
from comparisons.experiments.__main__ import main
from comparisons.experiments.starts import Losses
from unitary_zoo import Parametrization


def test_starts_train_what_is_missing_and_go_on(tmp_path, monkeypatch, capsys):
    arguments = ["starts", "--tiny", "--results", str(tmp_path), "--starts", "haar"]
    main(arguments)
    found = json.loads((tmp_path / "starts.json").read_text(encoding="utf-8"))
    assert [(row["scheme"], row["start"]) for row in found["starts"]] == [
        ("cayley", "haar"), ("cayley", "henaff"),
    ]  # fmt: skip
    assert all(len(row["losses"]) == 1 for row in found["starts"])
    assert (tmp_path / "starts.png").read_bytes().startswith(b"\x89PNG")

    def refuse(run):
        raise AssertionError(f"{run} is finished")

    monkeypatch.setattr(starts, "train", refuse)
    main(arguments)
    again = json.loads((tmp_path / "starts.json").read_text(encoding="utf-8"))
    assert again["starts"] == found["starts"]


def test_starts_out_of_time_train_nothing(tmp_path, capsys):
    main(["starts", "--tiny", "--results", str(tmp_path), "--minutes", "1e-9"])
    assert "were not started" in capsys.readouterr().out
    assert json.loads((tmp_path / "starts.json").read_text(encoding="utf-8"))["starts"] == []


@pytest.mark.parametrize("name", ["cayly", "lstm"])
def test_starts_refuse_what_is_no_scheme(name, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["starts", "--schemes", name, "--results", str(tmp_path)])
    assert name in capsys.readouterr().err


def test_starts_of_a_scheme_are_those_that_it_represents():
    assert starts.starts_of("eunn", 8, ["haar", "henaff"]) == ["eunn"]
    assert starts.starts_of("expm", 8, ["haar", "torus", "dft"]) == ["haar", "henaff"]  # real
    assert starts.starts_of("full_capacity", 4, ["dft"]) == ["dft", "haar"]


def test_starts_train_every_scheme_of_the_library():
    ours = {
        name
        for name in Parametrization.names()
        if Parametrization.get(name).__module__.startswith("unitary_zoo.")
    }
    assert set(starts.SCHEMES) == ours
    assert len(starts.SCHEMES) == len(ours)


def test_verdicts_need_all_seeds_apart():
    default, other = "henaff", "haar"
    rows = [
        Losses("cayley", "copying", default, [0.4, 0.5]),
        Losses("cayley", "copying", other, [0.2, 0.3]),
        Losses("cayley", "adding", default, [0.4, 0.5]),
        Losses("cayley", "adding", other, [0.2, 0.45]),
        Losses("cayley", "permuted_mnist", default, [0.1, 0.2]),
        Losses("cayley", "permuted_mnist", other, [0.3, None]),
    ]
    (found,) = starts.verdicts(rows)
    assert (found["scheme"], found["default"], found["start"]) == ("cayley", default, other)
    assert (found["better_on"], found["worse_on"]) == ("copying", "permuted_mnist")
