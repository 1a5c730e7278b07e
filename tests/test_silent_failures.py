"""Design section 4: every scheme x every row of what must never happen silently x every shape."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from comparisons.benchmarks import silent_failures
from comparisons.benchmarks.silent_failures import (
    COSTLY,
    ERROR,
    EXPECTED,
    PASSES,
    ROWS,
    SILENT,
    examine,
    find,
)
from comparisons.benchmarks.subjects import Ours, Subject, every_scheme, is_thin
from unitary_zoo import Parametrization


def matrix():
    for subject in every_scheme():
        for row in ROWS.values():
            if row.inapplicable(subject):
                continue
            marks = [pytest.mark.slow] if row.slow else []
            if reason := EXPECTED.get((subject.scheme, row.name)):
                marks.append(pytest.mark.xfail(strict=True, reason=reason))
            for shape in row.shapes:
                name = f"{subject.scheme}-{subject.field}-{row.name}-{shape}"
                yield pytest.param(subject, row, shape, id=name, marks=marks)


# torch.compile and torch.export call what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(("subject", "row", "shape"), list(matrix()))
def test_matrix(subject, row, shape):
    outcome = examine(row, subject, shape)
    if outcome.kind != PASSES:
        raise outcome.error


def test_expected_failures_name_schemes_and_rows():
    for (scheme, row), reason in EXPECTED.items():
        assert scheme in Parametrization.names()
        assert row in ROWS
        assert reason


def test_shapes_are_of_sizes_that_the_scheme_accepts():
    for subject in every_scheme():
        for shape in silent_failures.SHAPES:
            rows, columns = subject.shape(shape)
            assert subject.accepts(max(rows, columns))
            assert (rows > columns, rows < columns) == (shape == "tall", shape == "wide")


def test_every_row_says_what_must_not_happen():
    for row in ROWS.values():
        assert row.meaning.endswith("."), row.name
        assert 30 < len(row.meaning) < 120, row.name


# ------------------------------------------------------------------- the rows see what is wrong


@dataclass(frozen=True)
class Plain(Subject):
    """A layer as it is, said to be orthogonal."""

    def attach(self, module, name="weight", *, blocks=1):
        return module


@dataclass(frozen=True)
class Once(Subject):
    """Orthogonal at the start, and never again."""

    def attach(self, module, name="weight", *, blocks=1):
        nn.init.orthogonal_(module.get_parameter(name))
        return module


# What an ordinary layer does right: reading it gives the numbers that it has.
UNCONSTRAINED = {
    "frozen", "cached_step", "cached_fused_step", "cached_two_backwards", "one_small_matrix",
    "plain_export", "plain_checkpoint", "lstm_forward", "gru_forward", "meta_device", "ensemble",
}  # fmt: skip
# What it does not have at all; and a tensor cannot be assigned to its parameter.
PARAMETRIZED = {
    "cached_no_grad", "copy_made_plain", "made_plain", "assigned", "assigned_off_the_group",
    "cached_assignment", "determinant_assigned",
}  # fmt: skip


@pytest.mark.parametrize("row", list(ROWS.values()), ids=lambda row: row.name)
def test_rows_see_a_weight_that_is_not_orthogonal(row):
    subject = Plain("plain")
    if row.inapplicable(subject) or row.slow:
        pytest.skip("not for a layer without scheme")
    kinds = {examine(row, subject, shape).kind for shape in row.shapes}
    if row.name in UNCONSTRAINED:
        assert kinds == {PASSES}
    elif row.name in PARAMETRIZED:
        assert kinds == {ERROR}
    else:
        assert kinds == {SILENT}


@pytest.mark.parametrize(
    "name", ["adamw_step", "sgd_weight_decay", "muon_weight_decay", "moving_average", "autocast"]
)
def test_rows_see_a_weight_that_leaves_the_group(name):
    outcome = examine(ROWS[name], Once("once"), "square")
    assert outcome.kind == SILENT
    assert "at the start" not in str(outcome.error)


class Base(nn.Module):
    """Holds a square matrix for a weight that is not."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("base", torch.eye(n))

    def forward(self, x):
        return self.base[:, : x.shape[1]] + 0 * x


