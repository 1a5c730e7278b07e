"""Claims of runs by several commands."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from comparisons import run_all
from comparisons.results import claims
from comparisons.results.claims import Claims, current_claims, leftovers, tidy
from comparisons.results.owners import new_owner

# Tells what it has taken of the runs that it is asked for, line by line. It is light to start.
CHILD = """
import sys
from pathlib import Path
from comparisons.results.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    for line in sys.stdin:
        print(*filter(claims.take, line.split()), flush=True)
"""


@contextmanager
def other_command(folder):
    """A process with claims of its own, and a function that asks it for runs."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(run_all.__file__).parents[1],
    ) as process:

        def ask(*ids):
            process.stdin.write(" ".join(ids) + "\n")
            process.stdin.flush()

        def take(*ids):
            ask(*ids)
            return process.stdout.readline().split()

        take.ask = ask
        try:
            yield process, take
        finally:
            process.kill()


def write_claim(folder, name, text, age=0.0):
    path = folder / "claims" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)
    return path


def write_claim_of_another_machine(folder, id, age):
    owner = replace(new_owner(), host="elsewhere")
    text = json.dumps(asdict(owner))
    write_claim(folder, f"{owner.token}.lease", text, age)
    return write_claim(folder, f"{id}.1.claim", text, 1e6)


def test_claims_leave_runs_to_a_living_command_and_take_those_of_a_dead_one(tmp_path):
    with other_command(tmp_path) as (process, take), Claims(tmp_path) as own:
        assert take("a", "b") == ["a", "b"]
        assert own.take("c")
        assert take("c", "d") == ["d"]
        assert not own.take("b")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert own.take("a")
        assert own.take("b")
        own.release("a")
        assert own.take("a")
        assert len(tidy(tmp_path, own)) == 2  # the lease, and the claim of d
    assert list((tmp_path / "claims").iterdir()) == []


def test_claims_out_of_date_are_taken_over_once(tmp_path):
    ids = [f"run{index}" for index in range(60)]
    for index, id in enumerate(ids):
        for number in range(1, 2 + index % 3):
            write_claim(tmp_path, f"{id}.{number}.claim", "damaged", 301)
    with ExitStack() as stack:
        commands = [stack.enter_context(other_command(tmp_path)) for _ in range(3)]
        for _, take in commands:
            assert take("ready")[:1] in ([], ["ready"])
        for _, take in commands:
            take.ask(*ids)
        taken = [process.stdout.readline().split() for process, _ in commands]
    assert sorted(itertools.chain(*taken)) == sorted(ids)


def test_claims_of_another_machine_expire(tmp_path):
    for id, age in (("old", 301), ("new", 200), ("of later", -301)):
        write_claim_of_another_machine(tmp_path, id, age)
    with Claims(tmp_path) as own:
        assert set(current_claims(tmp_path, own.now())) == {"new"}
        assert [own.take(id) for id in ("old", "new", "of later")] == [True, False, True]


def test_claims_compare_times_of_the_file_system_alone(tmp_path, monkeypatch):
    """The file server is an hour ahead, and another machine showed a sign of life just now."""
    write_claim_of_another_machine(tmp_path, "living", -3600)
    write_claim_of_another_machine(tmp_path, "dead", 0)
    touch = os.utime
    later = time.time() + 3600
    monkeypatch.setattr(claims.os, "utime", lambda path: touch(path, (later, later)))
    with Claims(tmp_path) as own:
        assert not own.take("living")
        assert own.take("dead")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": "../x"}', "\0" * 100])
def test_claims_that_are_damaged_hold_until_they_expire(tmp_path, text):
    path = write_claim(tmp_path, "a.1.claim", text, 200)
    with Claims(tmp_path) as own:
        assert not own.take("a")
        os.utime(path, (time.time() - 301,) * 2)
        assert own.take("a")
    assert list((tmp_path / "claims").iterdir()) == []


def test_claims_show_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RENEWAL_SECONDS", 0.01)
    with Claims(tmp_path):
        (lease,) = (tmp_path / "claims").glob("*.lease")
        os.utime(lease, (1, 1))
        wait_until(lambda: lease.stat().st_mtime > 1)
        lease.unlink()  # as by another command, while this one was stopped for long
        wait_until(lease.exists)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_claims_end_with_their_block(tmp_path):
    def fail():
        with Claims(tmp_path) as own:
            assert own.take("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / "claims").iterdir()) == []


def test_claims_withdraw_where_the_claim_before_was_released(tmp_path, monkeypatch):
    """Others begin at 1 again then, and two would have a claim."""
    path = write_claim(tmp_path, "a.1.claim", "", 301)
    with Claims(tmp_path) as slow, Claims(tmp_path) as fast:
        read = claims.read_claim

        def interrupted(asked):
            monkeypatch.setattr(claims, "read_claim", read)
            found = read(asked)
            path.unlink()
            assert fast.take("a")
            return found

        monkeypatch.setattr(claims, "read_claim", interrupted)
        assert not slow.take("a")


def test_claims_raise_what_is_in_the_way(tmp_path):
    (tmp_path / "claims").write_text("")
    with pytest.raises(OSError, match="claims"), Claims(tmp_path):
        pass


def test_claims_leave_nothing_on_a_full_disk(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Claims(tmp_path) as own:
        own._text = "\ud800"  # cannot be encoded, after the file was created
        with pytest.raises(ValueError, match="surrogate"):
            own.take("a")
        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="space"), Claims(tmp_path):
            pass
        assert [path.suffix for path in (tmp_path / "claims").iterdir()] == [".lease"]


def test_leftovers_are_the_files_that_nobody_stands_behind(tmp_path):
    write_claim_of_another_machine(tmp_path, "new", 0)
    write_claim(tmp_path, "old.1.claim", "", 301)
    write_claim(tmp_path, "1-2.lock", "")
    names = {path.name for path in leftovers(tmp_path, time.time())}
    assert names == {"old.1.claim", "1-2.lock"}
