"""Results as rows and in other formats."""

import csv
import io

import pytest

from comparisons.records import Failure
from comparisons.results.exporting import point_rows, run_rows, to_csv, to_parquet
from comparisons.results.store import Store


@pytest.fixture
def contents(tmp_path, make_result, make_run):
    store = Store(tmp_path)
    store.save(make_result(losses=(2.0, 0.5), options=(("k", 3),)))
    failed = make_run("lstm", unitary_optimizer=None)
    store.save_failure(Failure(failed, 'ValueError: "a, b"', "Traceback", "2026-01-02"))
    return store.load()


def test_run_rows_hold_a_row_for_each_run_with_equal_keys(contents):
    finished, failed = run_rows(contents)
    assert list(finished) == list(failed)
    assert (finished["state"], finished["test_loss"], finished["error"]) == ("finished", 0.5, "")
    assert (failed["state"], failed["test_loss"]) == ("failed", None)
    assert finished["optimizer_lr"] == 1e-3
    assert finished["unitary_optimizer_kind"] == "rmsprop"
    assert failed["unitary_optimizer_kind"] is None
    assert finished["machine_cpu"] == "Imaginary CPU 9000"
    assert finished["options"] == '[["k", 3]]'


def test_point_rows_hold_a_row_for_each_evaluation(contents):
    first, last = point_rows(contents)
    assert (first["iteration"], first["train_loss"], first["test_loss"]) == (0, None, 2.0)
    assert (last["iteration"], last["test_loss"], last["model"]) == (3, 0.5, "cayley")


def test_to_csv_can_be_read_back(contents):
    rows = run_rows(contents)
    found = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert found == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]


@pytest.mark.parametrize("make", [run_rows, point_rows])
def test_to_parquet_can_be_read_back(contents, make):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    rows = make(contents)
    assert parquet.read_table(io.BytesIO(to_parquet(rows))).to_pylist() == rows
