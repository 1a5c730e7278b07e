import time

import pytest

from comparisons.records import Failure
from comparisons.results.claims import Claims
from comparisons.results.progress import Progress, read_progress
from comparisons.results.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_progress_counts_the_runs_of_the_last_command(store, make_run, make_result):
    runs = [make_run(seed=seed) for seed in range(6)]
    store.save(make_result(seed=0))
    store.save(make_result(seed=99))  # of an earlier command
    for seed in (1, 2):
        store.save_failure(Failure(runs[seed], "ValueError: no", "", "2026-01-02"))
    store.save_plan("command", runs)
    with Claims(store.folder) as claims:
        assert claims.take(runs[2].id)  # tried again
        assert claims.take(runs[3].id)
        found = read_progress(store.folder, time.time())
    assert found == Progress(finished=1, failed=1, running=2, left=2)
    assert read_progress(store.folder, time.time()).running == 0


def test_progress_without_a_plan_counts_all_files(store, make_result):
    assert read_progress(store.folder, 0.0) == Progress(0, 0, 0, 0)
    store.save(make_result())
    assert read_progress(store.folder, 0.0) == Progress(1, 0, 0, 0)
