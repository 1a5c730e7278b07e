"""README.md says what is true: its example learns, its table agrees with the schemes."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from unitary_zoo import Parametrization

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_example_is_short_and_shows_what_is_gained(capsys):
    example, _ = blocks("python")
    assert len([line for line in example.splitlines() if line]) <= 12
    names: dict[str, Any] = {}
    exec(example, names)
    # Without a memory the best guess of a standard normal number is 0, at loss 1.
    plain, unitary = names["losses"]
    assert unitary < 0.3 < plain
    assert capsys.readouterr().out == f"loss of nn.RNN {plain:.2f}, of UnitaryRNN {unitary:.2f}\n"


@pytest.mark.parametrize("name", Parametrization.names())
def test_example_takes_every_scheme(name):
    example, _ = blocks("python")
    assert example.count('"expm"') == example.count("randn(300, 50, 64, 1)") == 1
    short = example.replace('"expm"', f'"{name}"').replace("randn(300, 50, 64", "randn(2, 3, 2")
    names: dict[str, Any] = {}
    exec(short, names)
    assert all(torch.isfinite(loss) for loss in names["losses"])


def test_example_of_a_layer_stays_orthogonal():
    _, example = blocks("python")
    names: dict[str, Any] = {}
    exec(example, names)
    for gate in names["gru"].weight_hh_l0.detach().chunk(3):
        assert torch.dist(gate.T @ gate, torch.eye(len(gate))) < 1e-5


def test_commands_have_one_line():
    commands = blocks("sh")
    assert [command.count("\n") for command in commands] == [1, 1]
    run, tests = commands
    assert run.endswith("&& python comparisons/run_all.py\n")
    assert "-m pytest" in tests
    # A marker above each command, so that scripts such as .ci/run find it.
    assert f"<!-- ci:run -->\n```sh\n{run}" in README
    assert f"<!-- ci:test -->\n```sh\n{tests}" in README


def table() -> dict[str, list[str]]:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def test_table_lists_every_scheme_of_the_library():
    ours = {
        name
        for name in Parametrization.names()
        if Parametrization.get(name).__module__.startswith("unitary_zoo.")
    }
    assert set(table()) == ours


PRIMES = {1: (1,), 2: (2,), 4: (2, 2), 7: (7,), 8: (2, 2, 2), 12: (2, 2, 3)}


def evaluate(formula: str, n: int) -> int:
    """The value of a formula such as 7n, n², n(n−1)/2, ⌊n/2⌋, n log₂n, 2b or Σp²."""
    formula = re.sub(r"(?<=[\dnp])(?=[nbp(])", "*", formula)
    formula = re.sub(r"Σ(.*)", r"sum(\1 for p in primes)", formula)
    codes = {"²": "**2", "−": "-", "/": "//", "⌊": "(", "⌋": ")", " log₂n": "*log2(n)"}
    for sign, code in codes.items():
        formula = formula.replace(sign, code)
    ones = sum(i.bit_count() for i in range(n))
    return eval(formula, {"n": n, "b": ones, "primes": PRIMES[n], "log2": math.log2})


@pytest.mark.parametrize("name", table())
def test_table_row(name):
    _, fields, groups, numbers = (cell.split(", ") for cell in table()[name])
    scheme = Parametrization.get(name)
    assert fields[0] == scheme.info.field
    assert set(fields) == set(scheme.info.fields)
    for field, group, formula in zip(fields, groups, numbers, strict=True):
        for n in filter(scheme.info.accepts, PRIMES):
            p = scheme(n, field=field)
            # Two layers of eunn reach the whole group up to n = 2, which the table leaves out.
            assert p.info.reach == group or (name == "eunn" and n <= 2)
            # The one exception, which the text below the table names.
            count = 2 if (name, n) == ("nnrnn", 2) else evaluate(formula, n)
            assert sum(q.numel() for q in p.learnable_parameters()) == count
            assert torch.isfinite(p.matrix()).all()


def test_local_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    missing = [target for target in targets if not (ROOT / target).is_file()]
    assert not missing
