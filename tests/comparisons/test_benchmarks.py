"""The benchmark scripts run, and refuse to time what is not correct."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from comparisons.benchmarks import (
    gate,
    map_speed,
    memory,
    scan_speed,
    schemes,
    text,
    timing,
    variants,
)  # fmt: skip
from comparisons.benchmarks.variants import Recurrence
from comparisons.training import machine
from unitary_zoo import Parametrization
from unitary_zoo.base import LinearMap
from unitary_zoo.scan import recurrent_scan

FAST = ["--tiny", "--threads", "1", "--rounds", "1"]


@pytest.fixture(autouse=True)
def _keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(monkeypatch):
    """Call the main function of a script with these arguments."""

    def call(script, *argv):
        monkeypatch.setattr("sys.argv", [f"{script.__name__}.py", *argv])
        return script.main()

    return call


# ----------------------------------------------------------------------------------- scan_speed


def test_scan_speed_writes_its_figures(run, tmp_path):
    path = tmp_path / "new" / "speed.json"
    assert run(scan_speed, *FAST, "--structured", "--json", str(path)) == 0
    found = json.loads(path.read_text())
    assert found["threads"] == 1
    speed = found["speed"]
    for row in speed:
        assert row["ratio"] == pytest.approx(row["their_ms"] / row["our_recurrence_ms"])
        assert row["met"] is (None if row["target"] is None else row["ratio"] >= row["target"])
    targets = sum(len(case.targets) for case in scan_speed.CASES)
    assert sum(row["target"] is not None for row in speed) == targets
    assert {row["against"] for row in speed} == {
        "nn.RNN", "nn.RNN (tanh)", "nn.LSTM", "geotorch loop", "torch orthogonal loop",
        "eager modReLU loop", "eager complex64 loop", "GEMM limit",
    }  # fmt: skip
    (limit,) = found["limit"]
    assert limit["gemm_gflops"] > 0
    for row in speed:
        if row["against"] == "GEMM limit":
            # n = 8, B = 2, T = 5: four real products, of the three matrix products of a step
            flop = 6 * 5 * 2 * 8**2 * (4 if "complex" in row["case"] else 1)
            assert row["their_ms"] == pytest.approx(flop / limit["gemm_gflops"] / 1e6)
    names = [row["case"].split(",")[0] for row in found["structured_or_dense"]]
    assert names == ["arjovsky"] * 2 + ["eigenphase"] * 2


def test_only_picks_cases(run, tmp_path):
    path = tmp_path / "speed.json"
    assert run(scan_speed, *FAST, "--only", "complex", "--json", str(path)) == 0
    assert {row["against"] for row in json.loads(path.read_text())["speed"]} == {
        "eager complex64 loop",
        "GEMM limit",
    }


def test_no_target_is_forgotten():
    for case in scan_speed.CASES:
        layer, peers = scan_speed.against(scan_speed.tiny(case).recurrence)[1:]
        assert case.targets.keys() <= peers.keys() | {"GEMM limit"}
        assert layer.forward().shape == next(iter(peers.values())).forward().shape


# ------------------------------------------------------------------------------------- the gate

TAMPERED = {
    "outputs": lambda out: out * (1 + 1e-9),
    "gradients": lambda out: out * (1 + 1e-9) - (out * 1e-9).detach(),
    "one precision": lambda out: out * (1 + 1e-3 * (out.real.dtype == torch.float32)),
    "NaN": lambda out: out * torch.nan,
}


@pytest.mark.parametrize("kind", gate.KINDS, ids=str)
@pytest.mark.parametrize("fault", TAMPERED)
def test_gate_finds_wrong_results(monkeypatch, fault, kind):
    monkeypatch.setattr(gate, "KINDS", [kind])
    gate.gate()
    tamper = TAMPERED[fault]
    monkeypatch.setattr(
        variants,
        "recurrent_scan",
        lambda *args, **options: tamper(recurrent_scan(*args, **options)),
    )
    with pytest.raises(gate.GateError, match="off by"):
        gate.gate()


@pytest.mark.parametrize("kind", gate.KINDS, ids=str)
def test_gate_finds_what_is_wrong_of_many_steps_alone(monkeypatch, kind):
    def tampered(x, *args, **options):
        return recurrent_scan(x, *args, **options) * (1 + 1e-6 * (len(x) > 50))

    monkeypatch.setattr(gate, "KINDS", [kind])
    monkeypatch.setattr(variants, "recurrent_scan", tampered)
    with pytest.raises(gate.GateError, match="T=100: states off by"):
        gate.gate()


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh", "modrelu"])
def test_gate_finds_wrong_peers(monkeypatch, nonlinearity):
    right = variants._EAGER[nonlinearity]
    monkeypatch.setitem(variants._EAGER, nonlinearity, lambda z, b: right(z, b) + 1e-6)
    with pytest.raises(gate.GateError):
        gate.gate()


def test_nothing_wrong_is_timed(monkeypatch, run, tmp_path):
    wrong = lambda *args, **options: 2 * recurrent_scan(*args, **options)
    monkeypatch.setattr(variants, "recurrent_scan", wrong)
    path = tmp_path / "speed.json"
    assert run(scan_speed, *FAST, "--json", str(path)) == 1
    assert not path.exists()


@pytest.mark.parametrize("last_only", [True, False])
def test_orthogonal_loops_are_the_recurrence(last_only):
    r = Recurrence(5, 2, 4, "relu", last_only)
    x = variants.draw(r, torch.float64)[1]
    for build in (variants.geotorch_loop, variants.torch_orthogonal_loop):
        loop = build(r, x)
        names = list(loop.leaves)
        # The matrix is the only leaf that is parametrized, and the loop must keep norms with it.
        assert sum("parametrizations" in name for name in names) == 1
        assert "bias_hh" not in names
        states = loop.forward()
        assert states.shape == ((2, 5) if last_only else (4, 2, 5))
        assert set(loop.results(torch.ones_like(states))) == {"states", *names}


# --------------------------------------------------------------------------------------- memory


def test_memory_writes_its_figures(monkeypatch, run, tmp_path):
    monkeypatch.setattr(gate, "SIZES", gate.SIZES[:1])
    path = tmp_path / "memory.json"
    assert run(memory, *FAST[:3], "--only", "last state, checkpoint", "--json", str(path)) == 0
    rows = json.loads(path.read_text())["memory"]
    assert [(row["n"], row["B"], row["T"]) for row in rows] == [(8, 2, 4), (8, 2, 5)]
    if sys.platform == "linux":
        assert all(row["peak_mb"] >= 0 for row in rows)


def test_memory_of_nothing_wrong_is_measured(monkeypatch, run):
    wrong = lambda *args, **options: 2 * recurrent_scan(*args, **options)
    monkeypatch.setattr(variants, "recurrent_scan", wrong)
    assert run(memory, "--tiny") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_the_eager_loop_holds_its_states():
    r = replace(memory.REQUIRED, batch=128, steps=300)
    mb, note = memory.measure("eager loop", r, threads=1)
    states = r.steps * r.batch * r.n * 4 / 1e6
    # Each step keeps its pre-activation's product and its state; a few copies, not dozens.
    assert not note
    assert states < mb < 12 * states


def test_every_form_runs():
    for form, build in memory.FORMS.items():
        r = replace(memory.REQUIRED, n=3, batch=2, steps=5)
        states = build(r).results()["states"]
        assert states.shape == ((5, 2, 3) if "sequence" in form else (2, 3)), form


def test_cells_beyond_the_limit_are_not_run(monkeypatch):
    asked = []

    def measure(form, r, threads):
        asked.append(r.steps)
        return (None, "failed") if form == "broken" else (2.0 * r.steps, "")

    monkeypatch.setattr(memory, "measure", measure)
    sizes = [replace(memory.REQUIRED, batch=1, steps=steps) for steps in (100, 1, 10)]
    rows = list(memory.cells(["fine"], sizes, limit_mb=50, threads=1))
    assert asked == [1, 10]
    assert [row["peak_mb"] for row in rows] == [2.0, 20.0, None]
    assert "not run" in rows[-1]["note"]
    rows = list(memory.cells(["broken"], sizes, limit_mb=50, threads=1))
    assert [row["note"] for row in rows] == ["failed"] * 3


@pytest.mark.parametrize(("mb", "met"), [(499.0, True), (501.0, False), (None, None)])
def test_requirement(mb, met):
    where = {"n": 128, "B": 16, "T": 100_000, "peak_mb": mb}
    rows = [
        {**where, "form": "ours, last state"},
        {**where, "form": "ours, last state", "T": 1000},
        {**where, "form": "nn.RNN"},
    ]
    (row,) = memory.requirement(rows)
    assert row["met"] is met


def test_a_cell_that_dies_is_told():
    assert memory.measure("no such form", memory.REQUIRED, 1) == (None, "failed: exit code 1")


# -------------------------------------------------------------------------------- what is shared


def test_variants_take_turns():
    turns = []
    found = timing.medians({name: lambda name=name: turns.append(name) for name in "ab"}, 3)
    assert turns == ["a", "b"] * 4  # the first is the warm-up
    assert all(seconds >= 0 for seconds in found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gemm_limit_is_a_rate(dtype):
    assert 0 < timing.gemm_limit(dtype, sizes=(32,), repeats=2) < 1e6


def test_files_say_what_a_result_needs_to_be_judged_by(monkeypatch, tmp_path):
    script = timing.ROOT / "comparisons" / "benchmarks" / "scan_speed.py"
    target = timing.ROOT / "docs" / "x.json"
    monkeypatch.setattr("sys.argv", [str(script), "--rounds", "7", "--json", str(target)])
    timing.write_json(tmp_path / "x.json", table=[{"a": 1}])
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["command"] == (
        "python comparisons/benchmarks/scan_speed.py --rounds 7 --json docs/x.json"
    )
    assert found["machine"]["cpu"] == machine.cpu_model()
    assert found["versions"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["date"]
    assert found.keys() >= {"load_before", "load_after"}
    assert found["table"] == [{"a": 1}]
    with pytest.raises(ValueError, match="machine"):
        timing.write_json(tmp_path / "x.json", machine=[])


def test_cells():
    values = [None, True, False, "a", 3, 0.0, 0.1234, 2.345, 0.001234, 1234.5]
    assert [text(value) for value in values] == [
        "-", "yes", "no", "a", "3", "0.00", "0.123", "2.35", "1.2e-03", "1234",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_not_that_of_the_parent():
    parent = bytearray(b"\1") * 2**29  # resident, since written
    code = "import resource, comparisons.training.machine as m; print(m._highest_resident_mb())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=timing.ROOT
    )
    assert machine._highest_resident_mb() > 512
    assert float(found.stdout) < 512
    del parent


# ------------------------------------------------------------------------------------ map_speed


@pytest.fixture
def run_maps(run, monkeypatch):
    monkeypatch.setattr(map_speed, "GATE_SIZES", (3,))
    few = ["--threads", "1", "--rounds", "1", "--sizes", "8", "9"]
    return lambda *argv: run(map_speed, *few, *argv)


def test_map_speed_writes_its_figures(run_maps, tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert run_maps("--json", str(path)) == 0
    maps = json.loads(path.read_text())["maps"]
    assert {row["n"] for row in maps} == {8, 9}
    assert {row["map"].split(",")[0] for row in maps} == {"exp", "Cayley", "Householder", "polar"}
    for ours, peer in itertools.pairwise(maps):
        if ours["variant"] == "ours":
            assert ours["error_1e-6"] <= 2
            assert peer["ratio"] == pytest.approx(peer["ms"] / ours["ms"])
            assert peer["met"] is (peer["ratio"] >= peer["target"])
    targets = [row for row in maps if row["target"] is not None]
    assert len(targets) == 2 * (3 + 3 + 3 + 3)  # each case of each size
    met = sum(row["met"] for row in targets)
    assert f"{met} of {len(targets)} targets met" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["expm_skew", "cayley", "householder", "polar"])
def test_map_speed_times_nothing_that_is_wrong(run_maps, monkeypatch, name):
    right = getattr(map_speed.linalg, name)
    monkeypatch.setattr(map_speed.linalg, name, lambda x: right(x) * (1 + 1e-10))
    with pytest.raises(AssertionError):
        run_maps()


# -------------------------------------------------------------------------------------- schemes

COLUMNS = [
    "scheme", "field", "n", "parameters", "dimension", "group", "unitary", "build_ms", "step_ms",
    "apply_ms", "dense_ratio", "gradient_condition", "drift",
]  # fmt: skip


def test_schemes_writes_its_figures(run, tmp_path):
    path = tmp_path / "schemes.json"
    assert run(schemes, *FAST, "--json", str(path)) == 0
    found = json.loads(path.read_text())
    rows = found["schemes"]
    assert all(list(row) == COLUMNS for row in rows)
    served = {
        (name, field)
        for name in Parametrization.names()
        for field in Parametrization.get(name).info.fields
    }
    assert {(row["scheme"].partition("(")[0], row["field"]) for row in rows} == served
    for row in rows:
        assert row["build_ms"] > 0
        assert row["step_ms"] > 0
        assert row["apply_ms"] > 0
        assert row["dense_ratio"] > 0
        assert row["gradient_condition"] >= 1
        assert (row["unitary"] is True) == (
            not Parametrization.get(row["scheme"].partition("(")[0]).info.deviation
        )
        assert row["unitary"] is not True or row["drift"] < 1e-5
    large = {row["scheme"].partition("(")[0] for row in rows if row["n"] == 64}
    assert large == set(schemes.STRUCTURED)
    held = found["memory"]
    assert len(held) == 2 * len([row for row in rows if row["n"] == 64])
    for row in held:
        size = 8 if row["field"] == "complex" else 4
        assert row["dense_matrix_mb"] == row["n"] ** 2 * size / 1e6
        assert row["map_mb"] > 0
        # The rows are saved, at least, and not many times for each of at most six layers.
        rows_mb = row["batch"] * row["n"] * size / 1e6
        assert rows_mb / 2 <= row["saved_mb"] <= 20 * (rows_mb + row["map_mb"])


def test_schemes_leaves_out_a_dense_product_that_is_too_large(run, tmp_path, capsys):
    path = tmp_path / "schemes.json"
    # Three real matrices of 64 x 64 and not three complex ones.
    limit = str(3 * 64**2 * 4 / 2**30)
    argv = ["--only", "eunn_fft", "--limit-gib", limit, "--json", str(path)]
    assert run(schemes, *FAST, *argv) == 0
    rows = {(row["field"], row["n"]): row for row in json.loads(path.read_text())["schemes"]}
    assert len(rows) == 4
    none = {key for key, row in rows.items() if row["dense_ratio"] is None}
    assert none == {("complex", 64)}
    assert "no dense_ratio" in capsys.readouterr().out


@pytest.mark.parametrize("fault", TAMPERED)
@pytest.mark.parametrize("name", ["eunn", "expm"])
def test_schemes_times_nothing_that_is_wrong(monkeypatch, run, tmp_path, fault, name):
    right, tamper = LinearMap.__call__, TAMPERED[fault]
    monkeypatch.setattr(LinearMap, "__call__", lambda self, h: tamper(right(self, h)))
    path = tmp_path / "schemes.json"
    assert run(schemes, *FAST, "--only", name, "--json", str(path)) == 1
    assert not path.exists()


def test_schemes_that_lose_unitarity_are_found(monkeypatch):
    right = LinearMap.matrix
    monkeypatch.setattr(LinearMap, "matrix", lambda self: right(self) * 1.001)
    with pytest.raises(gate.GateError, match=r"defect 0\.002"):
        schemes.gate(schemes.subjects("expm"))


@pytest.mark.parametrize("subject", schemes.subjects(), ids=lambda s: f"{s.title}-{s.field}")
def test_factors_are_leaves_that_give_the_same_product(subject):
    p = subject.build(16)
    linear, factors = schemes.with_factors(p)
    h = torch.randn(3, 16, dtype=p.dtype)
    out = linear(h)
    assert torch.equal(out, p(h))
    leaves = [x for x in factors if x.requires_grad]
    found = torch.autograd.grad(schemes.inner(out, out), leaves)  # each has a part in it
    assert all(x.is_leaf for x in leaves)
    assert len(found) >= 1


def test_the_condition_of_a_known_map():
    # At A = 0 the coordinates of a Lie algebra are as long as what they move.
    (subject,) = (s for s in schemes.subjects("lie_exp") if s.field == "real")
    assert schemes.gradient_condition(subject, 5) == pytest.approx(1, abs=1e-12)
    # One phase and a rotation of two columns: theta moves both, omega_j the one row it multiplies,
    # phi the second column. By hand: the Gram matrix of (phi, omega_1, omega_2) is
    # [[1, s^2, c^2], [s^2, 1, 0], [c^2, 0, 1]], of eigenvalues 1 and 1 +- sqrt(s^4 + c^4).
    subject = schemes.Subject("eunn", "complex", {"capacity": 1})
    theta = subject.build(2, torch.float64).theta.detach()
    root = (theta.sin() ** 4 + theta.cos() ** 4).sqrt()
    largest, least = torch.maximum(1 + root, torch.tensor(2.0)), 1 - root
    wanted = float((largest / least).sqrt())
    assert schemes.gradient_condition(subject, 2) == pytest.approx(wanted, rel=1e-9)


def test_a_large_circulant_needs_no_matrix_to_start(monkeypatch):
    monkeypatch.setattr(schemes, "LARGE", (16,))
    (subject,) = schemes.subjects("eigenphase(basis='dft')")
    p = subject.build(16)
    assert torch.equal(p.phases, subject.build(16).phases)
    assert p.describe().defect < 1e-5
    assert p.phases.unique().numel() == 16
