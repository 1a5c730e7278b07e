"""The command ``python -m comparisons report``."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import comparisons
from comparisons.__main__ import main
from comparisons.cli.serving import ADDRESS
from comparisons.results.store import Store

ROOT = Path(comparisons.__file__).parents[1]


def test_report_writes_the_report_and_names_its_pages(tmp_path, make_result, make_run, capsys):
    Store(tmp_path).save(make_result())
    Store(tmp_path).save_plan("command", [make_run()], plugins=["/x/mine.py"])
    assert main(["report", str(tmp_path)]) == 0
    remark, *pages = capsys.readouterr().out.splitlines()
    assert remark.startswith("the last command loaded /x/mine.py")
    assert pages == [str(tmp_path / name) for name in ("report.html", "report.md")]
    assert all(Path(page).is_file() for page in pages)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["nothing"], "does not exist; name a folder that run_all.py filled"),
        (["nothing", "--serve"], "does not exist; name a folder that run_all.py filled"),
        (["."], "holds neither a plan nor any finished run"),
        ([".", "--port", "8000"], "--port 8000 is the port of --serve; give both"),
        ([".", "--serve", "--port", "http"], "'http' is no port"),
        ([".", "--plugin", "none.py"], "none.py"),
        (["--frobnicate"], "required"),
    ],
)
def test_report_refuses_in_one_line(tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    error = refusal(flags, capsys)
    assert words in error
    assert not list(tmp_path.iterdir())


def test_report_refuses_a_port_in_use_before_it_writes(tmp_path, make_result, capsys):
    Store(tmp_path).save(make_result())
    with socket.create_server((ADDRESS, 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} of" in refusal([str(tmp_path), "--serve", "--port", port], capsys)
    assert not (tmp_path / "report.html").exists()


def refusal(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["report", *flags])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.slow
def test_report_is_served_until_it_is_interrupted(tmp_path, make_result):
    Store(tmp_path).save(make_result())
    command = [sys.executable, "-m", "comparisons", "report", str(tmp_path), "--serve", "--port"]
    with subprocess.Popen(
        [*command, "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        url = lines[2].rpartition(" ")[2]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == (tmp_path / "report.html").read_bytes()
        version = url.replace("report.html", "version.json")
        with urllib.request.urlopen(version, timeout=30) as answer:
            assert json.load(answer)["finished"] == 1
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""
