"""Claims of runs by several commands."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

from comparisons import run_all
from comparisons.results import claims
from comparisons.results.claims import ClaimError, claimed

CHILD = """
import sys
from pathlib import Path
from comparisons.results.claims import claimed
with claimed(Path(sys.argv[1]), sys.argv[2:]) as held:
    print(",".join(sorted(held)), flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_command(folder, *ids):
    """A process with claims of its own, and what it found held."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), *ids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(run_all.__file__).parents[1],
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_claimed_leaves_runs_to_a_living_command_and_takes_those_of_a_dead_one(tmp_path):
    with other_command(tmp_path, "a", "b") as (process, found):
        assert found == ""
        with claimed(tmp_path, ["b", "c"]) as held:
            assert held == {"b"}
            with claimed(tmp_path, ["a", "b", "c", "d"]) as held_by_two:
                assert held_by_two == {"a", "b", "c"}
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert list(tmp_path.glob("claims/*.json"))  # it could not tidy up
        with claimed(tmp_path, ["a", "b"]) as held:
            assert held == frozenset()
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["all.lock"]


def test_claimed_lets_go_after_an_exception(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, ["a"]):
        raise KeyboardInterrupt
    with claimed(tmp_path, ["a"]) as held:
        assert held == frozenset()


def test_claimed_heeds_no_damaged_claim(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "1-2.json").write_text("{")
    with claimed(tmp_path, ["a"]) as held:
        assert held == frozenset()


@pytest.mark.parametrize("error", [NotImplementedError("no locks"), OSError(37, "no locks")])
def test_claimed_says_where_there_are_no_locks(tmp_path, monkeypatch, error):
    def refuse(self, *arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(ClaimError, match="no locks"), claimed(tmp_path, ["a"]):
        pass


def test_claimed_says_what_is_in_the_way(tmp_path):
    (tmp_path / "claims").write_text("")
    with pytest.raises(ClaimError, match="claims"), claimed(tmp_path, ["a"]):
        pass


def test_claimed_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "WAIT_SECONDS", 0.0)
    (tmp_path / "claims").mkdir()
    held_up = filelock.FileLock(tmp_path / "claims" / "all.lock")
    with held_up, pytest.raises(ClaimError, match=r"all\.lock"), claimed(tmp_path, ["a"]):
        pass