def test_memory_is_told_from_wrong_numbers():
    @dataclass(frozen=True)
    class Square(Subject):
        def attach(self, module, name="weight", *, blocks=1):
            n = max(module.weight.shape)
            nn.utils.parametrize.register_parametrization(module, name, Base(n))
            return module

    outcome = examine(ROWS["thin_embedding"], Square("square"), "tall")
    assert (outcome.kind, "it holds" in str(outcome.error)) == (COSTLY, True)


# -------------------------------------------------------------------------------- the script


def raising(subject, shape):
    """Not in the table."""
    raise ValueError("no\nway") if shape == "tall" else AssertionError("wrong")


def test_cells_tell_silent_failures_from_errors():
    row = replace(ROWS["adamw_step"], function=raising)
    finding = find(row, Plain("plain"))
    assert finding.cell == "SILENT (square, wide)"
    assert [(w["shapes"], w["outcome"], w["found"]) for w in finding.words] == [
        ("square, wide", "SILENT", "wrong"),
        ("tall", "error", "ValueError: no"),
    ]
    assert find(replace(row, shapes=("tall",)), Plain("plain")).cell == "error"
    assert find(replace(row, fields=("complex",)), Plain("plain")).cell == "-"
    assert find(ROWS["adamw_step"], Ours("cayley")).cell == "passes"


def test_refusals_are_right_where_info_says_so():
    def refuse(subject, shape):
        raise ValueError("no such matrix")

    row = replace(ROWS["assigned"], function=refuse)
    for scheme, shape, kind in [
        ("arjovsky", "square", PASSES), ("cayley", "tall", ERROR), ("eigenphase", "square", ERROR),
        ("eigenphase", "tall", PASSES),
    ]:  # fmt: skip
        assert examine(row, Ours(scheme, "complex", scheme=scheme), shape).kind == kind
    assert examine(replace(row, assigns=False), Ours("", scheme="cayley"), "tall").kind == ERROR


@pytest.fixture
def run(monkeypatch, tmp_path):
    def call(*argv):
        path = tmp_path / "found.json"
        words = ["silent_failures.py", *argv, "--json", str(path)]
        monkeypatch.setattr("sys.argv", words)
        threads = torch.get_num_threads()
        code = silent_failures.main()
        torch.set_num_threads(threads)
        return code, json.loads(path.read_text())

    return call


def test_script_writes_who_passes(run):
    code, found = run("--tiny", "--only", "adamw", "--schemes", "expm", "cayley")
    assert code == 0
    (line,) = found["who_passes"]
    assert list(line)[:3] == ["what must not go wrong", "ours, expm", "all our schemes"]
    assert (line["ours, expm"], line["ours, cayley"]) == ("passes", "passes")
    assert {"torch matrix_exp", "torch cayley", "torch householder", "geotorch expm",
            "geotorch cayley"} < set(line)  # fmt: skip
    assert [row["row"] for row in found["rows"]] == ["adamw step"]
    assert {row["library"] for row in found["libraries"]} == {"torch", "geotorch"}


def test_script_fails_with_a_scheme_of_ours(run, monkeypatch):
    def fail(subject, shape):
        if isinstance(subject, Ours) and subject.scheme == "expm":
            raise AssertionError("wrong")

    monkeypatch.setitem(ROWS, "adamw_step", replace(ROWS["adamw_step"], function=fail))
    code, found = run("--only", "adamw")
    assert code == 1
    cell = "expm, complex: SILENT; expm, real: SILENT"
    assert sorted(found["who_passes"][0]["all our schemes"].split("; ")) == cell.split("; ")
    monkeypatch.setitem(EXPECTED, ("expm", "adamw_step"), "a reason")
    assert run("--only", "adamw")[0] == 0


def test_thin_schemes_are_those_with_a_way_of_their_own():
    class Thin(Parametrization.get("cayley")):
        @classmethod
        def for_columns(cls, n, k, **options):
            return cls(n, **options)

    assert not is_thin("cayley")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parametrization, "get", staticmethod(lambda name: Thin))
        assert is_thin("cayley")
