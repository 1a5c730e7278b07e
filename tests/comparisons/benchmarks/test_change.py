"""Speed against another commit."""

import json
import subprocess

import pytest

from comparisons.benchmarks import change
from comparisons.benchmarks.correctness import CorrectnessError


@pytest.fixture
def repository(tmp_path):
    """A repository with a commit, after which its file is changed."""
    where = tmp_path / "repository"
    where.mkdir()
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init"], ["add", "file"], [*identity, "commit", "-m", "first"]):
        (where / "file").write_text("before")
        subprocess.run(["git", "-C", where, *words], check=True, capture_output=True)
    (where / "file").write_text("after")
    return where


def test_change_writes_consistent_figures(run, tmp_path):
    path = tmp_path / "change.json"
    argv = ["--before", str(change.ROOT), "--rounds", "1", "--maps", "expm", "--steps", "lie_exp"]
    assert run("change", *argv, "--json", str(path)) == 0
    rows = json.loads(path.read_text())["change"]
    assert [(row["what"], row["scheme"], row["n"]) for row in rows] == [
        ("map", "expm", 8),
        ("step", "lie_exp", 8),
    ]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["before_ms"] / row["after_ms"])


def test_source_tree_checks_a_commit_out_and_removes_it(repository):
    found = []

    def fail():
        with change.source_tree("HEAD", repository) as tree:
            found.append(tree)
            assert (tree / "file").read_text() == "before"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not found[0].exists()
    listed = subprocess.run(
        ["git", "-C", repository, "worktree", "list"], check=True, capture_output=True, text=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_source_tree_refuses_what_is_no_commit(repository):
    with (
        pytest.raises(ValueError, match=r"'v7'.*name a commit or a folder"),
        change.source_tree("v7", repository),
    ):
        pass


def test_worker_refuses_the_library_of_another_tree(tmp_path):
    (tmp_path / "unitary_zoo.py").write_text("raise ImportError")
    with change.Worker(tmp_path, 1) as worker, pytest.raises(RuntimeError, match="has ended"):
        worker.ask(do="check", what="", scheme="expm", n=0)


def test_check_finds_another_result():
    class Version:
        def __init__(self, *numbers):
            self.ask = lambda **request: numbers

    change.check(Version(1.0, 2.0), Version(1.0, 2.0 + 1e-9), ["expm"])
    for wrong in (2.0 + 1e-6, float("nan")):
        with pytest.raises(CorrectnessError, match="expm: number 1 was 2"):
            change.check(Version(1.0, 2.0), Version(1.0, wrong), ["expm"])
