"""The benchmark of silent failures: outcomes, cells, findings and its exit code."""

import json
from dataclasses import dataclass, replace

import pytest
import torch

from comparisons.benchmarks.__main__ import main
from comparisons.benchmarks.parametrizations import column, every_scheme, peers
from comparisons.benchmarks.silent_failures import Outcome, examine, find
from unitary_zoo import Parametrization
from unitary_zoo.testing.layers import LAYER_CHECKS, LayerSubject, SchemeLayers
from unitary_zoo.testing.layers.measures import MemoryMeasure
from unitary_zoo.testing.layers.registry import schemes_only
from unitary_zoo.testing.subject import Measure

ADAMW = LAYER_CHECKS["layer_adamw_step"]


@dataclass(frozen=True)
class Plain(LayerSubject):
    """A layer as it is, said to be orthogonal."""

    def make_orthogonal(self, module, name="weight", *, blocks=1):
        return module


def raising(subject, shape):
    if shape == "tall":
        raise ValueError("no\nway")
    yield Measure(1.0, 0.5, "the weight")


def costly(subject, shape):
    yield MemoryMeasure(10, 5, "numbers held")


def test_examine_tells_memory_from_wrong_numbers():
    assert examine(replace(ADAMW, function=costly), Plain("plain"), "tall") == (
        Outcome.COSTLY,
        "numbers held: 10 (limit 5)",
    )


def test_cells_tell_silent_failures_from_errors():
    check = replace(ADAMW, function=raising)
    finding = find(check, Plain("plain"))
    assert finding.cell == "SILENT (square, wide)"
    assert [(w["shapes"], w["outcome"], w["found"]) for w in finding.lines] == [
        ("square, wide", "SILENT", "the weight: 1 (limit 0.5)"),
        ("tall", "error", "ValueError: no"),
    ]
    assert find(replace(check, shapes=("tall",)), Plain("plain")).cell == "error"
    assert find(replace(check, fields=("complex",)), Plain("plain")).cell == "-"
    assert find(replace(check, applies=schemes_only), Plain("plain")).cell == "-"
    assert find(ADAMW, column("cayley")).cell == "passes"


def test_find_states_expected_failures_without_running():
    (subject,) = (s for s in every_scheme() if s.label == "geotorch_so, real")
    finding = find(LAYER_CHECKS["layer_one_small_matrix"], subject)
    assert (finding.cell, finding.breaks_a_promise) == ("-", False)
    (line,) = finding.lines
    assert line["outcome"] == "expected"
    assert "matrix_exp" in line["found"]


def test_memory_breaks_a_promise_of_thin_schemes_only():
    check = replace(ADAMW, function=costly)
    cayley = SchemeLayers("cayley", scheme=Parametrization.get("cayley"))
    assert not find(check, cayley).breaks_a_promise
    assert find(check, column("cayley")).breaks_a_promise  # it takes householder for thin weights
    assert not find(check, Plain("plain")).breaks_a_promise


@pytest.mark.parametrize("subject", list(peers()), ids=lambda subject: subject.label)
def test_peers_start_orthogonal(subject):
    (outcome, _) = examine(LAYER_CHECKS["layer_assigned_off_the_group"], subject, "square")
    assert outcome is not Outcome.ERROR


@pytest.fixture
def run(monkeypatch, tmp_path):
    def call(*arguments):
        path = tmp_path / "found.json"
        argv = ["silent_failures", *arguments, "--json", str(path)]
        monkeypatch.setattr("sys.argv", ["benchmarks", *argv])  # the file quotes it
        threads = torch.get_num_threads()
        code = main(argv)
        torch.set_num_threads(threads)
        return code, json.loads(path.read_text())

    return call


def test_main_writes_who_passes(run):
    code, found = run("--tiny", "--only", "adamw", "--schemes", "expm", "cayley")
    assert (code, found["threads"]) == (0, 1)
    (line,) = found["who_passes"]
    assert list(line)[:3] == ["what must not go wrong", "ours, expm", "all our schemes"]
    assert (line["ours, expm"], line["ours, cayley"]) == ("passes", "passes")
    assert {"torch matrix_exp", "torch cayley", "torch householder", "geotorch expm",
            "geotorch cayley"} < set(line)  # fmt: skip
    assert line["torch householder"] == "SILENT"
    assert [row["row"] for row in found["rows"]] == ["adamw step"]
    assert {row["library"] for row in found["libraries"]} == {"torch", "geotorch"}


def test_main_fails_with_a_scheme_of_ours(run, monkeypatch):
    def fail(subject, shape):
        ours = isinstance(subject, SchemeLayers) and subject.scheme.info.name == "expm"
        yield Measure(float(ours), 0.0, "wrong")

    monkeypatch.setitem(LAYER_CHECKS, "layer_adamw_step", replace(ADAMW, function=fail))
    code, found = run("--only", "adamw")
    assert code == 1
    cell = "expm, complex: SILENT; expm, real: SILENT"
    assert sorted(found["who_passes"][0]["all our schemes"].split("; ")) == cell.split("; ")


def test_sections_keep_the_order_of_the_page():
    titles = [check.name for check in LAYER_CHECKS.values()]
    assert titles[0] == "adamw_step"
    assert titles.index("bfloat16") < titles.index("cached_step") < titles.index("pickled")
    assert (
        titles.index("pickled") < titles.index("complex_weight") < titles.index("functional_call")
    )
