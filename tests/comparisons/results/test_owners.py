"""The processes that own claims."""

import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from comparisons.results import owners
from comparisons.results.owners import Owner, alive, new_owner


@pytest.fixture(params=["proc", "ps"])
def listing(request, monkeypatch, tmp_path):
    """Both sources of what the processes of this machine are."""
    if request.param == "ps":
        monkeypatch.setattr(owners, "_PROC", tmp_path)


def test_alive_sees_this_process_and_none_with_its_id_reused(listing):
    owner = new_owner()
    assert alive(owner) is True
    assert owner.started
    assert alive(replace(owner, started="another time")) is False
    assert Owner.from_dict(asdict(owner)) == owner
    assert new_owner().token != owner.token


def test_alive_sees_no_process_that_has_ended(listing):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = replace(new_owner(), pid=process.pid, started=owners._started(process.pid))
        assert alive(owner) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert alive(owner) is False  # nobody has buried it yet
    assert alive(owner) is False


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"boot": "yesterday"}, {"started": ""}])
def test_alive_does_not_know_what_it_cannot_see(change):
    assert alive(replace(new_owner(), **change)) is None


def test_alive_does_not_know_where_no_platform_tells(monkeypatch, tmp_path):
    monkeypatch.setattr(owners, "_PROC", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # as on Windows: neither /proc nor ps
    owner = new_owner()
    assert owner.started == ""
    assert alive(replace(owner, started="once")) is None


@pytest.mark.parametrize("data", [{}, {"token": 1}, {**asdict(new_owner()), "pid": "1"}])
def test_owner_from_dict_refuses_what_is_no_owner(data):
    with pytest.raises(TypeError):
        Owner.from_dict(data)
