import json

import pytest

from comparisons.benchmarks import page
from tests.browser import browser

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _chromium():
    with browser():  # or skip
        pass


def test_page_measures_size_and_times(run, tmp_path):
    path = tmp_path / "page.json"
    assert run("page", "--json", str(path)) == 0
    (row,) = json.loads(path.read_text())["page"]
    assert row["runs"] == 8
    assert 0 < row["gzipped_mb"] <= row["page_mb"] < 5
    assert 0 < row["table_s"] <= row["ready_s"] <= row["figure_s"] < 60
    assert row["written_s"] > 0


def test_page_measures_nothing_wrong(run, monkeypatch, capsys):
    written = page.write_report

    def without_a_run(folder, figures):
        next((folder / "runs").iterdir()).unlink(missing_ok=True)
        return written(folder, figures)

    monkeypatch.setattr(page, "write_report", without_a_run)
    assert run("page") == 1
    assert "the page of 8 runs says" in capsys.readouterr().out
