"""Speed of the schemes."""

import json

import pytest
import torch

from comparisons.benchmarks import configurations as benchmark_configurations
from comparisons.benchmarks import scheme_speed
from comparisons.benchmarks.configurations import (
    STRUCTURED,
    check_maps,
    configurations,
    inner,
)
from comparisons.benchmarks.correctness import CorrectnessError
from unitary_zoo import Parametrization
from unitary_zoo.base import LinearMap

COLUMNS = [
    "scheme", "field", "n", "parameters", "dimension", "group", "unitary", "build_ms", "step_ms",
    "apply_ms", "dense_ratio", "drift",
]  # fmt: skip


def test_scheme_speed_writes_a_row_for_each_scheme(run, tmp_path):
    path = tmp_path / "schemes.json"
    assert run("scheme_speed", "--rounds", "1", "--json", str(path)) == 0
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
        assert (row["unitary"] is True) == (
            not Parametrization.get(row["scheme"].partition("(")[0]).info.deviation
        )
        assert row["unitary"] is not True or row["drift"] < 1e-5
    large = {row["scheme"].partition("(")[0] for row in rows if row["n"] == 64}
    assert large == set(STRUCTURED)
    held = found["memory"]
    assert len(held) == 2 * len([row for row in rows if row["n"] == 64])
    for row in held:
        size = 8 if row["field"] == "complex" else 4
        assert row["dense_matrix_mb"] == row["n"] ** 2 * size / 1e6
        assert row["map_mb"] > 0
        # The rows are saved, at least, and not many times for each of at most six layers.
        rows_mb = row["batch"] * row["n"] * size / 1e6
        assert rows_mb / 2 <= row["saved_mb"] <= 20 * (rows_mb + row["map_mb"])


def test_scheme_speed_leaves_out_a_dense_product_that_is_too_large(run, tmp_path, capsys):
    path = tmp_path / "schemes.json"
    # Three real matrices of 64 x 64 and not three complex ones.
    limit = str(3 * 64**2 * 4 / 2**30)
    argv = ["--only", "eunn_fft", "--limit-gib", limit, "--json", str(path)]
    assert run("scheme_speed", "--rounds", "1", *argv) == 0
    rows = {(row["field"], row["n"]): row for row in json.loads(path.read_text())["schemes"]}
    assert len(rows) == 4
    none = {key for key, row in rows.items() if row["dense_ratio"] is None}
    assert none == {("complex", 64)}
    assert "no dense_ratio" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["eunn", "expm"])
def test_main_times_no_wrong_map(monkeypatch, run, tmp_path, fault, name):
    right = LinearMap.__call__
    monkeypatch.setattr(LinearMap, "__call__", lambda self, h: fault(right(self, h)))
    path = tmp_path / "schemes.json"
    assert run("scheme_speed", "--rounds", "1", "--only", name, "--json", str(path)) == 1
    assert not path.exists()


def test_check_maps_finds_lost_unitarity(monkeypatch):
    right = LinearMap.matrix
    monkeypatch.setattr(LinearMap, "matrix", lambda self: right(self) * 1.001)
    with pytest.raises(CorrectnessError, match=r"defect 0\.002"):
        check_maps(configurations("expm"))


@pytest.mark.parametrize("configuration", configurations(), ids=lambda c: f"{c.title}-{c.field}")
def test_with_factors_gives_the_same_product(configuration):
    p = configuration.build(16)
    linear, factors = scheme_speed.with_factors(p)
    h = torch.randn(3, 16, dtype=p.dtype)
    out = linear(h)
    assert torch.equal(out, p(h))
    leaves = [x for x in factors if x.requires_grad]
    found = torch.autograd.grad(inner(out, out), leaves)  # each has a part in it
    assert all(x.is_leaf for x in leaves)
    assert len(found) >= 1


def test_build_starts_a_large_circulant_without_a_matrix(monkeypatch):
    monkeypatch.setattr(benchmark_configurations, "LARGE", (16,))
    (configuration,) = configurations("eigenphase(basis='dft')")
    p = configuration.build(16)
    assert torch.equal(p.phases, configuration.build(16).phases)
    assert p.describe().defect < 1e-5
    assert p.phases.unique().numel() == 16
